//! Rotation through the door, and the functions that do it.

use std::sync::Arc;
use std::sync::Mutex;

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::request;
use tokio::net::TcpListener;

use super::Signer;
use crate::rotate;
use crate::vault::tests::Reply;
use crate::vault::tests::World;

const GENERATE: &str = "arn:aws:lambda:eu-central-1:000000000000:function:strongroom-generate";
const ENDPOINT: &str = "arn:aws:lambda:eu-central-1:000000000000:function:mine";
const TOKEN: &str = "11111111-2222-4333-8444-555555555555";
const OLD: &str = "canary-old-5be1";

pub(super) struct Rig {
    pub(super) world: World,
    key: Signer,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::of(World::new().await).await
    }

    pub(super) async fn of(world: World) -> Self {
        let key = world.key(&["root"]).await;
        let rig = Self { world, key };
        rig.good(
            "CreateSecret",
            json!({"Name": "db", "SecretString": OLD, "ClientRequestToken": "x".repeat(32)}),
        )
        .await;
        rig
    }

    async fn ask(&self, operation: &str, body: Value) -> Reply {
        self.world
            .aws(&self.key, operation, &body.to_string())
            .await
    }

    pub(super) async fn good(&self, operation: &str, body: Value) -> Value {
        let reply = self.ask(operation, body).await;
        assert_eq!(reply.status, 200, "{operation}: {reply:?}");
        reply.body
    }

    pub(super) async fn rotate(&self, more: Value) -> Reply {
        let mut body = json!({"SecretId": "db", "ClientRequestToken": TOKEN});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.ask("RotateSecret", body).await
    }

    pub(super) async fn run_due(&self) {
        rotate::run_due(&self.world.node).await;
    }

    pub(super) async fn value(&self) -> String {
        let got = self.good("GetSecretValue", json!({"SecretId": "db"})).await;
        got["SecretString"].as_str().unwrap().to_owned()
    }

    async fn stages(&self) -> Value {
        self.describe().await["VersionIdsToStages"].clone()
    }

    async fn describe(&self) -> Value {
        self.good("DescribeSecret", json!({"SecretId": "db"})).await
    }

    pub(super) fn audit(&self) -> String {
        std::fs::read_to_string(&self.world.audit_file).unwrap()
    }
}

/// What an endpoint saw, and what it answers.
#[derive(Default)]
pub(super) struct Function {
    pub(super) events: Mutex<Vec<(http::HeaderMap, Vec<u8>)>>,
    pub(super) status: Mutex<u16>,
    location: Mutex<Option<String>>,
}

/// An endpoint on this machine; its URL.
pub(super) async fn listen(function: &Arc<Function>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/invoke", listener.local_addr().unwrap());
    let function = Arc::clone(function);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let function = Arc::clone(&function);
            let service = hyper::service::service_fn(move |request| {
                let function = Arc::clone(&function);
                async move {
                    let request: http::Request<hyper::body::Incoming> = request;
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let seen = (parts.headers, body.to_vec());
                    function.events.lock().unwrap().push(seen);
                    let status = *function.status.lock().unwrap();
                    let mut response = http::Response::builder().status(status.max(200));
                    if let Some(to) = &*function.location.lock().unwrap() {
                        response = response.header("location", to);
                    }
                    let text = http_body_util::Full::new(bytes::Bytes::from("canary-of-function"));
                    Ok::<_, std::convert::Infallible>(response.body(text).unwrap())
                }
            });
            tokio::spawn(async move {
                let serving = hyper::server::conn::http1::Builder::new();
                let _ = serving
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    url
}

async fn register(rig: &Rig, function: &Arc<Function>) -> String {
    let url = listen(function).await;
    let body = json!({ "url": url, "timeout": 30 }).to_string();
    let made = rig.world.root("POST sys/aws/rotators/mine", &body).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.data()["signing_key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_drawn_value_takes_the_place_of_the_old_one() {
    let rig = Rig::new().await;
    let rules = json!({"ScheduleExpression": "cron(0 8 1 * ? *)", "Duration": "2h"});
    let asked = rig
        .rotate(json!({"RotationLambdaARN": GENERATE, "RotationRules": rules}))
        .await;
    assert_eq!(asked.status, 200, "{asked:?}");
    assert_eq!(asked.body["VersionId"], TOKEN);
    assert_eq!(asked.body["Name"], "db");
    // Nothing has happened yet but that the version waits.
    assert_eq!(rig.stages().await[TOKEN], json!(["AWSPENDING"]));
    assert_eq!(rig.value().await, OLD);
    rig.run_due().await;
    let new = rig.value().await;
    assert!(new != OLD && new.len() == 32, "{}", new.len());
    let found = rig.describe().await;
    assert_eq!(found["VersionIdsToStages"][TOKEN], json!(["AWSCURRENT"]));
    let before = "x".repeat(32);
    assert_eq!(found["VersionIdsToStages"][&before], json!(["AWSPREVIOUS"]));
    assert_eq!(found["RotationEnabled"], true);
    assert_eq!(found["RotationLambdaARN"], GENERATE);
    assert_eq!(found["RotationRules"], rules);
    assert!(found["NextRotationDate"].as_f64() > found["LastRotatedDate"].as_f64());
    let listed = rig.good("ListSecrets", json!({})).await;
    for name in [
        "RotationEnabled",
        "RotationLambdaARN",
        "RotationRules",
        "LastRotatedDate",
        "NextRotationDate",
    ] {
        assert_eq!(listed["SecretList"][0][name], found[name], "{name}");
    }
    // The same request once more changes nothing.
    let again = rig.rotate(json!({})).await;
    assert_eq!(
        (again.status, &again.body["VersionId"]),
        (200, &json!(TOKEN))
    );
    rig.run_due().await;
    assert_eq!(rig.value().await, new);
    let log = rig.audit();
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        let lines = log.matches(&format!("\"rotation\":\"{step}\"")).count();
        assert_eq!(lines, 2, "{step}");
    }
    assert!(
        !log.contains(&new) && !log.contains(OLD),
        "the log has a value"
    );
}

#[tokio::test]
async fn a_schedule_begins_by_itself_and_ends_with_its_cancelling() {
    let rig = Rig::new().await;
    let rules = json!({"AutomaticallyAfterDays": 30});
    rig.rotate(json!({"RotationLambdaARN": GENERATE, "RotationRules": rules}))
        .await;
    rig.run_due().await;
    let first = rig.value().await;
    rig.world.pass(29 * 86_400);
    rig.run_due().await;
    assert_eq!(rig.value().await, first);
    rig.world.pass(3 * 86_400);
    rig.run_due().await;
    let second = rig.value().await;
    assert_ne!(second, first);
    // A value that somebody set counts as a rotation.
    rig.world.pass(20 * 86_400);
    rig.good(
        "PutSecretValue",
        json!({"SecretId": "db", "SecretString": "by hand", "ClientRequestToken": "h".repeat(32)}),
    )
    .await;
    rig.world.pass(15 * 86_400);
    rig.run_due().await;
    assert_eq!(rig.value().await, "by hand");
    rig.world.pass(20 * 86_400);
    rig.run_due().await;
    let third = rig.value().await;
    assert_ne!(third, "by hand");
    let canceled = rig
        .ask("CancelRotateSecret", json!({"SecretId": "db"}))
        .await;
    assert_eq!(canceled.status, 200, "{canceled:?}");
    let found = rig.describe().await;
    assert_eq!(found["RotationEnabled"], false);
    assert_eq!(found["NextRotationDate"], Value::Null);
    rig.world.pass(400 * 86_400);
    rig.run_due().await;
    assert_eq!(rig.value().await, third);
    // What rotates it is still known.
    let again = rig
        .rotate(json!({"ClientRequestToken": "r".repeat(32)}))
        .await;
    assert_eq!(again.status, 200, "{again:?}");
    rig.run_due().await;
    assert_ne!(rig.value().await, third);
    assert_eq!(rig.describe().await["RotationEnabled"], true);
}

#[tokio::test]
async fn an_endpoint_gets_signed_events_without_values() {
    let rig = Rig::new().await;
    let function = Arc::new(Function::default());
    let key = register(&rig, &function).await;
    *function.status.lock().unwrap() = 500;
    let asked = rig.rotate(json!({"RotationLambdaARN": ENDPOINT})).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    rig.run_due().await;
    let other = rig
        .rotate(json!({"ClientRequestToken": "o".repeat(32)}))
        .await;
    assert_eq!(other.code(), (400, "InvalidRequestException"));
    assert!(
        other.text.contains("A previous rotation isn't complete"),
        "{other:?}"
    );
    let seen = rig.world.root("GET sys/aws/rotations/db", "").await;
    let run = &seen.data()["run"];
    assert_eq!(run["failure"]["step"], "createSecret", "{seen:?}");
    assert_eq!(run["failure"]["code"], "rotator.failed");
    // Answered well, but nothing was done: that is no success.
    *function.status.lock().unwrap() = 200;
    rig.run_due().await;
    let seen = rig.world.root("GET sys/aws/rotations/db", "").await;
    assert_eq!(seen.data()["run"]["failure"]["code"], "rotation.not_done");
    assert_eq!(rig.value().await, OLD);
    let events = function.events.lock().unwrap();
    assert!(events.len() >= 2);
    for (headers, body) in events.iter() {
        let event: Value = serde_json::from_slice(body).unwrap();
        let found = event.as_object().unwrap();
        assert_eq!(found.len(), 3, "{event}");
        assert_eq!(event["Step"], "createSecret");
        assert_eq!(event["ClientRequestToken"], TOKEN);
        let arn = event["SecretId"].as_str().unwrap();
        assert!(arn.starts_with("arn:aws:secretsmanager:eu-central-1:000000000000:secret:db-"));
        let at = headers["x-strongroom-timestamp"].to_str().unwrap();
        let text = [at.as_bytes(), b".", body].concat();
        let secret = SecretValue::copy_from(key.as_bytes());
        let code = data_encoding::HEXLOWER.encode(&request::mac(&secret, &text));
        assert_eq!(headers["x-strongroom-signature"], format!("v1={code}"));
        for name in [
            "authorization",
            "x-vault-token",
            "cookie",
            "x-amz-security-token",
        ] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }
    let log = rig.audit();
    assert!(
        log.contains("rotator.failed") || log.contains("the function failed"),
        "{log}"
    );
    for canary in [OLD, "canary-of-function", &key] {
        assert!(!log.contains(canary), "the log has a value");
    }
}

#[tokio::test]
async fn an_endpoint_is_not_followed_elsewhere() {
    let rig = Rig::new().await;
    let (function, trap) = (Arc::new(Function::default()), Arc::new(Function::default()));
    register(&rig, &function).await;
    let elsewhere = listen(&trap).await;
    *function.status.lock().unwrap() = 307;
    *function.location.lock().unwrap() = Some(elsewhere);
    rig.rotate(json!({"RotationLambdaARN": ENDPOINT})).await;
    rig.run_due().await;
    let seen = rig.world.root("GET sys/aws/rotations/db", "").await;
    assert_eq!(
        seen.data()["run"]["failure"]["code"],
        "rotator.redirect",
        "{seen:?}"
    );
    assert!(trap.events.lock().unwrap().is_empty());
    for url in ["http://10.0.0.1/", "https://169.254.169.254/", "file:///x"] {
        let body = json!({ "url": url }).to_string();
        let made = rig.world.root("POST sys/aws/rotators/bad", &body).await;
        assert_eq!(made.status, 400, "{url}");
    }
}

#[tokio::test]
async fn a_rotator_is_tried_without_a_new_value() {
    let rig = Rig::new().await;
    let function = Arc::new(Function::default());
    register(&rig, &function).await;
    let asked = rig
        .rotate(json!({
            "RotationLambdaARN": ENDPOINT,
            "RotateImmediately": false,
            "RotationRules": {"AutomaticallyAfterDays": 7},
        }))
        .await;
    assert_eq!(asked.status, 200, "{asked:?}");
    rig.run_due().await;
    assert_eq!(rig.value().await, OLD);
    let steps: Vec<Value> = function
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap()["Step"].clone())
        .collect();
    assert_eq!(steps, ["testSecret"]);
    let found = rig.describe().await;
    assert_eq!(
        found["VersionIdsToStages"].as_object().unwrap().len(),
        1,
        "{found}"
    );
    assert_eq!(found["LastRotatedDate"], Value::Null);
    assert!(found["NextRotationDate"].is_number());
}

#[tokio::test]
async fn what_cannot_be_rotated_is_refused_as_aws_does() {
    let rig = Rig::new().await;
    let bare = rig.rotate(json!({})).await;
    assert_eq!(bare.code(), (400, "InvalidRequestException"));
    assert!(
        bare.text
            .contains("No Lambda rotation function ARN is associated")
    );
    // What is wrong with the rules is said first.
    let rules = json!({"RotationRules": {"AutomaticallyAfterDays": 0}});
    let bare = rig.rotate(rules).await;
    assert_eq!(bare.code(), (400, "InvalidParameterException"));
    let canceled = rig
        .ask("CancelRotateSecret", json!({"SecretId": "db"}))
        .await;
    assert_eq!(canceled.code(), (400, "InvalidRequestException"));
    let absent = rig
        .ask(
            "RotateSecret",
            json!({"SecretId": "none", "RotationLambdaARN": GENERATE}),
        )
        .await;
    assert_eq!(absent.code(), (400, "ResourceNotFoundException"));
    for arn in [
        ENDPOINT,
        "arn:aws:lambda:eu-central-1:000000000001:function:strongroom-generate",
        "x",
    ] {
        let unknown = rig.rotate(json!({"RotationLambdaARN": arn})).await;
        assert_eq!(unknown.code(), (400, "AccessDeniedException"), "{arn}");
    }
    for (rules, code) in [
        (
            json!({"AutomaticallyAfterDays": 0}),
            "InvalidParameterException",
        ),
        (
            json!({"AutomaticallyAfterDays": 1001}),
            "InvalidParameterException",
        ),
        (
            json!({"AutomaticallyAfterDays": 1, "ScheduleExpression": "rate(1 day)"}),
            "InvalidParameterException",
        ),
        (
            json!({"ScheduleExpression": "rate(3 hours)"}),
            "InvalidParameterException",
        ),
        (json!({"ScheduleExpression": ""}), "ValidationException"),
        (
            json!({"ScheduleExpression": "rate(1 day)", "Duration": "25h"}),
            "InvalidParameterException",
        ),
        (json!({"Duration": "h"}), "ValidationException"),
        (json!("x"), "SerializationException"),
    ] {
        let wrong = rig
            .rotate(json!({"RotationLambdaARN": GENERATE, "RotationRules": rules}))
            .await;
        assert_eq!(wrong.code(), (400, code), "{rules}");
    }
    let short = rig
        .rotate(json!({"ClientRequestToken": "short", "RotationLambdaARN": GENERATE}))
        .await;
    assert_eq!(short.code(), (400, "InvalidParameterException"));
    rig.good(
        "PutSecretValue",
        json!({
            "SecretId": "db",
            "SecretString": "waits",
            "VersionStages": ["AWSPENDING"],
            "ClientRequestToken": "p".repeat(32),
        }),
    )
    .await;
    let pending = rig.rotate(json!({"RotationLambdaARN": GENERATE})).await;
    assert_eq!(pending.code(), (400, "InvalidRequestException"));
    rig.good("DeleteSecret", json!({"SecretId": "db"})).await;
    let marked = rig.rotate(json!({"RotationLambdaARN": GENERATE})).await;
    assert_eq!(marked.code(), (400, "InvalidRequestException"));
    assert_eq!(
        rig.world
            .node
            .core()
            .unwrap()
            .state
            .rotations()
            .await
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test]
async fn rotation_needs_the_right_to_write() {
    let rig = Rig::new().await;
    let reader = r#"path "secret/data/*" { capabilities = ["read"] }"#;
    rig.world.policy("reader", reader).await;
    let key = rig.world.key(&["reader"]).await;
    let body = json!({"SecretId": "db", "RotationLambdaARN": GENERATE}).to_string();
    for operation in ["RotateSecret", "CancelRotateSecret"] {
        let denied = rig.world.aws(&key, operation, &body).await;
        assert_eq!(denied.code(), (400, "AccessDeniedException"), "{operation}");
    }
}

#[tokio::test]
async fn rotators_are_registered_listed_and_removed() {
    let rig = Rig::new().await;
    let root = |line: &'static str, body: Value| {
        let world = &rig.world;
        async move { world.root(line, &body.to_string()).await }
    };
    let made = root(
        "POST sys/aws/rotators/hex",
        json!({"generator": {"type": "hex", "length": 40}, "field": "token"}),
    )
    .await;
    assert_eq!(made.status, 200, "{made:?}");
    let listed = rig.world.root("LIST sys/aws/rotators", "").await;
    assert_eq!(listed.data()["keys"], json!(["strongroom-generate", "hex"]));
    rig.good(
        "PutSecretValue",
        json!({
            "SecretId": "db",
            "SecretString": r#"{"user": "me", "token": "old"}"#,
            "ClientRequestToken": "j".repeat(32),
        }),
    )
    .await;
    rig.rotate(
        json!({"RotationLambdaARN": "arn:aws:lambda:eu-central-1:000000000000:function:hex"}),
    )
    .await;
    rig.run_due().await;
    let value: Value = serde_json::from_str(&rig.value().await).unwrap();
    assert_eq!(value["user"], "me");
    assert_eq!(value["token"].as_str().unwrap().len(), 40);
    for (name, body) in [
        ("hex", json!({})),
        ("hex", json!({"url": "https://a/", "generator": {}})),
        ("hex", json!({"generator": {"type": "timestamp"}})),
        ("hex", json!({"url": "https://a/", "timeout": 901})),
        ("hex", json!({"url": "https://a/", "ca": "x"})),
        ("strongroom-generate", json!({"url": "https://a/"})),
        ("a.b", json!({"url": "https://a/"})),
    ] {
        let line = format!("POST sys/aws/rotators/{name}");
        let wrong = rig.world.root(&line, &body.to_string()).await;
        assert_eq!(wrong.status, 400, "{name} {body}");
    }
    assert_eq!(
        rig.world
            .root("DELETE sys/aws/rotators/hex", "")
            .await
            .status,
        204
    );
    assert_eq!(
        rig.world
            .root("DELETE sys/aws/rotators/hex", "")
            .await
            .status,
        404
    );
    // What it rotated waits until it is there again.
    let asked = rig.world.root("POST sys/aws/rotations/db", "{}").await;
    assert_eq!(asked.status, 200, "{asked:?}");
    rig.run_due().await;
    let seen = rig.world.root("GET sys/aws/rotations/db", "").await;
    assert_eq!(
        seen.data()["run"]["failure"]["code"],
        "rotator.unknown",
        "{seen:?}"
    );
    let given_up = rig.world.root("DELETE sys/aws/rotations/db", "").await;
    assert_eq!(given_up.status, 204, "{given_up:?}");
    let value: Value = serde_json::from_str(&rig.value().await).unwrap();
    assert_eq!(value["user"], "me");
}
