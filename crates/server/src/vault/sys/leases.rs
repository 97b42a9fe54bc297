//! Leases: of tokens and of users of databases. The lease of a token is named after the path it was
//! made by and a hash, never after the token.

mod dynamic;

use serde_json::json;
use strongroom_core::port::RecordId;
use strongroom_engine::Error;
use strongroom_engine::state::Kind;
use strongroom_engine::tokens::Token;
use strongroom_engine::tokens::owner_of;

use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;

pub(super) use dynamic::close_mount;
pub(super) use dynamic::compare;
pub(super) use dynamic::reconcile;
pub(super) use dynamic::revoke_mount;

fn invalid() -> Fault {
    Fault::invalid("invalid lease")
}

/// The id of a token's lease.
fn lease_id(id: RecordId, token: &Token) -> String {
    format!("{}/h{}", token.path, owner_of(id))
}

/// What a lease is named after: a path and the id of a token.
fn parse(lease: &str) -> Option<(&str, RecordId)> {
    let (path, hash) = lease.rsplit_once("/h")?;
    let bytes = data_encoding::HEXLOWER.decode(hash.as_bytes()).ok()?;
    Some((path, RecordId(bytes.try_into().ok()?)))
}

/// The token of a lease; `None` when there is no such lease, or none any more.
async fn find(call: &Call, lease: &str) -> Result<Option<(RecordId, Token)>, Fault> {
    let Some((path, id)) = parse(lease) else {
        return Ok(None);
    };
    let found = match call.core.state.token(id).await {
        Err(Error::Damaged { .. }) if is_of_another_kind(call, id).await? => None,
        found => found?,
    };
    let found = found.filter(|found| {
        found.value.path == path && found.value.expires.is_some() && found.value.is_alive(call.now)
    });
    Ok(found.map(|found| (id, found.value)))
}

/// Whether a record is one of the server's state, but no token.
async fn is_of_another_kind(call: &Call, id: RecordId) -> Result<bool, Fault> {
    let record = call.core.storage.get(id).await;
    let record = record.map_err(crate::core::storage)?;
    let label = record.and_then(|record| call.core.state.label(&record));
    Ok(label.is_some_and(|(kind, _)| kind != Kind::Token))
}

fn named(call: &Call) -> Result<String, Fault> {
    let named = field::text(&call.fields, "lease_id")?;
    let named = named.or_else(|| Some(call.capture(0).to_owned()));
    named
        .filter(|lease| !lease.is_empty())
        .ok_or_else(|| Fault::invalid("lease_id must be specified"))
}

pub(super) async fn lookup(call: &mut Call) -> Result<Answer, Fault> {
    let lease = named(call)?;
    if let Some((_, found)) = dynamic::find(call, &lease).await? {
        return dynamic::describe(call, &found.value).ok_or_else(invalid);
    }
    let (_, token) = find(call, &lease).await?.ok_or_else(invalid)?;
    Ok(Answer::data(json!({
        "expire_time": token.expires.map(|end| end.to_string()),
        "id": lease,
        "issue_time": token.created.to_string(),
        "last_renewal": token.last_renewal.map(|at| at.to_string()),
        "path": token.path,
        "renewable": token.is_renewable,
        "ttl": token.ttl_seconds(call.now),
    })))
}

/// All living tokens with an end whose lease begins with a prefix.
async fn below(call: &Call, prefix: &str) -> Result<Vec<(RecordId, String)>, Fault> {
    let state = &call.core.state;
    let mut found = Vec::new();
    if !may_have_tokens(prefix) {
        return Ok(found);
    }
    for accessor in state.accessors().await? {
        let Some(token) = state.token_of_accessor(&accessor).await? else {
            continue;
        };
        let lease = lease_id(token.id, &token.value);
        if token.value.expires.is_some() && lease.starts_with(prefix) {
            found.push((token.id, lease));
        }
    }
    Ok(found)
}

/// Tokens come from methods, and their makers' paths begin so; `sys/` makes those that wrap.
fn may_have_tokens(prefix: &str) -> bool {
    let begins = |head: &str| prefix.starts_with(head) || head.starts_with(prefix);
    begins("auth/") || begins("sys/")
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let prefix = call.capture(0).to_owned();
    let found = below(call, &prefix).await?;
    let mut names: Vec<String> = found
        .iter()
        .map(|(_, lease)| {
            let rest = &lease[prefix.len()..];
            match rest.split_once('/') {
                Some((head, _)) => format!("{head}/"),
                None => rest.to_owned(),
            }
        })
        .collect();
    names.extend(dynamic::names(call, &prefix).await?);
    names.sort_unstable();
    names.dedup();
    Answer::keys(&names)
}

pub(super) async fn renew(call: &mut Call) -> Result<Answer, Fault> {
    let lease = named(call)?;
    let increment = field::seconds(&call.fields, "increment")?.unwrap_or(0);
    if let Some((live, found)) = dynamic::find(call, &lease).await? {
        return dynamic::renew(call, &live, found, increment).await;
    }
    let found = find(call, &lease).await?;
    let (id, token) = found.ok_or_else(|| Fault::invalid("lease not found"))?;
    crate::vault::renewal::check(&call.core, &token).await?;
    let max_ttl = call.core.max_ttl_of(token.mount);
    let renewed = call
        .core
        .state
        .renew(id, call.now, increment, max_ttl)
        .await;
    let token = renewed?;
    let mut full = Full::of(Data::None);
    full.lease_id = lease;
    full.is_renewable = token.is_renewable;
    full.lease_seconds = token.ttl_seconds(call.now);
    Ok(Answer::Full(Box::new(full)))
}

pub(super) async fn revoke(call: &mut Call) -> Result<Answer, Fault> {
    let lease = named(call)?;
    if let Some((_, found)) = dynamic::find(call, &lease).await? {
        return dynamic::revoke(call, found).await;
    }
    // A lease that is gone is revoked.
    if let Some((id, _)) = find(call, &lease).await? {
        call.core.state.revoke(id).await?;
        call.node.leases.wake();
    }
    Ok(Answer::Empty)
}

pub(super) async fn revoke_prefix(call: &mut Call) -> Result<Answer, Fault> {
    revoke_below(call, false).await
}

/// What cannot be removed is forgotten.
pub(super) async fn revoke_force(call: &mut Call) -> Result<Answer, Fault> {
    revoke_below(call, true).await
}

async fn revoke_below(call: &Call, force: bool) -> Result<Answer, Fault> {
    let prefix = call.capture(0).trim_end_matches('/').to_owned();
    if prefix.is_empty() {
        return Err(Fault::invalid("the prefix must be specified"));
    }
    let prefix = format!("{prefix}/");
    for (id, _) in below(call, &prefix).await? {
        call.core.state.revoke(id).await?;
    }
    dynamic::revoke_below(call, &prefix, force).await?;
    Ok(Answer::Empty)
}

pub(super) async fn tidy(call: &mut Call) -> Result<Answer, Fault> {
    call.core.state.tidy_tokens().await?;
    dynamic::tidy(call).await?;
    let mut full = Full::of(Data::None);
    full.status = http::StatusCode::ACCEPTED;
    full.warnings.push("Tidy operation finished.".into());
    Ok(Answer::Full(Box::new(full)))
}

/// Whether a read asks for leases that cannot be revoked, the only ones it can ask for.
fn asks_for_irrevocable(call: &Call) -> Result<bool, Fault> {
    let kind = field::text(&call.fields, "type")?;
    Ok(kind.as_deref() == Some("irrevocable"))
}

pub(super) async fn count(call: &mut Call) -> Result<Answer, Fault> {
    match asks_for_irrevocable(call)? {
        true => dynamic::count_irrevocable(call).await,
        false => Err(Fault::NotFound),
    }
}

pub(super) async fn irrevocable(call: &mut Call) -> Result<Answer, Fault> {
    match asks_for_irrevocable(call)? {
        true => dynamic::irrevocable(call).await,
        false => Err(Fault::NotFound),
    }
}
