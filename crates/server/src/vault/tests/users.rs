//! Keys of the application's users.

use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use serde_json::Value;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::userkeys;

use super::World;

const OWN: &str = r#"path "sys/users/self/*" {
    capabilities = ["create", "read", "update", "delete", "list"] }"#;

async fn world() -> (World, Postgres) {
    let world = World::new().await;
    let server = Postgres::start();
    let core = world.node.core().unwrap();
    userkeys::attached(&server, core.state.barrier()).await;
    let url = server.url(userkeys::DATABASE).parse().unwrap();
    world.node.serve_user_keys(&url, None).unwrap();
    world.policy("own", OWN).await;
    (world, server)
}

/// A request below `/api/`.
async fn api(world: &World, token: &str, line: &str, body: &str) -> (u16, Value, String) {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/users/{path}"))
        .header("host", "localhost")
        .header("x-vault-token", token)
        .body(Full::new(bytes::Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let response = crate::listen::tests::ask(&world.node, request).await;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (status, body, text)
}

/// The token of a user who has logged in by name.
async fn login(world: &World, name: &str) -> String {
    let _ = world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    let body = r#"{"password":"correct horse", "token_policies":["own"]}"#;
    let line = format!("POST auth/userpass/users/{name}");
    assert_eq!(world.root(&line, body).await.status, 204);
    let line = format!("POST auth/userpass/login/{name}");
    let reply = world
        .ask(None, &line, r#"{"password":"correct horse"}"#)
        .await;
    reply.body["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn users_reach_their_own_keys_only_and_values_are_masked() {
    let (world, server) = world().await;
    let (alice, bob) = (login(&world, "alice").await, login(&world, "bob").await);
    let value = r#"{"value":"sk-of-alice"}"#;
    let (status, body, text) =
        api(&world, &alice, "PUT alice/secrets/anthropic/api_key", value).await;
    assert_eq!(
        (status, &body["data"]["value"]),
        (200, &"[redacted]".into()),
        "{text}"
    );
    assert!(!text.contains("sk-of-alice"));
    for place in ["alice", "self"] {
        let line = format!("GET {place}/secrets/anthropic/api_key");
        let (_, body, text) = api(&world, &alice, &line, "").await;
        assert_eq!(body["data"]["value"], "sk-of-alice", "{text}");
        assert_eq!(body["data"]["source"], "user");
    }
    let (_, body, text) = api(&world, &alice, "GET alice/secrets", "").await;
    assert_eq!(body["data"]["keys"][0], "anthropic_api_key");
    assert_eq!(
        body["data"]["key_info"]["anthropic_api_key"]["value"],
        "[redacted]"
    );
    assert!(!text.contains("sk-of-alice"));
    // Of another user: alike, whether there is a key or not.
    let mut answers = std::collections::BTreeSet::new();
    for name in ["anthropic/api_key", "nothing"] {
        for method in ["GET", "DELETE", "PUT"] {
            let line = format!("{method} alice/secrets/{name}");
            let (status, _, text) = api(&world, &bob, &line, value).await;
            assert_eq!(status, 403, "{line}: {text}");
            answers.insert(text);
        }
    }
    assert_eq!(answers.len(), 1);
    for line in [
        "GET alice/secrets",
        "DELETE alice/secrets",
        "GET alice/export",
    ] {
        assert_eq!(api(&world, &bob, line, "").await.0, 403, "{line}");
    }
    assert_eq!(
        api(&world, &bob, "GET self/secrets/anthropic/api_key", "")
            .await
            .0,
        404
    );
    // What the application writes in clear is sealed when it is read.
    userkeys::put_plain(&server, "bob", "openai_api_key", "sk-of-bob");
    let (_, body, _) = api(&world, &bob, "GET bob/secrets/openai/api_key", "").await;
    assert_eq!(body["data"]["value"], "sk-of-bob");
    let sealed = "SELECT bool_and(secret_value IS NULL) FROM user_secrets";
    assert_eq!(server.sql("postgres", sealed), "t");
    let (_, body, _) = api(&world, &bob, "GET bob/export", "").await;
    assert_eq!(body["data"]["keys"][0]["value"], "sk-of-bob");
    let (_, body, _) = api(&world, &bob, "DELETE bob/secrets", "").await;
    assert_eq!(body["data"]["removed"], 1);
    assert_eq!(
        api(&world, &alice, "DELETE alice/secrets/anthropic/api_key", "")
            .await
            .0,
        204
    );
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(log.contains("sys/users/alice/secrets/anthropic/api_key"));
    assert!(!log.contains("sk-of-alice") && !log.contains("sk-of-bob"));
}

#[tokio::test]
async fn a_user_cannot_make_a_token_for_another_one() {
    let (world, _server) = world().await;
    world
        .policy(
            "maker",
            r#"path "auth/token/create" { capabilities = ["update"] }"#,
        )
        .await;
    let made = |token: String, meta: &'static str| {
        let world = &world;
        async move {
            let body =
                format!(r#"{{"policies":["own","maker"],"no_default_policy":true,"meta":{meta}}}"#);
            let reply = world
                .ask(Some(&token), "POST auth/token/create", &body)
                .await;
            reply.body["auth"]["client_token"]
                .as_str()
                .unwrap()
                .to_owned()
        }
    };
    let carol = made(super::ROOT.to_owned(), r#"{"strongroom_user":"carol"}"#).await;
    let value = r#"{"value":"v"}"#;
    assert_eq!(
        api(&world, &carol, "PUT carol/secrets/k", value).await.0,
        200
    );
    let child = made(carol, r#"{"strongroom_user":"alice","username":"alice"}"#).await;
    assert_eq!(
        api(&world, &child, "PUT alice/secrets/k", value).await.0,
        403
    );
    assert_eq!(api(&world, &child, "GET carol/secrets/k", "").await.0, 200);
    let nobody = world.token(&["own"]).await;
    assert_eq!(api(&world, &nobody, "GET self/secrets/k", "").await.0, 400);
}

#[tokio::test]
async fn the_systems_key_is_given_to_whom_its_policy_allows_it() {
    let (world, _server) = world().await;
    world
        .root(
            "PUT secret/data/openai/api_key",
            r#"{"data":{"value":"of-the-system"}}"#,
        )
        .await;
    let app = r#"path "sys/users/+/secrets/*" { capabilities = ["read"] }"#;
    world.policy("app", app).await;
    let both = format!("{app}\npath \"secret/data/openai/*\" {{ capabilities = [\"read\"] }}");
    world.policy("app-and-system", &both).await;
    let line = "GET u1/secrets/openai/api_key?resolve=true";
    let token = world.token(&["app"]).await;
    assert_eq!(api(&world, &token, line, "").await.0, 404);
    let token = world.token(&["app-and-system"]).await;
    let (status, body, text) = api(&world, &token, line, "").await;
    assert_eq!(
        (status, &body["data"]["source"]),
        (200, &"system".into()),
        "{text}"
    );
    assert!(text.contains("of-the-system"));
    let (status, ..) = api(&world, &token, "GET u1/secrets/openai/api_key", "").await;
    assert_eq!(status, 404);
    let (status, _, text) = api(&world, &token, "GET u1/secrets/none?resolve=true", "").await;
    assert_eq!(status, 404);
    assert!(text.contains("neither the user nor the system"), "{text}");
}

#[tokio::test]
async fn a_rate_can_be_set_for_users_keys() {
    let (world, _server) = world().await;
    let quota = r#"{"path":"sys/users/", "rate":2}"#;
    let set = world.root("POST sys/quotas/rate-limit/users", quota).await;
    assert_eq!(set.status, 204, "{set:?}");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(api(&world, super::ROOT, "GET u1/secrets/k", "").await.0);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}
