//! What makes the new value of a secret, and brings it to whoever checks it.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::BoxFuture;
use crate::secret::Payload;
use crate::time::Timestamp;

/// A step of a rotation, in AWS's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// The new value comes to be, waiting.
    Create,
    /// Whoever checks the value learns the new one.
    Set,
    /// The new value is tried.
    Test,
    /// The new value becomes the current one.
    Finish,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Create, Self::Set, Self::Test, Self::Finish];

    /// Its name, as rotation functions of AWS know it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "createSecret",
            Self::Set => "setSecret",
            Self::Test => "testSecret",
            Self::Finish => "finishSecret",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who writes the new version and moves the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The engine: the rotator is given the values, and gives the new one.
    Engine,
    /// The rotator itself, through a door, as functions of AWS do: it is given no value.
    Rotator,
}

/// What a rotator is asked to do. Every step may be asked for again.
#[derive(Clone, Copy, Debug)]
pub struct StepCall<'a> {
    /// Which step.
    pub step: Step,
    /// The secret: its ARN, or its path in a store that has none.
    pub secret: &'a str,
    /// The id of the new version; the same one in all steps of a rotation.
    pub token: &'a str,
    /// The current value. Only where the engine writes.
    pub current: Option<&'a Payload>,
    /// The new value. Only where the engine writes, and not before it is made.
    pub pending: Option<&'a Payload>,
    /// The time.
    pub now: Timestamp,
}

/// An old value that nobody needs any more.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// The current value, which stays.
    pub current: &'a Payload,
    /// The old one.
    pub old: &'a Payload,
    /// The time.
    pub now: Timestamp,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RotatorError {
    /// The stable code.
    pub code: String,
    /// What failed and what to do, without values.
    pub message: String,
}

impl RotatorError {
    /// A failure.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}

/// Makes new values.
pub trait Rotator: Send + Sync {
    /// Who writes.
    fn writer(&self) -> Writer;

    /// Does a step. The new value is the answer to [`Step::Create`] where the engine writes.
    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>>;

    /// Has whoever checks the value take the current one again, after [`Step::Set`] or
    /// [`Step::Test`] failed or the rotation was given up. It may be asked for when nothing was
    /// set, and again. Only where the engine writes.
    fn take_back<'a>(&'a self, _call: &'a StepCall<'a>) -> BoxFuture<'a, Result<(), RotatorError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Has whoever checks the value no longer take an old one, after its overlap with the current
    /// one. It may be asked for again, and when the old one ended before.
    fn retire<'a>(&'a self, _ending: &'a Ending<'a>) -> BoxFuture<'a, Result<(), RotatorError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
