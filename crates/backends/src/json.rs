//! JSON of strangers, whose texts are secrets from the moment they are read.

use std::collections::BTreeSet;
use std::fmt;

use serde::de;
use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use strongroom_core::secret::SecretValue;

/// Reads one JSON value and nothing behind it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node, JsonError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let node = Slot
        .deserialize(&mut parser)
        .map_err(|error| JsonError::new(&error))?;
    parser.end().map_err(|error| JsonError::new(&error))?;
    Ok(node)
}

/// Where JSON is wrong and how, never the text of the library: it can quote the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("{line}:{column}: not valid JSON")]
    Syntax { line: usize, column: usize },
    #[error("{line}:{column}: the same name is there twice")]
    Repeated { line: usize, column: usize },
}

impl JsonError {
    fn new(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        if error.is_data() && error.to_string().starts_with(REPEATED) {
            return Self::Repeated { line, column };
        }
        Self::Syntax { line, column }
    }
}

/// A JSON value whose texts are secrets from the moment they are read.
pub(crate) enum Node {
    Null,
    Text(SecretValue),
    /// A number or a truth value, as JSON text.
    Plain(SecretValue),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// A text that is no secret.
    pub(crate) fn of(text: &str) -> Self {
        Self::Text(SecretValue::copy_from(text.as_bytes()))
    }

    /// A number.
    pub(crate) fn number(number: u32) -> Self {
        Self::Plain(SecretValue::from_text(number.to_string()))
    }

    /// True for exactly this text, which is no secret.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        matches!(self, Self::Text(value) if value.ct_eq(&SecretValue::copy_from(text.as_bytes())))
    }

    /// True for this number as it is usually written.
    pub(crate) fn is_number(&self, number: u32) -> bool {
        let expected = SecretValue::from_text(number.to_string());
        matches!(self, Self::Plain(value) if value.ct_eq(&expected))
    }

    /// True for `false`.
    pub(crate) fn is_false(&self) -> bool {
        matches!(self, Self::Plain(value) if value.ct_eq(&SecretValue::copy_from(b"false")))
    }

    /// The same again; texts are shared.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Null => Self::Null,
            Self::Text(value) => Self::Text(value.clone()),
            Self::Plain(value) => Self::Plain(value.clone()),
            Self::List(nodes) => Self::List(nodes.iter().map(Self::copy).collect()),
            Self::Object(fields) => {
                let copy = |(name, node): &(String, Self)| (name.clone(), node.copy());
                Self::Object(fields.iter().map(copy).collect())
            }
        }
    }

    /// A text that is no secret: a name, an id.
    pub(crate) fn to_plain(&self) -> Option<String> {
        match self {
            // EXPOSE: a name in somebody's list.
            Self::Text(value) => value.expose_secret_text().map(str::to_owned),
            _ => None,
        }
    }

    /// Every text, number and list below this value with its way of names from here.
    pub(crate) fn into_leaves(self, way: &str) -> Vec<(String, Node)> {
        match self {
            Self::Object(fields) => fields
                .into_iter()
                .flat_map(|(name, node)| {
                    let way = if way.is_empty() {
                        name
                    } else {
                        format!("{way}/{name}")
                    };
                    node.into_leaves(&way)
                })
                .collect(),
            leaf => vec![(way.to_owned(), leaf)],
        }
    }

    /// The field of an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text of a field.
    pub(crate) fn text(&self, name: &str) -> Option<&SecretValue> {
        match self.field(name) {
            Some(Self::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// The text of a field that is no secret: a name, an id, a kind.
    pub(crate) fn plain(&self, name: &str) -> Option<&str> {
        // EXPOSE: a name or an id in somebody's answer, for finding and reporting.
        self.text(name)?.expose_secret_text()
    }

    /// The items of a list, or none.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Compact JSON text in the order of the input.
    pub(crate) fn into_json(self) -> SecretValue {
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
struct Slot;

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
