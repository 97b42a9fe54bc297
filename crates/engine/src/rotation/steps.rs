//! What each step does. A step that was done before, whole or in part, is done again.

use strongroom_core::path::SecretPath;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::secret::Payload;
use strongroom_core::version::Provenance;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PENDING;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionInfo;

use super::Purpose;
use super::Rotations;
use super::Work;
use crate::context::OpContext;
use crate::error::Error;
use crate::secrets::Addition;
use crate::secrets::GraphError;
use crate::secrets::Limits;
use crate::secrets::Snapshot;

/// The code of the failure after which a rotation begins anew.
pub(super) const VANISHED: &str = "rotation.version_vanished";
/// The code of what is no failure: a person has to do something, and has not yet.
pub const WAITS: &str = "rotation.waits";
/// The code of a failure after which nobody knows which of two values works.
pub const NOT_TAKEN_BACK: &str = "rotation.not_taken_back";

impl Rotations {
    pub(super) async fn do_step(
        &self,
        context: &OpContext,
        work: &Work,
        rotator: &dyn Rotator,
    ) -> Result<(), RotatorError> {
        let claim = &work.claim;
        let snapshot = self.living(claim.path()).await.map_err(of_graph)?;
        let token = claim.run().token.as_str();
        let pending = self.version_of(&snapshot, token).cloned();
        match (claim.run().purpose, claim.run().step, rotator.writer()) {
            (Purpose::Try, Step::Create, _) => match pending {
                Some(_) => Ok(()),
                None => self.copy_current(context, work, &snapshot).await,
            },
            (Purpose::Try, Step::Finish, _) => self.put_away(context, work, &snapshot).await,
            (Purpose::Return, Step::Create, _) => match pending {
                Some(_) => Ok(()),
                None => self.copy_previous(context, work, &snapshot).await,
            },
            (Purpose::TakeBack, step, writer) => {
                let is_current = self.holder_of(&snapshot, STAGE_CURRENT).as_deref() == Some(token);
                if writer == Writer::Engine && !is_current {
                    let current = self.current_of(context, &snapshot).await?;
                    let value = match &pending {
                        Some(info) => self.value_at(context, &snapshot, info).await?,
                        None => None,
                    };
                    let call = StepCall {
                        current: current.as_ref(),
                        pending: value.as_ref(),
                        ..self.call(work, step, context)
                    };
                    rotator.take_back(&call).await?;
                }
                self.put_away(context, work, &snapshot).await
            }
            (_, step, Writer::Rotator) => {
                let call = self.call(work, step, context);
                rotator.step(&call).await?;
                self.check_done(work).await
            }
            (_, Step::Create, Writer::Engine) => {
                if pending.is_some() {
                    return Ok(());
                }
                let current = self.current_of(context, &snapshot).await?;
                let call = StepCall {
                    current: current.as_ref(),
                    ..self.call(work, Step::Create, context)
                };
                let made = rotator.step(&call).await?;
                let payload = made.ok_or_else(|| {
                    RotatorError::new("rotation.no_value", "the rotator gave no new value")
                })?;
                self.add_pending(context, work.target(), &payload, Provenance::Rotated)
                    .await
            }
            (purpose, step, Writer::Engine) => {
                let current = self.current_of(context, &snapshot).await?;
                let value = match &pending {
                    Some(info) => self.value_at(context, &snapshot, info).await?,
                    None => None,
                };
                let value = value.ok_or_else(|| {
                    let message = "the new version was removed by somebody: a new one is made";
                    RotatorError::new(VANISHED, message)
                })?;
                let call = StepCall {
                    current: current.as_ref(),
                    pending: Some(&value),
                    ..self.call(work, step, context)
                };
                if let Err(error) = rotator.step(&call).await {
                    let is_told = matches!(step, Step::Set | Step::Test);
                    return match is_told && purpose != Purpose::Try {
                        true => Err(taken_back(rotator, &call, error).await),
                        false => Err(error),
                    };
                }
                match step {
                    Step::Finish => self.promote(context, work).await,
                    Step::Create | Step::Set | Step::Test => Ok(()),
                }
            }
        }
    }

    fn call<'a>(&self, work: &'a Work, step: Step, context: &OpContext) -> StepCall<'a> {
        StepCall {
            step,
            secret: work.claim.secret(),
            token: &work.claim.run().token,
            current: None,
            pending: None,
            now: context.now,
        }
    }

    fn version_of<'a>(&self, snapshot: &'a Snapshot, token: &str) -> Option<&'a VersionInfo> {
        let mut versions = snapshot.versions().iter();
        versions.find(|info| self.secrets.version_id(snapshot, info) == token)
    }

    pub(super) async fn current_of(
        &self,
        context: &OpContext,
        snapshot: &Snapshot,
    ) -> Result<Option<Payload>, RotatorError> {
        match snapshot.newest() {
            Some(newest) => self.value_at(context, snapshot, newest).await,
            None => Ok(None),
        }
    }

    async fn value_at(
        &self,
        context: &OpContext,
        snapshot: &Snapshot,
        info: &VersionInfo,
    ) -> Result<Option<Payload>, RotatorError> {
        let value = self.secrets.value_in(snapshot, info.number, context.now);
        value.await.map_err(of_engine)
    }

    async fn add_pending(
        &self,
        context: &OpContext,
        (path, token): (&SecretPath, &str),
        payload: &Payload,
        provenance: Provenance,
    ) -> Result<(), RotatorError> {
        let new = Addition {
            payload,
            provenance,
            id: token,
            stages: &[STAGE_PENDING.to_owned()],
            limits: Limits::default(),
        };
        let added = self.secrets.add_version(context, path, &new, |_, _| Ok(()));
        added.await.map(drop).map_err(of_graph)
    }

    /// The version that a rotator is tried with.
    async fn copy_current(
        &self,
        context: &OpContext,
        work: &Work,
        snapshot: &Snapshot,
    ) -> Result<(), RotatorError> {
        let current = self.current_of(context, snapshot).await?;
        let current = current.ok_or_else(|| {
            let message = "the secret has no current value that could be tested";
            RotatorError::new("rotation.no_current", message)
        })?;
        let from = Provenance::Copied("the current version".into());
        self.add_pending(context, work.target(), &current, from)
            .await
    }

    /// The version that is returned to.
    async fn copy_previous(
        &self,
        context: &OpContext,
        work: &Work,
        snapshot: &Snapshot,
    ) -> Result<(), RotatorError> {
        let info = self.staged(snapshot, STAGE_PREVIOUS);
        let value = match info {
            Some(info) => self.value_at(context, snapshot, info).await?,
            None => None,
        };
        let (Some(info), Some(value)) = (info, value) else {
            let message = "the secret has no previous value that could be read";
            return Err(RotatorError::new("rotation.no_previous", message));
        };
        let from = Provenance::RolledBack(info.number);
        self.add_pending(context, work.target(), &value, from).await
    }

    /// Takes AWSPENDING from the version that a rotator was tried with.
    async fn put_away(
        &self,
        context: &OpContext,
        work: &Work,
        snapshot: &Snapshot,
    ) -> Result<(), RotatorError> {
        let token = work.claim.run().token.as_str();
        if self.holder_of(snapshot, STAGE_PENDING).as_deref() != Some(token) {
            return Ok(());
        }
        let path = work.claim.path();
        let moved = self
            .secrets
            .move_stage(context, path, STAGE_PENDING, Some(token), None);
        moved.await.map(drop).map_err(of_graph)
    }

    /// Makes the new version the current one.
    async fn promote(&self, context: &OpContext, work: &Work) -> Result<(), RotatorError> {
        let path = work.claim.path();
        let token = work.claim.run().token.as_str();
        let snapshot = self.living(path).await.map_err(of_graph)?;
        let before = self.holder_of(&snapshot, STAGE_CURRENT);
        if before.as_deref() != Some(token) {
            let from = before.as_deref();
            let secrets = &self.secrets;
            let moved = secrets.move_stage(context, path, STAGE_CURRENT, from, Some(token));
            moved.await.map_err(of_graph)?;
        }
        let snapshot = self.living(path).await.map_err(of_graph)?;
        self.put_away(context, work, &snapshot).await
    }

    /// Whether a rotator that writes by itself did what the step is for.
    async fn check_done(&self, work: &Work) -> Result<(), RotatorError> {
        let run = work.claim.run();
        let snapshot = self.living(work.claim.path()).await.map_err(of_graph)?;
        let info = self.version_of(&snapshot, &run.token);
        let stages = info.map(|info| snapshot.stages(info)).unwrap_or_default();
        let has = |stage: &str| stages.iter().any(|own| own == stage);
        let missing = match run.step {
            Step::Create if !has(STAGE_PENDING) && !has(STAGE_CURRENT) => {
                "createSecret was answered, but no version of this ClientRequestToken has \
                 AWSPENDING: the function has to call PutSecretValue with both"
            }
            Step::Finish if run.purpose != Purpose::Try && !has(STAGE_CURRENT) => {
                "finishSecret was answered, but AWSCURRENT did not move: the function has to call \
                 UpdateSecretVersionStage with MoveToVersionId"
            }
            _ => return Ok(()),
        };
        Err(RotatorError::new("rotation.not_done", missing))
    }
}

impl Work {
    /// Where the new version goes, and its id.
    fn target(&self) -> (&SecretPath, &str) {
        (self.claim.path(), &self.claim.run().token)
    }
}

/// Has whoever checks the value take the old one again; what the step failed with, and whether that
/// failed, too.
async fn taken_back(
    rotator: &dyn Rotator,
    call: &StepCall<'_>,
    error: RotatorError,
) -> RotatorError {
    match rotator.take_back(call).await {
        Ok(()) => error,
        Err(second) => {
            let message = format!("{error}; and the old value was not put back: {second}");
            RotatorError::new(NOT_TAKEN_BACK, message)
        }
    }
}

pub(super) fn of_graph(error: GraphError) -> RotatorError {
    match error {
        GraphError::Engine(error) => of_engine(error),
        GraphError::NoVersion { .. } => RotatorError::new(VANISHED, error.to_string()),
        other => RotatorError::new("rotation.refused", other.to_string()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
pub(super) fn of_engine(error: Error) -> RotatorError {
    RotatorError::new(error.code(), error.to_string())
}
