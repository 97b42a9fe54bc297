//! Every change of a secret: one storage transaction each, its audit record within.

mod together;

use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::metadata::Metadata;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::StorageError;
use strongroom_core::secret::Payload;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;

use super::ATTEMPTS_MAX;
use super::Engine;
use super::MetadataPatch;
use super::Trail;
use super::VALUE_BYTES_MAX;
use super::choice::Versions;
use super::choice::set_state;
use super::graph::set_facts;
use super::stages;
use super::versions::check_cas;
use crate::context::OpContext;
use crate::error::Error;
use crate::folder;
use crate::folder::FolderPlan;
use crate::folder::Found;
use crate::record;
use crate::record::Head;
use crate::record::Kind;

/// How a value is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// The version that must be current; 0 for "there must be none".
    pub cas: Option<u64>,
    /// Make a new version even if the value is the current one.
    pub force: bool,
    /// How the value came to be.
    pub provenance: Provenance,
    /// Metadata to change with it.
    pub metadata: MetadataPatch,
    /// Stages that the version gets beside the current one, taken from the versions that have
    /// them.
    pub stages: Vec<String>,
}

impl WriteOptions {
    /// A plain write.
    #[must_use]
    pub fn new(provenance: Provenance) -> Self {
        Self {
            cas: None,
            force: false,
            provenance,
            metadata: MetadataPatch::default(),
            stages: Vec::new(),
        }
    }
}

pub use together::Together;

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The current version now.
    pub version: u64,
    /// False when the value was the current one already.
    pub is_new: bool,
}

/// The records a change is made of, without its folders.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) items: Vec<BatchItem>,
    pub(super) heads: Vec<HeadChange>,
    /// The version that was made, for the audit record.
    pub(super) version: Option<u64>,
    /// What was copied or moved, for the audit record.
    pub(super) source: Option<SecretPath>,
    /// The folder, where it has been read already.
    pub(super) folder: Option<Found>,
}

pub(super) struct HeadChange {
    path: SecretPath,
    before: Option<Record>,
    after: Option<BatchItem>,
}

impl Engine {
    /// Writes a value as a new version.
    ///
    /// # Errors
    /// `VersionMismatch` when `cas` does not fit, `LimitExceeded`, `Damaged`, storage errors.
    pub async fn write(
        &self,
        context: &OpContext,
        path: &SecretPath,
        payload: &Payload,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        let result = self.try_write(context, path, payload, options).await;
        self.note_failure(context, Action::Write, &[path], result)
            .await
    }

    async fn try_write(
        &self,
        context: &OpContext,
        path: &SecretPath,
        payload: &Payload,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let (found, folder) = self.find_with_folder(path).await?;
            let mut draft = Draft {
                folder: Some(folder),
                ..Draft::default()
            };
            let written = self.draft_write(context, path, payload, options, found, &mut draft)?;
            if draft.heads.is_empty() {
                return Ok(written);
            }
            draft.version = Some(written.version);
            let action = if written.is_new {
                Action::Write
            } else {
                Action::Tag
            };
            if self.apply(context, action, draft).await? {
                return Ok(written);
            }
        }
        Err(Error::Contended {
            path: path.to_string(),
        })
    }

    /// Adds a write to a draft; nothing when the value is the current one and nothing else changes.
    fn draft_write(
        &self,
        context: &OpContext,
        path: &SecretPath,
        payload: &Payload,
        options: &WriteOptions,
        found: Option<(Record, Head)>,
        draft: &mut Draft,
    ) -> Result<Written, Error> {
        if payload.value.len_bytes() > VALUE_BYTES_MAX {
            let limit = format!("{VALUE_BYTES_MAX} bytes");
            return Err(Error::LimitExceeded {
                what: "the value".into(),
                limit,
            });
        }
        stages::check(&options.stages)?;
        check_cas(path, options.cas, found.as_ref().map(|(_, head)| head))?;
        let (before, mut head) = match found {
            Some((record, head)) => (Some(record), head),
            None => (None, new_head(path, context.now)),
        };
        let is_changed = options.metadata.apply(&mut head.metadata)?;
        let is_new = options.force || !self.is_current(&head, payload);
        let current = head.newest().map_or(0, |version| version.number);
        let is_changed = is_changed | (!is_new && stages::give(&mut head, &options.stages)?);
        if !is_new && !is_changed {
            return Ok(Written {
                version: current,
                is_new: false,
            });
        }
        if is_new {
            // Its stages are given before any version goes, so that they say which stay.
            let kept = std::mem::replace(&mut head.metadata.max_versions, u32::MAX);
            self.push_version(&mut head, payload, &options.provenance, context.now, draft);
            stages::give(&mut head, &options.stages)?;
            self.drop_oldest(&mut head, kept, draft);
            head.metadata.max_versions = kept;
        }
        head.metadata.updated = context.now;
        let version = head.newest().map_or(0, |version| version.number);
        draft.heads.push(self.head_change(before, &head));
        Ok(Written { version, is_new })
    }

    /// A secret and its folder in one reading.
    pub(super) async fn find_with_folder(
        &self,
        path: &SecretPath,
    ) -> Result<(Option<(Record, Head)>, Found), Error> {
        let secret = record::id_of(&self.barrier, Kind::Secret, path.as_str());
        let folder = record::id_of(&self.barrier, Kind::Folder, path.folder());
        let mut records = self.storage.get_many(&[secret, folder]).await?;
        let found = Found {
            id: folder,
            record: records.pop().flatten(),
        };
        let secret = match records.pop().flatten() {
            Some(record) => {
                let head = self.open_head(path, &record)?;
                Some((record, head))
            }
            None => None,
        };
        Ok((secret, found))
    }

    /// Makes the value of an earlier version current again, as a new version.
    ///
    /// # Errors
    /// `NotFound`, or `Gone` when that version is deleted or destroyed.
    pub async fn rollback(
        &self,
        context: &OpContext,
        path: &SecretPath,
        version: u64,
    ) -> Result<Written, Error> {
        let earlier = self.read_unaudited(path, Some(version)).await?;
        let mut options = WriteOptions::new(Provenance::RolledBack(version));
        options.force = true;
        self.write(context, path, &earlier.payload, &options).await
    }

    /// Changes metadata only.
    ///
    /// # Errors
    /// `NotFound`, `LimitExceeded`.
    pub async fn tag(
        &self,
        context: &OpContext,
        path: &SecretPath,
        patch: &MetadataPatch,
    ) -> Result<(), Error> {
        self.change(context, Action::Tag, path, |head, _| {
            patch.apply(&mut head.metadata)?;
            Ok(())
        })
        .await
    }

    /// Deletes versions; they can be undeleted. The numbers of those that were live.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(
        &self,
        context: &OpContext,
        path: &SecretPath,
        versions: &Versions,
    ) -> Result<Vec<u64>, Error> {
        let mut changed = Vec::new();
        self.change(context, Action::Delete, path, |head, _| {
            changed = set_state(head, versions, |state| match state {
                VersionState::Live => Some(VersionState::Deleted { at: context.now }),
                _ => None,
            });
            Ok(())
        })
        .await?;
        Ok(changed)
    }

    /// Makes deleted versions readable again; their numbers.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn undelete(
        &self,
        context: &OpContext,
        path: &SecretPath,
        versions: &Versions,
    ) -> Result<Vec<u64>, Error> {
        let mut changed = Vec::new();
        self.change(context, Action::Undelete, path, |head, _| {
            changed = set_state(head, versions, |state| match state {
                VersionState::Deleted { .. } => Some(VersionState::Live),
                _ => None,
            });
            Ok(())
        })
        .await?;
        Ok(changed)
    }

    /// Destroys values for good; their numbers. The secret's history stays.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn destroy(
        &self,
        context: &OpContext,
        path: &SecretPath,
        versions: &Versions,
    ) -> Result<Vec<u64>, Error> {
        let mut changed = Vec::new();
        self.change(context, Action::Destroy, path, |head, draft| {
            changed = set_state(head, versions, |state| match state {
                VersionState::Destroyed => None,
                _ => Some(VersionState::Destroyed),
            });
            let newest = head.newest().map_or(0, |version| version.number);
            for number in &changed {
                if *number == newest {
                    head.value = None;
                } else {
                    draft.push(self.drop_version(path, *number));
                }
            }
            Ok(())
        })
        .await?;
        Ok(changed)
    }

    /// Removes a secret with all its versions and its history.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove(&self, context: &OpContext, path: &SecretPath) -> Result<(), Error> {
        let result = self.try_remove(context, path).await;
        self.note_failure(context, Action::Destroy, &[path], result)
            .await
    }

    async fn try_remove(&self, context: &OpContext, path: &SecretPath) -> Result<(), Error> {
        self.remove_if(context, path, |_| true).await.map(drop)
    }

    /// Removes a secret that is still as it should be to be removed; whether it was.
    pub(super) async fn remove_if(
        &self,
        context: &OpContext,
        path: &SecretPath,
        may_go: impl Fn(&Head) -> bool,
    ) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let (record, head) = self.require(path).await?;
            if !may_go(&head) {
                return Ok(false);
            }
            let mut items = self.drop_versions(&head);
            items.push(self.removed_rotation(path));
            let heads = vec![HeadChange {
                path: path.clone(),
                before: Some(record),
                after: None,
            }];
            let draft = Draft {
                items,
                heads,
                ..Draft::default()
            };
            if self.apply(context, Action::Destroy, draft).await? {
                return Ok(true);
            }
        }
        Err(Error::Contended {
            path: path.to_string(),
        })
    }

    /// Copies a secret with its versions and metadata, without showing a value.
    ///
    /// # Errors
    /// `NotFound`, or `AlreadyExists` at the target.
    pub async fn copy(
        &self,
        context: &OpContext,
        from: &SecretPath,
        to: &SecretPath,
    ) -> Result<(), Error> {
        let result = self.carry(context, from, to, Action::Copy).await;
        self.note_failure(context, Action::Copy, &[from, to], result)
            .await
    }

    /// Moves a secret with its versions and metadata, without showing a value.
    ///
    /// # Errors
    /// `NotFound`, or `AlreadyExists` at the target.
    pub async fn rename(
        &self,
        context: &OpContext,
        from: &SecretPath,
        to: &SecretPath,
    ) -> Result<(), Error> {
        let result = self.carry(context, from, to, Action::Move).await;
        self.note_failure(context, Action::Move, &[from, to], result)
            .await
    }

    async fn carry(
        &self,
        context: &OpContext,
        from: &SecretPath,
        to: &SecretPath,
        action: Action,
    ) -> Result<(), Error> {
        if from == to {
            return Err(Error::Invalid {
                message: format!("{from} is source and target at once"),
            });
        }
        'attempts: for _ in 0..ATTEMPTS_MAX {
            let (record, head) = self.require(from).await?;
            if self.find(to).await?.is_some() {
                return Err(Error::AlreadyExists {
                    path: to.to_string(),
                });
            }
            let mut items = Vec::new();
            let newest = head.newest().map_or(0, |version| version.number);
            for version in &head.versions {
                if version.number != newest && version.state != VersionState::Destroyed {
                    let value = match self.value_of(&head, version.number).await {
                        // It may be dropped by others just now.
                        Err(Error::Damaged { .. })
                            if !folder::is_unchanged(&*self.storage, &record).await? =>
                        {
                            continue 'attempts;
                        }
                        result => result?,
                    };
                    items.push(record::put_version(
                        &self.barrier,
                        to,
                        version.number,
                        &value,
                    ));
                }
            }
            let mut carried = Head {
                path: to.clone(),
                ..head.clone()
            };
            carried.metadata.updated = context.now;
            match action {
                Action::Move => items.extend(self.moved_rotation(from, to).await?),
                // A copy is a secret of its own, which nothing rotates.
                _ => {
                    let mut facts = carried.aws.as_deref().cloned().unwrap_or_default();
                    facts.rotation = None;
                    set_facts(&mut carried, facts);
                }
            }
            let mut heads = vec![self.head_change(None, &carried)];
            if action == Action::Move {
                items.extend(self.drop_versions(&head));
                heads.push(HeadChange {
                    path: from.clone(),
                    before: Some(record),
                    after: None,
                });
            } else {
                let id = record.id;
                let precondition = Precondition::Revision(record.revision);
                items.push(BatchItem {
                    id,
                    precondition,
                    change: Change::Check,
                });
            }
            let draft = Draft {
                items,
                heads,
                source: Some(from.clone()),
                ..Draft::default()
            };
            if self.apply(context, action, draft).await? {
                return Ok(());
            }
        }
        Err(Error::Contended {
            path: from.to_string(),
        })
    }

    /// Notes that something was tried and failed.
    async fn note_failure<T>(
        &self,
        context: &OpContext,
        action: Action,
        paths: &[&SecretPath],
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if result.is_err() {
            let paths = paths.iter().map(ToString::to_string).collect();
            self.note(&context.event(action, paths, Outcome::Failed))
                .await;
        }
        result
    }

    /// Changes a head in place, repeated when others disturb.
    async fn change(
        &self,
        context: &OpContext,
        action: Action,
        path: &SecretPath,
        edit: impl FnMut(&mut Head, &mut Vec<BatchItem>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let result = self.try_change(context, action, path, edit).await;
        self.note_failure(context, action, &[path], result).await
    }

    async fn try_change(
        &self,
        context: &OpContext,
        action: Action,
        path: &SecretPath,
        mut edit: impl FnMut(&mut Head, &mut Vec<BatchItem>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let (record, mut head) = self.require(path).await?;
            let mut items = Vec::new();
            edit(&mut head, &mut items)?;
            head.metadata.updated = context.now;
            let heads = vec![self.head_change(Some(record), &head)];
            let draft = Draft {
                items,
                heads,
                ..Draft::default()
            };
            if self.apply(context, action, draft).await? {
                return Ok(());
            }
        }
        Err(Error::Contended {
            path: path.to_string(),
        })
    }

    /// Commits a draft with its folders and its audit record; false when others were faster.
    pub(super) async fn apply(
        &self,
        context: &OpContext,
        action: Action,
        draft: Draft,
    ) -> Result<bool, Error> {
        let mut plan = FolderPlan::new(&self.barrier, draft.folder);
        let mut batch = draft.items;
        let mut paths: Vec<String> = draft.source.iter().map(ToString::to_string).collect();
        for change in draft.heads {
            plan.secret(&change.path, change.before.as_ref(), change.after.as_ref());
            let path = change.path.to_string();
            if !paths.contains(&path) {
                paths.push(path);
            }
            batch.push(match (change.after, change.before) {
                (Some(put), _) => put,
                (None, before) => BatchItem {
                    id: record::id_of(&self.barrier, Kind::Secret, change.path.as_str()),
                    precondition: before.map_or(Precondition::Any, |record| {
                        Precondition::Revision(record.revision)
                    }),
                    change: Change::Delete,
                },
            });
        }
        batch.extend(plan.changes(&*self.storage).await?);
        if self.trail == Trail::Store {
            let mut event = context.event(action, paths, Outcome::Allowed);
            event.version = draft.version;
            batch.push(record::put_audit(&self.barrier, &event));
        }
        match self.storage.commit(batch, Durability::Durable).await {
            Ok(_) => Ok(true),
            Err(StorageError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn head_change(&self, before: Option<Record>, head: &Head) -> HeadChange {
        let id = record::id_of(&self.barrier, Kind::Secret, head.path.as_str());
        let precondition = before.as_ref().map_or(Precondition::Absent, |record| {
            Precondition::Revision(record.revision)
        });
        let settled = super::deletion::settled(head);
        let after = Some(settled.put(&self.barrier, id, precondition));
        HeadChange {
            path: head.path.clone(),
            before,
            after,
        }
    }

    fn is_current(&self, head: &Head, payload: &Payload) -> bool {
        head.newest().is_some_and(|version| {
            version.state == VersionState::Live
                && version.shape == payload.shape
                && version.fingerprint == self.barrier.fingerprint(&payload.value)
        })
    }

    pub(super) fn push_version(
        &self,
        head: &mut Head,
        payload: &Payload,
        provenance: &Provenance,
        now: Timestamp,
        draft: &mut Draft,
    ) {
        let before = head.newest().map_or(0, |version| version.number);
        let number = super::graph::next_number(head);
        if let Some(value) = head.value.take() {
            draft.items.push(record::put_version(
                &self.barrier,
                &head.path,
                before,
                &value,
            ));
        }
        for version in &mut head.versions {
            version
                .stages
                .retain(|stage| stage != STAGE_CURRENT && stage != STAGE_PREVIOUS);
        }
        if let Some(previous) = head.versions.last_mut() {
            previous.stages.push(STAGE_PREVIOUS.into());
        }
        head.versions.push(VersionInfo {
            number,
            created: now,
            state: VersionState::Live,
            provenance: provenance.clone(),
            fingerprint: self.barrier.fingerprint(&payload.value),
            shape: payload.shape,
            version_id: None,
            stages: vec![STAGE_CURRENT.into()],
            delete_at: head
                .metadata
                .delete_version_after
                .map(|span| now.plus(span)),
        });
        head.value = Some(payload.value.clone());
        self.drop_oldest(head, head.metadata.max_versions, draft);
    }

    /// Drops the oldest versions, so that at most `kept` are left, and at least one. Those with a
    /// stage of their own go last.
    pub(super) fn drop_oldest(&self, head: &mut Head, kept: u32, draft: &mut Draft) {
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).max(1);
        while head.versions.len() > kept {
            let oldest = head.versions.remove(stages::first_without(head));
            draft
                .items
                .push(self.drop_version(&head.path, oldest.number));
        }
    }

    fn drop_version(&self, path: &SecretPath, number: u64) -> BatchItem {
        let id = record::version_id(&self.barrier, path, number);
        BatchItem {
            id,
            precondition: Precondition::Any,
            change: Change::Delete,
        }
    }

    fn drop_versions(&self, head: &Head) -> Vec<BatchItem> {
        let newest = head.newest().map_or(0, |version| version.number);
        head.versions
            .iter()
            .filter(|version| version.number != newest)
            .map(|version| self.drop_version(&head.path, version.number))
            .collect()
    }
}

pub(super) fn new_head(path: &SecretPath, now: Timestamp) -> Head {
    Head {
        path: path.clone(),
        metadata: Metadata::new(now),
        versions: Vec::new(),
        value: None,
        aws: None,
    }
}
