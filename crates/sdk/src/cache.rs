//! Values in memory, each for a while; one fetch for all who wait for the same one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::secret::SecretValue;
use tokio::sync::Mutex as AsyncMutex;

use crate::error::GetError;

/// The last answer about one name, and when it came.
type Slot = Arc<AsyncMutex<Option<(Instant, Result<SecretValue, GetError>)>>>;

pub(crate) struct Cache {
    ttl: Duration,
    slots: Mutex<HashMap<String, Slot>>,
}

impl Cache {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            slots: Mutex::default(),
        }
    }

    /// The value in memory, or what `fetch` gives. Who waits for a fetch of somebody else takes its
    /// answer, a failure too; a failure is not kept for those who come later.
    pub(crate) async fn get<F>(
        &self,
        name: &str,
        fetch: impl FnOnce() -> F,
    ) -> Result<SecretValue, GetError>
    where
        F: Future<Output = Result<SecretValue, GetError>>,
    {
        let asked = Instant::now();
        let slot = self.slot(name);
        let mut held = slot.lock().await;
        if let Some((at, answer)) = &*held {
            let is_valid = answer.is_ok() && at.elapsed() < self.ttl;
            if is_valid || *at > asked {
                return answer.clone();
            }
        }
        let answer = fetch().await;
        *held = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Forgets a value: the next `get` fetches it.
    pub(crate) async fn forget(&self, name: &str) {
        *self.slot(name).lock().await = None;
    }

    /// Whether a value was fetched longer ago than this, or never.
    pub(crate) async fn is_older(&self, name: &str, age: Duration) -> bool {
        let slot = self.slot(name);
        let held = slot.lock().await;
        held.as_ref().is_none_or(|(at, _)| at.elapsed() > age)
    }

    fn slot(&self, name: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(name.to_owned()).or_default())
    }
}
