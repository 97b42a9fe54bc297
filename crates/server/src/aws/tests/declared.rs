//! Rotators that are declared: what they may do, and what is published of their keys.

use std::os::unix::fs::PermissionsExt;

use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use serde_json::Value;
use serde_json::json;

use super::rotation::Rig;

const ARN: &str = "arn:aws:lambda:eu-central-1:000000000000:function:mine";

async fn register(rig: &Rig, spec: Value) -> (u16, String) {
    let body = json!({ "rotator": spec }).to_string();
    let made = rig.world.root("POST sys/aws/rotators/mine", &body).await;
    (made.status, made.text)
}

async fn act(rig: &Rig, body: Value) -> (u16, String) {
    let line = "POST sys/aws/rotations/db";
    let done = rig.world.root(line, &body.to_string()).await;
    (done.status, done.text)
}

/// The key set, as anybody reads it.
async fn key_set(rig: &Rig, name: &str) -> (u16, Vec<String>, Value) {
    let request = Request::builder()
        .uri(format!("/api/jwks/{name}"))
        .header("host", "localhost")
        .body(Full::default())
        .unwrap();
    let response = crate::listen::tests::ask(&rig.world.node, request).await;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let keys = body["keys"].as_array().into_iter().flatten();
    let ids = keys.map(|key| key["kid"].as_str().unwrap().to_owned());
    (status, ids.collect(), body)
}

async fn kid(rig: &Rig) -> String {
    let value: Value = serde_json::from_str(&rig.value().await).unwrap();
    value["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_old_key_stays_in_the_key_set_until_its_last_token_has_expired() {
    let rig = Rig::new().await;
    let spec = json!({"type": "signing-key", "algorithm": "EdDSA", "token_ttl": "24h"});
    assert_eq!(register(&rig, spec).await.0, 200);
    // Nothing is published before there is a key.
    assert_eq!(key_set(&rig, "db").await.0, 404);
    rig.rotate(json!({ "RotationLambdaARN": ARN })).await;
    rig.run_due().await;
    let first = kid(&rig).await;
    let (status, ids, body) = key_set(&rig, "db").await;
    assert_eq!((status, ids), (200, vec![first.clone()]));
    let key = body["keys"][0].as_object().unwrap();
    let names: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"], "{body}");
    rig.world.pass(3600);
    // The key that waits is published before it signs anything.
    rig.rotate(json!({ "ClientRequestToken": "2".repeat(32) }))
        .await;
    assert_eq!(key_set(&rig, "db").await.1, vec![first.clone()]);
    rig.run_due().await;
    let second = kid(&rig).await;
    assert_ne!(second, first);
    assert_eq!(key_set(&rig, "db").await.1, [second.clone(), first.clone()]);
    rig.world.pass(86_399);
    assert_eq!(key_set(&rig, "db").await.1, [second.clone(), first]);
    rig.world.pass(1);
    assert_eq!(key_set(&rig, "db").await.1, [second]);
    for name in ["", "nothing", "db/", "../db"] {
        let (status, _, _) = key_set(&rig, name).await;
        assert!([400, 404].contains(&status), "{name}: {status}");
    }
}

#[tokio::test]
async fn of_a_secret_that_is_no_signing_key_nothing_is_published() {
    let rig = Rig::new().await;
    let spec = json!({"type": "manual", "checklist": ["make a key"]});
    assert_eq!(register(&rig, spec).await.0, 200);
    rig.rotate(json!({ "RotationLambdaARN": ARN })).await;
    rig.run_due().await;
    assert_eq!(key_set(&rig, "db").await.0, 404);
    let spec = json!({"type": "signing-key", "algorithm": "HS256"});
    assert_eq!(register(&rig, spec).await.0, 200);
    assert_eq!(act(&rig, json!({"action": "resume"})).await.0, 200);
    rig.run_due().await;
    assert!(rig.value().await.contains("\"alg\":\"HS256\""));
    let (status, ids, _) = key_set(&rig, "db").await;
    assert_eq!((status, ids), (200, Vec::new()));
}

#[tokio::test]
async fn a_person_brings_a_value_returns_to_the_old_one_and_gives_up() {
    let rig = Rig::new().await;
    let old = rig.value().await;
    let spec = json!({"type": "manual", "checklist": ["make a key"]});
    register(&rig, spec).await;
    let (status, text) = act(&rig, json!({"action": "supply", "value": "canary-new"})).await;
    assert_eq!(status, 400, "{text}");
    rig.rotate(json!({ "RotationLambdaARN": ARN })).await;
    rig.run_due().await;
    let seen = rig.world.root("GET sys/aws/rotations/db", "").await;
    let failure = &seen.data()["run"]["failure"];
    assert_eq!(failure["code"], "rotation.waits", "{seen:?}");
    assert_eq!(seen.data()["failed_steps"], 0);
    let (status, text) = act(&rig, json!({"action": "supply", "value": "canary-new"})).await;
    assert_eq!(status, 200, "{text}");
    assert!(!text.contains("canary"), "{text}");
    rig.run_due().await;
    assert_eq!(rig.value().await, "canary-new");
    assert_eq!(act(&rig, json!({"action": "rollback"})).await.0, 200);
    rig.run_due().await;
    assert_eq!(rig.value().await, old);
    let seen = rig.world.root("GET sys/aws/rotations/db", "").await;
    assert_eq!(seen.data()["history"][0]["purpose"], "rollback");
    rig.rotate(json!({ "ClientRequestToken": "3".repeat(32) }))
        .await;
    rig.run_due().await;
    assert_eq!(act(&rig, json!({"action": "abandon"})).await.0, 204);
    assert_eq!(act(&rig, json!({"action": "abandon"})).await.0, 400);
    assert_eq!(act(&rig, json!({"action": "resume"})).await.0, 400);
    assert_eq!(act(&rig, json!({"action": "dance"})).await.0, 400);
    assert!(!rig.audit().contains("canary-new"), "the log has a value");
}

#[tokio::test]
async fn programs_run_from_the_folder_for_them_only() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let commands = folder.path().join("commands");
    std::fs::create_dir(&commands).unwrap();
    let program = commands.join("rotate");
    std::fs::write(&program, "#!/bin/sh\necho '{\"value\": \"by-program\"}'\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/bin/echo", commands.join("link")).unwrap();
    let spec = |path: &str| json!({"type": "command", "command": [path]});
    let (status, text) = register(&rig, spec(program.to_str().unwrap())).await;
    assert!(
        status == 400 && text.contains("rotation.commands"),
        "{text}"
    );
    rig.world.node.allow_rotation_commands(commands.clone());
    let link = commands.join("link");
    let above = commands.join("../commands/../commands2/x");
    for path in ["/bin/echo", link.to_str().unwrap(), above.to_str().unwrap()] {
        let (status, text) = register(&rig, spec(path)).await;
        assert!(status == 400 && text.contains("is no program in"), "{text}");
    }
    let (status, text) = register(&rig, spec(program.to_str().unwrap())).await;
    assert_eq!(status, 200, "{text}");
    rig.rotate(json!({ "RotationLambdaARN": ARN })).await;
    rig.run_due().await;
    assert_eq!(rig.value().await, "by-program");
    // It is looked at again each time: what lies there may have changed.
    std::fs::remove_file(&program).unwrap();
    std::os::unix::fs::symlink("/bin/echo", &program).unwrap();
    rig.rotate(json!({ "ClientRequestToken": "2".repeat(32) }))
        .await;
    rig.run_due().await;
    let seen = rig.world.root("GET sys/aws/rotations/db", "").await;
    let failure = &seen.data()["run"]["failure"];
    assert_eq!(failure["code"], "rotator.unusable", "{seen:?}");
}

#[tokio::test]
async fn declarations_that_cannot_work_are_refused() {
    let rig = Rig::new().await;
    for (spec, says) in [
        (json!({"type": "signing-key", "algorithm": "none"}), "RS256"),
        (
            json!({"type": "postgres", "address": "postgres://a:canary@localhost/a"}),
            "no password",
        ),
        (json!({"type": "postgres", "adress": "x"}), "adress"),
        (json!({"type": "magic"}), "magic"),
        (json!("text"), "`rotator` is none"),
    ] {
        let (status, text) = register(&rig, spec).await;
        assert!(status == 400 && text.contains(says), "{status} {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn a_certificate_that_ends_is_told_of_also_when_nothing_rotates_it() {
    let rig = Rig::new().await;
    let spec = json!({"type": "certificate", "common_name": "db.internal", "validity": "30d"});
    let (status, said) = register(&rig, spec).await;
    assert_eq!(status, 200, "{said}");
    // What would have expired before it is rotated is refused.
    for (rule, is_good) in [
        (json!({"every": "30d"}), false),
        (json!({"schedule": "cron(0 4 1 * ? *)"}), false),
        (json!({"every": "29d"}), true),
    ] {
        let mut body = json!({"pattern": "tls/*", "rotator": "mine"});
        body["every"] = rule["every"].clone();
        body["schedule"] = rule["schedule"].clone();
        let line = "POST sys/rotation/policies/tls";
        let made = rig.world.root(line, &body.to_string()).await;
        assert_eq!(made.status == 200, is_good, "{made:?}");
        assert!(is_good || made.text.contains("would expire"), "{made:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notices");
    rig.world.node.write_rotation_notices(file.clone());
    rig.rotate(json!({ "RotationLambdaARN": ARN })).await;
    rig.run_due().await;
    let value: Value = serde_json::from_str(&rig.value().await).unwrap();
    let certificate = value["certificate"].as_str().unwrap();
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    let told = async || {
        let core = rig.world.node.core().unwrap();
        crate::rotate::notices::look_ahead(&rig.world.node, &core)
            .await
            .unwrap();
        crate::rotate::notices::deliver(&rig.world.node, &core)
            .await
            .unwrap();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    rig.world.pass(22 * 86_400);
    assert!(told().await.is_empty());
    rig.world.pass(2 * 86_400);
    for _ in 0..2 {
        let told = told().await;
        assert_eq!(told.len(), 1, "once a day: {told:?}");
        assert_eq!(told[0]["event"], "certificate.expires");
        assert_eq!(told[0]["secret"], "db");
    }
    rig.world.pass(7 * 86_400);
    assert_eq!(told().await.last().unwrap()["event"], "certificate.expired");
    rig.rotate(json!({ "ClientRequestToken": "2".repeat(32) }))
        .await;
    rig.run_due().await;
    assert_eq!(told().await.len(), 2, "the new one is good");
}
