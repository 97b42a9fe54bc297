//! A token's private place.

use serde_json::Value;
use strongroom_core::port::RecordId;
use strongroom_engine::tokens::TokenKind;

use super::body::Wiped;
use super::body::compact;
use super::call::Call;
use super::error::Fault;
use super::reply::Answer;
use super::route::Route;
use super::route::route;

pub(crate) const ROUTES: &[Route] = &[route!(Policy "*" [exists] {
    Read => read,
    List => list,
    Write => write,
    Delete => delete,
})];

/// Most paths in one cubbyhole.
const PATHS_MAX: usize = 1000;
/// Longest content at one path, in bytes.
const CONTENT_BYTES_MAX: usize = 1024 * 1024;

fn owner(call: &Call) -> Result<RecordId, Fault> {
    let caller = call.caller()?;
    if caller.token.kind == TokenKind::Batch {
        return Err(Fault::invalid(
            "cubbyhole operations are only supported by 'service' type tokens",
        ));
    }
    Ok(caller.id)
}

async fn exists(call: &Call) -> Result<bool, Fault> {
    let found = call.core.state.kept(owner(call)?, call.capture(0)).await?;
    Ok(found.is_some())
}

async fn read(call: &mut Call) -> Result<Answer, Fault> {
    if call.capture(0) == "response"
        && let Some(wrapped) = call.core.state.wrapped(owner(call)?).await?
    {
        let body = zeroize::Zeroizing::new(wrapped.body);
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let answer = Answer::data(serde_json::json!({ "response": text }));
        return Ok(answer.with_warning(
            "Reading from 'cubbyhole/response' is deprecated. Please use sys/wrapping/unwrap to \
             unwrap responses, as it provides additional security checks and other benefits.",
        ));
    }
    let Some(body) = call.core.state.kept(owner(call)?, call.capture(0)).await? else {
        return Err(Fault::NotFound);
    };
    let value = serde_json::from_slice::<Value>(&body)
        .map_err(|_| Fault::Internal("a cubbyhole's content is no JSON".into()))?;
    Ok(Answer::data(value))
}

async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let folder = call.capture(0).to_owned();
    let paths = call.core.state.kept_paths(owner(call)?).await?;
    let mut names: Vec<String> = paths
        .iter()
        .filter_map(|path| path.strip_prefix(&folder))
        .map(|below| match below.split_once('/') {
            Some((head, _)) => format!("{head}/"),
            None => below.to_owned(),
        })
        .collect();
    names.dedup();
    Answer::keys(&names)
}

async fn write(call: &mut Call) -> Result<Answer, Fault> {
    if call.fields.is_empty() {
        return Err(Fault::invalid("missing data fields"));
    }
    let object = Wiped(call.fields.to_value());
    let body = compact(&object.0);
    if body.len() > CONTENT_BYTES_MAX {
        return Err(Fault::invalid("the content is over the limit of 1 MiB"));
    }
    let id = owner(call)?;
    let state = &call.core.state;
    if state.kept_paths(id).await?.len() >= PATHS_MAX {
        return Err(Fault::Invalid(format!(
            "a cubbyhole holds at most {PATHS_MAX} paths"
        )));
    }
    state.keep(id, call.capture(0), body.to_vec()).await?;
    Ok(Answer::Empty)
}

async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    call.core
        .state
        .forget(owner(call)?, call.capture(0))
        .await?;
    Ok(Answer::Empty)
}
