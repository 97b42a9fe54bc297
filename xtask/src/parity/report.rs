//! What the comparison says: on the terminal and in the documentation.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::repo;

use super::compare::Difference;
use super::http::Response;
use super::script::Step;

/// A request and how its answers compare.
pub(super) struct Outcome {
    pub(super) step: Step,
    differences: Vec<Difference>,
    /// Reasons that cover a difference each.
    argued: Vec<String>,
    /// OpenBao's answer, for `--all`.
    expected: String,
}

impl Outcome {
    /// Takes out the differences that the script argues for.
    pub(super) fn new(step: Step, expected: &Response, differences: &[Difference]) -> Self {
        let body = String::from_utf8_lossy(&expected.body);
        let expected = format!("{} {}", expected.status, body.trim_end());
        let reason_for = |difference: &Difference| {
            let covers = |place: &str| {
                if let Some(end) = place.strip_prefix("*.") {
                    let before = difference.place.strip_suffix(end);
                    return before.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                }
                let rest = difference.place.strip_prefix(place);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let mut argued = step.argued.iter();
            argued.find(|(place, _)| place == "answer" || covers(place))
        };
        let mut argued: Vec<String> = differences
            .iter()
            .filter_map(|difference| reason_for(difference).map(|(_, reason)| reason.clone()))
            .collect();
        argued.dedup();
        let differences = differences
            .iter()
            .filter(|difference| reason_for(difference).is_none())
            .cloned()
            .collect();
        Self {
            step,
            differences,
            argued,
            expected,
        }
    }

    pub(super) fn is_differing(&self) -> bool {
        !self.differences.is_empty()
    }

    fn verdict(&self) -> &'static str {
        match (self.is_differing(), self.argued.is_empty()) {
            (true, _) => "differs",
            (false, false) => "differs on purpose",
            (false, true) => "agrees",
        }
    }

    /// The request as the documentation shows it.
    fn call(&self) -> String {
        format!("{} /v1/{}", self.step.method, self.step.path)
    }
}

/// Prints the differing rows, or all, and the sums.
pub(super) fn print(outcomes: &[Outcome], is_all: bool) {
    for outcome in outcomes {
        if !is_all && outcome.verdict() == "agrees" {
            continue;
        }
        let Step {
            area, line, body, ..
        } = &outcome.step;
        let body = body.as_deref().unwrap_or_default();
        let body: String = body.chars().take(80).collect();
        println!(
            "{:<9} {area}:{line} {} {body}",
            outcome.verdict(),
            outcome.call()
        );
        if is_all {
            println!("            {}", outcome.expected);
        }
        for Difference { place, what } in &outcome.differences {
            println!("            {place}: {what}");
        }
    }
    let count = |verdict: &str| {
        let same = outcomes
            .iter()
            .filter(|outcome| outcome.verdict() == verdict);
        same.count()
    };
    println!(
        "parity: {} answers agree, {} differ on purpose, {} differ",
        count("agrees"),
        count("differs on purpose"),
        count("differs")
    );
}

/// Puts the table between the marks of the document.
pub(super) fn write(root: &Path, outcomes: &[Outcome]) -> Result<(), Failure> {
    write_between(root, "parity", &table(outcomes, &repo::revision(root)))
}

/// Puts a table between the marks of this name.
pub(super) fn write_between(root: &Path, name: &str, table: &str) -> Result<(), Failure> {
    write_into(root, DOCUMENT, name, table)
}

/// The same in another document.
pub(super) fn write_into(
    root: &Path,
    document: &str,
    name: &str,
    table: &str,
) -> Result<(), Failure> {
    let path = root.join(document);
    let old = fs::read_to_string(&path).unwrap_or_else(|_| EMPTY_DOCUMENT.to_owned());
    let text = replace(&old, name, table)
        .ok_or_else(|| Failure::new(format!("{document} has no marks for `{name}`")))?;
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, text))
        .map_err(|e| Failure::new(format!("cannot write {document}: {e}")))
}

fn replace(old: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->"),
        format!("<!-- {name}: end -->"),
    );
    let (before, rest) = old.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{table}\n{end}{after}"))
}

/// Sums for each area, then every call that does not simply agree.
fn table(outcomes: &[Outcome], revision: &str) -> String {
    let mut areas: Vec<&str> = Vec::new();
    for outcome in outcomes {
        if !areas.contains(&outcome.step.area.as_str()) {
            areas.push(&outcome.step.area);
        }
    }
    let mut text = String::from("| area | answers | agree | differ on purpose | differ |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    for area in areas {
        let count = |verdict: &str| {
            let of_area = outcomes.iter().filter(|outcome| outcome.step.area == area);
            of_area
                .filter(|outcome| verdict.is_empty() || outcome.verdict() == verdict)
                .count()
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {area} | {} | {} | {} | {} |",
            count(""),
            count("agrees"),
            count("differs on purpose"),
            count("differs")
        );
    }
    let others: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.verdict() != "agrees")
        .collect();
    if !others.is_empty() {
        text.push_str("\n| call | | why, or OpenBao's answer / ours |\n| --- | --- | --- |\n");
    }
    for outcome in others {
        let differences = outcome.differences.iter();
        let differences =
            differences.map(|Difference { place, what }| format!("`{place}`: {what}"));
        let notes: Vec<String> = outcome.argued.iter().cloned().chain(differences).collect();
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            cell(&outcome.call()),
            outcome.verdict(),
            cell(&notes.join("; "))
        );
    }
    let _ = write!(
        text,
        "\nMade by `cargo xtask parity` against OpenBao 2.7.2 at revision {revision}.\n"
    );
    text
}

const DOCUMENT: &str = "docs/compat/vault.md";
const EMPTY_DOCUMENT: &str = "\
# Vault's API

## Compared with OpenBao

The same requests to a real OpenBao and to strongroom. Status, content type, caching and body are
compared, error texts too; of times, ids and tokens only that there is one.

<!-- parity: begin -->
<!-- parity: end -->
";

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(argued: &str, places: &[&str]) -> Outcome {
        let text = format!("= a\nGET b\n{argued}");
        let step = super::super::script::parse(&text).unwrap().remove(0);
        let difference = |place: &&str| Difference {
            place: (*place).to_owned(),
            what: "1 / 2".to_owned(),
        };
        let response = Response {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
        };
        let differences: Vec<Difference> = places.iter().map(difference).collect();
        Outcome::new(step, &response, &differences)
    }

    #[test]
    fn a_difference_with_a_reason_is_on_purpose() {
        assert_eq!(outcome("", &[]).verdict(), "agrees");
        assert_eq!(
            outcome("~ data.x: because", &["data.x.0"]).verdict(),
            "differs on purpose"
        );
        assert_eq!(
            outcome("~ data.x: because", &["data.xy"]).verdict(),
            "differs"
        );
        assert_eq!(
            outcome("~ data.x: because", &["data.x", "status"]).verdict(),
            "differs"
        );
    }

    #[test]
    fn the_table_stands_between_the_marks() {
        let first = replace(EMPTY_DOCUMENT, "parity", "| one |").unwrap();
        let second = replace(&format!("{first}more\n"), "parity", "| two |").unwrap();
        assert!(second.contains("\n\n| two |\n<!-- parity: end -->\nmore\n"));
        assert!(!second.contains("one |"));
        assert_eq!(replace("no marks", "parity", ""), None);
    }
}
