//! What AWS clients read is in the ledger, and is rotated from there.

use serde_json::Value;
use serde_json::json;

use super::Signer;
use crate::rotate;
use crate::vault::tests::World;

const GENERATE: &str = "arn:aws:lambda:eu-central-1:000000000000:function:strongroom-generate";
const TOKEN: &str = "11111111-2222-4333-8444-555555555555";

async fn good(world: &World, key: &Signer, operation: &str, body: Value) -> Value {
    let reply = world.aws(key, operation, &body.to_string()).await;
    assert_eq!(reply.status, 200, "{operation}: {reply:?}");
    reply.body
}

#[tokio::test]
async fn what_a_key_read_is_rotated_when_it_is_revoked() {
    let world = World::new().await;
    let key = world.key(&["root"]).await;
    let made = json!({"Name": "db", "SecretString": "one", "ClientRequestToken": "x".repeat(32)});
    good(&world, &key, "CreateSecret", made).await;
    let rotated = json!({
        "SecretId": "db", "ClientRequestToken": TOKEN, "RotationLambdaARN": GENERATE,
        "RotationRules": {"AutomaticallyAfterDays": 30},
    });
    good(&world, &key, "RotateSecret", rotated).await;
    rotate::run_due(&world.node).await;
    let read = async || {
        let read = good(&world, &key, "GetSecretValue", json!({"SecretId": "db"})).await;
        read["SecretString"].as_str().unwrap().to_owned()
    };
    let value = read().await;
    let batch = json!({"SecretIdList": ["db"]});
    good(&world, &key, "BatchGetSecretValue", batch).await;
    let found = world
        .root("GET sys/api/v1/ledger/secrets/secret/db", "")
        .await
        .body;
    let row = &found["exposures"][0];
    let to = format!("aws api {}", key.id);
    assert_eq!(
        (&row["to"], &row["count"]),
        (&to.into(), &2.into()),
        "{found}"
    );
    let body = r#"{"secret":"secret/db","reason":"leaked"}"#;
    let done = world.root("POST sys/api/v1/ledger/revoke", body).await.body;
    assert_eq!(done["secrets"][0]["action"], "rotating", "{done}");
    // Due until the rotation is done.
    let due = world.root("GET sys/api/v1/ledger/due", "").await.body;
    assert_eq!(due["count"], 1, "{due}");
    rotate::run_due(&world.node).await;
    assert_ne!(read().await, value);
    let due = world.root("GET sys/api/v1/ledger/due", "").await.body;
    assert_eq!(due["count"], 0, "{due}");
}

#[tokio::test]
async fn reads_of_the_first_engine_are_rows_too() {
    let world = World::new().await;
    world.root("POST sys/mounts/old", r#"{"type":"kv"}"#).await;
    world.root("POST old/app", r#"{"password":"x"}"#).await;
    world.root("GET old/app", "").await;
    let found = world
        .root("GET sys/api/v1/ledger/secrets/old/app", "")
        .await
        .body;
    assert_eq!(found["exposures"][0]["source"], "mount old/", "{found}");
}
