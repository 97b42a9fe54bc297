//! Writing manifests: first ones, and declarations added to one that is there.

use std::collections::BTreeSet;
use std::fmt::Write;

use strongroom_core::format::ValueType;
use strongroom_core::placeholder;
use strongroom_core::registry::Class;
use strongroom_core::secret::SecretValue;

/// A name found in a .env file, and what it looks like.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) is_sensitive: bool,
    pub(crate) value_type: Option<ValueType>,
    pub(crate) class: Class,
    pub(crate) is_required: bool,
    /// The value of a plain setting.
    pub(crate) default: Option<String>,
}

impl Candidate {
    /// Guesses from a name and the value it has in a file.
    pub(crate) fn guess(name: &str, value: &SecretValue) -> Self {
        // EXPOSE: looked at to guess its kind; only a plain setting's value is kept.
        let text = value.expose_secret_text().unwrap_or_default();
        let guess = placeholder::guess(name, text);
        let class = match (guess.generated, guess.infrastructure) {
            (true, _) => Class::PerInstallGenerated,
            (_, true) => Class::Infrastructure,
            _ => Class::UserPrompt,
        };
        let is_plain_text = !text.chars().any(char::is_control);
        let is_sensitive = guess.sensitive || may_be_secret(name, text);
        let keeps_default = !is_sensitive && is_plain_text && !text.is_empty();
        Self {
            name: name.to_owned(),
            is_sensitive,
            value_type: guess.format,
            class,
            is_required: !text.is_empty(),
            default: keeps_default.then(|| text.to_owned()),
        }
    }

    /// The declaration as TOML.
    pub(crate) fn toml(&self) -> String {
        let mut text = format!("[secrets.{}]\n", key(&self.name));
        if self.is_sensitive {
            let _ = writeln!(text, "class = \"{}\"", self.class.word());
        } else {
            text.push_str("sensitive = false\n");
        }
        if let Some(kind) = self.value_type {
            let _ = writeln!(text, "type = \"{kind}\"");
        }
        if let Some(default) = &self.default {
            let _ = writeln!(text, "default = {}", quoted(default));
        }
        if !self.is_required {
            text.push_str("required = false\n");
        }
        text
    }
}

/// A whole first manifest.
pub(crate) fn manifest(project: &str, chain: &[&str], candidates: &[Candidate]) -> String {
    let chain: Vec<String> = chain.iter().map(|entry| quoted(entry)).collect();
    let chain = chain.join(", ");
    let mut text = format!(
        "# What this project needs to run. Values are not here: `strongroom set NAME` stores one.\n\
         # `strongroom check` says what is missing, `strongroom run -- COMMAND` starts it.\n\
         \n[project]\nname = {}\n\
         \n[profiles.development]\nchain = [{chain}]\n\
         \n# Strict: no placeholders, no plain http, nothing shared with other profiles.\n\
         [profiles.production]\n\
         chain = [\"store\", \"env\"]\n",
        quoted(project)
    );
    let (secrets, settings): (Vec<_>, Vec<_>) = candidates
        .iter()
        .partition(|candidate| candidate.is_sensitive);
    for (title, group) in [("Secrets", secrets), ("Plain settings", settings)] {
        if group.is_empty() {
            continue;
        }
        let _ = write!(text, "\n# {title}\n");
        for candidate in group {
            let _ = write!(text, "\n{}", candidate.toml());
        }
    }
    text
}

/// A manifest with declarations added at its end.
pub(crate) fn with_added(text: &str, candidates: &[Candidate]) -> String {
    let mut text = text.to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for candidate in candidates {
        let _ = write!(text, "\n{}", candidate.toml());
    }
    text
}

/// A project's name from that of its folder.
pub(crate) fn project_name(folder: &str) -> String {
    let name: String = folder
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { "app".into() } else { name }
}

/// Candidates without doubles, in order.
pub(crate) fn distinct(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut seen = BTreeSet::new();
    candidates
        .into_iter()
        .filter(|candidate| seen.insert(candidate.name.clone()))
        .collect()
}

fn key(name: &str) -> String {
    let is_bare = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_bare && !name.is_empty() {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// Parts of names that a plain setting rarely has. A value that is kept out of the manifest for
/// nothing is a nuisance; a secret that is written into it is a leak.
const SECRET_PARTS: [&str; 10] = [
    "pass", "pwd", "auth", "cred", "secret", "token", "private", "salt", "pepper", "sign",
];
const SECRET_ENDS: [&str; 4] = ["key", "pin", "_pw", "dsn"];
/// From this length on, a value of letters and digits mixed may be a random one.
const RANDOM_CHARS_MIN: usize = 16;
/// Bits of entropy that a word or two do not have.
const RANDOM_BITS_MIN: f64 = 60.0;

/// Whether a name or value, not known to be a secret's, is too likely to be one.
fn may_be_secret(name: &str, text: &str) -> bool {
    let is_switch = strongroom_core::format::parse_bool(text).is_some();
    let name = name.to_lowercase();
    let by_name = SECRET_PARTS.iter().any(|part| name.contains(part))
        || SECRET_ENDS.iter().any(|end| name.ends_with(end));
    let is_span = [
        "expire", "ttl", "minutes", "days", "seconds", "path", "url", "source", "max",
    ]
    .iter()
    .any(|part| name.contains(part));
    if by_name && !is_switch && !is_span && !text.is_empty() {
        return true;
    }
    let is_random = text.chars().count() >= RANDOM_CHARS_MIN
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+/=_-".contains(c))
        && text.chars().any(|c| c.is_ascii_digit())
        && text.chars().any(|c| c.is_ascii_alphabetic())
        && !text.starts_with('/');
    is_random && strongroom_core::format::entropy_bits_estimate(text.as_bytes()) >= RANDOM_BITS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sensitive(name: &str, value: &str) -> bool {
        Candidate::guess(name, &SecretValue::copy_from(value.as_bytes())).is_sensitive
    }

    #[test]
    fn what_may_be_a_secret_is_kept_out_of_the_manifest() {
        for name in [
            "DBPASS",
            "MYSQLPWD",
            "NEWPASS",
            "AUTHKEY",
            "MASTERKEY",
            "ADMIN_PW",
            "PIN",
        ] {
            assert!(is_sensitive(name, "h4rd2Gu3ss"), "{name}");
        }
        assert!(is_sensitive("BLOB", "Zk3v9pQx7Lm2Ta8wRc5B"));
        for (name, value) in [
            ("PORT", "3000"),
            ("LOG_LEVEL", "info"),
            ("SITE_URL", "https://example.org/path"),
            ("AUTH_ENABLED", "true"),
            ("TOKEN_EXPIRE_MINUTES", "30"),
            ("DATA_FOLDER", "/var/lib/storefront-2"),
        ] {
            assert!(!is_sensitive(name, value), "{name}");
        }
    }
}
