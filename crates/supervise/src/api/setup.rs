//! The first run as a page: three steps, opened by a link that works once.
//!
//! The code of the link stands behind `#`, which no browser sends anywhere; the page exchanges it
//! for a session that only it knows. Files of the page are open to everybody, what they ask is not.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use data_encoding::HEXLOWER;
use http::Method;
use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::generate::GeneratorSpec;
use strongroom_core::port::Rng;
use strongroom_core::registry::Class;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use zeroize::Zeroizing;

use super::answer::Answer;
use super::door;
use super::post;
use super::take_body;
use crate::json;
use crate::json::Item;
use crate::manifest::Secret;
use crate::manifest::Target;
use crate::supervisor::State;

/// A link works for so long.
const LINK_LIFE: Duration = Duration::from_secs(900);
/// Links and sessions at once; the oldest goes first.
const OPEN_MAX: usize = 8;
/// Random bytes of a code and of a session.
const CODE_BYTES: usize = 24;

/// Links that were not used yet, and sessions.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    links: Mutex<Vec<(SecretValue, Instant)>>,
    sessions: Mutex<Vec<SecretValue>>,
}

impl Setup {
    /// A link's code, for whoever may have it.
    pub(crate) fn make_link(&self) -> SecretValue {
        let code = draw();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= OPEN_MAX {
            links.remove(0);
        }
        links.push((code.clone(), Instant::now()));
        code
    }

    /// Exchanges a code for a session, once.
    fn open(&self, code: &SecretValue) -> Option<SecretValue> {
        {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.retain(|(_, made)| made.elapsed() < LINK_LIFE);
            let at = links.iter().position(|(known, _)| known.ct_eq(code))?;
            links.remove(at);
        }
        let session = draw();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= OPEN_MAX {
            sessions.remove(0);
        }
        sessions.push(session.clone());
        Some(session)
    }

    fn knows(&self, session: &SecretValue) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().any(|known| known.ct_eq(session))
    }
}

fn draw() -> SecretValue {
    let mut bytes = Zeroizing::new([0; CODE_BYTES]);
    SystemRng.fill(&mut *bytes);
    SecretValue::from_text(HEXLOWER.encode(&*bytes))
}

/// `POST /setup-link` with the token of the control API: a link to the page, which works once.
pub(crate) fn link(state: &State) -> Answer {
    // EXPOSE: to the application's own shell, which knows the token already.
    let code = state.setup.make_link();
    let code = code.expose_secret_text().unwrap_or_default();
    Answer::json(&json!({ "url": format!("http://{}/setup/#{code}", state.address) }))
}

/// Everything below `/setup/`.
pub(crate) async fn route(state: &Arc<State>, parts: &Parts, body: Incoming) -> Answer {
    let path = parts.uri.path().strip_prefix("/setup/").unwrap_or_default();
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    match path {
        "" if is_read => return Answer::page("text/html; charset=utf-8", INDEX),
        "page.js" if is_read => return Answer::page("text/javascript; charset=utf-8", SCRIPT),
        "page.css" if is_read => return Answer::page("text/css; charset=utf-8", STYLE),
        "open" if parts.method == Method::POST => return open(state, body).await,
        _ => {}
    }
    let session = door::bearer(parts);
    if !session.is_some_and(|session| state.setup.knows(&session)) {
        return Answer::text(StatusCode::UNAUTHORIZED, "this page is not open any more\n");
    }
    match (path, &parts.method) {
        ("state", &Method::GET) => Answer::json(&of(state).await),
        ("save", &Method::POST) => match take_body(body).await {
            Ok(body) => post::save_part(state, &body).await,
            Err(refusal) => refusal,
        },
        ("check", &Method::POST) => match take_body(body).await {
            Ok(body) => post::check_part(state, &body).await,
            Err(refusal) => refusal,
        },
        ("restart", &Method::POST) => match take_body(body).await {
            Ok(body) => post::restart(state, &body),
            Err(refusal) => refusal,
        },
        ("finish", &Method::POST) => {
            state.start_if_complete().await;
            let missing = state.secrets.lock().await.missing();
            let status = match missing.is_empty() {
                true => StatusCode::OK,
                false => StatusCode::CONFLICT,
            };
            Answer::json_with(status, &json!({ "missing": missing }))
        }
        _ => Answer::text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

const INDEX: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");

async fn open(state: &State, body: Incoming) -> Answer {
    let body = match take_body(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let code = json::read(&body).and_then(|mut request| request.take("code"));
    let session = match code {
        Some(Item::Text(code)) => state.setup.open(&code),
        _ => None,
    };
    match session {
        Some(session) => {
            // EXPOSE: to the page that knew the code of the link.
            let session = session.expose_secret_text().unwrap_or_default();
            Answer::json(&json!({ "session": session }))
        }
        None => Answer::text(
            StatusCode::UNAUTHORIZED,
            "the link was used already, or is too old\n",
        ),
    }
}

/// What the page shows: names, texts and statuses.
async fn of(state: &State) -> Value {
    let list = state.secrets.lock().await.list();
    let rows = list.as_array().cloned().unwrap_or_default();
    let secrets = state.manifest.secrets.iter().zip(rows);
    let secrets: Vec<Value> = secrets.map(|(secret, row)| shown(secret, row)).collect();
    let services = state.board.all().into_iter();
    let services: Map<String, Value> = services
        .map(|(id, status)| (id, Value::String(status.message)))
        .collect();
    json!({
        "app": { "name": state.manifest.app_name, "version": state.manifest.app_version },
        "secrets": secrets,
        "services": services,
        "ready": state.board.is_ready(),
        "outdated": state.restarts.outdated(),
    })
}

fn shown(secret: &Secret, mut row: Value) -> Value {
    let prompt = |key: &str| {
        let text = secret.prompt.as_ref().and_then(|prompt| prompt.get(key));
        text.and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    row["label"] = prompt("label").unwrap_or(&secret.id).into();
    if let Some(text) = prompt("description").or(secret.description.as_deref()) {
        row["description"] = text.into();
    }
    if let Some(text) = prompt("hint").or(prompt("placeholder")) {
        row["hint"] = text.into();
    }
    if let Some(text) = prompt("link") {
        row["link"] = text.into();
    }
    row["is_file"] = matches!(secret.target, Target::File(_)).into();
    // What the manifest says, not what was drawn.
    let length = match (&secret.generator, secret.class) {
        (GeneratorSpec::Timestamp, _) => None,
        (spec, Class::PerInstallGenerated) => spec.chars_max(),
        _ => None,
    };
    if let Some(length) = length {
        row["length"] = length.into();
    }
    row
}
