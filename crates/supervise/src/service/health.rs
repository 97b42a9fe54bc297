//! Whether a service is well, and when others may use it.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Limited;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::log::Log;
use super::process;
use crate::manifest::HealthKind;
use crate::manifest::ReadinessKind;
use crate::manifest::Service;
use crate::supervisor::State;

/// Longest answer to a health check that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// For this path the answer counts, too.
const JUDGED_PATH: &str = "/health";

/// Waits until others may use a service.
pub(crate) async fn wait_until_ready(state: &State, service: &Service, log: &Log) {
    match &service.readiness.kind {
        ReadinessKind::DependenciesReady => {}
        ReadinessKind::LogMatch(_) => log.wait_until_ready().await,
        ReadinessKind::HealthSuccess => {
            while let Err(why) = check(state, service, log).await {
                state.board.change(&service.id, |status| {
                    status.message = format!("waiting for health: {why}");
                });
                tokio::time::sleep(service.health.interval).await;
            }
        }
        ReadinessKind::PortOpen { port } => {
            while open(state, service, port.as_deref()).await.is_err() {
                tokio::time::sleep(service.health.interval).await;
            }
        }
    }
}

/// Looks once whether a service is well.
pub(crate) async fn check(state: &State, service: &Service, log: &Log) -> Result<(), String> {
    let limit = service.health.timeout;
    let late = || format!("no answer within {} ms", limit.as_millis());
    match &service.health.kind {
        HealthKind::Tcp { port } => {
            let opened = tokio::time::timeout(limit, open(state, service, Some(port))).await;
            opened.unwrap_or_else(|_| Err(late()))
        }
        HealthKind::Http { path, port } => {
            let asked = tokio::time::timeout(limit, ask(state, service, path, port)).await;
            asked.unwrap_or_else(|_| Err(late()))
        }
        HealthKind::Command(words) => {
            let run = process::run_to_end(state, service, words, &[], None, limit);
            run.await
        }
        HealthKind::LogMatch(_) => match log.is_healthy() {
            true => Ok(()),
            false => Err("the log does not say so yet".to_owned()),
        },
    }
}

fn port_of(state: &State, service: &Service, name: Option<&str>) -> Result<u16, String> {
    let own = state.ports.get(&service.id);
    let named = match (name, &service.health.kind) {
        (Some(name), _) => Some(name),
        (None, HealthKind::Tcp { port } | HealthKind::Http { port, .. }) => Some(port.as_str()),
        (None, _) => None,
    };
    let found = match named {
        Some(name) => own.and_then(|own| own.get(name)),
        None => own.and_then(|own| own.values().next()),
    };
    let missing = || format!("it has no port {}", named.unwrap_or_default());
    found.copied().ok_or_else(missing)
}

async fn open(state: &State, service: &Service, name: Option<&str>) -> Result<(), String> {
    let port = port_of(state, service, name)?;
    let opened = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    opened
        .map(drop)
        .map_err(|error| format!("port {port}: {error}"))
}

async fn ask(state: &State, service: &Service, path: &str, port: &str) -> Result<(), String> {
    let port = port_of(state, service, Some(port))?;
    let failed = |error: &dyn std::fmt::Display| format!("port {port}: {error}");
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let stream = TokioIo::new(stream.map_err(|error| failed(&error))?);
    let opened = http1::handshake(stream).await;
    let (mut sender, connection) = opened.map_err(|error| failed(&error))?;
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    let request = http::Request::get(&path)
        .header(http::header::HOST, format!("127.0.0.1:{port}"))
        .body(Empty::<Bytes>::new())
        .map_err(|_| format!("{path} is no path"))?;
    let asking = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("{path} answers {}", status.as_u16()));
        }
        if path != JUDGED_PATH {
            return Ok(());
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| failed(&error))?.to_bytes();
        match says_well(&body) {
            true => Ok(()),
            false => Err(format!("{path} does not say that it is healthy")),
        }
    };
    tokio::pin!(asking);
    tokio::select! {
        asked = &mut asking => asked,
        // The answer may have come whole with the end of the connection.
        _ = connection => asking.await,
    }
}

/// Whether an answer in JSON says that all is well.
fn says_well(body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let status = answer.get("status").and_then(Value::as_str);
    let status = status.map(str::to_ascii_lowercase);
    let is_ready = answer.get("readiness").and_then(Value::as_bool);
    matches!(status.as_deref(), Some("healthy" | "degraded" | "ok")) || is_ready == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_at_health_is_judged() {
        for (body, is_well) in [
            ("{\"status\": \"healthy\"}", true),
            ("{\"status\": \"Degraded\"}", true),
            ("{\"readiness\": true}", true),
            ("{\"status\": \"unhealthy\"}", false),
            ("{\"status\": \"down\", \"readiness\": false}", false),
            ("fine", false),
            ("", false),
        ] {
            assert_eq!(says_well(body.as_bytes()), is_well, "{body}");
        }
    }
}
