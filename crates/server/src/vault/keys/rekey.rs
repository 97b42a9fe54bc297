//! New unseal shares.

use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;

use super::init;
use crate::node::Attempt;
use crate::node::LABEL;
use crate::node::Node;
use crate::node::Progress;
use crate::node::Rekey;
use crate::node::Waiting;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

fn bare(json: Value) -> Answer {
    Answer::Bare(StatusCode::OK, json)
}

fn required(node: &Node) -> Result<u8, Fault> {
    let header = node.header()?.ok_or(Fault::Uninitialised)?;
    Ok(node.share_slot(&header).map_or(0, |slot| slot.threshold))
}

fn status(rekey: Option<&Rekey>, required: u8) -> Value {
    let mut json = json!({
        "nonce": rekey.map_or("", |rekey| rekey.attempt.nonce.as_str()),
        "started": rekey.is_some(),
        "t": rekey.map_or(0, |rekey| rekey.threshold),
        "n": rekey.map_or(0, |rekey| rekey.shares),
        "progress": rekey.map_or(0, |rekey| rekey.attempt.count()),
        "required": required,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": rekey.is_some_and(|rekey| rekey.needs_verification),
    });
    let waiting = rekey.and_then(|rekey| rekey.waiting.as_ref());
    if let (Some(waiting), Some(map)) = (waiting, json.as_object_mut()) {
        map.insert(
            "verification_nonce".into(),
            waiting.attempt.nonce.as_str().into(),
        );
    }
    json
}

pub(crate) async fn rekey_status(call: &mut Call) -> Result<Answer, Fault> {
    let ceremonies = call.node.ceremonies.lock().await;
    Ok(bare(status(
        ceremonies.rekey.as_ref(),
        required(&call.node)?,
    )))
}

pub(crate) async fn rekey_begin(call: &mut Call) -> Result<Answer, Fault> {
    let fields = &call.fields;
    if fields
        .get("pgp_keys")
        .is_some_and(|keys| keys.as_array().is_none_or(|keys| !keys.is_empty()))
    {
        return Err(Fault::invalid(
            "pgp_keys: shares cannot be encrypted for PGP keys by this server",
        ));
    }
    if field::flag(fields, "backup")?.unwrap_or(false) {
        return Err(Fault::invalid(
            "backup: shares are never kept by this server",
        ));
    }
    let (shares, threshold) = init::numbers(fields)?;
    let required = required(&call.node)?;
    if required == 0 {
        return Err(Fault::invalid("this store is not unsealed by shares"));
    }
    let mut ceremonies = call.node.ceremonies.lock().await;
    let is_busy = ceremonies.rekey.as_ref().is_some_and(|rekey| {
        let waits = rekey.waiting.as_ref();
        !rekey.attempt.is_idle(call.now)
            || waits.is_some_and(|waiting| !waiting.attempt.is_idle(call.now))
    });
    if is_busy {
        return Err(Fault::invalid("rekey already in progress"));
    }
    let rekey = Rekey {
        attempt: Attempt::begin(&*call.node.rng, call.now),
        shares,
        threshold,
        needs_verification: field::flag(fields, "require_verification")?.unwrap_or(false),
        waiting: None,
    };
    let json = status(Some(&rekey), required);
    ceremonies.rekey = Some(rekey);
    Ok(bare(json))
}

pub(crate) async fn rekey_cancel(call: &mut Call) -> Result<Answer, Fault> {
    let mut ceremonies = call.node.ceremonies.lock().await;
    if let Some(rekey) = &ceremonies.rekey {
        super::check_cancel(call, &rekey.attempt.nonce)?;
        ceremonies.rekey = None;
    }
    Ok(Answer::Empty)
}

fn check_nonce(call: &Call, nonce: &str) -> Result<(), Fault> {
    let named = field::text(&call.fields, "nonce")?.unwrap_or_default();
    if named == nonce {
        return Ok(());
    }
    Err(Fault::invalid(
        "incorrect nonce supplied; check that this is the nonce of the attempt in progress",
    ))
}

pub(crate) async fn rekey_update(call: &mut Call) -> Result<Answer, Fault> {
    let share = super::share_of(&call.fields)?;
    let required = required(&call.node)?;
    let mut ceremonies = call.node.ceremonies.lock().await;
    let Some(rekey) = &mut ceremonies.rekey else {
        return Err(Fault::invalid("no barrier rekey in progress"));
    };
    check_nonce(call, &rekey.attempt.nonce)?;
    if rekey.waiting.is_some() {
        return Err(Fault::invalid("the new shares wait for their verification"));
    }
    super::refuse_twice(&rekey.attempt, &share, "rekey")?;
    let progress = rekey.attempt.add(share, required, call.now);
    let progress = progress.map_err(|error| Fault::invalid(error.to_string()))?;
    let Progress::Whole(secret) = progress else {
        return Ok(bare(status(Some(rekey), required)));
    };
    if !super::opens(&call.node, &secret)? {
        ceremonies.rekey = None;
        return Err(Fault::invalid(
            "rekey aborted: the shares do not open this store",
        ));
    }
    let (fresh, split) = init::new_shares(&call.node, rekey.shares, rekey.threshold)?;
    let (hex, base64) = init::shown(&split);
    let mut json = json!({
        "nonce": rekey.attempt.nonce,
        "complete": true,
        "keys": hex,
        "keys_base64": base64,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": rekey.needs_verification,
    });
    if rekey.needs_verification {
        let attempt = Attempt::begin(&*call.node.rng, call.now);
        if let Some(map) = json.as_object_mut() {
            map.insert("verification_nonce".into(), attempt.nonce.as_str().into());
        }
        rekey.waiting = Some(Waiting {
            secret: fresh,
            attempt,
        });
    } else {
        let (shares, threshold) = (rekey.shares, rekey.threshold);
        ceremonies.rekey = None;
        let slot = add(call, &fresh, shares, threshold)?;
        // Nobody has seen them yet.
        call.node.succeed_slots(slot, call.now);
    }
    Ok(bare(json))
}

/// Adds the slot of new shares.
fn add(call: &Call, secret: &SecretValue, shares: u8, threshold: u8) -> Result<u32, Fault> {
    let node = &call.node;
    let mut header = node.header()?.ok_or(Fault::Uninitialised)?;
    let read_at = header.generation();
    let context = WrapContext {
        rng: &*node.rng,
        now: call.now,
    };
    let kind = SlotKind::Shamir { shares, threshold };
    let slot = call
        .core
        .with_keys(|keys| header.add_slot(keys, kind, LABEL, secret, &context))
        .map_err(|error| Fault::Internal(error.to_string()))?;
    node.keeper.replace_header(read_at, &header)?;
    Ok(slot)
}

fn verify_json(rekey: &Rekey, waiting: &Waiting) -> Value {
    json!({
        "nonce": waiting.attempt.nonce,
        "started": true,
        "t": rekey.threshold,
        "n": rekey.shares,
        "progress": waiting.attempt.count(),
    })
}

fn none_waiting() -> Fault {
    Fault::invalid("no rekey verification in progress")
}

pub(crate) async fn verify_status(call: &mut Call) -> Result<Answer, Fault> {
    let ceremonies = call.node.ceremonies.lock().await;
    let rekey = ceremonies.rekey.as_ref().ok_or_else(none_waiting)?;
    let waiting = rekey.waiting.as_ref().ok_or_else(none_waiting)?;
    Ok(bare(verify_json(rekey, waiting)))
}

pub(crate) async fn verify_restart(call: &mut Call) -> Result<Answer, Fault> {
    let mut ceremonies = call.node.ceremonies.lock().await;
    let rekey = ceremonies.rekey.as_mut().ok_or_else(none_waiting)?;
    let waiting = rekey.waiting.as_mut().ok_or_else(none_waiting)?;
    super::check_cancel(call, &waiting.attempt.nonce)?;
    waiting.attempt = Attempt::begin(&*call.node.rng, call.now);
    let waiting = rekey.waiting.as_ref().ok_or_else(none_waiting)?;
    Ok(bare(verify_json(rekey, waiting)))
}

pub(crate) async fn verify_update(call: &mut Call) -> Result<Answer, Fault> {
    let share = super::share_of(&call.fields)?;
    let mut ceremonies = call.node.ceremonies.lock().await;
    let rekey = ceremonies.rekey.as_mut().ok_or_else(none_waiting)?;
    let threshold = rekey.threshold;
    let waiting = rekey.waiting.as_mut().ok_or_else(none_waiting)?;
    check_nonce(call, &waiting.attempt.nonce)?;
    super::refuse_twice(&waiting.attempt, &share, "rekey verification")?;
    let progress = waiting.attempt.add(share, threshold, call.now);
    let progress = progress.map_err(|error| Fault::invalid(error.to_string()))?;
    let Progress::Whole(secret) = progress else {
        let waiting = rekey.waiting.as_ref().ok_or_else(none_waiting)?;
        return Ok(bare(verify_json(rekey, waiting)));
    };
    if !secret.ct_eq(&waiting.secret) {
        return Err(Fault::invalid(
            "rekey verification failed: these are not the new shares; begin the verification again",
        ));
    }
    let (nonce, shares) = (waiting.attempt.nonce.clone(), rekey.shares);
    ceremonies.rekey = None;
    // Their holders have just shown them.
    let slot = add(call, &secret, shares, threshold)?;
    call.node.succeed_slots(slot, call.now);
    call.node.keep_only(&call.core, slot)?;
    Ok(bare(json!({ "nonce": nonce, "complete": true })))
}

pub(crate) async fn forget_backup(_call: &mut Call) -> Result<Answer, Fault> {
    Ok(Answer::Empty)
}

pub(crate) async fn no_backup(_call: &mut Call) -> Result<Answer, Fault> {
    Err(Fault::invalid("no backed-up keys found"))
}
