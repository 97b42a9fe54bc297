//! Docker Compose files.

use std::collections::BTreeMap;

use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;

use super::Import;
use super::ImportError;
use super::Imported;
use super::Need;
use super::Referenced;
use super::SkipReason;
use super::Skipped;
use super::yaml;
use super::yaml::Node;

pub(super) mod interpolation;

/// Reads a Compose file.
///
/// Literal values under `environment` are given as values; `$$` is a dollar sign. Names come from
/// `${NAME}`, `$NAME` and their forms with a default or an error anywhere in the file, from
/// variables without a value, and from `secrets`. A variable that has different values in several
/// services is called `<service>/<NAME>`.
///
/// # Errors
/// When the bytes are no YAML, a template, or no Compose file.
pub fn from_compose(bytes: &[u8]) -> Result<Import, ImportError> {
    let mut reader = Reader::default();
    let documents = yaml::documents(bytes)?;
    let has_part = |key: &str| documents.iter().any(|document| document.get(key).is_some());
    if !has_part("services") && !has_part("secrets") {
        let expected = "a Compose file with 'services' or 'secrets'";
        return Err(ImportError::Form {
            line: 1,
            column: 1,
            expected,
        });
    }
    for document in &documents {
        for (key, node) in document.fields() {
            match key.as_str() {
                "services" => {
                    node.fields()
                        .iter()
                        .for_each(|(name, node)| reader.service(name, node));
                }
                "secrets" => {
                    node.fields()
                        .iter()
                        .for_each(|(name, node)| reader.secret(name, node));
                }
                // Fragments for use elsewhere; they are seen where they are used.
                key if key.starts_with("x-") => {}
                key => reader.texts(node, key),
            }
        }
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    import: Import,
    literals: Vec<Literal>,
}

struct Literal {
    service: String,
    name: String,
    value: SecretValue,
}

impl Reader {
    fn service(&mut self, service: &str, node: &Node) {
        for (key, node) in node.fields() {
            let place = format!("services.{service}.{key}");
            match key.as_str() {
                "environment" => self.environment(service, node, &place),
                "secrets" => self.used_secrets(node, &place),
                "env_file" => {
                    self.import.skipped.push(Skipped {
                        name: place,
                        reason: SkipReason::OtherFile,
                    });
                }
                _ => self.texts(node, &place),
            }
        }
    }

    fn environment(&mut self, service: &str, node: &Node, place: &str) {
        for item in node.items() {
            let Some(text) = item.text() else { continue };
            match text.split_once('=') {
                Some((name, value)) => self.variable(service, name, value, place),
                None => self.refer(text, place, None, Need::Unstated),
            }
        }
        for (name, node) in node.fields() {
            match node {
                Node::Text(value) => self.variable(service, name, value, place),
                Node::Whole(digits) => self.variable(service, name, digits, place),
                Node::Bool(value) => self.variable(service, name, &value.to_string(), place),
                Node::Null => self.refer(name, place, None, Need::Unstated),
                Node::Fraction => self.skip(place, name, SkipReason::UnquotedNumber),
                Node::List(_) | Node::Map(_) => self.skip(place, name, SkipReason::NotText),
            }
        }
    }

    fn variable(&mut self, service: &str, name: &str, text: &str, place: &str) {
        let place = format!("{place}.{name}");
        let scanned = interpolation::scan(text);
        for (name, need) in &scanned.references {
            self.refer(name, &place, None, *need);
        }
        if scanned.references.is_empty() {
            let (service, name) = (service.to_owned(), name.to_owned());
            let value = SecretValue::copy_from(scanned.literal.as_bytes());
            self.literals.push(Literal {
                service,
                name,
                value,
            });
        } else if !scanned.is_one_reference {
            self.import.skipped.push(Skipped {
                name: place,
                reason: SkipReason::Composed,
            });
        }
    }

    fn used_secrets(&mut self, node: &Node, place: &str) {
        for item in node.items() {
            let name = item.text().or_else(|| item.text_at(&["source"]));
            if let Some(name) = name {
                self.refer(name, place, None, Need::Required);
            }
        }
    }

    fn secret(&mut self, name: &str, node: &Node) {
        let source = if let Some(file) = node.text_at(&["file"]) {
            Some(format!("file {file}"))
        } else if let Some(variable) = node.text_at(&["environment"]) {
            Some(format!("variable {variable}"))
        } else if matches!(node.get("external"), Some(Node::Bool(true) | Node::Map(_))) {
            Some("external".to_owned())
        } else {
            None
        };
        self.refer(name, "secrets", source, Need::Unstated);
        self.texts(node, &format!("secrets.{name}"));
    }

    /// Finds the variables that any text below a place refers to.
    fn texts(&mut self, node: &Node, place: &str) {
        if let Some(text) = node.text() {
            for (name, need) in interpolation::scan(text).references {
                self.refer(&name, place, None, need);
            }
        }
        node.items().iter().for_each(|item| self.texts(item, place));
        for (key, node) in node.fields() {
            self.texts(node, &format!("{place}.{key}"));
        }
    }

    fn refer(&mut self, name: &str, place: &str, source: Option<String>, need: Need) {
        let referenced = Referenced {
            name: name.to_owned(),
            place: place.to_owned(),
            source,
            need,
        };
        if self.import.referenced.last() != Some(&referenced) {
            self.import.referenced.push(referenced);
        }
    }

    fn skip(&mut self, place: &str, name: &str, reason: SkipReason) {
        self.import.skipped.push(Skipped {
            name: format!("{place}.{name}"),
            reason,
        });
    }

    /// One value per name where all services agree, else one per service.
    fn finish(mut self) -> Import {
        let mut agree: BTreeMap<&str, (&SecretValue, bool)> = BTreeMap::new();
        for literal in &self.literals {
            let (first, equal) = agree.entry(&literal.name).or_insert((&literal.value, true));
            *equal = *equal && first.ct_eq(&literal.value);
        }
        let agree: BTreeMap<String, bool> = agree
            .into_iter()
            .map(|(name, (_, equal))| (name.to_owned(), equal))
            .collect();
        let mut taken = std::collections::BTreeSet::new();
        for Literal {
            service,
            name,
            value,
        } in self.literals
        {
            let is_shared = agree.get(&name).copied().unwrap_or(false);
            let name = if is_shared {
                name
            } else {
                format!("{service}/{name}")
            };
            if taken.insert(name.clone()) {
                self.import
                    .imported
                    .push(Imported::new(name, value, Shape::Text));
            }
        }
        self.import
    }
}
