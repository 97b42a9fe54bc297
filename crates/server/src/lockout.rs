//! Names that failed to log in too often are refused for a while, known or not.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use strongroom_core::time::Timestamp;

/// Failures in a row after which a name is refused.
const FAILURES_MAX: u32 = 5;
/// For how long it is refused, and how long failures are remembered, in seconds.
const LOCKED_SECONDS: i64 = 15 * 60;
/// Names that are remembered at once.
const NAMES_MAX: usize = 100_000;

/// Failures of names, by mount.
#[derive(Default)]
pub(crate) struct Lockouts(Mutex<HashMap<(String, String), Failures>>);

struct Failures {
    count: u32,
    last: Timestamp,
}

impl Lockouts {
    /// Counts an attempt before it is checked, so that many at once cannot all slip through;
    /// false when the name is refused.
    pub(crate) fn begin(&self, mount: &str, name: &str, now: Timestamp) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NAMES_MAX {
            names.retain(|_, failures| now.seconds_since(failures.last) < LOCKED_SECONDS);
            if names.len() >= NAMES_MAX {
                names.clear();
            }
        }
        let key = (mount.to_owned(), name.to_owned());
        let failures = names.entry(key).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.seconds_since(failures.last) >= LOCKED_SECONDS {
            failures.count = 0;
        }
        if failures.count >= FAILURES_MAX {
            return false;
        }
        failures.count += 1;
        failures.last = now;
        true
    }

    /// The attempt was right: the name begins anew.
    pub(crate) fn succeed(&self, mount: &str, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&(mount.to_owned(), name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_lock_for_a_quarter_of_an_hour() {
        let lockouts = Lockouts::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        for _ in 0..5 {
            assert!(lockouts.begin("m", "bob", at(0)));
        }
        assert!(!lockouts.begin("m", "bob", at(1)));
        assert!(lockouts.begin("m", "ann", at(1)));
        assert!(lockouts.begin("other", "bob", at(1)));
        assert!(!lockouts.begin("m", "bob", at(899)));
        assert!(lockouts.begin("m", "bob", at(900)));
        lockouts.succeed("m", "bob");
        assert!(lockouts.begin("m", "bob", at(901)));
    }
}
