//! How each service is, for everybody who asks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Timestamp;
use tokio::sync::watch;

use crate::now;

/// What is written where there was no such moment.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// How a service is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) is_ready: bool,
    pub(crate) message: String,
    pub(crate) is_skipped: bool,
    /// It will not become ready without somebody doing something.
    pub(crate) has_failed: bool,
    /// Nothing of it runs any more.
    pub(crate) has_ended: bool,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ready: Option<Timestamp>,
    pub(crate) updated: Option<Timestamp>,
    pub(crate) exit_code: Option<i32>,
}

/// The statuses of all services.
#[derive(Debug)]
pub(crate) struct Board {
    statuses: Mutex<BTreeMap<String, Status>>,
    changes: watch::Sender<u64>,
}

impl Board {
    pub(crate) fn new(services: impl Iterator<Item = String>) -> Self {
        let first = || Status {
            message: "pending start".to_owned(),
            updated: Some(now()),
            ..Status::default()
        };
        Self {
            statuses: Mutex::new(services.map(|id| (id, first())).collect()),
            changes: watch::Sender::new(0),
        }
    }

    /// Changes the status of one service; what `change` answers.
    pub(crate) fn change<T>(&self, service: &str, change: impl FnOnce(&mut Status) -> T) -> T {
        let answer = {
            let mut all = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
            let status = all.entry(service.to_owned()).or_default();
            let was_ready = status.is_ready;
            let answer = change(status);
            let now = now();
            status.updated = Some(now);
            if status.is_ready && !was_ready {
                status.ready = Some(now);
            }
            answer
        };
        self.changes.send_modify(|count| *count += 1);
        answer
    }

    /// Says the same of all services.
    pub(crate) fn say_of_all(&self, message: &str) {
        let names: Vec<String> = self.all().into_keys().collect();
        for name in names {
            self.change(&name, |status| message.clone_into(&mut status.message));
        }
    }

    pub(crate) fn of(&self, service: &str) -> Option<Status> {
        self.all().remove(service)
    }

    pub(crate) fn all(&self) -> BTreeMap<String, Status> {
        let all = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// Wakes whoever waits for a change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether the application is ready: every service that is not left out.
    pub(crate) fn is_ready(&self) -> bool {
        let all = self.all();
        let mut counted = all.values().filter(|status| !status.is_skipped).peekable();
        counted.peek().is_some() && counted.all(|status| status.is_ready)
    }

    /// The statuses as the API answers them.
    pub(crate) fn to_json(&self) -> Value {
        let all = self.all().into_iter();
        let all: Map<String, Value> = all.map(|(id, status)| (id, status.to_json())).collect();
        Value::Object(all)
    }
}

impl Status {
    /// Its program was one that ends, and it went well.
    pub(crate) fn has_done_its_work(&self) -> bool {
        self.has_ended && !self.has_failed
    }

    fn to_json(&self) -> Value {
        let moment = |time: Option<Timestamp>| time.map_or(NEVER.into(), |time| time.to_string());
        let mut value = json!({
            "ready": self.is_ready,
            "message": self.message,
            "started_at": moment(self.started),
            "ready_at": moment(self.ready),
            "updated_at": moment(self.updated),
        });
        if self.is_skipped {
            value["skipped"] = true.into();
        }
        if let Some(code) = self.exit_code {
            value["exit_code"] = code.into();
        }
        value
    }
}
