//! What no log may show: all values that the application's secrets have, and had while it runs.

use std::sync::Mutex;
use std::sync::PoisonError;

use strongroom_core::redact::Patterns;
use strongroom_core::redact::RedactorBuilder;
use strongroom_core::secret::SecretValue;
use tokio::sync::watch;

/// Patterns that are renewed when a value changes.
pub(crate) struct Masks {
    values: Mutex<Vec<(String, SecretValue)>>,
    patterns: watch::Sender<Patterns>,
}

impl Masks {
    pub(crate) fn new(values: Vec<(String, SecretValue)>) -> Self {
        Self {
            patterns: watch::Sender::new(patterns(&values)),
            values: Mutex::new(values),
        }
    }

    /// Adds values; those that were there before are still masked, since some services use them.
    pub(crate) fn renew(&self, now: Vec<(String, SecretValue)>) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let before = values.len();
        for (id, value) in now {
            let is_known = |(known, old): &(String, SecretValue)| *known == id && old.ct_eq(&value);
            if !values.iter().any(is_known) {
                values.push((id, value));
            }
        }
        if values.len() > before {
            self.patterns.send_replace(patterns(&values));
        }
    }

    /// The patterns, and word of their renewal.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Patterns> {
        self.patterns.subscribe()
    }
}

fn patterns(values: &[(String, SecretValue)]) -> Patterns {
    let mut masked = RedactorBuilder::new();
    for (id, value) in values {
        masked.add(id, value);
    }
    masked.build()
}
