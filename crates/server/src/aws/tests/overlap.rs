//! Old values that end when everybody who reads the secret has read the new one.

use serde_json::Value;
use serde_json::json;

use super::rotation::Rig;

const DAY: i64 = 86_400;

async fn report(rig: &Rig) -> Value {
    let found = rig.world.root("GET sys/aws/rotations/db", "").await;
    found.data().clone()
}

async fn act(rig: &Rig, body: Value) -> (u16, String) {
    let line = "POST sys/aws/rotations/db";
    let done = rig.world.root(line, &body.to_string()).await;
    (done.status, done.text)
}

/// A token of somebody, by its name, who has read the secret.
async fn consumer(rig: &Rig, name: &str) -> (String, String) {
    let body = json!({"display_name": name, "policies": ["root"]}).to_string();
    let made = rig.world.root("POST auth/token/create", &body).await;
    let auth = &made.body["auth"];
    let text = |field: &str| auth[field].as_str().unwrap().to_owned();
    let (token, accessor) = (text("client_token"), text("accessor"));
    read(rig, &token).await;
    (token, accessor)
}

async fn read(rig: &Rig, token: &str) {
    let got = rig.world.ask(Some(token), "GET secret/data/db", "").await;
    assert_eq!(got.status, 200, "{got:?}");
}

async fn old(rig: &Rig, token: &str) -> u16 {
    let line = "GET secret/data/db?version=1";
    rig.world.ask(Some(token), line, "").await.status
}

async fn set_up(rig: &Rig) -> Value {
    let policy = json!({"pattern": "db", "rotator": "strongroom-generate", "every": "30d",
        "overlap": "3d", "wait": "consumers"});
    let line = "POST sys/rotation/policies/db";
    let made = rig.world.root(line, &policy.to_string()).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.data().clone()
}

async fn metric(rig: &Rig, name: &str) -> String {
    let text = rig.world.root("GET sys/metrics", "").await.text;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("strongroom_{name} ")));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_old_value_ends_with_its_last_consumer() {
    let rig = Rig::new().await;
    let made = set_up(&rig).await;
    assert_eq!(
        (&made["wait"], &made["overlap"]),
        (&json!("consumers"), &json!("3d"))
    );
    let mut consumers = Vec::new();
    for name in ["a", "b", "c", "d", "billing-api"] {
        consumers.push(consumer(&rig, name).await);
    }
    rig.world.pass(60);
    assert_eq!(act(&rig, json!({})).await.0, 200);
    rig.run_due().await;
    rig.world.pass(60);
    for (token, _) in &consumers[..4] {
        read(&rig, token).await;
    }
    let billing = consumers[4].0.as_str();
    for _ in 0..3 {
        assert_eq!(old(&rig, billing).await, 200);
    }
    rig.run_due().await;
    let found = report(&rig).await;
    let overlap = &found["overlap"];
    assert_eq!(
        overlap["standing"], "4 of 5 consumers on v2, token-billing-api still on v1",
        "{found}"
    );
    assert_eq!(overlap["old_value_reads"], 3, "{found}");
    assert_eq!(
        metric(&rig, "previous_version_reads_total").await,
        "strongroom_previous_version_reads_total 3"
    );
    let core = rig.world.node.core().unwrap();
    crate::rotate::notices::look_ahead(&rig.world.node, &core)
        .await
        .unwrap();
    assert_eq!(
        metric(&rig, "rotation_consumers_behind").await,
        "strongroom_rotation_consumers_behind 1"
    );
    assert_eq!(
        metric(&rig, "rotation_overlaps").await,
        "strongroom_rotation_overlaps 1"
    );
    let listed = rig.world.root("LIST sys/aws/rotations", "").await;
    assert_eq!(
        listed.data()["key_info"]["db"]["overlap"]["standing"],
        overlap["standing"]
    );
    // Another rotation would take the old value from the one that still has it.
    let (status, said) = act(&rig, json!({})).await;
    assert!(
        status == 400 && said.contains("billing-api still on v1"),
        "{said}"
    );
    let (status, said) = act(&rig, json!({"action": "finish"})).await;
    assert!(status == 400 && said.contains("now=true"), "{said}");
    read(&rig, billing).await;
    rig.world.pass(60);
    rig.run_due().await;
    let found = report(&rig).await;
    assert_eq!(found["overlap"], Value::Null, "{found}");
    let ended = &found["history"][0]["old_value"];
    assert_eq!(
        (&ended["because"], &ended["reads"]),
        (&json!("consumers moved"), &json!(3))
    );
    assert_eq!(old(&rig, billing).await, 404);
    assert_eq!(rig.audit().matches("\"rotation\":\"retire\"").count(), 2);
    assert_eq!(act(&rig, json!({})).await.0, 200);
}

#[tokio::test]
async fn a_dead_consumer_and_one_whose_token_is_gone_hold_nobody_up() {
    let rig = Rig::new().await;
    set_up(&rig).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notices");
    rig.world.node.write_rotation_notices(file.clone());
    let (live, _) = consumer(&rig, "live").await;
    let (_, accessor) = consumer(&rig, "revoked").await;
    let _dead = consumer(&rig, "dead").await;
    act(&rig, json!({})).await;
    rig.run_due().await;
    rig.world.pass(60);
    read(&rig, &live).await;
    let body = json!({ "accessor": accessor }).to_string();
    rig.world
        .root("POST auth/token/revoke-accessor", &body)
        .await;
    rig.run_due().await;
    let standing = report(&rig).await["overlap"]["standing"].clone();
    assert_eq!(standing, "1 of 2 consumers on v2, token-dead still on v1");
    // On the last day people are told, and at the end, too.
    rig.world.pass(2 * DAY + 60);
    rig.run_due().await;
    rig.world.pass(DAY);
    rig.run_due().await;
    let core = rig.world.node.core().unwrap();
    crate::rotate::notices::deliver(&rig.world.node, &core)
        .await
        .unwrap();
    let told = std::fs::read_to_string(&file).unwrap();
    let events: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut names: Vec<&str> = events
        .iter()
        .map(|one| one["event"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["rotation.behind", "rotation.left_behind"], "{told}");
    assert!(told.contains("token-dead still on v1"), "{told}");
    let found = report(&rig).await;
    assert_eq!(
        found["history"][0]["old_value"]["because"], "deadline",
        "{found}"
    );
}

#[tokio::test]
async fn it_is_ended_by_hand_and_cut_short_by_force() {
    let rig = Rig::new().await;
    set_up(&rig).await;
    let (token, _) = consumer(&rig, "slow").await;
    act(&rig, json!({})).await;
    rig.run_due().await;
    let (status, said) = act(&rig, json!({"action": "finish", "now": true})).await;
    assert_eq!(status, 200, "{said}");
    rig.run_due().await;
    assert_eq!(old(&rig, &token).await, 404);
    let ended = report(&rig).await["history"][0]["old_value"].clone();
    assert_eq!(
        (&ended["because"], &ended["consumers_behind"]),
        (&json!("finished by hand"), &json!(1))
    );
    assert_eq!(
        act(&rig, json!({"action": "finish"})).await.0,
        400,
        "nothing to end"
    );
    act(&rig, json!({})).await;
    rig.run_due().await;
    assert_eq!(act(&rig, json!({"now": true})).await.0, 200);
    rig.run_due().await;
    assert_eq!(report(&rig).await["overlap"]["old_versions"], json!([2, 3]));
}

#[tokio::test]
async fn what_says_too_little_is_refused() {
    let rig = Rig::new().await;
    for (more, says) in [
        (json!({"wait": "consumers"}), "belong to an `overlap`"),
        (json!({"consumers_within": "1d"}), "belong to an `overlap`"),
        (
            json!({"overlap": "3d", "wait": "everybody"}),
            "deadline or consumers",
        ),
        (json!({"overlap": "soon"}), "`overlap`"),
        (json!({"jitter": "soon"}), "`jitter`"),
    ] {
        let mut policy = json!({"pattern": "db", "every": "30d"});
        for (name, value) in more.as_object().unwrap() {
            policy[name] = value.clone();
        }
        let line = "POST sys/rotation/policies/db";
        let made = rig.world.root(line, &policy.to_string()).await;
        assert!(made.status == 400 && made.text.contains(says), "{made:?}");
    }
}
