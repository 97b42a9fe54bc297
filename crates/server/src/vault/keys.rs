//! Init, seal and unseal, new shares, a new root token, new data keys.

mod init;
mod rekey;
mod root;
mod status;

use http::Method;
use serde_json::json;
use strongroom_core::policy::RequestPath;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::keyring::SEALS_PER_KEY_MAX;
use strongroom_crypto::shamir::UnsealShare;

use super::body::Fields;
use super::call::Call;
use super::call::Verb;
use super::dispatch::Incoming;
use super::error::Fault;
use super::field;
use super::query::Query;
use super::reply::Answer;
use crate::core::Core;
use crate::node::Attempt;
use crate::node::Node;

pub(crate) use rekey::forget_backup;
pub(crate) use rekey::no_backup;
pub(crate) use rekey::rekey_begin;
pub(crate) use rekey::rekey_cancel;
pub(crate) use rekey::rekey_status;
pub(crate) use rekey::rekey_update;
pub(crate) use rekey::verify_restart;
pub(crate) use rekey::verify_status;
pub(crate) use rekey::verify_update;
pub(crate) use root::framed_begin;
pub(crate) use root::framed_status;
pub(crate) use root::framed_update;
pub(crate) use root::root_begin;
pub(crate) use root::root_cancel;
pub(crate) use root::root_status;
pub(crate) use root::root_update;

/// What is answered without a token, also by a sealed server, and takes a body.
pub(crate) fn is_early(path: &RequestPath) -> bool {
    matches!(path.as_str(), "sys/init" | "sys/unseal")
}

/// What a server answers also when it is sealed, or not yet initialised.
pub(crate) async fn early(
    node: &Node,
    incoming: &Incoming,
    path: &RequestPath,
    verb: Verb,
    query: &Query,
) -> Result<Option<Answer>, Fault> {
    let is_head = incoming.method == Method::HEAD;
    let answer = match (path.as_str(), verb) {
        ("sys/health", Verb::Read) => status::health(node, query)?,
        (_, _) if is_head => return Err(Fault::UnsupportedOperation),
        ("sys/seal-status", Verb::Read) => status::seal_status(node).await?,
        ("sys/leader", Verb::Read) => status::leader(),
        ("sys/init", Verb::Read) => {
            let is_initialised = node.header()?.is_some();
            Answer::Bare(
                http::StatusCode::OK,
                json!({ "initialized": is_initialised }),
            )
        }
        ("sys/init", Verb::Write) => init::init(node, &Fields::parse(&incoming.body)?).await?,
        ("sys/unseal", Verb::Write) => init::unseal(node, &Fields::parse(&incoming.body)?).await?,
        ("sys/health" | "sys/seal-status" | "sys/leader" | "sys/init" | "sys/unseal", _) => {
            return Err(Fault::UnsupportedOperation);
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// Characters of 16 bytes in base64, the shortest share that is looked at.
const SHARE_CHARS_MIN: usize = 22;
/// Characters of 33 bytes in hexadecimal, the longest one.
const SHARE_CHARS_MAX: usize = 66;

/// The share in a body.
fn share_of(fields: &Fields) -> Result<UnsealShare, Fault> {
    let share = field::secret(fields, "key")?.filter(|share| !share.is_empty());
    let share = share.ok_or_else(|| {
        Fault::invalid("'key' must be specified in request body as JSON, or 'reset' set to true")
    })?;
    if share.len_bytes() < SHARE_CHARS_MIN {
        return Err(Fault::invalid("key is shorter than minimum 16 bytes"));
    }
    if share.len_bytes() > SHARE_CHARS_MAX {
        return Err(Fault::invalid("key is longer than maximum 33 bytes"));
    }
    UnsealShare::parse(&share)
        .map_err(|_| Fault::invalid("'key' must be a valid hex or base64 string"))
}

/// In a ceremony that changes something, the same share twice is a mistake worth telling.
fn refuse_twice(attempt: &Attempt, share: &UnsealShare, what: &str) -> Result<(), Fault> {
    if attempt.has(share) {
        return Err(Fault::Invalid(format!(
            "given key has already been provided during this {what} operation"
        )));
    }
    Ok(())
}

/// Whether a secret opens the store's share slot.
fn opens(node: &Node, secret: &SecretValue) -> Result<bool, Fault> {
    let header = node.header()?.ok_or(Fault::Uninitialised)?;
    let Some(slot) = node.share_slot(&header) else {
        return Err(Fault::invalid("this store is not unsealed by shares"));
    };
    Ok(header.unseal(slot.id, secret).is_ok())
}

/// Whoever cancels a ceremony knows its nonce, or may do everything.
fn check_cancel(call: &Call, nonce: &str) -> Result<(), Fault> {
    let named = field::text(&call.fields, "nonce")?;
    let knows_nonce = named.as_deref() == Some(nonce);
    let in_query = call.query.get("nonce") == Some(nonce);
    if knows_nonce || in_query || call.has_sudo() {
        return Ok(());
    }
    Err(match call.caller {
        Some(_) => Fault::Denied,
        None => Fault::NoToken,
    })
}

pub(crate) async fn key_status(call: &mut Call) -> Result<Answer, Fault> {
    let keys = call.core.with_keys(|keys| keys.keyring.data_keys());
    let active = keys.iter().find(|key| key.active);
    let active = active.ok_or_else(|| Fault::Internal("there is no data key".into()))?;
    let revision = call.core.storage.revision().await;
    let encryptions = revision.map_err(crate::core::storage)?;
    Ok(Answer::lifted(json!({
        "encryptions": encryptions,
        "install_time": active.created.to_string(),
        "term": active.id,
    })))
}

/// A new data key, which everything is sealed under from now on.
pub(crate) async fn rotate(call: &mut Call) -> Result<Answer, Fault> {
    rotate_keyring(&call.node, &call.core).await?;
    Ok(Answer::Empty)
}

/// Makes a new data key.
async fn rotate_keyring(node: &Node, core: &Core) -> Result<(), Fault> {
    let _one_at_a_time = node.ceremonies.lock().await;
    let header = node.header()?.ok_or(Fault::Uninitialised)?;
    let read_at = header.generation();
    let (header, keys) = core.with_keys(|keys| {
        let mut header = header.clone();
        keys.keyring.rotate(&*node.rng, node.now());
        header.reseal(keys, &*node.rng);
        let copy = keys.copy();
        (header, copy)
    });
    node.keeper.replace_header(read_at, &header)?;
    let reopened = node.reopen(&header, keys).await;
    reopened.map_err(|error| Fault::Internal(error.to_string()))
}

/// Makes a new data key where the one in use is older than `sys/rotate/config` says.
pub(crate) async fn rotate_if_due(node: &Node, core: &Core) -> Result<(), Fault> {
    let rotation = core.options.get().rotation.clone();
    if !rotation.is_enabled {
        return Ok(());
    }
    let keys = core.with_keys(|keys| keys.keyring.data_keys());
    let active = keys.iter().find(|key| key.active);
    let is_old = active.is_some_and(|key| {
        let age = node.now().seconds_since(key.created);
        rotation.interval > 0 && age >= rotation.interval
    });
    let revision = core
        .storage
        .revision()
        .await
        .map_err(crate::core::storage)?;
    // No revision has fewer seals than one.
    let is_used_up = revision / SEALS_PER_KEY_MAX >= keys.len() as u64;
    match is_old || is_used_up {
        true => rotate_keyring(node, core).await,
        false => Ok(()),
    }
}

pub(crate) async fn seal(call: &mut Call) -> Result<Answer, Fault> {
    if let Err(fault) = call.node.retire_slots(&call.core, None) {
        // They end when the new shares have opened it. Sealing waits for nothing.
        let detail = fault.detail().unwrap_or_default();
        let log = &call.node.log;
        log.error(&format!("old unseal shares cannot be ended yet: {detail}"));
    }
    // What cannot be written now is in the audit log.
    let _ = crate::ledger::write(&call.core, call.now, true).await;
    call.node.seal();
    Ok(Answer::Empty)
}
