//! `secrets.json` in its three forms.

use std::collections::BTreeSet;
use std::fmt;

use serde::de;
use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;

use super::IMPORT_BYTES_MAX;
use super::Import;
use super::ImportError;
use super::Imported;
use super::SkipReason;
use super::Skipped;

/// Reads `{"secrets": {name: value}}`, `{name: value}`, or the latter with a `_metadata` object.
///
/// A text is taken exactly, an object as compact JSON text with the shape fields, a number, `true`,
/// `false` or a list as its JSON text. Of `_metadata`, `environment` becomes a tag and
/// `last_updated` the time of the last change.
///
/// # Errors
/// When the bytes are no such file: then nothing is imported, and an unreadable file is never taken
/// for an empty one.
pub fn from_secrets_json(bytes: &[u8]) -> Result<Import, ImportError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let node = Slot
        .deserialize(&mut parser)
        .map_err(|error| json_error(&error))?;
    parser.end().map_err(|error| json_error(&error))?;
    let Node::Object(fields) = node else {
        return Err(ImportError::Form {
            line: 1,
            column: 1,
            expected: "an object",
        });
    };
    let mut import = Import::default();
    let is_wrapped = fields
        .iter()
        .any(|(name, node)| name == "secrets" && matches!(node, Node::Object(_)));
    let mut metadata = None;
    for (name, node) in fields {
        match node {
            Node::Object(fields) if name == "_metadata" => metadata = Some(fields),
            Node::Object(secrets) if is_wrapped && name == "secrets" => {
                for (name, node) in secrets {
                    import.take(name, node);
                }
            }
            _ if is_wrapped => {
                import.skipped.push(Skipped {
                    name,
                    reason: SkipReason::Outside,
                });
            }
            node => import.take(name, node),
        }
    }
    for (name, node) in metadata.unwrap_or_default() {
        import.label(&name, &node);
    }
    Ok(import)
}

impl Import {
    fn take(&mut self, name: String, node: Node) {
        let (value, shape, note) = match node {
            Node::Null => {
                self.skipped.push(Skipped {
                    name,
                    reason: SkipReason::Null,
                });
                return;
            }
            Node::Text(value) => (value, Shape::Text, None),
            node @ Node::Object(_) => (node.into_json(), Shape::Fields, None),
            node => (
                node.into_json(),
                Shape::Text,
                Some("was no text in the JSON file".to_owned()),
            ),
        };
        self.imported.push(Imported {
            note,
            ..Imported::new(name, value, shape)
        });
    }

    fn label(&mut self, name: &str, node: &Node) {
        let Node::Text(value) = node else { return };
        // EXPOSE: metadata of the file, not a secret; becomes a tag or a time.
        let Some(text) = value.expose_secret_text() else {
            return;
        };
        for imported in &mut self.imported {
            match name {
                "environment" => {
                    imported.tags.insert(name.to_owned(), text.to_owned());
                }
                "last_updated" => imported.updated_at = text.parse().ok(),
                _ => {}
            }
        }
    }
}

/// A JSON value whose texts are secrets from the moment they are read.
pub(super) enum Node {
    Null,
    Text(SecretValue),
    /// A number or a truth value, as JSON text.
    Plain(SecretValue),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The field of an object.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// Compact JSON text in the order of the input.
    pub(super) fn into_json(self) -> SecretValue {
        let mut size = 0;
        self.each_piece(&mut |piece| size += piece.len());
        let mut json = Vec::with_capacity(size);
        self.each_piece(&mut |piece| json.extend_from_slice(piece));
        SecretValue::new(json)
    }

    fn each_piece(&self, write: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Null => write(b"null"),
            Self::Text(value) => {
                // EXPOSE: into the JSON text of the object that holds it, itself a secret value.
                each_piece_of_text(value.expose_secret(), write);
            }
            // EXPOSE: into the JSON text of the object that holds it, itself a secret value.
            Self::Plain(value) => write(value.expose_secret()),
            Self::List(nodes) => {
                write(b"[");
                for (position, node) in nodes.iter().enumerate() {
                    if position > 0 {
                        write(b",");
                    }
                    node.each_piece(write);
                }
                write(b"]");
            }
            Self::Object(fields) => {
                write(b"{");
                for (position, (name, node)) in fields.iter().enumerate() {
                    if position > 0 {
                        write(b",");
                    }
                    each_piece_of_text(name.as_bytes(), write);
                    write(b":");
                    node.each_piece(write);
                }
                write(b"}");
            }
        }
    }
}

fn each_piece_of_text(text: &[u8], write: &mut dyn FnMut(&[u8])) {
    write(b"\"");
    for byte in text {
        match byte {
            b'"' => write(b"\\\""),
            b'\\' => write(b"\\\\"),
            b'\n' => write(b"\\n"),
            b'\r' => write(b"\\r"),
            b'\t' => write(b"\\t"),
            0..=0x1f => write(format!("\\u{byte:04x}").as_bytes()),
            byte => write(&[*byte]),
        }
    }
    write(b"\"");
}

/// Reads one JSON value into a [`Node`].
pub(super) struct Slot;

/// What a number is to `serde_json` when it keeps every digit: an object with this one key.
const NUMBER_KEY: &str = "$serde_json::private::Number";
/// What a visitor reports for a repeated name; found again in the error's text.
const REPEATED: &str = "repeated name";

impl<'de> DeserializeSeed<'de> for Slot {
    type Value = Node;

    fn deserialize<D: de::Deserializer<'de>>(self, parser: D) -> Result<Node, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Slot {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(SecretValue::copy_from(if value {
            b"true"
        } else {
            b"false"
        })))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(SecretValue::from_text(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(SecretValue::from_text(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(SecretValue::copy_from(value.as_bytes())))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(SecretValue::from_text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(Self)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == NUMBER_KEY && fields.is_empty() {
                return match map.next_value_seed(Self)? {
                    Node::Text(digits) => Ok(Node::Plain(digits)),
                    _ => Err(de::Error::custom("a number without digits")),
                };
            }
            let node = map.next_value_seed(Self)?;
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(REPEATED));
            }
            fields.push((name, node));
        }
        Ok(Node::Object(fields))
    }
}

/// Where and what kind, never the text of the library: it can quote the input.
fn json_error(error: &serde_json::Error) -> ImportError {
    let (line, column) = (error.line(), error.column());
    if error.is_data() && error.to_string().starts_with(REPEATED) {
        return ImportError::Duplicate { line, column };
    }
    ImportError::Json { line, column }
}
