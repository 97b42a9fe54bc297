//! The control API, and the secrets behind it.

use http::Method;
use serde_json::Value;
use serde_json::json;

use super::world::World;

fn prompted(id: &str, more: Value) -> Value {
    let mut secret = json!({
        "id": id, "class": "user_prompt", "prompt": { "label": id },
        "target": { "type": "env", "name": id.to_uppercase() },
    });
    for (key, value) in more.as_object().unwrap() {
        secret[key] = value.clone();
    }
    secret
}

fn generated(id: &str, generator: Value) -> Value {
    json!({
        "id": id, "class": "per_install_generated", "generator": generator,
        "target": { "type": "env", "name": id.to_uppercase() },
    })
}

const CANARY: &str = "canary-4b1d0c5e9f2a";

#[tokio::test]
async fn only_who_knows_the_token_of_this_start_is_answered() {
    let world = World::dry(json!([]));
    let running = world.run().await;
    let get = async |headers: &[(&str, &str)], path: &str| {
        let answered = running
            .send(Method::GET, path, headers, String::new())
            .await;
        (answered.status, answered.text)
    };
    let bearer = format!("Bearer {}", running.token);
    let missing = (401, "missing auth\n".to_owned());
    assert_eq!(get(&[], "/secrets").await, missing);
    assert_eq!(
        get(&[("authorization", "Basic abc")], "/secrets").await,
        missing
    );
    let lower = bearer.replace("Bearer", "bearer");
    assert_eq!(get(&[("authorization", &lower)], "/secrets").await, missing);
    let invalid = (401, "invalid auth\n".to_owned());
    let longer = format!("{bearer}0");
    for wrong in ["Bearer wrong", longer.as_str()] {
        assert_eq!(get(&[("authorization", wrong)], "/readyz").await, invalid);
    }
    assert_eq!(get(&[], "/healthz").await.0, 200);
    let authorized = ("authorization", bearer.as_str());
    assert_eq!(get(&[authorized], "/secrets").await.1, "{\"secrets\":[]}\n");
    let nowhere = get(&[authorized], "/nope").await;
    assert_eq!(nowhere, (404, "404 page not found\n".to_owned()));

    // Another name that was led to this address, and pages of others.
    let host = (403, "host not allowed\n".to_owned());
    for path in ["/healthz", "/secrets"] {
        let evil = [("host", "evil.example:80"), authorized];
        assert_eq!(get(&evil, path).await, host);
    }
    let origin = (403, "origin not allowed\n".to_owned());
    for other in ["http://evil.example", "null", "http://127.0.0.1:80"] {
        assert_eq!(
            get(&[("origin", other), authorized], "/secrets").await,
            origin
        );
    }
    let allowed = [("origin", "http://allowed.example"), authorized];
    assert_eq!(get(&allowed, "/secrets").await.0, 200);

    let first = running.token.clone();
    assert_eq!(first.len(), 48);
    assert!(running.end().await.is_empty());
    assert!(!world.app_data().join("runtime/auth-token").exists());
    let again = world.run().await;
    assert_ne!(again.token, first);
    again.end().await;
}

#[tokio::test]
async fn both_shapes_are_stored_and_no_value_comes_back() {
    let secrets = json!([
        prompted("key", json!({ "format": "^canary-" })),
        prompted("opt", json!({ "required": false })),
        generated("gen", json!({ "type": "random", "length": 40 })),
    ]);
    let world = World::dry(secrets);
    let running = world.run().await;
    let waiting = running.get("/readyz").await;
    assert_eq!(
        waiting["details"]["api"]["message"],
        "waiting for secrets: key"
    );
    assert_eq!(waiting["ready"], json!(false));

    let refused = running
        .post("/secrets", json!({ "id": "key", "value": "short" }))
        .await;
    assert_eq!(refused.status, 400);
    let problem = "secret key: value does not match required format \"^canary-\"";
    assert_eq!(refused.json()["validation_errors"], problem);
    for neither in [
        json!({}),
        json!({ "secrets": null }),
        json!({ "id": "key" }),
    ] {
        let answered = running.post("/secrets", neither).await;
        let expected = "invalid request: expected \"secrets\" or \"id\" and \"value\"\n";
        assert_eq!((answered.status, answered.text.as_str()), (400, expected));
    }
    for no_object in [
        "[]",
        "",
        "\"x\"",
        "{\"secrets\": {\"key\": 1}}",
        "{\"secrets\": []}",
    ] {
        let answered = running.ask(Method::POST, "/secrets", no_object).await;
        assert_eq!(
            (answered.status, answered.text.as_str()),
            (400, "invalid json\n")
        );
    }
    let unknown = running
        .post("/secrets", json!({ "secrets": { "nope": "x" } }))
        .await;
    assert_eq!(
        (unknown.status, unknown.json()["unknown"].clone()),
        (400, json!(["nope"]))
    );

    let stored = running
        .post("/secrets", json!({ "id": "key", "value": CANARY }))
        .await;
    assert_eq!(stored.json(), json!({ "status": "ok", "stored": ["key"] }));
    running.until_ready("api").await;
    let spaced = running
        .post("/secrets", json!({ "secrets": { "opt": " canary\n" } }))
        .await;
    assert_eq!(spaced.json()["warnings"][0]["id"], "opt");
    let list = running.get("/secrets").await;
    let status = |at: usize| {
        (
            list["secrets"][at]["status"].clone(),
            list["secrets"][at]["source"].clone(),
        )
    };
    assert_eq!(status(0), (json!("configured"), json!("user_provided")));
    assert_eq!(status(2), (json!("configured"), json!("generated")));
    assert!(!list.to_string().contains(CANARY));
    running.end().await;
    assert_eq!(world.files_with(CANARY), Vec::<std::path::PathBuf>::new());
    let events = world.events();
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!(count("secrets_missing"), 1);
    assert_eq!(count("secrets_validation_failed"), 1);
    assert_eq!(count("secrets_updated"), 2);

    // What was given is there at the next start.
    let again = world.run().await;
    again.until_ready("api").await;
    again.end().await;
    assert!(!world.read("telemetry/events.jsonl").contains(CANARY));
}

#[tokio::test]
async fn empty_text_clears_an_optional_secret_and_rotates_a_generated_one() {
    let secrets = json!([
        prompted("opt", json!({ "required": false })),
        prompted("must", json!({})),
        generated("gen", json!({ "type": "uuid" })),
    ]);
    let world = World::dry(secrets);
    let running = world.run().await;
    let all = json!({ "secrets": { "opt": "x", "must": "y" } });
    assert_eq!(running.post("/secrets", all).await.status, 200);
    let cleared = running
        .post("/secrets", json!({ "secrets": { "opt": "" } }))
        .await;
    assert_eq!(cleared.json()["cleared"], json!(["opt"]));
    let refused = running
        .post("/secrets", json!({ "secrets": { "must": "" } }))
        .await;
    let problem = "secret must: required secret is missing";
    assert_eq!(refused.json()["validation_errors"], problem);
    let rotated = running
        .post("/secrets", json!({ "secrets": { "gen": "" } }))
        .await;
    assert_eq!(rotated.json()["rotated"], json!(["gen"]));
    let rotated = running.ask(Method::POST, "/secrets/gen/rotate", "").await;
    assert_eq!(rotated.json()["rotated"], json!(["gen"]));
    assert_eq!(
        running.ask(Method::DELETE, "/secrets/gen", "").await.status,
        400
    );
    assert_eq!(
        running
            .ask(Method::POST, "/secrets/must/rotate", "")
            .await
            .status,
        400
    );
    assert_eq!(
        running
            .ask(Method::DELETE, "/secrets/nope", "")
            .await
            .status,
        404
    );
    assert_eq!(
        running.ask(Method::DELETE, "/secrets", "").await.status,
        405
    );
    assert_eq!(
        running
            .ask(Method::DELETE, "/secrets/must", "")
            .await
            .status,
        200
    );
    assert_eq!(
        running.get("/secrets").await["secrets"][1]["status"],
        "missing"
    );
    running.end().await;
    let events = world.events();
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "secrets_rotated")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_part_is_saved_or_tried_when_that_is_asked_for() {
    let secrets = json!([
        prompted("one", json!({ "format": "^1" })),
        prompted("two", json!({}))
    ]);
    let world = World::dry(secrets);
    let running = world.run().await;
    let one = || json!({ "secrets": { "one": "1" } });
    assert_eq!(running.post("/secrets", one()).await.status, 400);
    let tried = running
        .post("/secrets/validate?partial=true", one())
        .await
        .json();
    assert_eq!(tried["valid"], json!(true));
    let tried = running.post("/secrets/validate", one()).await.json();
    assert_eq!(tried["errors"][0]["id"], "two");
    assert_eq!(
        running.get("/secrets").await["secrets"][0]["status"],
        "missing"
    );
    let wrong = json!({ "secrets": { "one": "2" } });
    assert_eq!(
        running.post("/secrets?partial=true", wrong).await.status,
        400
    );
    assert_eq!(
        running.post("/secrets?partial=true", one()).await.status,
        200
    );
    assert_eq!(
        running.get("/secrets").await["secrets"][0]["status"],
        "configured"
    );
    let more = json!({ "secrets": { "two": "2", "more": "3" } });
    assert_eq!(
        running
            .post("/secrets?allow_unknown=true", more)
            .await
            .status,
        200
    );
    running.until_ready("api").await;
    running.end().await;
}

#[tokio::test]
async fn a_body_has_a_bound() {
    let world = World::dry(json!([prompted("opt", json!({ "required": false }))]));
    let running = world.run().await;
    let at_most = |bytes: usize| {
        let frame = "{\"secrets\":{\"opt\":\"\"}}".len();
        format!(
            "{{\"secrets\":{{\"opt\":\"{}\"}}}}",
            "y".repeat(bytes - frame)
        )
    };
    let largest = running
        .ask(Method::POST, "/secrets", &at_most(1 << 20))
        .await;
    assert_eq!(largest.status, 200);
    let larger = running
        .ask(Method::POST, "/secrets", &at_most((1 << 20) + 1))
        .await;
    assert_eq!(
        (larger.status, larger.text.as_str()),
        (413, "body larger than 1 MiB\n")
    );
    running.end().await;
}

#[tokio::test]
async fn a_second_instance_is_refused() {
    let world = World::dry(json!([]));
    let running = world.run().await;
    let port = world.read("runtime/ipc_port");
    let second = world.start().await.err().unwrap();
    assert_eq!(second.code(), "supervise.running");
    let pid = std::process::id().to_string();
    assert!(second.to_string().contains(&pid), "{second}");
    assert_eq!(world.read("runtime/ipc_port"), port);
    let answered = running.ask(Method::POST, "/shutdown", "").await;
    assert_eq!(answered.json(), json!({ "status": "stopping" }));
    assert!(running.ended().await.is_empty());
    world.run().await.end().await;
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_all_reasons() {
    let secrets = json!([
        { "id": "db", "class": "infrastructure", "target": { "type": "env", "name": "DB" } },
        prompted("pattern", json!({ "format": "(?=x)" })),
        prompted("twice", json!({})),
        prompted("twice", json!({})),
        generated("never", json!({ "type": "random", "length": 0 })),
        { "id": "file", "class": "user_prompt", "prompt": { "label": "f" },
          "target": { "type": "file", "name": "../outside" } },
    ]);
    let mut world = World::dry(secrets);
    world.manifest["ipc"]["auth_token_path"] = json!("../escape/auth-token");
    let error = world.start().await.err().unwrap();
    let crate::SuperviseError::Unfit { findings, .. } = error else {
        panic!("{error}");
    };
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let expected = [
        "bundle.duplicate_secret",
        "bundle.format",
        "bundle.generator_invalid",
        "bundle.infrastructure",
        "bundle.path",
    ];
    assert_eq!(codes, expected);
    assert!(!world.app_data().exists());
    assert!(!world.home.path().join("escape").exists());
}

#[tokio::test]
async fn secrets_of_an_earlier_installation_are_taken_over_and_nothing_stays_in_clear() {
    for text in [
        format!("{{\"secrets\": {{\"key\": \"{CANARY}\", \"other\": \"{CANARY}-2\"}}}}"),
        format!("{{\"key\": \"{CANARY}\", \"other\": \"{CANARY}-2\"}}"),
        format!("{{\"_metadata\": {{\"by\": \"x\"}}, \"key\": \"{CANARY}\", \"other\": \"y\"}}"),
    ] {
        let world = World::dry(json!([prompted("key", json!({}))]));
        std::fs::create_dir(world.app_data()).unwrap();
        let old = world.app_data().join("secrets.json");
        std::fs::write(&old, text).unwrap();
        let running = world.run().await;
        running.until_ready("api").await;
        running.end().await;
        assert!(!old.exists());
        assert_eq!(world.files_with(CANARY), Vec::<std::path::PathBuf>::new());
        assert!(world.events().contains(&"secrets_imported".to_owned()));
    }
    let world = World::dry(json!([prompted("key", json!({}))]));
    std::fs::create_dir(world.app_data()).unwrap();
    let old = world.app_data().join("secrets.json");
    std::fs::write(&old, "{bad").unwrap();
    let error = world.start().await.err().unwrap();
    assert_eq!(error.code(), "supervise.import");
    assert!(error.to_string().contains("secrets.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "{bad");
}

#[tokio::test]
async fn what_is_kept_elsewhere_is_fetched_or_named() {
    let secrets = json!([{
        "id": "stripe", "class": "remote_fetch",
        "vault": { "type": "hashicorp", "path": "secret/data/stripe", "key": "api_key" },
        "target": { "type": "env", "name": "STRIPE" },
    }]);
    let mut world = World::dry(secrets);
    let unreachable = || Err("hashicorp secret/data/stripe: cannot connect".to_owned());
    world.fetched.insert("stripe".to_owned(), unreachable());
    let running = world.run().await;
    let listed = running.get("/secrets").await["secrets"][0].clone();
    assert_eq!(listed["status"], "missing");
    assert_eq!(
        listed["problem"],
        "hashicorp secret/data/stripe: cannot connect"
    );
    running.end().await;

    world
        .fetched
        .insert("stripe".to_owned(), Ok(CANARY.to_owned()));
    let running = world.run().await;
    running.until_ready("api").await;
    let listed = running.get("/secrets").await["secrets"][0].clone();
    assert_eq!(
        (listed["status"].clone(), listed["source"].clone()),
        (json!("configured"), json!("remote"))
    );
    running.end().await;

    // Without a network the value of the last fetch does.
    world.fetched.insert("stripe".to_owned(), unreachable());
    let running = world.run().await;
    running.until_ready("api").await;
    running.end().await;
}
