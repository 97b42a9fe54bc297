//! From text to the raw form: every table on its own, so that all problems come at once.
//!
//! The parser's own messages quote values; only their kind and position are used.

use serde::de::DeserializeOwned;
use serde::de::IntoDeserializer;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use super::MANIFEST_BYTES_MAX;
use super::Place;
use super::Problem;
use super::Source;
use super::did_you_mean;
use super::raw::RawDeclaration;
use super::raw::RawManifest;
use super::raw::RawProfile;
use super::raw::RawProject;
use super::raw::Rotation;

const ROOT_KEYS: [&str; 4] = ["project", "profiles", "secrets", "rotation"];

/// The raw form, the order of the declarations, and where each thing stands.
#[derive(Default)]
pub(super) struct Read {
    pub(super) manifest: RawManifest,
    pub(super) order: Vec<String>,
    pub(super) places: BTreeMap<String, Place>,
}

pub(super) fn read(sources: &[Source<'_>]) -> Result<Read, Vec<Problem>> {
    let mut read = Read::default();
    let mut problems = Vec::new();
    for source in sources {
        Reader {
            source,
            line_starts: line_starts(source.text),
            read: &mut read,
            problems: &mut problems,
        }
        .read();
    }
    if problems.is_empty() {
        Ok(read)
    } else {
        Err(problems)
    }
}

struct Reader<'r, 's> {
    source: &'r Source<'s>,
    line_starts: Vec<usize>,
    read: &'r mut Read,
    problems: &'r mut Vec<Problem>,
}

impl Reader<'_, '_> {
    fn read(&mut self) {
        let text = self.source.text;
        if text.len() > MANIFEST_BYTES_MAX {
            let message = format!("the file has over {MANIFEST_BYTES_MAX} bytes");
            self.problem(0, "", "manifest.too_large", message, None);
            return;
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            // The message of a syntax error names what was expected, never what was found.
            let message = format!("not valid TOML: {}", error.message());
            self.problem(at, "", "manifest.syntax", message, None);
        }
        if !errors.is_empty() {
            return;
        }
        for (key, value) in table.into_inner() {
            let name = key.get_ref().to_string();
            self.section(&name, key.span(), value);
        }
    }

    fn section(&mut self, name: &str, span: Range<usize>, value: Spanned<DeValue<'_>>) {
        match name {
            "project" => {
                if let Some(project) = self.deserialize::<RawProject>(name, value) {
                    overlay_project(&mut self.read.manifest.project, project);
                }
            }
            "profiles" => self.tables(name, value, |reader, key, profile: RawProfile| {
                let entry = reader.read.manifest.profiles.entry(key).or_default();
                overlay_profile(entry, profile);
            }),
            "secrets" => self.tables(name, value, |reader, key, secret: RawDeclaration| {
                if !reader.read.manifest.secrets.contains_key(&key) {
                    reader.read.order.push(key.clone());
                }
                let entry = reader.read.manifest.secrets.entry(key).or_default();
                overlay_declaration(entry, secret);
            }),
            "rotation" => self.tables(name, value, |reader, key, rotation: Rotation| {
                reader.read.manifest.rotation.insert(key, rotation);
            }),
            _ => self.unknown_key(name, span, &ROOT_KEYS),
        }
    }

    fn tables<T: DeserializeOwned>(
        &mut self,
        section: &str,
        value: Spanned<DeValue<'_>>,
        mut take: impl FnMut(&mut Self, String, T),
    ) {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            let message = "expected a table".into();
            self.problem(span.start, section, "manifest.wrong_type", message, None);
            return;
        };
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let path = format!("{section}.{name}");
            let place = self.place(key.span().start, &path);
            self.read.places.entry(path.clone()).or_insert(place);
            if let Some(parsed) = self.deserialize(&path, value) {
                take(self, name, parsed);
            }
        }
    }

    fn deserialize<T: DeserializeOwned>(
        &mut self,
        path: &str,
        value: Spanned<DeValue<'_>>,
    ) -> Option<T> {
        let span = value.span();
        match T::deserialize(value.into_deserializer()) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let at = error.span().unwrap_or(span);
                self.wrong_value(path, at, error.message());
                None
            }
        }
    }

    /// Puts the deserialiser's message in words of ours, without the value that it quotes.
    fn wrong_value(&mut self, path: &str, span: Range<usize>, message: &str) {
        if let Some(rest) = message.strip_prefix("unknown field `") {
            let (name, expected) = rest.split_once('`').unwrap_or((rest, ""));
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let path = format!("{path}.{name}");
            self.unknown_key(&path, span, &known);
            return;
        }
        let key = self.key_at(path, &span);
        let (code, message) = if let Some(field) = message.strip_prefix("missing field ") {
            (
                "manifest.missing_key",
                format!("the key {} is missing", field.replace('`', "'")),
            )
        } else if let Some((_, expected)) = message.rsplit_once(", expected ") {
            (
                "manifest.wrong_type",
                format!("expected {}", expected.replace('`', "'")),
            )
        } else if message.contains("did not match any variant") {
            ("manifest.wrong_type", "the value has the wrong type".into())
        } else {
            ("manifest.wrong_value", own_message(&key, message))
        };
        self.problem(span.start, &key, code, message, None);
    }

    fn unknown_key(&mut self, path: &str, span: Range<usize>, known: &[&str]) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let hint = match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let message = "this key is not known".into();
        self.problem(
            span.start,
            path,
            "manifest.unknown_key",
            message,
            Some(hint),
        );
    }

    /// The path with the key that stands before a value on its line.
    fn key_at(&self, path: &str, span: &Range<usize>) -> String {
        let before = self.source.text.get(..span.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let key = line.split('=').next().unwrap_or_default().trim();
        let is_key = !key.is_empty()
            && line.contains('=')
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if is_key {
            format!("{path}.{key}")
        } else {
            path.to_owned()
        }
    }

    fn problem(
        &mut self,
        at: usize,
        key: &str,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        let place = self.place(at, key);
        self.problems.push(Problem {
            place,
            code,
            message,
            hint,
        });
    }

    fn place(&self, at: usize, key: &str) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= at);
        let start = self.line_starts.get(line.wrapping_sub(1)).copied();
        let before = self.source.text.get(start.unwrap_or(0)..at);
        let column = before.unwrap_or_default().chars().count() + 1;
        Place {
            file: self.source.name.to_owned(),
            line,
            column,
            key: key.to_owned(),
        }
    }
}

/// Where each line begins: every key of a manifest is placed, so nothing is counted twice.
fn line_starts(text: &str) -> Vec<usize> {
    let after = |(at, _): (usize, &str)| at + 1;
    std::iter::once(0)
        .chain(text.match_indices('\n').map(after))
        .collect()
}

/// Keys of a generator that its messages may name.
const GENERATOR_KEYS: [&str; 9] = [
    "type",
    "length",
    "bytes",
    "charset",
    "words",
    "separator",
    "classes",
    "symbols",
    "allow_short_charset",
];

/// A generator's own messages name bounds and words of ours; anything else is not repeated.
fn own_message(key: &str, message: &str) -> String {
    let is_of_generator = key.ends_with(".generator");
    match message.split_once('`') {
        None if is_of_generator => message.to_owned(),
        // What stands in backticks was typed by somebody.
        Some(_) if is_of_generator => {
            let keep = |(at, part): (usize, &'_ str)| {
                let is_ours = at % 2 == 0 || GENERATOR_KEYS.contains(&part);
                if is_ours {
                    part.to_owned()
                } else {
                    "…".to_owned()
                }
            };
            message.split('`').enumerate().map(keep).collect()
        }
        _ => "the value cannot be read".into(),
    }
}

fn overlay_project(base: &mut RawProject, over: RawProject) {
    base.name = over.name.or(base.name.take());
    base.description = over.description.or(base.description.take());
    base.default_profile = over.default_profile.or(base.default_profile.take());
}

fn overlay_profile(base: &mut RawProfile, over: RawProfile) {
    base.inherits = over.inherits.or(base.inherits.take());
    base.chain = over.chain.or(base.chain.take());
    base.strict = over.strict.or(base.strict);
    base.allow_placeholders = over.allow_placeholders.or(base.allow_placeholders.take());
    base.inherit_env = over.inherit_env.or(base.inherit_env.take());
}

fn overlay_declaration(base: &mut RawDeclaration, over: RawDeclaration) {
    base.path = over.path.or(base.path.take());
    base.class = over.class.or(base.class);
    base.description = over.description.or(base.description.take());
    base.required = over.required.or(base.required.take());
    base.format = over.format.or(base.format.take());
    base.value_type = over.value_type.or(base.value_type);
    base.min_length = over.min_length.or(base.min_length);
    base.min_entropy = over.min_entropy.or(base.min_entropy);
    base.generator = over.generator.or(base.generator.take());
    base.rotation = over.rotation.or(base.rotation.take());
    base.dynamic = over.dynamic.or(base.dynamic.take());
    base.tags = over.tags.or(base.tags.take());
    base.owner = over.owner.or(base.owner.take());
    base.prompt = over.prompt.or(base.prompt.take());
    base.fallback = over.fallback.or(base.fallback.take());
    base.default = over.default.or(base.default.take());
    base.example = over.example.or(base.example.take());
    base.sensitive = over.sensitive.or(base.sensitive);
    base.target = over.target.or(base.target.take());
    base.tiers = over.tiers.or(base.tiers.take());
}
