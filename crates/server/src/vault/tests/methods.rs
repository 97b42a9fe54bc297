use serde_json::json;

use super::World;
use super::panics::Buggy;

#[tokio::test]
async fn people_log_in_and_guessing_is_stopped() {
    let world = World::new().await;
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    world
        .policy("p", r#"path "secret/*" { capabilities = ["read"] }"#)
        .await;
    let user = r#"{"password":"right","token_policies":"p, ROOT","token_ttl":"1h"}"#;
    assert_eq!(
        world
            .root("POST auth/userpass/users/Bob", user)
            .await
            .status,
        204
    );
    let line = "POST auth/userpass/login/bob";
    let right = r#"{"password":"right"}"#;
    let login = world.ask(None, line, right).await;
    assert_eq!(
        login.body["auth"]["policies"],
        json!(["default", "p"]),
        "{login:?}"
    );
    assert_eq!(login.body["auth"]["metadata"], json!({"username": "bob"}));
    let wrong = r#"{"password":"wrong"}"#;
    let invalid = (400, "invalid username or password".to_owned());
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for name in ["bob", "BOB", "bob%20", "%20bob", "bo%62"] {
        let reply = world
            .ask(None, &format!("POST auth/userpass/login/{name}"), wrong)
            .await;
        assert_eq!(reply.error(), invalid, "{name}");
        known.push(reply.text);
    }
    known.push(world.ask(None, line, right).await.text);
    for _ in 0..6 {
        unknown.push(
            world
                .ask(None, "POST auth/userpass/login/nobody", wrong)
                .await
                .text,
        );
    }
    assert_eq!(
        known, unknown,
        "known and unknown names cannot be told apart"
    );
    assert_eq!(world.ask(None, line, right).await.status, 403);
    world.pass(15 * 60);
    assert_eq!(world.ask(None, line, right).await.status, 200);
}

/// A method at `auth/up`, and the token of somebody who logged in by it.
async fn log_in(world: &World) -> String {
    world
        .root("POST sys/auth/up", r#"{"type":"userpass"}"#)
        .await;
    world
        .root("POST auth/up/users/ann", r#"{"password":"p"}"#)
        .await;
    let login = world
        .ask(None, "PUT auth/up/login/ann", r#"{"password":"p"}"#)
        .await;
    login.body["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_method_that_is_gone_leaves_nobody_logged_in() {
    let world = World::new().await;
    let token = log_in(&world).await;
    let own = "GET auth/token/lookup-self";
    assert_eq!(world.ask(Some(&token), own, "").await.status, 200);
    assert_eq!(world.root("DELETE sys/auth/up", "").await.status, 204);
    assert_eq!(world.ask(Some(&token), own, "").await.status, 403);
    world
        .root("POST sys/auth/up", r#"{"type":"userpass"}"#)
        .await;
    assert_eq!(world.root("LIST auth/up/users", "").await.status, 404);
}

#[tokio::test]
async fn a_removal_that_is_cut_off_leaves_nobody_logged_in() {
    let (world, storage) = Buggy::world().await;
    let core = world.node.core().unwrap();
    for nth in 1.. {
        let token = log_in(&world).await;
        storage.fail_at(nth);
        let reply = world.root("DELETE sys/auth/up", "").await;
        let was_reached = storage.calls() >= nth;
        storage.fail_at(0);
        assert_eq!(world.root("DELETE sys/auth/up", "").await.status, 204);
        crate::tasks::run_once(&world.node, &core).await.unwrap();
        let own = world.ask(Some(&token), "GET auth/token/lookup-self", "");
        assert_eq!(own.await.status, 403, "call {nth}: {reply:?}");
        if !was_reached {
            break;
        }
    }
}

#[tokio::test]
async fn machines_log_in_by_role() {
    let world = World::new().await;
    world
        .root("POST sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    let role =
        r#"{"token_policies":["p"],"token_ttl":"1h","secret_id_num_uses":2,"secret_id_ttl":"10m"}"#;
    assert_eq!(
        world.root("POST auth/approle/role/web", role).await.status,
        204
    );
    let id = world.root("GET auth/approle/role/web/role-id", "").await;
    let role_id = id.data()["role_id"].as_str().unwrap().to_owned();
    let made = world
        .root(
            "POST auth/approle/role/web/secret-id",
            r#"{"metadata":"{\"a\":\"b\"}"}"#,
        )
        .await;
    let secret_id = made.data()["secret_id"].as_str().unwrap().to_owned();
    let accessor = made.data()["secret_id_accessor"]
        .as_str()
        .unwrap()
        .to_owned();
    let listed = world.root("LIST auth/approle/role/web/secret-id", "").await;
    assert_eq!(listed.data()["keys"], json!([accessor]));
    let body = json!({"role_id": role_id, "secret_id": secret_id}).to_string();
    let login = world.ask(None, "POST auth/approle/login", &body).await;
    assert_eq!(
        login.body["auth"]["policies"],
        json!(["default", "p"]),
        "{login:?}"
    );
    assert_eq!(
        login.body["auth"]["metadata"],
        json!({"a": "b", "role_name": "web"})
    );
    let named = json!({"secret_id_accessor": accessor}).to_string();
    let looked = world
        .root(
            "POST auth/approle/role/web/secret-id-accessor/lookup",
            &named,
        )
        .await;
    assert_eq!(looked.data()["secret_id_num_uses"], 1, "{looked:?}");
    // Through another role nothing is seen or destroyed.
    world.root("POST auth/approle/role/other", "{}").await;
    for (what, status) in [("lookup", 404), ("destroy", 403)] {
        let line = format!("POST auth/approle/role/other/secret-id-accessor/{what}");
        assert_eq!(world.root(&line, &named).await.status, status);
        let line = format!("POST auth/approle/role/other/secret-id/{what}");
        assert_eq!(
            world
                .root(&line, &json!({"secret_id": secret_id}).to_string())
                .await
                .status,
            204
        );
    }
    assert_eq!(
        world
            .ask(None, "POST auth/approle/login", &body)
            .await
            .status,
        200
    );
    let invalid = (400, "invalid role or secret ID".to_owned());
    assert_eq!(
        world
            .ask(None, "POST auth/approle/login", &body)
            .await
            .error(),
        invalid
    );
}

#[tokio::test]
async fn secret_ids_end_with_their_time_and_their_role() {
    let world = World::new().await;
    world
        .root("POST sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    let role = r#"{"secret_id_ttl":"10m","role_id":"web-id"}"#;
    world.root("POST auth/approle/role/web", role).await;
    let role_id = "web-id";
    let invalid = (400, "invalid role or secret ID".to_owned());
    let made = world
        .root(
            "POST auth/approle/role/web/custom-secret-id",
            r#"{"secret_id":"mine"}"#,
        )
        .await;
    assert_eq!(made.data()["secret_id"], "mine");
    let body = json!({"role_id": role_id, "secret_id": "mine"}).to_string();
    world.pass(601);
    assert_eq!(
        world
            .ask(None, "POST auth/approle/login", &body)
            .await
            .error(),
        invalid
    );
    // A role of the same name made anew has nothing of the old one.
    world
        .root(
            "POST auth/approle/role/web/custom-secret-id",
            r#"{"secret_id":"again"}"#,
        )
        .await;
    world.root("DELETE auth/approle/role/web", "").await;
    world
        .root(
            "POST auth/approle/role/web",
            &json!({"role_id": role_id}).to_string(),
        )
        .await;
    let body = json!({"role_id": role_id, "secret_id": "again"}).to_string();
    assert_eq!(
        world
            .ask(None, "POST auth/approle/login", &body)
            .await
            .error(),
        invalid
    );
}

#[tokio::test]
async fn addresses_bind() {
    let world = World::new().await;
    world
        .root("POST sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    let role = r#"{"secret_id_bound_cidrs":"10.0.0.0/8","role_id":"r"}"#;
    world.root("POST auth/approle/role/far", role).await;
    let made = world.root("POST auth/approle/role/far/secret-id", "").await;
    let secret_id = made.data()["secret_id"].clone();
    let body = json!({"role_id": "r", "secret_id": secret_id}).to_string();
    let login = world.ask(None, "POST auth/approle/login", &body).await;
    assert_eq!(login.error(), (400, "invalid role or secret ID".into()));
    let bad = world
        .root(
            "POST auth/approle/role/x",
            r#"{"token_bound_cidrs":"nowhere"}"#,
        )
        .await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn rates_are_limited() {
    let world = World::new().await;
    let quota = r#"{"path":"secret/","rate":3,"interval":"10s"}"#;
    assert_eq!(
        world
            .root("POST sys/quotas/rate-limit/q", quota)
            .await
            .status,
        204
    );
    let read = world.root("GET sys/quotas/rate-limit/q", "").await;
    assert_eq!(read.data()["rate"], 3);
    for _ in 0..3 {
        assert_eq!(world.root("GET secret/data/x", "").await.status, 404);
    }
    assert_eq!(world.root("GET secret/data/x", "").await.status, 429);
    assert_eq!(world.ask(None, "GET secret/data/x", "").await.status, 429);
    assert_eq!(world.root("GET sys/mounts", "").await.status, 200);
    world.pass(10);
    assert_eq!(world.root("GET secret/data/x", "").await.status, 404);
    assert_eq!(
        world
            .root("DELETE sys/quotas/rate-limit/q", "")
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn settings_are_shown_by_the_names_they_were_given_by() {
    let world = World::new().await;
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    let user = "auth/userpass/users/bob";
    let body = r#"{"password":"long-enough","policies":"a,b","ttl":"1h","max_ttl":"2h"}"#;
    assert_eq!(world.root(&format!("POST {user}"), body).await.status, 204);
    let read = world.root(&format!("GET {user}"), "").await;
    assert_eq!(read.data()["ttl"], 3600, "{read:?}");
    assert_eq!(read.data()["max_ttl"], 7200);
    assert_eq!(read.data()["policies"], serde_json::json!(["a", "b"]));
    world
        .root(&format!("POST {user}"), r#"{"token_ttl":"30m"}"#)
        .await;
    world
        .root(
            &format!("POST {user}/policies"),
            r#"{"token_policies":"c"}"#,
        )
        .await;
    let read = world.root(&format!("GET {user}"), "").await;
    assert_eq!(read.data()["token_ttl"], 1800, "{read:?}");
    assert_eq!(read.data()["ttl"], serde_json::Value::Null);
    assert_eq!(read.data()["policies"], serde_json::Value::Null);
    assert_eq!(read.data()["max_ttl"], 7200);
}

#[tokio::test]
async fn an_accessor_of_another_role_is_refused() {
    let world = World::new().await;
    world
        .root("POST sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    for role in ["web", "other"] {
        world
            .root(&format!("POST auth/approle/role/{role}"), "{}")
            .await;
    }
    let made = world
        .root("POST auth/approle/role/web/secret-id", "{}")
        .await;
    let accessor = made.data()["secret_id_accessor"].as_str().unwrap();
    let destroy = async |role: &str, accessor: &str| {
        let line = format!("POST auth/approle/role/{role}/secret-id-accessor/destroy");
        let body = serde_json::json!({ "secret_id_accessor": accessor }).to_string();
        world.root(&line, &body).await.error()
    };
    let refused = (403, "invalid secret id accessor".to_owned());
    assert_eq!(destroy("other", accessor).await, refused);
    let missing = (404, "failed to find accessor entry".to_owned());
    assert_eq!(destroy("other", "none").await, missing);
    assert_eq!(destroy("web", accessor).await.0, 204);
    let line = "POST auth/approle/role/web/secret-id-accessor/lookup";
    let body = serde_json::json!({ "secret_id_accessor": accessor }).to_string();
    let looked_up = world.root(line, &body).await;
    assert_eq!(looked_up.status, 404);
    assert_eq!(looked_up.data()["error"], missing.1.as_str());
}

#[tokio::test]
async fn a_limit_is_for_a_mount_that_is_there() {
    let world = World::new().await;
    for (path, status) in [
        ("none/", 400),
        ("none*", 400),
        ("", 204),
        ("secret", 204),
        ("secret/data/x", 204),
        ("secret/*", 204),
    ] {
        let body = serde_json::json!({"rate": 1000, "path": path}).to_string();
        let made = world.root("POST sys/quotas/rate-limit/z", &body).await;
        assert_eq!(made.status, status, "{path}: {made:?}");
    }
    let body = r#"{"delete_version_after":"-1s"}"#;
    assert_eq!(world.root("POST secret/config", body).await.status, 204);
    let read = world.root("GET secret/config", "").await;
    assert_eq!(read.data()["delete_version_after"], "-1s");
}
