//! What was done to the application's data: migrations, each once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::sync::watch;

use super::Ended;
use super::log::Log;
use super::process;
use crate::error::SuperviseError;
use crate::folder::Folder;
use crate::folder::OwnFolder;
use crate::manifest::Migration;
use crate::manifest::RunOn;
use crate::manifest::Service;
use crate::supervisor::State;

/// Where it is written.
const FILE: &str = "migrations.json";
/// A migration has so long.
const LIMIT: Duration = Duration::from_secs(600);

/// Which migrations were done, and by which version of the application.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The version that was started last with all its migrations done.
    app_version: Option<String>,
    applied: BTreeMap<String, Vec<String>>,
    /// Services that have done theirs in this run.
    done: BTreeSet<String>,
}

impl History {
    /// Reads the file; one that cannot be read is no reason to do everything again.
    pub(crate) fn read(folder: &Folder) -> Result<Self, SuperviseError> {
        let path = folder.below(FILE);
        let refused = |why: String| SuperviseError::Folder {
            path: path.clone(),
            why,
        };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        let value: Value = serde_json::from_slice(&text)
            .map_err(|error| refused(format!("line {}: this is not JSON", error.line())))?;
        let mut history = Self {
            app_version: value["app_version"].as_str().map(str::to_owned),
            ..Self::default()
        };
        for (service, versions) in value["applied"].as_object().into_iter().flatten() {
            let versions = versions.as_array().into_iter().flatten();
            let versions = versions.filter_map(|version| version.as_str().map(str::to_owned));
            history.applied.insert(service.clone(), versions.collect());
        }
        history.app_version = history.app_version.filter(|version| !version.is_empty());
        Ok(history)
    }

    fn is_due(&self, service: &str, migration: &Migration, app_version: &str) -> bool {
        let applied = self.applied.get(service);
        let is_applied = applied.is_some_and(|versions| versions.contains(&migration.version));
        match migration.run_on {
            RunOn::Always => true,
            RunOn::Once => !is_applied,
            RunOn::Install => !is_applied && self.app_version.is_none(),
            RunOn::Upgrade => {
                let last = self.app_version.as_deref();
                !is_applied && last.is_some_and(|last| last != app_version)
            }
        }
    }

    fn write(&self, folder: &Folder) -> Result<(), SuperviseError> {
        let value = json!({ "app_version": self.app_version, "applied": self.applied });
        let text = format!("{value:#}\n");
        folder.write_private(FILE, text.as_bytes(), OwnFolder::Leave)
    }
}

/// Does what is due to a service's data.
pub(super) async fn migrate(
    state: &Arc<State>,
    service: &Service,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Ended> {
    let app_version = state.manifest.app_version.as_str();
    for migration in &service.migrations {
        let is_due = {
            let history = state.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.is_due(&service.id, migration, app_version)
        };
        if !is_due {
            continue;
        }
        let version = migration.version.as_str();
        state.board.change(&service.id, |status| {
            status.message = format!("migrating to {version}");
        });
        let log = Log::open(state, service).map_err(Ended::Failed)?;
        let extra: Vec<(String, String)> = migration.env.clone().into_iter().collect();
        let command = &migration.command;
        let run = process::run_to_end(state, service, command, &extra, Some(&log), LIMIT);
        let ran = tokio::select! {
            ran = run => ran,
            _ = stop.wait_for(|stop| *stop) => return Err(Ended::Stopped),
        };
        ran.map_err(|why| Ended::Failed(format!("migration {version}: {why}")))?;
        let details = json!({ "version": version });
        (state.telemetry).note("migration_applied", Some(&service.id), details);
        note(state, |history| {
            let applied = history.applied.entry(service.id.clone()).or_default();
            if !applied.iter().any(|known| known == version) {
                applied.push(version.to_owned());
            }
        })?;
    }
    note(state, |history| {
        history.done.insert(service.id.clone());
        let mut services = state.manifest.services.iter();
        let is_done =
            |service: &Service| service.skipped.is_some() || history.done.contains(&service.id);
        if services.all(is_done) {
            history.app_version = Some(app_version.to_owned());
        }
    })
}

fn note(state: &State, change: impl FnOnce(&mut History)) -> Result<(), Ended> {
    let mut history = state.history.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut history);
    let written = history.write(&state.folder);
    written.map_err(|error| Ended::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_and_in_its_time() {
        let migration = |version: &str, run_on| Migration {
            version: version.to_owned(),
            command: Vec::new(),
            env: BTreeMap::new(),
            run_on,
        };
        let history = |last: Option<&str>| History {
            app_version: last.map(str::to_owned),
            applied: BTreeMap::from([("api".to_owned(), vec!["1".to_owned()])]),
            done: BTreeSet::new(),
        };
        use RunOn::*;
        for (last, version, run_on, is_due) in [
            (None, "1", Once, false),
            (None, "2", Once, true),
            (None, "2", Install, true),
            (None, "1", Install, false),
            (Some("1.0"), "2", Install, false),
            (None, "2", Upgrade, false),
            (Some("2.0"), "2", Upgrade, false),
            (Some("1.0"), "2", Upgrade, true),
            (Some("1.0"), "1", Upgrade, false),
            (Some("2.0"), "1", Always, true),
        ] {
            let found = history(last).is_due("api", &migration(version, run_on), "2.0");
            assert_eq!(found, is_due, "{last:?} {version} {run_on:?}");
        }
        assert!(history(None).is_due("ui", &migration("1", Once), "2.0"));
    }
}
