//! Telling people of rotations: what failed, what waits, what comes. To webhooks, signed, by mail,
//! to a file and to the operators' log; what is not taken is tried again.
//!
//! Each notice is told once: its key is noted before. None holds a value.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::rotation::Notice;
use strongroom_engine::rotation::Planned;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Turn;
use strongroom_engine::rotation::WAITS;
use strongroom_engine::rotation::policy_of;
use tokio::sync::watch;

use super::endpoint::Endpoint;
use super::expiry;
use super::mail;
use super::overlap;
use super::policies;
use crate::core::Core;
use crate::node::Node;

/// So often it is looked what is to be told.
const INTERVAL: Duration = Duration::from_secs(1);
/// So many rounds are between two looks at what comes, fails and waits.
const ROUNDS_PER_LOOK: u64 = 60;
/// Longest time of a webhook, in seconds.
const TIMEOUT_SECONDS: u32 = 15;
/// What the file is called among those who are told.
const FILE: &str = "\u{0}file";
/// What the operators' log is called among them.
const LOG: &str = "\u{0}log";
/// What stands before the name of who gets mail.
const MAIL: &str = "\u{0}mail\u{0}";
const DAY_MICROS: i64 = 86_400 * 1_000_000;
const DAY: Span = Span::from_seconds(86_400);

/// What happened, or will.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Which kind of thing: `rotation.failed` and the like.
    pub(crate) what: &'a str,
    /// The secret.
    pub(crate) path: &'a str,
    /// In words, without values.
    pub(crate) message: &'a str,
    /// What makes it this one: it is told once.
    pub(crate) key: &'a str,
}

/// Has everybody told.
pub(crate) async fn tell(node: &Node, core: &Core, event: &Event<'_>) -> Result<(), Error> {
    let now = node.now();
    let webhooks = core.state.webhooks().await?;
    let mails = core.state.mail_targets().await?;
    let mut all: Vec<String> = webhooks.into_iter().map(|(name, _)| name).collect();
    all.extend(mails.into_iter().map(|(name, _)| format!("{MAIL}{name}")));
    all.extend(node.rotate.notices.get().map(|_| FILE.to_owned()));
    all.extend(node.rotate.logs_notices.get().map(|()| LOG.to_owned()));
    if all.is_empty() {
        return Ok(());
    }
    let policies = core.state.rotation_policies().await?;
    let policy = policy_of(&policies, event.path);
    let body = json!({
        "event": event.what,
        "secret": event.path,
        "at": now.to_string(),
        "message": event.message,
        "policy": policy.map(|(name, _)| name),
        "owner": policy.and_then(|(_, policy)| policy.owner.as_deref()),
    })
    .to_string();
    for to in all {
        let notice = Notice {
            key: format!("{}\u{0}{}\u{0}{}", event.what, event.path, event.key),
            to,
            body: body.clone(),
            made: now,
            attempts: 0,
            is_told: false,
        };
        core.state.add_notice(&notice).await?;
    }
    Ok(())
}

/// Has everybody told of a failure: once a day for each step.
pub(super) async fn tell_failure(
    node: &Node,
    core: &Core,
    path: &str,
    step: &str,
    (code, message): (&str, &str),
) -> Result<(), Error> {
    let day = node.now().as_micros().div_euclid(DAY_MICROS);
    let what = match code {
        WAITS => "rotation.waits",
        _ => "rotation.failed",
    };
    let event = Event {
        what,
        path,
        message: &format!("{step} of {path}: {message} ({code})"),
        key: &format!("{step}\u{0}{code}\u{0}{day}"),
    };
    tell(node, core, &event).await
}

/// Tells what is due until the server stops.
pub(crate) async fn work(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut rounds = 0_u64;
    let mut last_failure = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Some(core) = node.core() else { continue };
        let looked = match rounds.is_multiple_of(ROUNDS_PER_LOOK) {
            true => look_ahead(&node, &core).await,
            false => Ok(()),
        };
        rounds += 1;
        let delivered = tokio::select! {
            delivered = deliver(&node, &core) => delivered,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let failure = looked.and(delivered).err().map(|error| error.to_string());
        // The same failure every second would fill the log.
        if let Some(text) = failure.as_ref().filter(|_| failure != last_failure) {
            node.log
                .error(&format!("notices of rotations cannot be told yet: {text}"));
        }
        last_failure = failure;
    }
}

/// Has people told of what comes, once a day before it, and on the day; and counts what fails and
/// what waits. Of several servers one does.
pub(crate) async fn look_ahead(node: &Node, core: &Core) -> Result<(), Error> {
    let is_ours = {
        let mut post = node.rotate.duty.lock().await;
        post.take(&core.state, node.moment()).await?
    };
    let rotations = match is_ours {
        true => core.state.rotations().await?,
        false => Vec::new(),
    };
    count(node, core, &rotations).await?;
    let policies = core.state.rotation_policies().await?;
    expiry::look(node, core, &rotations, &policies).await?;
    let now = node.now();
    for rotation in rotations {
        let policy = policy_of(&policies, &rotation.path).map(|(_, policy)| policy);
        let before = policy.and_then(|policy| policy.notify_before);
        let (Some(before), Some(Planned { begins, .. })) = (before, rotation.next) else {
            continue;
        };
        if now.plus(before) < begins || rotation.run.is_some() || !rotation.setup.is_enabled {
            continue;
        }
        let (today, day) = (day_of(now), day_of(begins));
        let what = match today < day {
            true => "rotation.coming",
            false => "rotation.due",
        };
        let event = Event {
            what,
            path: &rotation.path,
            message: &format!("{} is rotated at {begins}", rotation.path),
            key: &format!("{today}\u{0}{day}"),
        };
        tell(node, core, &event).await?;
    }
    Ok(())
}

/// What metrics say of all rotations.
async fn count(node: &Node, core: &Core, all: &[Rotation]) -> Result<(), Error> {
    let has_failed = |rotation: &&Rotation| {
        let run = rotation.run.as_ref().and_then(|run| run.failure.as_ref());
        let overlap = rotation.overlap.as_ref();
        run.is_some_and(|failure| failure.error.code != WAITS)
            || overlap.is_some_and(|overlap| overlap.failure.is_some())
    };
    let failing = all.iter().filter(has_failed).count();
    let (mut open, mut behind) = (0, 0);
    let live = core.mounts().get(policies::MOUNT).map(Arc::clone);
    for rotation in all.iter().filter(|one| one.overlap.is_some()) {
        open += 1;
        if let Some(live) = &live {
            let rotations = super::rotations(node, core, live);
            let progress = overlap::progress(node, core, &rotations, rotation).await?;
            behind += progress.map_or(0, |progress| progress.behind().count());
        }
    }
    let metrics = &node.metrics;
    metrics
        .rotations_failing
        .store(failing as u64, Ordering::Relaxed);
    metrics.rotation_overlaps.store(open, Ordering::Relaxed);
    metrics
        .consumers_behind
        .store(behind as u64, Ordering::Relaxed);
    Ok(())
}

pub(super) fn day_of(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(DAY.as_seconds() * 1_000_000)
}

/// Tells the notices that are due.
pub(crate) async fn deliver(node: &Node, core: &Core) -> Result<(), Error> {
    for found in core.state.due_notices(node.now()).await? {
        let notice = match core.state.take_notice(found, node.now()).await? {
            Turn::Tell(found) => found,
            Turn::Dropped(notice) => {
                let (to, key) = (shown(&notice.to), notice.key.replace('\u{0}', " "));
                node.log
                    .error(&format!("{to} was never told of a rotation: {key}"));
                continue;
            }
            Turn::None => continue,
        };
        let body = &notice.value.body;
        let done = match notice.value.to.as_str() {
            FILE => write_line(node.rotate.notices.get(), body),
            LOG => {
                node.log.info(&format!("notice: {}", said(body)));
                Ok(())
            }
            name => match name.strip_prefix(MAIL) {
                Some(name) => mail::send(node, core, name, &notice.value).await?,
                None => send(node, core, name, body).await?,
            },
        };
        match done {
            Ok(()) => core.state.told_notice(*notice, node.now()).await?,
            Err(why) => {
                let to = shown(&notice.value.to);
                node.log
                    .error(&format!("{to} cannot be told of a rotation yet: {why}"));
            }
        }
    }
    Ok(())
}

fn shown(to: &str) -> &str {
    match to {
        FILE => "the file of notices",
        LOG => "the log",
        name => name.strip_prefix(MAIL).unwrap_or(name),
    }
}

/// What a notice says, for people: the event and the message.
fn said(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    format!("{}: {}", text("event"), text("message"))
}

fn write_line(file: Option<&PathBuf>, body: &str) -> Result<(), String> {
    let Some(path) = file else {
        // The setting was taken away: nobody is left to be told.
        return Ok(());
    };
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    let written = opened.and_then(|mut file| file.write_all(format!("{body}\n").as_bytes()));
    written.map_err(|error| error.kind().to_string())
}

async fn send(
    node: &Node,
    core: &Core,
    name: &str,
    body: &str,
) -> Result<Result<(), String>, Error> {
    let Some(webhook) = core.state.webhook(name).await? else {
        // It was forgotten meanwhile.
        return Ok(Ok(()));
    };
    let webhook = webhook.value;
    let ca = webhook.ca.as_deref();
    let endpoint = Endpoint::new(&webhook.url, webhook.key, TIMEOUT_SECONDS, ca);
    let sent = match endpoint {
        Ok(endpoint) => {
            endpoint
                .post(body.to_owned(), node.now(), "it failed")
                .await
        }
        Err(error) => Err(error),
    };
    Ok(sent.map_err(|error| error.message))
}
