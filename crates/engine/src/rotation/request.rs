//! Asking for a rotation, and taking it back.

use strongroom_core::path::SecretPath;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::Step;
use strongroom_core::secret::Payload;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PENDING;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;

use super::Cause;
use super::Purpose;
use super::Rotation;
use super::Rotations;
use super::Run;
use super::Setup;
use crate::context::OpContext;
use crate::error::Error;
use crate::secrets::Addition;
use crate::secrets::GraphError;
use crate::secrets::Limits;
use crate::secrets::Snapshot;
use crate::state::Found;
use crate::state::Put;
use crate::state::Shelf;

/// A change that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The secret.
    pub path: &'a SecretPath,
    /// What rotators know it by.
    pub secret: &'a str,
    /// The id of the new version. The same request once more has the same one.
    pub token: &'a str,
    /// What for.
    pub purpose: Purpose,
    /// What rotates it from now on, and when.
    pub setup: Setup,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The rotation begins.
    Begins,
    /// The same was asked for before.
    Before,
}

/// How a rotation is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// Whoever checks the value is given the current one again, where it may know the new one.
    Properly,
    /// Nobody is told: for what cannot be reached any more.
    AtOnce,
}

/// What became of a rotation that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aborted {
    /// It was at this step, and is over.
    Over(Step),
    /// It was at this step; the current value is being put back.
    Begins(Step),
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// One is under way: it goes on.
    #[error("a rotation of the secret is under way")]
    UnderWay,
    /// A version waits as AWSPENDING that no rotation made.
    #[error("a version of the secret has the stage AWSPENDING already")]
    PendingElsewhere,
    /// There is no value before the current one.
    #[error(
        "the secret has no previous value that could be returned to: it has none, or it was deleted"
    )]
    NoPrevious,
    /// The secret.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Graph(error.into())
    }
}

impl Rotations {
    /// The record of a secret, if it was ever set up to be rotated.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn find(&self, path: &SecretPath) -> Result<Option<Found<Rotation>>, Error> {
        self.state.load(&self.name_of(path)).await
    }

    /// Sets a rotation up and has it begin.
    ///
    /// # Errors
    /// `UnderWay`, `PendingElsewhere`, and what is wrong with the secret.
    pub async fn request(
        &self,
        context: &OpContext,
        request: &Request<'_>,
    ) -> Result<Asked, Refused> {
        for _ in 0..ATTEMPTS_MAX {
            let snapshot = self.living(request.path).await?;
            let created = snapshot.metadata().created;
            let found = self.find(request.path).await?;
            let found = found.filter(|found| found.value.created == created);
            let (before, mut rotation) = match found {
                Some(found) => (Precondition::Revision(found.revision), found.value),
                None => {
                    let path = request.path.as_str();
                    (
                        Precondition::Any,
                        Rotation::new(path, request.secret, created),
                    )
                }
            };
            if let Some(run) = &mut rotation.run {
                if run.token == request.token {
                    return Ok(Asked::Before);
                }
                // It goes on at once, as AWS says in its refusal.
                run.resume = context.now;
                if self.store(&rotation, before).await? {
                    return Err(Refused::UnderWay);
                }
                continue;
            }
            if let Some(known) = self.known(&snapshot, request.token) {
                return known.map(|()| Asked::Before).map_err(Refused::Graph);
            }
            if is_pending(&snapshot) {
                return Err(Refused::PendingElsewhere);
            }
            let is_live = |info: &VersionInfo| info.state_at(context.now) == VersionState::Live;
            let previous = self.staged(&snapshot, STAGE_PREVIOUS);
            if request.purpose == Purpose::Return && !previous.is_some_and(is_live) {
                return Err(Refused::NoPrevious);
            }
            rotation.secret = request.secret.into();
            rotation.setup = request.setup.clone();
            rotation.is_settled = false;
            let last = rotation.last.unwrap_or(context.now);
            rotation.plan(last, context.now, self.spread_of(request.path));
            let token = request.token.to_owned();
            rotation.run = Some(Run::new(token, request.purpose, Cause::Asked, context.now));
            if self.store(&rotation, before).await? {
                self.settle(context, request.path).await?;
                return Ok(Asked::Begins);
            }
        }
        Err(contended(request.path).into())
    }

    /// Ends the rotation of a secret: nothing begins by itself any more, and what is under way is
    /// given up. Stages stay where they are. False when it was never set up.
    ///
    /// # Errors
    /// What is wrong with the secret, storage errors.
    pub async fn cancel(&self, context: &OpContext, path: &SecretPath) -> Result<bool, GraphError> {
        self.living(path).await?;
        let changed = self.change(path, |rotation| {
            rotation.setup.is_enabled = false;
            rotation.is_settled = false;
            rotation.next = None;
            rotation.give_up(context.now);
        });
        if changed.await?.is_none() {
            return Ok(false);
        }
        self.settle(context, path).await?;
        Ok(true)
    }

    /// Gives up the rotation that is under way, and takes AWSPENDING from its version. The next
    /// one begins when it is due. `None` when none was under way.
    ///
    /// # Errors
    /// What is wrong with the secret, storage errors.
    pub async fn abort(
        &self,
        context: &OpContext,
        path: &SecretPath,
        how: Abort,
    ) -> Result<Option<Aborted>, GraphError> {
        let snapshot = self.living(path).await?;
        let mut aborted = None;
        let changed = self.change(path, |rotation| {
            aborted = None;
            let Some(run) = &mut rotation.run else {
                return;
            };
            if how == Abort::Properly && run.is_told() {
                run.purpose = Purpose::TakeBack;
                run.resume = context.now;
                aborted = Some(Aborted::Begins(run.step));
                return;
            }
            aborted = Some(Aborted::Over(run.step));
            rotation.is_settled = false;
            rotation.give_up(context.now);
            let last = rotation.last.unwrap_or(context.now);
            rotation.plan(last, context.now, self.spread_of(path));
        });
        changed.await?;
        if let Some(Aborted::Over(_)) = aborted {
            self.settle(context, path).await?;
            if let Some(id) = self.holder_of(&snapshot, STAGE_PENDING) {
                let is_current = self.holder_of(&snapshot, STAGE_CURRENT).as_ref() == Some(&id);
                if !is_current {
                    let secrets = &self.secrets;
                    let moved = secrets.move_stage(context, path, STAGE_PENDING, Some(&id), None);
                    moved.await?;
                }
            }
        }
        Ok(aborted)
    }

    /// Has a rotation that waits after a failure go on at once. False when none is under way.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors.
    pub async fn resume(&self, path: &SecretPath, now: Timestamp) -> Result<bool, Error> {
        let mut is_under_way = false;
        let changed = self.change(path, |rotation| {
            is_under_way = rotation.run.is_some();
            if let Some(run) = &mut rotation.run {
                run.resume = now;
            }
        });
        changed.await?;
        Ok(is_under_way)
    }

    /// Brings the new value that a rotation waits for, and has it go on. False when none is under
    /// way.
    ///
    /// # Errors
    /// `IdTaken` when it has another one, what is wrong with the secret, storage errors.
    pub async fn supply(
        &self,
        context: &OpContext,
        path: &SecretPath,
        payload: &Payload,
    ) -> Result<bool, GraphError> {
        let Some(run) = self.find(path).await?.and_then(|found| found.value.run) else {
            return Ok(false);
        };
        let new = Addition {
            payload,
            provenance: Provenance::Rotated,
            id: &run.token,
            stages: &[STAGE_PENDING.to_owned()],
            limits: Limits::default(),
        };
        let added = self.secrets.add_version(context, path, &new, |_, _| Ok(()));
        added.await?;
        Ok(self.resume(path, context.now).await?)
    }

    /// Brings what AWS clients see of a secret in line with its record.
    pub(super) async fn settle(
        &self,
        context: &OpContext,
        path: &SecretPath,
    ) -> Result<(), GraphError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(found) = self.find(path).await? else {
                return Ok(());
            };
            let mut rotation = found.value;
            let mut facts = rotation.facts();
            let snapshot = self.living(path).await?;
            let ids = snapshot.versions().iter();
            let mut ids = ids.map(|info| self.secrets.version_id(&snapshot, info));
            facts.pending = facts.pending.filter(|pending| ids.all(|id| id != *pending));
            let known = snapshot.aws().and_then(|known| known.rotation.as_ref());
            if known != Some(&facts) {
                let edited = self.secrets.edit_facts(context, path, |_, known| {
                    known.rotation = Some(facts.clone());
                    Ok(())
                });
                edited.await?;
            }
            if rotation.is_settled {
                return Ok(());
            }
            rotation.is_settled = true;
            if self
                .store(&rotation, Precondition::Revision(found.revision))
                .await?
            {
                return Ok(());
            }
        }
        Err(contended(path).into())
    }

    /// Changes a record; `None` when there is none.
    pub(super) async fn change(
        &self,
        path: &SecretPath,
        mut edit: impl FnMut(&mut Rotation),
    ) -> Result<Option<Rotation>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(found) = self.find(path).await? else {
                return Ok(None);
            };
            let mut rotation = found.value.clone();
            edit(&mut rotation);
            if rotation == found.value || self.store(&rotation, found.unchanged()).await? {
                return Ok(Some(rotation));
            }
        }
        Err(contended(path))
    }

    pub(super) async fn store(
        &self,
        rotation: &Rotation,
        precondition: Precondition,
    ) -> Result<bool, Error> {
        let path = rotation.path.parse::<SecretPath>();
        let path = path.map_err(|error| Error::Invalid {
            message: error.to_string(),
        })?;
        let put = Put {
            name: &self.name_of(&path),
            shown: &rotation.path,
            shelf: Shelf::Kind,
            due_at: rotation.due_at(),
            precondition,
        };
        self.state
            .commit(vec![self.state.put(&put, rotation)])
            .await
    }

    /// The id of a secret's record as the name of the record of its rotation.
    pub(super) fn name_of(&self, path: &SecretPath) -> String {
        name_of(self.secrets.secret_id(path))
    }

    pub(super) fn spread_of(&self, path: &SecretPath) -> u64 {
        let RecordId(id) = self.secrets.secret_id(path);
        let mut number = [0; 8];
        number.copy_from_slice(&id[..8]);
        u64::from_be_bytes(number)
    }

    /// The secret, which is not to be removed.
    pub(super) async fn living(&self, path: &SecretPath) -> Result<Snapshot, GraphError> {
        let snapshot = self.secrets.snapshot(path).await?;
        let snapshot = snapshot.ok_or_else(|| Error::NotFound {
            what: path.to_string(),
        })?;
        match snapshot.deletion() {
            Some(_) => Err(GraphError::MarkedForDeletion),
            None => Ok(snapshot),
        }
    }

    /// Whether a version of this id is there: the current one is what was asked for before.
    fn known(&self, snapshot: &Snapshot, token: &str) -> Option<Result<(), GraphError>> {
        let mut versions = snapshot.versions().iter();
        let info = versions.find(|info| self.secrets.version_id(snapshot, info) == token)?;
        Some(match snapshot.newest() == Some(info) {
            true => Ok(()),
            false => Err(GraphError::IdTaken { id: token.into() }),
        })
    }

    /// The version that has a stage.
    pub(super) fn staged<'a>(
        &self,
        snapshot: &'a Snapshot,
        stage: &str,
    ) -> Option<&'a VersionInfo> {
        let mut versions = snapshot.versions().iter();
        versions.find(|info| snapshot.stages(info).iter().any(|own| own == stage))
    }

    /// The id of the version that has a stage.
    pub(super) fn holder_of(&self, snapshot: &Snapshot, stage: &str) -> Option<String> {
        let info = self.staged(snapshot, stage)?;
        Some(self.secrets.version_id(snapshot, info))
    }
}

impl Rotation {
    fn give_up(&mut self, now: Timestamp) {
        if let Some(run) = self.run.take() {
            let step = run.step;
            self.end(run, Some(step), now);
        }
    }
}

/// Whether another version than the current one is pending.
fn is_pending(snapshot: &Snapshot) -> bool {
    let earlier = snapshot.versions().iter();
    let mut earlier = earlier.filter(|info| snapshot.newest() != Some(info));
    earlier.any(|info| info.stages.iter().any(|stage| stage == STAGE_PENDING))
}

pub(super) fn name_of(secret: RecordId) -> String {
    format!("{secret:?}")
}

pub(super) fn contended(path: &SecretPath) -> Error {
    Error::Contended {
        path: format!("the rotation of {path}"),
    }
}
