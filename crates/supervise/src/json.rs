//! JSON that holds secrets: texts go straight into memory that is wiped, and nothing is quoted.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use strongroom_core::secret::SecretValue;

/// A value of JSON, as far as it matters here.
#[derive(Debug)]
pub(crate) enum Item {
    /// A text.
    Text(SecretValue),
    /// An object, in its order.
    Map(Vec<(String, Item)>),
    /// `null`.
    Null,
    /// A number, a truth value or a list.
    Other,
}

/// Reads a document; `None` when it is no JSON.
pub(crate) fn read(bytes: &[u8]) -> Option<Item> {
    serde_json::from_slice(bytes).ok()
}

impl Item {
    /// The value at a key of an object; of several the last.
    pub(crate) fn take(&mut self, key: &str) -> Option<Item> {
        let Self::Map(pairs) = self else { return None };
        let at = pairs.iter().rposition(|(name, _)| name == key)?;
        Some(pairs.remove(at).1)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(SecretValue::copy_from(text.as_bytes())))
    }

    fn visit_string<E>(self, text: String) -> Result<Item, E> {
        Ok(Item::Text(SecretValue::from_text(text)))
    }

    fn visit_unit<E>(self) -> Result<Item, E> {
        Ok(Item::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        while list.next_element::<Item>()?.is_some() {}
        Ok(Item::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        // How serde_json hands on numbers that no type of Rust holds.
        if let [(key, Item::Text(_))] = pairs.as_slice()
            && key == "$serde_json::private::Number"
        {
            return Ok(Item::Other);
        }
        Ok(Item::Map(pairs))
    }
}
