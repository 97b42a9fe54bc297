//! Input of people who mean no good: there is always an answer, and nothing of a value in it.

use serde_json::json;

use crate::aws::op::ALL;
use crate::vault::tests::World;

const CANARY: &str = "canary-4f1c";
const TOKEN: &str = "01234567-89ab-cdef-0123-456789abcdef";

#[tokio::test]
async fn odd_bodies_are_refused() {
    let world = World::new().await;
    let key = world.key(&["root"]).await;
    let deep = format!("{{\"SecretId\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let many = format!("{{\"SecretId\":[1{}]}}", ",1".repeat(50_000));
    let long = format!("{{\"SecretId\":\"{}\"}}", CANARY.repeat(1000));
    let bodies = [
        "".to_owned(),
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("[\"{CANARY}\"]"),
        format!("{{\"SecretId\":\"{CANARY}"),
        format!("{{\"SecretId\":{{\"{CANARY}\":1}}}}"),
        format!("{{\"SecretId\":[\"{CANARY}\"],\"Name\":7}}"),
        format!("{{\"SecretString\":[\"{CANARY}\"],\"SecretId\":\"x\",\"Name\":\"x\"}}"),
        format!("{{\"SecretId\":\"x\",\"Name\":\"x\",\"Tags\":\"{CANARY}\",\"TagKeys\":1}}"),
        format!("{{\"SecretId\":\"x\",\"Name\":\"x\",\"Tags\":[{{\"Key\":[\"{CANARY}\"]}}]}}"),
        r#"{"SecretId":"\u0000","Name":"\u0000"}"#.to_owned(),
        r#"{"SecretId":"arn:aws:secretsmanager:::secret:"}"#.to_owned(),
        r#"{"SecretId":"arn:aws:secretsmanager:eu-central-1:000000000000:secret:"}"#.to_owned(),
        r#"{"SecretId":"x","MaxResults":1e400,"PasswordLength":-1,"NextToken":"AAAA"}"#.to_owned(),
        r#"{"SecretId":"x","MaxResults":9223372036854775808}"#.to_owned(),
        r#"{"Filters":[1,null,{"Key":{},"Values":{}}],"SecretIdList":[1]}"#.to_owned(),
        r#"{"Filters":[{"Key":"name","Values":[null]}]}"#.to_owned(),
        deep,
        many,
        long,
    ];
    for op in ALL {
        for body in &bodies {
            let reply = world.aws(&key, op.name(), body).await;
            assert!(reply.status < 500, "{op:?} {reply:?} {body:.80}");
            assert!(!reply.text.contains(CANARY), "{op:?} {reply:?}");
        }
    }
    for name in ["", "x", "getsecretvalue"] {
        let reply = world.aws(&key, name, "{}").await;
        assert_eq!(reply.code(), (400, "UnknownOperationException"), "{name}");
    }
    assert_eq!(
        world
            .node
            .metrics
            .panics
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn the_log_tells_what_was_done_and_no_value() {
    let world = World::new().await;
    let key = world.key(&["root"]).await;
    let made = json!({ "Name": "app/x", "SecretString": CANARY, "ClientRequestToken": TOKEN });
    world.aws(&key, "CreateSecret", &made.to_string()).await;
    let read = world
        .aws(&key, "GetSecretValue", r#"{"SecretId":"app/x"}"#)
        .await;
    assert_eq!(read.body["SecretString"], CANARY);
    let batch = r#"{"SecretIdList":["app/x","app/none"]}"#;
    let read = world.aws(&key, "BatchGetSecretValue", batch).await;
    assert_eq!(read.body["SecretValues"][0]["SecretString"], CANARY);
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(!log.contains(CANARY), "the log has a value");
    assert!(!log.contains(&data_encoding::BASE64.encode(CANARY.as_bytes())));
    let lines: Vec<&str> = log.lines().collect();
    let with = |parts: &[&str]| {
        let fits = |line: &&&str| parts.iter().all(|part| line.contains(part));
        lines.iter().filter(fits).count()
    };
    let path = "\"path\":\"secret/data/app/x\"";
    let mount = "\"mount_point\":\"secret/\"";
    assert_eq!(
        with(&[
            path,
            mount,
            "\"aws\":\"CreateSecret\"",
            "\"operation\":\"update\""
        ]),
        1
    );
    assert_eq!(
        with(&[
            path,
            mount,
            "\"aws\":\"GetSecretValue\"",
            "\"operation\":\"read\""
        ]),
        1
    );
    assert_eq!(with(&[path, "\"aws\":\"BatchGetSecretValue\""]), 1);
    assert_eq!(
        with(&["secret/data/app/none", "ResourceNotFoundException"]),
        1
    );
    // Refusals are refusals to whoever searches the log, whatever status the protocol has.
    world
        .policy("none", r#"path "elsewhere" { capabilities = ["read"] }"#)
        .await;
    let nobody = world.key(&["none"]).await;
    let denied = world
        .aws(&nobody, "GetSecretValue", r#"{"SecretId":"app/x"}"#)
        .await;
    assert_eq!(denied.code(), (400, "AccessDeniedException"));
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    let with_status = log
        .lines()
        .filter(|line| line.contains("AccessDeniedException"));
    assert!(
        with_status
            .clone()
            .all(|line| line.contains("\"status\":403")),
        "{log}"
    );
    assert_eq!(with_status.count(), 1);
    // Both doors hash a value alike: who read it can be found by it.
    let hash = world.node.core().unwrap().audit.hash(CANARY.as_bytes());
    world.root("GET secret/data/app/x", "").await;
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(log.matches(&hash).count() >= 4, "{log}");
}

#[tokio::test]
async fn nothing_happens_without_its_line() {
    let world = World::new().await;
    let key = world.key(&["root"]).await;
    let made = json!({ "Name": "a", "SecretString": "x", "ClientRequestToken": TOKEN });
    assert_eq!(
        world
            .aws(&key, "CreateSecret", &made.to_string())
            .await
            .status,
        200
    );
    std::fs::remove_file(&world.audit_file).unwrap();
    let put = |token: &str| {
        json!({ "SecretId": "a", "SecretString": "y", "ClientRequestToken": token }).to_string()
    };
    // The file is looked after at most so often.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let first = put("11111111-89ab-cdef-0123-456789abcdef");
    while world.aws(&key, "PutSecretValue", &first).await.status == 200 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let last = "22222222-89ab-cdef-0123-456789abcdef";
    let reply = world.aws(&key, "PutSecretValue", &put(last)).await;
    assert_eq!(reply.code(), (503, "ServiceUnavailable"), "{reply:?}");
    let reply = world
        .aws(&key, "GetSecretValue", r#"{"SecretId":"a"}"#)
        .await;
    assert_eq!(reply.code(), (503, "ServiceUnavailable"), "{reply:?}");
    let core = world.node.core().unwrap();
    let live = core.mounts().find("secret/").cloned().unwrap();
    let seen = core
        .secret(&live, &"a".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let mut versions = seen.snapshot.versions().iter();
    assert!(versions.all(|info| info.version_id.as_deref() != Some(last)));
}

#[tokio::test]
async fn a_planned_deletion_is_done_when_it_is_due() {
    let world = World::new().await;
    let key = world.key(&["root"]).await;
    for name in ["goes", "stays", "rewritten"] {
        let made = json!({ "Name": name, "SecretString": "x", "ClientRequestToken": TOKEN });
        assert_eq!(
            world
                .aws(&key, "CreateSecret", &made.to_string())
                .await
                .status,
            200
        );
        let delete = json!({ "SecretId": name, "RecoveryWindowInDays": 7 });
        assert_eq!(
            world
                .aws(&key, "DeleteSecret", &delete.to_string())
                .await
                .status,
            200
        );
        world.pass(1);
    }
    world
        .aws(&key, "RestoreSecret", r#"{"SecretId":"stays"}"#)
        .await;
    let body = r#"{"data":{"value":"again"}}"#;
    assert_eq!(
        world.root("POST secret/data/rewritten", body).await.status,
        200
    );
    let core = world.node.core().unwrap();
    let look = || crate::tasks::run_once(&world.node, &core);
    world.pass(7 * 86_400 - 60);
    look().await.unwrap();
    let describe = |name: &'static str| {
        let (world, key) = (&world, &key);
        async move {
            let body = json!({ "SecretId": name }).to_string();
            world.aws(key, "DescribeSecret", &body).await.status
        }
    };
    assert_eq!(describe("goes").await, 200);
    world.pass(120);
    look().await.unwrap();
    look().await.unwrap();
    assert_eq!(describe("goes").await, 400);
    assert_eq!(describe("stays").await, 200);
    assert_eq!(describe("rewritten").await, 200);
    assert_eq!(world.root("GET secret/metadata/goes", "").await.status, 404);
}
