//! Wrapping: an answer is kept for one reader, who has a token for it.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_engine::Error;
use strongroom_engine::cubbyhole::WRAPPING;
use strongroom_engine::cubbyhole::Wrapped;
use strongroom_engine::tokens::NewToken;
use zeroize::Zeroizing;

use super::call::Call;
use super::error::Fault;
use super::field;
use super::reply::Answer;
use super::reply::Data;
use super::reply::Full;
use super::reply::WrapInfo;
use crate::core::Known;

/// Longest time that an answer waits, in seconds.
const WRAP_SECONDS_MAX: i64 = strongroom_engine::tokens::TTL_SECONDS_MAX_DEFAULT;

/// Keeps an answer, and gives the token for it instead.
pub(super) async fn wrap(call: &Call, full: &Full, ttl: i64) -> Result<Answer, Fault> {
    let wrapped = Wrapped {
        body: full.render(&call.request_id).to_vec(),
        path: call.path.to_string(),
        created: call.now,
        ttl: ttl.min(WRAP_SECONDS_MAX),
    };
    give(call, &wrapped, full.accessor.clone()).await
}

async fn give(call: &Call, wrapped: &Wrapped, accessor: Option<String>) -> Result<Answer, Fault> {
    let table = call.core.mounts();
    let mount = table
        .get("auth/token/")
        .map_or([0; 16], |live| live.mount.uuid);
    let mut new = NewToken::orphan(vec![WRAPPING.into()], &wrapped.path, mount);
    new.ttl = wrapped.ttl;
    new.is_renewable = false;
    new.explicit_max_ttl = wrapped.ttl;
    let issued = call.core.state.wrap(new, call.now, wrapped).await?;
    let mut full = Full::of(Data::None);
    full.wrap = Some(WrapInfo {
        token: issued.plain,
        accessor: issued.token.accessor,
        ttl: wrapped.ttl,
        created: wrapped.created.to_string(),
        path: wrapped.path.clone(),
        wrapped_accessor: accessor,
    });
    Ok(Answer::Full(Box::new(full)))
}

pub(crate) async fn wrap_fields(call: &mut Call) -> Result<Answer, Fault> {
    if call.wrap_ttl.is_none() {
        return Err(Fault::invalid(
            "endpoint requires response wrapping to be used: send X-Vault-Wrap-TTL",
        ));
    }
    Ok(Answer::data(call.fields.to_value()))
}

fn invalid() -> Fault {
    Fault::invalid("wrapping token is not valid or does not exist")
}

/// The wrapping token of a request: in its body, or the one it came with.
async fn wrapping_token(call: &Call) -> Result<(Arc<Known>, Wrapped), Fault> {
    let named = field::secret(&call.fields, "token")?;
    let plain: &SecretValue = match (&named, &call.token) {
        (Some(named), _) if !named.is_empty() => named,
        (_, Some(own)) => own,
        (_, None) => return Err(invalid()),
    };
    let found = super::dispatch::find_token(&call.core, plain, call.now).await?;
    let Some(known) = found else {
        return Err(invalid());
    };
    let is_wrapping = known.token.policies == [WRAPPING];
    if !is_wrapping || !(is_spent(call, &known) || known.is_alive(call.now)) {
        return Err(invalid());
    }
    match call.core.state.wrapped(known.id).await? {
        Some(wrapped) => Ok((known, wrapped)),
        None => Err(invalid()),
    }
}

/// Whether the request has taken the use of the wrapping token that it came with.
fn is_spent(call: &Call, known: &Known) -> bool {
    let own = call.caller.as_ref().filter(|own| own.id == known.id);
    own.is_some_and(|own| own.token.num_uses < 0)
}

/// Uses a wrapping token up; of several at once, one succeeds.
async fn take(call: &Call, known: &Known) -> Result<(), Fault> {
    if !is_spent(call, known) {
        match call.core.state.take_use(known.id, call.now).await {
            Ok(_) => {}
            Err(Error::NotFound { .. }) => return Err(invalid()),
            Err(error) => return Err(error.into()),
        }
    }
    call.core.state.revoke(known.id).await?;
    Ok(())
}

pub(crate) async fn lookup(call: &mut Call) -> Result<Answer, Fault> {
    let (_, wrapped) = wrapping_token(call).await?;
    Ok(Answer::data(json!({
        "creation_path": wrapped.path,
        "creation_time": wrapped.created.to_string(),
        "creation_ttl": wrapped.ttl,
    })))
}

pub(crate) async fn unwrap(call: &mut Call) -> Result<Answer, Fault> {
    match (call.caller.clone(), call.fields.has("token"), &call.token) {
        (Some(caller), _, _) => {
            call.caller = Some(super::dispatch::spend(&call.core, caller, call.now).await?);
            super::dispatch::check_policy(call, false, None).await?;
        }
        // The token that it came with was a wrapping token once.
        (None, false, Some(_)) => {}
        (None, true, _) | (None, _, None) => return Err(Fault::NoToken),
    }
    let (known, wrapped) = wrapping_token(call).await?;
    take(call, &known).await?;
    let body = Zeroizing::new(wrapped.body);
    // What another wrapping keeps is kept as it is.
    if call.wrap_ttl.is_some() {
        let value: Value = serde_json::from_slice(&body)
            .map_err(|_| Fault::Internal("a wrapped answer is no JSON".into()))?;
        let data = value.get("data").cloned().unwrap_or(Value::Null);
        return Ok(Answer::data(data));
    }
    Ok(Answer::Stored(body))
}

pub(crate) async fn rewrap(call: &mut Call) -> Result<Answer, Fault> {
    let (known, wrapped) = wrapping_token(call).await?;
    take(call, &known).await?;
    let again = Wrapped {
        created: call.now,
        ..wrapped
    };
    give(call, &again, None).await
}
