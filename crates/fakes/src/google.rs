//! Google Secret Manager of ours, as its REST interface has it: secrets, versions with states,
//! checksums, etags, aliases, lists in pieces, errors as google.rpc.Status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Query;
use axum::extract::State;
use axum::http::Method;
use axum::http::Uri;
use axum::response::Response;
use data_encoding::BASE64;
use serde_json::Value;
use serde_json::json;

mod payload;

const VALUE_BYTES_MAX: usize = 65_536;
/// One project, by its id and its number.
const PROJECTS: &[&str] = &["shop", "1234"];

/// A running server.
pub struct Fake {
    port: u16,
    server: tokio::task::JoinHandle<()>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    secrets: BTreeMap<String, Secret>,
    changes: u64,
    /// Statuses to answer the next requests with.
    faults: Vec<u16>,
    /// Damages the values of answers.
    is_damaging: bool,
    /// Requests that are being answered, and the most at a time.
    requests: usize,
}

#[derive(Default)]
struct Secret {
    body: Value,
    versions: Vec<Version>,
}

struct Version {
    state: &'static str,
    data: Vec<u8>,
    has_checksum: bool,
}

type Answer = Result<Value, (u16, &'static str, String)>;

impl Fake {
    /// Serves on a free port of this machine.
    pub async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let router = Router::new().fallback(answer).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
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

    /// Answers the next requests with these statuses, the last first.
    pub fn fail_next(&self, statuses: &[u16]) {
        self.lock().faults = statuses.to_vec();
    }

    /// Changes values on the way.
    pub fn damage_values(&self) {
        self.lock().is_damaging = true;
    }

    /// Changes the state of a version.
    pub fn set_state(&self, name: &str, number: usize, state: &'static str) {
        self.lock().secrets.get_mut(name).unwrap().versions[number - 1].state = state;
    }

    /// The names of all secrets.
    pub fn names(&self) -> Vec<String> {
        self.lock().secrets.keys().cloned().collect()
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
    body: Bytes,
) -> Response {
    let mut inner = inner.lock().unwrap();
    inner.requests += 1;
    let answer = match inner.faults.pop() {
        Some(401) => Err((401, "UNAUTHENTICATED", "asked to fail".into())),
        Some(429) => Err((429, "RESOURCE_EXHAUSTED", "asked to fail".into())),
        Some(code) => Err((code, "UNAVAILABLE", "asked to fail".into())),
        None => route(&mut inner, &method, uri.path(), &query, &body),
    };
    let (code, body) = match answer {
        Ok(body) => (200, body),
        Err((code, status, message)) => (
            code,
            json!({ "error": { "code": code, "status": status, "message": message } }),
        ),
    };
    Response::builder()
        .status(code)
        .header("content-type", "application/json; charset=UTF-8")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn route(
    inner: &mut Inner,
    method: &Method,
    path: &str,
    query: &BTreeMap<String, String>,
    body: &[u8],
) -> Answer {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let parsed =
        || serde_json::from_slice::<Value>(body).map_err(|_| invalid("the body cannot be read"));
    let project = parts.get(1).copied().unwrap_or_default();
    if project == "forbidden" {
        let text = "Permission 'secretmanager.secrets.get' denied for resource".to_owned();
        return Err((403, "PERMISSION_DENIED", text));
    }
    if !PROJECTS.contains(&project) {
        return Err(absent("Project"));
    }
    match (method.as_str(), parts.as_slice()) {
        ("GET", [_, _, "secrets"]) => list(inner, query),
        ("POST", [_, _, "secrets"]) => create(inner, project, query, &parsed()?),
        ("GET", [_, _, "secrets", name]) => Ok(found(inner, name)?.body.clone()),
        ("PATCH", [_, _, "secrets", name]) => update(inner, name, query, &parsed()?),
        ("DELETE", [_, _, "secrets", name]) => {
            found(inner, name)?;
            inner.secrets.remove(*name);
            Ok(json!({}))
        }
        ("POST", [_, _, "secrets", name]) => match name.strip_suffix(":addVersion") {
            Some(name) => payload::add(inner, name, &parsed()?),
            None => Err(absent("Method")),
        },
        ("GET", [_, _, "secrets", name, "versions"]) => versions(inner, name, query),
        (method, [_, _, "secrets", name, "versions", version]) => {
            payload::version(inner, method, name, version)
        }
        _ => Err(absent("Path")),
    }
}

fn create(
    inner: &mut Inner,
    project: &str,
    query: &BTreeMap<String, String>,
    body: &Value,
) -> Answer {
    let name = query.get("secretId").cloned().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_plain) {
        return Err(invalid("the secret ID is not valid"));
    }
    if inner.secrets.contains_key(&name) {
        let text = format!("Secret [projects/{project}/secrets/{name}] already exists.");
        return Err((409, "ALREADY_EXISTS", text));
    }
    if body["replication"].is_null() {
        return Err(invalid("replication must be set"));
    }
    check_labels(body)?;
    let mut body = body.clone();
    body["name"] = json!(format!("projects/1234/secrets/{name}"));
    body["createTime"] = json!("2026-11-28T06:00:00.123456Z");
    stamp(inner, &mut body);
    let secret = Secret {
        body: body.clone(),
        versions: Vec::new(),
    };
    inner.secrets.insert(name, secret);
    Ok(body)
}

fn update(inner: &mut Inner, name: &str, query: &BTreeMap<String, String>, body: &Value) -> Answer {
    let mut changed = found(inner, name)?.body.clone();
    let etag = body["etag"].as_str().unwrap_or_default();
    if !etag.is_empty() && changed["etag"] != etag {
        let text = "The etag does not match the current one.".to_owned();
        return Err((400, "FAILED_PRECONDITION", text));
    }
    check_labels(body)?;
    for field in query
        .get("updateMask")
        .into_iter()
        .flat_map(|mask| mask.split(','))
    {
        let field = match field {
            "version_aliases" => "versionAliases",
            field => field,
        };
        match body.get(field) {
            Some(value) => changed[field] = value.clone(),
            None => drop(changed.as_object_mut().unwrap().remove(field)),
        }
    }
    stamp(inner, &mut changed);
    inner.secrets.get_mut(name).unwrap().body = changed.clone();
    Ok(changed)
}

fn list(inner: &Inner, query: &BTreeMap<String, String>) -> Answer {
    let filter = query.get("filter").map(String::as_str).unwrap_or_default();
    let wanted = filter
        .strip_prefix("name:")
        .unwrap_or_default()
        .to_lowercase();
    let all = inner.secrets.iter();
    let all: Vec<&Value> = all
        .filter(|(name, _)| name.to_lowercase().contains(&wanted))
        .map(|(_, secret)| &secret.body)
        .collect();
    Ok(page("secrets", &all, query))
}

fn versions(inner: &Inner, name: &str, query: &BTreeMap<String, String>) -> Answer {
    let secret = found(inner, name)?;
    let all: Vec<Value> = (1..=secret.versions.len())
        .rev()
        .map(|number| payload::body(name, number, &secret.versions[number - 1]))
        .collect();
    Ok(page("versions", &all.iter().collect::<Vec<_>>(), query))
}

fn page(field: &str, all: &[&Value], query: &BTreeMap<String, String>) -> Value {
    let number = |key: &str| query.get(key).and_then(|text| text.parse::<usize>().ok());
    let start = number("pageToken").unwrap_or(0);
    let size = number("pageSize")
        .filter(|size| *size > 0)
        .unwrap_or(25_000);
    let items: Vec<&&Value> = all.iter().skip(start).take(size).collect();
    let mut page = json!({ field: items, "totalSize": all.len() });
    if start + size < all.len() {
        page["nextPageToken"] = json!((start + size).to_string());
    }
    page
}

fn found<'a>(inner: &'a Inner, name: &str) -> Result<&'a Secret, (u16, &'static str, String)> {
    inner
        .secrets
        .get(name)
        .ok_or_else(|| absent(&format!("Secret [projects/1234/secrets/{name}]")))
}

fn check_labels(body: &Value) -> Result<(), (u16, &'static str, String)> {
    let is_taken = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let labels = body["labels"].as_object().into_iter().flatten();
    for (key, value) in labels {
        let value = value.as_str().unwrap_or("?");
        if key.len() > 63 || !key.chars().all(is_taken) || !value.chars().all(is_taken) {
            return Err(invalid("a label is not valid"));
        }
    }
    Ok(())
}

fn stamp(inner: &mut Inner, body: &mut Value) {
    inner.changes += 1;
    body["etag"] = json!(format!("\"etag{}\"", inner.changes));
}

fn absent(what: &str) -> (u16, &'static str, String) {
    (404, "NOT_FOUND", format!("{what} not found."))
}

fn invalid(message: &str) -> (u16, &'static str, String) {
    (400, "INVALID_ARGUMENT", message.to_owned())
}

fn encode(bytes: &[u8]) -> Value {
    json!(BASE64.encode(bytes))
}
