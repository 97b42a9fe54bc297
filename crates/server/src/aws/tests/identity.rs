//! Access keys, signatures and sessions.

use super::Sent;
use super::Signer;
use crate::vault::tests::World;

const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

async fn world() -> World {
    let world = World::new().await;
    let reader = r#"path "secret/data/app/*" { capabilities = ["read"] }"#;
    world.policy("reader", reader).await;
    world
}

#[tokio::test]
async fn a_key_says_who_one_is() {
    let world = world().await;
    let key = world.key(&["reader"]).await;
    let who = world.sts(&key, IDENTITY).await;
    assert_eq!(who.status, 200, "{who:?}");
    let arn = format!("arn:aws:iam::000000000000:user/{}", key.id);
    assert_eq!(who.tag("Arn"), arn);
    assert_eq!(who.tag("Account"), "000000000000");
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    assert!(
        log.contains("\"path\":\"aws/sts/GetCallerIdentity\""),
        "{log}"
    );
    assert!(
        log.contains(&format!("\"display_name\":\"aws-{}\"", key.id)),
        "{log}"
    );
    assert!(!log.contains(&key.secret), "the log has a secret");
}

#[tokio::test]
async fn a_signature_that_does_not_fit_is_refused() {
    let world = world().await;
    let key = world.key(&["reader"]).await;
    let sent = Sent {
        service: "secretsmanager",
        target: Some("secretsmanager.ListSecrets"),
        body: b"{}",
    };
    let unsigned = |name: &str| {
        let mut request = world.signed(&key, &sent);
        request.headers_mut().remove(name);
        request
    };
    let reply = world.send(unsigned("authorization")).await;
    assert_eq!(reply.code(), (403, "MissingAuthenticationToken"));
    let reply = world.send(unsigned("x-amz-date")).await;
    assert_eq!(reply.code(), (400, "IncompleteSignature"));
    let other = Signer {
        secret: "x".repeat(40),
        ..key.clone()
    };
    let reply = world.send(world.signed(&other, &sent)).await;
    assert_eq!(reply.code(), (400, "InvalidSignatureException"));
    let nobody = Signer {
        id: "AKIAAAAAAAAAAAAAAAAA".into(),
        ..key.clone()
    };
    let reply = world.send(world.signed(&nobody, &sent)).await;
    assert_eq!(reply.code(), (403, "InvalidClientTokenId"));
    let stranger = Signer {
        token: Some("x".into()),
        ..key.clone()
    };
    let reply = world.send(world.signed(&stranger, &sent)).await;
    assert_eq!(reply.code(), (403, "InvalidClientTokenId"));
    // A request for something else, with the signature of this one.
    let mut moved = world.signed(&key, &sent);
    let target = http::HeaderValue::from_static("secretsmanager.DeleteSecret");
    moved.headers_mut().insert("x-amz-target", target);
    let reply = world.send(moved).await;
    assert_eq!(reply.code(), (400, "InvalidSignatureException"));
    let late = world.signed(&key, &sent);
    world.pass(301);
    let reply = world.send(late).await;
    assert_eq!(reply.code(), (400, "InvalidSignatureException"));
    assert!(reply.text.contains("Signature expired"), "{reply:?}");
    let for_other = Sent {
        service: "sts",
        ..sent
    };
    let reply = world.send(world.signed(&key, &for_other)).await;
    assert_eq!(reply.code(), (400, "InvalidSignatureException"));
    let reply = world.sts(&nobody, IDENTITY).await;
    assert_eq!(
        (reply.status, reply.tag("Code")),
        (403, "InvalidClientTokenId")
    );
    let reply = world.sts(&other, IDENTITY).await;
    assert_eq!(
        (reply.status, reply.tag("Code")),
        (403, "SignatureDoesNotMatch")
    );
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    let refused = log
        .lines()
        .filter(|line| line.contains("MissingAuthenticationToken"));
    assert_eq!(refused.count(), 1, "{log}");
}

#[tokio::test]
async fn keys_are_listed_rotated_and_revoked() {
    let world = world().await;
    let old = world.key(&["reader"]).await;
    let listed = world.root("LIST sys/aws/keys", "").await;
    assert!(listed.text.contains(&old.id) && !listed.text.contains(&old.secret));
    let line = format!("POST sys/aws/keys/{}/rotate", old.id);
    let rotated = world.root(&line, r#"{"overlap":"1h"}"#).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let text = |name: &str| rotated.data()[name].as_str().unwrap().to_owned();
    let new = Signer {
        id: text("access_key_id"),
        secret: text("secret_access_key"),
        ..old.clone()
    };
    assert_eq!(world.root(&line, "{}").await.status, 400, "rotated twice");
    for (seconds, is_old_good) in [(3599, true), (1, false)] {
        world.pass(seconds);
        assert_eq!(world.sts(&new, IDENTITY).await.status, 200);
        let is_good = world.sts(&old, IDENTITY).await.status == 200;
        assert_eq!(is_good, is_old_good);
    }
    let core = world.node.core().unwrap();
    crate::tasks::run_once(&world.node, &core).await.unwrap();
    assert!(core.state.access_key(&old.id).await.unwrap().is_none());
    let line = format!("DELETE sys/aws/keys/{}", new.id);
    assert_eq!(world.root(&line, "").await.status, 204);
    assert_eq!(world.sts(&new, IDENTITY).await.status, 403);
    assert_eq!(world.root(&line, "").await.status, 404);
}

#[tokio::test]
async fn nobody_gives_more_than_he_has() {
    let world = world().await;
    let maker = r#"path "sys/aws/keys" { capabilities = ["update"] }
                   path "sys/aws/keys/+/rotate" { capabilities = ["update"] }"#;
    world.policy("maker", maker).await;
    let token = world.token(&["maker"]).await;
    let ask = |line: &'static str, body: &'static str| {
        let (world, token) = (&world, &token);
        async move { world.ask(Some(token), line, body).await.status }
    };
    assert_eq!(
        ask("POST sys/aws/keys", r#"{"policies":["maker"]}"#).await,
        200
    );
    assert_eq!(
        ask("POST sys/aws/keys", r#"{"policies":["reader"]}"#).await,
        400
    );
    assert_eq!(
        ask("POST sys/aws/keys", r#"{"policies":["root"]}"#).await,
        400
    );
    assert_eq!(
        ask("POST sys/aws/keys", r#"{"policies":["RooT "]}"#).await,
        400
    );
    assert_eq!(ask("POST sys/aws/keys", r#"{"policies":[]}"#).await, 400);
    assert_eq!(ask("LIST sys/aws/keys", "").await, 403);
    let strong = world.key(&["reader"]).await;
    let line = format!("POST sys/aws/keys/{}/rotate", strong.id);
    assert_eq!(world.ask(Some(&token), &line, "{}").await.status, 400);
}

#[tokio::test]
async fn a_session_ends_with_its_key() {
    let world = world().await;
    let key = world.key(&["reader"]).await;
    let form = "Action=AssumeRole&RoleArn=arn:aws:iam::000000000000:role/reader\
                &RoleSessionName=tests&DurationSeconds=900";
    let made = world.sts(&key, form).await;
    assert_eq!(made.status, 200, "{made:?}");
    let session = Signer {
        id: made.tag("AccessKeyId").into(),
        secret: made.tag("SecretAccessKey").into(),
        token: Some(made.tag("SessionToken").into()),
        region: "eu-central-1",
    };
    let who = world.sts(&session, IDENTITY).await;
    let arn = "arn:aws:sts::000000000000:assumed-role/reader/tests";
    assert_eq!((who.status, who.tag("Arn")), (200, arn));
    for token in [None, Some("x".to_owned())] {
        let without = Signer {
            token,
            ..session.clone()
        };
        let reply = world.sts(&without, IDENTITY).await;
        assert_eq!(
            (reply.status, reply.tag("Code")),
            (403, "InvalidClientTokenId")
        );
    }
    world.pass(900);
    assert_eq!(world.sts(&session, IDENTITY).await.status, 403);
    let made = world.sts(&key, form).await;
    let session = Signer {
        id: made.tag("AccessKeyId").into(),
        secret: made.tag("SecretAccessKey").into(),
        token: Some(made.tag("SessionToken").into()),
        region: "eu-central-1",
    };
    assert_eq!(world.sts(&session, IDENTITY).await.status, 200);
    let line = format!("DELETE sys/aws/keys/{}", key.id);
    assert_eq!(world.root(&line, "").await.status, 204);
    assert_eq!(world.sts(&session, IDENTITY).await.status, 403);
    let log = std::fs::read_to_string(&world.audit_file).unwrap();
    for hidden in [
        &session.secret,
        session.token.as_ref().unwrap(),
        &key.secret,
    ] {
        assert!(!log.contains(hidden), "the log has a secret");
    }
}

#[tokio::test]
async fn roles_are_policies_that_one_has() {
    let world = world().await;
    world
        .policy("other", r#"path "x" { capabilities = ["read"] }"#)
        .await;
    let key = world.key(&["reader", "gone"]).await;
    let assume = |arn: &str| format!("Action=AssumeRole&RoleArn={arn}&RoleSessionName=tests");
    for arn in [
        "arn:aws:iam::000000000000:role/other",
        "arn:aws:iam::000000000000:role/gone",
        "arn:aws:iam::000000000000:role/root",
        "arn:aws:iam::000000000001:role/reader",
        "reader",
        "",
    ] {
        let reply = world.sts(&key, &assume(arn)).await;
        assert_eq!(
            (reply.status, reply.tag("Code")),
            (403, "AccessDenied"),
            "{arn}"
        );
    }
    let narrowed = format!(
        "{}&Policy=%7B%7D",
        assume("arn:aws:iam::000000000000:role/reader")
    );
    for form in [
        narrowed.as_str(),
        "Action=AssumeRole",
        "Action=AssumeRole&RoleArn=x&RoleSessionName=%00%00",
        "Action=AssumeRole&RoleArn=x&RoleSessionName=ab&DurationSeconds=899",
        "Action=AssumeRole&RoleArn=x&RoleSessionName=ab&DurationSeconds=43201",
    ] {
        let reply = world.sts(&key, form).await;
        assert_eq!(
            (reply.status, reply.tag("Code")),
            (400, "ValidationError"),
            "{form}"
        );
    }
    let reply = world.sts(&key, "Action=Nothing").await;
    assert_eq!((reply.status, reply.tag("Code")), (400, "InvalidAction"));
}

#[tokio::test]
async fn bodies_have_bounds() {
    let world = world().await;
    let key = world.key(&["reader"]).await;
    let nobody = Signer {
        id: "AKIAAAAAAAAAAAAAAAAA".into(),
        ..key.clone()
    };
    for (signer, size, status) in [
        (&key, 512 * 1024, 400),
        (&key, 512 * 1024 + 1, 413),
        (&nobody, 64 * 1024, 403),
        (&nobody, 64 * 1024 + 1, 413),
    ] {
        let body = " ".repeat(size);
        let reply = world.aws(signer, "Nothing", &body).await;
        assert_eq!(reply.status, status, "{size} {reply:?}");
    }
}

#[tokio::test]
async fn a_sealed_server_says_so() {
    let world = world().await;
    let key = world.key(&["reader"]).await;
    world.node.seal();
    let reply = world.aws(&key, "ListSecrets", "{}").await;
    assert_eq!(reply.code(), (503, "ServiceUnavailable"));
}
