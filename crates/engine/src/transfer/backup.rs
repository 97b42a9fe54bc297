//! Backups: all values of a backend with what is known of them, in one sealed file.
//!
//! The file is a magic, a header with key slots, and sealed records: a table of contents, one
//! record for each secret, and an end that holds a keyed hash over all before it. Every record is
//! bound to its number, so that nothing can be changed, left out, exchanged or cut off. All of it
//! is opened and checked before anything of it is used.

use std::collections::BTreeMap;

use futures_util::stream;
use futures_util::stream::StreamExt;
use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Bound;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::Page;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionDetails;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionState;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::UnsealError;
use strongroom_crypto::header::Unsealed;

use crate::record;
use crate::transfer;
use crate::transfer::PARALLEL_MAX;
use crate::transfer::Progress;

/// What a backup file begins with; the last byte is the format.
const MAGIC: &[u8] = b"strongroom backup\n\x01";
/// The kind of a backup's records.
const KIND: u8 = 66;
/// Largest backup, in bytes.
pub const BACKUP_BYTES_MAX: usize = 1 << 30;

/// One version in a backup.
#[derive(Clone, Debug)]
pub struct SavedVersion {
    /// The name its backend had for it.
    pub id: Option<String>,
    /// Its stages.
    pub stages: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its value.
    pub payload: Payload,
}

/// One secret in a backup.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its address below the prefix that was backed up.
    pub address: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its labels.
    pub tags: BTreeMap<String, String>,
    /// When it stops being valid.
    pub expires_at: Option<Timestamp>,
    /// Its versions that could be read, oldest first, the current one last.
    pub versions: Vec<SavedVersion>,
    /// What stayed behind: no backup holds it.
    pub left: Vec<Bound>,
}

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// When it was made.
    pub created: Timestamp,
    /// Of which backend.
    pub from: String,
    /// How many secrets it holds.
    pub secrets: u32,
    /// How many versions.
    pub versions: u32,
}

/// A backup that was opened and checked whole.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What it is of.
    pub contents: Contents,
    /// The secrets.
    pub saved: Vec<Saved>,
}

/// Why a file is no backup that can be used. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It does not begin like one.
    #[error("it is no backup of this program")]
    NotOne,
    /// A later version of the program wrote it.
    #[error("it has a format that this version does not know")]
    Newer,
    /// Over [`BACKUP_BYTES_MAX`].
    #[error("it has over {BACKUP_BYTES_MAX} bytes")]
    TooLarge,
    /// Cut off, or changed.
    #[error("it is damaged or was changed: {detail}")]
    Damaged {
        /// What was found.
        detail: &'static str,
    },
    /// The key does not open it.
    #[error(transparent)]
    Locked(#[from] UnsealError),
}

const fn damaged(detail: &'static str) -> BackupError {
    BackupError::Damaged { detail }
}

#[derive(Serialize, Deserialize)]
struct StoredSecret {
    address: String,
    description: Option<String>,
    tags: BTreeMap<String, String>,
    expires_at: Option<Timestamp>,
    versions: Vec<StoredVersion>,
}

#[derive(Serialize, Deserialize)]
struct StoredVersion {
    id: Option<String>,
    stages: Vec<String>,
    created: Option<Timestamp>,
    shape: Shape,
    length: u64,
}

#[derive(Serialize, Deserialize)]
struct End {
    records: u32,
    hash: [u8; 16],
}

impl Backup {
    /// The bytes of the backup's file, sealed under the keys of `unsealed`, which the slots of
    /// `header` open.
    ///
    /// # Errors
    /// When it would be over [`BACKUP_BYTES_MAX`].
    pub fn seal(&self, header: &Header, unsealed: &Unsealed) -> Result<Vec<u8>, BackupError> {
        let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
        let mut file = Records {
            bytes: MAGIC.to_vec(),
            count: 0,
            barrier,
        };
        // Everything here is serialisable by its derive.
        file.append(&postcard::to_stdvec(header).unwrap_or_default())?;
        file.push(&record::encode(&self.contents, None))?;
        for saved in &self.saved {
            file.push_secret(saved)?;
        }
        let hash = file.barrier.check_tag(&[&file.bytes]);
        let end = End {
            records: file.count,
            hash,
        };
        file.push(&record::encode(&end, None))?;
        Ok(file.bytes)
    }

    /// Opens a backup and checks all of it. `unlock` finds the key for one of the header's slots.
    ///
    /// # Errors
    /// When it is none, does not open, or anything in it was changed.
    pub fn open<E: From<BackupError>>(
        bytes: &[u8],
        unlock: impl FnOnce(&Header) -> Result<Unsealed, E>,
    ) -> Result<Self, E> {
        if bytes.len() > BACKUP_BYTES_MAX {
            return Err(BackupError::TooLarge.into());
        }
        let (known, format) = MAGIC.split_at(MAGIC.len() - 1);
        let rest = bytes.strip_prefix(known).ok_or(BackupError::NotOne)?;
        let rest = rest.strip_prefix(format).ok_or(BackupError::Newer)?;
        let mut rest = Reader(rest);
        let head = rest.next()?;
        let header: Header =
            postcard::from_bytes(head).map_err(|_| damaged("its header makes no sense"))?;
        if postcard::to_stdvec(&header).unwrap_or_default() != head {
            return Err(damaged("its header was changed").into());
        }
        let unsealed = unlock(&header)?;
        let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
        Ok(Self::read(bytes, rest, &barrier)?)
    }

    fn read(bytes: &[u8], mut rest: Reader<'_>, barrier: &Barrier) -> Result<Self, BackupError> {
        let mut number = 0;
        let mut next = |rest: &mut Reader<'_>| {
            let sealed = rest.next()?;
            let id = barrier.record_id(KIND, &number.to_string());
            number += 1;
            barrier
                .open(id, Field::Value, sealed)
                .map_err(|_| damaged("a record of it does not open"))
        };
        let plain = next(&mut rest)?;
        let senseless = damaged("a record of it makes no sense");
        let (contents, _): (Contents, _) = record::decode(&plain).ok_or(senseless.clone())?;
        let mut saved = Vec::new();
        for _ in 0..contents.secrets {
            let plain = next(&mut rest)?;
            saved.push(open_secret(&plain).ok_or(senseless.clone())?);
        }
        let before_end = bytes.len().saturating_sub(rest.0.len());
        let plain = next(&mut rest)?;
        let (end, _): (End, _) = record::decode(&plain).ok_or(senseless)?;
        let hash = barrier.check_tag(&[bytes.get(..before_end).unwrap_or_default()]);
        if !rest.0.is_empty() || end.hash != hash || u64::from(end.records) + 1 != number {
            return Err(damaged("its end does not fit"));
        }
        Ok(Self { contents, saved })
    }
}

/// A file as it grows.
struct Records {
    bytes: Vec<u8>,
    count: u32,
    barrier: Barrier,
}

impl Records {
    fn push(&mut self, plain: &[u8]) -> Result<(), BackupError> {
        let id = self.barrier.record_id(KIND, &self.count.to_string());
        let sealed = self.barrier.seal(id, Field::Value, plain);
        self.append(&sealed)?;
        self.count += 1;
        Ok(())
    }

    fn append(&mut self, part: &[u8]) -> Result<(), BackupError> {
        let length = u32::try_from(part.len()).map_err(|_| BackupError::TooLarge)?;
        if self.bytes.len() + part.len() > BACKUP_BYTES_MAX {
            return Err(BackupError::TooLarge);
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    fn push_secret(&mut self, saved: &Saved) -> Result<(), BackupError> {
        let versions = saved.versions.iter().map(|version| StoredVersion {
            id: version.id.clone(),
            stages: version.stages.clone(),
            created: version.created,
            shape: version.payload.shape,
            length: version.payload.value.len_bytes() as u64,
        });
        let stored = StoredSecret {
            address: saved.address.clone(),
            description: saved.description.clone(),
            tags: saved.tags.clone(),
            expires_at: saved.expires_at,
            versions: versions.collect(),
        };
        let total = saved.versions.iter();
        let total: usize = total.map(|version| version.payload.value.len_bytes()).sum();
        let mut values = zeroize::Zeroizing::new(Vec::with_capacity(total));
        for version in &saved.versions {
            // EXPOSE: the values stand behind one another in the record that is sealed.
            values.extend_from_slice(version.payload.value.expose_secret());
        }
        let values = SecretValue::copy_from(&values);
        self.push(&record::encode(&stored, Some(&values)))
    }
}

fn open_secret(plain: &[u8]) -> Option<Saved> {
    let (stored, mut rest): (StoredSecret, &[u8]) = record::decode(plain)?;
    let mut versions = Vec::with_capacity(stored.versions.len());
    for version in stored.versions {
        let length = usize::try_from(version.length).ok()?;
        let (value, behind) = rest.split_at_checked(length)?;
        rest = behind;
        versions.push(SavedVersion {
            id: version.id,
            stages: version.stages,
            created: version.created,
            payload: Payload {
                value: SecretValue::copy_from(value),
                shape: version.shape,
            },
        });
    }
    rest.is_empty().then_some(Saved {
        address: stored.address,
        description: stored.description,
        tags: stored.tags,
        expires_at: stored.expires_at,
        versions,
        left: Vec::new(),
    })
}

/// What is left of a file.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn next(&mut self) -> Result<&'b [u8], BackupError> {
        let cut = damaged("it is cut off");
        let (length, rest) = self.0.split_first_chunk().ok_or(cut.clone())?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut.clone())?;
        let (part, rest) = rest.split_at_checked(length).ok_or(cut)?;
        self.0 = rest;
        Ok(part)
    }
}

/// Reads everything below a prefix, with all versions that can be read.
///
/// # Errors
/// When anything that is there cannot be read: half a backup is none.
pub async fn collect(
    source: &dyn Backend,
    prefix: &str,
    progress: Progress<'_>,
) -> Result<Vec<Saved>, BackendError> {
    let addresses = transfer::addresses(source, prefix).await?;
    let items = transfer::read_all(source, &addresses, &|_, _| {}).await;
    let total = addresses.len();
    let mut running = stream::iter(addresses.into_iter().zip(items))
        .map(|(address, item)| save_one(source, prefix, address, item))
        .buffered(PARALLEL_MAX);
    let mut saved = Vec::with_capacity(total);
    let mut done = 0;
    while let Some(one) = running.next().await {
        saved.extend(one?);
        done += 1;
        progress(done, total);
    }
    Ok(saved)
}

async fn save_one(
    source: &dyn Backend,
    prefix: &str,
    address: String,
    item: Result<Option<Item>, BackendError>,
) -> Result<Option<Saved>, BackendError> {
    // Removed between listing and reading.
    let Some(item) = item? else { return Ok(None) };
    let can = source.capabilities();
    let details = match can.versions || can.description || can.tags {
        true => source.details(&address).await?.unwrap_or_default(),
        false => Details::default(),
    };
    let mut versions = Vec::new();
    let earlier = transfer::history(&details, item.version.as_deref());
    for id in earlier {
        if Some(&id) == item.version.as_ref() {
            continue;
        }
        let known = details.versions.iter().find(|version| version.id == id);
        let reference = VersionRef::Id(id.clone());
        if let Some(found) = source.read(&address, &reference).await? {
            versions.push(SavedVersion {
                id: Some(id),
                stages: known.map(|known| known.stages.clone()).unwrap_or_default(),
                created: known.and_then(|known| known.created),
                payload: found.payload,
            });
        }
    }
    versions.push(SavedVersion {
        id: item.version,
        stages: item.stages,
        created: item.created,
        payload: item.payload,
    });
    let relative = address.strip_prefix(prefix).unwrap_or(&address);
    Ok(Some(Saved {
        address: relative.to_owned(),
        description: details.description,
        tags: details.tags,
        expires_at: item.expires_at,
        versions,
        left: details.bound,
    }))
}

/// A backup, to be read like any other backend.
pub struct BackupBackend {
    label: String,
    saved: BTreeMap<String, Saved>,
}

impl BackupBackend {
    /// Of an opened backup; `label` is the file's name.
    #[must_use]
    pub fn new(label: String, backup: Backup) -> Self {
        let saved = backup.saved.into_iter();
        let saved = saved.map(|saved| (saved.address.clone(), saved)).collect();
        Self { label, saved }
    }

    fn find(&self, address: &str, version: &VersionRef) -> Option<Item> {
        let saved = self.saved.get(address)?;
        let found = match version {
            VersionRef::Current => saved.versions.last(),
            VersionRef::Id(id) => {
                let mut known = saved.versions.iter();
                known.find(|version| version.id.as_ref() == Some(id))
            }
            VersionRef::Stage(stage) => {
                let mut known = saved.versions.iter();
                known.find(|version| version.stages.contains(stage))
            }
        }?;
        Some(Item {
            payload: found.payload.clone(),
            version: found.id.clone(),
            stages: found.stages.clone(),
            created: found.created,
            expires_at: saved.expires_at,
        })
    }
}

impl Backend for BackupBackend {
    fn scheme(&self) -> &'static str {
        "backup"
    }

    fn describe(&self) -> String {
        format!("backup:{}", self.label)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            versions: true,
            stages: true,
            list: true,
            description: true,
            tags: true,
            binary: true,
            ..Capabilities::default()
        }
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        let find = |lookup: &Lookup| {
            let item = self.find(&lookup.path, &VersionRef::Current);
            Ok(item.map(|item| Fetched {
                value: item.payload.value,
                version: item.version,
                expires_at: item.expires_at,
            }))
        };
        Box::pin(std::future::ready(lookups.iter().map(find).collect()))
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        let message = "a backup is not written to";
        let kind = BackendErrorKind::Unsupported;
        let error = BackendError::new(kind, self.describe(), message);
        Box::pin(std::future::ready(Err(error)))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        let names = self.saved.keys().cloned().collect();
        Box::pin(std::future::ready(Ok(names)))
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(std::future::ready(Ok(self.find(address, version))))
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        let is_wanted = |address: &&String| {
            address.starts_with(prefix) && after.is_none_or(|after| address.as_str() > after)
        };
        let mut left = self.saved.keys().filter(is_wanted).cloned();
        let addresses: Vec<String> = left.by_ref().take(limit).collect();
        let next = left.next().and_then(|_| addresses.last().cloned());
        Box::pin(std::future::ready(Ok(Page { addresses, next })))
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        let details = self.saved.get(address).map(|saved| {
            let versions = saved.versions.iter().filter_map(|version| {
                Some(VersionDetails {
                    id: version.id.clone()?,
                    stages: version.stages.clone(),
                    created: version.created,
                    state: VersionState::Live,
                })
            });
            Details {
                description: saved.description.clone(),
                tags: saved.tags.clone(),
                versions: versions.collect(),
                ..Details::default()
            }
        });
        Box::pin(std::future::ready(Ok(details)))
    }
}
