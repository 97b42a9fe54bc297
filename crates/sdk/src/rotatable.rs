//! A secret that others present, while it is being rotated: the value before the current one is
//! accepted for a while, and its use is counted.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::secret::SecretValue;

use crate::error::GetError;
use crate::secrets::Secrets;

/// Which value was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// The current one.
    Current,
    /// The one before it, in its time.
    Previous,
    /// Neither.
    Neither,
}

/// A declared secret with the value before it.
///
/// What it holds it has seen itself: a process that starts after a rotation knows the current value
/// only.
pub struct Rotatable {
    secrets: Secrets,
    name: String,
    overlap: Duration,
    seen: Mutex<Seen>,
    previous_uses: AtomicU64,
}

#[derive(Default)]
struct Seen {
    current: Option<SecretValue>,
    /// Until when it is accepted; `None` for ever.
    previous: Option<(SecretValue, Option<Instant>)>,
}

impl std::fmt::Debug for Rotatable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotatable")
            .field("name", &self.name)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// A declared secret that others present; the value before the current one is accepted for
    /// `overlap` after a new one was first seen.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn rotatable(&self, name: &str, overlap: Duration) -> Result<Rotatable, GetError> {
        let rotatable = Rotatable {
            secrets: self.clone(),
            name: name.to_owned(),
            overlap,
            seen: Mutex::default(),
            previous_uses: AtomicU64::new(0),
        };
        rotatable.current().await?;
        Ok(rotatable)
    }
}

impl Secrets {
    /// As [`Self::rotatable`], for as long as the secret's declaration says (`rotation.overlap`,
    /// its own or that of a policy in `[rotation]`). Without it no value but the current one is
    /// accepted.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn rotatable_as_declared(&self, name: &str) -> Result<Rotatable, GetError> {
        let overlap = self.overlap(name).unwrap_or(Duration::ZERO);
        self.rotatable(name, overlap).await
    }
}

impl Rotatable {
    /// The current value: from memory, or fetched when that is too old.
    ///
    /// # Errors
    /// As [`Secrets::get`].
    pub async fn current(&self) -> Result<SecretValue, GetError> {
        let current = self.secrets.get(&self.name).await?;
        self.see(&current);
        Ok(current)
    }

    /// Fetches the value now, as after a hint that it was rotated.
    ///
    /// # Errors
    /// As [`Secrets::get`].
    pub async fn refresh(&self) -> Result<SecretValue, GetError> {
        let current = self.secrets.refresh(&self.name).await?;
        self.see(&current);
        Ok(current)
    }

    /// Which value was presented, compared in constant time. One that is unknown is looked for
    /// anew: it may have been rotated in just now.
    ///
    /// # Errors
    /// As [`Secrets::get`].
    pub async fn validate(&self, presented: &SecretValue) -> Result<Presented, GetError> {
        self.current().await?;
        let known = self.compare(presented);
        let found = match known {
            Presented::Neither if self.secrets.is_older(&self.name, RECENT).await => {
                self.refresh().await?;
                self.compare(presented)
            }
            known => known,
        };
        if found == Presented::Previous {
            self.previous_uses.fetch_add(1, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// How often the value before was presented in its time: while this grows, somebody still has
    /// it.
    #[must_use]
    pub fn previous_uses(&self) -> u64 {
        self.previous_uses.load(Ordering::Relaxed)
    }

    fn see(&self, value: &SecretValue) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.current.as_ref().is_some_and(|own| own.ct_eq(value)) {
            return;
        }
        if let Some(before) = seen.current.replace(value.clone()) {
            seen.previous = Some((before, Instant::now().checked_add(self.overlap)));
        }
    }

    fn compare(&self, presented: &SecretValue) -> Presented {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What is over is wiped.
        let is_over = |until: Instant| until <= Instant::now();
        seen.previous
            .take_if(|(_, until)| until.is_some_and(is_over));
        // Both are compared, whatever the first one says.
        let is_current = seen
            .current
            .as_ref()
            .is_some_and(|own| own.ct_eq(presented));
        let before = seen.previous.as_ref();
        let is_previous = before.is_some_and(|(own, _)| own.ct_eq(presented));
        match (is_current, is_previous) {
            (true, _) => Presented::Current,
            (false, true) => Presented::Previous,
            (false, false) => Presented::Neither,
        }
    }
}

/// A value that was fetched so lately is not fetched again for one that is unknown: guesses do not
/// become requests.
const RECENT: Duration = Duration::from_secs(1);
