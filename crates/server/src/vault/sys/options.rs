//! Settings of the server that clients change.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::lease::format_duration;
use strongroom_core::time::Span;
use strongroom_crypto::keyring::SEALS_PER_KEY_MAX;

use crate::options::EXEMPT_PATHS;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Most headers that are told, and most paths without a limit.
const NAMES_MAX: usize = 64;
/// The shortest time after which a new data key can be made by itself.
const ROTATION_SECONDS_MIN: i64 = 24 * 60 * 60;

/// Headers whose values are secrets.
const SECRET_HEADERS: [&str; 4] = [
    "x-vault-token",
    "authorization",
    "proxy-authorization",
    "cookie",
];

pub(super) async fn list_headers(call: &mut Call) -> Result<Answer, Fault> {
    let options = call.core.options.get();
    let mut map = Map::new();
    for (name, is_hashed) in &options.audited_headers {
        map.insert(name.clone(), json!({ "hmac": is_hashed }));
    }
    Ok(Answer::lifted(json!({ "headers": map })))
}

fn header_of(call: &Call) -> Result<String, Fault> {
    let name = http::HeaderName::from_bytes(call.capture(0).as_bytes());
    let name = name.map_err(|_| Fault::invalid("that is no name of a header"))?;
    Ok(name.as_str().to_owned())
}

pub(super) async fn read_header(call: &mut Call) -> Result<Answer, Fault> {
    let options = call.core.options.get();
    let found = options.audited_headers.get(&header_of(call)?);
    let is_hashed = found.ok_or_else(|| Fault::invalid("Could not find header in config"))?;
    let mut map = Map::new();
    map.insert(call.capture(0).to_owned(), json!({ "hmac": is_hashed }));
    Ok(Answer::lifted(Value::Object(map)))
}

pub(super) async fn write_header(call: &mut Call) -> Result<Answer, Fault> {
    let name = header_of(call)?;
    let is_hashed = field::flag(&call.fields, "hmac")?.unwrap_or(false);
    if SECRET_HEADERS.contains(&name.as_str()) && !is_hashed {
        return Err(Fault::invalid(
            "this header holds a secret: it can stand in the audit log as a hash only (hmac)",
        ));
    }
    let told = &call.core.options.get().audited_headers;
    if told.len() >= NAMES_MAX && !told.contains_key(&name) {
        return Err(Fault::Invalid(format!("at most {NAMES_MAX} headers")));
    }
    let state = &call.core.state;
    let change = |options: &mut crate::options::Options| {
        options.audited_headers.insert(name, is_hashed);
    };
    call.core.options.change(state, change).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete_header(call: &mut Call) -> Result<Answer, Fault> {
    let name = header_of(call)?;
    let state = &call.core.state;
    let change = |options: &mut crate::options::Options| {
        options.audited_headers.remove(&name);
    };
    call.core.options.change(state, change).await?;
    Ok(Answer::Empty)
}

pub(super) async fn read_quotas(call: &mut Call) -> Result<Answer, Fault> {
    let options = call.core.options.get();
    let paths = match &options.exempt_paths {
        Some(paths) => json!(paths),
        None => json!(EXEMPT_PATHS),
    };
    Ok(Answer::data(json!({
        "enable_rate_limit_audit_logging": true,
        "enable_rate_limit_response_headers": false,
        "rate_limit_exempt_paths": paths,
    })))
}

pub(super) async fn write_quotas(call: &mut Call) -> Result<Answer, Fault> {
    let fields = &call.fields;
    if field::flag(fields, "enable_rate_limit_audit_logging")? == Some(false) {
        return Err(Fault::invalid(
            "the audit log tells every request, also one over a limit",
        ));
    }
    if field::flag(fields, "enable_rate_limit_response_headers")? == Some(true) {
        return Err(Fault::invalid(
            "there are no headers about limits: Retry-After says how long to wait",
        ));
    }
    let Some(paths) = field::texts(fields, "rate_limit_exempt_paths")? else {
        return Ok(Answer::Empty);
    };
    if paths.len() > NAMES_MAX {
        return Err(Fault::Invalid(format!("at most {NAMES_MAX} paths")));
    }
    let state = &call.core.state;
    let change = |options: &mut crate::options::Options| options.exempt_paths = Some(paths);
    call.core.options.change(state, change).await?;
    Ok(Answer::Empty)
}

pub(super) async fn read_rotation(call: &mut Call) -> Result<Answer, Fault> {
    let rotation = call.core.options.get().rotation.clone();
    let interval = match rotation.interval {
        0 => json!(0),
        seconds => json!(format_duration(Span::from_seconds(seconds))),
    };
    Ok(Answer::data(json!({
        "enabled": rotation.is_enabled,
        "interval": interval,
        "max_operations": SEALS_PER_KEY_MAX,
    })))
}

pub(super) async fn write_rotation(call: &mut Call) -> Result<Answer, Fault> {
    let fields = &call.fields;
    let is_enabled = field::flag(fields, "enabled")?;
    let interval = field::seconds(fields, "interval")?;
    if interval.is_some_and(|seconds| seconds != 0 && seconds < ROTATION_SECONDS_MIN) {
        return Err(Fault::invalid(
            "interval must be greater or equal to 24h0m0s",
        ));
    }
    let operations = field::integer(fields, "max_operations")?;
    if operations.is_some_and(|most| u64::try_from(most) != Ok(SEALS_PER_KEY_MAX)) {
        return Err(Fault::Invalid(format!(
            "max_operations is {SEALS_PER_KEY_MAX} and cannot be chosen"
        )));
    }
    let state = &call.core.state;
    let change = |options: &mut crate::options::Options| {
        let rotation = &mut options.rotation;
        rotation.is_enabled = is_enabled.unwrap_or(rotation.is_enabled);
        rotation.interval = interval.unwrap_or(rotation.interval);
    };
    call.core.options.change(state, change).await?;
    call.node.wake_tasks();
    Ok(Answer::Empty)
}

pub(super) async fn versions(call: &mut Call) -> Result<Answer, Fault> {
    let options = call.core.options.get();
    let mut keys = Vec::new();
    let mut info = Map::new();
    let mut before = Value::Null;
    for (version, since) in &options.versions {
        keys.push(version.clone());
        let entry = json!({
            "commit_date": "",
            "previous_version": before,
            "timestamp_installed": since.to_string(),
        });
        info.insert(version.clone(), entry);
        before = version.as_str().into();
    }
    Ok(Answer::data(json!({ "key_info": info, "keys": keys })))
}
