//! Policies of passwords: how long they are, and which characters occur how often.

use zeroize::Zeroizing;

use super::hcl;
use super::hcl::Item;
use super::hcl::Node;
use super::hcl::Syntax;
use super::hcl::Value;
use crate::generate::draw::Source;
use crate::port::Rng;
use crate::secret::SecretValue;

/// Longest text of a policy, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Shortest and longest password.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=100;
/// Most rules.
const RULES_MAX: usize = 100;
/// So often a password is drawn until it satisfies the rules.
const ATTEMPTS_MAX: u32 = 10_000;

/// How passwords are drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    length: usize,
    rules: Vec<Charset>,
    /// Each character once.
    chars: Vec<char>,
}

/// A rule: so many of these characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Charset {
    chars: Vec<char>,
    least: usize,
}

/// Why a text is no policy of passwords, or draws none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordPolicyError {
    /// It cannot be read.
    #[error("invalid password policy: at {line}:{column}: expected {expected}")]
    Syntax {
        /// Where.
        line: u32,
        /// Where in it.
        column: u32,
        /// What was expected.
        expected: &'static str,
    },
    /// It says something that would not be looked at.
    #[error("invalid password policy: {0}")]
    Meaning(String),
    /// The length is out of its bounds.
    #[error("passwords must be between {} and {} characters", LENGTH.start(), LENGTH.end())]
    Length,
    /// Its rules are hardly ever satisfied.
    #[error("the rules are too rarely satisfied by what is drawn: no password was found")]
    Unlucky,
}

fn meaning(text: impl Into<String>) -> PasswordPolicyError {
    PasswordPolicyError::Meaning(text.into())
}

impl PasswordPolicy {
    /// Reads a policy: `length`, and `rule "charset"` blocks with `charset` and `min-chars`.
    ///
    /// # Errors
    /// When it cannot be read, says something else, or cannot be satisfied.
    pub fn parse(text: &str) -> Result<Self, PasswordPolicyError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(meaning("it is over 64 KiB"));
        }
        let document = hcl::read(text).map_err(|error| PasswordPolicyError::Syntax {
            line: error.place.line,
            column: error.place.column,
            expected: error.expected,
        })?;
        let mut length = None;
        let mut rules = Vec::new();
        for item in document.items {
            let Item { keys, value } = item;
            let words: Vec<&str> = keys.iter().map(|key| key.text.as_str()).collect();
            match (words.as_slice(), document.syntax) {
                (["length"], _) => length = Some(number(&value, "length")?),
                (["rule", kind], Syntax::Hcl) => rules.push(rule(kind, value)?),
                (["rule"], Syntax::Json) => labelled(value, &mut rules)?,
                (["rule", ..], _) => return Err(meaning("a rule is `rule \"charset\" { … }`")),
                _ => return Err(meaning("it has a `length` and rules, and nothing else")),
            }
        }
        Self::of(length.unwrap_or(0), rules)
    }

    fn of(length: usize, rules: Vec<Charset>) -> Result<Self, PasswordPolicyError> {
        let mut chars: Vec<char> = rules.iter().flat_map(|rule| &rule.chars).copied().collect();
        chars.sort_unstable();
        chars.dedup();
        if length == 0 {
            return Err(meaning("length must be > 0"));
        }
        if chars.is_empty() {
            return Err(meaning("no charset specified"));
        }
        if rules.len() > RULES_MAX {
            return Err(meaning(format!("it has over {RULES_MAX} rules")));
        }
        let least = rules.iter().map(|rule| rule.least);
        let least = least.fold(0, usize::saturating_add);
        if least > length {
            return Err(meaning(format!(
                "specified rules require at least {least} characters but {length} is specified"
            )));
        }
        match LENGTH.contains(&length) {
            true => Ok(Self {
                length,
                rules,
                chars,
            }),
            false => Err(PasswordPolicyError::Length),
        }
    }

    /// A password: every one that satisfies the rules is as likely as any other.
    ///
    /// # Errors
    /// `Unlucky`.
    pub fn generate(&self, rng: &dyn Rng) -> Result<SecretValue, PasswordPolicyError> {
        let mut source = Source::new(rng);
        for _ in 0..ATTEMPTS_MAX {
            let mut drawn = Zeroizing::new(Vec::with_capacity(self.length));
            for _ in 0..self.length {
                let place = source.below(self.chars.len());
                drawn.extend(self.chars.get(place).copied());
            }
            if self.rules.iter().all(|rule| rule.is_satisfied(&drawn)) {
                let size = drawn.iter().map(|c| c.len_utf8()).sum();
                let mut text = Vec::with_capacity(size);
                for c in drawn.iter() {
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                return Ok(SecretValue::new(text));
            }
        }
        Err(PasswordPolicyError::Unlucky)
    }
}

impl Charset {
    fn is_satisfied(&self, drawn: &[char]) -> bool {
        let own = drawn.iter().filter(|c| self.chars.contains(c));
        self.least == 0 || own.count() >= self.least
    }
}

/// Rules in JSON: `{"charset": {…}}`, or a list of such objects.
fn labelled(value: Value, rules: &mut Vec<Charset>) -> Result<(), PasswordPolicyError> {
    match value.node {
        Node::List(list) => {
            for value in list {
                labelled(value, rules)?;
            }
            Ok(())
        }
        Node::Object(items) => {
            for Item { keys, value } in items {
                let kind = keys.first().map_or("", |key| key.text.as_str()).to_owned();
                match value.node {
                    Node::List(list) => {
                        for value in list {
                            rules.push(rule(&kind, value)?);
                        }
                    }
                    node => {
                        let place = value.place;
                        rules.push(rule(&kind, Value { place, node })?);
                    }
                }
            }
            Ok(())
        }
        _ => Err(meaning("a rule is an object with its kind")),
    }
}

fn rule(kind: &str, value: Value) -> Result<Charset, PasswordPolicyError> {
    if kind != "charset" {
        let kind: String = kind.chars().take(32).collect();
        let why = format!("unable to parse rule {kind}: unrecognized rule type {kind}");
        return Err(meaning(format!("unable to parse rules: {why}")));
    }
    let Node::Object(items) = value.node else {
        return Err(meaning("a rule is a block with a `charset`"));
    };
    let (mut chars, mut least) = (Vec::new(), 0);
    for Item { keys, value } in items {
        let words: Vec<&str> = keys.iter().map(|key| key.text.as_str()).collect();
        match (words.as_slice(), &value.node) {
            (["charset"], Node::Text(text)) => chars = text.chars().collect(),
            // `min_chars` is no misspelling that should mean nothing.
            (["min-chars" | "min_chars"], _) => least = number(&value, "min-chars")?,
            _ => {
                return Err(meaning(
                    "a rule has a `charset` and `min-chars`, and nothing else",
                ));
            }
        }
    }
    match chars.is_empty() {
        true => Err(meaning("no charset specified")),
        false => Ok(Charset { chars, least }),
    }
}

fn number(value: &Value, name: &str) -> Result<usize, PasswordPolicyError> {
    match &value.node {
        // Less than none is none.
        Node::Number(text) if text.starts_with('-') => Ok(0),
        Node::Number(text) => text
            .parse()
            .map_err(|_| meaning(format!("`{name}` is no whole number"))),
        _ => Err(meaning(format!("`{name}` is no whole number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Rng;

    /// Not random, and enough for what is looked at here.
    struct Counting(std::sync::Mutex<u64>);

    impl Rng for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            let mut state = self.0.lock().unwrap();
            for byte in buffer {
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (*state >> 56).to_le_bytes()[0];
            }
        }
    }

    fn drawn(text: &str) -> Vec<String> {
        let policy = PasswordPolicy::parse(text).unwrap();
        let rng = Counting(1.into());
        let one = || policy.generate(&rng).unwrap();
        let texts = (0..500).map(|_| one().expose_secret_text().unwrap().to_owned());
        texts.collect()
    }

    #[test]
    fn passwords_have_the_length_and_what_every_rule_asks_for() {
        let hcl = "length = 12\nrule \"charset\" {\n charset = \"abcé\"\n min-chars = 2\n}\n\
                   rule \"charset\" { charset = \"0123456789\"\n min-chars = 3 }\n\
                   rule \"charset\" { charset = \"-\" }";
        let json = "{\"length\":12,\"rule\":[{\"charset\":{\"charset\":\"abcé\",\"min-chars\":2}},\
                    {\"charset\":{\"charset\":\"0123456789\",\"min-chars\":3}},\
                    {\"charset\":{\"charset\":\"-\"}}]}";
        assert_eq!(PasswordPolicy::parse(hcl), PasswordPolicy::parse(json));
        let all = drawn(hcl);
        for text in &all {
            assert_eq!(text.chars().count(), 12, "{text}");
            let letters = text.chars().filter(|c| "abcé".contains(*c)).count();
            let digits = text.chars().filter(char::is_ascii_digit).count();
            assert!(letters >= 2 && digits >= 3, "{text}");
        }
        // No more than that is asked for.
        let letters = |text: &String| text.chars().filter(|c| "abcé".contains(*c)).count();
        assert!(all.iter().any(|text| letters(text) == 2));
        // All characters occur, each about as often as its kin.
        for c in "abcé0123456789-".chars() {
            assert!(count(&all, c) > 200, "{c}: {}", count(&all, c));
        }
    }

    fn count(all: &[String], c: char) -> usize {
        let chars = all.iter().flat_map(|text| text.chars());
        chars.filter(|d| *d == c).count()
    }

    #[test]
    fn a_character_that_two_rules_name_is_no_more_likely() {
        let all = drawn(
            "length = 20\nrule \"charset\" { charset = \"abb\" }\n\
             rule \"charset\" { charset = \"bc\"\n min_chars = 1 }",
        );
        // A third of ten thousand, give or take five deviations.
        for c in "abc".chars() {
            assert!(
                (3100..3570).contains(&count(&all, c)),
                "{c}: {}",
                count(&all, c)
            );
        }
    }

    #[test]
    fn what_cannot_be_meant_or_satisfied_is_refused() {
        let charset = "rule \"charset\" { charset = \"abc\" }";
        for (text, says) in [
            (format!("length = 3\n{charset}"), "between 4 and 100"),
            (format!("length = 101\n{charset}"), "between 4 and 100"),
            (charset.to_owned(), "length must be > 0"),
            (format!("length = -8\n{charset}"), "length must be > 0"),
            ("length = 8".into(), "no charset specified"),
            (
                "length = 8\nrule \"charset\" { charset = \"\" }".into(),
                "no charset",
            ),
            (
                "length = 5\nrule \"charset\" { charset = \"abc\"\n min-chars = 3 }\n\
                 rule \"charset\" { charset = \"xyz\"\n min-chars = 3 }"
                    .into(),
                "at least 6 characters but 5",
            ),
            (
                "length = 8\nrule \"words\" { charset = \"abc\" }".into(),
                "unrecognized rule type",
            ),
            (format!("length = \"8\"\n{charset}"), "`length`"),
            (format!("length = 8\nwidth = 2\n{charset}"), "nothing else"),
            (
                "length = 8\nrule \"charset\" { charset = \"abc\"\n max = 1 }".into(),
                "nothing else",
            ),
            ("not hcl {".into(), "1:"),
            (String::new(), "length"),
            (
                format!("length = 8\n{}", format!("{charset}\n").repeat(101)),
                "over 100 rules",
            ),
            (
                "length = 4\nrule \"charset\" { charset = \"abc\"\n min_chars = 5 }".into(),
                "at least 5 characters but 4",
            ),
            ("x".repeat(TEXT_BYTES_MAX + 1), "64 KiB"),
        ] {
            let said = PasswordPolicy::parse(&text).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
        // One character in a hundred thousand, ten times.
        let many: String = (0x4E00..0x9FFF).filter_map(char::from_u32).collect();
        let rare = format!(
            "length = 10\nrule \"charset\" {{ charset = \"a\"\n min-chars = 10 }}\n\
             rule \"charset\" {{ charset = \"{many}\" }}"
        );
        let policy = PasswordPolicy::parse(&rare).unwrap();
        let drawn = policy.generate(&Counting(1.into()));
        assert_eq!(drawn.err(), Some(PasswordPolicyError::Unlucky));
    }
}
