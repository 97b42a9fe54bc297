//! After some failures in a row a server is left alone for a while.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use strongroom_core::port::BackendErrorKind;
use tokio::time::Instant;

use super::failure::Failure;
use crate::settings::Settings;

/// Failures in a row that open the circuit.
pub(super) const FAILURES_MAX: u32 = 5;
/// How long nothing is sent then; afterwards one request tries.
const OPEN: Duration = Duration::from_secs(10);

/// Counts failures in a row.
#[derive(Default)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    last: String,
    hint: Option<String>,
}

/// Nothing is sent now.
#[derive(Debug)]
pub(super) struct Refusal {
    left: Duration,
    last: String,
    hint: Option<String>,
}

impl Circuit {
    /// Whether a request may be sent. The first one after the pause may, and no other until it
    /// is known how that went.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Refusal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.open_until else {
            return Ok(());
        };
        if now < until {
            return Err(Refusal {
                left: until - now,
                last: state.last.clone(),
                hint: state.hint.clone(),
            });
        }
        state.open_until = Some(now + OPEN);
        Ok(())
    }

    pub(super) fn succeeded(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::default();
    }

    pub(super) fn failed(&self, now: Instant, failure: &Failure) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        state.last.clone_from(&failure.message);
        state.hint.clone_from(&failure.hint);
        if state.failures >= FAILURES_MAX {
            state.open_until = Some(now + OPEN);
        }
    }
}

impl Refusal {
    pub(super) fn explain(self, settings: &Settings) -> Failure {
        let seconds = self.left.as_secs() + 1;
        let message = format!(
            "{} was not asked, because the last {FAILURES_MAX} requests failed ({}); it is asked \
             again in {seconds} s",
            settings.server, self.last
        );
        Failure {
            kind: BackendErrorKind::Unreachable,
            message,
            hint: self.hint,
            retry_after: None,
            is_retriable: false,
            is_outage: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no() -> Failure {
        Failure {
            kind: BackendErrorKind::Unreachable,
            message: "no".into(),
            hint: None,
            retry_after: None,
            is_retriable: false,
            is_outage: true,
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try_later() {
        let circuit = Circuit::default();
        let start = Instant::now();
        for _ in 1..FAILURES_MAX {
            circuit.failed(start, &no());
            circuit.admit(start).unwrap();
        }
        circuit.failed(start, &no());
        assert_eq!(circuit.admit(start).unwrap_err().left, OPEN);
        let later = start + OPEN;
        circuit.admit(later).unwrap();
        circuit.admit(later).unwrap_err();
        circuit.failed(later, &no());
        circuit.admit(later).unwrap_err();
        circuit.succeeded();
        circuit.admit(later).unwrap();
        circuit.admit(later).unwrap();
    }

    #[test]
    fn an_answer_between_failures_starts_the_count_again() {
        let circuit = Circuit::default();
        let now = Instant::now();
        for _ in 0..3 * FAILURES_MAX {
            circuit.failed(now, &no());
            circuit.failed(now, &no());
            circuit.succeeded();
        }
        circuit.admit(now).unwrap();
    }
}
