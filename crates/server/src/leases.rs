//! Background work of leases: what is over is removed where it was made, a few at once.
//!
//! Of several servers on one store the one that holds the duty does it. Each removal leaves two
//! lines in the audit log; what cannot be noted is not done. What fails is tried again, later each
//! time; a database that does not answer is left alone for a while, with all its leases.

pub(crate) mod sweep;

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_core::port::UserError;
use strongroom_core::time::Span;
use strongroom_engine::Error;
use strongroom_engine::duty::Post;
use strongroom_engine::leases::Leased;
use strongroom_engine::leases::Stage;
use strongroom_engine::state::Found;
use strongroom_engine::state::Kind;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::audit::line::Entry;
use crate::core::Core;
use crate::core::Known;
use crate::databases;
use crate::databases::StaticRole;
use crate::node::Node;

/// Removals under way at once.
const AT_ONCE_MAX: usize = 8;
/// Leases that are looked at before the duty is looked at again.
const CHUNK: usize = 64;
/// So often it is looked what is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// So often it is looked whether the server is unsealed: from then on it watches who has the duty.
const FIRST: Duration = Duration::from_millis(100);
/// A database that did not answer is asked again after so long, in seconds.
const PAUSE_SECONDS: i64 = 10;
/// A server that is gone is followed up after so long, in seconds: nobody's credential lives for
/// much longer than its lease.
const DUTY_SECONDS: u16 = 2;
/// So often the duty is renewed while a database is waited for.
const RENEWAL: Duration = Duration::from_millis(500);
/// The status of a failed removal in the audit log: what was asked of the database was not done.
const FAILED: u16 = 502;

/// What the background work shares with the doors.
pub(crate) struct Driver {
    wake: tokio::sync::Notify,
    post: tokio::sync::Mutex<Post>,
}

impl Driver {
    pub(crate) fn new(holder: &str) -> Self {
        Self {
            wake: tokio::sync::Notify::new(),
            post: tokio::sync::Mutex::new(Post::new("leases", holder, DUTY_SECONDS)),
        }
    }

    /// Has it look at once.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// What is counted.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) issued: AtomicU64,
    pub(crate) revoked: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) irrevocable: AtomicU64,
    pub(crate) orphans: AtomicU64,
    pub(crate) orphans_removed: AtomicU64,
}

impl Counters {
    /// Name, kind, help and count of each.
    pub(crate) fn rows(&self) -> [(&'static str, &'static str, &'static str, u64); 6] {
        let row = |name, kind, help, counter: &AtomicU64| {
            (name, kind, help, counter.load(Ordering::Relaxed))
        };
        [
            row(
                "leases_issued_total",
                "counter",
                "Leases of dynamic credentials that were given.",
                &self.issued,
            ),
            row(
                "leases_revoked_total",
                "counter",
                "Leases whose credentials were removed.",
                &self.revoked,
            ),
            row(
                "lease_failures_total",
                "counter",
                "Attempts to revoke a lease that failed and are made again.",
                &self.failures,
            ),
            row(
                "leases_irrevocable",
                "gauge",
                "Leases that could not be revoked so far, as the last sweep has found.",
                &self.irrevocable,
            ),
            row(
                "lease_orphans",
                "gauge",
                "Users of databases without a lease that could not be removed.",
                &self.orphans,
            ),
            row(
                "lease_orphans_removed_total",
                "counter",
                "Users of databases without a lease that were removed.",
                &self.orphans_removed,
            ),
        ]
    }

    pub(crate) fn note_issued(&self) {
        self.issued.fetch_add(1, Ordering::Relaxed);
    }
}

/// Removes what is over, until the server stops.
pub(crate) async fn work(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut last_failure = None;
    let mut sweeps = JoinSet::new();
    sweeps.spawn(sweep::work(Arc::clone(&node)));
    let mut interval = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = node.leases.wake.notified() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let Some(core) = node.core() else {
            interval = FIRST;
            continue;
        };
        interval = INTERVAL;
        let stopping = stop.clone();
        let result = run_once(&node, &core, &|| *stopping.borrow()).await;
        let failure = result.err().map(|error| error.to_string());
        // The same failure every second would fill the log.
        if let Some(text) = failure.as_ref().filter(|_| failure != last_failure) {
            node.log
                .error(&format!("leases that are over are looked at later: {text}"));
        }
        last_failure = failure;
    }
    sweeps.shutdown().await;
    if let Some(core) = node.core() {
        let mut post = node.leases.post.lock().await;
        let _ = post.lay_down(&core.state, node.now()).await;
    }
}

/// Whether this server does the work now.
pub(crate) async fn has_duty(node: &Node, core: &Core) -> Result<bool, Error> {
    let mut post = node.leases.post.lock().await;
    post.take(&core.state, node.moment()).await
}

/// One round of background work.
pub(crate) async fn run_once(
    node: &Arc<Node>,
    core: &Arc<Core>,
    is_stopping: &(dyn Fn() -> bool + Send + Sync),
) -> Result<(), Error> {
    core.refresh().await?;
    node.leases
        .post
        .lock()
        .await
        .watch(&core.state, node.moment())
        .await?;
    for departed in core.state.due_departed(node.now()).await? {
        loop {
            if is_stopping() || !has_duty(node, core).await? {
                return Ok(());
            }
            if !core.state.doom_some(departed, node.now()).await? {
                break;
            }
        }
    }
    loop {
        let due = core.state.due_leases(node.now()).await?;
        let is_last = due.len() < CHUNK;
        for chunk in due.chunks(CHUNK) {
            if is_stopping() || !has_duty(node, core).await? {
                return Ok(());
            }
            on_duty(node, core, remove_some(node, core, chunk)).await?;
        }
        if is_last {
            break;
        }
    }
    for (record, name) in core.state.due(Kind::DatabaseStaticRole, node.now()).await? {
        if is_stopping() || !has_duty(node, core).await? {
            return Ok(());
        }
        let found = core.state.open::<StaticRole>(&record)?;
        rotate(node, core, &name, found).await?;
    }
    Ok(())
}

/// Waits for work, and keeps the duty meanwhile.
async fn on_duty<T>(node: &Node, core: &Core, doing: impl Future<Output = T>) -> T {
    let mut doing = std::pin::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return done,
            () = tokio::time::sleep(RENEWAL) => {
                // Lost or not, the work ends: it may be done twice.
                let _ = has_duty(node, core).await;
            }
        }
    }
}

/// Removes some leases: a database that does not answer keeps those of others from nothing.
async fn remove_some(
    node: &Arc<Node>,
    core: &Arc<Core>,
    chunk: &[Found<Leased>],
) -> Result<(), Error> {
    let mut by_database: HashMap<_, Vec<Found<Leased>>> = HashMap::new();
    for found in chunk {
        let key = (found.value.mount, found.value.connection.clone());
        by_database.entry(key).or_default().push(found.clone());
    }
    let mut databases = JoinSet::new();
    for leases in by_database.into_values() {
        let (node, core) = (Arc::clone(node), Arc::clone(core));
        databases.spawn(async move { remove_of_one(&node, &core, leases).await });
    }
    while let Some(done) = databases.join_next().await {
        // Where a bug ended it, they are due again.
        if let Ok(done) = done {
            done?;
        }
    }
    Ok(())
}

/// Removes leases of one database, later where it does not answer.
async fn remove_of_one(
    node: &Arc<Node>,
    core: &Arc<Core>,
    leases: Vec<Found<Leased>>,
) -> Result<(), Error> {
    let mut rest = leases;
    // The first one finds out whether the database answers at all.
    let Some(first) = (!rest.is_empty()).then(|| rest.remove(0)) else {
        return Ok(());
    };
    if !remove_noted(node, core, &first).await? {
        let later = node.now().plus(Span::from_seconds(PAUSE_SECONDS));
        return core.state.postpone_leases(&rest, later).await;
    }
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE_MAX
            && let Some(found) = rest.pop()
        {
            let (node, core) = (Arc::clone(node), Arc::clone(core));
            running.spawn(async move { remove_noted(&node, &core, &found).await });
        }
        match running.join_next().await {
            Some(Ok(done)) => done.map(drop)?,
            // A bug ended it: it is due again.
            Some(Err(_)) => {}
            None => return Ok(()),
        }
    }
}

/// Removes what a lease stands for, between two lines in the audit log, and notes what became of
/// it; false when its database does not answer.
async fn remove_noted(node: &Node, core: &Core, found: &Found<Leased>) -> Result<bool, Error> {
    let leased = &found.value;
    let request_id = crate::node::new_nonce(&*node.rng);
    let table = core.mounts();
    let entry = Entry {
        at: node.wall(),
        request_id: &request_id,
        operation: "revoke",
        path: &leased.lease_id,
        mount: table.by_uuid(leased.mount).map(|live| &**live),
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
        caller: None::<&Known>,
        wrap_ttl: None,
        headers: None,
    };
    let lines = entry.lines();
    let data = told(leased);
    if core
        .audit
        .write(&[&lines.request(Some(&data))])
        .await
        .is_err()
    {
        let error = "the audit log cannot be written: the removal waits until it can";
        core.state.fail_lease(found, node.now(), error).await?;
        return Ok(true);
    }
    let result = remove(node, core, found).await;
    let text = result.as_ref().err().map(ToString::to_string);
    let status = if text.is_some() { FAILED } else { 200 };
    let line = lines.response(status, Some(&data), text.as_deref());
    let _ = core.audit.write(&[&line]).await;
    match result {
        Ok(()) => Ok(true),
        Err(RemoveError::Engine(error)) => Err(error),
        Err(RemoveError::User(error)) => {
            failed(node, core, found, &error).await?;
            let is_away = matches!(
                error,
                UserError::Unreachable { .. } | UserError::Lost { .. }
            );
            Ok(!is_away)
        }
    }
}

/// What the audit log says of a removal: names only.
fn told(leased: &Leased) -> String {
    let why = match leased.stage {
        Stage::Begun => "never given out",
        Stage::Live => "over",
        Stage::Leaving => "revoked",
    };
    serde_json::json!({
        "lease": why,
        "username": leased.username,
        "attempt": leased.attempts + 1,
    })
    .to_string()
}

/// Notes that a removal failed.
pub(crate) async fn failed(
    node: &Node,
    core: &Core,
    found: &Found<Leased>,
    error: &UserError,
) -> Result<(), Error> {
    node.metrics.leases.failures.fetch_add(1, Ordering::Relaxed);
    let text = error.to_string();
    core.state.fail_lease(found, node.now(), &text).await?;
    // The first failure and those that make it one that is shown; more would fill the log.
    if matches!(found.value.attempts, 0 | 5) {
        let lease = &found.value.lease_id;
        node.log.error(&format!(
            "the lease {lease} could not be revoked, and is tried again: {text}"
        ));
    }
    Ok(())
}

/// Why a lease was not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Removes what a lease stands for, and then the lease.
pub(crate) async fn remove(
    node: &Node,
    core: &Core,
    found: &Found<Leased>,
) -> Result<(), RemoveError> {
    let leased = &found.value;
    let owner = strongroom_engine::tokens::owner_of(strongroom_core::port::RecordId(leased.mount));
    let users = databases::users_of(node, core, &owner, &leased.connection).await?;
    users.remove(&leased.username, &leased.revocation).await?;
    core.state.end_lease(found).await?;
    node.metrics.leases.revoked.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Changes the password of a static role whose time is over.
async fn rotate(
    node: &Node,
    core: &Core,
    name: &str,
    found: Found<StaticRole>,
) -> Result<(), Error> {
    let table = core.mounts();
    let Some(live) = table.by_uuid(found.value.mount) else {
        return Ok(());
    };
    let request_id = crate::node::new_nonce(&*node.rng);
    let path = format!("{}rotate-role/{name}", live.path);
    let entry = Entry {
        at: node.wall(),
        request_id: &request_id,
        operation: "update",
        path: &path,
        mount: Some(live),
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
        caller: None::<&Known>,
        wrap_ttl: None,
        headers: None,
    };
    let lines = entry.lines();
    if core.audit.write(&[&lines.request(None)]).await.is_err() {
        return Ok(());
    }
    let result = databases::rotate_static(node, core, &live.owner, name, found).await;
    let error = result.err().map(|fault| fault.answer().1.join("; "));
    if let Some(text) = &error {
        node.log.error(&format!(
            "{path}: the password was not changed, and is tried again: {text}"
        ));
    }
    let status = if error.is_some() { FAILED } else { 200 };
    let line = lines.response(status, None, error.as_deref());
    let _ = core.audit.write(&[&line]).await;
    Ok(())
}
