use super::World;

#[tokio::test]
async fn bad_bodies_are_refused_and_quoted_nowhere() {
    let world = World::new().await;
    let canary = "canary-55e0";
    for body in [
        format!("{{\"data\":{{\"k\":\"{canary}\"}}"),
        format!("{{\"data\":\"{canary}\"}}"),
        format!("{{\"data\":[\"{canary}\"]}}"),
        format!("{{\"data\":null,\"x\":\"{canary}\"}}"),
        format!("\"{canary}\""),
        format!("{{\"data\":{{\"k\":\"{canary}\\ud800\"}}}}"),
        format!(
            "{{\"data\":{{\"k\":{}1{}}}}}",
            "[".repeat(200),
            "]".repeat(200)
        ),
        format!("{{\"data\":{{\"k\":\"{canary}\"}},\"options\":{{\"cas\":\"{canary}\"}}}}"),
        format!("{{\"data\":{{\"k\":\"{canary}\"}},\"options\":\"{canary}\"}}"),
        "\u{feff}{}".to_owned(),
        "{\"data\":{\"a\":1}}{}".to_owned(),
    ] {
        let reply = world.root("POST secret/data/x", &body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert!(!reply.text.contains(canary), "{}", reply.text);
    }
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(!log.contains(canary));
    assert_eq!(world.root("GET secret/data/x", "").await.status, 404);
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_round_a_policy() {
    let world = World::new().await;
    world
        .root("PUT secret/data/protected/x", r#"{"data":{"a":1}}"#)
        .await;
    world
        .policy(
            "open",
            r#"path "secret/data/open/*" { capabilities = ["read", "update"] }"#,
        )
        .await;
    let token = world.token(&["open"]).await;
    for trick in [
        "..",
        "%2e%2e",
        "%2E%2e",
        ".%2e",
        "%2e.",
        "..;",
        "%2e%2e;x",
        "..%2f",
        "%2f..%2f",
        ".",
        "..%5c",
        "..\\",
        "%5c..%5c",
        "%00",
        "x%00",
        "%0a",
        "%0d%0a",
        "%7f",
        "%c3",
        "%ff%fe",
        "%e2%80%ae",
        "%",
        "%2",
        "%zz",
        "%2f%2f",
        "%20%00",
    ] {
        for path in [
            format!("secret/data/open/{trick}/protected/x"),
            format!("secret/data/open/{trick}protected/x"),
            format!("secret/{trick}/data/protected/x"),
            format!("{trick}/secret/data/protected/x"),
            format!("secret/data/protected/{trick}"),
        ] {
            let line = format!("GET {}", path.replace('\\', "%5C"));
            let reply = world.ask(Some(&token), &line, "").await;
            assert!(matches!(reply.status, 400 | 403 | 404), "{line} {reply:?}");
            assert!(!reply.text.contains("\"a\":1"), "{line}");
        }
    }
}

#[tokio::test]
async fn names_are_kept_as_they_are() {
    let world = World::new().await;
    for name in [
        "sp%20ace",
        "pl+us",
        "se;mi",
        "%C3%BCml",
        "a%2Fb",
        "q%3Fq",
        "per%25cent",
        "%22quote%22",
    ] {
        let line = format!("POST secret/data/{name}");
        assert_eq!(
            world.root(&line, r#"{"data":{"a":1}}"#).await.status,
            200,
            "{name}"
        );
        assert_eq!(
            world
                .root(&format!("GET secret/data/{name}"), "")
                .await
                .status,
            200
        );
    }
    let keys = world.root("LIST secret/metadata", "").await;
    let keys: Vec<&str> = keys.data()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|key| key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "\"quote\"",
            "a/",
            "per%cent",
            "pl+us",
            "q?q",
            "se;mi",
            "sp ace",
            "üml"
        ]
    );
    let slash = world
        .root("POST secret/data/x/", r#"{"data":{"a":1}}"#)
        .await;
    assert_eq!(
        slash.error(),
        (400, "cannot write to a path ending in '/'".into())
    );
}

#[tokio::test]
async fn unknown_verbs_and_paths_say_so() {
    let world = World::new().await;
    for (line, status) in [
        ("OPTIONS secret/data/x", 405),
        ("TRACE secret/data/x", 405),
        ("FOO secret/data/x", 405),
        ("LIST secret/data/x", 405),
        ("GET sys/nosuch", 404),
        ("GET secret/nosuch", 404),
        ("POST sys/mounts", 405),
        ("HEAD secret/data/x", 405),
    ] {
        let reply = world.root(line, "").await;
        assert_eq!(reply.status, status, "{line} {reply:?}");
    }
    // No header makes another verb of it.
    let headers = [
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
    ];
    world.root("PUT secret/data/x", r#"{"data":{"a":1}}"#).await;
    world
        .ask_with(Some(super::ROOT), "GET secret/metadata/x", "", &headers)
        .await;
    assert_eq!(world.root("GET secret/data/x", "").await.status, 200);
}

#[tokio::test]
async fn pages_have_an_end() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world
            .root(&format!("PUT secret/data/{name}"), r#"{"data":{"x":1}}"#)
            .await;
    }
    for (query, count) in [
        ("limit=2", 2),
        ("after=a", 2),
        ("after=a&limit=1", 1),
        ("limit=0", 3),
        ("limit=-1", 3),
    ] {
        let reply = world
            .root(&format!("LIST secret/metadata?{query}"), "")
            .await;
        assert_eq!(
            reply.data()["keys"].as_array().unwrap().len(),
            count,
            "{query}"
        );
    }
    for query in ["limit=abc", "limit=9223372036854775808"] {
        let reply = world
            .root(&format!("LIST secret/metadata?{query}"), "")
            .await;
        assert_eq!(reply.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_file_of_the_log_lies_in_its_folder_only() {
    let world = World::new().await;
    for path in ["../escape.log", "/etc/passwd-x", "a/b/c.log"] {
        let body = serde_json::json!({"type": "file", "options": {"file_path": path}});
        let name = path.replace(['/', '.'], "");
        let reply = world
            .root(&format!("POST sys/audit/{name}"), &body.to_string())
            .await;
        assert_eq!(reply.status, 204, "{reply:?}");
        let file = path.rsplit('/').next().unwrap();
        assert!(world.audit_file.with_file_name(file).exists());
    }
    for options in [
        r#"{"file_path":"x.log","mode":"0777"}"#,
        r##"{"file_path":"x.log","prefix":"#!/bin/sh"}"##,
        r#"{"file_path":".."}"#,
        r#"{"file_path":".hidden"}"#,
        "{}",
    ] {
        let body = format!(r#"{{"type":"file","options":{options}}}"#);
        assert_eq!(
            world.root("POST sys/audit/bad", &body).await.status,
            400,
            "{options}"
        );
    }
}
