//! How a rotation stands, as JSON for doors and tables. No value is known here.

use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Step;

use super::Ended;
use super::EndedBy;
use super::Failure;
use super::Outcome;
use super::Overlap;
use super::Purpose;
use super::Rotation;
use crate::ledger::Progress;

impl Rotation {
    /// Everything that is known, with how far consumers are where an old value is still good.
    #[must_use]
    pub fn report(&self, progress: Option<&Progress>) -> Value {
        let run = self.run.as_ref().map(|run| {
            json!({
                "version_id": run.token,
                "is_trial": run.purpose == Purpose::Try,
                "purpose": run.purpose.word(),
                "step": run.step.word(),
                "step_begun": run.is_begun,
                "started": run.started.to_string(),
                "failed_attempts": run.attempts,
                "goes_on": run.resume.to_string(),
                "failure": run.failure.as_ref().map(failure),
            })
        });
        let history = self.history.iter().rev().map(|one| self.outcome(one));
        json!({
            "rotator": self.setup.rotator,
            "enabled": self.setup.is_enabled,
            "days": self.setup.days,
            "schedule": self.setup.expression,
            "duration": self.setup.duration,
            "last": self.last.map(|at| at.to_string()),
            "next": self.next.map(|next| next.begins.to_string()),
            "next_closes": self.next.map(|next| next.closes.to_string()),
            "finished": self.finished,
            "failed_steps": self.failures,
            "last_result": self.history.last().map(|last| word_of(last)),
            "success_percent": self.success_percent(),
            "overlap_for": self.setup.keep.overlap.map(|span| span.to_string()),
            "waits_for": self.setup.keep.overlap.map(|_| self.setup.keep.wait.word()),
            "jitter": self.setup.jitter.map(|span| span.to_string()),
            "run": run,
            "overlap": self.overlap.as_ref().map(|one| overlap(one, progress)),
            "history": history.collect::<Vec<Value>>(),
        })
    }

    /// Of the results that are kept, how many of a hundred were good; `None` where there are none.
    #[must_use]
    pub fn success_percent(&self) -> Option<usize> {
        let all = self
            .history
            .iter()
            .filter(|one| one.purpose != Purpose::Try);
        let good = all.clone().filter(|one| one.given_up_at.is_none());
        (good.count() * 100).checked_div(all.count())
    }
}

impl Purpose {
    /// A word for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Try => "try",
            Self::TakeBack => "give up",
            Self::Return => "rollback",
        }
    }
}

fn word_of(outcome: &Outcome) -> &'static str {
    match (&outcome.given_up_at, outcome.purpose) {
        (Some(_), _) => "given up",
        (None, Purpose::Try) => "tried",
        (None, Purpose::Return) => "rolled back",
        (None, Purpose::Rotate | Purpose::TakeBack) => "rotated",
    }
}

impl Rotation {
    fn outcome(&self, outcome: &Outcome) -> Value {
        let ended = self.ended.iter().find(|one| one.token == outcome.token);
        json!({
            "version_id": outcome.token,
            "is_trial": outcome.purpose == Purpose::Try,
            "purpose": outcome.purpose.word(),
            "result": word_of(outcome),
            "started": outcome.started.to_string(),
            "ended": outcome.ended.to_string(),
            "given_up_at": outcome.given_up_at.map(Step::word),
            "failure": outcome.failure.as_ref().map(failure),
            "old_value": ended.map(ended_json),
        })
    }
}

fn ended_json(ended: &Ended) -> Value {
    json!({
        "retired": ended.at.to_string(),
        "because": ended.by.word(),
        "standing": ended.standing,
        "reads": ended.old_reads,
        "consumers_behind": ended.behind,
    })
}

fn overlap(overlap: &Overlap, progress: Option<&Progress>) -> Value {
    let consumers = progress.map(|progress| {
        let behind = progress.behind().map(|one| {
            json!({
                "name": one.name,
                "version": one.version,
                "last_read": one.last.to_string(),
            })
        });
        let behind: Vec<Value> = behind.collect();
        json!({
            "live": progress.consumers.len(),
            "moved": progress.consumers.len() - behind.len(),
            "behind": behind,
        })
    });
    json!({
        "version": overlap.version,
        "old_versions": overlap.old,
        "began": overlap.began.to_string(),
        "ends_at_the_latest": overlap.until.to_string(),
        "waits_for": overlap.wait.word(),
        "consumers_since": overlap.since.to_string(),
        "standing": progress.map(ToString::to_string),
        "consumers": consumers,
        "old_value_reads": progress.map(|progress| progress.old_reads),
        "ending": overlap.ending.map(EndedBy::word),
        "failed_attempts": overlap.attempts,
        "failure": overlap.failure.as_ref().map(|(at, error)| {
            json!({
                "at": at.to_string(),
                "code": error.code,
                "message": error.message,
            })
        }),
    })
}

fn failure(failure: &Failure) -> Value {
    json!({
        "step": failure.step.word(),
        "at": failure.at.to_string(),
        "code": failure.error.code,
        "message": failure.error.message,
    })
}
