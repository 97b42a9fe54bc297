//! Values and their versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::metadata::Metadata;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;
use strongroom_engine::Error;
use strongroom_engine::secrets::NewVersion;
use strongroom_engine::secrets::Versions;
use zeroize::Zeroizing;

use crate::core::Seen;
use crate::vault::body::Wiped;
use crate::vault::body::compact;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;
use crate::vault::reply::Rendered;

/// A patch that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 16;
/// Most versions named in one request.
const NAMED_MAX: usize = 1000;

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    if call.capture(0).is_empty() {
        return Err(Fault::NotFound);
    }
    let path = call.secret_path()?;
    let wanted = wanted_version(call)?;
    let Some(seen) = call.core.secret(&call.live, &path).await? else {
        return Err(Fault::NotFound);
    };
    let info = match wanted {
        0 => seen.snapshot.newest(),
        number => seen.snapshot.version(number),
    };
    let Some(info) = info else {
        return Err(Fault::NotFound);
    };
    if info.state_at(call.now) != VersionState::Live {
        return Ok(gone(info, seen.snapshot.metadata(), call.now));
    }
    let is_newest = seen.snapshot.newest() == Some(info);
    if let (true, Some(rendered)) = (is_newest, seen.rendered.get()) {
        call.note_read(&path, info);
        return Ok(Answer::rendered(Arc::clone(rendered)));
    }
    let payload = call
        .live
        .secrets
        .value_in(&seen.snapshot, info.number, call.now);
    let Some(payload) = payload.await? else {
        return Err(Fault::NotFound);
    };
    let rendered = Arc::new(render(call, &payload, info, &seen)?);
    call.note_read(&path, info);
    if !is_newest {
        call.node.metrics.note_old_read(&seen.snapshot.stages(info));
    }
    if is_newest {
        let _ = seen.rendered.set(Arc::clone(&rendered));
    }
    Ok(Answer::rendered(rendered))
}

fn render(
    call: &Call,
    payload: &Payload,
    info: &VersionInfo,
    seen: &Seen,
) -> Result<Rendered, Fault> {
    let metadata = version_json(info, seen.snapshot.metadata(), call.now);
    let metadata = compact(&metadata);
    let value = json_of(payload)?;
    let mut json = Zeroizing::new(Vec::with_capacity(value.len() + metadata.len() + 24));
    json.extend_from_slice(b"{\"data\":");
    json.extend_from_slice(&value);
    json.extend_from_slice(b",\"metadata\":");
    json.extend_from_slice(&metadata);
    json.push(b'}');
    let parsed = serde_json::from_slice(&value).map(Wiped);
    let parsed = parsed.map_err(|_| Fault::Internal("a stored object is no JSON".into()))?;
    let audit = call.core.audit.hashed(&parsed.0);
    Ok(Rendered {
        json,
        audit: format!("{{\"data\":{audit},\"version\":{}}}", info.number),
    })
}

/// A payload as the JSON object that Vault clients read.
pub(crate) fn json_of(payload: &Payload) -> Result<Zeroizing<Vec<u8>>, Fault> {
    // EXPOSE: the value goes into the answer to a caller that may read it.
    let bytes = payload.value.expose_secret();
    match payload.shape {
        Shape::Fields => Ok(Zeroizing::new(bytes.to_vec())),
        Shape::Text => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Fault::Internal("a stored text is no UTF-8".into()))?;
            let value = Wiped(json!({ "value": text }));
            Ok(compact(&value.0))
        }
        Shape::Binary => {
            let text = Zeroizing::new(data_encoding::BASE64.encode(bytes));
            let value = Wiped(json!({ "value": text.as_str(), "encoding": "base64" }));
            Ok(compact(&value.0))
        }
    }
}

/// A written object as a payload: text where its only field is `value` with a text.
pub(crate) fn payload_of(object: &Value) -> Payload {
    if let Value::Object(fields) = object
        && let (1, Some(Value::String(text))) = (fields.len(), fields.get("value"))
    {
        return Payload {
            value: SecretValue::copy_from(text.as_bytes()),
            shape: Shape::Text,
        };
    }
    Payload {
        value: SecretValue::copy_from(&compact(object)),
        shape: Shape::Fields,
    }
}

/// A version that is deleted or destroyed: "not found", with everything but the value.
fn gone(info: &VersionInfo, metadata: &Metadata, now: Timestamp) -> Answer {
    let data = json!({ "data": null, "metadata": version_json(info, metadata, now) });
    let mut full = Full::of(Data::Value(data));
    full.status = StatusCode::NOT_FOUND;
    Answer::Full(Box::new(full))
}

/// What an answer says of a version beside its value.
pub(super) fn version_json(info: &VersionInfo, metadata: &Metadata, now: Timestamp) -> Value {
    let custom = match metadata.custom.is_empty() {
        true => Value::Null,
        false => json!(metadata.custom),
    };
    json!({
        "created_time": info.created.to_string(),
        "custom_metadata": custom,
        "deletion_time": deletion_time(info, now),
        "destroyed": info.state == VersionState::Destroyed,
        "version": info.number,
    })
}

/// When a version was or will be deleted; nothing for never.
pub(super) fn deletion_time(info: &VersionInfo, now: Timestamp) -> String {
    match info.state_at(now) {
        VersionState::Deleted { at } => at.to_string(),
        VersionState::Live => info.delete_at.map_or_else(String::new, |at| at.to_string()),
        VersionState::Destroyed => String::new(),
    }
}

fn wanted_version(call: &Call) -> Result<u64, Fault> {
    let Some(text) = call.query.get("version").filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    text.parse().map_err(|_| {
        Fault::invalid(
            "Field validation failed: error converting input for field \"version\": '' cannot \
             parse value as 'int': invalid syntax",
        )
    })
}

pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    let Ok(path) = call.secret_path() else {
        return Ok(false);
    };
    Ok(call.core.secret(&call.live, &path).await?.is_some())
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    refuse_folder(call)?;
    let cas = cas_of(call)?;
    let object = object_of(call)?;
    let path = call.secret_path()?;
    let payload = payload_of(&object.0);
    put(call, &path, &payload, cas).await
}

async fn put(
    call: &Call,
    path: &strongroom_core::path::SecretPath,
    payload: &Payload,
    cas: Option<u64>,
) -> Result<Answer, Fault> {
    let config = call.live.kv2(&call.core).await?;
    let how = NewVersion {
        cas,
        cas_required: config.cas_required,
        max_versions: config.kept(),
        delete_after: config.delete_after(),
    };
    let (secrets, context) = (&call.live.secrets, call.context());
    let (info, metadata) = secrets.put_version(&context, path, payload, &how).await?;
    Ok(Answer::data(version_json(&info, &metadata, call.now)))
}

fn refuse_folder(call: &Call) -> Result<(), Fault> {
    if call.path.as_str().ends_with('/') {
        return Err(Fault::invalid("cannot write to a path ending in '/'"));
    }
    Ok(())
}

/// The object to write.
fn object_of(call: &mut Call) -> Result<Wiped, Fault> {
    let Some(data) = call.fields.take("data") else {
        return Err(Fault::invalid("no data provided"));
    };
    let kind = match &data.0 {
        Value::Object(_) => return Ok(data),
        Value::Array(_) => "[]interface {}",
        Value::String(_) => "string",
        Value::Number(_) => "json.Number",
        Value::Bool(_) => "bool",
        Value::Null => "nil",
    };
    Err(Fault::Invalid(format!(
        "error converting input for field \"data\": '' expected type \
         'map[string]interface {{}}', got unconvertible type '{kind}'"
    )))
}

fn cas_of(call: &Call) -> Result<Option<u64>, Fault> {
    let options = match call.fields.get("options") {
        None => return Ok(None),
        Some(Value::Object(options)) => options,
        Some(_) => return Err(Fault::invalid("the options have to be an object")),
    };
    match options.get("cas") {
        None | Some(Value::Null) => Ok(None),
        // No version is below zero: it is the current one of nothing.
        Some(value) => field::integer_of(value)
            .map(|number| Some(u64::try_from(number).unwrap_or(u64::MAX)))
            .ok_or_else(|| Fault::invalid("error parsing check-and-set parameter")),
    }
}

pub(super) async fn patch(call: &mut Call) -> Result<Answer, Fault> {
    refuse_folder(call)?;
    let cas = cas_of(call)?;
    let changes = object_of(call)?;
    let path = call.secret_path()?;
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = call.live.secrets.snapshot(&path).await?;
        let Some(snapshot) = snapshot else {
            return Err(Fault::NotFound);
        };
        let Some(info) = snapshot.newest() else {
            return Err(Fault::NotFound);
        };
        if info.state_at(call.now) != VersionState::Live {
            let data = version_json(info, snapshot.metadata(), call.now);
            let mut full = Full::of(Data::Value(data));
            full.status = StatusCode::NOT_FOUND;
            return Ok(Answer::Full(Box::new(full)));
        }
        let number = info.number;
        if cas.is_some_and(|cas| cas != number) {
            return Err(Fault::Engine(Error::VersionMismatch {
                path: path.to_string(),
                expected: cas.unwrap_or_default(),
                found: number,
            }));
        }
        let value = call.live.secrets.value_in(&snapshot, number, call.now);
        let Some(payload) = value.await? else {
            continue;
        };
        let stored = json_of(&payload)?;
        let parsed = serde_json::from_slice(&stored).map(Wiped);
        let mut object =
            parsed.map_err(|_| Fault::Internal("a stored object is no JSON".into()))?;
        merge(&mut object.0, &changes.0);
        // The version that was read is the one that is changed.
        match put(call, &path, &payload_of(&object.0), Some(number)).await {
            Err(Fault::Engine(Error::VersionMismatch { .. })) if cas.is_none() => {}
            result => return result,
        }
    }
    Err(Fault::Engine(Error::Contended {
        path: path.to_string(),
    }))
}

/// RFC 7396.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.shift_remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

pub(super) async fn delete_newest(call: &mut Call) -> Result<Answer, Fault> {
    change(call, Change::Delete, &Versions::Newest).await
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let versions = named_versions(call)?;
    change(call, Change::Delete, &versions).await
}

pub(super) async fn undelete(call: &mut Call) -> Result<Answer, Fault> {
    let versions = named_versions(call)?;
    change(call, Change::Undelete, &versions).await
}

pub(super) async fn destroy(call: &mut Call) -> Result<Answer, Fault> {
    let versions = named_versions(call)?;
    change(call, Change::Destroy, &versions).await
}

#[derive(Clone, Copy)]
enum Change {
    Delete,
    Undelete,
    Destroy,
}

async fn change(call: &Call, change: Change, versions: &Versions) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    let (secrets, context) = (&call.live.secrets, call.context());
    let result = match change {
        Change::Delete => secrets.delete(&context, &path, versions).await,
        Change::Undelete => secrets.undelete(&context, &path, versions).await,
        Change::Destroy => secrets.destroy(&context, &path, versions).await,
    };
    match result {
        Ok(_) | Err(Error::NotFound { .. }) => Ok(Answer::Empty),
        Err(error) => Err(error.into()),
    }
}

fn named_versions(call: &Call) -> Result<Versions, Fault> {
    let none = || Fault::invalid("No version number provided");
    let values = match call.fields.get("versions") {
        None => return Err(none()),
        Some(Value::Array(values)) => values.clone(),
        Some(Value::String(text)) => text.split(',').map(Value::from).collect(),
        Some(other) => vec![other.clone()],
    };
    if values.is_empty() {
        return Err(none());
    }
    if values.len() > NAMED_MAX {
        return Err(Fault::Invalid(format!(
            "at most {NAMED_MAX} versions can be named at once"
        )));
    }
    let number = |value: &Value| {
        let number = field::integer_of(value).and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| Fault::invalid("the versions have to be numbers"))
    };
    let numbers = values.iter().map(number);
    Ok(Versions::Some(numbers.collect::<Result<BTreeSet<_>, _>>()?))
}

pub(super) async fn subkeys(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    let wanted = wanted_version(call)?;
    let depth = match call.query.get("depth") {
        None | Some("") => 0,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Fault::invalid("the depth has to be a number"))?,
    };
    let Some(snapshot) = call.live.secrets.snapshot(&path).await? else {
        return Err(Fault::NotFound);
    };
    let info = match wanted {
        0 => snapshot.newest(),
        number => snapshot.version(number),
    };
    let Some(info) = info else {
        return Err(Fault::NotFound);
    };
    let metadata = version_json(info, snapshot.metadata(), call.now);
    if info.state_at(call.now) != VersionState::Live {
        let mut full = Full::of(Data::Value(
            json!({ "metadata": metadata, "subkeys": null }),
        ));
        full.status = StatusCode::NOT_FOUND;
        return Ok(Answer::Full(Box::new(full)));
    }
    let value = call.live.secrets.value_in(&snapshot, info.number, call.now);
    let Some(payload) = value.await? else {
        return Err(Fault::NotFound);
    };
    let json = json_of(&payload)?;
    let parsed = serde_json::from_slice(&json).map(Wiped);
    let parsed = parsed.map_err(|_| Fault::Internal("a stored object is no JSON".into()))?;
    let keys = only_keys(&parsed.0, depth, 1);
    Ok(Answer::data(
        json!({ "metadata": metadata, "subkeys": keys }),
    ))
}

/// The object without its values; past `depth` (0 for any) without what lies below, either.
fn only_keys(value: &Value, depth: usize, level: usize) -> Value {
    match value {
        Value::Object(fields) if depth == 0 || level <= depth => {
            let keys = fields
                .iter()
                .map(|(name, value)| (name.clone(), only_keys(value, depth, level + 1)));
            Value::Object(keys.collect())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_objects_keep_their_shape() {
        for (object, shape, back) in [
            (json!({"value": "a\"b"}), Shape::Text, r#"{"value":"a\"b"}"#),
            (json!({"value": 1}), Shape::Fields, r#"{"value":1}"#),
            (json!({}), Shape::Fields, "{}"),
            (
                json!({"value": "x", "more": null}),
                Shape::Fields,
                r#"{"value":"x","more":null}"#,
            ),
        ] {
            let payload = payload_of(&object);
            assert_eq!(payload.shape, shape, "{object}");
            assert_eq!(json_of(&payload).unwrap().as_slice(), back.as_bytes());
        }
    }

    #[test]
    fn merging_is_rfc_7396() {
        for (target, patch, merged) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a":{"b":"d"}}"#,
            ),
            (
                r#"{"a":[1]}"#,
                r#"{"a":{"bb":{"ccc":null}}}"#,
                r#"{"a":{"bb":{}}}"#,
            ),
        ] {
            let mut value: Value = serde_json::from_str(target).unwrap();
            merge(&mut value, &serde_json::from_str(patch).unwrap());
            assert_eq!(value.to_string(), merged, "{target} {patch}");
        }
    }
}
