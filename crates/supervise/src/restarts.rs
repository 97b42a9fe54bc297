//! Services that run with values that were changed since, and those that shall start again.

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

/// Waits until a service is asked to start again.
#[derive(Debug)]
pub(crate) struct Again {
    asked: watch::Receiver<BTreeMap<String, u64>>,
    before: u64,
}

impl Restarts {
    /// These run with something that is not so any more.
    pub(crate) fn note(&self, services: &[String]) {
        self.set().extend(services.iter().cloned());
    }

    /// Services that run with what was changed since.
    pub(crate) fn outdated(&self) -> Vec<String> {
        self.set().iter().cloned().collect()
    }

    /// A service starts, with what is so now; it is told when it is asked to do so again.
    pub(crate) fn starts(&self, service: &str) -> Again {
        let asked = self.asked.subscribe();
        self.set().remove(service);
        let before = count(&asked.borrow(), service);
        Again { asked, before }
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
    pub(crate) async fn asked(&mut self, service: &str) {
        let before = self.before;
        let asked = self.asked.wait_for(|asked| count(asked, service) != before);
        if asked.await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

fn count(asked: &BTreeMap<String, u64>, service: &str) -> u64 {
    asked.get(service).copied().unwrap_or_default()
}
