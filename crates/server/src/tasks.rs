//! Background work: each task is idempotent, notes its failures and ends when the server does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_engine::Error;
use strongroom_engine::context::OpContext;
use strongroom_engine::departures::Due;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

use crate::audit::Device;
use crate::core::Core;
use crate::node::Node;
use crate::tls::Tls;

/// So often it is looked what is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// How far audit files go is noted once in so many rounds.
const ROUNDS_PER_HEAD: u64 = 10;
/// So often certificates are looked at.
const TLS_INTERVAL: Duration = Duration::from_secs(5);

/// Clears what has expired and removes what was unmounted, until the server stops.
pub(crate) async fn housekeeping(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut last_failure = None;
    let mut rounds = 0_u64;
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = node.wake.notified() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let Some(core) = node.core() else {
            continue;
        };
        rounds += 1;
        if let Err(error) = node.follow_header().await {
            node.log
                .error(&format!("the store's keys cannot be read anew: {error}"));
        }
        if let Err(fault) = node.retire_slots(&core, Some(node.now())) {
            let detail = fault.detail().unwrap_or_default();
            node.log
                .error(&format!("old unseal shares cannot be ended yet: {detail}"));
        }
        let rotated = crate::vault::keys::rotate_if_due(&node, &core).await;
        let rotated = rotated.map_err(|fault| fault.detail().unwrap_or_default());
        let mut result = run_once(&node, &core).await;
        let devices = core.audit.devices();
        let begun = devices.iter().filter_map(Device::file);
        let begun = begun.filter(|file| file.take_is_begun()).count();
        if (begun > 0 || rounds.is_multiple_of(ROUNDS_PER_HEAD)) && result.is_ok() {
            result = crate::audit::chains::note(&core, node.now()).await;
        }
        let failure = result.err().map(|error| error.to_string());
        let failure = failure.or_else(|| Some(format!("a new data key: {}", rotated.err()?)));
        // The same failure every second would fill the log.
        if let Some(text) = failure.as_ref().filter(|_| failure != last_failure) {
            node.log.error(&format!(
                "background work failed, and is tried again: {text}"
            ));
        }
        last_failure = failure;
    }
    if let Some(core) = node.core() {
        // Another server need not wait for the end of the lease; where this fails, it waits.
        let _ = (node.upkeep.lock().await)
            .lay_down(&core.state, node.now())
            .await;
    }
}

/// One round of background work. Of several servers on one store the one that holds the lease does
/// it; each step asks anew, so that nobody works on when another has taken over.
pub(crate) async fn run_once(node: &Node, core: &Core) -> Result<(), Error> {
    core.refresh().await?;
    let mut post = node.upkeep.lock().await;
    for id in core.state.due_tokens(node.now()).await? {
        if !post.take(&core.state, node.moment()).await? {
            return Ok(());
        }
        let gone = core.state.revoke(id).await?.len() as u64;
        node.metrics
            .tokens_expired
            .fetch_add(gone, Ordering::Relaxed);
    }
    if core.state.has_due_keys(node.now()).await? {
        if !post.take(&core.state, node.moment()).await? {
            return Ok(());
        }
        core.state.clear_keys(node.now()).await?;
    }
    for due in core.state.due_departures(node.now()).await? {
        if !post.take(&core.state, node.moment()).await? {
            return Ok(());
        }
        remove_departed(node, core, &due).await?;
    }
    for doomed in core.state.doomed().await? {
        if !post.take(&core.state, node.moment()).await? {
            return Ok(());
        }
        crate::vault::sys::mounts::forget(&core.state, &doomed.value).await?;
        loop {
            if !post.take(&core.state, node.moment()).await? {
                return Ok(());
            }
            if !core.state.remove_some(&doomed).await? {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Removes a secret whose planned deletion is due, unless it was taken back.
async fn remove_departed(node: &Node, core: &Core, due: &Due) -> Result<(), Error> {
    let mounts = core.mounts();
    let live = mounts.by_uuid(due.departure.mount);
    if let (Some(live), Some(path)) = (live, due.departure.secret()) {
        let context = OpContext {
            actor: "server".into(),
            door: "background".into(),
            request_id: String::new(),
            now: node.now(),
        };
        if live.secrets.remove_if_due(&context, &path).await? {
            let secret = live.secrets.secret_id(&path);
            core.state.forget_accessed(secret).await?;
        }
    }
    core.state.clear_departure(due).await
}

/// The signals SIGHUP from now on. One that comes before there is anybody to hear it would end the
/// process, so that this is made before a server says that it serves.
pub struct HangUps(Option<Signal>);

impl HangUps {
    /// Begins to listen; has to be called in the runtime.
    #[must_use]
    pub fn begin() -> Self {
        Self(tokio::signal::unix::signal(SignalKind::hangup()).ok())
    }
}

/// After a hang-up, audit files are opened anew (somebody has moved the old ones away) and
/// certificates are looked at.
pub(crate) async fn hang_ups(
    node: Arc<Node>,
    tls: Option<Arc<Tls>>,
    hang_ups: HangUps,
    mut stop: watch::Receiver<bool>,
) {
    let Some(mut hang_up) = hang_ups.0 else {
        return;
    };
    loop {
        tokio::select! {
            _ = hang_up.recv() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Some(core) = node.core() {
            open_audit_files_anew(&node, &core).await;
        }
        if let Some(Err(error)) = tls.as_ref().map(|tls| tls.reload()) {
            node.log
                .error(&format!("the old TLS certificate stays: {error}"));
        }
    }
}

/// New files have chains of their own, and how far the old ones went says nothing of them.
async fn open_audit_files_anew(node: &Node, core: &Core) {
    let devices = core.audit.devices();
    let files = devices.iter().filter_map(Device::file);
    let opened: Vec<_> = files
        .map(|file| (file.name.clone(), file.reopen()))
        .collect();
    if let Err(error) = crate::audit::chains::note(core, node.now()).await {
        node.log.error(&format!(
            "how far the audit files go cannot be noted: {error}"
        ));
    }
    for (name, result) in opened {
        match result {
            Ok(()) => node.log.info(&format!("audit file {name} opened anew")),
            Err(error) => node
                .log
                .error(&format!("audit file {name} cannot be opened anew: {error}")),
        }
    }
}

/// Reads certificates anew when their files change, until the server stops.
pub(crate) async fn watch_certificates(
    node: Arc<Node>,
    tls: Arc<Tls>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TLS_INTERVAL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match tls.reload() {
            Ok(true) => node.log.info("the TLS certificate was read anew"),
            Ok(false) => {}
            Err(error) => node
                .log
                .error(&format!("the old TLS certificate stays: {error}")),
        }
    }
}
