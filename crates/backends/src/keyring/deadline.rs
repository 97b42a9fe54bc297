//! Asking somebody who may never answer.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::keyring::KeyringError;

/// How long a keyring may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// To answer, nobody being asked anything.
    pub(super) answer_seconds: u64,
    /// To be unlocked, which may mean that a person types a password.
    pub(super) unlock_seconds: u64,
}

impl Limits {
    /// A person gets time to type; a script is told at once.
    pub(super) fn of_process() -> Self {
        let is_attended = std::io::stdin().is_terminal();
        Self {
            answer_seconds: ANSWER_SECONDS_MAX,
            unlock_seconds: match is_attended {
                true => UNLOCK_SECONDS_MAX,
                false => ANSWER_SECONDS_MAX,
            },
        }
    }
}

/// Tells whoever waits how far the job is.
pub(super) struct Progress<T>(mpsc::Sender<Note<T>>);

impl<T> Progress<T> {
    /// The keyring is locked, and has been asked to open itself.
    pub(super) fn unlocking(&self) {
        let _ = self.0.send(Note::Unlocking);
    }
}

enum Note<T> {
    Unlocking,
    Done(Result<T, KeyringError>),
}

/// Does `job` on a thread of its own and waits for it, but not for ever.
///
/// A job that is late is left to itself: nothing waits for its thread when the process ends.
pub(super) fn within<T: Send + 'static>(
    limits: Limits,
    job: impl FnOnce(&Progress<T>) -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    let (notes, inbox) = mpsc::channel();
    let worker = thread::Builder::new()
        .name("keyring".into())
        .spawn(move || {
            let progress = Progress(notes);
            let result = job(&progress);
            let _ = progress.0.send(Note::Done(result));
        });
    worker.map_err(|error| KeyringError::Bus {
        detail: format!("no thread to ask it from: {error}"),
    })?;
    let mut until = Instant::now() + Duration::from_secs(limits.answer_seconds);
    let mut late = KeyringError::NoAnswer {
        seconds: limits.answer_seconds,
    };
    loop {
        match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Note::Done(result)) => return result,
            Ok(Note::Unlocking) => {
                until = Instant::now() + Duration::from_secs(limits.unlock_seconds);
                late = KeyringError::Locked;
            }
            Err(RecvTimeoutError::Timeout) => return Err(late),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(KeyringError::Bus {
                    detail: "asking it failed half-way".into(),
                });
            }
        }
    }
}

const ANSWER_SECONDS_MAX: u64 = 5;
const UNLOCK_SECONDS_MAX: u64 = 60;
