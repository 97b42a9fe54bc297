//! A Kubernetes API server of ours, as far as Secrets go: optimistic locking, merge patches,
//! folding of `stringData`, validation, lists in pieces, Status objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use axum::serve::Listener;
use data_encoding::BASE64;
use serde_json::Value;
use serde_json::json;

use self::answer::Answer;
use self::answer::failure;
use self::answer::refused;
use self::answer::send;
use crate::tls::Authority;
use crate::tls::TlsListener;

mod answer;
mod discovery;

const DATA_BYTES_MAX: usize = 1024 * 1024;
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// What the forbidden namespace is called.
const FORBIDDEN: &str = "forbidden";
const NAMESPACES: &[&str] = &["default", "shop", FORBIDDEN];

type Objects = BTreeMap<(String, String), Value>;

/// A running server.
pub struct Fake {
    url: String,
    server: tokio::task::JoinHandle<()>,
    shared: Arc<Shared>,
}

struct Shared {
    token: String,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: Objects,
    revision: u64,
    /// Statuses to answer the next requests with.
    faults: Vec<u16>,
    /// Tokens of lists that began before this revision are too old.
    oldest: u64,
    requests: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Fake {
    /// Serves on a free port of this machine, without TLS.
    pub async fn start(token: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::serve(listener, format!("http://127.0.0.1:{port}"), token)
    }

    /// As API servers are: with TLS.
    pub async fn start_with_tls(token: &str, authority: &Authority) -> Self {
        let listener = TlsListener::bind(authority).await;
        let url = format!("https://127.0.0.1:{}", listener.port());
        Self::serve(listener, url, token)
    }

    fn serve<L>(listener: L, url: String, token: &str) -> Self
    where
        L: Listener,
        L::Addr: std::fmt::Debug,
    {
        let shared = Arc::new(Shared {
            token: token.to_owned(),
            inner: Mutex::default(),
        });
        let secrets = "/api/v1/namespaces/{namespace}/secrets";
        let guarded = axum::middleware::from_fn_with_state(shared.clone(), guard);
        let router = discovery::routes()
            .route(secrets, get(list).post(create))
            .route(
                &format!("{secrets}/{{name}}"),
                get(read).put(replace).patch(patch).delete(delete),
            )
            .route(
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                post(review),
            )
            .fallback(async || send(failure(404, "NotFound", "", "no such path")))
            .layer(guarded)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            server,
            shared,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers the next requests with these statuses, the last first.
    pub fn fail_next(&self, statuses: &[u16]) {
        self.shared.lock().faults = statuses.to_vec();
    }

    /// Makes the tokens of lists that have begun too old.
    pub fn expire_lists(&self) {
        let mut inner = self.shared.lock();
        inner.revision += 1;
        inner.oldest = inner.revision;
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.shared.lock().requests
    }

    /// Changes an object behind the backend's back.
    pub fn merge(&self, namespace: &str, name: &str, patch: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let patch = parse(patch.as_bytes()).unwrap();
        let changed = change(&self.shared, key, |old| {
            let mut new = old.clone();
            merge(&mut new, &patch);
            new
        });
        changed.unwrap();
    }

    /// Stops listening.
    pub async fn stop(&self) {
        self.server.abort();
        let address = self.url.trim_start_matches("http://");
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// An object as it is stored.
    pub fn object(&self, namespace: &str, name: &str) -> Option<Value> {
        let key = (namespace.to_owned(), name.to_owned());
        self.shared.lock().objects.get(&key).cloned()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Who asks, and may they.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let fault = {
        let mut inner = shared.lock();
        inner.requests += 1;
        inner.faults.pop()
    };
    if let Some(code) = fault {
        let reason = if code == 429 {
            "TooManyRequests"
        } else {
            "InternalError"
        };
        return send(failure(code, reason, "", "asked to fail"));
    }
    let wanted = format!("Bearer {}", shared.token);
    let given = request.headers().get("authorization");
    if given.is_none_or(|given| given.as_bytes() != wanted.as_bytes()) {
        return send(failure(401, "Unauthorized", "", "Unauthorized"));
    }
    let forbidden = format!("/namespaces/{FORBIDDEN}/");
    if request.uri().path().contains(&forbidden) {
        let text = "secrets is forbidden: User \"test\" cannot do that in the namespace";
        return send(failure(403, "Forbidden", "secrets", text));
    }
    next.run(request).await
}

async fn review(body: Bytes) -> Response {
    let answer = parse(&body).map(|mut review| {
        let namespace = review
            .pointer("/spec/resourceAttributes/namespace")
            .cloned();
        review["status"] = json!({ "allowed": namespace != Some(json!(FORBIDDEN)) });
        (201, review)
    });
    send(answer.unwrap_or_else(|answer| answer))
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Path(namespace): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let inner = shared.lock();
    let limit = query.get("limit").and_then(|limit| limit.parse().ok());
    let limit = match limit {
        None | Some(0) => usize::MAX,
        Some(limit) => limit,
    };
    let (revision, after) = match query.get("continue").filter(|token| !token.is_empty()) {
        None => (inner.revision, String::new()),
        Some(token) => match token.split_once('|') {
            Some((revision, after)) => (revision.parse().unwrap(), after.to_owned()),
            None => return send(failure(400, "BadRequest", "", "continue key is not valid")),
        },
    };
    if revision < inner.oldest {
        return send(failure(
            410,
            "Expired",
            "",
            "the continue parameter is too old",
        ));
    }
    let all = inner
        .objects
        .iter()
        .filter(|((of, name), _)| *of == namespace && *name > after);
    let all: Vec<_> = all.collect();
    let items: Vec<&Value> = all.iter().take(limit).map(|(_, object)| *object).collect();
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if let Some(((_, last), _)) = all.get(limit.wrapping_sub(1)).filter(|_| all.len() > limit) {
        metadata["continue"] = json!(format!("{revision}|{last}"));
        metadata["remainingItemCount"] = json!(all.len() - limit);
    }
    let list = json!({
        "kind": "SecretList", "apiVersion": "v1", "metadata": metadata, "items": items,
    });
    send((200, list))
}

async fn read(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let inner = shared.lock();
    send(match inner.objects.get(&(namespace, name.clone())) {
        Some(object) => (200, object.clone()),
        None => absent(&name),
    })
}

async fn create(
    State(shared): State<Arc<Shared>>,
    Path(namespace): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = shared.lock();
    let made = parse(&body).and_then(|mut object| {
        if !NAMESPACES.contains(&namespace.as_str()) {
            let text = format!("namespaces \"{namespace}\" not found");
            return Err(failure(404, "NotFound", "namespaces", &text));
        }
        let name = text_at(&object, "/metadata/name");
        if !text_at(&object, "/metadata/resourceVersion").is_empty() {
            let text = "resourceVersion should not be set on objects to be created";
            return Err(failure(400, "BadRequest", "secrets", text));
        }
        let key = (namespace.clone(), name.clone());
        if inner.objects.contains_key(&key) {
            let text = format!("secrets \"{name}\" already exists");
            return Err(failure(409, "AlreadyExists", "secrets", &text));
        }
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["creationTimestamp"] = json!("2026-11-28T06:00:00Z");
        inner.revision += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", inner.revision));
        if object.get("type").is_none() {
            object["type"] = json!("Opaque");
        }
        let object = settle(object, None, inner.revision)?;
        inner.objects.insert(key, object.clone());
        Ok((201, object))
    });
    answer::send_as(made.unwrap_or_else(|answer| answer), &headers)
}

async fn replace(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let changed = parse(&body).and_then(|new| {
        if text_at(&new, "/metadata/name") != name {
            let text = "the name of the object does not match the name on the URL";
            return Err(failure(400, "BadRequest", "secrets", text));
        }
        change(&shared, (namespace, name), |_| new)
    });
    answer::send_as(changed.unwrap_or_else(|answer| answer), &headers)
}

async fn patch(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers
        .get("content-type")
        .map_or(&b""[..], |kind| kind.as_bytes());
    // For Secrets the strategic kind does the same: they have no lists that it would merge.
    let is_known = matches!(
        kind,
        b"application/merge-patch+json" | b"application/strategic-merge-patch+json"
    );
    if !is_known {
        let text = "the body of the request was in an unknown format";
        return send(failure(415, "UnsupportedMediaType", "", text));
    }
    let changed = parse(&body).and_then(|patch| {
        change(&shared, (namespace, name), |old| {
            let mut new = old.clone();
            merge(&mut new, &patch);
            new
        })
    });
    answer::send_as(changed.unwrap_or_else(|answer| answer), &headers)
}

async fn delete(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let mut inner = shared.lock();
    let key = (namespace, name.clone());
    let Some(object) = inner.objects.get(&key) else {
        return send(absent(&name));
    };
    let wanted = if body.is_empty() {
        json!({})
    } else {
        parse(&body).unwrap()
    };
    for field in ["uid", "resourceVersion"] {
        let wanted = text_at(&wanted, &format!("/preconditions/{field}"));
        if !wanted.is_empty() && wanted != text_at(object, &format!("/metadata/{field}")) {
            return send(stale(&name));
        }
    }
    inner.revision += 1;
    inner.objects.remove(&key);
    send((
        200,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }),
    ))
}

/// Optimistic locking, validation, a new resource version if anything is new.
fn change(
    shared: &Shared,
    key: (String, String),
    new: impl FnOnce(&Value) -> Value,
) -> Result<Answer, Answer> {
    let mut inner = shared.lock();
    let old = inner
        .objects
        .get(&key)
        .cloned()
        .ok_or_else(|| absent(&key.1))?;
    let mut new = new(&old);
    for field in ["uid", "resourceVersion"] {
        let wanted = text_at(&new, &format!("/metadata/{field}"));
        if !wanted.is_empty() && wanted != text_at(&old, &format!("/metadata/{field}")) {
            return Err(stale(&key.1));
        }
    }
    for field in ["uid", "resourceVersion", "creationTimestamp", "namespace"] {
        new["metadata"][field] = old["metadata"][field].clone();
    }
    let revision = inner.revision + 1;
    let new = settle(new, Some(&old), revision)?;
    let mut compared = new.clone();
    compared["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    if compared == old {
        return Ok((200, old));
    }
    inner.revision = revision;
    inner.objects.insert(key, new.clone());
    Ok((200, new))
}

/// Folds `stringData`, checks what the API server checks, stamps.
fn settle(mut object: Value, old: Option<&Value>, revision: u64) -> Result<Value, Answer> {
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Secret");
    let texts = object
        .as_object_mut()
        .and_then(|all| all.remove("stringData"));
    for (key, text) in texts
        .as_ref()
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let text = text.as_str().unwrap_or_default();
        object["data"][key] = json!(BASE64.encode(text.as_bytes()));
    }
    if object["data"].is_null() {
        object.as_object_mut().unwrap().remove("data");
    }
    let mut bytes = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_dots = key == "." || key.starts_with("..");
        if key.is_empty() || key.len() > 253 || !key.chars().all(is_plain) || is_dots {
            return Err(refused(
                &format!("data[{key}]"),
                "a valid config key is needed",
            ));
        }
        let decoded = value
            .as_str()
            .and_then(|text| BASE64.decode(text.as_bytes()).ok());
        let Some(decoded) = decoded else {
            let text = "illegal base64 data at input byte 0";
            return Err(failure(400, "BadRequest", "secrets", text));
        };
        bytes += decoded.len();
    }
    if bytes > DATA_BYTES_MAX {
        return Err(refused(
            "data",
            "Too long: may not be more than 1048576 bytes",
        ));
    }
    let is_frozen = old.is_some_and(|old| old["immutable"] == json!(true));
    if is_frozen && old.is_some_and(|old| old.get("data") != object.get("data")) {
        return Err(refused(
            "data",
            "field is immutable when `immutable` is set",
        ));
    }
    let name = text_at(&object, "/metadata/name");
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(refused(
            "metadata.name",
            "a lowercase RFC 1123 subdomain is needed",
        ));
    }
    object["metadata"]["resourceVersion"] = json!(revision.to_string());
    Ok(object)
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        let target = target.as_object_mut().unwrap();
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn parse(body: &[u8]) -> Result<Value, Answer> {
    serde_json::from_slice(body)
        .map_err(|_| failure(400, "BadRequest", "", "the body cannot be read"))
}

fn text_at(object: &Value, pointer: &str) -> String {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn absent(name: &str) -> Answer {
    failure(
        404,
        "NotFound",
        "secrets",
        &format!("secrets \"{name}\" not found"),
    )
}

fn stale(name: &str) -> Answer {
    let text = format!("Operation cannot be fulfilled on secrets \"{name}\": it has been modified");
    failure(409, "Conflict", "secrets", &text)
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fake({})", self.url)
    }
}

/// Router with the state of this module.
type Routes = Router<Arc<Shared>>;
