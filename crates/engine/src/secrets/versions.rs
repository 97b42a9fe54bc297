//! Secrets as servers see them: a whole head at once, and every write a new version.

use std::collections::BTreeSet;

use strongroom_core::audit::Action;
use strongroom_core::metadata::Metadata;
use strongroom_core::path::SecretPath;
use strongroom_core::port::RecordId;
use strongroom_core::secret::Payload;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;

use super::ATTEMPTS_MAX;
use super::Engine;
use super::VALUE_BYTES_MAX;
use super::write::Draft;
use super::write::new_head;
use crate::context::OpContext;
use crate::error::Error;
use crate::folder;
use crate::record;
use crate::record::Head;
use crate::record::Kind;

/// A secret with everything about it, as it was at one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) head: Head,
    revision: u64,
}

impl Snapshot {
    pub(super) fn of(head: Head, revision: u64) -> Self {
        Self { head, revision }
    }

    /// The same without the value, for who keeps many.
    #[must_use]
    pub fn without_value(mut self) -> Self {
        self.head.value = None;
        self
    }

    /// What is known about the secret.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.head.metadata
    }

    /// Its versions, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[VersionInfo] {
        &self.head.versions
    }

    /// The newest version, unless it has none.
    #[must_use]
    pub fn newest(&self) -> Option<&VersionInfo> {
        self.head.newest()
    }

    /// A version by its number.
    #[must_use]
    pub fn version(&self, number: u64) -> Option<&VersionInfo> {
        let mut versions = self.head.versions.iter();
        versions.find(|version| version.number == number)
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = self.head.value.as_ref();
        value.map_or(0, strongroom_core::secret::SecretValue::len_bytes)
            + self.head.versions.len() * 160
    }

    /// The store's revision at which the secret was last changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

/// How a new version is written.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The version that must be current; 0 for "there must be none".
    pub cas: Option<u64>,
    /// Refuse a write without `cas`.
    pub cas_required: bool,
    /// Versions to keep where the secret itself does not say.
    pub max_versions: u32,
    /// The version is deleted after so long; the secret's own setting may shorten it.
    pub delete_after: Option<Span>,
}

impl Engine {
    /// The id of the record of a secret.
    #[must_use]
    pub fn secret_id(&self, path: &SecretPath) -> RecordId {
        record::id_of(&self.barrier, Kind::Secret, path.as_str())
    }

    /// A secret with everything about it; `None` when it is not there.
    ///
    /// # Errors
    /// `Damaged` also when it has vanished.
    pub async fn snapshot(&self, path: &SecretPath) -> Result<Option<Snapshot>, Error> {
        if let Some((record, head)) = self.find(path).await? {
            let revision = record.revision;
            return Ok(Some(Snapshot { head, revision }));
        }
        folder::verify_missing(&*self.storage, &self.barrier, path).await?;
        Ok(None)
    }

    /// The value of a version of a snapshot; `None` when the version is not live or others have
    /// dropped it meanwhile.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn value_in(
        &self,
        snapshot: &Snapshot,
        number: u64,
        now: Timestamp,
    ) -> Result<Option<Payload>, Error> {
        let Some(version) = snapshot.version(number) else {
            return Ok(None);
        };
        if version.state_at(now) != VersionState::Live {
            return Ok(None);
        }
        match self.value_of(&snapshot.head, number).await {
            Ok(value) => Ok(Some(Payload {
                value,
                shape: version.shape,
            })),
            Err(error @ Error::Damaged { .. }) => match self.find(&snapshot.head.path).await? {
                Some((record, _)) if record.revision == snapshot.revision => Err(error),
                _ => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    /// Writes a value as a new version, whatever the current one is.
    ///
    /// # Errors
    /// `VersionMismatch`, `CasRequired`, `LimitExceeded`, `Damaged`, storage errors.
    pub async fn put_version(
        &self,
        context: &OpContext,
        path: &SecretPath,
        payload: &Payload,
        how: &NewVersion,
    ) -> Result<(VersionInfo, Metadata), Error> {
        if payload.value.len_bytes() > VALUE_BYTES_MAX {
            return Err(Error::LimitExceeded {
                what: "the value".into(),
                limit: format!("{VALUE_BYTES_MAX} bytes"),
            });
        }
        for _ in 0..ATTEMPTS_MAX {
            let (found, folder) = self.find_with_folder(path).await?;
            let (before, mut head) = match found {
                Some((record, head)) => (Some(record), head),
                None => (None, self.fresh_head(path, context.now).await?),
            };
            if how.cas.is_none() && (how.cas_required || head.metadata.cas_required) {
                return Err(Error::CasRequired {
                    path: path.to_string(),
                });
            }
            check_cas(path, how.cas, before.as_ref().map(|_| &head))?;
            let mut draft = Draft {
                folder: Some(folder),
                ..Draft::default()
            };
            let kept = match head.metadata.max_versions {
                0 => how.max_versions,
                own => own,
            };
            let own = std::mem::replace(&mut head.metadata.max_versions, u32::MAX);
            self.push_version(
                &mut head,
                payload,
                &Provenance::Set,
                context.now,
                &mut draft,
            );
            head.metadata.max_versions = own;
            self.drop_oldest(&mut head, kept, &mut draft);
            let delete_at = delete_at(&head, how.delete_after, context.now);
            let Some(newest) = head.versions.last_mut() else {
                unreachable!("a version was just added")
            };
            newest.delete_at = delete_at;
            let newest = newest.clone();
            head.metadata.updated = context.now;
            let metadata = head.metadata.clone();
            draft.version = Some(newest.number);
            draft.heads.push(self.head_change(before, &head));
            if self.apply(context, Action::Write, draft).await? {
                return Ok((newest, metadata));
            }
        }
        Err(Error::Contended {
            path: path.to_string(),
        })
    }

    /// Changes what is known about a secret; makes one without versions where there is none.
    ///
    /// # Errors
    /// What `edit` answers, `Damaged`, storage errors.
    pub async fn edit_metadata(
        &self,
        context: &OpContext,
        path: &SecretPath,
        mut edit: impl FnMut(&mut Metadata, bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let (found, folder) = self.find_with_folder(path).await?;
            let (before, mut head) = match found {
                Some((record, head)) => (Some(record), head),
                None => (None, self.fresh_head(path, context.now).await?),
            };
            edit(&mut head.metadata, before.is_none())?;
            head.metadata.updated = context.now;
            let mut draft = Draft {
                folder: Some(folder),
                ..Draft::default()
            };
            draft.heads.push(self.head_change(before, &head));
            if self.apply(context, Action::Tag, draft).await? {
                return Ok(());
            }
        }
        Err(Error::Contended {
            path: path.to_string(),
        })
    }

    /// The names directly in a folder, folders with a `/` behind, sorted by bytes.
    ///
    /// # Errors
    /// `Damaged` when something in it has vanished. A folder that is not there is empty.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, Error> {
        let children = folder::children(&*self.storage, &self.barrier, folder).await?;
        let names: BTreeSet<String> = children
            .unwrap_or_default()
            .into_iter()
            .map(|child| {
                if child.is_folder {
                    child.leaf + "/"
                } else {
                    child.leaf
                }
            })
            .collect();
        Ok(names.into_iter().collect())
    }

    /// The id of the record of a folder. It changes with whatever changes in the folder itself.
    #[must_use]
    pub fn folder_id(&self, folder: &str) -> RecordId {
        record::id_of(&self.barrier, Kind::Folder, folder)
    }

    /// The paths of all secrets below a folder, without the trail.
    ///
    /// # Errors
    /// As `names`.
    pub async fn paths_below(&self, folder: &str) -> Result<Vec<String>, Error> {
        let entries = self.secrets_below(folder).await?;
        Ok(entries.into_iter().map(|entry| entry.path).collect())
    }

    /// A head that says nothing about the versions to keep.
    pub(super) async fn fresh_head(
        &self,
        path: &SecretPath,
        now: Timestamp,
    ) -> Result<Head, Error> {
        folder::verify_missing(&*self.storage, &self.barrier, path).await?;
        let mut head = new_head(path, now);
        head.metadata.max_versions = 0;
        Ok(head)
    }
}

pub(super) fn delete_at(head: &Head, of_mount: Option<Span>, now: Timestamp) -> Option<Timestamp> {
    let own = head.metadata.delete_version_after;
    let span = match (own, of_mount) {
        (Some(own), Some(mount)) => Some(own.min(mount)),
        (own, mount) => own.or(mount),
    };
    span.map(|span| now.plus(span))
}

pub(super) fn check_cas(
    path: &SecretPath,
    cas: Option<u64>,
    head: Option<&Head>,
) -> Result<(), Error> {
    let found = head
        .and_then(Head::newest)
        .map_or(0, |version| version.number);
    match cas {
        Some(expected) if expected != found => Err(Error::VersionMismatch {
            path: path.to_string(),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}
