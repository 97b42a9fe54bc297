//! Names and ARNs of secrets, and the paths that they stand for.
//!
//! A name is the path. One that is no valid path (`/a`, `a//b`, `a/`, `a/./b`) is stored with what
//! is wrong percent-encoded; `%` is no letter of a name, so that no other name is stored there.

use strongroom_core::path::SecretPath;

/// Longest name.
pub(super) const NAME_CHARS_MAX: usize = 512;
/// Letters behind the name in an ARN.
const SUFFIX_CHARS: usize = 6;

/// A secret as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretId {
    /// By its name.
    Name(String),
    /// By its ARN: what stands behind `secret:`, which may end in the suffix or not.
    Arn {
        region: String,
        account: String,
        resource: String,
    },
}

impl SecretId {
    pub(super) fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.splitn(7, ':').collect();
        match parts.as_slice() {
            [
                "arn",
                _,
                "secretsmanager",
                region,
                account,
                "secret",
                resource,
            ] => Self::Arn {
                region: (*region).to_owned(),
                account: (*account).to_owned(),
                resource: (*resource).to_owned(),
            },
            _ => Self::Name(text.to_owned()),
        }
    }

    /// The names it may stand for, each with the suffix that the secret has to have.
    pub(super) fn candidates(&self) -> Vec<(&str, Option<&str>)> {
        match self {
            Self::Name(name) => vec![(name, None)],
            Self::Arn { resource, .. } => match split_suffix(resource) {
                Some((name, suffix)) => vec![(name, Some(suffix)), (resource, None)],
                None => vec![(resource, None)],
            },
        }
    }
}

fn split_suffix(resource: &str) -> Option<(&str, &str)> {
    let (name, suffix) = resource.rsplit_once('-')?;
    let is_suffix = suffix.len() == SUFFIX_CHARS
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !name.is_empty();
    is_suffix.then_some((name, suffix))
}

/// Whether a name may be given to a new secret.
pub(super) fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-/_+=.@!".contains(c);
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(is_letter)
}

/// The path of a name; `None` when there cannot be any.
pub(crate) fn path_of(name: &str) -> Option<SecretPath> {
    match name.parse() {
        Ok(path) => Some(path),
        Err(_) => encode(name).parse().ok(),
    }
}

/// The name of a path, as AWS clients see it.
pub(crate) fn name_of(path: &SecretPath) -> String {
    let text = path.as_str();
    if text.contains('%') {
        let name = text.replace("%2F", "/").replace("%2E", ".");
        if is_name(&name) && name.parse::<SecretPath>().is_err() && encode(&name) == text {
            return name;
        }
    }
    text.to_owned()
}

fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len() + 8);
    let mut segments = name.split('/').enumerate().peekable();
    while let Some((at, segment)) = segments.next() {
        match segment {
            "." => encoded.push_str("%2E"),
            ".." => encoded.push_str("%2E%2E"),
            other => encoded.push_str(other),
        }
        if let Some((_, next)) = segments.peek() {
            // A slash that would leave an empty segment on one of its sides.
            let is_last = next.is_empty();
            let is_first = at == 0 && segment.is_empty();
            encoded.push_str(match is_last || is_first || segment.is_empty() {
                true => "%2F",
                false => "/",
            });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_and_back() {
        let mut paths = std::collections::BTreeSet::new();
        for (name, path) in [
            ("a", "a"),
            ("a/b", "a/b"),
            ("/a", "%2Fa"),
            ("a/", "a%2F"),
            ("/", "%2F"),
            ("//", "%2F%2F"),
            ("a//b", "a%2F%2Fb"),
            ("a///b", "a%2F%2F%2Fb"),
            ("/a/b/", "%2Fa/b%2F"),
            ("a/./b", "a/%2E/b"),
            ("..", "%2E%2E"),
            ("a/..", "a/%2E%2E"),
            ("x-!@=+._", "x-!@=+._"),
        ] {
            let found = path_of(name).unwrap();
            assert_eq!(found.as_str(), path, "{name}");
            assert_eq!(name_of(&found), name);
            assert!(paths.insert(path.to_owned()), "two names at {path}");
        }
        // What others have stored is shown as it is.
        for path in ["a%20b", "100%", "%2f", "%2E", "ä/b c", "a%2Fb"] {
            let path: SecretPath = path.parse().unwrap();
            let name = name_of(&path);
            assert_eq!(path_of(&name).unwrap(), path, "{name}");
        }
        assert_eq!(path_of(""), None);
        assert_eq!(path_of("a\u{0}"), None);
        assert_eq!(path_of(&"a".repeat(513)), None);
    }

    #[test]
    fn arns_are_taken_apart() {
        let id =
            SecretId::parse("arn:aws:secretsmanager:eu-central-1:000000000000:secret:a/b-Ab1dEf");
        assert_eq!(
            id.candidates(),
            [("a/b", Some("Ab1dEf")), ("a/b-Ab1dEf", None)]
        );
        let id = SecretId::parse("arn:aws:secretsmanager:eu-central-1:000000000000:secret:a/b");
        assert_eq!(id.candidates(), [("a/b", None)]);
        for text in [
            "a",
            "arn:aws:s3:::x",
            "arn:aws:secretsmanager:r:0:key:a",
            "a-Ab1dEf",
            "",
        ] {
            assert_eq!(SecretId::parse(text), SecretId::Name(text.into()));
        }
    }

    #[test]
    fn names_of_new_secrets_are_checked() {
        for (name, is_good) in [
            ("a", true),
            ("/-_+=.@!A9", true),
            ("", false),
            ("a b", false),
            ("a%2F", false),
            ("bad name!*", false),
            ("ä", false),
        ] {
            assert_eq!(is_name(name), is_good, "{name}");
        }
        assert!(is_name(&"a".repeat(512)));
        assert!(!is_name(&"a".repeat(513)));
    }
}
