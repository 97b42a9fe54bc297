//! The endpoints below `/api/`, without a network.

mod delivery;
mod deployment;
mod ledger;
mod secrets;
mod security;

use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use serde_json::Value;

use crate::vault::tests::ROOT;
use crate::vault::tests::World;

/// A request below `/api/`: status, body, and the body as text.
async fn ask(world: &World, token: Option<&str>, line: &str, body: &str) -> (u16, Value, String) {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/api/{path}"))
        .header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request
        .body(Full::new(bytes::Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let response = crate::listen::tests::ask(&world.node, request).await;
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        kind == "application/json" || status == 204,
        "{line}: {kind}"
    );
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (status, body, text)
}

/// The answer to a request with the root token, which must be given.
async fn good(world: &World, line: &str, body: &str) -> Value {
    let (status, answer, text) = ask(world, Some(ROOT), line, body).await;
    assert!((200..300).contains(&status), "{line}: {status} {text}");
    answer
}

/// Status and error of a request with the root token.
async fn bad(world: &World, line: &str, body: &str) -> (u16, String) {
    let (status, answer, text) = ask(world, Some(ROOT), line, body).await;
    let error = answer["error"].as_str();
    let error = error.unwrap_or_else(|| panic!("{line}: {status} {text}"));
    (status, error.to_owned())
}

/// A server with two resources and an application that leans on both.
async fn world() -> World {
    let world = World::new().await;
    let postgres = r#"{"secrets": [
        {"secret_key": "POSTGRES_PASSWORD", "secret_type": "password", "required": true,
         "classification": "infrastructure", "description": "of the database",
         "strategies": [{"tier": "tier-2-desktop", "handling_strategy": "strip"},
                        {"tier": "tier-4-saas", "handling_strategy": "generate"}]}]}"#;
    good(&world, "POST v1/resources/postgres", postgres).await;
    let openai = r#"{"secrets": [
        {"secret_key": "OPENAI_API_KEY", "secret_type": "api_key", "required": true,
         "classification": "user", "validation_pattern": "^sk-[A-Za-z0-9-]+$",
         "documentation_url": "https://example.org/keys"},
        {"secret_key": "OPENAI_ORG", "required": false, "classification": "service"}]}"#;
    good(&world, "POST v1/resources/openai", openai).await;
    let service = r#"{"service": {"dependencies": {"resources": {
        "postgres": {"required": true}, "openai": {"required": true},
        "redis": {"enabled": false}}}}}"#;
    good(&world, "POST v1/scenarios/shop", service).await;
    world
}
