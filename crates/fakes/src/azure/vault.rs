//! The operations on secrets.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::Value;
use serde_json::json;

use super::Answer;
use super::Change;
use super::Deleted;
use super::Inner;
use super::Refusal;
use super::Secret;
use super::SecretVersion;
use super::refusal;

const VALUE_BYTES_MAX: usize = 25_600;
const PAGE_MAX: usize = 25;
const TAGS_MAX: usize = 15;
/// How many questions a deletion, a purge or a recovery takes.
const DELAY: u32 = 2;

type Query = BTreeMap<String, String>;

pub(super) fn route(
    inner: &mut Inner,
    method: &Method,
    path: &str,
    query: &Query,
    body: &[u8],
) -> Answer {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let Some(name) = parts.get(1) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || name.len() > 127 || !name.chars().all(is_plain) {
            return Err(refusal(400, "BadParameter"));
        }
        settle(inner, name);
    }
    let parsed = || serde_json::from_slice(body).map_err(|_| refusal(400, "BadParameter"));
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["secrets"]) => Ok(list(inner, query)),
        ("PUT", ["secrets", name]) => set(inner, name, &parsed()?),
        ("GET", ["secrets", name]) => get(inner, name, ""),
        ("GET", ["secrets", name, "versions"]) => Ok(versions(inner, name, query)),
        ("GET", ["secrets", name, version]) => get(inner, name, version),
        ("PATCH", ["secrets", name]) => update(inner, name, "", &parsed()?),
        ("PATCH", ["secrets", name, version]) => update(inner, name, version, &parsed()?),
        ("DELETE", ["secrets", name]) => delete(inner, name),
        ("GET", ["deletedsecrets", name]) => deleted(inner, name),
        ("DELETE", ["deletedsecrets", name]) => {
            if inner.is_purge_protected {
                return Err(refusal(403, "Forbidden"));
            }
            change(inner, name, Change::Purging)?;
            Ok(Value::Null)
        }
        ("POST", ["deletedsecrets", name, "recover"]) => {
            let found = change(inner, name, Change::Recovering)?;
            let newest = found.versions.last().unwrap().clone();
            Ok(shown(inner, name, &newest, false))
        }
        _ => Err(refusal(404, "PathNotFound")),
    }
}

/// Time passes with every question about a secret.
fn settle(inner: &mut Inner, name: &str) {
    let Some(found) = inner.deleted.get_mut(name) else {
        return;
    };
    if found.delay > 0 {
        found.delay -= 1;
        return;
    }
    match found.change {
        Change::Deleted => {}
        Change::Deleting => found.change = Change::Deleted,
        Change::Purging => drop(inner.deleted.remove(name)),
        Change::Recovering => {
            let found = inner.deleted.remove(name).unwrap();
            inner.live.insert(name.to_owned(), found.secret);
        }
    }
}

fn set(inner: &mut Inner, name: &str, body: &Value) -> Answer {
    if let Some(found) = inner.deleted.get(name) {
        let inner = match found.change {
            Change::Deleted => "ObjectIsDeletedButRecoverable",
            Change::Recovering => "ObjectIsBeingRecovered",
            Change::Deleting | Change::Purging => "ObjectIsBeingDeleted",
        };
        return Err(Refusal {
            status: 409,
            code: "Conflict",
            inner: Some(inner),
        });
    }
    let value = body["value"]
        .as_str()
        .ok_or_else(|| refusal(400, "BadParameter"))?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(refusal(400, "BadParameter"));
    }
    check_tags(&body["tags"])?;
    inner.clock += 1;
    let version = SecretVersion {
        id: format!("{:032x}", inner.clock.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        value: value.to_owned(),
        content_type: body["contentType"].clone(),
        tags: body["tags"].clone(),
        is_enabled: body["attributes"]["enabled"] != json!(false),
        expires: body["attributes"]["exp"].as_i64(),
        created: inner.clock,
        updated: inner.clock,
    };
    let secret = inner.live.entry(name.to_owned()).or_insert_with(|| Secret {
        versions: Vec::new(),
    });
    secret.versions.push(version.clone());
    Ok(shown(inner, name, &version, true))
}

fn get(inner: &Inner, name: &str, version: &str) -> Answer {
    let found = inner
        .live
        .get(name)
        .and_then(|secret| pick(secret, version));
    let found = found.ok_or_else(|| refusal(404, "SecretNotFound"))?;
    if !found.is_enabled {
        return Err(Refusal {
            status: 403,
            code: "Forbidden",
            inner: Some("SecretDisabled"),
        });
    }
    Ok(shown(inner, name, found, true))
}

fn update(inner: &mut Inner, name: &str, version: &str, body: &Value) -> Answer {
    check_tags(&body["tags"])?;
    inner.clock += 1;
    let clock = inner.clock;
    let secret = inner.live.get_mut(name);
    let found = secret.and_then(|secret| {
        let mut versions = secret.versions.iter_mut().rev();
        versions.find(|found| version.is_empty() || found.id == version)
    });
    let found = found.ok_or_else(|| refusal(404, "SecretNotFound"))?;
    if !body["tags"].is_null() {
        found.tags = body["tags"].clone();
    }
    if !body["contentType"].is_null() {
        found.content_type = body["contentType"].clone();
    }
    if let Some(is_enabled) = body["attributes"]["enabled"].as_bool() {
        found.is_enabled = is_enabled;
    }
    found.updated = clock;
    let found = found.clone();
    Ok(shown(inner, name, &found, false))
}

fn delete(inner: &mut Inner, name: &str) -> Answer {
    let secret = inner
        .live
        .remove(name)
        .ok_or_else(|| refusal(404, "SecretNotFound"))?;
    let deleted = Deleted {
        secret,
        delay: DELAY,
        change: Change::Deleting,
    };
    inner.deleted.insert(name.to_owned(), deleted);
    Ok(shown_deleted(inner, name))
}

fn deleted(inner: &Inner, name: &str) -> Answer {
    match inner.deleted.get(name) {
        Some(found) if found.change != Change::Deleting => Ok(shown_deleted(inner, name)),
        _ => Err(refusal(404, "SecretNotFound")),
    }
}

fn change(inner: &mut Inner, name: &str, change: Change) -> Result<Secret, Refusal> {
    let found = inner.deleted.get_mut(name);
    let found = found.filter(|found| found.change == Change::Deleted);
    let found = found.ok_or_else(|| refusal(404, "SecretNotFound"))?;
    found.change = change;
    found.delay = DELAY;
    Ok(found.secret.clone())
}

fn list(inner: &Inner, query: &Query) -> Value {
    let all = inner.live.iter().map(|(name, secret)| {
        let mut item = shown(inner, name, secret.versions.last().unwrap(), false);
        item["id"] = json!(format!("{}/secrets/{name}", base(inner)));
        item
    });
    page(inner, "/secrets", &all.collect::<Vec<_>>(), query)
}

fn versions(inner: &Inner, name: &str, query: &Query) -> Value {
    let all = inner
        .live
        .get(name)
        .into_iter()
        .flat_map(|secret| &secret.versions);
    let mut all: Vec<Value> = all
        .map(|version| shown(inner, name, version, false))
        .collect();
    // In no order that a client could build on.
    all.sort_by_key(|version| version["id"].to_string());
    page(inner, &format!("/secrets/{name}/versions"), &all, query)
}

fn page(inner: &Inner, path: &str, all: &[Value], query: &Query) -> Value {
    let number = |key: &str| query.get(key).and_then(|text| text.parse::<usize>().ok());
    let start = number("$skiptoken").unwrap_or(0);
    let size = number("maxresults").unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let items: Vec<&Value> = all.iter().skip(start).take(size).collect();
    let next = (start + size < all.len()).then(|| {
        let base = match inner.leads_elsewhere {
            true => "https://evil.example".to_owned(),
            false => base(inner),
        };
        let skip = start + size;
        format!("{base}{path}?api-version=2025-07-01&$skiptoken={skip}&maxresults={size}")
    });
    json!({ "value": items, "nextLink": next })
}

fn pick<'a>(secret: &'a Secret, version: &str) -> Option<&'a SecretVersion> {
    let mut versions = secret.versions.iter().rev();
    versions.find(|found| version.is_empty() || found.id == version)
}

fn shown(inner: &Inner, name: &str, version: &SecretVersion, with_value: bool) -> Value {
    let mut shown = json!({
        "id": format!("{}/secrets/{name}/{}", base(inner), version.id),
        "attributes": {
            "enabled": version.is_enabled, "created": version.created,
            "updated": version.updated, "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        },
    });
    if let Some(expires) = version.expires {
        shown["attributes"]["exp"] = json!(expires);
    }
    if with_value {
        shown["value"] = json!(version.value);
    }
    for (field, value) in [
        ("tags", &version.tags),
        ("contentType", &version.content_type),
    ] {
        if !value.is_null() {
            shown[field] = value.clone();
        }
    }
    shown
}

fn shown_deleted(inner: &Inner, name: &str) -> Value {
    let secret = &inner.deleted[name].secret;
    let mut shown = shown(inner, name, secret.versions.last().unwrap(), false);
    shown["recoveryId"] = json!(format!("{}/deletedsecrets/{name}", base(inner)));
    shown["deletedDate"] = json!(inner.clock);
    shown["scheduledPurgeDate"] = json!(inner.clock + 90 * 86_400);
    shown
}

fn base(inner: &Inner) -> String {
    format!("https://127.0.0.1:{}", inner.port)
}

fn check_tags(tags: &Value) -> Result<(), Refusal> {
    let tags = tags.as_object();
    let is_fine = tags.is_none_or(|tags| {
        tags.len() <= TAGS_MAX
            && tags
                .values()
                .all(|tag| tag.as_str().is_some_and(|t| t.len() <= 256))
    });
    if is_fine {
        Ok(())
    } else {
        Err(refusal(400, "BadParameter"))
    }
}
