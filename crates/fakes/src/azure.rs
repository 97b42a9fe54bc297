//! A key vault of ours: sign-in and challenge, versions, tags, soft delete that takes its time,
//! lists in pieces, errors with inner codes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::Method;
use axum::http::Uri;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::tls::Authority;
use crate::tls::TlsListener;

mod vault;

/// What the application proves itself with.
pub const CLIENT_SECRET: &str = "canary-client-secret-91";
/// What it gets for it.
pub const TOKEN: &str = "canary-access-token-17";

/// A running server.
pub struct Fake {
    port: u16,
    server: tokio::task::JoinHandle<()>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    port: u16,
    live: BTreeMap<String, Secret>,
    deleted: BTreeMap<String, Deleted>,
    clock: u64,
    /// Statuses and codes to answer the next authorised requests with.
    faults: Vec<(u16, &'static str)>,
    is_purge_protected: bool,
    /// Links lead to another host.
    leads_elsewhere: bool,
}

/// The versions of a secret, oldest first; names keep the case they were made with.
#[derive(Clone)]
struct Secret {
    versions: Vec<SecretVersion>,
}

#[derive(Clone)]
struct SecretVersion {
    id: String,
    value: String,
    content_type: Value,
    tags: Value,
    is_enabled: bool,
    /// In seconds.
    expires: Option<i64>,
    created: u64,
    updated: u64,
}

struct Deleted {
    secret: Secret,
    /// How many questions are still answered as if nothing were done yet.
    delay: u32,
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Deleting,
    Deleted,
    Recovering,
    Purging,
}

struct Refusal {
    status: u16,
    code: &'static str,
    inner: Option<&'static str>,
}

type Answer = Result<Value, Refusal>;

impl Fake {
    /// Serves on a free port of this machine.
    pub async fn start(authority: &Authority) -> Self {
        let listener = TlsListener::bind(authority).await;
        let port = listener.port();
        let inner = Arc::new(Mutex::new(Inner {
            port,
            clock: 1_790_000_000,
            ..Inner::default()
        }));
        let router = Router::new().fallback(answer).with_state(inner.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            port,
            server,
            inner,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Answers the next requests with these, the last first.
    pub fn fail_next(&self, faults: &[(u16, &'static str)]) {
        self.lock().faults = faults.to_vec();
    }

    /// Refuses to purge.
    pub fn protect_from_purge(&self) {
        self.lock().is_purge_protected = true;
    }

    /// Sends those who list to another host.
    pub fn lead_elsewhere(&self) {
        self.lock().leads_elsewhere = true;
    }

    /// Disables the newest version.
    pub fn disable(&self, name: &str) {
        let mut inner = self.lock();
        let secret = inner.live.get_mut(name).unwrap();
        secret.versions.last_mut().unwrap().is_enabled = false;
    }

    /// Has the newest version expire at a second.
    pub fn expire(&self, name: &str, at: i64) {
        let mut inner = self.lock();
        let secret = inner.live.get_mut(name).unwrap();
        secret.versions.last_mut().unwrap().expires = Some(at);
    }

    /// The names of all live secrets.
    pub fn names(&self) -> Vec<String> {
        self.lock().live.keys().cloned().collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(inner): State<Arc<Mutex<Inner>>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = inner.lock().unwrap();
    if uri.path() == "/tenant/oauth2/v2.0/token" {
        return sign_in(&body);
    }
    let given = headers.get("authorization");
    let wanted = format!("Bearer {TOKEN}");
    if given.is_none_or(|given| given.as_bytes() != wanted.as_bytes()) {
        return challenge(inner.port);
    }
    let answer = match inner.faults.pop() {
        Some((status, code)) => Err(Refusal {
            status,
            code,
            inner: None,
        }),
        None if !query.contains_key("api-version") => Err(refusal(400, "BadParameter")),
        None => vault::route(&mut inner, &method, uri.path(), &query, &body),
    };
    match answer {
        Ok(Value::Null) => respond(204, &Value::Null),
        Ok(body) => respond(200, &body),
        Err(refusal) => {
            let mut error = json!({ "code": refusal.code, "message": "canary-message" });
            if let Some(inner) = refusal.inner {
                error["innererror"] = json!({ "code": inner });
            }
            respond(refusal.status, &json!({ "error": error }))
        }
    }
}

/// Entra ID.
fn sign_in(body: &[u8]) -> Response {
    let form = String::from_utf8_lossy(body);
    let knows = |pair: &str| form.split('&').any(|part| part == pair);
    let is_known = knows(&format!("client_secret={CLIENT_SECRET}"))
        && knows("client_id=app")
        && knows("grant_type=client_credentials")
        && knows("scope=https%3A%2F%2Fvault.azure.net%2F.default");
    if !is_known {
        let text = "AADSTS7000215: Invalid client secret provided. canary-message";
        let body = json!({ "error": "invalid_client", "error_description": text });
        return respond(401, &body);
    }
    let body = json!({
        "token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600,
        "access_token": TOKEN,
    });
    respond(200, &body)
}

fn challenge(port: u16) -> Response {
    let challenge = format!(
        "Bearer authorization=\"https://127.0.0.1:{port}/tenant\", \
         resource=\"https://vault.azure.net\""
    );
    Response::builder()
        .status(401)
        .header("www-authenticate", challenge)
        .header("content-type", "application/json")
        .body(Body::from(
            r#"{"error":{"code":"Unauthorized","message":"no token"}}"#,
        ))
        .unwrap()
}

fn respond(status: u16, body: &Value) -> Response {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=utf-8")
        .body(Body::from(text))
        .unwrap()
}

fn refusal(status: u16, code: &'static str) -> Refusal {
    Refusal {
        status,
        code,
        inner: None,
    }
}
