//! A declaration found in another tool's manifest, and how it is written in ours.

use std::collections::BTreeMap;
use std::fmt::Write;

use strongroom_core::format::ValueType;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Source;
use strongroom_core::path::SecretPath;
use strongroom_core::placeholder;
use strongroom_core::registry::Class;

/// A secret or setting that another tool's manifest declares. It never holds a secret's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The environment variable.
    pub name: String,
    /// Its path, when it has one there.
    pub path: Option<String>,
    /// Where its value comes from, as far as the manifest says.
    pub class: Option<Class>,
    /// False for a plain setting.
    pub is_sensitive: bool,
    /// Whether it has to be there, by profile; `*` is every other profile.
    pub required: BTreeMap<String, bool>,
    /// What it is for.
    pub description: Option<String>,
    /// What kind of value it is.
    pub value_type: Option<ValueType>,
    /// A regular expression its value matches.
    pub format: Option<String>,
    /// Least length, in characters.
    pub min_length: Option<usize>,
    /// How it is generated: its kind and length.
    pub generator: Option<Generated>,
    /// What a person is asked.
    pub prompt: Option<String>,
    /// Where a person gets a value.
    pub link: Option<String>,
    /// A value that shows the form.
    pub example: Option<String>,
    /// The values of a plain setting by profile; `*` is every other profile.
    pub default: BTreeMap<String, String>,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// What a person should know: what was not taken over, and why.
    pub notes: Vec<String>,
}

/// How a value is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    /// As our generator does when nothing more is said.
    Usual,
    /// Letters and digits, this many.
    Random(u16),
    /// Letters, digits and symbols, this many.
    Password(u16),
    /// Hexadecimal digits, this many.
    Hex(u16),
    /// Base64 of this many bytes.
    Base64(u16),
    /// A UUID.
    Uuid,
}

impl Generated {
    fn toml(self) -> String {
        match self {
            Self::Usual => "{ type = \"random\" }".to_owned(),
            Self::Random(length) => format!("{{ type = \"random\", length = {length} }}"),
            Self::Password(length) => format!("{{ type = \"password\", length = {length} }}"),
            Self::Hex(length) => format!("{{ type = \"hex\", length = {length} }}"),
            Self::Base64(bytes) => format!("{{ type = \"base64\", bytes = {bytes} }}"),
            Self::Uuid => "{ type = \"uuid\" }".to_owned(),
        }
    }
}

/// Every profile that is not named.
pub(super) const EVERY_OTHER: &str = "*";

impl Declared {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_sensitive: true,
            ..Self::default()
        }
    }

    /// Says whether it is needed in every profile.
    pub(super) fn require(&mut self, is_required: bool) {
        self.required.insert(EVERY_OTHER.to_owned(), is_required);
    }

    /// Takes a default over where it is a plain setting's; that of a secret is a value, which does
    /// not stand in a manifest.
    pub(super) fn offer_default(&mut self, profile: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let is_secret = self.is_sensitive || placeholder::guess(&self.name, text).sensitive;
        if is_secret || text.contains(char::is_control) {
            self.is_sensitive = true;
            self.default.clear();
            self.note("its default is not taken over: a secret's value stands in no manifest");
        } else {
            self.default.insert(profile.to_owned(), text.to_owned());
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The table of our manifest, with what is left out said in comments; facts about profiles
    /// that are not among `profiles` are left out.
    ///
    /// The table is one that our manifest takes: a default or an example that does not fit the
    /// declared form is left out, and so is a form that we cannot check.
    #[must_use]
    pub fn toml(&self, profiles: &[&str]) -> String {
        let mut rest = self.clone();
        rest.drop_profiles(profiles);
        if rest
            .path
            .as_ref()
            .is_some_and(|path| path.parse::<SecretPath>().is_err())
        {
            rest.path = None;
            rest.note("its path is not taken over");
        }
        type Step = (fn(&mut Declared), &'static str);
        let steps: [Step; 5] = [
            (|one| one.example = None, "its example is not taken over"),
            (
                |one| one.generator = None,
                "its generator is not taken over",
            ),
            (|one| one.default.clear(), "its default is not taken over"),
            (|one| one.format = None, "its pattern is not taken over"),
            (|one| one.value_type = None, "its type is not taken over"),
        ];
        for (drop_one, note) in steps {
            if rest.is_taken() {
                break;
            }
            let before = rest.clone();
            drop_one(&mut rest);
            if rest != before {
                rest.note(note);
            }
            if rest.generator.is_none() && rest.class == Some(Class::PerInstallGenerated) {
                rest.class = Some(Class::UserPrompt);
            }
        }
        let mut text = String::new();
        for note in &rest.notes {
            let note = note.replace(char::is_control, " ");
            let _ = writeln!(text, "# {note}");
        }
        text + &rest.table()
    }

    fn drop_profiles(&mut self, known: &[&str]) {
        let is_known =
            |profile: &String| profile == EVERY_OTHER || known.contains(&profile.as_str());
        let unknown: Vec<String> = self
            .required
            .keys()
            .chain(self.default.keys())
            .filter(|profile| !is_known(profile))
            .cloned()
            .collect();
        for profile in unknown {
            self.required.remove(&profile);
            self.default.remove(&profile);
            self.note(format!("the profile '{profile}' is left out"));
        }
    }

    /// True when our manifest takes the declaration as it is.
    fn is_taken(&self) -> bool {
        let mut profiles = String::new();
        for profile in self.required.keys().chain(self.default.keys()) {
            let header = format!("[profiles.{}]\n", quoted(profile));
            if profile != EVERY_OTHER && !profiles.contains(&header) {
                profiles.push_str(&header);
            }
        }
        let text = format!("[project]\nname = \"x\"\n{profiles}{}", self.table());
        let source = Source {
            name: "x",
            text: &text,
        };
        Manifest::parse(&[source]).is_ok()
    }

    fn table(&self) -> String {
        let mut text = format!("[secrets.{}]\n", key(&self.name));
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{name} = {value}");
            }
        };
        let text_of = |value: &Option<String>| value.as_deref().map(quoted);
        line("path", text_of(&self.path));
        if self.is_sensitive {
            line("class", self.class.map(|class| quoted(class.word())));
        } else {
            line("sensitive", Some("false".to_owned()));
        }
        line("description", text_of(&self.description));
        line(
            "type",
            self.value_type.map(|kind| quoted(&kind.to_string())),
        );
        line("format", text_of(&self.format));
        line(
            "min_length",
            self.min_length.map(|length| length.to_string()),
        );
        line("generator", self.generator.map(Generated::toml));
        line("prompt", self.prompt_table());
        line("example", text_of(&self.example));
        line("required", by_profile(&self.required, bool::to_string));
        line("default", by_profile(&self.default, |value| quoted(value)));
        let tags = self.tags.iter();
        let tags: Vec<String> = tags
            .map(|(name, tag)| format!("{} = {}", key(name), quoted(tag)))
            .collect();
        line(
            "tags",
            (!tags.is_empty()).then(|| format!("{{ {} }}", tags.join(", "))),
        );
        text
    }

    fn prompt_table(&self) -> Option<String> {
        if self.prompt.is_none() && self.link.is_none() {
            return None;
        }
        let label = self.prompt.as_deref().unwrap_or(&self.name);
        let link = self
            .link
            .as_deref()
            .map(|link| format!(", link = {}", quoted(link)));
        let label = quoted(label);
        Some(format!("{{ label = {label}{} }}", link.unwrap_or_default()))
    }
}

fn by_profile<T>(values: &BTreeMap<String, T>, write: impl Fn(&T) -> String) -> Option<String> {
    let mut pairs = values.iter();
    match (pairs.next(), pairs.next()) {
        (None, _) => None,
        (Some((profile, value)), None) if profile == EVERY_OTHER => Some(write(value)),
        _ => {
            let each = values.iter();
            let each: Vec<String> = each
                .map(|(profile, value)| format!("{} = {}", key(profile), write(value)))
                .collect();
            Some(format!("{{ {} }}", each.join(", ")))
        }
    }
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_bare {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests;
