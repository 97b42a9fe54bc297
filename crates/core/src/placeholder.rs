//! Values that were never meant to be used: `changeme`, `your-key-here`, `sk-...`.
//!
//! The rules are general: phrases people write, runs and sequences people type, and values that
//! hold nothing but ordinary words or the words of their own name. Random values do not fire.

mod names;
mod words;

use std::sync::LazyLock;

use zeroize::Zeroizing;

use crate::format::split_url;

pub use names::Guess;
pub use names::guess;
pub use names::is_sensitive_name;
use words::Weakness;

/// Longer values are keys, certificates or documents; only what they plainly say is looked at.
const SHORT_CHARS_MAX: usize = 160;
/// Longest value that is looked at.
const VALUE_BYTES_MAX: usize = 64 * 1_024;

/// Phrases that say so themselves wherever they stand, once all but letters is taken out. Six
/// letters or more: in a random value of 32 letters and digits one turns up once in millions.
const PHRASES: [(&str, &str); 27] = [
    ("changeme", "says 'change-me'"),
    ("changethis", "says 'change-this'"),
    ("changeit", "says 'change-it'"),
    ("changebefore", "says 'change before …'"),
    ("changeinprod", "says 'change in production'"),
    ("pleasechange", "says 'please change'"),
    ("tobechanged", "says 'to be changed'"),
    ("replaceme", "says 'replace-me'"),
    ("replacethis", "says 'replace-this'"),
    ("replacewith", "says 'replace with …'"),
    ("tobereplaced", "says 'to be replaced'"),
    ("insertyour", "says 'insert your …'"),
    ("inserthere", "says 'insert here'"),
    ("enteryour", "says 'enter your …'"),
    ("putyour", "says 'put your …'"),
    ("pasteyour", "says 'paste your …'"),
    ("addyour", "says 'add your …'"),
    ("useyour", "says 'use your …'"),
    ("goeshere", "says 'goes here'"),
    ("placeholder", "says 'placeholder'"),
    ("redacted", "is a redacted value"),
    ("notasecret", "says 'not a secret'"),
    ("notarealkey", "says 'not a real key'"),
    ("donotuse", "says 'do not use'"),
    ("mysecret", "says 'my secret'"),
    ("mypassword", "says 'my password'"),
    ("fillmein", "says 'fill me in'"),
];

/// Values that stand for "nothing yet".
const NOTHING: [&str; 12] = [
    "todo",
    "tbd",
    "fixme",
    "none",
    "null",
    "nil",
    "n/a",
    "na",
    "undefined",
    "unset",
    "empty",
    "fill",
];

/// Why a value is only a placeholder, or `None` when it may be a real one.
///
/// The reason is a short phrase that follows the secret's name and holds no part of the value.
/// `project` is the project's name, often used as a password.
#[must_use]
pub fn placeholder_reason(name: &str, value: &str, project: Option<&str>) -> Option<&'static str> {
    let value = trim(value);
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return None;
    }
    if value.contains("-----BEGIN ") {
        return block_reason(value);
    }
    let lower = Zeroizing::new(value.to_lowercase());
    if let Some(parts) = split_url(&lower) {
        return url_reason(name, parts.password, &lower, project);
    }
    let is_document = value.starts_with(['{', '[']) && value.contains(['"', ','])
        || value.chars().count() > SHORT_CHARS_MAX
        || value.contains('\n');
    if let Some(reason) = says_so(&lower, is_document) {
        return Some(reason);
    }
    if is_document {
        return None;
    }
    if let Some(reason) = typed_run(&lower) {
        return Some(reason);
    }
    let plain = plain_words(name, &lower, project)?;
    // Settings such as `TOKEN_TYPE=bearer` rightly hold plain words.
    (!names::is_setting_name(name)).then_some(plain)
}

/// The value without white space and one pair of quotes around it.
fn trim(value: &str) -> &str {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner.trim();
        }
    }
    value
}

/// A PEM block whose body says that it is none.
fn block_reason(value: &str) -> Option<&'static str> {
    let lower = Zeroizing::new(value.replace("\\n", "\n").to_lowercase());
    for line in lower.lines().filter(|line| !line.starts_with("-----")) {
        let line = line.trim();
        if line.contains("...") || line.contains('…') || line.contains(['<', '[']) {
            return Some("is a key block without a key");
        }
        if words::split(line).any(|word| word == "your" || word == "key") {
            return Some("is a key block without a key");
        }
        if let Some(reason) = says_so(line, true) {
            return Some(reason);
        }
    }
    None
}

/// A URL is judged by its password and by what it plainly says.
fn url_reason(
    name: &str,
    password: Option<&str>,
    lower: &str,
    project: Option<&str>,
) -> Option<&'static str> {
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        let inner = format!("{name}_PASSWORD");
        if placeholder_reason(&inner, password, project).is_some() {
            return Some("is a URL whose password is a placeholder");
        }
    }
    if template(lower) {
        return Some("is a template that was not filled in");
    }
    if words::split(lower).any(|word| word == "your" || words::your_something(word)) {
        return Some("says 'your-…'");
    }
    if lower.ends_with("...") || lower.ends_with('…') {
        return Some("ends in '...'");
    }
    phrase_in(&words::letters(lower))
}

/// The first phrase, in the order of the list, that stands in a text of letters.
fn phrase_in(letters: &str) -> Option<&'static str> {
    let letters = letters.as_bytes();
    let begun_at = |at: usize| -> Option<usize> {
        let begun = &PHRASES_BY_LETTER[usize::from(letters[at])];
        let is_there = |place: &&usize| letters[at..].starts_with(PHRASES[**place].0.as_bytes());
        begun.iter().find(is_there).copied()
    };
    let first = (0..letters.len()).filter_map(begun_at).min();
    first.map(|place| PHRASES[place].1)
}

/// The phrases that begin with a byte. Every value of a start comes through here, and the first
/// letter settles most of it.
static PHRASES_BY_LETTER: LazyLock<[Vec<usize>; 256]> = LazyLock::new(|| {
    let mut table = [const { Vec::new() }; 256];
    for (place, (phrase, _)) in PHRASES.iter().enumerate() {
        if let Some(first) = phrase.bytes().next() {
            table[usize::from(first)].push(place);
        }
    }
    table
});

/// What a value itself says: phrases, brackets, dots.
fn says_so(lower: &str, is_document: bool) -> Option<&'static str> {
    if NOTHING.contains(&lower) {
        return Some("says that it is not set yet");
    }
    let letters = words::letters(lower);
    if let Some(reason) = phrase_in(&letters) {
        return Some(reason);
    }
    if words::split(lower).any(|word| word == "your" || words::your_something(word)) {
        return Some("says 'your-…'");
    }
    if is_document {
        return None;
    }
    // Amazon's documented sample keys end in it.
    if letters.contains("example") {
        return Some("says 'example'");
    }
    if words::split(lower).next_back() == Some("here") {
        return Some("says '…-here'");
    }
    if lower.ends_with("...") || lower.ends_with('…') {
        return Some("ends in '...'");
    }
    template(lower).then_some("is a template that was not filled in")
}

/// `<…>`, `${…}`, `{{…}}` and `%…%`, around words.
fn template(lower: &str) -> bool {
    if !lower.contains(['<', '[', '{', '%', '_']) {
        return false;
    }
    let is_name = |inner: &str| {
        let wordy = |c: char| c.is_alphabetic() || " _-./:".contains(c) || c.is_ascii_digit();
        inner.chars().filter(|c| c.is_alphabetic()).count() >= 2 && inner.chars().all(wordy)
    };
    let whole = [
        ("<", ">"),
        ("[", "]"),
        ("${", "}"),
        ("%", "%"),
        ("{", "}"),
        ("__", "__"),
    ];
    let is_whole = whole.iter().any(|(open, close)| {
        lower
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(is_name)
    });
    // Inside a value known words only, or a random password of symbols would fire.
    let inside = [("<", ">"), ("{{", "}}"), ("${", "}")];
    let has_inside = inside.iter().any(|(open, close)| {
        lower
            .split(open)
            .skip(1)
            .filter_map(|rest| rest.split_once(close))
            .any(|(inner, _)| words::are_ordinary(inner))
    });
    is_whole || has_inside
}

/// One character held down, a unit typed again and again, or a long sequence.
fn typed_run(lower: &str) -> Option<&'static str> {
    let mut chars = lower.chars();
    let first = chars.next()?;
    if lower.chars().count() >= 3 && chars.all(|c| c == first) {
        return Some("is a run of one character");
    }
    let mut run = 0_usize;
    let mut sequence = 1_usize;
    let mut last = None;
    for c in lower.chars() {
        run = if last == Some(c) { run + 1 } else { 1 };
        sequence = if last.is_some_and(|last| words::follows(last, c)) {
            sequence + 1
        } else {
            1
        };
        let enough = if "x*•?#".contains(c) { 6 } else { 8 };
        // Base64 of structured keys has runs of A.
        if run >= enough && c != 'a' {
            return Some("has a run of one character in it");
        }
        if sequence >= 8 {
            return Some("has a sequence in it");
        }
        last = Some(c);
    }
    None
}

/// Nothing but words that everybody knows, typed runs, and the words of its own name.
fn plain_words(name: &str, lower: &str, project: Option<&str>) -> Option<&'static str> {
    if words::same_letters(lower, name) {
        return Some("repeats its own name");
    }
    if project.is_some_and(|project| words::same_letters(lower, project)) {
        return Some("is the project's name");
    }
    // Most values end here: no dictionary explains them.
    let leet = words::without_leet(lower);
    if words::is_unexplained(lower) && leet.as_deref().is_none_or(|it| words::is_unexplained(it)) {
        return None;
    }
    let own = names::words_of(name);
    let project = project.map(names::words_of).unwrap_or_default();
    let known = words::Known {
        own: &own,
        project: &project,
    };
    let plain = known
        .weakness(lower)
        .or_else(|| known.weakness(leet.as_deref()?))?;
    Some(match plain {
        Weakness::Typed => "is typed along the keyboard or counts up",
        Weakness::OwnName => "repeats its own name",
        Weakness::Project => "is made of the project's name and ordinary words",
        Weakness::Words => "is made of ordinary words only",
    })
}

#[cfg(test)]
mod tests;
