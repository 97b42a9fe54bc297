//! What policies mean, in the fewest words: looks at every rule each time.

use std::cmp::Ordering;

/// The words (of `all`, in their order) for a path. A list of names may be allowed for the path
/// without its last `/`, too.
pub(crate) fn words<W: Copy + PartialEq>(
    rules: &[(String, Vec<W>)],
    path: &str,
    is_list: bool,
    all: &[W],
    deny: W,
) -> Vec<W> {
    let shorter = path.strip_suffix('/').filter(|_| is_list);
    let exact = |path: &str| {
        let is_exact = |text: &str| !text.ends_with('*') && !has_plus(text);
        rules
            .iter()
            .map(|(text, _)| text)
            .find(|text| *text == path && is_exact(text))
    };
    let pattern = |path: &str| {
        let matching = rules
            .iter()
            .map(|(text, _)| text)
            .filter(|text| matches(text, path));
        matching.max_by(|one, other| compare(one, other))
    };
    let winner = exact(path)
        .or_else(|| exact(shorter?))
        .or_else(|| pattern(path))
        .or_else(|| pattern(shorter?));
    let Some(winner) = winner else {
        return Vec::new();
    };
    let of_winner = rules.iter().filter(|(text, _)| text == winner);
    let given: Vec<W> = of_winner.flat_map(|(_, words)| words.clone()).collect();
    if given.contains(&deny) {
        return vec![deny];
    }
    let all = all.iter().copied();
    all.filter(|word| given.contains(word)).collect()
}

fn has_plus(text: &str) -> bool {
    text.split('/')
        .any(|part| part.trim_end_matches('*') == "+")
}

fn matches(text: &str, path: &str) -> bool {
    let (body, is_open) = match text.strip_suffix('*') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let wanted: Vec<&str> = body.split('/').collect();
    let given: Vec<&str> = path.split('/').collect();
    let fits = |(at, wanted): (usize, &&str), is_last: bool| match given.get(at) {
        Some(part) if is_last && is_open => part.starts_with(wanted),
        Some(part) => *wanted == "+" || wanted == part,
        None => false,
    };
    let last = wanted.len() - 1;
    let mut parts = wanted.iter().enumerate();
    (is_open || wanted.len() == given.len()) && parts.all(|part| fits(part, part.0 == last))
}

/// Less is less specific: the order of the documentation, one question after the other.
fn compare(one: &str, other: &str) -> Ordering {
    let first = |text: &str| text.find(['+', '*']).unwrap_or(text.len());
    let ends = |text: &str| !text.ends_with('*');
    let pluses = |text: &str| text.split('/').filter(|part| *part == "+").count();
    let body = |text: &str| text.trim_end_matches('*').len();
    first(one)
        .cmp(&first(other))
        .then(ends(one).cmp(&ends(other)))
        .then(pluses(other).cmp(&pluses(one)))
        .then(body(one).cmp(&body(other)))
        .then(one.cmp(other))
}
