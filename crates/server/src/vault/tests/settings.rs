//! Settings of the server that clients change, and what it tells of itself.

use serde_json::json;

use super::ROOT;
use super::World;

#[tokio::test]
async fn the_policies_of_a_token_are_told_together() {
    let world = World::new().await;
    let root = world.root("GET sys/internal/ui/resultant-acl", "").await;
    assert_eq!(*root.data(), json!({"root": true}));
    let text = r#"
        path "secret/data/*" { capabilities = ["read", "list"] }
        path "secret/data/x" { capabilities = ["deny"] }
        path "secret/+/y" { capabilities = ["read"] }
        path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }"#;
    world.policy("some", text).await;
    let token = world.token(&["some"]).await;
    let line = "GET sys/internal/ui/resultant-acl";
    let told = world.ask(Some(&token), line, "").await;
    let expected = json!({
        "exact_paths": {
            "secret/data/x": {"capabilities": ["deny"]},
            "sys/internal/ui/resultant-acl": {"capabilities": ["read"]},
        },
        "glob_paths": {"secret/data/": {"capabilities": ["list", "read"]}},
        "root": false,
    });
    assert_eq!(*told.data(), expected);
}

#[tokio::test]
async fn the_log_tells_the_headers_that_are_asked_for() {
    let world = World::new().await;
    let path = "sys/config/auditing/request-headers";
    let none = world.root(&format!("GET {path}"), "").await;
    assert_eq!(*none.data(), json!({"headers": {}}));
    let set = |name: &'static str, body: &'static str| {
        let line = format!("PUT {path}/{name}");
        let world = &world;
        async move { world.root(&line, body).await }
    };
    assert_eq!(set("X-Plain", "{}").await.status, 204);
    assert_eq!(set("X-Hashed", r#"{"hmac":true}"#).await.status, 204);
    for secret in ["X-Vault-Token", "authorization", "Cookie"] {
        assert_eq!(set(secret, "{}").await.status, 400, "{secret}");
    }
    assert_eq!(set("X-Vault-Token", r#"{"hmac":true}"#).await.status, 204);
    let told = world.root(&format!("GET {path}/X-Plain"), "").await;
    assert_eq!(told.body["X-Plain"], json!({"hmac": false}), "{told:?}");
    let missing = world.root(&format!("GET {path}/X-None"), "").await;
    assert_eq!(
        missing.error(),
        (400, "Could not find header in config".into())
    );
    let headers = [
        ("X-Plain", "seen"),
        ("X-Hashed", "canary-12"),
        ("X-Other", "canary-13"),
    ];
    world
        .ask_with(Some(ROOT), "GET secret/data/h", "", &headers)
        .await;
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let told = last["request"]["headers"].as_object().unwrap();
    assert_eq!(told["x-plain"], json!(["seen"]));
    let names: Vec<&String> = told.keys().collect();
    assert_eq!(names, ["x-hashed", "x-plain", "x-vault-token"]);
    assert!(!log.contains("canary-1") && !log.contains(ROOT), "{log}");
    assert!(
        told["x-hashed"][0]
            .as_str()
            .unwrap()
            .starts_with("hmac-sha256:")
    );
    for name in ["X-Plain", "x-none"] {
        let gone = world.root(&format!("DELETE {path}/{name}"), "").await;
        assert_eq!(gone.status, 204);
    }
    let left = world.root(&format!("GET {path}"), "").await;
    let left = left.data()["headers"].as_object().unwrap();
    assert_eq!(left.len(), 2);
}

#[tokio::test]
async fn paths_can_be_without_a_limit() {
    let world = World::new().await;
    let told = world.root("GET sys/quotas/config", "").await;
    let exempt = told.data()["rate_limit_exempt_paths"].as_array().unwrap();
    assert!(
        exempt.contains(&json!("sys/generate-root/attempt")),
        "{told:?}"
    );
    let quota = r#"{"rate":1,"interval":"1h"}"#;
    assert_eq!(
        world
            .root("POST sys/quotas/rate-limit/all", quota)
            .await
            .status,
        204
    );
    let attempt = "GET sys/generate-root/attempt";
    for _ in 0..3 {
        assert_eq!(world.ask(None, attempt, "").await.status, 200);
    }
    assert_eq!(world.root("GET sys/mounts", "").await.status, 200);
    assert_eq!(world.root("GET sys/mounts", "").await.status, 429);
    world.pass(3601);
    for body in [
        r#"{"enable_rate_limit_audit_logging":false}"#,
        r#"{"enable_rate_limit_response_headers":true}"#,
        r#"{"rate_limit_exempt_paths":{}}"#,
    ] {
        assert_eq!(
            world.root("POST sys/quotas/config", body).await.status,
            400,
            "{body}"
        );
        world.pass(3601);
    }
    let body = r#"{"rate_limit_exempt_paths":["sys/mounts","sys/quotas/*"]}"#;
    assert_eq!(world.root("POST sys/quotas/config", body).await.status, 204);
    for line in ["GET sys/mounts", "GET sys/quotas/config", "GET sys/mounts"] {
        assert_eq!(world.root(line, "").await.status, 200, "{line}");
    }
    assert_eq!(world.ask(None, attempt, "").await.status, 429);
}

#[tokio::test]
async fn a_data_key_is_exchanged_when_it_is_as_old_as_was_said() {
    let world = World::new().await;
    for path in ["sys/rotate/config", "sys/rotate/keyring/config"] {
        let told = world.root(&format!("GET {path}"), "").await;
        assert_eq!(told.data()["enabled"], true);
        assert_eq!(told.data()["interval"], 0);
    }
    for body in [
        r#"{"interval":"1h"}"#,
        r#"{"max_operations":5}"#,
        r#"{"interval":"-1s"}"#,
    ] {
        assert_eq!(
            world.root("POST sys/rotate/config", body).await.status,
            400,
            "{body}"
        );
    }
    let term = async || {
        let core = world.node.core().unwrap();
        crate::vault::keys::rotate_if_due(&world.node, &core)
            .await
            .unwrap();
        world.root("GET sys/key-status", "").await.data()["term"].clone()
    };
    world.root("PUT secret/data/x", r#"{"data":{"a":1}}"#).await;
    assert_eq!(
        world
            .root("POST sys/rotate/config", r#"{"interval":"48h"}"#)
            .await
            .status,
        204
    );
    let first = term().await;
    world.pass(47 * 3600);
    assert_eq!(term().await, first);
    world.pass(3600);
    let second = term().await;
    assert_ne!(second, first);
    assert_eq!(term().await, second);
    assert_eq!(
        world
            .root("POST sys/rotate/config", r#"{"enabled":false}"#)
            .await
            .status,
        204
    );
    world.pass(49 * 3600);
    assert_eq!(term().await, second);
    let told = world.root("GET sys/rotate/config", "").await;
    assert_eq!(told.data()["interval"], "48h0m0s");
    assert_eq!(world.root("GET secret/data/x", "").await.status, 200);
}

#[tokio::test]
async fn what_there_is_can_be_listed() {
    let world = World::new().await;
    let versions = world.root("LIST sys/version-history", "").await;
    assert_eq!(versions.data()["keys"], json!(["0.0.0"]));
    let info = &versions.data()["key_info"]["0.0.0"];
    assert_eq!(info["previous_version"], json!(null));
    assert_eq!(info["timestamp_installed"], "2027-01-15T08:00:00Z");
    let all = world.root("GET sys/plugins/catalog", "").await;
    assert_eq!(all.data()["secret"], json!(["kv"]));
    let names = world.root("LIST sys/plugins/catalog/auth", "").await;
    assert_eq!(names.data()["keys"], json!(["approle", "userpass"]));
    let one = world.root("GET sys/plugins/catalog/auth/approle", "").await;
    assert_eq!(one.data()["version"], "v0.0.0+builtin.strongroom");
    let count = "GET sys/leases/count?type=irrevocable";
    assert_eq!(world.root(count, "").await.data()["lease_count"], 0);
    let list = "GET sys/leases?type=irrevocable";
    assert_eq!(world.root(list, "").await.data()["leases"], json!([]));
    for (line, status) in [
        ("GET sys/plugins/catalog/auth/none", 404),
        ("LIST sys/plugins/catalog/none", 405),
        ("GET sys/leases/count", 404),
        ("GET sys/leases", 404),
        ("GET sys/version-history", 405),
    ] {
        assert_eq!(world.root(line, "").await.status, status, "{line}");
    }
}
