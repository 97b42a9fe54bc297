//! Rights that outlive what they came from, or reach further than it.

use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;

use super::World;
use super::access;

fn token_of(reply: &super::Reply) -> String {
    let token = reply.body["auth"]["client_token"].as_str();
    token.unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

/// When a token ends, and its accessor.
async fn end_of(world: &World, token: &str) -> (Option<Timestamp>, String) {
    let core = world.node.core().unwrap();
    let id = core
        .state
        .token_id(&SecretValue::copy_from(token.as_bytes()));
    let found = core.state.token(id).await.unwrap().unwrap();
    let own = world
        .ask(Some(token), "GET auth/token/lookup-self", "")
        .await;
    let accessor = own.data()["accessor"].as_str().unwrap().to_owned();
    (found.value.expires, accessor)
}

/// Why a token is not renewed, in any of the ways; `None` when it is.
async fn refusal_of_renewal(world: &World, token: &str) -> Option<String> {
    let (before, accessor) = end_of(world, token).await;
    world.pass(10);
    let own = world
        .ask(Some(token), "POST auth/token/renew-self", "")
        .await;
    let named = json!({ "token": token }).to_string();
    let by_token = world.root("POST auth/token/renew", &named).await;
    let named = json!({ "accessor": accessor }).to_string();
    let by_accessor = world.root("POST auth/token/renew-accessor", &named).await;
    let is_longer = end_of(world, token).await.0 > before;
    for reply in [&own, &by_token, &by_accessor] {
        assert_eq!(reply.status == 200, is_longer, "{reply:?}");
    }
    let error = own.error().1;
    let why = error.split("renew entry: ").nth(1);
    why.map(|why| why.trim().to_owned())
}

/// CVE-2021-3282, CVE-2020-10661: what was taken away can no longer be used.
#[tokio::test]
async fn who_is_gone_gets_nothing_more() {
    let world = World::new().await;
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    world
        .root("POST sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    let user = r#"{"password":"p","token_policies":"a","token_ttl":"1h"}"#;
    let users = "auth/userpass/users";
    for name in ["ann", "bob", "eve"] {
        world.root(&format!("POST {users}/{name}"), user).await;
    }
    let log_in = async |name: &str| {
        let line = format!("PUT auth/userpass/login/{name}");
        world.ask(None, &line, r#"{"password":"p"}"#).await
    };
    let renewed = async |token: &str| refusal_of_renewal(&world, token).await;
    let ann = token_of(&log_in("ann").await);
    let bob = token_of(&log_in("bob").await);
    assert_eq!(renewed(&ann).await, None);
    // A user who is gone cannot log in, and his token ends when it ends.
    world.root(&format!("DELETE {users}/ANN"), "").await;
    assert_eq!(log_in("ann").await.status, 400);
    let gone = Some("user \"ann\" does not exist, not renewing".to_owned());
    assert_eq!(renewed(&ann).await, gone);
    // One with other policies: the token has those of before, so it is not prolonged.
    let other = r#"{"token_policies":"b"}"#;
    world.root(&format!("POST {users}/bob"), other).await;
    let changed = Some("policies have changed, not renewing".to_owned());
    assert_eq!(renewed(&bob).await, changed);
    let again = r#"{"token_policies":"a"}"#;
    world
        .root(&format!("POST {users}/bob/policies"), again)
        .await;
    assert_eq!(renewed(&bob).await, None);
    // Roles of machines and of tokens.
    let role = r#"{"role_id":"r","bind_secret_id":false,"token_bound_cidrs":"127.0.0.1",
                   "token_ttl":"1h"}"#;
    world.root("POST auth/approle/role/web", role).await;
    let login = ("PUT auth/approle/login", r#"{"role_id":"r"}"#);
    let machine = token_of(&world.ask(None, login.0, login.1).await);
    assert_eq!(renewed(&machine).await, None);
    world.root("DELETE auth/approle/role/web", "").await;
    assert_eq!(world.ask(None, login.0, login.1).await.status, 400);
    let gone = Some("role \"web\" does not exist, not renewing".to_owned());
    assert_eq!(renewed(&machine).await, gone);
    world.root("POST auth/token/roles/r", "{}").await;
    let made = r#"{"policies":["default"],"ttl":"1h"}"#;
    let made = token_of(&world.root("POST auth/token/create/r", made).await);
    assert_eq!(renewed(&made).await, None);
    world.root("DELETE auth/token/roles/r", "").await;
    let gone = Some("original token role \"r\" could not be found, not renewing".to_owned());
    assert_eq!(renewed(&made).await, gone);
    // A lease is the same token by another name.
    let listed = world
        .root("LIST sys/leases/lookup/auth/userpass/login/ann", "")
        .await;
    let id = listed.data()["keys"][0].as_str().unwrap();
    let id = json!({"lease_id": format!("auth/userpass/login/ann/{id}")}).to_string();
    let by_lease = world.root("PUT sys/leases/renew", &id).await;
    assert!(by_lease.error().1.contains("not renewing"), "{by_lease:?}");
    // And with the method everybody of it is gone at once, who has no record of his own too.
    let batch = r#"{"password":"p","token_type":"batch"}"#;
    world.root(&format!("POST {users}/batch"), batch).await;
    let batch = token_of(&log_in("batch").await);
    assert!(batch.starts_with("hvb."));
    let own = world
        .ask(Some(&batch), "GET auth/token/lookup-self", "")
        .await;
    assert_eq!(own.status, 200);
    world.root("DELETE sys/auth/userpass", "").await;
    for token in [&ann, &bob, &batch] {
        let own = world
            .ask(Some(token), "GET auth/token/lookup-self", "")
            .await;
        assert_eq!(own.status, 403);
    }
}

/// A policy about one setting's path is about that setting only.
#[tokio::test]
async fn a_path_of_one_setting_changes_no_other() {
    let world = access::world().await;
    let role = r#"{"role_id":"r","token_policies":"low","token_bound_cidrs":"127.0.0.1"}"#;
    world.root("POST auth/approle/role/web", role).await;
    let user = r#"{"password":"p","token_policies":"low"}"#;
    world.root("POST auth/userpass/users/ann", user).await;
    let before = world.root("GET auth/approle/role/web", "").await;
    let user_before = world.root("GET auth/userpass/users/ann", "").await;
    let settings = r#"path "auth/approle/role/web/*" { capabilities = ["update"] }
                      path "auth/userpass/users/ann/*" { capabilities = ["update"] }"#;
    world.policy("settings", settings).await;
    let low = world.token(&["settings"]).await;
    for field in [
        "token-ttl",
        "secret-id-ttl",
        "token-num-uses",
        "bound-cidr-list",
        "token-type",
    ] {
        let own = field.replace('-', "_");
        let value = if own == "token_type" {
            json!("service")
        } else {
            json!(60)
        };
        let value = if own == "bound_cidr_list" {
            json!("127.0.0.1")
        } else {
            value
        };
        let mut body = json!({
            "policies": "high", "token_policies": "high", "bind_secret_id": false,
            "token_bound_cidrs": "0.0.0.0/0", "token_max_ttl": 99, "role_id": "other",
            "token_period": 99, "period": 99, "secret_id_num_uses": 99,
        });
        body[&own] = value;
        let line = format!("POST auth/approle/role/web/{field}");
        let written = world.ask(Some(&low), &line, &body.to_string()).await;
        assert_eq!(written.status, 204, "{field} {written:?}");
    }
    let after = world.root("GET auth/approle/role/web", "").await;
    for name in [
        "bind_secret_id",
        "secret_id_num_uses",
        "token_bound_cidrs",
        "token_max_ttl",
        "token_period",
        "token_policies",
    ] {
        assert_eq!(after.data()[name], before.data()[name], "{name}");
    }
    assert_eq!(after.data()["token_ttl"], 60);
    let id = world.root("GET auth/approle/role/web/role-id", "").await;
    assert_eq!(id.data()["role_id"], "r");
    let password = r#"{"password":"q","token_policies":"high","token_ttl":99}"#;
    let line = "POST auth/userpass/users/ann/password";
    assert_eq!(world.ask(Some(&low), line, password).await.status, 204);
    let after = world.root("GET auth/userpass/users/ann", "").await;
    assert_eq!(after.data(), user_before.data());
}

/// A role that asks for nothing would let in whoever knows its id, which is no secret.
#[tokio::test]
async fn a_role_always_asks_for_something() {
    let world = access::world().await;
    let refused = (
        400,
        "at least one constraint should be enabled on the role".to_owned(),
    );
    let make = async |line: &str, body: &str| world.root(line, body).await.error();
    let role = "auth/approle/role";
    let nothing = r#"{"bind_secret_id":false}"#;
    assert_eq!(make(&format!("POST {role}/new"), nothing).await, refused);
    let near = r#"{"role_id":"near","bind_secret_id":false,"token_bound_cidrs":"127.0.0.1"}"#;
    assert_eq!(make(&format!("POST {role}/near"), near).await.0, 204);
    let far = r#"{"role_id":"far","bind_secret_id":false,"secret_id_bound_cidrs":"10.0.0.0/8"}"#;
    assert_eq!(make(&format!("POST {role}/far"), far).await.0, 204);
    assert_eq!(make(&format!("POST {role}/both"), "{}").await.0, 204);
    for (line, body) in [
        ("POST both", nothing),
        ("POST both/bind-secret-id", nothing),
        ("POST near", r#"{"token_bound_cidrs":""}"#),
        ("POST near/token-bound-cidrs", r#"{"token_bound_cidrs":""}"#),
        ("POST near/token-bound-cidrs", r#"{"token_bound_cidrs":[]}"#),
        ("DELETE near/token-bound-cidrs", ""),
        (
            "POST far/secret-id-bound-cidrs",
            r#"{"secret_id_bound_cidrs":""}"#,
        ),
        ("POST far/bound-cidr-list", r#"{"bound_cidr_list":[]}"#),
        ("DELETE far/secret-id-bound-cidrs", ""),
        ("DELETE far/bound-cidr-list", ""),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let line = format!("{method} {role}/{path}");
        assert_eq!(make(&line, body).await, refused, "{line} {body}");
    }
    let login = r#"{"role_id":"far"}"#;
    let refused = world.ask(None, "POST auth/approle/login", login).await;
    assert_eq!(refused.status, 400);
}

/// Whoever may make secret ids does not choose where their tokens are good beyond the role.
#[tokio::test]
async fn a_secret_id_is_no_wider_than_its_role() {
    let world = access::world().await;
    let role = "auth/approle/role/web";
    let bound = r#"{"role_id":"r","token_bound_cidrs":"127.0.0.0/8",
                    "secret_id_bound_cidrs":"127.0.0.0/8"}"#;
    world.root(&format!("POST {role}"), bound).await;
    for path in ["secret-id", "custom-secret-id"] {
        for field in ["token_bound_cidrs", "cidr_list"] {
            for (ranges, status) in [
                (json!("0.0.0.0/0"), 400),
                (json!(["127.0.0.1", "10.0.0.1"]), 400),
                (json!(["::/0"]), 400),
                (json!("127.0.0.1/32"), 200),
                (json!([]), 200),
            ] {
                let mut body = json!({"secret_id": format!("{path}{field}{ranges}")});
                body[field] = ranges.clone();
                let line = format!("POST {role}/{path}");
                let made = world.root(&line, &body.to_string()).await;
                assert_eq!(made.status, status, "{path} {field} {ranges} {made:?}");
            }
        }
    }
    let own = r#"{"secret_id":"mine","token_bound_cidrs":"127.0.0.1"}"#;
    world
        .root(&format!("POST {role}/custom-secret-id"), own)
        .await;
    let body = r#"{"role_id":"r","secret_id":"mine"}"#;
    let login = world.ask(None, "POST auth/approle/login", body).await;
    let token = token_of(&login);
    let own = world
        .ask(Some(&token), "GET auth/token/lookup-self", "")
        .await;
    assert_eq!(own.data()["bound_cidrs"], json!(["127.0.0.1"]));
    // The role has become narrower than what was made before.
    let narrow = r#"{"token_bound_cidrs":["127.0.0.2","127.0.0.1/32"]}"#;
    world.root(&format!("POST {role}"), narrow).await;
    let login = world.ask(None, "POST auth/approle/login", body).await;
    assert_eq!(login.status, 200);
    let wide = r#"{"secret_id":"wide","token_bound_cidrs":"127.0.0.2"}"#;
    world
        .root(&format!("POST {role}/custom-secret-id"), wide)
        .await;
    let narrow = r#"{"token_bound_cidrs":"127.0.0.1"}"#;
    world.root(&format!("POST {role}"), narrow).await;
    let body = r#"{"role_id":"r","secret_id":"wide"}"#;
    let login = world.ask(None, "POST auth/approle/login", body).await;
    assert_eq!(login.error(), (400, "invalid role or secret ID".into()));
}
