//! Secrets: read, write, list, and everything that happens to versions.

mod choice;
mod deletion;
mod graph;
mod identity;
mod patch;
mod reseal;
mod stages;
mod versions;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::metadata::Metadata;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Bound;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::registry::Class;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;

use crate::context::OpContext;
use crate::error::Error;
use crate::folder;
use crate::record;
use crate::record::Head;
use crate::record::Kind;

pub use choice::Versions;
pub use graph::Addition;
pub use graph::Changed;
pub use graph::Creation;
pub use graph::GraphError;
pub use graph::Limits;
pub use patch::MetadataPatch;
pub use versions::NewVersion;
pub use versions::Snapshot;
pub use write::Together;
pub use write::WriteOptions;
pub use write::Written;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// An operation that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 64;
/// Deepest folder a recursive listing goes into.
const DEPTH_MAX: usize = 256;
const DOES_NOT_OPEN: &str = "its record does not open";

/// The secrets of one unsealed store.
#[derive(Clone)]
pub struct Engine {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) barrier: Barrier,
    pub(crate) trail: Trail,
}

/// Where the audit records of an engine go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// Into the store, with every operation.
    Store,
    /// The door keeps them: a server writes its own.
    Door,
}

/// A secret as read.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The value.
    pub payload: Payload,
    /// Which version it is.
    pub version: VersionInfo,
    /// What is known about the secret.
    pub metadata: Metadata,
}

impl Secret {
    /// Refuses a version whose time is over.
    fn if_live(self, path: &SecretPath, now: Timestamp) -> Result<Self, Error> {
        match self.version.state_at(now) {
            VersionState::Live => Ok(self),
            state => Err(Error::Gone {
                path: path.to_string(),
                version: self.version.number,
                state: state.word(),
            }),
        }
    }
}

/// A secret without its value.
#[derive(Clone, Debug)]
pub struct Description {
    /// What is known about the secret.
    pub metadata: Metadata,
    /// Its versions, oldest first.
    pub versions: Vec<VersionInfo>,
    /// What it has that stays with this store.
    pub bound: Vec<Bound>,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Full path of a secret or folder.
    pub path: String,
    /// True for a folder.
    pub is_folder: bool,
    /// The newest version; 0 for a folder.
    pub version: u64,
    /// Whether the newest version can be read.
    pub is_live: bool,
    /// Keyed hash of the newest value: equal values have equal ones.
    pub fingerprint: [u8; 16],
    /// Its class, where it was declared.
    pub class: Option<Class>,
    /// When it last changed.
    pub updated: Timestamp,
    /// When it stops being valid.
    pub expires_at: Option<Timestamp>,
}

impl Engine {
    /// An engine over a storage and the barrier that seals it.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, barrier: Barrier) -> Self {
        Self {
            storage,
            barrier,
            trail: Trail::Store,
        }
    }

    /// The secrets of another space of the same store, or an engine whose door keeps the trail.
    #[must_use]
    pub fn with(&self, space: Option<[u8; 16]>, trail: Trail) -> Self {
        let barrier = match space {
            Some(space) => self.barrier.within(space),
            None => self.barrier.clone(),
        };
        Self {
            storage: Arc::clone(&self.storage),
            barrier,
            trail,
        }
    }

    /// The first records of a new store.
    #[must_use]
    pub fn first_records(barrier: &Barrier) -> Vec<BatchItem> {
        vec![folder::root(barrier)]
    }

    /// Reads the newest version, or a given one.
    ///
    /// # Errors
    /// `NotFound`, `Gone` when it is deleted or destroyed, `Damaged`.
    pub async fn read(
        &self,
        context: &OpContext,
        path: &SecretPath,
        version: Option<u64>,
    ) -> Result<Secret, Error> {
        let result = self.read_unaudited(path, version).await;
        let result = result.and_then(|secret| secret.if_live(path, context.now));
        let outcome = if result.is_ok() {
            Outcome::Allowed
        } else {
            Outcome::Failed
        };
        let mut event = context.event(Action::Read, vec![path.to_string()], outcome);
        event.version = version;
        self.note(&event).await;
        result
    }

    /// Reads the newest version of many secrets at once; `None` for those that are not there.
    ///
    /// # Errors
    /// When the store cannot be read. A single secret that is damaged is an error of its own.
    pub async fn read_many(
        &self,
        context: &OpContext,
        paths: &[SecretPath],
    ) -> Result<Vec<Result<Option<Secret>, Error>>, Error> {
        let ids: Vec<RecordId> = paths
            .iter()
            .map(|path| record::id_of(&self.barrier, Kind::Secret, path.as_str()))
            .collect();
        let records = self.storage.get_many(&ids).await?;
        let mut found = Vec::with_capacity(paths.len());
        let mut delivered = Vec::new();
        for (path, stored) in paths.iter().zip(records) {
            let secret = match stored {
                Some(stored) => self
                    .newest(path, &stored)
                    .map(|secret| secret.and_then(|secret| secret.if_live(path, context.now).ok())),
                None => folder::verify_missing(&*self.storage, &self.barrier, path)
                    .await
                    .map(|()| None),
            };
            if let Ok(Some(_)) = &secret {
                delivered.push(path.to_string());
            }
            found.push(secret);
        }
        if !delivered.is_empty() {
            self.note(&context.event(Action::Read, delivered, Outcome::Allowed))
                .await;
        }
        Ok(found)
    }

    /// At which revision of the store each of these secrets last changed; `None` where there is
    /// none. Nothing is read of them, and nothing noted in the audit log.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn revisions(&self, paths: &[SecretPath]) -> Result<Vec<Option<u64>>, Error> {
        let ids: Vec<RecordId> = paths
            .iter()
            .map(|path| record::id_of(&self.barrier, Kind::Secret, path.as_str()))
            .collect();
        let records = self.storage.get_many(&ids).await?.into_iter();
        let revisions = records.map(|record| record.map(|record| record.revision));
        Ok(revisions.collect())
    }

    fn newest(&self, path: &SecretPath, stored: &Record) -> Result<Option<Secret>, Error> {
        let head = self.open_head(path, stored)?;
        let Some(version) = head.newest().cloned() else {
            return Ok(None);
        };
        match (&head.value, version.state) {
            (Some(value), VersionState::Live) => {
                let payload = Payload {
                    value: value.clone(),
                    shape: version.shape,
                };
                Ok(Some(Secret {
                    payload,
                    version,
                    metadata: head.metadata,
                }))
            }
            _ => Ok(None),
        }
    }

    pub(crate) async fn read_unaudited(
        &self,
        path: &SecretPath,
        version: Option<u64>,
    ) -> Result<Secret, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let (record, head) = self.require(path).await?;
            let result = self.read_from(&head, version).await;
            // A version may be dropped between the reading of its secret and of itself.
            let is_damage = matches!(result, Err(Error::Damaged { .. }));
            if !is_damage || folder::is_unchanged(&*self.storage, &record).await? {
                return result;
            }
        }
        Err(Error::Contended {
            path: path.to_string(),
        })
    }

    async fn read_from(&self, head: &Head, version: Option<u64>) -> Result<Secret, Error> {
        let path = &head.path;
        let not_found = || Error::NotFound {
            what: version.map_or(path.to_string(), |number| {
                format!("{path} version {number}")
            }),
        };
        let info = match version {
            None => head.newest(),
            Some(number) => head
                .versions
                .iter()
                .find(|version| version.number == number),
        };
        let info = info.cloned().ok_or_else(not_found)?;
        if info.state != VersionState::Live {
            let state = info.state.word();
            return Err(Error::Gone {
                path: path.to_string(),
                version: info.number,
                state,
            });
        }
        let value = self.value_of(head, info.number).await?;
        let payload = Payload {
            value,
            shape: info.shape,
        };
        Ok(Secret {
            payload,
            version: info,
            metadata: head.metadata.clone(),
        })
    }

    /// What is known about a secret, without its value.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub async fn describe(&self, path: &SecretPath) -> Result<Description, Error> {
        let (_, head) = self.require(path).await?;
        Ok(Description {
            bound: identity::bound(&head),
            metadata: head.metadata,
            versions: head.versions,
        })
    }

    /// The secrets and folders directly in a folder, sorted by name; `""` is the root.
    ///
    /// # Errors
    /// `Damaged` when something in it has vanished. A folder that is not there is empty.
    pub async fn list(&self, context: &OpContext, folder: &str) -> Result<Vec<Entry>, Error> {
        let entries = self.entries(folder).await?;
        self.note(&context.event(Action::List, vec![folder.to_owned()], Outcome::Allowed))
            .await;
        Ok(entries)
    }

    /// All secrets below a folder, sorted by path.
    ///
    /// # Errors
    /// As `list`.
    pub async fn list_recursive(
        &self,
        context: &OpContext,
        folder: &str,
    ) -> Result<Vec<Entry>, Error> {
        let found = self.secrets_below(folder).await?;
        self.note(&context.event(Action::List, vec![folder.to_owned()], Outcome::Allowed))
            .await;
        Ok(found)
    }

    pub(crate) async fn secrets_below(&self, folder: &str) -> Result<Vec<Entry>, Error> {
        let mut waiting = vec![(folder.to_owned(), 0)];
        let mut found = BTreeMap::new();
        while let Some((folder, depth)) = waiting.pop() {
            if depth > DEPTH_MAX {
                let limit = format!("{DEPTH_MAX} folders");
                return Err(Error::LimitExceeded {
                    what: "the depth of the store".into(),
                    limit,
                });
            }
            for entry in self.entries(&folder).await? {
                if entry.is_folder {
                    waiting.push((entry.path, depth + 1));
                } else {
                    found.insert(entry.path.clone(), entry);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    async fn entries(&self, folder: &str) -> Result<Vec<Entry>, Error> {
        let children = folder::children(&*self.storage, &self.barrier, folder).await?;
        let mut entries: Vec<Entry> = children
            .unwrap_or_default()
            .into_iter()
            .map(|summary| {
                let path = if folder.is_empty() {
                    summary.leaf
                } else {
                    format!("{folder}/{}", summary.leaf)
                };
                Entry {
                    path,
                    is_folder: summary.is_folder,
                    version: summary.current,
                    is_live: summary.is_live,
                    fingerprint: summary.fingerprint,
                    class: summary.class,
                    updated: summary.updated,
                    expires_at: summary.expires_at,
                }
            })
            .collect();
        entries.sort_by(|a, b| (&a.path, a.is_folder).cmp(&(&b.path, b.is_folder)));
        Ok(entries)
    }

    /// The head of a secret, or `NotFound` after making sure that nothing has vanished.
    pub(crate) async fn require(&self, path: &SecretPath) -> Result<(Record, Head), Error> {
        match self.find(path).await? {
            Some(found) => Ok(found),
            None => {
                folder::verify_missing(&*self.storage, &self.barrier, path).await?;
                Err(Error::NotFound {
                    what: path.to_string(),
                })
            }
        }
    }

    pub(crate) async fn find(&self, path: &SecretPath) -> Result<Option<(Record, Head)>, Error> {
        let id = record::id_of(&self.barrier, Kind::Secret, path.as_str());
        let Some(stored) = self.storage.get(id).await? else {
            return Ok(None);
        };
        let head = self.open_head(path, &stored)?;
        Ok(Some((stored, head)))
    }

    pub(crate) fn open_head(&self, path: &SecretPath, stored: &Record) -> Result<Head, Error> {
        Head::open(&self.barrier, stored, path).ok_or_else(|| {
            let value = (Field::Value, &*stored.value, record::HEAD_FORMAT);
            let what = path.to_string();
            record::unreadable(&self.barrier, stored.id, &[value], what, DOES_NOT_OPEN)
        })
    }

    /// The value of a version that is not destroyed.
    pub(crate) async fn value_of(&self, head: &Head, number: u64) -> Result<SecretValue, Error> {
        let newest = head.newest().map_or(0, |version| version.number);
        if let (true, Some(value)) = (number == newest, &head.value) {
            return Ok(value.clone());
        }
        let id = record::version_id(&self.barrier, &head.path, number);
        let stored = self.storage.get(id).await?;
        let damaged = |detail: &str| Error::Damaged {
            what: format!("version {number} of {}", head.path),
            detail: detail.into(),
        };
        let stored = stored.ok_or_else(|| damaged("its record has vanished"))?;
        let value = record::open_version(&self.barrier, &stored).ok_or_else(|| {
            let value = (Field::Value, &*stored.value, record::FORMAT);
            let what = format!("version {number} of {}", head.path);
            record::unreadable(&self.barrier, id, &[value], what, DOES_NOT_OPEN)
        })?;
        // A secret of the same name that was removed had a version of this number too.
        let fingerprint = self.barrier.fingerprint(&value);
        let is_known =
            |version: &VersionInfo| version.number == number && version.fingerprint == fingerprint;
        if head.versions.iter().any(is_known) {
            Ok(value)
        } else {
            Err(damaged("its value is not the one that was written"))
        }
    }

    /// Writes an audit record without waiting for the disk. A read is not refused for it: the
    /// store it is read from is the one that would have to keep the record.
    pub(crate) async fn note(&self, event: &strongroom_core::audit::AuditEvent) {
        if self.trail == Trail::Door {
            return;
        }
        let item = record::put_audit(&self.barrier, event);
        let _ = self.storage.commit(vec![item], Durability::Relaxed).await;
    }
}
