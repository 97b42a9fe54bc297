//! Policies that set secrets up, and notices of what becomes of them.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::request;

use super::rotation::Function;
use super::rotation::Rig;
use super::rotation::listen;
use crate::rotate::notices;
use crate::rotate::policies;
use crate::vault::tests::panics::Buggy;

async fn policy(rig: &Rig, name: &str, body: Value) -> (u16, Value) {
    let line = format!("POST sys/rotation/policies/{name}");
    let made = rig.world.root(&line, &body.to_string()).await;
    (made.status, made.body)
}

async fn report(rig: &Rig, name: &str) -> Value {
    let line = format!("GET sys/aws/rotations/{name}");
    rig.world.root(&line, "").await.data().clone()
}

async fn make(rig: &Rig, name: &str) {
    rig.good(
        "CreateSecret",
        json!({"Name": name, "SecretString": "canary-first", "ClientRequestToken": "x".repeat(32)}),
    )
    .await;
}

async fn apply(rig: &Rig) -> u64 {
    let core = rig.world.node.core().unwrap();
    let live = Arc::clone(core.mounts().get("secret/").unwrap());
    policies::apply(&rig.world.node, &core, &live, policies::Look::Listed)
        .await
        .unwrap()
}

async fn value_of(rig: &Rig, name: &str) -> String {
    let got = rig
        .good("GetSecretValue", json!({ "SecretId": name }))
        .await;
    got["SecretString"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_policy_rotates_what_its_pattern_fits_and_the_nearest_one_counts() {
    let rig = Rig::new().await;
    make(&rig, "jwt/old").await;
    rig.rotate(json!({"RotationLambdaARN":
        "arn:aws:lambda:eu-central-1:000000000000:function:strongroom-generate",
        "RotationRules": {"AutomaticallyAfterDays": 7}}))
        .await;
    rig.run_due().await;
    let generate = json!({"pattern": "jwt/*", "rotator": "strongroom-generate", "every": "30d"});
    let (status, made) = policy(&rig, "jwt", generate).await;
    assert_eq!(
        (status, &made["data"]["secrets_set_up"]),
        (200, &json!(1)),
        "{made}"
    );
    let all = json!({"pattern": "*", "rotator": "strongroom-generate", "every": "90d"});
    let (_, made) = policy(&rig, "all", all).await;
    // What has a rotation of its own keeps it.
    assert_eq!(made["data"]["secrets_set_up"], 0, "{made}");
    assert_eq!(report(&rig, "db").await["days"], 7);
    make(&rig, "jwt/new").await;
    make(&rig, "other").await;
    assert_eq!((apply(&rig).await, apply(&rig).await), (2, 0));
    assert_eq!(report(&rig, "jwt/new").await["days"], 30);
    assert_eq!(report(&rig, "other").await["days"], 90);
    rig.world.pass(31 * 86_400);
    rig.run_due().await;
    assert_ne!(value_of(&rig, "jwt/old").await, "canary-first");
    assert_eq!(value_of(&rig, "other").await, "canary-first");
    // Who follows a policy follows its change.
    let sooner = json!({"pattern": "jwt/*", "rotator": "strongroom-generate", "every": "10d"});
    let (_, made) = policy(&rig, "jwt", sooner).await;
    assert_eq!(made["data"]["secrets_set_up"], 2, "{made}");
    assert_eq!(report(&rig, "jwt/new").await["days"], 10);
    let gone = rig.world.root("DELETE sys/rotation/policies/jwt", "").await;
    assert_eq!(gone.status, 204);
    assert_eq!(report(&rig, "jwt/new").await["days"], 10);
    for (body, says) in [
        (json!({"every": "30d"}), "`pattern`"),
        (json!({"pattern": "*"}), "says when"),
        (json!({"pattern": "*", "every": "36h"}), "whole days"),
        (
            json!({"pattern": "*", "every": "1d", "schedule": "rate(1 day)"}),
            "exclude",
        ),
        (
            json!({"pattern": "*", "every": "1d", "rotator": "nobody"}),
            "no rotator",
        ),
        (
            json!({"pattern": "*", "schedule": "rate(1 hour)"}),
            "schedule",
        ),
    ] {
        let (status, said) = policy(&rig, "bad", body).await;
        assert!(status == 400 && said.to_string().contains(says), "{said}");
    }
}

/// What a webhook was told.
fn told(function: &Function, key: &str) -> Vec<Value> {
    let events = function.events.lock().unwrap();
    let events = events.iter().map(|(headers, body)| {
        let at = headers["x-strongroom-timestamp"].to_str().unwrap();
        let text = [at.as_bytes(), b".", body].concat();
        let secret = SecretValue::copy_from(key.as_bytes());
        let code = data_encoding::HEXLOWER.encode(&request::mac(&secret, &text));
        assert_eq!(headers["x-strongroom-signature"], format!("v1={code}"));
        serde_json::from_slice(body).unwrap()
    });
    events.collect()
}

async fn deliver(rig: &Rig) {
    let core = rig.world.node.core().unwrap();
    notices::look_ahead(&rig.world.node, &core).await.unwrap();
    notices::deliver(&rig.world.node, &core).await.unwrap();
}

#[tokio::test]
async fn people_are_told_once_of_what_comes_and_of_what_waits() {
    let rig = Rig::new().await;
    let function = Arc::new(Function::default());
    let url = listen(&function).await;
    let body = json!({ "url": url }).to_string();
    let made = rig
        .world
        .root("POST sys/rotation/webhooks/ops", &body)
        .await;
    assert_eq!(made.status, 200, "{made:?}");
    let key = made.data()["signing_key"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notices");
    rig.world.node.write_rotation_notices(file.clone());
    // No rotator: a person is reminded, and waited for.
    let by_hand = json!({"pattern": "db", "every": "90d", "notify_before": "2d", "owner": "ann"});
    assert_eq!(policy(&rig, "by-hand", by_hand).await.0, 200);
    deliver(&rig).await;
    assert!(told(&function, &key).is_empty());
    let next: jiff::Timestamp = report(&rig, "db").await["next"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let now = rig.world.node.now().as_micros() / 1_000_000;
    rig.world.pass(next.as_second() - now - 2 * 86_400);
    *function.status.lock().unwrap() = 500;
    deliver(&rig).await;
    deliver(&rig).await;
    assert_eq!(told(&function, &key).len(), 1, "not before its time again");
    *function.status.lock().unwrap() = 200;
    rig.world.pass(11);
    deliver(&rig).await;
    deliver(&rig).await;
    let events = told(&function, &key);
    assert_eq!(
        events.len(),
        2,
        "told again after a failure, and then no more"
    );
    assert_eq!(events[0], events[1]);
    let event = &events[0];
    assert_eq!(
        (&event["event"], &event["secret"]),
        (&json!("rotation.coming"), &json!("db"))
    );
    assert_eq!(
        (&event["owner"], &event["policy"]),
        (&json!("ann"), &json!("by-hand"))
    );
    rig.world.pass(86_400);
    deliver(&rig).await;
    assert_eq!(told(&function, &key).len(), 3, "once a day");
    rig.world.pass(86_400 + 600);
    rig.run_due().await;
    rig.run_due().await;
    deliver(&rig).await;
    let events = told(&function, &key);
    let last = events.last().unwrap();
    assert_eq!(last["event"], "rotation.waits", "{last}");
    assert!(
        last["message"].as_str().unwrap().contains("rotate supply"),
        "{last}"
    );
    // Whoever sets a value by hand has done what was waited for.
    rig.world.pass(60);
    rig.good(
        "PutSecretValue",
        json!({"SecretId": "db", "SecretString": "by hand", "ClientRequestToken": "h".repeat(32)}),
    )
    .await;
    rig.world.pass(60);
    rig.run_due().await;
    let found = report(&rig, "db").await;
    assert_eq!(
        (&found["run"], &found["last_result"]),
        (&Value::Null, &json!("rotated"))
    );
    let lines = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(!lines.contains("canary"), "{lines}");
    let read = rig.world.root("GET sys/rotation/webhooks/ops", "").await;
    assert!(!read.text.contains(&key), "the key is shown once");
}

#[tokio::test]
async fn a_failed_rotation_is_loud() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notices");
    rig.world.node.write_rotation_notices(file.clone());
    let spec = json!({"type": "postgres", "address": "postgres://a@127.0.0.1:1/a", "role": "a"});
    let body = json!({ "rotator": spec }).to_string();
    rig.world.root("POST sys/aws/rotators/mine", &body).await;
    let body = json!({"rotator": "mine", "every": "30d"}).to_string();
    let asked = rig.world.root("POST sys/aws/rotations/db", &body).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    rig.run_due().await;
    rig.world.pass(3);
    rig.run_due().await;
    deliver(&rig).await;
    let lines = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 1, "once a day: {lines}");
    let event: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(event["event"], "rotation.failed");
    assert!(
        event["message"]
            .as_str()
            .unwrap()
            .contains("setSecret of db"),
        "{event}"
    );
    rig.world.pass(86_400);
    rig.run_due().await;
    deliver(&rig).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_look_lists_secrets_and_reads_only_what_it_sets_up() {
    const SECRETS: u64 = 150;
    let (world, storage) = Buggy::world().await;
    let rig = Rig::of(world).await;
    for number in 0..SECRETS {
        let line = format!("PUT secret/data/k/{number}");
        let made = rig.world.root(&line, r#"{"data":{"a":"b"}}"#).await;
        assert_eq!(made.status, 200, "{made:?}");
    }
    let body = json!({"pattern": "k/*", "rotator": "strongroom-generate", "every": "30d"});
    let (_, made) = policy(&rig, "k", body).await;
    assert_eq!(made["data"]["secrets_set_up"], SECRETS, "{made}");
    let (node, core) = (&rig.world.node, rig.world.node.core().unwrap());
    let mut scan = policies::Scan::default();
    let mut calls = async || {
        storage.fail_at(0);
        scan.round(node, &core).await.unwrap();
        storage.calls()
    };
    // The first look of a server is at each of them: it reads the secret and its rotation.
    let first = calls().await;
    assert!(first >= SECRETS, "{first}");
    assert_eq!(
        calls().await,
        1,
        "nothing has changed: only the revision is asked for"
    );
    let made = rig
        .world
        .root("PUT secret/data/k/new", r#"{"data":{"a":"b"}}"#)
        .await;
    assert_eq!(made.status, 200, "{made:?}");
    let with_one = calls().await;
    assert!(
        with_one < 40,
        "{with_one} calls for one new secret of {SECRETS}"
    );
    assert_eq!(report(&rig, "k/new").await["days"], 30);
    let after = calls().await;
    assert!(after < 20, "{after}");
    assert_eq!(calls().await, 1);
}
