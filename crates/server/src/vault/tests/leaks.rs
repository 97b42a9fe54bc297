//! What an attacker reads: the log, the metrics, the texts of errors.

use serde_json::json;

use super::World;

/// A value that is looked for everywhere.
fn canary(kind: &str) -> String {
    format!("cnry7f3a{kind}")
}

/// CVE-2025-62513, CVE-2026-46358, CVE-2024-8365: one canary for each kind of field.
#[tokio::test]
async fn no_kind_of_field_is_told() {
    let world = World::new().await;
    let root = Some(super::ROOT);
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    let body = json!({
        "data": {
            "text": canary("text"),
            "number": 9_471_830_562_718_u64,
            "fraction": 94_718.305_627,
            "nested": {"deep": [{"er": canary("nested")}]},
            "list": [canary("list"), 9_471_830_562_719_u64],
            canary("key").as_str(): true,
        },
    });
    let secret = "secret/data/x";
    let put = world
        .root(&format!("PUT {secret}"), &body.to_string())
        .await;
    assert_eq!(put.status, 200);
    let read = world.root(&format!("GET {secret}"), "").await;
    assert!(read.text.contains(&canary("nested")) && read.text.contains("9471830562718"));
    let wrap = [("x-vault-wrap-ttl", "60")];
    world
        .ask_with(root, &format!("GET {secret}"), "", &wrap)
        .await;
    let custom = json!({"custom_metadata": {"k": canary("custom")}}).to_string();
    world.root("POST secret/metadata/x", &custom).await;
    let cubbyhole = json!({ "k": canary("cubbyhole") }).to_string();
    world.root("POST cubbyhole/x", &cubbyhole).await;
    world.root("GET cubbyhole/x", "").await;
    let user = json!({ "password": canary("password") }).to_string();
    world.root("POST auth/userpass/users/ann", &user).await;
    let login = world.ask(None, "PUT auth/userpass/login/ann", &user).await;
    assert_eq!(login.status, 200);
    let wrong = json!({ "password": canary("wrong") }).to_string();
    world.ask(None, "PUT auth/userpass/login/ann", &wrong).await;
    let meta = json!({"meta": {"k": canary("meta")}, "id": canary("id")}).to_string();
    world.root("POST auth/token/create", &meta).await;
    let query = canary("query");
    world
        .root(&format!("GET {secret}?version={query}&x={query}"), "")
        .await;
    let headers = [
        ("x-custom", canary("header")),
        ("cookie", canary("cookie")),
        ("user-agent", canary("agent")),
        ("authorization", format!("Bearer {}", canary("bearer"))),
        ("x-vault-wrap-ttl", canary("wrap")),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let line = format!("GET {secret}");
    world.ask_with(None, &line, "", &headers[..4]).await;
    world.ask_with(root, &line, "", &headers).await;
    world.ask(Some(&canary("token")), &line, "").await;
    // No text at all, and one with a byte that is none.
    world
        .root(
            "PUT secret/data/b",
            &format!("\u{0}\u{1}{}", canary("binary")),
        )
        .await;
    let metrics = world.root("GET sys/metrics?format=prometheus", "").await;
    assert_eq!(metrics.status, 200);
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    for (place, text) in [("log", log), ("metrics", metrics.text)] {
        // Names of fields stand in the log, as in Vault's.
        let text = text.replace(&canary("key"), "");
        for told in ["cnry7f3a", "94718305627", "94718.3", super::ROOT] {
            let at = text.find(told);
            let near = at.map(|at| &text[at.saturating_sub(200)..(at + 60).min(text.len())]);
            assert_eq!(near, None, "{place}");
        }
        let token = login.body["auth"]["client_token"].as_str().unwrap();
        assert!(!text.contains(token), "{place}");
    }
}

/// CVE-2025-4166, CVE-2025-52893: two hundred ways to damage a body round a canary.
#[tokio::test]
async fn nothing_of_a_damaged_body_is_told() {
    let world = World::new().await;
    let canary = canary("damaged");
    let good = format!(
        r#"{{"data":{{"password":"{canary}","deep":{{"a":["{canary}",1,null]}}}},"options":{{}}}}"#
    );
    let mut count = 0;
    for at in 0..good.len() {
        let (start, end) = good.split_at(at);
        for body in [
            start.to_owned(),
            format!("{start}\u{1}{end}"),
            format!("{start}\\u{end}"),
            format!("{start}]{end}"),
        ] {
            let is_whole = serde_json::from_str::<serde_json::Value>(&body).is_ok();
            let line = [
                "PUT secret/data/x",
                "PUT cubbyhole/x",
                "PUT sys/wrapping/unwrap",
            ];
            let reply = world.root(line[count % 3], &body).await;
            assert!(
                is_whole || body.is_empty() || reply.status == 400,
                "{body} {reply:?}"
            );
            assert!(!reply.text.contains(&canary), "{body} {reply:?}");
            count += 1;
        }
    }
    assert!(count > 200);
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(!log.contains(&canary));
}

/// CVE-2021-38553, CVE-2025-6000: whatever the file was before, it is the owner's only.
#[tokio::test]
async fn the_log_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.audit_file), 0o600);
    let wide = world.audit_file.with_file_name("wide.log");
    std::fs::write(&wide, "").unwrap();
    std::fs::set_permissions(&wide, PermissionsExt::from_mode(0o666)).unwrap();
    let target = world.audit_file.with_file_name("target");
    std::fs::write(&target, "mine").unwrap();
    let link = world.audit_file.with_file_name("link.log");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for (name, status) in [("wide", 204), ("link", 400)] {
        let body = json!({"type": "file", "options": {"file_path": format!("{name}.log")}});
        let made = world
            .root(&format!("PUT sys/audit/{name}"), &body.to_string())
            .await;
        assert_eq!(made.status, status, "{made:?}");
    }
    assert_eq!(mode(&wide), 0o600);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine");
}
