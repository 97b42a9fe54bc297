//! The stored forms: what is inside the ciphertexts.
//!
//! Every form begins with a format byte; an unknown one is refused, never guessed.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::audit::AuditEvent;
use strongroom_core::aws::AwsFacts;
use strongroom_core::metadata::Metadata;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::registry::Class;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionInfo;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;
use zeroize::Zeroizing;

use crate::error::Error;

mod first;
mod second;

pub(crate) const FORMAT: u8 = 1;
/// Of a secret's head: the first one knew no `delete_at` and no `cas_required`, the second nothing
/// of AWS.
pub(crate) const HEAD_FORMAT: u8 = 3;
const SECOND_HEAD_FORMAT: u8 = 2;

/// Kinds of records: the first byte of what an id is the keyed hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Secret = 1,
    Folder = 2,
    Version = 3,
    Versions = 4,
    Audit = 5,
    /// State of a server: see `state::Kind` for what.
    State = 16,
    /// An answer of another backend, in the cache file: see `cache`.
    Cached = 32,
}

pub(crate) fn id_of(barrier: &Barrier, kind: Kind, name: &str) -> RecordId {
    barrier.record_id(kind as u8, name)
}

pub(crate) fn version_id(barrier: &Barrier, path: &SecretPath, number: u64) -> RecordId {
    // A path holds no NUL, so that no other pair gives the same name.
    id_of(barrier, Kind::Version, &format!("{path}\0{number}"))
}

/// The record of the root's parent: there is none.
pub(crate) const NOWHERE: RecordId = RecordId([0; 16]);

/// What a listing shows of a secret or folder, sealed in the name field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) is_folder: bool,
    pub(crate) leaf: String,
    pub(crate) current: u64,
    pub(crate) is_live: bool,
    pub(crate) fingerprint: [u8; 16],
    pub(crate) class: Option<Class>,
    pub(crate) updated: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Summary {
    pub(crate) fn folder(leaf: &str) -> Self {
        Self {
            is_folder: true,
            leaf: leaf.into(),
            current: 0,
            is_live: true,
            fingerprint: [0; 16],
            class: None,
            updated: Timestamp::from_micros(0),
            expires_at: None,
        }
    }
}

/// A secret's head: metadata, the list of versions, and the current value.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) path: SecretPath,
    pub(crate) metadata: Metadata,
    pub(crate) versions: Vec<VersionInfo>,
    /// Of the newest version, unless it is destroyed.
    pub(crate) value: Option<SecretValue>,
    /// What only AWS clients know of it.
    pub(crate) aws: Option<Box<AwsFacts>>,
}

/// A head as it is written: what `StoredHead` reads.
#[derive(Serialize)]
struct HeadToStore<'a> {
    path: &'a str,
    metadata: &'a Metadata,
    versions: &'a [VersionInfo],
    has_value: bool,
    /// A form of its own, so that it can grow; empty for nothing.
    aws: &'a [u8],
}

#[derive(Deserialize)]
struct StoredHead<'a> {
    path: &'a str,
    metadata: Metadata,
    versions: Vec<VersionInfo>,
    has_value: bool,
    aws: &'a [u8],
}

impl Head {
    pub(crate) fn newest(&self) -> Option<&VersionInfo> {
        self.versions.last()
    }

    pub(crate) fn summary(&self) -> Summary {
        let newest = self.newest();
        Summary {
            is_folder: false,
            leaf: self.path.leaf().into(),
            current: newest.map_or(0, |version| version.number),
            is_live: newest.is_some_and(|version| {
                version.state == strongroom_core::version::VersionState::Live
            }),
            fingerprint: newest.map_or([0; 16], |version| version.fingerprint),
            class: self.metadata.class,
            updated: self.metadata.updated,
            expires_at: self.metadata.expires_at,
        }
    }

    /// The sealed name and value.
    pub(crate) fn seal(&self, barrier: &Barrier, id: RecordId) -> (Vec<u8>, Vec<u8>) {
        let aws = self.aws.as_ref().map(|facts| encode(facts, None));
        let stored = HeadToStore {
            path: self.path.as_str(),
            metadata: &self.metadata,
            versions: &self.versions,
            has_value: self.value.is_some(),
            aws: aws.as_ref().map_or(&[], |aws| aws),
        };
        let plain = encode_as(HEAD_FORMAT, &stored, self.value.as_ref());
        (
            seal_summary(barrier, id, &self.summary()),
            barrier.seal(id, Field::Value, &plain),
        )
    }

    /// The change that writes this head.
    pub(crate) fn put(
        &self,
        barrier: &Barrier,
        id: RecordId,
        precondition: Precondition,
    ) -> BatchItem {
        let (name, value) = self.seal(barrier, id);
        let parent = id_of(barrier, Kind::Folder, self.path.folder());
        let due_at = self.metadata.expires_at.map(Timestamp::as_micros);
        BatchItem {
            id,
            precondition,
            change: Change::Put {
                parent,
                name,
                value,
                due_at,
            },
        }
    }

    /// The head of the secret at `path`; `None` when the record does not open as that.
    pub(crate) fn open(barrier: &Barrier, record: &Record, path: &SecretPath) -> Option<Self> {
        let plain = barrier.open(record.id, Field::Value, &record.value).ok()?;
        let (stored, rest): (StoredHead<'_>, &[u8]) = match plain.split_first()? {
            (&HEAD_FORMAT, body) => postcard::take_from_bytes(body).ok()?,
            (&SECOND_HEAD_FORMAT, body) => second::head(body)?,
            (&FORMAT, body) => first::head(body)?,
            _ => return None,
        };
        if stored.path != path.as_str() {
            return None;
        }
        let aws = match stored.aws {
            [] => None,
            bytes => Some(Box::new(decode::<AwsFacts>(bytes)?.0)),
        };
        Some(Self {
            path: path.clone(),
            metadata: stored.metadata,
            versions: stored.versions,
            value: stored.has_value.then(|| SecretValue::copy_from(rest)),
            aws,
        })
    }
}

/// Whether a field opens, but has a form that only a later program knows.
fn is_newer(barrier: &Barrier, id: RecordId, field: Field, sealed: &[u8], known: u8) -> bool {
    let plain = barrier.open(id, field, sealed);
    plain.is_ok_and(|plain| plain.first().is_some_and(|format| *format > known))
}

/// Why a field that is there cannot be read.
pub(crate) fn unreadable(
    barrier: &Barrier,
    id: RecordId,
    fields: &[(Field, &[u8], u8)],
    what: String,
    detail: &str,
) -> Error {
    let is = |test: &dyn Fn(Field, &[u8], u8) -> bool| {
        fields
            .iter()
            .any(|(field, sealed, known)| test(*field, sealed, *known))
    };
    if is(&|_, sealed, _| barrier.is_under_later_key(sealed)) {
        Error::LaterKey { what }
    } else if is(&|field, sealed, known| is_newer(barrier, id, field, sealed, known)) {
        Error::Newer { what }
    } else {
        let detail = detail.to_owned();
        Error::Damaged { what, detail }
    }
}

pub(crate) fn seal_summary(barrier: &Barrier, id: RecordId, summary: &Summary) -> Vec<u8> {
    barrier.seal(id, Field::Name, &encode(summary, None))
}

pub(crate) fn open_summary(barrier: &Barrier, record: &Record) -> Option<Summary> {
    let plain = barrier.open(record.id, Field::Name, &record.name).ok()?;
    Some(decode(&plain)?.0)
}

/// The change that writes an earlier version's value.
pub(crate) fn put_version(
    barrier: &Barrier,
    path: &SecretPath,
    number: u64,
    value: &SecretValue,
) -> BatchItem {
    let id = version_id(barrier, path, number);
    let plain = encode(&number, Some(value));
    let change = Change::Put {
        parent: id_of(barrier, Kind::Versions, path.as_str()),
        name: Vec::new(),
        value: barrier.seal(id, Field::Value, &plain),
        due_at: None,
    };
    BatchItem {
        id,
        precondition: Precondition::Any,
        change,
    }
}

pub(crate) fn open_version(barrier: &Barrier, record: &Record) -> Option<SecretValue> {
    let plain = barrier.open(record.id, Field::Value, &record.value).ok()?;
    let (_number, rest): (u64, &[u8]) = decode(&plain)?;
    Some(SecretValue::copy_from(rest))
}

pub(crate) fn put_audit(barrier: &Barrier, event: &AuditEvent) -> BatchItem {
    let (id, value) = sealed_audit(barrier, event);
    put_sealed_audit(barrier, id, value)
}

/// An audit record, before it is written: its id, and what it says.
pub(crate) fn sealed_audit(barrier: &Barrier, event: &AuditEvent) -> (RecordId, Vec<u8>) {
    let mut id = [0; 16];
    barrier.rng().fill(&mut id[8..]);
    id[..8].copy_from_slice(&event.at.as_micros().to_be_bytes());
    let id = RecordId(id);
    (id, barrier.seal(id, Field::Value, &encode(event, None)))
}

pub(crate) fn put_sealed_audit(barrier: &Barrier, id: RecordId, value: Vec<u8>) -> BatchItem {
    let change = Change::Put {
        parent: id_of(barrier, Kind::Audit, ""),
        name: Vec::new(),
        value,
        due_at: None,
    };
    BatchItem {
        id,
        precondition: Precondition::Any,
        change,
    }
}

pub(crate) fn open_audit(barrier: &Barrier, record: &Record) -> Option<AuditEvent> {
    open_sealed_audit(barrier, record.id, &record.value)
}

pub(crate) fn open_sealed_audit(
    barrier: &Barrier,
    id: RecordId,
    value: &[u8],
) -> Option<AuditEvent> {
    let plain = barrier.open(id, Field::Value, value).ok()?;
    Some(decode(&plain)?.0)
}

/// Format byte, the form, and the raw bytes of a value behind it.
pub(crate) fn encode<T: Serialize>(form: &T, value: Option<&SecretValue>) -> Zeroizing<Vec<u8>> {
    encode_as(FORMAT, form, value)
}

pub(crate) fn encode_as<T: Serialize>(
    format: u8,
    form: &T,
    value: Option<&SecretValue>,
) -> Zeroizing<Vec<u8>> {
    // Writing into memory cannot fail, and every form is serialisable by its derive.
    let body = postcard::to_stdvec(form)
        .map(Zeroizing::new)
        .unwrap_or_default();
    let length = value.map_or(0, SecretValue::len_bytes);
    let mut plain = Zeroizing::new(Vec::with_capacity(1 + body.len() + length));
    plain.push(format);
    plain.extend_from_slice(&body);
    if let Some(value) = value {
        // EXPOSE: the plaintext goes into the buffer that the barrier seals.
        plain.extend_from_slice(value.expose_secret());
    }
    plain
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(plain: &'a [u8]) -> Option<(T, &'a [u8])> {
    decode_as(FORMAT, plain)
}

pub(crate) fn decode_as<'a, T: Deserialize<'a>>(
    format: u8,
    plain: &'a [u8],
) -> Option<(T, &'a [u8])> {
    let (found, body) = plain.split_first()?;
    if *found != format {
        return None;
    }
    postcard::take_from_bytes(body).ok()
}

#[cfg(test)]
mod tests {
    use strongroom_core::aws::Deletion;
    use strongroom_crypto::SystemRng;
    use strongroom_crypto::keyring::Keyring;

    use super::*;

    /// A head as the second form has it.
    #[derive(Serialize)]
    struct Second<'a> {
        path: &'a str,
        metadata: &'a Metadata,
        versions: &'a [VersionInfo],
        has_value: bool,
    }

    fn record(id: RecordId, barrier: &Barrier, plain: &[u8]) -> Record {
        Record {
            id,
            parent: NOWHERE,
            name: Vec::new(),
            value: barrier.seal(id, Field::Value, plain),
            due_at: None,
            revision: 1,
        }
    }

    #[test]
    fn heads_of_the_second_form_are_read_and_written_anew() {
        let now = Timestamp::from_micros(0);
        let barrier = Barrier::new([1; 16], &Keyring::generate(&SystemRng, now));
        let path: SecretPath = "app/key".parse().unwrap();
        let id = id_of(&barrier, Kind::Secret, path.as_str());
        let metadata = Metadata::new(now);
        let value = SecretValue::copy_from(b"value");
        let second = Second {
            path: path.as_str(),
            metadata: &metadata,
            versions: &[],
            has_value: true,
        };
        let plain = encode_as(SECOND_HEAD_FORMAT, &second, Some(&value));
        let mut head = Head::open(&barrier, &record(id, &barrier, &plain), &path).unwrap();
        assert_eq!(head.metadata, metadata);
        assert_eq!(head.aws, None);
        assert!(head.value.as_ref().unwrap().ct_eq(&value));
        let facts = AwsFacts {
            kms_key_id: Some("key".into()),
            deletion: Some(Deletion {
                asked: now,
                due: now,
            }),
            ..AwsFacts::default()
        };
        for facts in [None, Some(Box::new(facts))] {
            head.aws = facts;
            let (_, sealed) = head.seal(&barrier, id);
            let stored = Record {
                value: sealed,
                ..record(id, &barrier, &[])
            };
            let again = Head::open(&barrier, &stored, &path).unwrap();
            assert_eq!(again.aws, head.aws);
            assert!(again.value.unwrap().ct_eq(&value));
        }
    }
}
