//! `${NAME}` and its forms, as Docker Compose reads them.

use zeroize::Zeroizing;

use crate::import::Need;

/// Deepest nesting of one reference in the default of another.
const NESTING_MAX: usize = 16;

/// What a text is made of.
pub(in crate::import) struct Scanned {
    /// The variables it refers to, in order.
    pub(in crate::import) references: Vec<(String, Need)>,
    /// The text with `$$` read as `$`; of use when there are no references.
    pub(in crate::import) literal: Zeroizing<String>,
    /// True when the text is a single reference and nothing else.
    pub(in crate::import) is_one_reference: bool,
}

/// Takes a text apart.
pub(in crate::import) fn scan(text: &str) -> Scanned {
    let mut scanned = Scanned {
        references: Vec::new(),
        literal: Zeroizing::new(String::with_capacity(text.len())),
        is_one_reference: is_one_reference(text),
    };
    scan_into(text, NESTING_MAX, &mut scanned);
    scanned
}

fn scan_into(text: &str, nesting: usize, scanned: &mut Scanned) {
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        scanned.literal.push_str(before);
        rest = behind;
        if let Some(escaped) = behind.strip_prefix('$') {
            scanned.literal.push('$');
            rest = escaped;
        } else if let Some(braced) = behind.strip_prefix('{') {
            let Some(end) = closing_brace(braced) else {
                scanned.literal.push('$');
                break;
            };
            let (inside, after) = braced.split_at(end);
            reference(inside, nesting, scanned);
            rest = after.strip_prefix('}').unwrap_or(after);
        } else {
            let (name, after) = split_name(behind);
            if name.is_empty() {
                scanned.literal.push('$');
            } else {
                scanned.references.push((name.to_owned(), Need::Unstated));
            }
            rest = after;
        }
    }
    scanned.literal.push_str(rest);
}

fn is_one_reference(text: &str) -> bool {
    let Some(behind) = text.strip_prefix('$') else {
        return false;
    };
    match behind.strip_prefix('{') {
        Some(braced) => closing_brace(braced).is_some_and(|end| end + 1 == braced.len()),
        None => {
            let (name, after) = split_name(behind);
            !name.is_empty() && after.is_empty()
        }
    }
}

fn reference(inside: &str, nesting: usize, scanned: &mut Scanned) {
    let (name, rest) = split_name(inside);
    if name.is_empty() {
        return;
    }
    let operator = rest.strip_prefix(':').unwrap_or(rest);
    let need = match operator.chars().next() {
        Some('?') => Need::Required,
        Some('-' | '+') => Need::Optional,
        _ => Need::Unstated,
    };
    scanned.references.push((name.to_owned(), need));
    if let Some(default) = operator.strip_prefix(['-', '+'])
        && nesting > 1
    {
        scan_into(default, nesting - 1, scanned);
    }
}

/// A variable's name at the start of a text, and what follows it.
fn split_name(text: &str) -> (&str, &str) {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return ("", text);
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Where the brace is closed that was opened before a text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(position);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_in_every_form() {
        use Need::{Optional, Required, Unstated};
        for (text, references, is_one) in [
            ("${A}", &[("A", Unstated)][..], true),
            ("$A", &[("A", Unstated)], true),
            ("${A:-d}", &[("A", Optional)], true),
            ("${A-d}", &[("A", Optional)], true),
            ("${A:?no A}", &[("A", Required)], true),
            ("${A:+x}", &[("A", Optional)], true),
            (
                "${A:-${B:-$C}}",
                &[("A", Optional), ("B", Optional), ("C", Unstated)],
                true,
            ),
            ("x${A}", &[("A", Unstated)], false),
            ("${A}x", &[("A", Unstated)], false),
            ("${A}${B}", &[("A", Unstated), ("B", Unstated)], false),
            ("$A/$B", &[("A", Unstated), ("B", Unstated)], false),
            ("${A:-$(date -u)}", &[("A", Optional)], true),
        ] {
            let scanned = scan(text);
            let found: Vec<(&str, Need)> = scanned
                .references
                .iter()
                .map(|(name, need)| (name.as_str(), *need))
                .collect();
            assert_eq!(
                (found.as_slice(), scanned.is_one_reference),
                (references, is_one),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_reference_is_literal() {
        for (text, literal) in [
            ("", ""),
            ("a$$b$$", "a$b$"),
            ("$", "$"),
            ("$1$ $(x)", "$1$ $(x)"),
            ("p$$A", "p$A"),
        ] {
            let scanned = scan(text);
            assert_eq!(
                (scanned.literal.as_str(), scanned.references.len()),
                (literal, 0),
                "{text}"
            );
        }
        assert!(scan(&"${A:-".repeat(100_000)).references.is_empty());
        assert_eq!(
            scan(&format!("{}{}", "${A:-".repeat(50_000), "}".repeat(50_000)))
                .references
                .len(),
            16
        );
    }
}
