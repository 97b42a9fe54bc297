//! Rotation: a secret gets a new value, and nobody is left with one that does not work.
//!
//! Each rotation goes through four steps: *create* (the new version waits as AWSPENDING), *set*
//! (whoever checks the value learns the new one), *test*, *finish* (AWSCURRENT moves). A record
//! says how far it is. It is written before and after each step, and each step may be done again,
//! so that a rotation that was cut off anywhere goes on where it was, with the same version id.
//! AWSCURRENT moves in the last step only: until then the old value is the one that is read.
//!
//! Whoever drives a rotation holds its lease: a second server on the same store leaves it alone
//! until the lease is over. [`Rotations`] is driven from outside and does one thing at a time:
//! [`Rotations::claim`], then [`Rotations::begin`], [`Rotations::perform`] and
//! [`Rotations::complete`] for each step.

mod claim;
mod follow;
mod generate;
mod notice;
mod overlap;
mod policy;
mod report;
mod request;
mod rotators;
mod schedule;
mod steps;
mod stored;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::aws;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

pub use claim::After;
pub use claim::Claim;
pub use claim::Work;
pub use generate::Generator;
pub use notice::MailTarget;
pub use notice::Notice;
pub use notice::Turn;
pub use notice::Webhook;
pub use overlap::CONSUMERS_WITHIN;
pub use overlap::Ended;
pub use overlap::EndedBy;
pub use overlap::Keep;
pub use overlap::Looked;
pub use overlap::Overlap;
pub use overlap::Wait;
pub use policy::Policy;
pub use policy::policy_of;
pub use request::Abort;
pub use request::Aborted;
pub use request::Asked;
pub use request::Refused;
pub use request::Request;
pub use rotators::Registered;
pub use rotators::RegisteredKind;
pub use schedule::Schedule;
pub use schedule::ScheduleError;
pub use schedule::Window;
pub use steps::NOT_TAKEN_BACK;
pub use steps::WAITS;

use crate::secrets::Engine;
use crate::state::Kind;
use crate::state::State;
use crate::state::Stored;

/// Results that are kept of each secret.
pub const HISTORY_MAX: usize = 20;
/// How long after a failure a step is tried again, in seconds; the last one holds for all later
/// ones.
const RETRY_SECONDS: [i64; 7] = [2, 15, 60, 300, 1800, 7200, 86_400];
/// Where it is not known which of two values works, it is tried again after so long at most.
const URGENT_SECONDS: i64 = 30;
/// Clocks are at most so far apart; what was noted later than this was noted by a clock that was
/// set since.
const SKEW: Span = Span::from_seconds(60);
/// How long nobody else may drive a rotation, unless its lease is renewed.
pub const LEASE: Span = Span::from_seconds(20);

/// How a secret is rotated, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "stored::RotationForm", from = "stored::RotationForm")]
pub struct Rotation {
    /// The path of the secret in its mount.
    pub path: String,
    /// What rotators know the secret by.
    pub secret: String,
    /// When the secret was made: one of the same name that is made later is not rotated.
    pub created: Timestamp,
    /// What rotates it, and when.
    pub setup: Setup,
    /// Whether what AWS clients see of the secret says the same as this record.
    pub is_settled: bool,
    /// When the next one begins by itself.
    pub next: Option<Planned>,
    /// When it was last rotated.
    pub last: Option<Timestamp>,
    /// The one that is under way.
    pub run: Option<Run>,
    /// Who drives it.
    pub lease: Option<Lease>,
    /// What became of the last ones, oldest first.
    pub history: Vec<Outcome>,
    /// How many were finished.
    pub finished: u64,
    /// How many steps failed.
    pub failures: u64,
    /// The old value that is still good beside the current one.
    pub overlap: Option<Overlap>,
    /// What became of the last old values, oldest first.
    pub ended: Vec<Ended>,
}

/// What rotates a secret, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The ARN of the rotator.
    pub rotator: String,
    /// Whether it is rotated by itself.
    pub is_enabled: bool,
    /// Every so many days.
    pub days: Option<u32>,
    /// When exactly: `rate(…)` or `cron(…)`.
    pub expression: Option<String>,
    /// How long the window is, e.g. `3h`.
    pub duration: Option<String>,
    /// What becomes of the old value.
    pub keep: Keep,
    /// It begins within so long after its window has opened; secrets are spread over that.
    pub jitter: Option<Span>,
}

/// The next rotation by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When it begins: a moment in its window.
    pub begins: Timestamp,
    /// When its window closes.
    pub closes: Timestamp,
}

/// A rotation that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The id of the new version.
    pub token: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Who wanted it.
    pub cause: Cause,
    /// When it began.
    pub started: Timestamp,
    /// The step that is next, or being done.
    pub step: Step,
    /// Whether that step was begun.
    pub is_begun: bool,
    /// How often it failed.
    pub attempts: u32,
    /// Why it failed last.
    pub failure: Option<Failure>,
    /// When it goes on.
    pub resume: Timestamp,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A new value.
    Rotate,
    /// Only whether the rotator works: a copy of the current value is tested, and put away.
    Try,
    /// Nothing new any more: whoever checks the value takes the current one again.
    TakeBack,
    /// The value before the current one, as a new version.
    Return,
}

/// Who wanted a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Somebody.
    Asked,
    /// The schedule.
    Due,
}

/// Who drives a rotation, and until when nobody else may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Drawn by each server at its start.
    pub holder: String,
    /// When it is over.
    pub until: Timestamp,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub error: RotatorError,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The id of its version.
    pub token: String,
    /// What it was for.
    pub purpose: Purpose,
    /// Who wanted it.
    pub cause: Cause,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Where it was given up; `None` when it was finished.
    pub given_up_at: Option<Step>,
    /// The last failure on the way.
    pub failure: Option<Failure>,
}

impl Stored for Rotation {
    const KIND: Kind = Kind::Rotation;

    fn earlier(plain: &[u8]) -> Option<Self> {
        let (first, _) = crate::record::decode::<stored::FirstRotation>(plain)?;
        Some(first.into())
    }
}

impl Setup {
    /// The rule that says when, if there is one.
    ///
    /// # Errors
    /// When what is written is no rule.
    pub fn schedule(&self) -> Result<Option<Schedule>, ScheduleError> {
        let duration = self.duration.as_deref();
        match (&self.expression, self.days) {
            (Some(text), _) => Schedule::parse(text, duration).map(Some),
            (None, Some(days)) => Schedule::of_days(days, duration).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The next window after a time.
    fn window(&self, last: Timestamp, now: Timestamp) -> Option<Window> {
        let schedule = self.schedule().ok().flatten();
        schedule.filter(|_| self.is_enabled)?.next(last, now)
    }
}

impl Rotation {
    fn new(path: &str, secret: &str, created: Timestamp) -> Self {
        Self {
            path: path.into(),
            secret: secret.into(),
            created,
            setup: Setup::default(),
            is_settled: true,
            next: None,
            last: None,
            run: None,
            lease: None,
            history: Vec::new(),
            finished: 0,
            failures: 0,
            overlap: None,
            ended: Vec::new(),
        }
    }

    /// When background work has to look at it.
    fn due_at(&self) -> Option<Timestamp> {
        let look = self.overlap.as_ref().map(|overlap| overlap.look);
        let work = match (&self.run, look) {
            (Some(run), look) => Some(look.map_or(run.resume, |look| look.min(run.resume))),
            (None, _) if !self.is_settled => Some(Timestamp::from_micros(0)),
            // The next one waits for the end of the overlap.
            (None, Some(look)) => Some(look),
            (None, None) => self.next.map(|next| next.begins),
        };
        let lease = self.lease.as_ref().map(|lease| lease.until);
        work.map(|work| lease.map_or(work, |until| until.max(work)))
    }

    /// Whether somebody else than `holder` drives it.
    fn is_held(&self, holder: &str, now: Timestamp) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.holder != holder && now < lease.until)
    }

    /// Whether it was noted by a clock that was ahead: then its times mean nothing, and nobody
    /// would look at it until they come.
    fn is_ahead(&self, now: Timestamp) -> bool {
        let latest = now.plus(SKEW);
        let failed = self.run.as_ref().and_then(|run| run.failure.as_ref());
        let noted = [
            self.last,
            self.run.as_ref().map(|run| run.started),
            failed.map(|failure| failure.at),
        ];
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.until > latest.plus(LEASE))
            || noted.into_iter().flatten().any(|at| at > latest)
    }

    /// Begins all that waits for a time anew, from now on.
    fn come_back(&mut self, now: Timestamp, spread: u64) {
        self.lease = None;
        self.last = self.last.map(|last| last.min(now));
        if let Some(run) = &mut self.run {
            run.started = run.started.min(now);
            run.resume = now;
            if let Some(failure) = &mut run.failure {
                failure.at = failure.at.min(now);
            }
        }
        self.plan(self.last.unwrap_or(now), now, spread);
        self.is_settled = false;
    }

    fn end(&mut self, run: Run, given_up_at: Option<Step>, now: Timestamp) {
        if given_up_at.is_none() {
            self.finished += 1;
        }
        self.history.push(Outcome {
            token: run.token,
            purpose: run.purpose,
            cause: run.cause,
            started: run.started,
            ended: now,
            given_up_at,
            failure: run.failure,
        });
        let over = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..over);
        self.run = None;
        self.lease = None;
    }

    /// Sets when the next one begins by itself.
    fn plan(&mut self, last: Timestamp, now: Timestamp, spread: u64) {
        self.next = self.setup.window(last, now).map(|window| Planned {
            begins: window.moment(spread, self.setup.jitter),
            closes: window.closes,
        });
    }

    /// What AWS clients see of it.
    fn facts(&self) -> aws::Rotation {
        let next = self.next.filter(|_| self.setup.is_enabled);
        aws::Rotation {
            rotator: self.setup.rotator.clone(),
            is_enabled: self.setup.is_enabled,
            days: self.setup.days,
            schedule: self.setup.expression.clone(),
            duration: self.setup.duration.clone(),
            last: self.last,
            next: next.map(|next| next.closes),
            pending: self.run.as_ref().map(|run| run.token.clone()),
        }
    }
}

impl Run {
    fn new(token: String, purpose: Purpose, cause: Cause, now: Timestamp) -> Self {
        Self {
            token,
            purpose,
            cause,
            started: now,
            step: Step::Create,
            is_begun: false,
            attempts: 0,
            failure: None,
            resume: now,
        }
    }

    /// The step after the present one.
    fn following(&self) -> Option<Step> {
        match (self.purpose, self.step) {
            (Purpose::TakeBack, _) | (_, Step::Finish) => None,
            (Purpose::Try, Step::Create) | (_, Step::Set) => Some(Step::Test),
            (_, Step::Create) => Some(Step::Set),
            (_, Step::Test) => Some(Step::Finish),
        }
    }

    /// Whether whoever checks the value may know the new one.
    fn is_told(&self) -> bool {
        let has_tried = self.is_begun || self.attempts > 0;
        match (self.purpose, self.step) {
            (Purpose::Try, _) => false,
            // After a test that failed it begins anew.
            (_, Step::Create) => self
                .failure
                .as_ref()
                .is_some_and(|last| last.step != Step::Create),
            (_, Step::Set) => has_tried,
            (_, Step::Test | Step::Finish) => true,
        }
    }

    fn fail(&mut self, error: RotatorError, now: Timestamp) {
        let wait = retry_after(self.attempts);
        let is_urgent = error.code == NOT_TAKEN_BACK;
        let wait = match is_urgent {
            true => wait.min(Span::from_seconds(URGENT_SECONDS)),
            false => wait,
        };
        self.attempts = self.attempts.saturating_add(1);
        self.failure = Some(Failure {
            step: self.step,
            at: now,
            error,
        });
        self.resume = now.plus(wait);
    }
}

/// How long after its nth failure something is tried again.
fn retry_after(attempts: u32) -> Span {
    let last = RETRY_SECONDS.len() - 1;
    let place = usize::try_from(attempts).map_or(last, |place| place.min(last));
    Span::from_seconds(RETRY_SECONDS.get(place).copied().unwrap_or(86_400))
}

/// The rotations of the secrets of one space.
#[derive(Clone)]
pub struct Rotations {
    state: State,
    secrets: Engine,
    holder: String,
    /// What stands before a path in the ledger, and what it calls the source.
    ledger: (String, String),
}

impl Rotations {
    /// The rotations of `secrets`, driven by `holder`: a text that no other process has.
    #[must_use]
    pub fn new(state: State, secrets: Engine, holder: &str) -> Self {
        Self {
            state,
            secrets,
            holder: holder.into(),
            ledger: (String::new(), "store".into()),
        }
    }

    /// Of a mount with a space of its own: the ledger has its secrets below `prefix`, from
    /// `source`.
    #[must_use]
    pub fn in_ledger(self, prefix: &str, source: &str) -> Self {
        Self {
            ledger: (prefix.into(), source.into()),
            ..self
        }
    }
}
