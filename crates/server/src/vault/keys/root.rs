//! A new root token, made by the holders of the shares.

use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use zeroize::Zeroizing;

use crate::node::Attempt;
use crate::node::Node;
use crate::node::Progress;
use crate::node::RootAttempt;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Characters of a root token, and so of what it is combined with.
const TOKEN_CHARS: usize = 28;

fn status(
    attempt: Option<&RootAttempt>,
    required: u8,
    encoded: Option<&str>,
    otp: Option<&str>,
    is_complete: bool,
) -> Value {
    json!({
        "nonce": attempt.map_or("", |attempt| attempt.attempt.nonce.as_str()),
        "started": attempt.is_some(),
        "progress": if is_complete {
            usize::from(required)
        } else {
            attempt.map_or(0, |attempt| attempt.attempt.count())
        },
        "required": required,
        "complete": is_complete,
        "encoded_token": encoded.unwrap_or_default(),
        "encoded_root_token": encoded.unwrap_or_default(),
        "pgp_fingerprint": "",
        "otp": otp.unwrap_or_default(),
        "otp_length": attempt.map_or(TOKEN_CHARS, |attempt| attempt.otp_length),
    })
}

fn required(node: &Node) -> Result<u8, Fault> {
    let header = node.header()?.ok_or(Fault::Uninitialised)?;
    Ok(node.share_slot(&header).map_or(0, |slot| slot.threshold))
}

fn bare(json: Value) -> Answer {
    Answer::Bare(StatusCode::OK, json)
}

pub(crate) async fn root_status(call: &mut Call) -> Result<Answer, Fault> {
    let ceremonies = call.node.ceremonies.lock().await;
    let required = required(&call.node)?;
    Ok(bare(status(
        ceremonies.root.as_ref(),
        required,
        None,
        None,
        false,
    )))
}

pub(crate) async fn root_begin(call: &mut Call) -> Result<Answer, Fault> {
    let fields = &call.fields;
    if field::text(fields, "pgp_key")?.is_some_and(|key| !key.is_empty()) {
        return Err(Fault::invalid(
            "pgp_key: tokens cannot be encrypted for PGP keys by this server",
        ));
    }
    let given = field::text(fields, "otp")?.filter(|otp| !otp.is_empty());
    let given = given.map(Zeroizing::new);
    if given.as_ref().is_some_and(|otp| otp.len() != TOKEN_CHARS) {
        return Err(Fault::invalid("OTP string has incorrect length"));
    }
    let required = required(&call.node)?;
    if required == 0 {
        return Err(Fault::invalid("this store is not unsealed by shares"));
    }
    let mut ceremonies = call.node.ceremonies.lock().await;
    let is_busy = ceremonies
        .root
        .as_ref()
        .is_some_and(|attempt| !attempt.attempt.is_idle(call.now));
    if is_busy {
        return Err(Fault::invalid("root generation already in progress"));
    }
    let (otp, shown) = match given {
        Some(otp) => (otp, None),
        None => {
            let otp = strongroom_engine::tokens::random_text(&*call.node.rng, TOKEN_CHARS);
            (Zeroizing::new(otp.clone()), Some(Zeroizing::new(otp)))
        }
    };
    let attempt = RootAttempt {
        attempt: Attempt::begin(&*call.node.rng, call.now),
        otp,
        otp_length: TOKEN_CHARS,
    };
    let shown = shown.as_ref().map(|otp| otp.as_str());
    let json = status(Some(&attempt), required, None, shown, false);
    ceremonies.root = Some(attempt);
    Ok(bare(json))
}

pub(crate) async fn root_cancel(call: &mut Call) -> Result<Answer, Fault> {
    let mut ceremonies = call.node.ceremonies.lock().await;
    if let Some(attempt) = &ceremonies.root {
        super::check_cancel(call, &attempt.attempt.nonce)?;
        ceremonies.root = None;
    }
    Ok(Answer::Empty)
}

pub(crate) async fn root_update(call: &mut Call) -> Result<Answer, Fault> {
    let share = super::share_of(&call.fields)?;
    let nonce = field::text(&call.fields, "nonce")?.unwrap_or_default();
    let required = required(&call.node)?;
    let mut ceremonies = call.node.ceremonies.lock().await;
    let Some(attempt) = &mut ceremonies.root else {
        return Err(Fault::invalid("no root generation in progress"));
    };
    if nonce != attempt.attempt.nonce {
        return Err(Fault::invalid(
            "incorrect nonce supplied; check that this is the nonce of the attempt in progress",
        ));
    }
    super::refuse_twice(&attempt.attempt, &share, "generation")?;
    let progress = attempt.attempt.add(share, required, call.now);
    let progress = progress.map_err(|error| Fault::invalid(error.to_string()))?;
    let Progress::Whole(secret) = progress else {
        let mut json = status(Some(attempt), required, None, None, false);
        if let Some(map) = json.as_object_mut() {
            map.insert("otp_length".into(), 0.into());
        }
        return Ok(bare(json));
    };
    let Some(attempt) = ceremonies.root.take() else {
        return Err(Fault::invalid("no root generation in progress"));
    };
    if !super::opens(&call.node, &secret)? {
        return Err(Fault::invalid(
            "root generation aborted: the shares do not open this store",
        ));
    }
    let root = call.node.issue_root(None).await;
    let root = root.map_err(|error| Fault::Internal(error.to_string()))?;
    // EXPOSE: the token is combined with what the one who began has, byte by byte.
    let token = root.plain.expose_secret();
    let combined: Zeroizing<Vec<u8>> = token
        .iter()
        .zip(attempt.otp.as_bytes())
        .map(|(one, other)| one ^ other)
        .collect::<Vec<u8>>()
        .into();
    let encoded = data_encoding::BASE64_NOPAD.encode(&combined);
    let mut json = status(Some(&attempt), required, Some(&encoded), None, true);
    if let Some(map) = json.as_object_mut() {
        map.insert("otp_length".into(), 0.into());
    }
    Ok(bare(json))
}

/// The same answers in the usual frame, for clients that ask at the newer paths.
fn framed(answer: Answer) -> Answer {
    match answer {
        Answer::Bare(_, json) => Answer::data(json),
        other => other,
    }
}

pub(crate) async fn framed_status(call: &mut Call) -> Result<Answer, Fault> {
    root_status(call).await.map(framed)
}

pub(crate) async fn framed_begin(call: &mut Call) -> Result<Answer, Fault> {
    root_begin(call).await.map(framed)
}

pub(crate) async fn framed_update(call: &mut Call) -> Result<Answer, Fault> {
    root_update(call).await.map(framed)
}
