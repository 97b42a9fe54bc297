//! How a journal is stored: the forms of its records, and their ids.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;
use zeroize::Zeroizing;

use super::Header;
use super::entry::Before;
use super::entry::Entry;
use super::entry::State;
use super::entry::Todo;
use crate::record;

/// The kind of the journal's records: see `record::Kind` for the others.
const KIND: u8 = 74;
/// Of an entry: the first one knew no stages and no expiry.
const ENTRY_FORMAT: u8 = 2;

/// A header as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredHeader {
    header: Header,
}

/// An entry as it is stored; the value that was there before stands behind it. This is its first
/// format; the second has `More` between the two.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    number: u32,
    from: String,
    to: String,
    state: State,
    is_cleaned: bool,
    fingerprint: Option<[u8; 16]>,
    before: Option<StoredBefore>,
    todo: Vec<Todo>,
    done: u32,
    last: Option<String>,
    made: Vec<[u8; 16]>,
}

#[derive(Serialize, Deserialize)]
struct StoredBefore {
    shape: Shape,
    version: Option<String>,
    description: Option<String>,
    tags: BTreeMap<String, String>,
}

/// What the first format of an entry did not know of the value that was there before.
#[derive(Default, Serialize, Deserialize)]
struct More {
    stages: Vec<String>,
    expires_at: Option<Timestamp>,
}

/// A header's bytes before they are sealed.
pub(super) fn header(header: &Header) -> Zeroizing<Vec<u8>> {
    let header = header.clone();
    record::encode(&StoredHeader { header }, None)
}

/// An entry's bytes before they are sealed.
pub(super) fn entry(number: u32, entry: &Entry) -> Zeroizing<Vec<u8>> {
    let stored = StoredEntry {
        number,
        from: entry.from.clone(),
        to: entry.to.clone(),
        state: entry.state.clone(),
        is_cleaned: entry.is_cleaned,
        fingerprint: entry.fingerprint,
        before: entry.before.as_ref().map(|before| StoredBefore {
            shape: before.payload.shape,
            version: before.version.clone(),
            description: before.description.clone(),
            tags: before.tags.clone(),
        }),
        todo: entry.todo.clone(),
        done: entry.done,
        last: entry.last.clone(),
        made: entry.made.clone(),
    };
    let more = entry.before.as_ref().map(|before| More {
        stages: before.stages.clone(),
        expires_at: before.expires_at,
    });
    let value = entry.before.as_ref().map(|before| &before.payload.value);
    let form = (stored, more.unwrap_or_default());
    record::encode_as(ENTRY_FORMAT, &form, value)
}

pub(super) fn open_header(barrier: &Barrier, stored: &Record) -> Option<Header> {
    let plain = barrier.open(stored.id, Field::Value, &stored.value).ok()?;
    let (stored, _): (StoredHeader, _) = record::decode(&plain)?;
    Some(stored.header)
}

pub(super) fn open_entry(barrier: &Barrier, stored: &Record) -> Option<(u32, Entry)> {
    let plain = barrier.open(stored.id, Field::Value, &stored.value).ok()?;
    let (stored, more, rest): (StoredEntry, More, &[u8]) =
        match record::decode_as(ENTRY_FORMAT, &plain) {
            Some(((stored, more), rest)) => (stored, more, rest),
            None => {
                let (stored, rest) = record::decode(&plain)?;
                (stored, More::default(), rest)
            }
        };
    let before = stored.before.map(|before| Before {
        payload: Payload {
            value: SecretValue::copy_from(rest),
            shape: before.shape,
        },
        version: before.version,
        description: before.description,
        tags: before.tags,
        stages: more.stages,
        expires_at: more.expires_at,
    });
    let entry = Entry {
        from: stored.from,
        to: stored.to,
        state: stored.state,
        is_cleaned: stored.is_cleaned,
        fingerprint: stored.fingerprint,
        before,
        todo: stored.todo,
        done: stored.done,
        last: stored.last,
        made: stored.made,
    };
    Some((stored.number, entry))
}

pub(super) fn headers_parent(barrier: &Barrier) -> RecordId {
    barrier.record_id(KIND, "")
}

pub(super) fn header_id(barrier: &Barrier, id: &str) -> RecordId {
    barrier.record_id(KIND, &format!("{id}/header"))
}

pub(super) fn entries_parent(barrier: &Barrier, id: &str) -> RecordId {
    barrier.record_id(KIND, &format!("{id}/entries"))
}

pub(super) fn entry_id(barrier: &Barrier, id: &str, number: u32) -> RecordId {
    barrier.record_id(KIND, &format!("{id}/entry/{number}"))
}

pub(super) fn backup_id(barrier: &Barrier, id: &str) -> RecordId {
    barrier.record_id(KIND, &format!("{id}/backup"))
}

#[cfg(test)]
mod tests {
    use strongroom_crypto::SystemRng;
    use strongroom_crypto::keyring::Keyring;

    use super::*;

    #[test]
    fn an_entry_of_the_first_format_opens() {
        let keyring = Keyring::generate(&SystemRng, Timestamp::from_micros(0));
        let barrier = Barrier::new([1; 16], &keyring);
        let value = SecretValue::copy_from(b"before");
        let stored = StoredEntry {
            number: 7,
            from: "a".into(),
            to: "b".into(),
            state: State::Writing,
            is_cleaned: false,
            fingerprint: None,
            before: Some(StoredBefore {
                shape: Shape::Text,
                version: Some("3".into()),
                description: None,
                tags: BTreeMap::new(),
            }),
            todo: Vec::new(),
            done: 0,
            last: None,
            made: Vec::new(),
        };
        let id = entry_id(&barrier, "id", 7);
        let record = Record {
            id,
            parent: entries_parent(&barrier, "id"),
            revision: 1,
            name: Vec::new(),
            value: barrier.seal(id, Field::Value, &record::encode(&stored, Some(&value))),
            due_at: None,
        };
        let (number, entry) = open_entry(&barrier, &record).unwrap();
        assert_eq!((number, entry.to.as_str()), (7, "b"));
        let before = entry.before.unwrap();
        assert!(before.payload.value.ct_eq(&value));
        assert_eq!((before.stages, before.expires_at), (Vec::new(), None));
    }
}
