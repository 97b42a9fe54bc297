//! Access keys of AWS clients.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Span;
use strongroom_engine::access_keys::AccessKey;
use strongroom_engine::access_keys::IssuedKey;
use strongroom_engine::access_keys::NewKey;
use strongroom_engine::tokens::ROOT;

use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::login;
use crate::vault::reply::Answer;

/// Most policies of one key.
const POLICIES_MAX: usize = 64;
/// How long an old key works beside the new one, unless somebody says.
const OVERLAP_SECONDS: i64 = 24 * 3600;
/// The longest overlap.
const OVERLAP_SECONDS_MAX: i64 = 90 * 24 * 3600;

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let keys = call.core.state.access_keys().await?;
    let keys: Vec<_> = keys
        .into_iter()
        .filter(|(_, found)| found.value.is_alive(call.now))
        .collect();
    let names: Vec<&String> = keys.iter().map(|(id, _)| id).collect();
    let info: Map<String, Value> = keys
        .iter()
        .map(|(id, found)| (id.clone(), describe(&found.value)))
        .collect();
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

/// What is known about a key but its secret.
fn describe(key: &AccessKey) -> Value {
    json!({
        "name": key.name,
        "policies": key.policies,
        "created_time": key.created.to_string(),
        "expire_time": key.expires.map(|at| at.to_string()),
        "successor": key.successor,
    })
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = call.core.state.access_key(call.capture(0)).await?;
    let found = found.filter(|found| {
        let key = &found.value;
        key.session.is_none() && key.is_alive(call.now)
    });
    let key = found.ok_or(Fault::NotFound)?.value;
    let mut data = describe(&key);
    data["access_key_id"] = json!(call.capture(0));
    Ok(Answer::data(data))
}

pub(super) async fn create(call: &mut Call) -> Result<Answer, Fault> {
    let fields = &call.fields;
    let asked = field::texts(fields, "policies")?.unwrap_or_default();
    let policies = login::normal_policies(asked)?;
    if policies.is_empty() {
        return Err(Fault::invalid("a key needs at least one policy"));
    }
    if policies.len() > POLICIES_MAX {
        return Err(Fault::Invalid(format!(
            "a key has at most {POLICIES_MAX} policies"
        )));
    }
    check_policies(call, &policies)?;
    let name = field::text(fields, "name")?.unwrap_or_default();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if name.len() > 64 || !name.chars().all(is_letter) {
        return Err(Fault::invalid(
            "the name of a key has at most 64 letters, digits and _+=,.@-",
        ));
    }
    let ttl = field::seconds(fields, "ttl")?.filter(|seconds| *seconds > 0);
    let new = NewKey {
        policies,
        name,
        maker: call.caller()?.token.accessor.clone(),
        ttl: ttl.map(Span::from_seconds),
    };
    let warnings = login::missing_policies(call, &new.policies);
    let issued = call.core.state.issue_key(new, call.now).await?;
    Ok(shown(&issued, &warnings))
}

pub(super) async fn rotate(call: &mut Call) -> Result<Answer, Fault> {
    let overlap = field::seconds(&call.fields, "overlap")?.unwrap_or(OVERLAP_SECONDS);
    if overlap > OVERLAP_SECONDS_MAX {
        return Err(Fault::invalid("the overlap is at most 90 days"));
    }
    let id = call.capture(0).to_owned();
    let state = &call.core.state;
    let found = state.access_key(&id).await?.ok_or(Fault::NotFound)?;
    // The new key may do what the old one may: nobody gets more by this than he may give.
    check_policies(call, &found.value.policies)?;
    let maker = &call.caller()?.token.accessor;
    let overlap = Span::from_seconds(overlap);
    match state.rotate_key(&id, maker, overlap, call.now).await? {
        Some(issued) => Ok(shown(&issued, &[])),
        None => Err(Fault::invalid(
            "the key is of a session, is at its end or was rotated already",
        )),
    }
}

pub(super) async fn revoke(call: &mut Call) -> Result<Answer, Fault> {
    match call.core.state.revoke_key(call.capture(0)).await? {
        true => Ok(Answer::Empty),
        false => Err(Fault::NotFound),
    }
}

/// As with tokens: only what one has oneself, or anything with `sudo`; everything only by those
/// who may do everything.
fn check_policies(call: &Call, policies: &[String]) -> Result<(), Fault> {
    let own = &call.caller()?.token;
    let is_root = policies.iter().any(|name| name == ROOT);
    if is_root && !own.is_root() {
        return Err(Fault::invalid("only a root token can give the policy root"));
    }
    let may_give = |name: &String| own.policies.contains(name);
    if !call.has_sudo() && !policies.iter().all(may_give) {
        return Err(Fault::invalid(
            "the policies of a key must be a subset of your own",
        ));
    }
    Ok(())
}

fn shown(issued: &IssuedKey, warnings: &[String]) -> Answer {
    let mut data = describe(&issued.key);
    // EXPOSE: a new key goes into the answer to the one who asked for it.
    let secret = issued.key.secret.expose_secret_text().unwrap_or_default();
    data["access_key_id"] = json!(issued.id);
    data["secret_access_key"] = json!(secret);
    let mut answer = Answer::data(data);
    for warning in warnings {
        answer = answer.with_warning(warning);
    }
    answer
}
