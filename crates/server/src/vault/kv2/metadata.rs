//! What is known about secrets, and their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::lease::format_duration;
use strongroom_core::metadata::Metadata;
use strongroom_core::path::SecretPath;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionState;
use strongroom_engine::Error;
use strongroom_engine::secrets::Snapshot;

use super::values::deletion_time;
use crate::vault::body::compact;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;
use crate::vault::reply::Rendered;

/// Most entries of a secret's custom metadata, and the longest of each, as Vault has them.
const CUSTOM_MAX: usize = 64;
const CUSTOM_KEY_BYTES_MAX: usize = 128;
const CUSTOM_VALUE_BYTES_MAX: usize = 512;
/// Most names in one detailed listing.
const DETAILED_MAX: usize = 1000;

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    match call.core.secret(&call.live, &path).await? {
        Some(seen) => Ok(Answer::data(describe(&seen.snapshot, call.now))),
        None => Err(Fault::NotFound),
    }
}

fn describe(snapshot: &Snapshot, now: Timestamp) -> Value {
    let metadata = snapshot.metadata();
    let mut versions = Map::new();
    for info in snapshot.versions() {
        let version = json!({
            "created_time": info.created.to_string(),
            "deletion_time": deletion_time(info, now),
            "destroyed": info.state == VersionState::Destroyed,
        });
        versions.insert(info.number.to_string(), version);
    }
    let oldest = snapshot.versions().first().map_or(0, |info| info.number);
    let span = metadata.delete_version_after;
    let span = span.unwrap_or(Span::from_seconds(0));
    json!({
        "cas_required": metadata.cas_required,
        "created_time": metadata.created.to_string(),
        "current_metadata_version": metadata.edits,
        "current_version": snapshot.newest().map_or(0, |info| info.number),
        "custom_metadata": custom_json(metadata),
        "delete_version_after": format_duration(span),
        "max_versions": metadata.max_versions,
        "metadata_cas_required": false,
        "oldest_version": if oldest > 1 { oldest } else { 0 },
        "updated_time": metadata.updated.to_string(),
        "versions": versions,
    })
}

fn custom_json(metadata: &Metadata) -> Value {
    match metadata.custom.is_empty() {
        true => Value::Null,
        false => json!(metadata.custom),
    }
}

/// The folder in the route's capture, without a `/` at its end.
fn folder_of(call: &Call) -> Result<String, Fault> {
    let text = call.capture(0).trim_end_matches('/');
    if !text.is_empty() {
        let parsed = text.parse::<SecretPath>();
        parsed.map_err(|error| Fault::invalid(error.to_string()))?;
    }
    Ok(text.to_owned())
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let folder = folder_of(call)?;
    names_in(call, &folder).await
}

/// The listing of a folder, or the part of it that is asked for.
pub(crate) async fn names_in(call: &Call, folder: &str) -> Result<Answer, Fault> {
    let listing = call.core.listing(&call.live, folder).await?;
    let is_part = ["after", "limit"]
        .iter()
        .any(|name| call.query.get(name).is_some());
    if is_part || listing.names.is_empty() {
        return Answer::keys(&page(call, listing.names.clone())?);
    }
    let rendered = listing.rendered.get_or_init(|| {
        let keys = json!({ "keys": listing.names });
        Arc::new(Rendered {
            audit: call.core.audit.hashed(&keys),
            json: compact(&keys),
        })
    });
    Ok(Answer::rendered(Arc::clone(rendered)))
}

/// The part of a listing that is asked for: names behind `after`, at most `limit`.
pub(crate) fn page(call: &Call, mut names: Vec<String>) -> Result<Vec<String>, Fault> {
    if let Some(after) = call.query.get("after") {
        names.retain(|name| name.as_str() > after);
    }
    let Some(limit) = call.query.get("limit").filter(|limit| !limit.is_empty()) else {
        return Ok(names);
    };
    let limit: i64 = limit
        .parse()
        .map_err(|_| Fault::invalid("the limit has to be a whole number"))?;
    // Nothing and less than nothing is no limit, as for OpenBao.
    if let (true, Ok(limit)) = (limit > 0, usize::try_from(limit)) {
        names.truncate(limit);
    }
    Ok(names)
}

pub(super) async fn scan(call: &mut Call) -> Result<Answer, Fault> {
    let folder = folder_of(call)?;
    let paths = call.live.secrets.paths_below(&folder).await?;
    let below = |path: String| match path.strip_prefix(&folder) {
        Some(rest) => rest.trim_start_matches('/').to_owned(),
        None => path,
    };
    let names = paths.into_iter().map(below).collect();
    Answer::keys(&page(call, names)?)
}

pub(super) async fn list_detailed(call: &mut Call) -> Result<Answer, Fault> {
    let folder = folder_of(call)?;
    let listing = call.core.listing(&call.live, &folder).await?;
    let mut names = page(call, listing.names.clone())?;
    names.truncate(DETAILED_MAX);
    let mut info = Map::new();
    for name in &names {
        if name.ends_with('/') {
            info.insert(name.clone(), json!({}));
            continue;
        }
        let path = match folder.as_str() {
            "" => name.clone(),
            folder => format!("{folder}/{name}"),
        };
        let Ok(path) = path.parse::<SecretPath>() else {
            continue;
        };
        if let Some(seen) = call.core.secret(&call.live, &path).await? {
            info.insert(name.clone(), describe(&seen.snapshot, call.now));
        }
    }
    if names.is_empty() {
        return Err(Fault::NotFound);
    }
    Ok(Answer::data(json!({ "key_info": info, "keys": names })))
}

/// What a request changes.
struct Changes {
    cas_required: Option<bool>,
    max_versions: Option<u32>,
    delete_after: Option<i64>,
    custom: Option<Custom>,
}

enum Custom {
    /// All of it.
    Whole(BTreeMap<String, String>),
    /// These entries; `None` takes one out.
    Some(BTreeMap<String, Option<String>>),
}

impl Changes {
    fn of(call: &Call, custom: Option<Custom>) -> Result<Self, Fault> {
        let fields = &call.fields;
        let kept = field::integer(fields, "max_versions")?;
        Ok(Self {
            cas_required: field::flag(fields, "cas_required")?,
            max_versions: kept.map(super::checked_versions).transpose()?,
            delete_after: super::delete_after(fields)?,
            custom,
        })
    }

    fn apply(&self, metadata: &mut Metadata) -> Result<(), Error> {
        metadata.cas_required = self.cas_required.unwrap_or(metadata.cas_required);
        metadata.edits += 1;
        metadata.max_versions = self.max_versions.unwrap_or(metadata.max_versions);
        if let Some(seconds) = self.delete_after {
            let span = Span::from_seconds(seconds);
            metadata.delete_version_after = (seconds > 0).then_some(span);
        }
        match &self.custom {
            None => {}
            Some(Custom::Whole(map)) => metadata.custom.clone_from(map),
            Some(Custom::Some(changes)) => {
                for (key, value) in changes {
                    match value {
                        Some(value) => metadata.custom.insert(key.clone(), value.clone()),
                        None => metadata.custom.remove(key),
                    };
                }
            }
        }
        check_custom(&metadata.custom)
    }
}

fn check_custom(custom: &BTreeMap<String, String>) -> Result<(), Error> {
    let over = |what: &str, limit: String| {
        Err(Error::LimitExceeded {
            what: what.into(),
            limit,
        })
    };
    if custom.len() > CUSTOM_MAX {
        return over("the custom metadata", format!("{CUSTOM_MAX} entries"));
    }
    for (key, value) in custom {
        if key.is_empty() || key.len() > CUSTOM_KEY_BYTES_MAX {
            return over(
                "a key of the custom metadata",
                format!("1 to {CUSTOM_KEY_BYTES_MAX} bytes"),
            );
        }
        if value.len() > CUSTOM_VALUE_BYTES_MAX {
            return over(
                "a value of the custom metadata",
                format!("{CUSTOM_VALUE_BYTES_MAX} bytes"),
            );
        }
        let is_bad = |text: &str| text.chars().any(char::is_control);
        if is_bad(key) || is_bad(value) {
            return Err(Error::Invalid {
                message: "the custom metadata has a control character".into(),
            });
        }
    }
    Ok(())
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    let custom = custom_map(call)?.map(Custom::Whole);
    let changes = Changes::of(call, custom)?;
    let secrets = &call.live.secrets;
    secrets
        .edit_metadata(&call.context(), &path, |metadata, _| {
            changes.apply(metadata)
        })
        .await?;
    Ok(Answer::Empty)
}

fn custom_map(call: &Call) -> Result<Option<BTreeMap<String, String>>, Fault> {
    if matches!(call.fields.map().get("custom_metadata"), Some(Value::Null)) {
        return Ok(Some(BTreeMap::new()));
    }
    field::text_map(&call.fields, "custom_metadata")
}

pub(super) async fn patch(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    let custom = match call.fields.map().get("custom_metadata") {
        None => None,
        Some(Value::Null) => Some(Custom::Whole(BTreeMap::new())),
        Some(Value::Object(map)) => {
            let mut changes = BTreeMap::new();
            for (key, value) in map {
                let value = match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    Value::Bool(value) => Some(value.to_string()),
                    Value::Array(_) | Value::Object(_) => {
                        return Err(Fault::invalid("custom metadata has to be texts"));
                    }
                };
                changes.insert(key.clone(), value);
            }
            Some(Custom::Some(changes))
        }
        Some(_) => return Err(Fault::invalid("custom metadata has to be an object")),
    };
    let changes = Changes::of(call, custom)?;
    let missing = || Error::NotFound {
        what: path.to_string(),
    };
    let secrets = &call.live.secrets;
    secrets
        .edit_metadata(&call.context(), &path, |metadata, is_new| {
            if is_new {
                return Err(missing());
            }
            changes.apply(metadata)
        })
        .await?;
    Ok(Answer::Empty)
}

pub(super) async fn remove(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.secret_path()?;
    match call.live.secrets.remove(&call.context(), &path).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(Answer::Empty),
        Err(error) => Err(error.into()),
    }
}
