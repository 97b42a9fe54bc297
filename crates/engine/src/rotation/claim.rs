//! Who drives a rotation, and how far it is: the journal.

use strongroom_core::path::SecretPath;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;

use super::Cause;
use super::Failure;
use super::LEASE;
use super::Lease;
use super::Planned;
use super::Purpose;
use super::Rotation;
use super::Rotations;
use super::Run;
use crate::context::OpContext;
use crate::error::Error;
use crate::secrets::GraphError;
use crate::state::Found;
use crate::state::Kind;
use crate::state::State;

/// How long a secret that is to be removed is left alone, in seconds.
const DEPARTING_SECONDS: i64 = 3600;

/// A rotation that this process may drive for a while.
#[derive(Clone, Debug)]
pub struct Claim {
    path: SecretPath,
    run: Run,
    rotator: String,
    secret: String,
}

/// A step that was begun.
#[derive(Clone, Debug)]
pub struct Work {
    pub(super) claim: Claim,
}

/// What comes after a step.
#[derive(Debug)]
pub enum After {
    /// The next step.
    More(Claim),
    /// Nothing: it is finished.
    Finished,
    /// Nothing: it was given up, and the current value is the one that works.
    GivenUp,
    /// The step is tried again at a time.
    Again(Timestamp),
    /// Nothing here: it was given up, or somebody else drives it now.
    Lost,
}

impl Claim {
    /// The secret.
    #[must_use]
    pub fn path(&self) -> &SecretPath {
        &self.path
    }

    /// The ARN of its rotator.
    #[must_use]
    pub fn rotator(&self) -> &str {
        &self.rotator
    }

    /// What rotators know the secret by.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// How far it is.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }
}

impl Work {
    /// What is being done.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl State {
    /// The rotations that are due, earliest first.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn due_rotations(&self, now: Timestamp) -> Result<Vec<Found<Rotation>>, Error> {
        let due = self.due(Kind::Rotation, now).await?;
        due.iter().map(|(record, _)| self.open(record)).collect()
    }

    /// The rotations that were noted by a clock that was ahead: the index of what is due has them
    /// at a time that is far away.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn rotations_ahead(&self, now: Timestamp) -> Result<Vec<Found<Rotation>>, Error> {
        let all = self.all::<Rotation>(crate::state::Shelf::Kind).await?;
        let found = all.into_iter().map(|(_, found)| found);
        Ok(found.filter(|found| found.value.is_ahead(now)).collect())
    }

    /// All rotations that were ever set up, sorted by path.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn rotations(&self) -> Result<Vec<Rotation>, Error> {
        let all = self.all::<Rotation>(crate::state::Shelf::Kind).await?;
        Ok(all.into_iter().map(|(_, found)| found.value).collect())
    }
}

impl Rotations {
    /// Whether a record is that of a secret of this space.
    #[must_use]
    pub fn is_own(&self, found: &Found<Rotation>) -> bool {
        let path = found.value.path.parse::<SecretPath>();
        let id = |path| self.state.id_of::<Rotation>(&self.name_of(&path));
        path.is_ok_and(|path| id(path) == found.id)
    }

    /// Takes a rotation that is due; `None` when there is nothing to do, or somebody else does
    /// it.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn claim(
        &self,
        context: &OpContext,
        path: &SecretPath,
    ) -> Result<Option<Claim>, Error> {
        let now = context.now;
        let Some(found) = self.find(path).await? else {
            return Ok(None);
        };
        let unchanged = found.unchanged();
        let before = found.value;
        let mut rotation = before.clone();
        if rotation.is_ahead(now) {
            rotation.come_back(now, self.spread_of(path));
        }
        if rotation.is_held(&self.holder, now) {
            return Ok(None);
        }
        let snapshot = self.secrets.snapshot(path).await?;
        let is_same = |created| created == rotation.created;
        let Some(snapshot) = snapshot.filter(|one| is_same(one.metadata().created)) else {
            let gone = crate::state::delete(found.id, unchanged);
            self.state.commit(vec![gone]).await?;
            return Ok(None);
        };
        if snapshot.deletion().is_some() {
            rotation.give_up_for(now, "rotation.marked", "the secret is marked for deletion");
            let later = now.plus(Span::from_seconds(DEPARTING_SECONDS));
            if let Some(next) = &mut rotation.next {
                next.begins = next.begins.max(later);
            }
            // Taken back, it is brought in line when it is rotated next.
            rotation.is_settled = true;
            rotation.overlap_rests(now);
            self.store(&rotation, unchanged).await?;
            return Ok(None);
        }
        let newest = snapshot.newest().map(|newest| newest.created);
        if let Some(run) = rotation.run.take_if(|run| run.was_waited_for(newest)) {
            // Somebody has set the value that was waited for.
            rotation.last = newest;
            rotation.plan(now, now, self.spread_of(path));
            rotation.end(run, None, now);
            if let Some(old) = self.old_of(path).await.map_err(engine)? {
                let all = rotation.old_versions(old.old);
                let reads = self.reads_before(path, &all).await?;
                rotation.overlap_begins(&old, reads, now);
            }
            rotation.is_settled = false;
            if self.store(&rotation, unchanged).await? {
                self.settle(context, path).await.map_err(engine)?;
            }
            return Ok(None);
        }
        let is_time = |planned: &Planned| planned.begins <= now;
        let is_free = rotation.run.is_none() && rotation.overlap.is_none();
        if is_free && rotation.next.as_ref().is_some_and(is_time) {
            let written = snapshot.newest().map(|newest| newest.created);
            let by_hand = written.filter(|at| rotation.last.is_none_or(|last| last < *at));
            let moved = by_hand.and_then(|at| rotation.setup.window(at, at));
            match moved {
                // Whoever set a value by hand has rotated it.
                Some(window) if rotation.setup.days.is_some() && window.opens > now => {
                    rotation.plan(window.opens, now, self.spread_of(path));
                    rotation.next = Some(Planned {
                        begins: window.moment(self.spread_of(path), rotation.setup.jitter),
                        closes: window.closes,
                    });
                    rotation.is_settled = false;
                }
                _ => {
                    let token = new_token(self.state.barrier());
                    rotation.run = Some(Run::new(token, Purpose::Rotate, Cause::Due, now));
                    rotation.is_settled = false;
                }
            }
        }
        let is_ready = rotation.run.as_ref().is_some_and(|run| run.resume <= now);
        if is_ready {
            rotation.lease = Some(self.lease(now));
        }
        if rotation != before && !self.store(&rotation, unchanged).await? {
            return Ok(None);
        }
        if !rotation.is_settled {
            self.settle(context, path).await.map_err(engine)?;
        }
        Ok(rotation.run.clone().filter(|_| is_ready).map(|run| Claim {
            path: path.clone(),
            run,
            rotator: rotation.setup.rotator.clone(),
            secret: rotation.secret.clone(),
        }))
    }

    /// Notes that the next step of a rotation begins; `None` when it is not this process's any
    /// more.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors.
    pub async fn begin(&self, claim: Claim, now: Timestamp) -> Result<Option<Work>, Error> {
        let mut claim = claim;
        let mut is_own = false;
        let changed = self.change(&claim.path, |rotation| {
            is_own = self.is_mine(rotation, &claim.run);
            if let (true, Some(run)) = (is_own, &mut rotation.run) {
                run.is_begun = true;
                rotation.lease = Some(self.lease(now));
            }
        });
        let rotation = changed.await?;
        let run = rotation.and_then(|rotation| rotation.run);
        Ok(run.filter(|_| is_own).map(|run| {
            claim.run = run;
            Work { claim }
        }))
    }

    /// Holds a rotation for longer, while a step is being done. False when it is not this
    /// process's any more.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors.
    pub async fn renew(&self, work: &Work, now: Timestamp) -> Result<bool, Error> {
        let mut is_own = false;
        let changed = self.change(&work.claim.path, |rotation| {
            is_own = self.is_mine(rotation, &work.claim.run);
            if is_own {
                rotation.lease = Some(self.lease(now));
            }
        });
        changed.await?;
        Ok(is_own)
    }

    /// Does a step that was begun. It may have been done before, whole or in part.
    ///
    /// # Errors
    /// Why it failed: [`Rotations::complete`] wants to know.
    pub async fn perform(
        &self,
        context: &OpContext,
        work: &Work,
        rotator: &dyn Rotator,
    ) -> Result<(), RotatorError> {
        self.do_step(context, work, rotator).await
    }

    /// Notes what became of a step.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors.
    pub async fn complete(
        &self,
        context: &OpContext,
        work: Work,
        result: Result<(), RotatorError>,
    ) -> Result<After, Error> {
        let now = context.now;
        let Work { mut claim } = work;
        let following = claim.run.following();
        let mut after = After::Lost;
        let path = claim.path.clone();
        let is_last = following.is_none() && result.is_ok();
        let is_new = matches!(claim.run.purpose, Purpose::Rotate | Purpose::Return);
        let old = match is_last && is_new {
            true => self.old_of(&path).await.map_err(engine)?,
            false => None,
        };
        let mut reads = 0;
        if let Some(old) = &old
            && let Some(found) = self.find(&path).await?
        {
            let all = found.value.old_versions(old.old);
            reads = self.reads_before(&path, &all).await?;
        }
        let changed = self.change(&path, |rotation| {
            after = After::Lost;
            if !self.is_mine(rotation, &claim.run) {
                return;
            }
            let Some(mut run) = rotation.run.take() else {
                return;
            };
            match (&result, following) {
                (Ok(()), Some(step)) => {
                    // Of what began anew after a later step had failed, that one still counts.
                    let last = run.failure.as_ref().map(|last| last.step);
                    if last.is_none_or(|last| last <= run.step) {
                        run.attempts = 0;
                    }
                    run.step = step;
                    run.is_begun = false;
                    claim.run = run.clone();
                    after = After::More(claim.clone());
                    rotation.run = Some(run);
                }
                (Ok(()), None) if run.purpose == Purpose::TakeBack => {
                    let step = run.step;
                    let last = rotation.last.unwrap_or(now);
                    rotation.plan(last, now, self.spread_of(&path));
                    rotation.end(run, Some(step), now);
                    rotation.is_settled = false;
                    after = After::GivenUp;
                }
                (Ok(()), None) => {
                    if run.purpose != Purpose::Try {
                        rotation.last = Some(now);
                        rotation.plan(now, now, self.spread_of(&path));
                    }
                    if run.purpose == Purpose::Return {
                        rotation.overlap_is_taken_back();
                    }
                    rotation.end(run, None, now);
                    if let Some(old) = &old {
                        rotation.overlap_begins(old, reads, now);
                    }
                    rotation.is_settled = false;
                    after = After::Finished;
                }
                (Err(error), _) => {
                    run.fail(error.clone(), now);
                    let is_over = run.step == Step::Test && run.purpose != Purpose::TakeBack;
                    // Of a new value that does not work everything is done again, as AWS does.
                    if is_over || error.code == super::steps::VANISHED {
                        run.step = Step::Create;
                    }
                    run.is_begun = false;
                    after = After::Again(run.resume);
                    rotation.failures += u64::from(error.code != super::steps::WAITS);
                    rotation.lease = None;
                    rotation.run = Some(run);
                }
            }
        });
        changed.await?;
        if let After::Finished | After::GivenUp = after {
            self.settle(context, &path).await.map_err(engine)?;
        }
        Ok(after)
    }

    fn lease(&self, now: Timestamp) -> Lease {
        Lease {
            holder: self.holder.clone(),
            until: now.plus(LEASE),
        }
    }

    fn is_mine(&self, rotation: &Rotation, run: &Run) -> bool {
        let lease = rotation.lease.as_ref();
        let of = |run: &Run| (run.token.clone(), run.step, run.purpose);
        let is_same = |other: &Run| of(other) == of(run);
        lease.is_some_and(|lease| lease.holder == self.holder)
            && rotation.run.as_ref().is_some_and(is_same)
    }
}

impl Run {
    /// Whether it waits for a person, and the value was set after it began.
    fn was_waited_for(&self, newest: Option<Timestamp>) -> bool {
        let waits = |failure: &Failure| failure.error.code == super::steps::WAITS;
        self.purpose == Purpose::Rotate
            && self.step == Step::Create
            && self.failure.as_ref().is_some_and(waits)
            && newest.is_some_and(|newest| self.started < newest)
    }
}

impl Rotation {
    fn give_up_for(&mut self, now: Timestamp, code: &str, message: &str) {
        if let Some(mut run) = self.run.take() {
            run.fail(RotatorError::new(code, message), now);
            let step = run.step;
            self.end(run, Some(step), now);
        }
    }
}

/// An id for a new version: a UUID.
pub(super) fn new_token(barrier: &Barrier) -> String {
    use std::fmt::Write;
    let mut bytes = [0; 16];
    barrier.rng().fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// What a record's change of facts can fail with, for those that only tell it on.
fn engine(error: GraphError) -> Error {
    match error {
        GraphError::Engine(error) => error,
        other => Error::Invalid {
            message: other.to_string(),
        },
    }
}
