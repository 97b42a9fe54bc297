//! Attacks on other secrets managers, tried here. `docs/security-tests.md` says which.

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::rng::SeededRng;

use super::DENIED;
use super::World;
use super::access;

/// Every byte of a name as it can stand in a path.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

async fn tokens(world: &World) -> usize {
    let core = world.node.core().unwrap();
    core.state.accessors().await.unwrap().len()
}

/// CVE-2026-46405: an error that left a token behind.
#[tokio::test]
async fn an_error_leaves_no_token_behind() {
    let world = access::world().await;
    let user = r#"{"password":"right","token_bound_cidrs":"10.0.0.0/8"}"#;
    world.root("POST auth/userpass/users/far", user).await;
    let role = r#"{"role_id":"far","bind_secret_id":false,"token_bound_cidrs":"10.0.0.0/8"}"#;
    world.root("POST auth/approle/role/far", role).await;
    world
        .root("POST auth/token/roles/r", r#"{"allowed_policies":"a"}"#)
        .await;
    let mut lines: Vec<(String, &str)> = Vec::new();
    for body in [
        r#"{"policies":["a"],"ttl":"x"}"#,
        r#"{"policies":["a"],"period":"x"}"#,
        r#"{"policies":["a"],"explicit_max_ttl":{}}"#,
        r#"{"policies":["a"],"num_uses":-1}"#,
        r#"{"policies":["a"],"type":"x"}"#,
        r#"{"policies":["a"],"type":"batch","num_uses":1}"#,
        r#"{"policies":["a"],"meta":7}"#,
        r#"{"policies":["a"],"display_name":[]}"#,
        r#"{"policies":["a"],"id":"hvb.x"}"#,
        r#"{"policies":[1,{}]}"#,
        r#"{"policies":["a/../b"]}"#,
        r#"{"policies":["b"]}"#,
        r#"{"password":"right"}"#,
        r#"{"password":["right"]}"#,
        r#"{"role_id":"far"}"#,
        r#"{"role_id":"far","secret_id":{}}"#,
        r#"{"token":7}"#,
        r#"{"data":"x","options":7}"#,
        "[]",
        "{",
    ] {
        for path in [
            "auth/token/create",
            "auth/token/create-orphan",
            "auth/token/create/r",
            "auth/token/create/none",
            "auth/userpass/login/far",
            "auth/userpass/login/nobody",
            "auth/approle/login",
            "sys/wrapping/wrap",
            "sys/wrapping/rewrap",
            "sys/wrapping/unwrap",
        ] {
            lines.push((format!("POST {path}"), body));
        }
    }
    for (mount, route, verb) in access::rows() {
        let path = access::path_of(mount, route, "missing");
        // These end the world.
        if !["sys/seal", "sys/step-down"].contains(&path.as_str()) {
            lines.push((format!("{} {path}", access::method(verb)), "{}"));
        }
    }
    let headers: [&[(&str, &str)]; 2] = [&[], &[("x-vault-wrap-ttl", "60")]];
    let mut failed = 0;
    for (line, body) in &lines {
        // The root token is not sent where it would revoke itself.
        let is_end = line.ends_with("revoke-self");
        for token in [Some(super::ROOT), None] {
            for headers in headers {
                if is_end && token.is_some() {
                    continue;
                }
                let before = tokens(&world).await;
                let reply = world.ask_with(token, line, body, headers).await;
                if reply.status >= 400 {
                    assert_eq!(tokens(&world).await, before, "{line} {body} {reply:?}");
                    assert_eq!(reply.body["auth"], Value::Null, "{line} {body}");
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 500, "{failed}");
}

/// CVE-2025-5999, CVE-2025-64761: a name that becomes `root` after it was looked at.
#[tokio::test]
async fn no_spelling_of_root_is_given_to_anybody() {
    let world = access::world().await;
    let makes = r#"path "auth/token/create" { capabilities = ["update", "sudo"] }
                   path "auth/token/create/*" { capabilities = ["update", "sudo"] }"#;
    world.policy("makes", makes).await;
    let maker = world.token(&["makes"]).await;
    let may_all = async |token: &str| {
        let reads = [
            "GET sys/mounts",
            "GET secret/config",
            "LIST auth/token/accessors",
        ];
        for line in reads {
            let reply = world.ask(Some(token), line, "").await;
            assert_eq!(reply.error(), (403, DENIED.into()), "{line}");
        }
    };
    let mut checked = 0;
    for (at, name) in [
        "root",
        "ROOT",
        "Root",
        "rOoT",
        " root",
        "root ",
        "\troot",
        "root\n",
        "\u{a0}root",
        "root\u{3000}",
        "\u{2003}ROOT\u{2003}",
        "root\u{200b}",
        "\u{feff}root",
        "ro\u{ad}ot",
        "ｒｏｏｔ",
        "ＲＯＯＴ",
        "r\u{43e}\u{43e}t",
        "ro\u{301}ot",
        "root\0",
        "root/",
        "/root",
        "./root",
        "root,default",
        "default, root",
        "root;",
        "\"root\"",
        "%72oot",
    ]
    .into_iter()
    .enumerate()
    {
        // No text of such a name.
        let policy = json!({"policy": "path \"*\" { capabilities = [\"sudo\", \"read\"] }"});
        for line in ["PUT sys/policies/acl/", "PUT sys/policy/"] {
            let line = format!("{line}{}", encoded(name));
            let written = world.root(&line, &policy.to_string()).await;
            let line = line.replacen("PUT", "DELETE", 1);
            world.root(&line, "").await;
            assert!(
                matches!(written.status, 204 | 400 | 404),
                "{name:?} {written:?}"
            );
        }
        // By a token, with and without a role.
        let role = json!({"allowed_policies": [name], "orphan": true}).to_string();
        world
            .root(&format!("POST auth/token/roles/r{at}"), &role)
            .await;
        let asked = json!({"policies": [name], "no_default_policy": true}).to_string();
        for line in [
            "POST auth/token/create".to_owned(),
            format!("POST auth/token/create/r{at}"),
        ] {
            for body in [asked.as_str(), "{}"] {
                let made = world.ask(Some(&maker), &line, body).await;
                if let Some(token) = made.body["auth"]["client_token"].as_str() {
                    may_all(token).await;
                    checked += 1;
                }
            }
        }
        // By a role of machines.
        let id = format!("id{at}");
        let role = json!({"token_policies": [name], "role_id": id, "bind_secret_id": false,
            "token_bound_cidrs": "127.0.0.1"});
        world
            .root(&format!("POST auth/approle/role/m{at}"), &role.to_string())
            .await;
        let login = json!({ "role_id": id }).to_string();
        let made = world.ask(None, "POST auth/approle/login", &login).await;
        if let Some(token) = made.body["auth"]["client_token"].as_str() {
            may_all(token).await;
            checked += 1;
        }
        // By a user, with the name given in two ways.
        if at % 4 == 0 {
            let user = json!({"password": "p", "token_policies": name}).to_string();
            let path = format!("auth/userpass/users/u{at}");
            world.root(&format!("POST {path}"), &user).await;
            let login = format!("POST auth/userpass/login/u{at}");
            for line in [format!("POST {path}/policies"), format!("POST {path}")] {
                let made = world.ask(None, &login, r#"{"password":"p"}"#).await;
                if let Some(token) = made.body["auth"]["client_token"].as_str() {
                    may_all(token).await;
                    checked += 1;
                }
                world
                    .root(&line, &json!({ "policies": [name] }).to_string())
                    .await;
            }
        }
    }
    assert!(checked > 60, "{checked}");
}

/// CVE-2024-9180, CVE-2026-55775: there are neither entities nor namespaces, so that nobody
/// gains anything by them.
#[tokio::test]
async fn what_is_not_here_helps_nobody() {
    let world = World::new().await;
    let all =
        r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "patch"] }"#;
    world.policy("wide", all).await;
    let wide = world.token(&["wide"]).await;
    let body = r#"{"name":"x","policies":["root"]}"#;
    for path in [
        "identity/entity",
        "identity/entity/id/x",
        "identity/entity/name/x",
        "identity/entity-alias",
        "identity/group",
        "identity/group/name/x",
        "identity/lookup/entity",
        "sys/namespaces/root",
        "sys/namespaces/ROOT",
        "sys/namespaces/a",
        "sys/raw/core",
        "sys/workflows/manage/x",
    ] {
        for method in ["GET", "LIST", "POST", "PATCH", "DELETE"] {
            let line = format!("{method} {path}");
            assert_eq!(world.root(&line, body).await.status, 404, "{line}");
            let low = world.ask(Some(&wide), &line, body).await;
            assert!(matches!(low.status, 403 | 404), "{line} {low:?}");
            let nobody = world.ask(None, &line, body).await;
            assert_eq!(nobody.status, 403, "{line} {nobody:?}");
        }
    }
    let own = world
        .ask(Some(&wide), "GET auth/token/lookup-self", "")
        .await;
    assert_eq!(own.data()["policies"], json!(["wide"]));
}

/// CVE-2026-45808, CVE-2026-40264: what is meant for another namespace is not done in this one.
#[tokio::test]
async fn another_namespace_is_not_the_root() {
    let world = World::new().await;
    world.root("PUT secret/data/x", r#"{"data":{"a":1}}"#).await;
    let made = world
        .root("POST auth/token/create", r#"{"policies":["default"]}"#)
        .await;
    let token = made.body["auth"]["client_token"].as_str().unwrap();
    let named = json!({ "token": token }).to_string();
    let root = Some(super::ROOT);
    let missing = (404, "namespace not found".to_owned());
    for name in [
        "tenant",
        "tenant/",
        "ROOT",
        "root/tenant",
        "..",
        "root ",
        "/root",
        "%2f",
    ] {
        let headers = [("x-vault-namespace", name)];
        for (line, body) in [
            ("GET secret/data/x", ""),
            ("PUT secret/data/x", r#"{"data":{"a":2}}"#),
            ("LIST secret/metadata", ""),
            ("DELETE secret/metadata/x", ""),
            ("POST auth/token/lookup", named.as_str()),
            ("POST auth/token/renew", &named),
            ("POST auth/token/revoke", &named),
            ("LIST auth/token/accessors", ""),
            ("POST auth/token/create", "{}"),
            ("PUT sys/leases/revoke-prefix/auth/token", ""),
            ("POST sys/wrapping/unwrap", &named),
            ("GET sys/mounts", ""),
        ] {
            let reply = world.ask_with(root, line, body, &headers).await;
            assert_eq!(reply.error(), missing, "{name} {line}");
            let reply = world.ask_with(None, line, body, &headers).await;
            assert_eq!(reply.error(), missing, "{name} {line}");
        }
    }
    let two = [
        ("x-vault-namespace", "root"),
        ("x-vault-namespace", "tenant"),
    ];
    let reply = world.ask_with(root, "GET secret/data/x", "", &two).await;
    assert_eq!(reply.error(), missing);
    let own = world
        .ask(Some(token), "GET auth/token/lookup-self", "")
        .await;
    assert_eq!(own.status, 200);
    for name in ["", "/", "root", "root/"] {
        let headers = [("x-vault-namespace", name)];
        let reply = world
            .ask_with(root, "GET secret/data/x", "", &headers)
            .await;
        assert_eq!(reply.data()["data"], json!({"a": 1}), "{name}");
    }
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(log.contains("namespace not found"));
}

/// CVE-2026-33495: an address that the client says it has.
#[tokio::test]
async fn an_address_is_that_of_the_connection() {
    let world = World::new().await;
    world
        .root("POST sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    let role = r#"{"role_id":"near","bind_secret_id":false,"token_bound_cidrs":"10.0.0.0/8"}"#;
    world.root("POST auth/approle/role/near", role).await;
    let role = r#"{"allowed_policies":["default"],"token_bound_cidrs":["10.0.0.0/8"]}"#;
    world.root("POST auth/token/roles/near", role).await;
    let made = world.root("POST auth/token/create/near", "{}").await;
    let token = made.body["auth"]["client_token"].as_str().unwrap();
    let said: [(&str, &str); 8] = [
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-for", "10.1.2.3, 127.0.0.1"),
        ("forwarded", "for=10.1.2.3"),
        ("x-real-ip", "10.1.2.3"),
        ("x-client-ip", "10.1.2.3"),
        ("true-client-ip", "10.1.2.3"),
        ("cf-connecting-ip", "10.1.2.3"),
        ("x-forwarded-host", "10.1.2.3"),
    ];
    let own = "GET auth/token/lookup-self";
    for header in &said {
        let header = std::slice::from_ref(header);
        let login = world
            .ask_with(
                None,
                "POST auth/approle/login",
                r#"{"role_id":"near"}"#,
                header,
            )
            .await;
        assert_eq!(login.status, 400, "{header:?} {login:?}");
        let reply = world.ask_with(Some(token), own, "", header).await;
        assert_eq!(reply.status, 403, "{header:?} {reply:?}");
    }
    // Nor does saying another one each time get more than the rate.
    let quota = r#"{"path":"secret/","rate":3,"interval":"10s"}"#;
    world.root("POST sys/quotas/rate-limit/q", quota).await;
    let mut statuses = Vec::new();
    for at in 0..6 {
        let address = format!("10.0.0.{at}");
        let header = [("x-forwarded-for", address.as_str())];
        let reply = world
            .ask_with(Some(super::ROOT), "GET secret/data/x", "", &header)
            .await;
        statuses.push(reply.status);
    }
    assert_eq!(statuses, [404, 404, 404, 429, 429, 429]);
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(log.contains("127.0.0.1"));
    assert!(!log.contains("10.1.2.3"), "{log}");
}

/// OpenBao GH-3673: a limit that was neither applied to everybody nor noted.
#[tokio::test]
async fn a_rate_is_everybodys_and_its_refusals_are_noted() {
    let world = World::new().await;
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    world
        .root("POST auth/userpass/users/ann", r#"{"password":"p"}"#)
        .await;
    let quota = r#"{"path":"auth/userpass/","rate":2,"interval":"10s"}"#;
    world.root("POST sys/quotas/rate-limit/q", quota).await;
    let right = r#"{"password":"p"}"#;
    let (login, wrong) = ("PUT auth/userpass/login/ann", r#"{"password":"x"}"#);
    assert_eq!(world.ask(None, login, wrong).await.status, 400);
    assert_eq!(world.ask(None, login, right).await.status, 200);
    world.pass(3);
    let refused = [
        (None, login, right),
        (Some("hvs.none"), login, right),
        (Some(super::ROOT), "LIST auth/userpass/users", ""),
        (None, "PUT auth/userpass/login/nobody", "{"),
    ];
    for (token, line, body) in refused {
        let (headers, reply) = world.ask_whole(token, line, body, &[]).await;
        assert_eq!(reply.status, 429, "{reply:?}");
        assert_eq!(headers["retry-after"], "7");
    }
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    let noted = log
        .lines()
        .filter(|line| line.contains("rate limit quota exceeded"));
    assert_eq!(noted.count(), refused.len());
    // For everything, where nothing is named.
    let quota = r#"{"path":"","rate":1,"interval":"10s"}"#;
    world.root("POST sys/quotas/rate-limit/all", quota).await;
    let unwrap = ("PUT sys/wrapping/unwrap", r#"{"token":"x"}"#);
    assert_ne!(world.ask(None, unwrap.0, unwrap.1).await.status, 429);
    for line in [
        unwrap.0,
        "GET secret/data/x",
        "GET sys/mounts",
        "GET none/x",
    ] {
        assert_eq!(world.ask(None, line, unwrap.1).await.status, 429, "{line}");
    }
}

/// Names in memory are never those of another mount at the same path, or of another engine.
#[tokio::test]
async fn a_listing_is_that_of_its_mount() {
    let world = World::new().await;
    let v2 = r#"{"type":"kv","options":{"version":"2"}}"#;
    let done = async |line: &str, body: &str| {
        let reply = world.root(line, body).await;
        assert!(reply.status < 300, "{line} {reply:?}");
    };
    let names = async |folder: &str| {
        let mut found = Vec::new();
        // The second is from memory.
        for _ in 0..2 {
            let listing = world.root(&format!("LIST {folder}"), "").await;
            let keys = listing.data().get("keys").cloned();
            found.push(keys.unwrap_or(Value::Null));
        }
        assert_eq!(found[0], found[1]);
        found.remove(0)
    };
    for (mount, name) in [("a", "one"), ("b", "two")] {
        done(&format!("POST sys/mounts/{mount}"), v2).await;
        done(&format!("PUT {mount}/data/f/{name}"), r#"{"data":{"x":1}}"#).await;
    }
    assert_eq!(names("a/metadata/f").await, json!(["one"]));
    assert_eq!(names("b/metadata/f").await, json!(["two"]));
    // Two that change places.
    for (from, to) in [("a", "c"), ("b", "a"), ("c", "b")] {
        let body = json!({"from": from, "to": to}).to_string();
        done("POST sys/remount", &body).await;
    }
    assert_eq!(names("a/metadata/f").await, json!(["two"]));
    assert_eq!(names("b/metadata/f").await, json!(["one"]));
    assert_eq!(names("c/metadata/f").await, Value::Null);
    // One that is made anew, as one and as the other engine.
    done("DELETE sys/mounts/a", "").await;
    assert_eq!(names("a/metadata/f").await, Value::Null);
    done("POST sys/mounts/a", v2).await;
    assert_eq!(names("a/metadata/f").await, Value::Null);
    done("DELETE sys/mounts/a", "").await;
    done("POST sys/mounts/a", r#"{"type":"kv"}"#).await;
    assert_eq!(names("a/metadata/f").await, Value::Null);
    done("PUT a/metadata/f/three", r#"{"x":1}"#).await;
    assert_eq!(names("a/metadata/f").await, json!(["three"]));
    done("POST sys/mounts/a/tune", r#"{"options":{"version":"2"}}"#).await;
    assert_eq!(names("a/metadata/f").await, Value::Null);
    assert_eq!(names("a/metadata/metadata/f").await, json!(["three"]));
    // More changes by others than are looked at one by one.
    super::kv::write_beside(&world, "many/first").await;
    assert_eq!(names("secret/metadata/many").await, json!(["first"]));
    for at in 0..300 {
        super::kv::write_beside(&world, &format!("many/s{at}")).await;
    }
    let listed = names("secret/metadata/many").await;
    assert_eq!(listed.as_array().map(Vec::len), Some(301));
    done("DELETE sys/mounts/secret", "").await;
    done("POST sys/mounts/secret", v2).await;
    assert_eq!(names("secret/metadata/many").await, Value::Null);
}

/// OpenBao GH-3518: a limit of nothing or less that was none.
#[tokio::test]
async fn no_limit_gets_more_than_a_page() {
    let world = World::new().await;
    for at in 0..1_001 {
        super::kv::write_beside(&world, &format!("many/s{at}")).await;
    }
    for limit in [
        "0",
        "-1",
        "-9223372036854775808",
        "1001",
        "9223372036854775807",
        "",
    ] {
        let line = format!("LIST secret/detailed-metadata/many?limit={limit}");
        let listed = world.root(&line, "").await;
        let keys = listed.data()["keys"].as_array().map(Vec::len);
        assert_eq!(keys, Some(1_000), "{limit}");
        let info = listed.data()["key_info"].as_object().unwrap();
        assert_eq!(info.len(), 1_000, "{limit}");
    }
    for limit in [
        "abc",
        "9223372036854775808",
        "-9223372036854775809",
        "1.5",
        "1e3",
        "0x10",
    ] {
        for path in ["detailed-metadata", "metadata"] {
            let line = format!("LIST secret/{path}/many?limit={limit}");
            assert_eq!(world.root(&line, "").await.status, 400, "{limit}");
        }
    }
}

/// CVE-2025-6203, CVE-2025-12044: two hundred bodies that are made to cost much.
#[tokio::test]
async fn hostile_bodies_are_refused() {
    let world = World::new().await;
    let rng = SeededRng::new(61);
    let shapes = ["[", "{\"a\":", "[[", "{\"a\":[", "[{\"b\":"];
    let mut bodies = Vec::new();
    while bodies.len() < 200 {
        let at = bodies.len();
        let count = 65 + rng.below(20_000);
        bodies.push(match at % 8 {
            0 => shapes[rng.below(5)].repeat(count),
            1 => format!("{{\"data\":{}1{}}}", "[".repeat(count), "]".repeat(count)),
            2 => format!(
                "{{\"data\":{{\"a\":{}1{}}}}}",
                "{\"a\":".repeat(count),
                "}".repeat(count)
            ),
            3 => {
                let keys: String = (0..10_001 + count)
                    .map(|n| format!("\"k{n}\":1,"))
                    .collect();
                format!("{{\"data\":{{{keys}\"z\":1}}}}")
            }
            4 => format!("{{\"data\":{{\"a\":[{}0]}}}}", "0,".repeat(10_001 + count)),
            5 => format!("{{\"data\":{{\"a\":[{}0]}}}}", "[],".repeat(10_001 + count)),
            6 => format!("{{\"data\":{{\"a\":\"{}\"}}", "\\u0041".repeat(count)),
            _ => format!(
                "{{\"data\":{{\"a\":[{}\"\"]}}}}",
                "\"x\",".repeat(10_001 + count)
            ),
        });
    }
    for body in &bodies {
        for line in [
            "PUT secret/data/x",
            "POST auth/token/create",
            "PUT cubbyhole/x",
        ] {
            let reply = world.root(line, body).await;
            assert!(
                matches!(reply.status, 400 | 413),
                "{line} {body:.80} {reply:?}"
            );
            assert!(reply.text.len() < 1_000);
        }
        let reply = world.ask(None, "PUT sys/wrapping/unwrap", body).await;
        assert!(matches!(reply.status, 400 | 403 | 413), "{body:.80}");
    }
    assert_eq!(world.root("GET secret/data/x", "").await.status, 404);
    assert_eq!(world.root("GET cubbyhole/x", "").await.status, 404);
}

/// Authelia CVE-2026-47203: one spelling of a name, everywhere.
#[tokio::test]
async fn a_name_has_one_spelling_everywhere() {
    let world = access::world().await;
    let letters = [
        "a", "B", "ß", "İ", "ı", "Σ", "ς", "ﬁ", "é", "e\u{301}", "Ａ", "Ж", "K", "ſ", "ǅ", "1", "-",
    ];
    let spaces = ["", " ", "\u{a0}", "\u{3000}", "  "];
    let rng = SeededRng::new(21);
    let users = "auth/userpass/users";
    let user = r#"{"password":"p"}"#;
    let mut names = std::collections::BTreeSet::new();
    for round in 0..60 {
        let name: String = (0..=rng.below(4)).map(|_| letters[rng.below(17)]).collect();
        let padded = format!("{}{name}{}", spaces[rng.below(5)], spaces[rng.below(5)]);
        let line = format!("POST {users}/{}", encoded(&padded));
        // A few are made only: the hash of a password takes its time.
        if round % 12 == 0 {
            assert_eq!(world.root(&line, user).await.status, 204, "{padded:?}");
            names.insert(padded.trim().to_lowercase());
        }
        for spelling in [
            padded.clone(),
            name.to_lowercase(),
            format!(" {name}"),
            name.to_lowercase().to_lowercase(),
        ] {
            let line = format!("GET {users}/{}", encoded(&spelling));
            let is_there = world.root(&line, "").await.status == 200;
            let canonical = spelling.trim().to_lowercase();
            assert_eq!(is_there, names.contains(&canonical), "{spelling:?}");
        }
    }
    let listed = world.root(&format!("LIST {users}"), "").await;
    let listed = listed.data()["keys"].as_array().unwrap().clone();
    assert_eq!(json!(names), Value::Array(listed));
    // A log-in knows a name by the same spellings, and counts its failures once.
    for name in names.iter().take(2) {
        let upper: Vec<String> = vec![
            name.clone(),
            format!("{name} "),
            format!("\u{a0}{name}"),
            format!("\u{3000}{name}\u{2003}"),
            format!(" {name} "),
        ];
        let login = |name: &str| format!("PUT auth/userpass/login/{}", encoded(name));
        let right = world.ask(None, &login(&upper[1]), user).await;
        assert_eq!(right.body["auth"]["metadata"]["username"], json!(name));
        for spelling in &upper {
            let wrong = world
                .ask(None, &login(spelling), r#"{"password":"x"}"#)
                .await;
            assert_eq!(wrong.status, 400, "{spelling:?}");
        }
        for spelling in &upper {
            assert_eq!(world.ask(None, &login(spelling), user).await.status, 403);
        }
    }
}

/// GHSA-59w7-v8rr-pr4p: a name that is a pattern, put into a policy.
#[tokio::test]
async fn a_name_that_is_a_pattern_opens_nothing() {
    let world = World::new().await;
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    world
        .root("PUT secret/data/other/x", r#"{"data":{"a":1}}"#)
        .await;
    let template = r#"path "secret/data/{{identity.entity.name}}/*" { capabilities = ["read"] }
                      path "secret/data/{{identity.entity.id}}" { policy = "read" }"#;
    world.policy("own", template).await;
    for name in [
        "*",
        "+",
        "other",
        "a,b",
        "{{identity.entity.name}}",
        "a%2fb",
    ] {
        let user = r#"{"password":"p","token_policies":"own"}"#;
        let name = if name.contains('%') {
            name.into()
        } else {
            encoded(name)
        };
        world
            .root(&format!("POST auth/userpass/users/{name}"), user)
            .await;
        let line = format!("PUT auth/userpass/login/{name}");
        let login = world.ask(None, &line, user).await;
        let Some(token) = login.body["auth"]["client_token"].as_str() else {
            continue;
        };
        for path in [
            "secret/data/other/x",
            "secret/data/other",
            "secret/data/*/x",
            "secret/data/+/x",
        ] {
            let read = world.ask(Some(token), &format!("GET {path}"), "").await;
            assert_eq!(read.error(), (403, DENIED.into()), "{name} {path}");
        }
    }
}
