//! Policies.

use serde_json::Map;
use serde_json::json;
use strongroom_core::policy::DEFAULT_POLICY;
use strongroom_core::policy::Policy;
use strongroom_core::policy::PolicyName;
use strongroom_core::policy::RESPONSE_WRAPPING_POLICY;
use strongroom_core::time::Timestamp;
use strongroom_engine::cubbyhole::WRAPPING;
use strongroom_engine::policies::PolicyText;
use strongroom_engine::tokens::DEFAULT;
use strongroom_engine::tokens::ROOT;

use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;

async fn names(call: &Call) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = vec![DEFAULT.into()];
    let stored = call.core.state.policies().await?;
    names.extend(stored.into_iter().map(|(name, _)| name));
    names.retain(|name| name != WRAPPING);
    names.sort_unstable();
    names.dedup();
    names.push(ROOT.into());
    Ok(names)
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    Ok(Answer::data(json!({ "keys": names(call).await? })))
}

pub(super) async fn list_old(call: &mut Call) -> Result<Answer, Fault> {
    let names = names(call).await?;
    Ok(Answer::lifted(json!({ "keys": names, "policies": names })))
}

/// Names are compared in lower case and without spaces round them.
fn name_of(call: &Call) -> Result<PolicyName, Fault> {
    let name = call.capture(0).trim().to_lowercase();
    name.parse::<PolicyName>()
        .map_err(|error| Fault::invalid(error.to_string()))
}

async fn find(call: &Call, name: &PolicyName) -> Result<PolicyText, Fault> {
    if let Some(stored) = call.core.state.policy(name.as_str()).await? {
        return Ok(stored);
    }
    let fixed = |text: &str| PolicyText {
        text: text.to_owned(),
        modified: Timestamp::from_micros(0),
        version: 1,
    };
    match name.as_str() {
        ROOT => Ok(PolicyText {
            version: 0,
            ..fixed("")
        }),
        DEFAULT => Ok(fixed(DEFAULT_POLICY)),
        WRAPPING => Ok(fixed(RESPONSE_WRAPPING_POLICY)),
        _ => Err(Fault::NotFound),
    }
}

fn describe(name: &PolicyName, policy: &PolicyText) -> serde_json::Value {
    let mut map = Map::new();
    map.insert("allow_slashes_in_identity_templates".into(), false.into());
    map.insert("allow_wildcards_in_identity_templates".into(), false.into());
    map.insert("cas_required".into(), false.into());
    if policy.version > 0 {
        map.insert("modified".into(), policy.modified.to_string().into());
    }
    map.insert("name".into(), name.as_str().into());
    map.insert("rules".into(), policy.text.as_str().into());
    map.insert("version".into(), policy.version.into());
    map.into()
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let policy = find(call, &name).await?;
    // Exactly what Vault gives: its clients' own tests compare the whole.
    Ok(Answer::data(
        json!({ "name": name.as_str(), "policy": policy.text }),
    ))
}

pub(super) async fn read_old(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let policy = find(call, &name).await?;
    Ok(Answer::lifted(describe(&name, &policy)))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    if name.is_root() || name.as_str() == WRAPPING {
        return Err(Fault::Invalid(format!(
            "cannot update {:?} policy",
            name.as_str()
        )));
    }
    let text = field::text(&call.fields, "policy")?;
    let is_old = text.is_none();
    let text = match text {
        Some(text) => Some(text),
        None => field::text(&call.fields, "rules")?,
    };
    let text = text.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Fault::invalid("'policy' parameter not supplied or empty"))?;
    let text = decoded(text);
    Policy::parse(&name, &text)
        .map_err(|error| Fault::Invalid(format!("failed to parse policy: {error}")))?;
    let cas = field::integer(&call.fields, "cas")?;
    let cas = cas.map(|cas| u64::try_from(cas).unwrap_or(0));
    call.core
        .state
        .put_policy(name.as_str(), &text, call.now, cas)
        .await?;
    if is_old {
        let mut full = Full::of(Data::None);
        let text = "'rules' is deprecated, please use 'policy' instead";
        full.warnings.push(text.into());
        return Ok(Answer::Full(Box::new(full)));
    }
    Ok(Answer::Empty)
}

/// A policy may come as base64.
fn decoded(text: String) -> String {
    let is_plain = text.contains(|c: char| c.is_whitespace() || "{}\"=".contains(c));
    if is_plain && text.contains(['{', '"']) {
        return text;
    }
    let bytes = data_encoding::BASE64.decode(text.trim().as_bytes()).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or(text)
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    if name.as_str() == DEFAULT {
        return Err(Fault::invalid("cannot delete default policy"));
    }
    if name.is_root() || name.as_str() == WRAPPING {
        let text = format!("cannot delete {:?} policy", name.as_str());
        return Err(Fault::Invalid(text));
    }
    let state = &call.core.state;
    state.delete_policy(name.as_str(), call.now).await?;
    Ok(Answer::Empty)
}
