//! A clock that stands still until it is told to go on.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use strongroom_core::port::Clock;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

/// A clock set by the test.
#[derive(Debug)]
pub struct FakeClock(AtomicI64);

impl FakeClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Shows another time from now on, earlier ones too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Goes on by a span; the time afterwards.
    pub fn advance(&self, span: Span) -> Timestamp {
        let now = self.now().plus(span);
        self.set(now);
        now
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_until_told() {
        let clock = FakeClock::at(Timestamp::from_micros(5));
        assert_eq!(clock.now(), clock.now());
        let later = clock.advance(Span::from_seconds(2));
        assert_eq!(later, Timestamp::from_micros(2_000_005));
        clock.set(Timestamp::from_micros(1));
        assert_eq!(clock.now(), Timestamp::from_micros(1));
    }
}
