//! The driver of rotations: looks what is due and does it step by step, a few at once.
//!
//! What is cut off goes on at the next start, or in another server on the same store once the
//! lease is over. Each step leaves two lines in the audit log; what cannot be noted is not done.

mod endpoint;
mod expiry;
pub(crate) mod mail;
pub(crate) mod notices;
pub(crate) mod overlap;
pub(crate) mod policies;
pub(crate) mod rotators;

use std::collections::HashSet;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_core::path::SecretPath;
use strongroom_core::port::RecordId;
use strongroom_core::port::Rng;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::Variables;
use strongroom_engine::Error;
use strongroom_engine::context::OpContext;
use strongroom_engine::duty::LEASE_SECONDS;
use strongroom_engine::duty::Post;
use strongroom_engine::mounts::Engines;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::Claim;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Work;
use strongroom_engine::state::Found;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::audit::line::Entry;
use crate::core::Core;
use crate::core::Known;
use crate::core::Live;
use crate::node::Node;

/// Rotations under way at once.
const AT_ONCE_MAX: usize = 8;
/// So often it is looked what is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// It is looked for secrets that policies are for once in so many rounds.
const LOOKS_PER_SCAN: u64 = 600;
/// So often the lease is renewed while a step is done.
const RENEWAL: Duration = Duration::from_secs(5);
/// The status of a failed step in the audit log: what was asked of the rotator was not done.
const FAILED: u16 = 502;

/// What the driver shares with the doors.
pub(crate) struct Driver {
    holder: String,
    /// Where programs lie that may rotate.
    commands: OnceLock<PathBuf>,
    /// The file of notices.
    notices: OnceLock<PathBuf>,
    /// Whether notices stand in the operators' log, too.
    logs_notices: OnceLock<()>,
    /// What rotators log in to other servers with.
    backends: OnceLock<Variables>,
    /// Whether this server looks after policies and reminders, of those on one store.
    duty: tokio::sync::Mutex<Post>,
    wake: tokio::sync::Notify,
}

impl Driver {
    pub(crate) fn new(rng: &dyn Rng) -> Self {
        let holder = crate::node::new_nonce(rng);
        Self {
            duty: tokio::sync::Mutex::new(Post::new("rotation", &holder, LEASE_SECONDS)),
            holder,
            commands: OnceLock::new(),
            notices: OnceLock::new(),
            logs_notices: OnceLock::new(),
            backends: OnceLock::new(),
            wake: tokio::sync::Notify::new(),
        }
    }

    /// What this process is called in leases.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Whether a program may be run: it lies in the folder for that, also when links are
    /// followed.
    pub(crate) fn may_run(&self, program: &str) -> Result<(), String> {
        let Some(folder) = self.commands.get() else {
            return Err(
                "this server runs no programs: its setting `rotation.commands` names a \
                        folder of those that it may"
                    .into(),
            );
        };
        let real = |path: &Path| path.canonicalize().ok();
        let lies_in = real(Path::new(program)).and_then(|path| path.parent().map(Path::to_owned));
        match (lies_in, real(folder)) {
            (Some(lies_in), Some(folder)) if lies_in == folder => Ok(()),
            _ => Err(format!("{program} is no program in {}", folder.display())),
        }
    }

    /// The variables that rotators may take credentials for other servers from.
    fn backends(&self) -> Variables {
        self.backends.get().cloned().unwrap_or_default()
    }

    /// Has it look at once.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Node {
    /// Lets rotators run the programs in a folder, from now on.
    pub fn allow_rotation_commands(&self, folder: PathBuf) {
        // The first one stays.
        let _ = self.rotate.commands.set(folder);
    }
}

impl Node {
    /// Lets rotators log in to other servers with what these variables say, from now on.
    pub fn allow_rotation_backends(&self, variables: Variables) {
        // The first ones stay.
        let _ = self.rotate.backends.set(variables);
    }
}

impl Node {
    /// Writes notices of rotations to the operators' log, from now on.
    pub fn log_rotation_notices(&self) {
        // It may be said twice.
        let _ = self.rotate.logs_notices.set(());
    }
}

impl Node {
    /// Writes notices of rotations to a file, from now on.
    pub fn write_rotation_notices(&self, file: PathBuf) {
        // The first one stays.
        let _ = self.rotate.notices.set(file);
    }
}

/// The rotations of a mount's secrets.
pub(crate) fn rotations(node: &Node, core: &Core, live: &Live) -> Rotations {
    let rotations = Rotations::new(
        core.state.clone(),
        live.secrets.clone(),
        &node.rotate.holder,
    );
    let (prefix, source) = crate::ledger::name_of(live, "");
    rotations.in_ledger(&prefix, &source)
}

/// Rotates what is due, until the server stops.
pub(crate) async fn work(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut round = Round::default();
    let mut looks = 0_u64;
    let mut scan = policies::Scan::default();
    loop {
        let is_full = round.busy.len() >= AT_ONCE_MAX;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL), if !is_full => {}
            () = node.rotate.wake.notified(), if !is_full => {}
            Some(done) = round.running.join_next() => round.ended(done.ok()),
            // What is under way goes on at the next start.
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let Some(core) = node.core() else { continue };
        round.fill(&node, &core).await;
        if looks.is_multiple_of(LOOKS_PER_SCAN) {
            if let Err(error) = scan.round(&node, &core).await {
                node.log.error(&format!(
                    "policies of rotation cannot be applied, and are tried again: {error}"
                ));
            }
            round.look_ahead(&node, &core).await;
        }
        looks += 1;
    }
    round.running.shutdown().await;
    if let Some(core) = node.core() {
        // Another server need not wait for the end of the lease; where this fails, it waits.
        let _ = (node.rotate.duty.lock().await)
            .lay_down(&core.state, node.now())
            .await;
    }
}

/// What is under way, and what waits for its turn.
#[derive(Default)]
struct Round {
    running: JoinSet<RecordId>,
    busy: HashSet<RecordId>,
    waiting: VecDeque<Found<Rotation>>,
    last_failure: Option<String>,
}

impl Round {
    fn ended(&mut self, id: Option<RecordId>) {
        match id {
            Some(id) => {
                self.busy.remove(&id);
            }
            // A bug ended it; which one it was shows when all others have ended.
            None if self.running.is_empty() => self.busy.clear(),
            None => {}
        }
    }

    /// Those that wait for a time of a clock that was set back go on with the others.
    async fn look_ahead(&mut self, node: &Node, core: &Core) {
        match core.state.rotations_ahead(node.now()).await {
            Ok(found) => self.waiting.extend(found),
            Err(error) => node.log.error(&format!(
                "rotations of a clock that was ahead are looked at later: {error}"
            )),
        }
    }

    /// Begins as many as may be under way at once.
    async fn fill(&mut self, node: &Arc<Node>, core: &Arc<Core>) {
        if self.waiting.is_empty() && self.busy.len() < AT_ONCE_MAX {
            let failure = match core.state.due_rotations(node.now()).await {
                Ok(due) => {
                    self.waiting.extend(due);
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            // The same failure every second would fill the log.
            if let Some(text) = failure.as_ref().filter(|_| failure != self.last_failure) {
                node.log.error(&format!(
                    "it cannot be told which rotations are due: {text}"
                ));
            }
            self.last_failure = failure;
        }
        while self.busy.len() < AT_ONCE_MAX {
            let Some(found) = self.waiting.pop_front() else {
                return;
            };
            if !self.busy.insert(found.id) {
                continue;
            }
            let (node, core) = (Arc::clone(node), Arc::clone(core));
            self.running.spawn(async move {
                if let Err(error) = drive(&node, &core, &found).await {
                    let path = &found.value.path;
                    node.log.error(&format!(
                        "the rotation of {path} was interrupted, and goes on later: {error}"
                    ));
                }
                found.id
            });
        }
    }
}

/// Drives one rotation as far as it goes now.
async fn drive(node: &Node, core: &Core, found: &Found<Rotation>) -> Result<(), Error> {
    let Ok(path) = found.value.path.parse::<SecretPath>() else {
        return Ok(());
    };
    let mounts = core.mounts();
    let kv = mounts.all();
    let mut kv = kv.filter(|live| matches!(live.mount.engine, Engines::Kv1 | Engines::Kv2));
    let live = kv.find(|live| rotations(node, core, live).is_own(found));
    let Some(live) = live.map(Arc::clone) else {
        return Ok(());
    };
    let rotations = rotations(node, core, &live);
    drive_run(node, core, &live, &rotations, &path).await?;
    overlap::drive(node, core, &live, &rotations, &path).await
}

async fn drive_run(
    node: &Node,
    core: &Core,
    live: &Live,
    rotations: &Rotations,
    path: &SecretPath,
) -> Result<(), Error> {
    let Some(mut claim) = rotations.claim(&context(node), path).await? else {
        return Ok(());
    };
    loop {
        let Some(work) = rotations.begin(claim, node.now()).await? else {
            return Ok(());
        };
        let result = step(node, core, live, rotations, &work).await;
        if let Err(error) = &result {
            let run = work.claim().run();
            node.log.error(&format!(
                "{} of the rotation of {path} failed ({}): {}",
                run.step, error.code, error.message
            ));
            let (step, why) = (
                run.step.word(),
                (error.code.as_str(), error.message.as_str()),
            );
            notices::tell_failure(node, core, path.as_str(), step, why).await?;
        }
        if work.claim().run().step == Step::Finish {
            // How often the old value was read before counts from here.
            crate::ledger::write(core, node.now(), true).await?;
        }
        match rotations.complete(&context(node), work, result).await? {
            After::More(next) => claim = next,
            After::Finished => {
                node.metrics.rotations.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            After::Again(_) => {
                node.metrics
                    .rotation_failures
                    .fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            After::GivenUp | After::Lost => return Ok(()),
        }
    }
}

/// Does a step between its two lines in the audit log.
async fn step(
    node: &Node,
    core: &Core,
    live: &Live,
    rotations: &Rotations,
    work: &Work,
) -> Result<(), RotatorError> {
    let claim = work.claim();
    let told = told(claim);
    let audited = audited(node, core, live, claim.path(), &told, async {
        let rotator = rotators::of(node, core, live, claim.rotator()).await?;
        let context = context(node);
        let doing = rotations.perform(&context, work, &*rotator);
        held(node, rotations, work, doing).await
    });
    Box::pin(audited).await
}

/// Does something between its two lines in the audit log.
async fn audited(
    node: &Node,
    core: &Core,
    live: &Live,
    path: &SecretPath,
    data: &str,
    doing: impl Future<Output = Result<(), RotatorError>>,
) -> Result<(), RotatorError> {
    let request_id = crate::node::new_nonce(&*node.rng);
    let audited = format!("{}data/{path}", live.path);
    let entry = Entry {
        at: node.wall(),
        request_id: &request_id,
        operation: "update",
        path: &audited,
        mount: Some(live),
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
        caller: None::<&Known>,
        wrap_ttl: None,
        headers: None,
    };
    let noted = |_| {
        let message = "the audit log cannot be written: the step waits until it can";
        RotatorError::new("audit.unwritable", message)
    };
    let lines = entry.lines();
    core.audit
        .write(&[&lines.request(Some(data))])
        .await
        .map_err(noted)?;
    core.audit.sync().await.map_err(noted)?;
    let result = doing.await;
    let error = result.as_ref().err().map(ToString::to_string);
    let status = if error.is_some() { FAILED } else { 200 };
    let line = lines.response(status, Some(data), error.as_deref());
    core.audit.write(&[&line]).await.map_err(noted)?;
    result
}

/// What the audit log says of a step: names only.
fn told(claim: &Claim) -> String {
    serde_json::json!({
        "rotation": claim.run().step.word(),
        "token": claim.run().token,
        "rotator": claim.rotator(),
        "attempt": claim.run().attempts + 1,
    })
    .to_string()
}

/// Waits for a step and keeps the lease meanwhile.
async fn held<T>(
    node: &Node,
    rotations: &Rotations,
    work: &Work,
    doing: impl Future<Output = T>,
) -> T {
    let mut doing = std::pin::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return done,
            () = tokio::time::sleep(RENEWAL) => {
                // Lost or not, the step ends; what it did is noted only where it is still ours.
                let _ = rotations.renew(work, node.now()).await;
            }
        }
    }
}

fn context(node: &Node) -> OpContext {
    OpContext {
        actor: "server".into(),
        door: "rotation".into(),
        request_id: String::new(),
        now: node.now(),
    }
}

/// Rotates all that is due, one after the other.
#[cfg(test)]
pub(crate) async fn run_due(node: &Arc<Node>) {
    let core = node.core().unwrap();
    for found in core.state.due_rotations(node.now()).await.unwrap() {
        drive(node, &core, &found).await.unwrap();
    }
}
