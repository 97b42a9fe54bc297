//! Items of password managers: a title, and fields of which one is the value.

use strongroom_core::secret::SecretValue;

use crate::json::Node;

/// An item with its fields by label, the one that is meant when none is named first.
pub(super) struct Entry {
    pub(super) title: String,
    pub(super) fields: Vec<(String, SecretValue)>,
}

/// What an address finds.
pub(super) enum Match<'a> {
    None,
    One(&'a SecretValue),
    /// Two items have this title, or two fields this label.
    Several,
}

/// Finds `TITLE` or `TITLE/FIELD`; titles may hold slashes themselves.
pub(super) fn find<'a>(entries: &'a [Entry], address: &str) -> Match<'a> {
    let with_title = |title: &str| -> Vec<&Entry> {
        entries
            .iter()
            .filter(|entry| entry.title == title)
            .collect()
    };
    match with_title(address).as_slice() {
        [] => {}
        [entry] => {
            return entry
                .fields
                .first()
                .map_or(Match::None, |(_, value)| Match::One(value));
        }
        _ => return Match::Several,
    }
    let Some((title, label)) = address.rsplit_once('/') else {
        return Match::None;
    };
    let entries = with_title(title);
    let [entry] = entries.as_slice() else {
        return if entries.is_empty() {
            Match::None
        } else {
            Match::Several
        };
    };
    let mut fields = entry.fields.iter().filter(|(own, _)| own == label);
    match (fields.next(), fields.next()) {
        (Some((_, value)), None) => Match::One(value),
        (None, _) => Match::None,
        (Some(_), Some(_)) => Match::Several,
    }
}

/// The addresses of all values: the title alone for the main field, the label behind it for the
/// others.
pub(super) fn addresses(entries: &[Entry]) -> Vec<String> {
    let mut addresses = Vec::new();
    for entry in entries {
        for (position, (label, _)) in entry.fields.iter().enumerate() {
            addresses.push(match position {
                0 => entry.title.clone(),
                _ => format!("{}/{label}", entry.title),
            });
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// A text that is there and not empty.
pub(super) fn filled(node: &Node, name: &str) -> Option<SecretValue> {
    node.text(name).filter(|value| !value.is_empty()).cloned()
}
