//! Changing secrets over the control API.

use std::sync::Arc;

use http::Method;
use http::StatusCode;
use http::request::Parts;
use serde_json::Value;
use serde_json::json;
use strongroom_core::registry::Class;
use strongroom_core::secret::SecretValue;

use super::answer::Answer;
use super::method_not_allowed;
use crate::json;
use crate::json::Item;
use crate::secrets::Change;
use crate::secrets::Manner;
use crate::secrets::Refusal;
use crate::secrets::Saved;
use crate::secrets::in_words;
use crate::supervisor::State;

/// `POST /secrets`.
pub(crate) async fn save(state: &Arc<State>, parts: &Parts, body: &[u8]) -> Answer {
    match read(body) {
        Ok(changes) => store_and_start(state, changes, manner(parts)).await,
        Err(refusal) => refusal,
    }
}

/// What the first run's page saves; nothing is started before its user goes on.
pub(crate) async fn save_part(state: &Arc<State>, body: &[u8]) -> Answer {
    let manner = Manner {
        is_partial: true,
        ..Manner::default()
    };
    match read(body) {
        Ok(changes) => store(state, changes, manner).await,
        Err(refusal) => refusal,
    }
}

/// What the first run's page has checked while it is typed.
pub(crate) async fn check_part(state: &Arc<State>, body: &[u8]) -> Answer {
    let manner = Manner {
        is_partial: true,
        is_trial: true,
        ..Manner::default()
    };
    match read(body) {
        Ok(changes) => attempt(state, changes, manner).await,
        Err(refusal) => refusal,
    }
}

/// `POST /secrets/validate`: the same, and nothing is stored.
pub(crate) async fn validate(state: &Arc<State>, parts: &Parts, body: &[u8]) -> Answer {
    let changes = match read(body) {
        Ok(changes) => changes,
        Err(refusal) => return refusal,
    };
    let manner = Manner {
        is_trial: true,
        ..manner(parts)
    };
    attempt(state, changes, manner).await
}

async fn attempt(state: &State, changes: Vec<Change>, manner: Manner) -> Answer {
    let problems = match state.secrets.lock().await.change(changes, manner).await {
        Ok(saved) => {
            return Answer::json(&json!({
                "valid": true, "errors": [], "warnings": warnings(&saved),
            }));
        }
        Err(Refusal::Invalid(problems)) => problems,
        Err(refusal) => return refuse(state, refusal),
    };
    let errors = problems.iter();
    let errors = errors.map(|(id, problem)| {
        let told = (state.manifest.secret(id)).map(|secret| in_words(secret, problem));
        json!({ "id": id, "message": problem, "told": told })
    });
    Answer::json(&json!({
        "valid": false,
        "validation_errors": Refusal::in_a_line(&problems),
        "errors": errors.collect::<Vec<Value>>(),
    }))
}

/// `DELETE /secrets/ID` and `POST /secrets/ID/rotate`.
pub(crate) async fn one(state: &Arc<State>, method: &Method, below: &str) -> Answer {
    let (encoded, is_rotation) = match below.strip_suffix("/rotate") {
        Some(id) => (id, true),
        None => (below, false),
    };
    let id = decode(encoded);
    let not_found = || Answer::text(StatusCode::NOT_FOUND, "unknown secret\n");
    let Some(secret) = state.manifest.secret(&id) else {
        return not_found();
    };
    match (is_rotation, method) {
        (true, &Method::POST) | (false, &Method::DELETE) => {}
        _ => return method_not_allowed(),
    }
    let is_generated = secret.class == Class::PerInstallGenerated;
    if is_rotation != is_generated {
        let why = match is_rotation {
            true => "only a generated secret is drawn anew; POST /secrets gives it a value",
            false => "a generated secret is never without a value; POST /secrets/ID/rotate",
        };
        return Answer::json_with(StatusCode::BAD_REQUEST, &json!({ "error": why }));
    }
    let value = SecretValue::copy_from(b"");
    let manner = Manner {
        // A required secret is missing then, which is what its user wants.
        is_partial: true,
        ..Manner::default()
    };
    store_and_start(state, vec![Change { id, value }], manner).await
}

/// The text of a part of a path.
fn decode(part: &str) -> String {
    // A plus sign means itself there, unlike in a form.
    let part = part.replace('+', "%2B");
    let mut pairs = form_urlencoded::parse(part.as_bytes());
    let pair = pairs.next().map(|(name, value)| match value.is_empty() {
        true => name.into_owned(),
        false => format!("{name}={value}"),
    });
    pair.unwrap_or_default()
}

fn manner(parts: &Parts) -> Manner {
    let query = parts.uri.query().unwrap_or_default();
    let says = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.any(|(key, value)| key == name && matches!(&*value, "true" | "1"))
    };
    Manner {
        is_partial: says("partial"),
        allows_unknown: says("allow_unknown"),
        is_trial: false,
    }
}

/// Both shapes of a request: many secrets, or one with `id` and `value`.
fn read(body: &[u8]) -> Result<Vec<Change>, Answer> {
    let invalid = || Answer::text(StatusCode::BAD_REQUEST, "invalid json\n");
    let Some(mut request @ Item::Map(_)) = json::read(body) else {
        return Err(invalid());
    };
    match request.take("secrets") {
        Some(Item::Map(pairs)) => {
            let mut changes: Vec<Change> = Vec::with_capacity(pairs.len());
            for (id, item) in pairs {
                let Item::Text(value) = item else {
                    return Err(invalid());
                };
                // Of a name that is there twice the last counts.
                changes.retain(|change| change.id != id);
                changes.push(Change { id, value });
            }
            return Ok(changes);
        }
        Some(Item::Null) | None => {}
        Some(_) => return Err(invalid()),
    }
    match (request.take("id"), request.take("value")) {
        (Some(Item::Text(id)), Some(Item::Text(value))) => {
            // EXPOSE: a secret's id is no secret; it was read as a text like any other.
            let id = id.expose_secret_text().unwrap_or_default().to_owned();
            Ok(vec![Change { id, value }])
        }
        _ => Err(Answer::text(
            StatusCode::BAD_REQUEST,
            "invalid request: expected \"secrets\" or \"id\" and \"value\"\n",
        )),
    }
}

/// Stores, and starts the services if nothing is missing now.
async fn store_and_start(state: &Arc<State>, changes: Vec<Change>, manner: Manner) -> Answer {
    let answer = store(state, changes, manner).await;
    if answer.is_success() {
        state.start_if_complete().await;
    }
    answer
}

async fn store(state: &Arc<State>, changes: Vec<Change>, manner: Manner) -> Answer {
    let changed = {
        let mut secrets = state.secrets.lock().await;
        let changed = secrets.change(changes, manner).await;
        state.masks.renew(secrets.values());
        changed
    };
    let saved = match changed {
        Ok(saved) => saved,
        Err(refusal) => return refuse(state, refusal),
    };
    if !saved.generated.is_empty() {
        let details = json!({ "count": saved.generated.len(), "ids": saved.generated });
        state.telemetry.note("secrets_generated", None, details);
    }
    if !saved.rotated.is_empty() {
        let details = json!({ "ids": saved.rotated });
        state.telemetry.note("secrets_rotated", None, details);
    }
    let details = json!({ "count": saved.count });
    state.telemetry.note("secrets_updated", None, details);
    let mut answer = json!({ "status": "ok", "stored": saved.stored });
    let lists = [
        ("cleared", &saved.cleared),
        ("generated", &saved.generated),
        ("rotated", &saved.rotated),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        answer[name] = json!(list);
    }
    let warnings = warnings(&saved);
    if !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
    let restart = match state.is_started() {
        true => outdated(state, &saved),
        false => Vec::new(),
    };
    if !restart.is_empty() {
        state.restarts.note(&restart);
        answer["restart_required"] = json!(restart);
    }
    Answer::json(&answer)
}

/// `POST /restart`: starts services again, `{"services": [ID]}`; without a body those that run with
/// other values than what is stored.
pub(crate) fn restart(state: &Arc<State>, body: &[u8]) -> Answer {
    let services = match body.is_empty() {
        true => state.restarts.outdated(),
        false => match named(body) {
            Some(services) => services,
            None => {
                let why = "invalid request: expected {\"services\": [\"ID\"]}\n";
                return Answer::text(StatusCode::BAD_REQUEST, why);
            }
        },
    };
    let is_unknown = |id: &&String| state.manifest.service(id).is_none();
    let unknown: Vec<&String> = services.iter().filter(is_unknown).collect();
    if !unknown.is_empty() {
        return Answer::json_with(
            StatusCode::NOT_FOUND,
            &json!({ "error": "unknown services", "unknown": unknown }),
        );
    }
    Answer::json(&json!({ "restarted": state.restart(&services) }))
}

fn named(body: &[u8]) -> Option<Vec<String>> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let services = request.get("services")?.as_array()?.iter();
    services.map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Services that were started with another value.
fn outdated(state: &State, saved: &Saved) -> Vec<String> {
    if state.is_dry_run {
        return Vec::new();
    }
    let mut changed = saved
        .stored
        .iter()
        .chain(&saved.cleared)
        .chain(&saved.rotated);
    let changed: Vec<&String> = changed.by_ref().collect();
    let services = state.manifest.services.iter();
    let outdated = services.filter(|service| {
        let mut own = service.secrets.iter();
        let status = state.board.of(&service.id);
        let is_over = status.is_none_or(|status| status.is_skipped || status.has_done_its_work());
        own.any(|id| changed.contains(&id)) && !is_over
    });
    outdated.map(|service| service.id.clone()).collect()
}

fn warnings(saved: &Saved) -> Vec<Value> {
    let spaced = saved.spaced.iter();
    let message = "the value begins or ends with white space; it is kept exactly so";
    spaced
        .map(|id| json!({ "id": id, "message": message }))
        .collect()
}

fn refuse(state: &State, refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Unknown(ids) => Answer::json_with(
            StatusCode::BAD_REQUEST,
            &json!({
                "error": format!("unknown secrets: {}", ids.join(", ")),
                "unknown": ids,
            }),
        ),
        Refusal::Invalid(problems) => {
            let line = Refusal::in_a_line(&problems);
            let details = json!({ "errors": line });
            (state.telemetry).note("secrets_validation_failed", None, details);
            Answer::json_with(
                StatusCode::BAD_REQUEST,
                &json!({ "error": "secret validation failed", "validation_errors": line }),
            )
        }
        Refusal::Generate(why) => {
            let details = json!({ "error": why });
            (state.telemetry).note("secrets_generation_failed", None, details);
            let error = format!("failed to generate secrets: {why}");
            Answer::json_with(
                StatusCode::INTERNAL_SERVER_ERROR,
                &json!({ "error": error }),
            )
        }
        Refusal::Store(error) => {
            let details = json!({ "error": error.to_string() });
            state.telemetry.note("runtime_error", None, details);
            Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "persist secrets\n")
        }
    }
}
