//! Old values that are still good: how far those are who read the secret, and the end.

use std::sync::atomic::Ordering;

use strongroom_core::path::SecretPath;
use strongroom_core::port::RotatorError;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::ledger::Progress;
use strongroom_engine::ledger::Reader;
use strongroom_engine::rotation::EndedBy;
use strongroom_engine::rotation::Looked;
use strongroom_engine::rotation::Overlap;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Wait;

use super::context;
use super::notices;
use super::rotators;
use crate::core::Core;
use crate::core::Live;
use crate::ledger;
use crate::ledger::Door;
use crate::node::Node;

const DAY_MICROS: i64 = 86_400 * 1_000_000;
/// So long before the end people are told of consumers that are behind.
const LAST_DAY: Span = Span::from_seconds(86_400);

/// How far those are who read the secret; `None` where no old value is still good.
pub(crate) async fn progress(
    node: &Node,
    core: &Core,
    rotations: &Rotations,
    rotation: &Rotation,
) -> Result<Option<Progress>, Error> {
    let Some(overlap) = &rotation.overlap else {
        return Ok(None);
    };
    let Ok(path) = rotation.path.parse::<SecretPath>() else {
        return Ok(None);
    };
    // What this server was asked for up to now counts.
    ledger::write(core, node.now(), true).await?;
    let mut readers = Vec::new();
    for reader in rotations.readers(&path, overlap).await? {
        if is_there(core, &reader).await? {
            readers.push(reader);
        }
    }
    let progress = rotations.progress(&path, overlap, &readers);
    progress.await.map(Some)
}

/// A token or a key that is gone reads nothing any more: whoever had it does not hold up the rest.
async fn is_there(core: &Core, reader: &Reader) -> Result<bool, Error> {
    match Door::handle_in(&reader.to) {
        Some((Door::Vault, accessor)) => {
            Ok(core.state.token_of_accessor(accessor).await?.is_some())
        }
        Some((Door::Aws, id)) => Ok(core.state.access_key(id).await?.is_some()),
        None => Ok(true),
    }
}

/// Looks at an old value whose time it is, and retires it when that is over.
pub(super) async fn drive(
    node: &Node,
    core: &Core,
    live: &Live,
    rotations: &Rotations,
    path: &SecretPath,
) -> Result<(), Error> {
    let now = node.now();
    let Some(rotation) = rotations.find(path).await?.map(|found| found.value) else {
        return Ok(());
    };
    let Some(overlap) = rotation.overlap.as_ref().filter(|one| one.look <= now) else {
        return Ok(());
    };
    if let Some(at) = keys_until(node, core, &rotation, overlap).await?
        && now < at
    {
        return rotations.look_at(path, at).await.map(drop);
    }
    let Some(progress) = progress(node, core, rotations, &rotation).await? else {
        return Ok(());
    };
    let overlap = match rotations.look(path, &progress, now).await? {
        Looked::Nothing => return Ok(()),
        Looked::GoesOn => return warn(node, core, path, overlap, &progress).await,
        Looked::Ends(overlap) => overlap,
    };
    let arn = rotation.setup.rotator.as_str();
    let told = serde_json::json!({
        "rotation": "retire",
        "token": overlap.token,
        "rotator": arn,
        "versions": overlap.old,
        "because": overlap.ending.map(EndedBy::word),
    });
    let told = told.to_string();
    let retiring = async {
        let context = context(node);
        let of = rotators::of(node, core, live, arn).await;
        let rotator = of.as_ref().map(|one| &**one).map_err(Clone::clone);
        let what = (&overlap, &progress);
        rotations.retire(&context, path, what, rotator).await
    };
    let done = super::audited(node, core, live, path, &told, async {
        match retiring.await {
            Ok(done) => done,
            Err(error) => Err(RotatorError::new(error.code(), error.to_string())),
        }
    });
    match Box::pin(done).await {
        Ok(()) => {
            let behind = progress.behind().count();
            if behind > 0 {
                let message = format!("the old value of {path} was retired: {progress}");
                tell(node, core, path, ("rotation.left_behind", &message), now).await?;
            }
            Ok(())
        }
        Err(error) => {
            let failures = &node.metrics.rotation_failures;
            failures.fetch_add(1, Ordering::Relaxed);
            node.log.error(&format!(
                "the old value of {path} cannot be retired ({}): {}",
                error.code, error.message
            ));
            let why = (error.code.as_str(), error.message.as_str());
            notices::tell_failure(node, core, path.as_str(), "retiring the old value", why).await
        }
    }
}

/// Tells people on the last day of those who are behind.
async fn warn(
    node: &Node,
    core: &Core,
    path: &SecretPath,
    overlap: &Overlap,
    progress: &Progress,
) -> Result<(), Error> {
    let now = node.now();
    let is_last_day = overlap.until <= now.plus(LAST_DAY);
    if overlap.wait != Wait::Consumers || !is_last_day || progress.behind().next().is_none() {
        return Ok(());
    }
    let until = overlap.until;
    let message = format!("the old value of {path} ends at {until} at the latest: {progress}");
    tell(node, core, path, ("rotation.behind", &message), now).await
}

async fn tell(
    node: &Node,
    core: &Core,
    path: &SecretPath,
    (what, message): (&str, &str),
    now: Timestamp,
) -> Result<(), Error> {
    let event = notices::Event {
        what,
        path: path.as_str(),
        message,
        key: &now.as_micros().div_euclid(DAY_MICROS).to_string(),
    };
    notices::tell(node, core, &event).await
}

/// Until when a key that signs has to be published, unless somebody ends it by hand: tokens live
/// on that it has signed.
async fn keys_until(
    node: &Node,
    core: &Core,
    rotation: &Rotation,
    overlap: &Overlap,
) -> Result<Option<Timestamp>, Error> {
    if overlap.ending == Some(EndedBy::Asked) {
        return Ok(None);
    }
    let declared = rotators::declared(node, core, &rotation.setup.rotator).await?;
    Ok(match declared {
        Some(RotatorSpec::SigningKey(key)) => {
            let ttl = strongroom_rotators::token_ttl(&key).ok();
            ttl.map(|ttl| overlap.began.plus(ttl))
        }
        _ => None,
    })
}
