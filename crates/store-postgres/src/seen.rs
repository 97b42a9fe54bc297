//! What one server knows of the database without asking.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::port::StorageError;

/// How old what a server keeps in memory may be. A server that could not ask for so long asks the
/// database at every request, and fails if it does not answer.
pub const STALENESS_MAX: Duration = Duration::from_secs(1);

/// The one row that all servers look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) revision: u64,
    pub(crate) seals: u64,
    /// The header's generation; 0 while there is none.
    pub(crate) generation: u64,
}

/// The newest state that this server has heard of, and when.
pub(crate) struct Seen {
    start: Instant,
    revision: AtomicU64,
    generation: AtomicU64,
    /// When the last question that was answered was asked: microseconds after `start`, and one
    /// more; 0 for never.
    asked_at: AtomicU64,
    /// The tables are to be looked at.
    suspects_tables: AtomicBool,
    /// Why nothing may be served any more.
    problem: Mutex<Option<StorageError>>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            revision: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            suspects_tables: AtomicBool::new(false),
            problem: Mutex::new(None),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Whether others may have written what is not known here, for longer than is promised.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.is_older(now, STALENESS_MAX)
    }

    /// Whether the last question that was answered is longer ago.
    pub(crate) fn is_older(&self, now: Instant, age_max: Duration) -> bool {
        let Some(asked_at) = self.asked_at.load(Ordering::SeqCst).checked_sub(1) else {
            return true;
        };
        let age = micros(now.saturating_duration_since(self.start)).saturating_sub(asked_at);
        age > micros(age_max)
    }

    /// Takes an answer to a question. A database that is behind what was acknowledged has lost
    /// commits: from then on nothing is served.
    pub(crate) fn note(&self, question: Question, found: Counters) -> Result<(), StorageError> {
        if found.revision < question.revision {
            let detail = format!(
                "the database has lost commits: it is at revision {}, and was at {}; restart the \
                 server to accept that",
                found.revision, question.revision
            );
            self.stop(StorageError::Damaged { detail });
            return self.check();
        }
        // The header first: whoever sees the revision must see the keys it was written with.
        self.generation
            .fetch_max(found.generation, Ordering::SeqCst);
        self.revision.fetch_max(found.revision, Ordering::SeqCst);
        let asked = micros(question.at.saturating_duration_since(self.start)) + 1;
        self.asked_at.fetch_max(asked, Ordering::SeqCst);
        Ok(())
    }

    /// Something in the tables was not as it should be.
    pub(crate) fn suspect_tables(&self) {
        self.suspects_tables.store(true, Ordering::Relaxed);
    }

    /// Whether that was said since this was asked last.
    pub(crate) fn take_suspicion(&self) -> bool {
        self.suspects_tables.swap(false, Ordering::Relaxed)
    }

    /// Has every request fail from now on.
    pub(crate) fn stop(&self, problem: StorageError) {
        let mut slot = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(problem);
    }

    /// Whether anything may be served.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        let slot = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        slot.clone().map_or(Ok(()), Err)
    }

    /// Must be made before the database is asked.
    pub(crate) fn question(&self) -> Question {
        Question {
            at: Instant::now(),
            revision: self.revision(),
        }
    }
}

/// What was known when the database was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    at: Instant,
    revision: u64,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(revision: u64) -> Counters {
        Counters {
            revision,
            seals: 0,
            generation: 1,
        }
    }

    #[test]
    fn an_answer_is_good_for_the_bound_after_its_question() {
        let seen = Seen::new();
        assert!(seen.is_stale(Instant::now()));
        let question = seen.question();
        seen.note(question, counters(5)).unwrap();
        assert!(!seen.is_stale(question.at + STALENESS_MAX));
        assert!(seen.is_stale(question.at + STALENESS_MAX + Duration::from_micros(1)));
        // An older answer that arrives later changes nothing.
        seen.note(question, counters(5)).unwrap();
        assert_eq!(seen.revision(), 5);
    }

    #[test]
    fn a_database_that_lost_commits_is_refused_for_good() {
        let seen = Seen::new();
        let early = seen.question();
        seen.note(seen.question(), counters(7)).unwrap();
        // Asked before the commits that are known by now.
        seen.note(early, counters(6)).unwrap();
        assert!(seen.check().is_ok());
        assert!(seen.note(seen.question(), counters(6)).is_err());
        assert!(seen.check().is_err());
        assert!(seen.note(seen.question(), counters(9)).is_ok());
        assert!(seen.check().is_err());
    }
}
