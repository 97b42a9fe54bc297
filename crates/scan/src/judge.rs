//! What a pattern found and is no secret all the same.

use strongroom_core::format;
use strongroom_core::placeholder;

use crate::rule::Kind;
use crate::rule::Rule;

/// Comments that let what stands in their line be.
const ALLOWED: [&[u8]; 2] = [b"strongroom:allow", b"gitleaks:allow"];
/// Endings of files that hold settings.
const SETTINGS: [&str; 16] = [
    "env",
    "yml",
    "yaml",
    "properties",
    "ini",
    "cfg",
    "conf",
    "cnf",
    "toml",
    "tfvars",
    "config",
    "sh",
    "bash",
    "envrc",
    "credentials",
    "plist",
];
/// Endings of values that are files.
const FILES: [&str; 12] = [
    ".pem", ".key", ".crt", ".cer", ".p12", ".jks", ".txt", ".json", ".yaml", ".yml", ".js", ".py",
];
/// In names of lists of what was downloaded: sums, not secrets.
const LISTS: [&str; 9] = [
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "Cargo.lock",
    "go.sum",
    "poetry.lock",
    "composer.lock",
    "Gemfile.lock",
];

/// What is known of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileKind {
    pub(crate) is_settings: bool,
    is_list: bool,
}

impl FileKind {
    pub(crate) fn of(path: &str) -> Self {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let lower = name.to_ascii_lowercase();
        let end = lower.rsplit('.').next().unwrap_or_default();
        // `.env.production`, `.npmrc`, and names without an ending, such as `credentials`.
        let is_settings = SETTINGS.contains(&end)
            || lower.starts_with(".env")
            || lower.starts_with('.') && lower.ends_with("rc");
        Self {
            is_settings,
            is_list: LISTS.contains(&name),
        }
    }
}

/// A match of a rule.
pub(crate) struct Candidate<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) name: &'a str,
    pub(crate) value: &'a [u8],
    /// The whole line, or what is there of it.
    pub(crate) line: &'a [u8],
    pub(crate) file: FileKind,
}

/// Whether somebody who looks would take it for a secret.
pub(crate) fn is_secret(candidate: &Candidate<'_>) -> bool {
    let Candidate {
        rule,
        name,
        value,
        line,
        file,
    } = candidate;
    if rule.in_settings_only && !file.is_settings {
        return false;
    }
    if rule.kind == Kind::Assignment && file.is_list {
        return false;
    }
    if ALLOWED
        .iter()
        .any(|mark| memchr::memmem::find(line, mark).is_some())
    {
        return false;
    }
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let name = match (rule.kind, *name) {
        (Kind::Structure, _) => "PASSWORD",
        (_, "") => "TOKEN",
        (_, name) => name,
    };
    if format::entropy_bits_estimate(value) < rule.least_bits
        || placeholder::placeholder_reason(name, text, None).is_some()
        || is_reference(text)
    {
        return false;
    }
    rule.kind != Kind::Assignment || is_assigned(name, text)
}

/// `${…}`, `$NAME`, `{{ … }}`, `%(…)s`, `<…>`: the value is elsewhere.
fn is_reference(text: &str) -> bool {
    let wraps = [
        ("${", "}"),
        ("{{", "}}"),
        ("$(", ")"),
        ("<", ">"),
        ("#{", "}"),
        ("%(", ")"),
    ];
    let is_wrapped = wraps.iter().any(|(open, close)| {
        let inner = text.split_once(open).map(|(_, rest)| rest);
        inner.is_some_and(|rest| rest.contains(close))
    });
    let is_variable = text.strip_prefix('$').is_some_and(|rest| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '_') && rest.chars().all(is_name)
    });
    let is_tag = text.starts_with('!') && text[1..].chars().all(|c| c.is_ascii_alphabetic());
    is_wrapped || is_variable || is_tag
}

/// A name that sounds like a secret's is not enough: the value has to look like one.
fn is_assigned(name: &str, text: &str) -> bool {
    if !placeholder::is_sensitive_name(name) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let is_path = text.starts_with(['/', '~', '.']) && text.contains('/')
        || text.contains(":\\")
        || FILES.iter().any(|end| lower.ends_with(end));
    // What has a password in it another rule finds.
    let is_url = text.contains("://");
    let is_code = text.contains(['(', ')', '{', '}', '<', '>'])
        || [
            "process.env",
            "os.environ",
            "getenv",
            "env.",
            "secrets.",
            "var.",
        ]
        .iter()
        .any(|word| lower.contains(word));
    let has = |test: fn(char) -> bool| text.chars().any(test);
    let classes = [
        has(|c| c.is_ascii_lowercase()),
        has(|c| c.is_ascii_uppercase()),
        has(|c| c.is_ascii_digit()),
        has(|c| !c.is_ascii_alphanumeric() && !"_-.".contains(c)),
    ];
    let kinds = classes.iter().filter(|has| **has).count();
    let is_mixed = kinds >= 3 || kinds >= 2 && classes[2];
    is_mixed && !is_path && !is_url && !is_code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_no_values() {
        for text in [
            "${A}",
            "x-${A}-y",
            "$DB_PASSWORD",
            "{{ vault }}",
            "<token>",
            "!vault",
        ] {
            assert!(is_reference(text), "{text}");
        }
        for text in ["$2y$10$abc", "a$b", "$ecret1", "!Tr0ub4dor"] {
            assert!(!is_reference(text), "{text}");
        }
    }

    #[test]
    fn files_of_settings_are_told_by_their_names() {
        for path in [
            ".env",
            "a/.env.production",
            "x/app.yml",
            "/home/ann/.npmrc",
            ".pypirc",
        ] {
            assert!(FileKind::of(path).is_settings, "{path}");
        }
        for path in ["main.rs", "env/main.go", "README.md", "rc"] {
            assert!(!FileKind::of(path).is_settings, "{path}");
        }
    }
}
