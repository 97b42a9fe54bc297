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
        let keeps_default = !guess.sensitive && is_plain_text && !text.is_empty();
        Self {
            name: name.to_owned(),
            is_sensitive: guess.sensitive,
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
