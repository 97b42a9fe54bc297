//! Services that do not use yet what was changed, and those that shall start again.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::watch;

/// What is known of them.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    outdated: Mutex<BTreeSet<String>>,
    /// How often each was asked for.
    asked: watch::Sender<BTreeMap<String, u64>>,
}

/// Whether a service was asked to start again since it did.
#[derive(Debug)]
pub(crate) struct Again {
    service: String,
    asked: watch::Receiver<BTreeMap<String, u64>>,
    before: u64,
}

impl Restarts {
    /// These were started with something that is not so any more.
    pub(crate) fn note(&self, services: &[String]) {
        self.set().extend(services.iter().cloned());
    }

    /// A service starts with what is so now, or does not need to any more.
    pub(crate) fn forget(&self, service: &str) {
        self.set().remove(service);
    }

    /// Services that were started with what was changed since.
    pub(crate) fn outdated(&self) -> Vec<String> {
        self.set().iter().cloned().collect()
    }

    /// What is asked of a service from now on.
    pub(crate) fn watch(&self, service: &str) -> Again {
        let mut again = Again {
            service: service.to_owned(),
            asked: self.asked.subscribe(),
            before: 0,
        };
        again.mark();
        again
    }

    /// Asks a service to start again.
    pub(crate) fn ask(&self, service: &str) {
        self.asked.send_modify(|asked| {
            *asked.entry(service.to_owned()).or_default() += 1;
        });
    }

    fn set(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Again {
    fn count(&self) -> u64 {
        let asked = self.asked.borrow();
        asked.get(&self.service).copied().unwrap_or_default()
    }

    /// It starts: what was asked until now is done by that.
    pub(crate) fn mark(&mut self) {
        self.before = self.count();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.count() != self.before
    }

    /// Waits until it is asked.
    pub(crate) async fn asked(&mut self) {
        while !self.is_asked() {
            if self.asked.changed().await.is_err() {
                // Nobody is left who could ask.
                std::future::pending::<()>().await;
            }
        }
    }
}
