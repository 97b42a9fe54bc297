//! Manifests in TOML: `secretspec.toml` and `fnox.toml`.

use std::collections::BTreeMap;

use strongroom_core::registry::Class;
use toml::Table;
use toml::Value;

use super::IMPORT_BYTES_MAX;
use super::Import;
use super::ImportError;
use super::SkipReason;
use super::Skipped;
use super::declared::Declared;
use super::declared::EVERY_OTHER;
use super::declared::Generated;
use crate::dotenv;

/// Reads a `secretspec.toml`: names, descriptions, what is required in which profile, generators.
/// Its profile `default` stands for every profile that is not named.
///
/// # Errors
/// When the bytes are no TOML, or there are no profiles in them.
pub fn from_secretspec(bytes: &[u8]) -> Result<Import, ImportError> {
    let manifest = parse(bytes)?;
    let Some(Value::Table(profiles)) = manifest.get("profiles") else {
        return Err(form("a secretspec.toml with 'profiles'"));
    };
    let mut reader = Reader::default();
    if let Some(extended) = manifest
        .get("project")
        .and_then(|project| project.get("extends"))
    {
        for path in extended.as_array().into_iter().flatten() {
            reader.skip(path.as_str().unwrap_or("extends"), SkipReason::OtherFile);
        }
    }
    // The default profile first: the others say what is different in them.
    let (default, others): (Vec<_>, Vec<_>) =
        profiles.iter().partition(|(name, _)| *name == "default");
    for (profile, node) in default.into_iter().chain(others) {
        let profile = if profile == "default" {
            EVERY_OTHER
        } else {
            profile
        };
        let defaults = node.get("defaults").and_then(Value::as_table);
        for (name, node) in node.as_table().into_iter().flatten() {
            match node {
                Value::Table(fields) if name != "defaults" => {
                    reader.secretspec(profile, name, fields, defaults);
                }
                Value::Table(_) => {}
                _ => reader.skip(name, SkipReason::NotText),
            }
        }
    }
    Ok(reader.finish())
}

/// Reads a `fnox.toml`: names, descriptions and where the values are. Values that stand in it
/// encrypted are not read: fnox opens them.
///
/// # Errors
/// When the bytes are no TOML, or there are no secrets in them.
pub fn from_fnox(bytes: &[u8]) -> Result<Import, ImportError> {
    let manifest = parse(bytes)?;
    let mut reader = Reader::default();
    let top = manifest.get("secrets").and_then(Value::as_table);
    let profiles = manifest.get("profiles").and_then(Value::as_table);
    if top.is_none() && profiles.is_none() {
        return Err(form("a fnox.toml with 'secrets'"));
    }
    for path in manifest
        .get("import")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        reader.skip(path.as_str().unwrap_or("import"), SkipReason::OtherFile);
    }
    let if_missing = manifest.get("if_missing").and_then(Value::as_str);
    let mut groups = vec![(EVERY_OTHER, top)];
    for (profile, node) in profiles.into_iter().flatten() {
        groups.push((profile, node.get("secrets").and_then(Value::as_table)));
    }
    for (profile, secrets) in groups {
        for (name, node) in secrets.into_iter().flatten() {
            reader.fnox(profile, name, node, if_missing);
        }
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    order: Vec<String>,
    declared: BTreeMap<String, Declared>,
    skipped: Vec<Skipped>,
}

impl Reader {
    fn skip(&mut self, name: &str, reason: SkipReason) {
        let name = name.to_owned();
        self.skipped.push(Skipped { name, reason });
    }

    fn declared(&mut self, name: &str) -> &mut Declared {
        if !self.declared.contains_key(name) {
            self.order.push(name.to_owned());
        }
        let name = name.to_owned();
        self.declared
            .entry(name.clone())
            .or_insert_with(|| Declared::new(&name))
    }

    fn secretspec(&mut self, profile: &str, name: &str, fields: &Table, defaults: Option<&Table>) {
        let field = |key: &str| fields.get(key).or_else(|| defaults?.get(key));
        let one = self.declared(name);
        if let Some(text) = field("description").and_then(Value::as_str) {
            one.description.get_or_insert_with(|| text.to_owned());
        }
        let default = field("default").and_then(Value::as_str);
        // A secret with a default is there in any case.
        let is_required = field("required").and_then(Value::as_bool);
        match is_required {
            Some(is_required) => {
                one.required.insert(profile.to_owned(), is_required);
            }
            None if default.is_some() => {
                one.required.insert(profile.to_owned(), false);
            }
            None => {}
        }
        let kind = field("type").and_then(Value::as_str);
        match field("generate") {
            Some(Value::Boolean(true)) => one.generate(generator(kind, None)),
            Some(Value::Table(options)) => one.generate(generator(kind, Some(options))),
            _ => {}
        }
        if let Some(text) = default {
            // Who gives a default in a public file takes the value for a plain one, unless its
            // name or form says otherwise.
            if one.generator.is_none() {
                one.is_sensitive = strongroom_core::placeholder::guess(name, text).sensitive;
            }
            one.offer_default(profile, text);
        }
        for (key, note) in [
            ("as_path", "it was handed over as a file: see 'target'"),
            (
                "composed",
                "it was put together from others: that is not taken over",
            ),
            (
                "providers",
                "its providers are not taken over: see a profile's 'chain'",
            ),
            ("ref", "its place in a provider ('ref') is not taken over"),
        ] {
            if field(key).is_some_and(|value| value.as_bool() != Some(false)) {
                one.note(note);
            }
        }
    }

    fn fnox(&mut self, profile: &str, name: &str, node: &Value, if_missing: Option<&str>) {
        let fields = match node {
            Value::Table(fields) => fields,
            // A bare text is a value in clear.
            _ => return self.skip(name, SkipReason::InManifest),
        };
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let one = self.declared(name);
        if let Some(description) = text("description") {
            one.description
                .get_or_insert_with(|| description.to_owned());
        }
        let required = match text("if_missing").or(if_missing) {
            Some("error") => Some(true),
            Some("ignore" | "warn") => Some(false),
            _ => None,
        };
        if let Some(is_required) = required {
            one.required.insert(profile.to_owned(), is_required);
        }
        let provider = text("provider");
        if let Some(default) = text("default") {
            if provider.is_none() {
                one.is_sensitive = strongroom_core::placeholder::guess(name, default).sensitive;
            }
            one.offer_default(profile, default);
        }
        match (provider, text("value")) {
            (Some(provider), Some(_)) => {
                let provider = provider.to_owned();
                one.note(format!(
                    "fnox had it from the provider '{provider}': fnox get {name}"
                ));
            }
            (None, Some(_)) => self.skip(name, SkipReason::InManifest),
            _ => {}
        }
    }

    fn finish(mut self) -> Import {
        let taken = self
            .order
            .iter()
            .filter_map(|name| self.declared.remove(name));
        Import {
            declared: taken.collect(),
            skipped: self.skipped,
            ..Import::default()
        }
    }
}

impl Declared {
    fn generate(&mut self, generator: Option<Generated>) {
        self.class = Some(Class::PerInstallGenerated);
        self.generator = generator;
        if self.generator.is_none() {
            self.generator = Some(Generated::Usual);
            self.note("its kind of generator is not known here: the usual one is taken");
        }
    }
}

/// The generators that secretspec documents.
fn generator(kind: Option<&str>, options: Option<&Table>) -> Option<Generated> {
    let number = |key: &str, usual: u16| {
        let found = options
            .and_then(|options| options.get(key))
            .and_then(Value::as_integer);
        found.map_or(Some(usual), |number| u16::try_from(number).ok())
    };
    match kind {
        None | Some("password") => Some(Generated::Random(number("length", 32)?)),
        Some("hex") => Some(Generated::Hex(number("bytes", 32)?.checked_mul(2)?)),
        Some("base64") => Some(Generated::Base64(number("bytes", 32)?)),
        Some("uuid") => Some(Generated::Uuid),
        Some(_) => None,
    }
}

fn form(expected: &'static str) -> ImportError {
    ImportError::Form {
        line: 1,
        column: 1,
        expected,
    }
}

/// Parses TOML; of an error only the place is kept, since its text quotes the line.
pub(super) fn parse(bytes: &[u8]) -> Result<Table, ImportError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let at = |valid: &str| {
        let (line, column) = dotenv::end_of(valid);
        ImportError::Toml { line, column }
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        at(std::str::from_utf8(valid).unwrap_or_default())
    })?;
    text.parse::<Table>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        at(text.get(..start).unwrap_or_default())
    })
}
