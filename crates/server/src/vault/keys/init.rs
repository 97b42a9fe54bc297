//! The first start, and unsealing.

use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::shamir;
use strongroom_crypto::shamir::UnsealShare;
use strongroom_crypto::slot::SlotKind;
use zeroize::Zeroizing;

use crate::node::Attempt;
use crate::node::CreateError;
use crate::node::LABEL;
use crate::node::Node;
use crate::node::ShareSlot;
use crate::vault::body::Fields;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// How many shares, and how many of them are needed.
pub(super) fn numbers(fields: &Fields) -> Result<(u8, u8), Fault> {
    let number =
        |name: &str| -> Result<i64, Fault> { Ok(field::integer(fields, name)?.unwrap_or(0)) };
    check_numbers(number("secret_shares")?, number("secret_threshold")?)
}

fn check_numbers(shares: i64, threshold: i64) -> Result<(u8, u8), Fault> {
    let invalid = |text: &str| {
        Err(Fault::Invalid(format!(
            "invalid seal configuration: {text}"
        )))
    };
    let (Ok(count), Ok(needed)) = (u8::try_from(shares), u8::try_from(threshold)) else {
        return invalid("shares and threshold have to be between 1 and 255");
    };
    match (count, needed) {
        (0, _) => invalid("shares must be at least one"),
        (_, 0) => invalid("threshold must be at least one"),
        (count, 1) if count > 1 => {
            invalid("threshold must be greater than one for multiple shares")
        }
        (count, needed) if needed > count => invalid("threshold cannot be larger than shares"),
        fine => Ok(fine),
    }
}

/// Options that ask for what this server does not do: better refused than ignored.
fn refuse_unknown(fields: &Fields) -> Result<(), Fault> {
    for name in ["pgp_keys", "root_token_pgp_key", "recovery_pgp_keys"] {
        let is_empty = match fields.get(name) {
            None => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        if !is_empty {
            return Err(Fault::Invalid(format!(
                "{name}: shares and tokens cannot be encrypted for PGP keys by this server"
            )));
        }
    }
    Ok(())
}

/// A new secret with its shares.
pub(super) fn new_shares(
    node: &Node,
    shares: u8,
    threshold: u8,
) -> Result<(SecretValue, Vec<UnsealShare>), Fault> {
    let mut secret = Zeroizing::new([0; 32]);
    node.rng.fill(&mut *secret);
    let split = shamir::split(&*node.rng, &*secret, shares, threshold);
    let split = split.map_err(|error| Fault::invalid(error.to_string()))?;
    Ok((SecretValue::copy_from(&*secret), split))
}

/// Shares as they are given out, in hexadecimal and in base64.
pub(super) fn shown(shares: &[UnsealShare]) -> (Vec<Value>, Vec<Value>) {
    let text = |value: SecretValue| -> Value {
        // EXPOSE: a new share goes into the answer to the one who asked for it.
        Value::from(value.expose_secret_text().unwrap_or_default())
    };
    let hex = shares.iter().map(|share| text(share.to_hex())).collect();
    let base64 = shares.iter().map(|share| text(share.to_base64())).collect();
    (hex, base64)
}

pub(super) async fn init(node: &Node, fields: &Fields) -> Result<Answer, Fault> {
    refuse_unknown(fields)?;
    let (shares, threshold) = numbers(fields)?;
    let _one_at_a_time = node.ceremonies.lock().await;
    if node.header()?.is_some() {
        return Err(Fault::invalid("Vault is already initialized"));
    }
    let (secret, split) = new_shares(node, shares, threshold)?;
    let kind = SlotKind::Shamir { shares, threshold };
    let created = node.create(kind, LABEL, &secret);
    let (header, keys) = created.map_err(|error| match error {
        CreateError::Keeper(error) => Fault::from(error),
        CreateError::Slot(error) => Fault::Internal(error.to_string()),
    })?;
    // Opened for the first token only: unsealing is for the holders of the shares.
    let opened = node.open(&header, keys).await;
    opened.map_err(|error| Fault::Internal(error.to_string()))?;
    let root = node.issue_root(None).await;
    node.seal();
    let root = root.map_err(|error| Fault::Internal(error.to_string()))?;
    let (hex, base64) = shown(&split);
    // EXPOSE: the root token goes into the answer to the one who initialises the server.
    let token = root.plain.expose_secret_text().unwrap_or_default();
    let json = json!({ "keys": hex, "keys_base64": base64, "root_token": token });
    Ok(Answer::Bare(StatusCode::OK, json))
}

pub(super) async fn unseal(node: &Node, fields: &Fields) -> Result<Answer, Fault> {
    let header = node.header()?.ok_or(Fault::Uninitialised)?;
    if field::flag(fields, "reset")?.unwrap_or(false) {
        node.ceremonies.lock().await.unseal.reset();
        return super::status::seal_status(node).await;
    }
    let share = super::share_of(fields)?;
    let slots = Node::share_slots(&header);
    if slots.is_empty() {
        return Err(Fault::invalid("this store is not unsealed by shares"));
    }
    if node.is_sealed() {
        let mut failures = node.unseal_failures.lock().await;
        match give(node, share, &slots).await {
            Ok(true) => *failures = 0,
            Ok(false) => {}
            Err(fault) => {
                *failures = failures.saturating_add(1);
                // The next share waits, too: guesses at once are not quicker.
                tokio::time::sleep(crate::node::delay_after(*failures)).await;
                return Err(fault);
            }
        }
    }
    super::status::seal_status(node).await
}

/// Takes a share; whether the server is open then. There are several slots when a rekey was
/// interrupted: the old shares open the store, and so do the new ones.
async fn give(node: &Node, share: UnsealShare, slots: &[ShareSlot]) -> Result<bool, Fault> {
    let mut ceremonies = node.ceremonies.lock().await;
    // Another request may have given the last share meanwhile.
    if !node.is_sealed() {
        return Ok(true);
    }
    let attempt = &mut ceremonies.unseal;
    if attempt.count() == 0 {
        *attempt = Attempt::begin(&*node.rng, node.now());
    }
    attempt.keep(share, node.now());
    let count = attempt.count();
    let is_enough = |slot: &&ShareSlot| usize::from(slot.threshold) == count;
    let mut outcome = Ok(false);
    for slot in slots.iter().filter(is_enough) {
        outcome = match attempt.whole() {
            Ok(secret) => open(node, *slot, &secret).await.map(|()| true),
            Err(_) => Err(Fault::invalid("failed to combine unseal shares")),
        };
        if outcome.is_ok() {
            break;
        }
    }
    let most = slots.iter().map(|slot| usize::from(slot.threshold)).max();
    match outcome {
        Ok(false) => Ok(false),
        // There may be more to come for another slot.
        Err(_) if most.is_some_and(|most| count < most) => Ok(false),
        outcome => {
            attempt.reset();
            outcome
        }
    }
}

async fn open(node: &Node, slot: ShareSlot, secret: &SecretValue) -> Result<(), Fault> {
    use crate::node::StartError;
    match node.unseal_with(slot.id, secret).await {
        Ok(()) => {
            node.note_opened(slot);
            end_rekey(node, slot);
            node.wake_tasks();
            Ok(())
        }
        Err(StartError::Unseal(_)) => Err(Fault::invalid(
            "invalid key: failed to decrypt keys from storage: the shares do not open this store",
        )),
        Err(error) => Err(Fault::Internal(error.to_string())),
    }
}

/// Somebody has the newest shares: older ones end, if a rekey was interrupted before they did.
fn end_rekey(node: &Node, opened: ShareSlot) {
    let newest = node.header().ok().flatten();
    let newest = newest.and_then(|header| Node::share_slots(&header).first().copied());
    let Some(core) = node.core().filter(|_| newest == Some(opened)) else {
        return;
    };
    if let Err(fault) = node.keep_only(&core, opened.id) {
        let detail = fault.detail().unwrap_or_default();
        node.log
            .error(&format!("old unseal shares cannot be ended: {detail}"));
    }
}
