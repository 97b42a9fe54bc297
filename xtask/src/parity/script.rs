//! The table of requests: what is sent, with whose token, and what is kept from the answers.
//!
//! One line a request: `[@NAME] METHOD path [[Header: value]]… [body] [-> VAR=field.of.answer]…`.
//! `$VAR` stands for what was kept. `@NAME` sends `$NAME` as the token, `@-` none; `ROOT` goes
//! without saying. `= title` begins an area, `#` a comment. A line `~ place: reason` below a
//! request says that answers may differ at that place of the body (or in `status`, `header`), and
//! why ours is right; at `answer`, anywhere. `~~ place: reason` says so for the whole script, and
//! its place may begin with `*.` for any place that ends so.

use std::collections::BTreeMap;

/// One request of the script.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The heading that it stands under.
    pub(super) area: String,
    /// The line in the file, from 1.
    pub(super) line: usize,
    pub(super) token: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    /// Variable and place in the answer.
    pub(super) kept: Vec<(String, String)>,
    /// Place and reason.
    pub(super) argued: Vec<(String, String)>,
}

/// Reads a script.
pub(super) fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut area = String::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut argued_everywhere = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(title) = text.strip_prefix("= ") {
            title.clone_into(&mut area);
            continue;
        }
        if let Some(argued) = text.strip_prefix("~~ ") {
            let argued = argued.split_once(": ");
            argued_everywhere.extend(argued.map(owned));
            continue;
        }
        if let Some(argued) = text.strip_prefix("~ ") {
            let argued = argued.split_once(": ").zip(steps.last_mut());
            let ((place, reason), step) =
                argued.ok_or_else(|| format!("line {line}: a place and a reason, please"))?;
            step.argued.push((place.to_owned(), reason.to_owned()));
            continue;
        }
        let step = parse_step(&area, line, text);
        steps.push(step.ok_or_else(|| format!("line {line}: no request"))?);
    }
    for step in &mut steps {
        step.argued.extend(argued_everywhere.iter().cloned());
    }
    Ok(steps)
}

fn parse_step(area: &str, line: usize, text: &str) -> Option<Step> {
    let (text, kept) = match text.split_once(" -> ") {
        Some((text, kept)) => (text, kept),
        None => (text, ""),
    };
    let kept: Option<Vec<(String, String)>> = kept
        .split_whitespace()
        .map(|pair| pair.split_once('=').map(owned))
        .collect();
    let (token, text) = match text.strip_prefix('@') {
        Some(rest) => rest.split_once(' ')?,
        None => ("ROOT", text),
    };
    let (method, rest) = text.split_once(' ')?;
    let (path, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut headers = Vec::new();
    while let Some((header, after)) = header_at_start(rest) {
        headers.push(owned(header));
        rest = after;
    }
    Some(Step {
        area: area.to_owned(),
        line,
        token: token.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body: Some(rest.trim().to_owned()).filter(|body| !body.is_empty()),
        kept: kept?,
        argued: Vec::new(),
    })
}

/// `[Name: value]` and what follows. A list in brackets is a body.
fn header_at_start(text: &str) -> Option<((&str, &str), &str)> {
    let (header, rest) = text.strip_prefix('[')?.split_once(']')?;
    let header = header
        .split_once(": ")
        .filter(|(name, _)| !name.contains('"'))?;
    Some((header, rest.trim_start()))
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

/// Puts variables in: `$NAME`, upper case letters and digits. Unknown ones stay.
pub(super) fn fill(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        match variables.get(name) {
            Some(value) => filled.push_str(value),
            None => filled.push_str(&format!("${name}")),
        }
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request() {
        let text = "= kv\n# c\n@T PUT a/b?c=1 [X-A: b c] [X-D: e] {\"f\":\"$T\"} \
                    -> U=data.x V=y.0\n\
                    ~ data.x: it is random\n@- LIST a\n~~ *.y: other";
        let steps = parse(text).unwrap();
        let step = &steps[0];
        assert_eq!((step.token.as_str(), step.method.as_str()), ("T", "PUT"));
        assert_eq!((step.path.as_str(), step.line), ("a/b?c=1", 3));
        assert_eq!(step.headers[1], owned(("X-D", "e")));
        assert_eq!(step.body.as_deref(), Some("{\"f\":\"$T\"}"));
        assert_eq!(step.kept, [owned(("U", "data.x")), owned(("V", "y.0"))]);
        assert_eq!(
            step.argued,
            [owned(("data.x", "it is random")), owned(("*.y", "other"))]
        );
        assert_eq!((steps[1].token.as_str(), &steps[1].body), ("-", &None));
        assert!(parse("~ a: b").is_err() && parse("nonsense").is_err());
    }

    #[test]
    fn variables_are_put_in() {
        let variables = BTreeMap::from([owned(("T", "1")), owned(("ID2", "2"))]);
        assert_eq!(fill("a$T/$ID2-$NO$", &variables), "a1/2-$NO$");
    }
}
