//! After some outages in a row a server is left alone for a while.
//!
//! A pure machine: what time it is, its caller says, by a monotonic clock of its own.

use std::ops::Add;
use std::ops::Sub;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use super::BackendError;
use super::BackendErrorKind;

/// Outages in a row that open a circuit.
pub const OUTAGES_MAX: u32 = 5;
/// How long nothing is sent then; afterwards one request tries.
pub const PAUSE: Duration = Duration::from_secs(10);
/// Whoever gives up an unanswered request after this time has met an outage; before it, has only
/// lost interest.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// A moment of a monotonic clock, e.g. an `Instant`.
pub trait Moment: Copy + Ord + Add<Duration, Output = Self> + Sub<Output = Duration> {}

impl<M: Copy + Ord + Add<Duration, Output = M> + Sub<Output = Duration>> Moment for M {}

/// Counts the outages in a row of one server.
#[derive(Debug)]
pub struct Circuit<M>(Mutex<State<M>>);

#[derive(Debug)]
struct State<M> {
    outages: u32,
    open_until: Option<M>,
    last: Option<Outage>,
}

/// A request that the server was of no use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// What kind of failure.
    pub kind: BackendErrorKind,
    /// What failed.
    pub message: String,
    /// The one thing to do about it, if it is known.
    pub hint: Option<String>,
}

/// A request on its way. It may be dropped before it is known how it went, when its caller gives
/// it up; that no answer came until then counts, too, unless it was soon.
#[must_use = "the circuit has to be told how the request went"]
#[derive(Debug)]
pub struct Pending<'a, M: Moment> {
    /// `None` once it has been told.
    circuit: Option<&'a Circuit<M>>,
    clock: fn() -> M,
    since: M,
    patience: Duration,
}

/// Nothing is sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When the server is asked again.
    pub left: Duration,
    /// Why it is not asked.
    pub last: Option<Outage>,
}

impl<M> State<M> {
    const CLOSED: Self = Self {
        outages: 0,
        open_until: None,
        last: None,
    };
}

impl<M> Default for Circuit<M> {
    fn default() -> Self {
        Self(Mutex::new(State::CLOSED))
    }
}

impl<M: Moment> Circuit<M> {
    /// Whether a request may be sent. The first one after the pause may, and no other until it
    /// is known how that went.
    ///
    /// # Errors
    /// When the server is left alone at this time.
    pub fn admit(&self, now: M) -> Result<(), Refusal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.open_until else {
            return Ok(());
        };
        if now < until {
            return Err(Refusal {
                left: until - now,
                last: state.last.clone(),
            });
        }
        state.open_until = Some(now + PAUSE);
        Ok(())
    }

    /// As `admit`, for a request with this time limit; by `clock` it is seen how long it took.
    ///
    /// # Errors
    /// When the server is left alone now.
    pub fn begin(&self, clock: fn() -> M, limit: Duration) -> Result<Pending<'_, M>, Refusal> {
        let since = clock();
        self.admit(since)?;
        Ok(Pending {
            circuit: Some(self),
            clock,
            since,
            patience: PATIENCE_MAX.min(limit / 2),
        })
    }

    /// Whether nothing may be sent at a time, as it looks now.
    pub fn is_open(&self, at: M) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.open_until.is_some_and(|until| at < until)
    }

    /// The server has answered, whatever it said.
    pub fn answered(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::CLOSED;
    }

    /// The server was of no use.
    pub fn failed(&self, now: M, outage: Outage) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.outages = state.outages.saturating_add(1);
        state.last = Some(outage);
        if state.outages >= OUTAGES_MAX {
            state.open_until = Some(now + PAUSE);
        }
    }
}

impl<M: Moment> Pending<'_, M> {
    /// The server has answered, whatever it said.
    pub fn answered(mut self) {
        if let Some(circuit) = self.circuit.take() {
            circuit.answered();
        }
    }

    /// The server was of no use.
    pub fn failed(mut self, outage: Outage) {
        if let Some(circuit) = self.circuit.take() {
            circuit.failed((self.clock)(), outage);
        }
    }

    /// How it went: only `Unreachable` is an outage, every other error is an answer.
    pub fn ended(self, error: Option<&BackendError>) {
        match error {
            Some(error) if error.kind == BackendErrorKind::Unreachable => {
                self.failed(error.into());
            }
            _ => self.answered(),
        }
    }
}

impl<M: Moment> Drop for Pending<'_, M> {
    fn drop(&mut self) {
        let Some(circuit) = self.circuit else {
            return;
        };
        let now = (self.clock)();
        let waited = now - self.since;
        if waited >= self.patience {
            let message = format!(
                "no answer within {} ms, then it was given up",
                waited.as_millis()
            );
            circuit.failed(
                now,
                Outage {
                    kind: BackendErrorKind::Unreachable,
                    message,
                    hint: Some("check the network, and whether the server is up".into()),
                },
            );
        }
    }
}

impl From<&BackendError> for Outage {
    fn from(error: &BackendError) -> Self {
        Self {
            kind: error.kind,
            message: error.message.clone(),
            hint: error.hint.clone(),
        }
    }
}

impl Refusal {
    /// What a caller is told of `server`, which is how messages call it.
    #[must_use]
    pub fn into_error(self, backend: impl Into<String>, server: &str) -> BackendError {
        let seconds = self.left.as_secs() + 1;
        let last = self.last.unwrap_or_else(|| Outage {
            kind: BackendErrorKind::Unreachable,
            message: "no answer".into(),
            hint: None,
        });
        let message = format!(
            "{server} was not asked, because the last {OUTAGES_MAX} requests failed ({}); it is \
             asked again in {seconds} s",
            last.message
        );
        let error = BackendError::new(BackendErrorKind::Unreachable, backend, message);
        match last.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no() -> Outage {
        Outage {
            kind: BackendErrorKind::Unreachable,
            message: "no".into(),
            hint: Some("look".into()),
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try_later() {
        let circuit = Circuit::default();
        let start = Duration::ZERO;
        for _ in 1..OUTAGES_MAX {
            circuit.failed(start, no());
            circuit.admit(start).unwrap();
        }
        circuit.failed(start, no());
        assert_eq!(circuit.admit(start).unwrap_err().left, PAUSE);
        let later = start + PAUSE;
        circuit.admit(later).unwrap();
        circuit.admit(later).unwrap_err();
        circuit.failed(later, no());
        circuit.admit(later).unwrap_err();
        circuit.answered();
        circuit.admit(later).unwrap();
        circuit.admit(later).unwrap();
    }

    #[test]
    fn an_answer_between_failures_starts_the_count_again() {
        let circuit = Circuit::default();
        let now = Duration::ZERO;
        for _ in 0..3 * OUTAGES_MAX {
            circuit.failed(now, no());
            circuit.failed(now, no());
            circuit.answered();
        }
        circuit.admit(now).unwrap();
    }

    #[test]
    fn nothing_is_open_but_in_the_pause() {
        let circuit = Circuit::default();
        assert!(!circuit.is_open(Duration::ZERO));
        for _ in 0..OUTAGES_MAX {
            circuit.failed(Duration::ZERO, no());
        }
        assert!(circuit.is_open(Duration::ZERO));
        assert!(!circuit.is_open(PAUSE));
        circuit.admit(PAUSE).unwrap();
        assert!(circuit.is_open(PAUSE));
    }

    #[test]
    fn only_outages_count() {
        let circuit = Circuit::default();
        let error = |kind| BackendError::new(kind, "b", "no");
        let end = |kind| {
            let pending = circuit.begin(|| Duration::ZERO, PAUSE).unwrap();
            pending.ended(Some(&error(kind)));
        };
        for kind in [
            BackendErrorKind::Denied,
            BackendErrorKind::Throttled,
            BackendErrorKind::Conflict,
            BackendErrorKind::Malformed,
        ] {
            (1..OUTAGES_MAX).for_each(|_| end(BackendErrorKind::Unreachable));
            end(kind);
        }
        (0..OUTAGES_MAX).for_each(|_| end(BackendErrorKind::Unreachable));
        let refusal = circuit.begin(|| Duration::ZERO, PAUSE).unwrap_err();
        let last = error(BackendErrorKind::Unreachable);
        assert_eq!(refusal.last, Some(Outage::from(&last)));
    }

    #[test]
    fn what_is_given_up_counts_unless_it_was_soon() {
        use std::cell::Cell;
        thread_local!(static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) });
        let give_up_after = |circuit: &Circuit<Duration>, waited| {
            let pending = circuit.begin(|| NOW.get(), PAUSE);
            NOW.set(NOW.get() + waited);
            drop(pending.unwrap());
        };
        let circuit = Circuit::default();
        for _ in 0..OUTAGES_MAX {
            give_up_after(&circuit, PATIENCE_MAX - Duration::from_millis(1));
        }
        assert!(!circuit.is_open(NOW.get()));
        for _ in 0..OUTAGES_MAX {
            give_up_after(&circuit, PATIENCE_MAX);
        }
        let error = circuit.admit(NOW.get()).unwrap_err().into_error("b", "it");
        assert!(
            error.message.contains("(no answer within 1000 ms"),
            "{error}"
        );
    }

    #[test]
    fn a_refusal_says_why_until_when_and_what_to_do() {
        let circuit = Circuit::default();
        let now = Duration::ZERO;
        for _ in 0..OUTAGES_MAX {
            circuit.failed(now, no());
        }
        let later = now + Duration::from_millis(2_500);
        let error = circuit.admit(later).unwrap_err().into_error("b", "the API");
        assert_eq!(error.kind, BackendErrorKind::Unreachable);
        assert_eq!(
            error.to_string(),
            "b: the API was not asked, because the last 5 requests failed (no); it is asked again \
             in 8 s"
        );
        assert_eq!(error.hint.as_deref(), Some("look"));
    }
}
