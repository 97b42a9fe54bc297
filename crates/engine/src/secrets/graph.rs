//! The version graph as AWS clients see it: versions with ids of their own, stages that move, and
//! a current version that need not be the newest.
//!
//! One rule joins this with everything else: the last version in a secret's list is the current
//! one, whatever its number. A version that is not to be current is put before it.

use std::collections::BTreeMap;

use strongroom_core::audit::Action;
use strongroom_core::aws::AwsFacts;
use strongroom_core::metadata;
use strongroom_core::metadata::Metadata;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::secret::Payload;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;

use super::ATTEMPTS_MAX;
use super::Engine;
use super::Snapshot;
use super::VALUE_BYTES_MAX;
use super::deletion::deletion_of;
use super::identity::stages_of;
use super::stages;
use super::write::Draft;
use crate::context::OpContext;
use crate::error::Error;
use crate::folder;
use crate::record;
use crate::record::Head;

/// Versions kept of a secret that was made by an AWS client.
const VERSIONS_KEPT: u32 = 100;
/// Versions beyond those that are kept while they are young.
const YOUNG_MAX: usize = 100;
/// A version without a stage is young for so long.
const YOUNG: Span = Span::from_seconds(24 * 3600);
/// Most stages of one version.
const STAGES_MAX: usize = 20;

/// Why a change of the graph is refused. Every door matches it in full.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// As everywhere.
    #[error(transparent)]
    Engine(#[from] Error),
    /// There is a secret of this name.
    #[error("the secret is there already")]
    Exists,
    /// The id is that of a version with another value.
    #[error("the version id {id} is in use for another value")]
    IdTaken {
        /// Which.
        id: String,
    },
    /// The secret is to be removed.
    #[error("the secret is marked for deletion")]
    MarkedForDeletion,
    /// A secret of this name is to be removed.
    #[error("a secret of this name is marked for deletion")]
    NameMarkedForDeletion,
    /// There is no version of this id.
    #[error("there is no version {id}")]
    NoVersion {
        /// Which.
        id: String,
    },
    /// The stage is on another version than was said.
    #[error("the stage {stage} is not where it was said to be")]
    StageElsewhere {
        /// Which.
        stage: String,
        /// The id of the version that has it.
        holder: Option<String>,
    },
    /// The stage of the current version can only move.
    #[error("the stage of the current version can only move")]
    CurrentStays,
    /// The version can have no more stages.
    #[error("the version has too many stages")]
    TooManyStages,
}

/// A new secret.
pub struct Creation<'a> {
    /// What it is for.
    pub description: Option<&'a str>,
    /// Its labels.
    pub tags: &'a BTreeMap<String, String>,
    /// What only AWS clients know.
    pub facts: &'a AwsFacts,
    /// The first version and its id; there may be none yet.
    pub value: Option<(&'a Payload, &'a str)>,
    /// What the mount wants.
    pub limits: Limits,
}

/// A new version.
pub struct Addition<'a> {
    /// Its value.
    pub payload: &'a Payload,
    /// How it came to be: what a rotation waits for is rotated, also where it says it is set.
    pub provenance: Provenance,
    /// Its id.
    pub id: &'a str,
    /// Its stages; none for the current one.
    pub stages: &'a [String],
    /// What the mount wants.
    pub limits: Limits,
}

/// What a mount wants of every write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// A write has to name the current version, which AWS clients cannot.
    pub cas_required: bool,
    /// The version is deleted after so long.
    pub delete_after: Option<Span>,
}

/// What became of a version that was written.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The secret as it is now.
    pub snapshot: Snapshot,
    /// The number of the version; 0 for none.
    pub number: u64,
}

impl Engine {
    /// Makes a secret. The same once more, with the same value and id, changes nothing.
    ///
    /// # Errors
    /// `Exists`, `IdTaken`, `MarkedForDeletion`, and those of every write.
    pub async fn create(
        &self,
        context: &OpContext,
        path: &SecretPath,
        new: &Creation<'_>,
    ) -> Result<Changed, GraphError> {
        check_tags(new.tags)?;
        if let Some((payload, _)) = new.value {
            check_size(payload)?;
        }
        for _ in 0..ATTEMPTS_MAX {
            let (found, folder) = self.find_with_folder(path).await?;
            if let Some((record, head)) = found {
                return self.created_before(&record, head, new);
            }
            let mut head = self.fresh_head(path, context.now).await?;
            if new.value.is_some() && new.limits.cas_required {
                return Err(cas_required(path));
            }
            head.metadata.max_versions = VERSIONS_KEPT;
            head.metadata.description = new.description.map(str::to_owned);
            head.metadata.tags.clone_from(new.tags);
            set_facts(&mut head, new.facts.clone());
            let mut draft = Draft {
                folder: Some(folder),
                ..Draft::default()
            };
            if let Some((payload, id)) = new.value {
                let new = Addition {
                    payload,
                    provenance: Provenance::Set,
                    id,
                    stages: &[],
                    limits: new.limits,
                };
                draft.version = Some(self.add(&mut head, &new, context.now, &mut draft)?);
            }
            let number = draft.version.unwrap_or(0);
            if let Some(snapshot) = self
                .settle(context, Action::Write, None, head, draft)
                .await?
            {
                return Ok(Changed { snapshot, number });
            }
        }
        Err(contended(path))
    }

    fn created_before(
        &self,
        record: &Record,
        head: Head,
        new: &Creation<'_>,
    ) -> Result<Changed, GraphError> {
        if deletion_of(&head).is_some() {
            return Err(GraphError::NameMarkedForDeletion);
        }
        let Some((payload, id)) = new.value else {
            return Err(GraphError::Exists);
        };
        let place = self.place_of(&head, id).ok_or(GraphError::Exists)?;
        let number = self.same_value(&head, place, payload, id)?;
        let snapshot = Snapshot::of(head, record.revision);
        Ok(Changed { snapshot, number })
    }

    /// The number of the version of an id, when it has this value.
    fn same_value(
        &self,
        head: &Head,
        place: usize,
        payload: &Payload,
        id: &str,
    ) -> Result<u64, GraphError> {
        let known = head.versions.get(place);
        let fingerprint = self.barrier.fingerprint(&payload.value);
        match known {
            Some(known) if known.fingerprint == fingerprint && known.shape == payload.shape => {
                Ok(known.number)
            }
            _ => Err(GraphError::IdTaken { id: id.into() }),
        }
    }

    /// Adds a version, and changes what is known about the secret with it. The same once more,
    /// with the same value and id, changes no version.
    ///
    /// # Errors
    /// `NotFound`, `IdTaken`, `MarkedForDeletion`, `TooManyStages`, what `edit` answers, and those
    /// of every write.
    pub async fn add_version(
        &self,
        context: &OpContext,
        path: &SecretPath,
        new: &Addition<'_>,
        mut edit: impl FnMut(&mut Metadata, &mut AwsFacts) -> Result<(), GraphError>,
    ) -> Result<Changed, GraphError> {
        check_size(new.payload)?;
        stages::check(new.stages)?;
        for _ in 0..ATTEMPTS_MAX {
            let (found, folder) = self.find_with_folder(path).await?;
            let Some((record, mut head)) = found else {
                return Err(self.missing(path).await);
            };
            if deletion_of(&head).is_some() {
                return Err(GraphError::MarkedForDeletion);
            }
            let mut facts = head.aws.as_deref().cloned().unwrap_or_default();
            let before = (head.metadata.clone(), facts.clone());
            edit(&mut head.metadata, &mut facts)?;
            let mut draft = Draft {
                folder: Some(folder),
                ..Draft::default()
            };
            let number = match self.place_of(&head, new.id) {
                Some(place) => {
                    let number = self.same_value(&head, place, new.payload, new.id)?;
                    if before == (head.metadata.clone(), facts.clone()) {
                        let snapshot = Snapshot::of(head, record.revision);
                        return Ok(Changed { snapshot, number });
                    }
                    number
                }
                None => {
                    if new.limits.cas_required || head.metadata.cas_required {
                        return Err(cas_required(path));
                    }
                    // Its value has come.
                    let rotation = facts.rotation.as_mut();
                    let waited = rotation.and_then(|rotation| {
                        let pending = &mut rotation.pending;
                        pending.take_if(|pending| pending == new.id)
                    });
                    let provenance = match (&new.provenance, waited) {
                        (Provenance::Set, Some(_)) => Provenance::Rotated,
                        (own, _) => own.clone(),
                    };
                    let new = Addition { provenance, ..*new };
                    self.add(&mut head, &new, context.now, &mut draft)?
                }
            };
            set_facts(&mut head, facts);
            draft.version = Some(number);
            let settled = self.settle(context, Action::Write, Some(record), head, draft);
            if let Some(snapshot) = settled.await? {
                return Ok(Changed { snapshot, number });
            }
        }
        Err(contended(path))
    }

    /// Puts a version into a head; its number.
    fn add(
        &self,
        head: &mut Head,
        new: &Addition<'_>,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<u64, GraphError> {
        let is_current = head.versions.is_empty()
            || new.stages.is_empty()
            || new.stages.iter().any(|stage| stage == STAGE_CURRENT);
        let own = std::mem::replace(&mut head.metadata.max_versions, u32::MAX);
        let number = match is_current {
            true => {
                self.push_version(head, new.payload, &new.provenance, now, draft);
                let newest = head.versions.last_mut();
                newest.map_or(0, |newest| {
                    newest.version_id = Some(new.id.to_owned());
                    newest.number
                })
            }
            false => self.slip_in(head, new, now, draft),
        };
        head.metadata.max_versions = own;
        let delete_at = super::versions::delete_at(head, new.limits.delete_after, now);
        for info in &mut head.versions {
            if info.number == number {
                info.delete_at = delete_at;
                continue;
            }
            let moves = |stage: &String| new.stages.contains(stage) && stage != STAGE_CURRENT;
            info.stages.retain(|stage| !moves(stage));
        }
        let added = head.versions.iter_mut().find(|info| info.number == number);
        if let Some(added) = added {
            for stage in new.stages {
                if !added.stages.contains(stage) {
                    added.stages.push(stage.clone());
                }
            }
            if added.stages.len() > STAGES_MAX {
                return Err(GraphError::TooManyStages);
            }
        }
        self.drop_unstaged(head, number, now, draft);
        Ok(number)
    }

    /// Puts a version before the current one; its number.
    fn slip_in(
        &self,
        head: &mut Head,
        new: &Addition<'_>,
        now: Timestamp,
        draft: &mut Draft,
    ) -> u64 {
        let number = next_number(head);
        let value = &new.payload.value;
        let item = record::put_version(&self.barrier, &head.path, number, value);
        draft.items.push(item);
        let info = VersionInfo {
            number,
            created: now,
            state: VersionState::Live,
            provenance: new.provenance.clone(),
            fingerprint: self.barrier.fingerprint(value),
            shape: new.payload.shape,
            version_id: Some(new.id.to_owned()),
            stages: Vec::new(),
            delete_at: None,
        };
        let last = head.versions.len().saturating_sub(1);
        head.versions.insert(last, info);
        number
    }

    /// Drops the oldest versions without a stage when there are too many: at first those that are
    /// not young.
    fn drop_unstaged(&self, head: &mut Head, added: u64, now: Timestamp, draft: &mut Draft) {
        let kept = match head.metadata.max_versions {
            0 => VERSIONS_KEPT,
            own => own,
        };
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).max(1);
        while head.versions.len() > kept {
            let is_over = head.versions.len() > kept.saturating_add(YOUNG_MAX);
            let last = head.versions.len() - 1;
            let candidates = head.versions.iter().enumerate().take(last);
            let oldest = candidates
                .filter(|(_, info)| info.stages.is_empty() && info.number != added)
                .filter(|(_, info)| is_over || info.created.plus(YOUNG) < now)
                .min_by_key(|(_, info)| info.number)
                .map(|(place, _)| place);
            let Some(place) = oldest else {
                return;
            };
            let dropped = head.versions.remove(place);
            draft
                .items
                .push(self.without_version(&head.path, dropped.number));
        }
    }

    fn without_version(&self, path: &SecretPath, number: u64) -> BatchItem {
        BatchItem {
            id: record::version_id(&self.barrier, path, number),
            precondition: Precondition::Any,
            change: Change::Delete,
        }
    }

    /// Moves a stage to a version, or takes it from one. Where it is now has to be named, unless
    /// it is nowhere.
    ///
    /// # Errors
    /// `NotFound`, `MarkedForDeletion`, `NoVersion`, `StageElsewhere`, `CurrentStays`,
    /// `TooManyStages`, and those of every write.
    pub async fn move_stage(
        &self,
        context: &OpContext,
        path: &SecretPath,
        stage: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Snapshot, GraphError> {
        stages::check(&[stage.to_owned()])?;
        for _ in 0..ATTEMPTS_MAX {
            let (record, mut head) = self.require(path).await?;
            if deletion_of(&head).is_some() {
                return Err(GraphError::MarkedForDeletion);
            }
            let place = |id: &str| {
                let place = self.place_of(&head, id);
                place.ok_or_else(|| GraphError::NoVersion { id: id.into() })
            };
            let (from_place, to_place) = (from.map(place).transpose()?, to.map(place).transpose()?);
            let holder = head.versions.iter().position(|info| {
                let stages = stages_of(&head, info);
                stages.iter().any(|own| own == stage)
            });
            if to_place.is_some() && to_place == holder {
                return Ok(Snapshot::of(head, record.revision));
            }
            if from_place != holder {
                let holder = holder.and_then(|place| head.versions.get(place));
                return Err(GraphError::StageElsewhere {
                    stage: stage.into(),
                    holder: holder.map(|info| self.id_in(&head, info)),
                });
            }
            let mut draft = Draft::default();
            match (stage, to_place) {
                (STAGE_CURRENT, None) => return Err(GraphError::CurrentStays),
                (STAGE_CURRENT, Some(place)) => {
                    if !self
                        .make_current(&record, &mut head, place, &mut draft, context.now)
                        .await?
                    {
                        continue;
                    }
                }
                (_, place) => {
                    for info in &mut head.versions {
                        info.stages.retain(|own| own != stage);
                    }
                    if let Some(info) = place.and_then(|place| head.versions.get_mut(place)) {
                        info.stages.push(stage.to_owned());
                    }
                }
            }
            if head
                .versions
                .iter()
                .any(|info| info.stages.len() > STAGES_MAX)
            {
                return Err(GraphError::TooManyStages);
            }
            let settled = self.settle(context, Action::Tag, Some(record), head, draft);
            if let Some(snapshot) = settled.await? {
                return Ok(snapshot);
            }
        }
        Err(contended(path))
    }

    /// Makes an earlier version the current one; false when others have changed the secret.
    async fn make_current(
        &self,
        record: &Record,
        head: &mut Head,
        place: usize,
        draft: &mut Draft,
        now: Timestamp,
    ) -> Result<bool, GraphError> {
        let Some(info) = head.versions.get(place).cloned() else {
            return Ok(false);
        };
        if info.state_at(now) != VersionState::Live {
            return Err(GraphError::NoVersion {
                id: self.id_in(head, &info),
            });
        }
        let value = match self.value_of(head, info.number).await {
            // It may be dropped by others just now.
            Err(Error::Damaged { .. })
                if !folder::is_unchanged(&*self.storage, record)
                    .await
                    .map_err(Error::from)? =>
            {
                return Ok(false);
            }
            value => value?,
        };
        let before = head.newest().map_or(0, |newest| newest.number);
        if let Some(old) = head.value.replace(value) {
            let item = record::put_version(&self.barrier, &head.path, before, &old);
            draft.items.push(item);
        }
        draft
            .items
            .push(self.without_version(&head.path, info.number));
        head.versions.remove(place);
        head.versions.push(info);
        let last = head.versions.len() - 1;
        for (place, info) in head.versions.iter_mut().enumerate() {
            let moves = |stage: &String| stage == STAGE_CURRENT || stage == STAGE_PREVIOUS;
            info.stages.retain(|stage| !moves(stage));
            if info.number == before {
                info.stages.push(STAGE_PREVIOUS.into());
            }
            if place == last {
                info.stages.insert(0, STAGE_CURRENT.into());
            }
        }
        Ok(true)
    }

    /// Changes what is known about a secret.
    ///
    /// # Errors
    /// `NotFound`, `MarkedForDeletion`, what `edit` answers, and those of every write.
    pub async fn edit_facts(
        &self,
        context: &OpContext,
        path: &SecretPath,
        mut edit: impl FnMut(&mut Metadata, &mut AwsFacts) -> Result<(), GraphError>,
    ) -> Result<Snapshot, GraphError> {
        for _ in 0..ATTEMPTS_MAX {
            let (record, mut head) = self.require(path).await?;
            if deletion_of(&head).is_some() {
                return Err(GraphError::MarkedForDeletion);
            }
            let mut facts = head.aws.as_deref().cloned().unwrap_or_default();
            edit(&mut head.metadata, &mut facts)?;
            check_tags(&head.metadata.tags)?;
            set_facts(&mut head, facts);
            let draft = Draft::default();
            let settled = self.settle(context, Action::Tag, Some(record), head, draft);
            if let Some(snapshot) = settled.await? {
                return Ok(snapshot);
            }
        }
        Err(contended(path))
    }

    /// Commits a head; `None` when others were faster.
    pub(super) async fn settle(
        &self,
        context: &OpContext,
        action: Action,
        before: Option<Record>,
        mut head: Head,
        mut draft: Draft,
    ) -> Result<Option<Snapshot>, GraphError> {
        head.metadata.updated = context.now;
        draft.heads.push(self.head_change(before, &head));
        match self.apply(context, action, draft).await? {
            // Which revision it got is not told: whoever wants to know reads it again.
            true => Ok(Some(Snapshot::of(head, 0))),
            false => Ok(None),
        }
    }

    async fn missing(&self, path: &SecretPath) -> GraphError {
        match folder::verify_missing(&*self.storage, &self.barrier, path).await {
            Ok(()) => GraphError::Engine(Error::NotFound {
                what: path.to_string(),
            }),
            Err(error) => error.into(),
        }
    }
}

/// The number of the next version.
pub(super) fn next_number(head: &Head) -> u64 {
    let numbers = head.versions.iter().map(|info| info.number);
    numbers.max().unwrap_or(0) + 1
}

pub(super) fn set_facts(head: &mut Head, facts: AwsFacts) {
    let is_any = facts != AwsFacts::default();
    head.aws = is_any.then(|| Box::new(facts));
}

fn check_size(payload: &Payload) -> Result<(), Error> {
    if payload.value.len_bytes() > VALUE_BYTES_MAX {
        return Err(Error::LimitExceeded {
            what: "the value".into(),
            limit: format!("{VALUE_BYTES_MAX} bytes"),
        });
    }
    Ok(())
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > metadata::TAGS_MAX {
        return Err(Error::LimitExceeded {
            what: "the number of tags".into(),
            limit: format!("{} tags", metadata::TAGS_MAX),
        });
    }
    Ok(())
}

fn cas_required(path: &SecretPath) -> GraphError {
    GraphError::Engine(Error::CasRequired {
        path: path.to_string(),
    })
}

pub(super) fn contended(path: &SecretPath) -> GraphError {
    GraphError::Engine(Error::Contended {
        path: path.to_string(),
    })
}
