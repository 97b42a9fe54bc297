//! Names that failed to log in too often are refused for a while, known or not.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use strongroom_core::time::Timestamp;

/// Failures in a row after which a name is refused.
const FAILURES_MAX: u32 = 5;
/// For how long it is refused, and how long failures are remembered, in seconds.
const LOCKED_SECONDS: i64 = 15 * 60;
/// Old names that one attempt clears away: more than it adds.
const OLD_AT_ONCE: usize = 4;
/// Names that are remembered at once.
const NAMES_MAX: usize = 100_000;

/// Failures of names, by mount.
#[derive(Default)]
pub(crate) struct Lockouts(Mutex<Names>);

/// A mount and a name.
type Key = Arc<(String, String)>;

#[derive(Default)]
struct Names {
    by_key: HashMap<Key, Failures>,
    /// The oldest attempt first.
    by_age: BTreeMap<u64, Key>,
    attempts: u64,
}

struct Failures {
    count: u32,
    last: Timestamp,
    /// Its place in `by_age`.
    attempt: u64,
}

impl Lockouts {
    /// Counts an attempt before it is checked, so that many at once cannot all slip through;
    /// false when the name is refused.
    pub(crate) fn begin(&self, mount: &str, name: &str, now: Timestamp) -> bool {
        let key = Arc::new((mount.to_owned(), name.to_owned()));
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = names.by_key.get(&key);
        let before = before.filter(|before| now.seconds_since(before.last) < LOCKED_SECONDS);
        let count = before.map_or(0, |before| before.count);
        if count >= FAILURES_MAX {
            return false;
        }
        names.note(key, count + 1, now);
        true
    }

    /// The attempt was right: the name begins anew.
    pub(crate) fn succeed(&self, mount: &str, name: &str) {
        let key = Arc::new((mount.to_owned(), name.to_owned()));
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.forget(&key);
    }
}

impl Names {
    fn note(&mut self, key: Key, count: u32, last: Timestamp) {
        self.forget(&key);
        self.forget_old(last);
        // The name that was tried the longest ago makes room.
        if self.by_key.len() >= NAMES_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_key.remove(&oldest);
        }
        self.attempts += 1;
        let attempt = self.attempts;
        self.by_age.insert(attempt, Arc::clone(&key));
        let failures = Failures {
            count,
            last,
            attempt,
        };
        self.by_key.insert(key, failures);
    }

    /// Failures that count no more; a few at a time, so that nobody waits for all of them.
    fn forget_old(&mut self, now: Timestamp) {
        for _ in 0..OLD_AT_ONCE {
            let Some(oldest) = self.by_age.first_entry() else {
                return;
            };
            let failures = self.by_key.get(oldest.get());
            if failures.is_some_and(|failures| now.seconds_since(failures.last) < LOCKED_SECONDS) {
                return;
            }
            let key = oldest.remove();
            self.by_key.remove(&key);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(failures) = self.by_key.remove(key) {
            self.by_age.remove(&failures.attempt);
        }
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

    #[test]
    fn names_whose_failures_are_old_take_no_memory() {
        let lockouts = Lockouts::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        for second in 0..3_000 {
            assert!(lockouts.begin("m", &format!("u{second}"), at(second)));
        }
        let remembered = || {
            let names = lockouts.0.lock().unwrap();
            assert_eq!(names.by_key.len(), names.by_age.len());
            names.by_key.len()
        };
        assert_eq!(remembered(), 900);
        for turn in 0..300 {
            assert!(lockouts.begin("m", &format!("v{turn}"), at(9_000)));
        }
        assert_eq!(remembered(), 300);
    }

    #[test]
    fn many_names_push_out_the_oldest_only() {
        let lockouts = Lockouts::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        for name in ["old", "bob"] {
            for _ in 0..5 {
                assert!(lockouts.begin("m", name, at(0)));
            }
        }
        for other in 0..NAMES_MAX - 1 {
            assert!(lockouts.begin("m", &format!("u{other}"), at(1)));
        }
        assert!(!lockouts.begin("m", "bob", at(2)));
        assert!(lockouts.begin("m", "old", at(2)));
        let names = lockouts.0.lock().unwrap();
        assert_eq!(names.by_key.len(), NAMES_MAX);
        assert_eq!(names.by_age.len(), NAMES_MAX);
    }
}
