//! The time that lives are counted by. It begins with the machine's clock and goes on by one that
//! nobody sets: when the machine's clock is set while a server runs, no token, lease or rotation
//! ends earlier or lives longer for it.
//!
//! What others compare with their own clocks (lines of the audit log, signatures) goes by the
//! machine's clock: [`Clock::wall`]. A database lets a user in until both clocks say that it is
//! over.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use strongroom_core::port::Clock;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

/// No server ran before: a clock that says so at the start was not set yet, and is followed when
/// it is. The 1st of January 2026.
const FLOOR: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
/// A machine's clock that is so far off was set, and somebody should know.
const TOLD_SECONDS: i64 = 5;

/// A clock beside one that is never set.
pub struct SteadyClock<W, S> {
    wall: W,
    steady: S,
    anchor: Mutex<Anchor>,
    tell: fn(&str),
}

#[derive(Clone, Copy)]
struct Anchor {
    wall: Timestamp,
    steady: Duration,
    /// What was last told of the machine's clock, in seconds.
    told: i64,
}

impl<W, S> SteadyClock<W, S>
where
    W: Fn() -> Timestamp,
    S: Fn() -> Duration,
{
    /// Begins now. `wall` is the machine's clock, `steady` one that is never set and counts what
    /// the machine sleeps. The operators' log is told when the two part.
    pub fn new(wall: W, steady: S) -> Self {
        Self::telling(wall, steady, |text| crate::log::Log.error(text))
    }

    fn telling(wall: W, steady: S, tell: fn(&str)) -> Self {
        let anchor = Anchor {
            wall: wall(),
            steady: steady(),
            told: 0,
        };
        Self {
            wall,
            steady,
            anchor: Mutex::new(anchor),
            tell,
        }
    }

    fn time(&self) -> Timestamp {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, steady) = ((self.wall)(), (self.steady)());
        if anchor.wall < FLOOR && wall >= FLOOR {
            *anchor = Anchor {
                wall,
                steady,
                told: 0,
            };
        }
        let passed = steady.saturating_sub(anchor.steady);
        let passed = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        let now = Timestamp::from_micros(anchor.wall.as_micros().saturating_add(passed));
        let off = wall.seconds_since(now);
        if (off - anchor.told).abs() > TOLD_SECONDS {
            anchor.told = off;
            (self.tell)(&told(off));
        }
        now
    }
}

fn told(off: i64) -> String {
    match off {
        0 => "this machine's clock is where it was at the start again".to_owned(),
        _ => format!(
            "this machine's clock was set: it is {off} s off the time that has passed. Tokens and \
             leases go on by the time that has passed; if the clock is right now, restart this \
             server"
        ),
    }
}

impl<W, S> Clock for SteadyClock<W, S>
where
    W: Fn() -> Timestamp + Send + Sync,
    S: Fn() -> Duration + Send + Sync,
{
    fn now(&self) -> Timestamp {
        self.time()
    }

    fn wall(&self) -> Timestamp {
        (self.wall)()
    }
}

/// A point in time as others may see it by their clocks: the machine's clock or ours is as theirs,
/// and by neither it is over before.
pub(crate) fn for_others(clock: &dyn Clock, at: Timestamp) -> Timestamp {
    let (now, wall) = (clock.now(), clock.wall());
    let ahead = wall.as_micros().saturating_sub(now.as_micros()).max(0);
    at.plus(Span::from_seconds(ahead / 1_000_000))
}

#[cfg(test)]
mod tests;
