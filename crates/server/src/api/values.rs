//! Values of resources' secrets: which are there, giving them, and whether they fit. No answer has
//! one: they are read at `/v1/secret/data/resources/NAME/KEY` by whom policies let.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::format::Pattern;
use strongroom_core::path::SecretPath;
use strongroom_core::policy::Access;
use strongroom_core::policy::Capability;
use strongroom_core::policy::RequestPath;
use strongroom_core::port::Precondition;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::VersionState;
use strongroom_engine::secrets::NewVersion;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use super::profiles::Profile;
use super::registry;
use super::registry::Row;
use crate::core::Core;
use crate::core::Live;
use crate::vault::body::Wiped;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// The mount with the values.
const MOUNT: &str = "secret/";
/// The folder of them in it.
const FOLDER: &str = "resources";
/// What the key of a value is called there.
const VALUE: &str = "value";

fn live(call: &Call) -> Result<Arc<Live>, Fault> {
    let mounts = call.core.mounts();
    let found = mounts.get(MOUNT).map(Arc::clone);
    found.ok_or_else(|| Fault::NotFoundWith(vec![format!("nothing is mounted at {MOUNT}")]))
}

fn place(resource: &str, key: &str) -> Result<SecretPath, Fault> {
    let path = format!("{FOLDER}/{resource}/{}", key.to_lowercase());
    path.parse()
        .map_err(|_| Fault::invalid("that is no name of a secret"))
}

/// Whether a secret has a value that can be read.
pub(super) async fn is_there(call: &Call, resource: &str, key: &str) -> Result<bool, Fault> {
    let seen = call
        .core
        .secret(&*live(call)?, &place(resource, key)?)
        .await?;
    let newest = seen.as_ref().and_then(|seen| seen.snapshot.newest());
    Ok(newest.is_some_and(|info| info.state_at(call.now) == VersionState::Live))
}

/// How the last check of a secret ended.
pub(super) async fn last_check(
    core: &Core,
    resource: &str,
    key: &str,
) -> Result<Option<Value>, Fault> {
    let kept = documents::load(core, Of::Checks, &[resource, key]).await?;
    Ok(kept.map(|kept| kept.value))
}

/// How it stands with the values of one resource.
pub(super) struct Stand {
    pub(super) resource: String,
    pub(super) rows: Vec<(Row, bool)>,
}

impl Stand {
    fn of_required(&self) -> impl Iterator<Item = &(Row, bool)> {
        self.rows.iter().filter(|(row, _)| row.need.is_required)
    }

    pub(super) fn missing(&self) -> usize {
        self.of_required().filter(|(_, is_there)| !is_there).count()
    }

    pub(super) fn found(&self) -> usize {
        self.rows.iter().filter(|(_, is_there)| *is_there).count()
    }

    pub(super) fn health(&self) -> &'static str {
        match self.missing() {
            0 => "healthy",
            1 | 2 => "degraded",
            _ => "critical",
        }
    }
}

/// How it stands with all resources, or one.
pub(super) async fn stands(call: &Call, only: Option<&str>) -> Result<Vec<Stand>, Fault> {
    let mut stands = Vec::new();
    for (resource, known) in registry::all(&call.core).await? {
        if only.is_some_and(|only| only != resource) {
            continue;
        }
        let mut rows = Vec::with_capacity(known.len());
        for row in known {
            let is_there = is_there(call, &resource, &row.need.key).await?;
            rows.push((row, is_there));
        }
        stands.push(Stand { resource, rows });
    }
    if let (true, Some(only)) = (stands.is_empty(), only) {
        let text = format!("resource {only} not found");
        return Err(Fault::NotFoundWith(vec![text]));
    }
    Ok(stands)
}

pub(super) async fn status(call: &mut Call) -> Result<Answer, Fault> {
    let only = field::text(call, "resource");
    let stands = stands(call, only.as_deref()).await?;
    let now = call.now.to_string();
    let configured = stands.iter().filter(|stand| stand.missing() == 0).count();
    let mut missing = Vec::new();
    for stand in &stands {
        let absent = stand.of_required().filter(|(_, is_there)| !is_there);
        for (row, _) in absent {
            missing.push(json!({
                "resource_name": stand.resource,
                "secret_name": row.need.key,
                "secret_path": format!("secret/{}", place(&stand.resource, &row.need.key)?),
                "required": true,
                "description": row.need.description,
            }));
        }
    }
    let statuses: Vec<Value> = stands
        .iter()
        .map(|stand| status_json(stand, &now))
        .collect();
    Ok(bare(json!({
        "total_resources": stands.len(),
        "configured_resources": configured,
        "missing_secrets": missing,
        "resource_statuses": statuses,
        "last_updated": now,
    })))
}

fn status_json(stand: &Stand, now: &str) -> Value {
    let optional = stand.rows.iter().filter(|(row, _)| !row.need.is_required);
    let all = stand.rows.iter().map(|(row, is_there)| {
        json!({
            "name": row.need.key,
            "description": row.need.description,
            "required": row.need.is_required,
            "configured": is_there,
            "type": row.need.kind,
            "documentation_url": row.need.prompt.link,
            "validation_hint": row.need.format,
        })
    });
    json!({
        "resource_name": stand.resource,
        "secrets_total": stand.rows.len(),
        "secrets_found": stand.found(),
        "secrets_missing": stand.missing(),
        "secrets_optional": optional.count(),
        "health_status": stand.health(),
        "last_checked": now,
        "all_secrets": all.collect::<Vec<Value>>(),
    })
}

/// Only whoever may write a secret at its own path may give it a value here.
fn check_right(call: &Call, path: &SecretPath) -> Result<(), Fault> {
    let acl = call.core.acl_of(call.caller()?);
    if acl.is_root() {
        return Ok(());
    }
    let place = format!("{MOUNT}data/{path}").parse::<RequestPath>();
    let place = place.map_err(|_| Fault::invalid("that is no name of a secret"))?;
    let may = |capability| {
        let asked = Access {
            path: &place,
            capability,
            params: &[],
            wrap_ttl: None,
        };
        acl.decide(&asked).is_allowed
    };
    match may(Capability::Create) && may(Capability::Update) {
        true => Ok(()),
        false => Err(Fault::Denied),
    }
}

/// Names and texts that were sent; what names a default or a resource is no secret.
fn sent_values(call: &mut Call, name: &str) -> Vec<(String, SecretValue)> {
    let Some(Wiped(Value::Object(fields))) = &call.fields.take(name) else {
        return Vec::new();
    };
    let texts = fields.iter().filter_map(|(key, value)| {
        let text = value.as_str().filter(|text| !text.trim().is_empty())?;
        let is_note = key.eq_ignore_ascii_case("default") || key.starts_with("resource:");
        // What stands around a value is kept out, as it always was here.
        let value = SecretValue::copy_from(text.trim().as_bytes());
        let key = key.trim().to_uppercase().replace(' ', "_");
        (!is_note).then_some((key, value))
    });
    texts.collect()
}

async fn store(
    call: &Call,
    resource: &str,
    values: Vec<(String, SecretValue)>,
) -> Result<Answer, Fault> {
    if values.is_empty() {
        return Err(Fault::invalid("no secrets provided"));
    }
    let live = live(call)?;
    let mut places = Vec::with_capacity(values.len());
    for (key, _) in &values {
        field::check_name(key)?;
        let path = place(resource, key)?;
        check_right(call, &path)?;
        places.push(path);
    }
    let config = live.kv2(&call.core).await?;
    let (mut details, mut stored) = (Vec::new(), 0);
    for ((key, value), path) in values.into_iter().zip(&places) {
        let how = NewVersion {
            cas: None,
            cas_required: false,
            max_versions: config.kept(),
            delete_after: config.delete_after(),
        };
        let payload = Payload::detect(value);
        let context = call.context();
        let written = live
            .secrets
            .put_version(&context, path, &payload, &how)
            .await;
        stored += usize::from(written.is_ok());
        let error = written.err().map(|error| error.to_string());
        details.push(json!({
            "env_key": key,
            "vault_path": format!("secret/{path}"),
            "vault_key": VALUE,
            "status": if error.is_none() { "stored" } else { "failed" },
            "error": error,
        }));
    }
    let status = match stored {
        0 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    let answer = json!({
        "success": stored > 0,
        "resource": resource,
        "stored_secrets": stored,
        "vault_stored": stored,
        "details": details,
    });
    Ok(Answer::Bare(status, answer))
}

pub(super) async fn provision(call: &mut Call) -> Result<Answer, Fault> {
    let resource = field::text(call, "resource_name");
    let resource = resource.ok_or_else(|| Fault::invalid("resource_name is required"))?;
    field::check_name(&resource)?;
    let values = sent_values(call, "secrets");
    store(call, &resource, values).await
}

/// The older form: a resource and its secrets, or one key with its value.
pub(super) async fn provision_old(call: &mut Call) -> Result<Answer, Fault> {
    let resource = field::text(call, "resource");
    // There is no file beside the store that values without a resource could go to.
    let resource = resource.ok_or_else(|| {
        Fault::invalid("resource is required: values lie with the resource that needs them")
    })?;
    field::check_name(&resource)?;
    let mut values = sent_values(call, "secrets");
    if let (Some(key), Some(Wiped(Value::String(text)))) = (
        field::text(call, "secret_key"),
        &call.fields.take("secret_value"),
    ) && !text.trim().is_empty()
    {
        let value = SecretValue::copy_from(text.trim().as_bytes());
        values.push((key.to_uppercase().replace(' ', "_"), value));
    }
    store(call, &resource, values).await
}

/// Shortest values of some kinds, in characters.
fn least_chars(kind: &str) -> usize {
    match kind {
        "password" => 8,
        "api_key" => 16,
        "token" => 10,
        _ => 1,
    }
}

/// Why a value does not fit; never a word of it.
fn misfit(row: &Row, value: &SecretValue) -> Option<String> {
    // EXPOSE: looked at, to say whether it fits.
    let Some(text) = value.expose_secret_text() else {
        return Some("the value is no text".to_owned());
    };
    let least = least_chars(row.need.kind);
    if text.chars().count() < least {
        return Some(format!("the value has less than {least} characters"));
    }
    let pattern = row.need.format.as_deref()?;
    match Pattern::parse(pattern) {
        Ok(format) if !format.is_match(text.as_bytes()) => {
            Some(format!("the value does not match {pattern}"))
        }
        Ok(_) => None,
        Err(_) => Some(format!("its pattern {pattern} does not compile")),
    }
}

/// Checks values, and keeps how each check ended: the newest of each secret counts, once.
pub(super) async fn validate(call: &mut Call) -> Result<Answer, Fault> {
    let only = field::text(call, "resource");
    let stands = stands(call, only.as_deref()).await?;
    let live = live(call)?;
    let now = call.now.to_string();
    let (mut valid, mut missing, mut invalid) = (0, Vec::new(), Vec::new());
    let (mut health, mut batch, mut total) = (Vec::new(), Vec::new(), 0);
    for stand in &stands {
        let resource = stand.resource.as_str();
        let (mut own_valid, mut own_invalid) = (0, 0);
        for (row, is_there) in &stand.rows {
            total += 1;
            let problem = match is_there {
                false => None,
                true => {
                    let path = place(resource, &row.need.key)?;
                    let read = live.secrets.read(&call.context(), &path, None).await?;
                    misfit(row, &read.payload.value)
                }
            };
            let status = match (is_there, &problem) {
                (false, _) => "missing",
                (true, None) => "valid",
                (true, Some(_)) => "invalid",
            };
            let mut line = Map::new();
            for (key, value) in [
                ("resource_name", json!(resource)),
                ("secret_key", json!(row.need.key)),
                ("status", json!(status)),
                ("error_message", json!(problem)),
                ("required", json!(row.need.is_required)),
                ("at", json!(now)),
            ] {
                line.insert(key.into(), value);
            }
            let line = Value::Object(line);
            let name = [resource, row.need.key.as_str()];
            batch.push(documents::put(
                &call.core,
                Of::Checks,
                &name,
                &line,
                Precondition::Any,
            )?);
            match status {
                "valid" => own_valid += 1,
                "invalid" => {
                    own_invalid += 1;
                    invalid.push(line);
                }
                _ => missing.push(line),
            }
        }
        valid += own_valid;
        health.push(json!({
            "resource_name": resource,
            "total_secrets": stand.rows.len(),
            "required_secrets": stand.of_required().count(),
            "valid_secrets": own_valid,
            "missing_required_secrets": stand.missing(),
            "invalid_secrets": own_invalid,
            "last_validation": now,
        }));
    }
    documents::commit(&call.core, batch).await?;
    Ok(bare(json!({
        "validation_id": call.request_id,
        "total_secrets": total,
        "valid_secrets": valid,
        "missing_secrets": missing,
        "invalid_secrets": invalid,
        "health_summary": health,
    })))
}

/// Whether the values of what a profile ships, or of one resource, have the formats that are asked
/// of them. Nothing of a value is told, and nothing is kept.
pub(super) async fn test(call: &mut Call) -> Result<Answer, Fault> {
    let profile = match field::text(call, "profile_id") {
        Some(id) => Some(Profile::find(call, &id).await?),
        None => None,
    };
    let resource = field::text(call, "resource");
    let wanted: Option<Vec<String>> = match (&profile, &resource) {
        (Some(profile), _) => {
            let plan = profile.plan_for(call, profile.tier(call)?).await?;
            let names = plan.items.iter().map(|(need, _)| need.full_name());
            Some(names.collect())
        }
        (None, Some(_)) => None,
        (None, None) => return Err(Fault::invalid("profile_id or resource is required")),
    };
    let (live, mut tests) = (live(call)?, Vec::new());
    let (mut passed, mut failed, mut missing) = (0, 0, 0);
    for stand in stands(call, resource.as_deref()).await? {
        for (row, is_there) in &stand.rows {
            let is_asked = |names: &Vec<String>| names.contains(&row.need.full_name());
            if !wanted.as_ref().is_none_or(is_asked) {
                continue;
            }
            let problem = match is_there {
                false => None,
                true => {
                    let path = place(&stand.resource, &row.need.key)?;
                    let read = live.secrets.read(&call.context(), &path, None).await?;
                    misfit(row, &read.payload.value)
                }
            };
            let (status, count) = match (is_there, &problem) {
                (true, None) => ("pass", &mut passed),
                (true, Some(_)) => ("fail", &mut failed),
                (false, _) => ("missing", &mut missing),
            };
            *count += 1;
            tests.push(json!({
                "secret": row.need.key,
                "resource": stand.resource,
                "required": row.need.is_required,
                "status": status,
                "details": problem,
            }));
        }
    }
    let needed = |one: &Value| one["status"] == "missing" && one["required"] == true;
    let is_good = failed == 0 && !tests.iter().any(needed);
    Ok(bare(json!({
        "profile_id": profile.map(|profile| profile.value["id"].clone()),
        "status": if is_good { "pass" } else { "fail" },
        "tests": tests,
        "summary": { "passed": passed, "failed": failed, "missing": missing },
        "not_tested": ["connections: the formats of values are, not what they open"],
    })))
}
