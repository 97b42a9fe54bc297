//! YAML of strangers, read with bounds.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de;
use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use zeroize::Zeroizing;

use super::IMPORT_BYTES_MAX;
use super::ImportError;
use crate::dotenv;

/// Most values of a file, with aliases followed.
const NODES_MAX: usize = 250_000;
/// Most bytes of text of a file, with aliases followed.
const TEXT_BYTES_MAX: usize = 2 * IMPORT_BYTES_MAX;
/// Most brackets that are open at once, which the parser's time grows with.
const BRACKETS_MAX: usize = 2_000;

/// A YAML value.
pub(super) enum Node {
    Null,
    Bool(bool),
    /// A whole number, in decimal digits.
    Whole(String),
    /// Any other number: its text is lost.
    Fraction,
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.fields()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// The value at the end of a way of keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Text, and nothing that only looks like it.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text at the end of a way of keys.
    pub(super) fn text_at(&self, keys: &[&str]) -> Option<&str> {
        self.at(keys).and_then(Self::text)
    }

    /// The values of a list, or none.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The keys and values of a map, or none.
    pub(super) fn fields(&self) -> &[(String, Self)] {
        match self {
            Self::Map(fields) => fields,
            _ => &[],
        }
    }

    /// The values of the list at a key, or none.
    pub(super) fn list(&self, key: &str) -> &[Self] {
        self.get(key).map_or(&[], Self::items)
    }

    fn copy(&self, budget: &Budget) -> Option<Self> {
        budget.spend(self.text().map_or(0, str::len)).ok()?;
        Some(match self {
            Self::Null => Self::Null,
            Self::Bool(value) => Self::Bool(*value),
            Self::Whole(digits) => Self::Whole(digits.clone()),
            Self::Fraction => Self::Fraction,
            Self::Text(text) => Self::Text(text.clone()),
            Self::List(items) => Self::List(
                items
                    .iter()
                    .map(|item| item.copy(budget))
                    .collect::<Option<_>>()?,
            ),
            Self::Map(fields) => {
                let copy = |(key, node): &(String, Self)| Some((key.clone(), node.copy(budget)?));
                Self::Map(fields.iter().map(copy).collect::<Option<_>>()?)
            }
        })
    }
}

/// Reads all documents of a file.
pub(super) fn documents(bytes: &[u8]) -> Result<Vec<Node>, ImportError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let (line, column) = dotenv::end_of(std::str::from_utf8(valid).unwrap_or_default());
        ImportError::Yaml { line, column }
    })?;
    let says_nothing = |line: &str| line.is_empty() || line == "---" || line.starts_with('#');
    if text.lines().map(str::trim).all(says_nothing) {
        return Ok(Vec::new());
    }
    if brackets_open_at_most(bytes) > BRACKETS_MAX {
        return Err(ImportError::TooComplex);
    }
    let budget = Budget {
        nodes: Cell::new(NODES_MAX),
        text: Cell::new(TEXT_BYTES_MAX),
        stop: Cell::new(None),
    };
    let mut documents = Vec::new();
    for parser in serde_yaml_ng::Deserializer::from_str(text) {
        match Slot(&budget).deserialize(parser) {
            Ok(node) => documents.push(node),
            Err(error) => return Err(yaml_error(text, &error, &budget)),
        }
    }
    Ok(documents)
}

/// Where and what kind, never the text of the library: it can quote the input.
fn yaml_error(text: &str, error: &serde_yaml_ng::Error, budget: &Budget) -> ImportError {
    if matches!(budget.stop.get(), Some(Stop::Budget)) {
        return ImportError::TooComplex;
    }
    if let Some(line) = text.lines().position(|line| line.contains("{{")) {
        return ImportError::Template { line: line + 1 };
    }
    let place = error.location();
    let (line, column) = place.map_or((1, 1), |place| (place.line(), place.column()));
    match budget.stop.get() {
        Some(Stop::Repeated) => ImportError::Duplicate { line, column },
        Some(Stop::Key) => ImportError::Form {
            line,
            column,
            expected: "a text before the colon",
        },
        Some(Stop::Merge) => ImportError::Form {
            line,
            column,
            expected: "a map behind '<<'",
        },
        Some(Stop::Budget) => ImportError::TooComplex,
        None if is_limit(error) => ImportError::TooComplex,
        None => ImportError::Yaml { line, column },
    }
}

/// True when the library gave up at one of its own limits.
fn is_limit(error: &serde_yaml_ng::Error) -> bool {
    let text = error.to_string();
    ["recursion limit exceeded", "repetition limit exceeded"]
        .iter()
        .any(|own| text.contains(own))
}

/// How many more brackets are opened than closed, at most. Those in quotes count too: an
/// overestimate, which no file of people comes near to.
fn brackets_open_at_most(bytes: &[u8]) -> usize {
    let mut open = 0_usize;
    let mut most = 0;
    for byte in bytes {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// What may still be read, and why reading stopped.
struct Budget {
    nodes: Cell<usize>,
    text: Cell<usize>,
    stop: Cell<Option<Stop>>,
}

#[derive(Clone, Copy)]
enum Stop {
    Budget,
    Repeated,
    Key,
    Merge,
}

impl Budget {
    fn spend(&self, text_bytes: usize) -> Result<(), Stop> {
        let left = (
            self.nodes.get().checked_sub(1),
            self.text.get().checked_sub(text_bytes),
        );
        let (Some(nodes), Some(text)) = left else {
            return Err(Stop::Budget);
        };
        self.nodes.set(nodes);
        self.text.set(text);
        Ok(())
    }

    fn fail<E: de::Error>(&self, stop: Stop) -> E {
        self.stop.set(Some(stop));
        E::custom("refused")
    }

    fn take<E: de::Error>(&self, text_bytes: usize) -> Result<(), E> {
        self.spend(text_bytes).map_err(|stop| self.fail(stop))
    }
}

/// Reads one YAML value into a [`Node`].
#[derive(Clone, Copy)]
struct Slot<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Slot<'_> {
    type Value = Node;

    fn deserialize<D: de::Deserializer<'de>>(self, parser: D) -> Result<Node, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Slot<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.0.take(0)?;
        Ok(Node::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.0.take(0)?;
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.0.take(0)?;
        Ok(Node::Whole(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.0.take(0)?;
        Ok(Node::Whole(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Node, E> {
        self.0.take(0)?;
        Ok(Node::Whole(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Node, E> {
        self.0.take(0)?;
        Ok(Node::Whole(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, _value: f64) -> Result<Node, E> {
        self.0.take(0)?;
        Ok(Node::Fraction)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.0.take(value.len())?;
        Ok(Node::Text(Zeroizing::new(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        self.0.take(0)?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        self.0.take(0)?;
        let mut fields: Vec<(String, Node)> = Vec::new();
        let mut keys = HashSet::new();
        let mut merged = None;
        while let Some(key) = map.next_key_seed(self)? {
            let key = match key {
                Node::Text(text) => text.to_string(),
                Node::Whole(digits) => digits,
                Node::Bool(value) => value.to_string(),
                Node::Null | Node::Fraction | Node::List(_) | Node::Map(_) => {
                    return Err(self.0.fail(Stop::Key));
                }
            };
            let node = map.next_value_seed(self)?;
            if !keys.insert(key.clone()) {
                return Err(self.0.fail(Stop::Repeated));
            }
            if key == "<<" {
                merged = Some(node);
            } else {
                fields.push((key, node));
            }
        }
        if let Some(merged) = merged {
            merge(&mut fields, &mut keys, &merged, self.0).map_err(|stop| self.0.fail(stop))?;
        }
        Ok(Node::Map(fields))
    }

    /// A value with a tag of its own (`!reset`, `!override`): the value counts.
    fn visit_enum<A: de::EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (_, content) = tagged.variant::<String>()?;
        de::VariantAccess::newtype_variant_seed(content, self)
    }
}

/// Takes over what `<<` names and the map does not have itself.
fn merge(
    fields: &mut Vec<(String, Node)>,
    keys: &mut HashSet<String>,
    merged: &Node,
    budget: &Budget,
) -> Result<(), Stop> {
    let sources = match merged {
        Node::Map(_) => std::slice::from_ref(merged),
        Node::List(items) => items,
        _ => return Err(Stop::Merge),
    };
    for source in sources {
        let Node::Map(more) = source else {
            return Err(Stop::Merge);
        };
        for (key, node) in more {
            if keys.insert(key.clone()) {
                fields.push((key.clone(), node.copy(budget).ok_or(Stop::Budget)?));
            }
        }
    }
    Ok(())
}
