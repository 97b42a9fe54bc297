//! The control API: plain HTTP on the loopback address, for the application's own shell.
//!
//! It answers with statuses and names, never with a value.

mod answer;
mod door;
mod logs;
mod post;
pub(crate) mod setup;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::supervisor::State;
use crate::validate;
use answer::Answer;

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// A client has so long to send its headers; an idle connection is kept as long.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// A client has so long to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that are under way have so long to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After the system refused a connection, the next is tried after so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// Bytes of one request's headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one request's body.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// Serves until the application ends.
pub(crate) async fn serve(state: Arc<State>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut stop = state.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            // Whoever holds all places must not make others wait: they try again.
            drop(stream);
            continue;
        };
        let (state, watcher) = (Arc::clone(&state), graceful.watcher());
        tokio::spawn(async move {
            converse(state, stream, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
}

async fn converse(
    state: Arc<State>,
    stream: TcpStream,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move {
            // What has begun runs to its end, also when the client hangs up.
            let answered = tokio::spawn(async move { respond(&state, request).await }).await;
            let answer = answered.unwrap_or_else(|_| {
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "a request hit a bug\n")
            });
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's affair.
    let _ = watcher.watch(connection).await;
}

async fn respond(state: &Arc<State>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = door::check_origin(state, &parts) {
        return refusal;
    }
    if parts.uri.path() == "/healthz" {
        return Answer::json(&json!({
            "status": "ok",
            "services": state.manifest.services.len(),
            "runtime": runtime(),
        }));
    }
    if parts.uri.path().starts_with("/setup/") {
        return setup::route(state, &parts, body).await;
    }
    if let Err(refusal) = door::check_token(state, &parts) {
        return refusal;
    }
    route(state, &parts, body).await
}

fn runtime() -> String {
    format!("strongroom {}", env!("CARGO_PKG_VERSION"))
}

async fn route(state: &Arc<State>, parts: &Parts, body: Incoming) -> Answer {
    let path = parts.uri.path();
    match (path, &parts.method) {
        ("/secrets", &Method::GET | &Method::HEAD) => {
            let list = state.secrets.lock().await.list();
            Answer::json(&json!({ "secrets": list }))
        }
        ("/secrets", &Method::POST) => match take_body(body).await {
            Ok(body) => post::save(state, parts, &body).await,
            Err(refusal) => refusal,
        },
        ("/secrets/validate", &Method::POST) => match take_body(body).await {
            Ok(body) => post::validate(state, parts, &body).await,
            Err(refusal) => refusal,
        },
        ("/secrets", _) => method_not_allowed(),
        ("/restart", &Method::POST) => match take_body(body).await {
            Ok(body) => post::restart(state, &body),
            Err(refusal) => refusal,
        },
        ("/restart", _) => method_not_allowed(),
        ("/setup-link", &Method::POST) => setup::link(state),
        ("/readyz", _) => Answer::json(&json!({
            "ready": state.board.is_ready(),
            "details": state.board.to_json(),
            "gpu": state.gpu.with_requirements(&state.manifest),
        })),
        ("/ports", _) => Answer::json(&json!({ "services": state.ports })),
        ("/status", _) => Answer::json(&status(state)),
        ("/telemetry", _) => Answer::json(&json!({
            "path": state.telemetry.path().display().to_string(),
            "upload_url": state.manifest.upload_url,
        })),
        ("/validate", _) => validate_bundle(state).await,
        ("/logs/tail", _) => logs::tail(state, parts.uri.query().unwrap_or_default()).await,
        ("/shutdown", _) => {
            let _ = state.stop.send(true);
            Answer::json(&json!({ "status": "stopping" }))
        }
        _ => match path.strip_prefix("/secrets/") {
            Some(below) => post::one(state, &parts.method, below).await,
            None => Answer::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        },
    }
}

fn method_not_allowed() -> Answer {
    Answer::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
}

fn status(state: &State) -> Value {
    let manifest = &state.manifest;
    let begun = state.begun.as_micros();
    let second = begun - begun.rem_euclid(1_000_000);
    let begun = strongroom_core::time::Timestamp::from_micros(second);
    json!({
        "instance_id": state.instance,
        "started_at": begun.to_string(),
        "app_data_dir": state.folder.path().display().to_string(),
        "bundle_root": state.bundle_root.display().to_string(),
        "dry_run": state.is_dry_run,
        "manifest_hash": manifest.sha256,
        "manifest_schema": manifest.schema_version,
        "target": manifest.target,
        "app_name": manifest.app_name,
        "app_version": manifest.app_version,
        "ipc_host": manifest.ipc_host,
        "ipc_port": state.address.port(),
        "runtime_version": runtime(),
        "build_version": env!("CARGO_PKG_VERSION"),
    })
}

async fn validate_bundle(state: &Arc<State>) -> Answer {
    let shared = Arc::clone(state);
    let check = move || validate::check(&shared.manifest, &shared.bundle_root);
    let Ok(report) = tokio::task::spawn_blocking(check).await else {
        return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the check broke off\n");
    };
    let details = json!({
        "valid": report.errors.is_empty(),
        "error_count": report.errors.len(),
        "warning_count": report.warnings.len(),
        "missing_binaries": report.missing_binaries.len(),
        "missing_assets": report.missing_assets.len(),
        "invalid_checksums": report.invalid_checksums.len(),
    });
    state.telemetry.note("bundle_validation", None, details);
    let status = match report.errors.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Answer::json_with(status, &report.to_json())
}

/// Reads a body within its bounds and its time, into memory that is wiped.
pub(crate) async fn take_body(body: Incoming) -> Result<Zeroizing<Vec<u8>>, Answer> {
    match tokio::time::timeout(BODY_TIMEOUT, read_body(body)).await {
        Ok(read) => read,
        Err(_) => Err(Answer::text(
            StatusCode::REQUEST_TIMEOUT,
            "the body came too slowly\n",
        )),
    }
}

async fn read_body(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Answer> {
    let too_large = || Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "body larger than 1 MiB\n");
    let announced = hyper::body::Body::size_hint(&body).exact();
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    // One buffer that does not grow: a buffer that is left behind is not wiped.
    let capacity = announced.map_or(BODY_BYTES_MAX as u64, |bytes| bytes);
    let capacity = usize::try_from(capacity).unwrap_or(BODY_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Answer::text(
                StatusCode::BAD_REQUEST,
                "the body broke off\n",
            ));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let data: Bytes = data;
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
