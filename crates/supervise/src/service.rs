//! A service from its first check to its end.

mod environment;
mod health;
mod history;
mod log;
mod process;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use tokio::sync::watch;

pub(crate) use history::History;
pub(crate) use log::place as log_place;

use crate::manifest::HealthKind;
use crate::manifest::Restart;
use crate::manifest::Service;
use crate::now;
use crate::restarts::Again;
use crate::supervisor::State;
use crate::validate;
use log::Log;
use process::Process;

/// A service waits so long for those it depends on.
const DEPENDENCY_TIMEOUT: Duration = Duration::from_secs(120);
/// A program that keeps ending is started so often.
const RESTARTS_MAX: u32 = 5;
/// A program that ran so long is no longer one that keeps ending.
const STEADY: Duration = Duration::from_secs(60);
/// First pause before a program is started again; each next one is twice as long.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// A service that is ready is looked at this often, or less.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Why a service is not going on.
enum Ended {
    /// The application ends, or its program has done what it was for.
    Stopped,
    /// It shall start again.
    Again,
    /// It cannot be started.
    Failed(String),
    /// Its program ended by itself.
    Exited {
        code: Option<i32>,
        how: String,
        lasted: Duration,
    },
}

/// Says what is to be said of a service that is not started at all; false for one that is.
pub(crate) fn settle(state: &State, service: &Service) -> bool {
    if service.skipped.is_none() && !state.is_dry_run {
        return false;
    }
    state.board.change(&service.id, |status| {
        match &service.skipped {
            Some(reason) => {
                status.is_skipped = true;
                status.message.clone_from(reason);
            }
            None => {
                status.is_ready = true;
                "dry-run".clone_into(&mut status.message);
            }
        }
        status.has_ended = true;
    });
    true
}

/// Runs a service until the application ends.
pub(crate) async fn run(state: &Arc<State>, at: usize) {
    let Some(service) = state.manifest.services.get(at) else {
        return;
    };
    let mut again = state.restarts.watch(&service.id);
    loop {
        let ended = keep_running(state, service, &mut again).await;
        let is_over = state.board.change(&service.id, |status| {
            status.is_ready = false;
            // Asked while it was on its way here, by somebody who did not see it there.
            if again.is_asked() && !*state.stop.borrow() {
                return false;
            }
            status.has_ended = true;
            if let Ended::Failed(why) = &ended {
                status.has_failed = true;
                why.clone_into(&mut status.message);
            }
            true
        });
        if is_over {
            match ended {
                Ended::Failed(why) => tell_failure(state, service, &why),
                _ => state.restarts.forget(&service.id),
            }
            return;
        }
        again.mark();
    }
}

fn tell_failure(state: &State, service: &Service, why: &str) {
    state.tell(&service.id, &format!("{why}; it is given up"));
    let details = json!({ "error": why });
    (state.telemetry).note("service_failed", Some(&service.id), details);
}

async fn keep_running(state: &Arc<State>, service: &Service, again: &mut Again) -> Ended {
    let mut stop = state.stop.subscribe();
    if let Err(ended) = prepare(state, service, &mut stop).await {
        return ended;
    }
    let mut restarts = 0;
    loop {
        let (code, how, lasted) = match live(state, service, &mut stop, again).await {
            Ended::Exited { code, how, lasted } => (code, how, lasted),
            Ended::Again => {
                if *stop.borrow() {
                    return Ended::Stopped;
                }
                restarts = 0;
                // Of those that start again together, each waits as at the first time.
                match wait_for_dependencies(state, service, &mut stop).await {
                    Ok(()) => continue,
                    Err(ended) => return ended,
                }
            }
            ended => return ended,
        };
        if lasted > STEADY {
            restarts = 0;
        }
        let is_wanted = match service.restart {
            Restart::Always => true,
            Restart::OnFailure => code != Some(0),
            Restart::Never => false,
        };
        let is_again = is_wanted && restarts < RESTARTS_MAX;
        state.board.change(&service.id, |status| {
            status.is_ready = false;
            status.exit_code = code;
            status.message.clone_from(&how);
        });
        let details = json!({ "exit_code": code, "how": &how, "restarts": is_again });
        (state.telemetry).note("service_exit", Some(&service.id), details);
        if !is_wanted && code == Some(0) {
            // It has done what it was for.
            return Ended::Stopped;
        }
        if !is_again {
            return Ended::Failed(match restarts {
                0 => how,
                restarts => format!("{how}, and was started again {restarts} times"),
            });
        }
        state.tell(&service.id, &format!("{how}; it is started again"));
        let pause = RESTART_PAUSE * 2_u32.pow(restarts);
        restarts += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = again.asked() => {}
            _ = stop.wait_for(|stop| *stop) => return Ended::Stopped,
        }
    }
}

/// What must be so before the program may start.
async fn prepare(
    state: &Arc<State>,
    service: &Service,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Ended> {
    if service.needs_gpu.as_deref() == Some("required") && !state.gpu.is_available {
        let why = format!("a GPU is required: {}", state.gpu.reason);
        return Err(Ended::Failed(why));
    }
    wait_for_dependencies(state, service, stop).await?;
    (state.board).change(&service.id, |status| {
        "starting".clone_into(&mut status.message);
    });
    for folder in &service.data_dirs {
        let made = state.folder.make_below(folder);
        made.map_err(|error| Ended::Failed(error.to_string()))?;
    }
    if !service.assets.is_empty() {
        let (state, id) = (Arc::clone(state), service.id.clone());
        let checked = tokio::task::spawn_blocking(move || match state.manifest.service(&id) {
            Some(service) => validate::assets(service, &state.bundle_root),
            None => Ok(()),
        });
        let checked = checked
            .await
            .unwrap_or_else(|_| Err("the check of assets broke off".into()));
        checked.map_err(Ended::Failed)?;
    }
    history::migrate(state, service, stop).await
}

async fn wait_for_dependencies(
    state: &State,
    service: &Service,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Ended> {
    if service.dependencies.is_empty() {
        return Ok(());
    }
    let list = service.dependencies.join(", ");
    state.board.change(&service.id, |status| {
        status.message = format!("waiting for {list}");
    });
    let mut changes = state.board.subscribe();
    let waiting = async {
        loop {
            changes.mark_unchanged();
            let mut is_waiting = false;
            for name in &service.dependencies {
                match state.board.of(name) {
                    None => return Err(format!("there is no service {name} to depend on")),
                    Some(status) if status.has_failed => {
                        return Err(format!("{name}, which it depends on, has failed"));
                    }
                    Some(status) => {
                        let is_fine = status.is_ready || status.is_skipped;
                        is_waiting |= !(is_fine || status.has_done_its_work());
                    }
                }
            }
            if !is_waiting || changes.changed().await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        waited = tokio::time::timeout(DEPENDENCY_TIMEOUT, waiting) => match waited {
            Ok(ready) => ready.map_err(Ended::Failed),
            Err(_) => Err(Ended::Failed(format!("{list} did not become ready"))),
        },
        _ = stop.wait_for(|stop| *stop) => Err(Ended::Stopped),
    }
}

/// One life of the program.
async fn live(
    state: &Arc<State>,
    service: &Service,
    stop: &mut watch::Receiver<bool>,
    again: &mut Again,
) -> Ended {
    let log = match Log::open(state, service) {
        Ok(log) => log,
        Err(why) => return Ended::Failed(why),
    };
    let begun = Instant::now();
    // Before its secrets are read: what is changed from now on is not in its program.
    again.mark();
    state.restarts.forget(&service.id);
    let started = Process::start(state, service, &log).await;
    let mut process = match started {
        Ok(process) => process,
        Err(why) => return Ended::Failed(why),
    };
    let leader = process.leader();
    if let Some(pid) = leader {
        state.leftovers.started(pid);
    }
    state.board.change(&service.id, |status| {
        status.started = Some(now());
        status.exit_code = None;
        "started".clone_into(&mut status.message);
    });
    (state.telemetry).note("service_start", Some(&service.id), json!(null));
    let watched = watch_over(state, service, &log);
    let ended = tokio::select! {
        exited = process.wait() => {
            let (code, how) = exited;
            Ended::Exited { code, how, lasted: begun.elapsed() }
        }
        why = watched => Ended::Failed(why),
        () = again.asked() => Ended::Again,
        _ = stop.wait_for(|stop| *stop) => Ended::Stopped,
    };
    if matches!(ended, Ended::Stopped) {
        wait_for_dependents(state, service).await;
        (state.board).change(&service.id, |status| {
            status.is_ready = false;
            "stopping".clone_into(&mut status.message);
        });
    }
    let code = process.end().await;
    if let Some(pid) = leader {
        state.leftovers.ended(pid);
    }
    if matches!(ended, Ended::Stopped | Ended::Again) {
        state.board.change(&service.id, |status| {
            status.is_ready = false;
            status.exit_code = code;
            "stopped".clone_into(&mut status.message);
        });
        let details = json!({ "exit_code": code });
        (state.telemetry).note("service_stop", Some(&service.id), details);
    }
    ended
}

/// Whoever depends on a service ends before it does.
async fn wait_for_dependents(state: &State, service: &Service) {
    let dependents: Vec<&str> = (state.manifest.services.iter())
        .filter(|other| other.dependencies.contains(&service.id))
        .map(|other| other.id.as_str())
        .collect();
    let mut changes = state.board.subscribe();
    loop {
        changes.mark_unchanged();
        let has_ended = |name: &&str| state.board.of(name).is_none_or(|status| status.has_ended);
        if dependents.iter().all(has_ended) || changes.changed().await.is_err() {
            return;
        }
    }
}

/// Notes when a service is ready and when it is not; returns when it does not become ready.
async fn watch_over(state: &Arc<State>, service: &Service, log: &Log) -> String {
    let limit = service.readiness.timeout;
    let ready = tokio::time::timeout(limit, health::wait_until_ready(state, service, log));
    if ready.await.is_err() {
        return format!("did not become ready within {} ms", limit.as_millis());
    }
    let set = |is_ready: bool, message: String| {
        state.board.change(&service.id, |status| {
            status.is_ready = is_ready;
            status.message = message;
        });
        let event = match is_ready {
            true => "service_ready",
            false => "service_unhealthy",
        };
        (state.telemetry).note(event, Some(&service.id), json!(null));
    };
    set(true, "ready".to_owned());
    if matches!(service.health.kind, HealthKind::LogMatch(_)) {
        std::future::pending::<()>().await;
    }
    let mut failures = 0;
    loop {
        tokio::time::sleep(service.health.interval.max(WATCH_INTERVAL)).await;
        match health::check(state, service, log).await {
            Ok(()) if failures > service.health.retries => {
                failures = 0;
                set(true, "ready".to_owned());
            }
            Ok(()) => failures = 0,
            Err(why) => {
                failures = failures.saturating_add(1);
                if failures == service.health.retries.saturating_add(1) {
                    set(false, format!("unhealthy: {why}"));
                }
            }
        }
    }
}
