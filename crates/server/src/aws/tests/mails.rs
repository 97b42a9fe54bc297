//! Notices by mail, through a real mail server.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::CertifiedKey;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Timestamp;
use strongroom_engine::rotation::Notice;
use strongroom_testkit::mail::Channel;
use strongroom_testkit::mail::MailServer;

use super::rotation::Rig;
use crate::rotate::mail;
use crate::rotate::notices;
use crate::rotate::notices::Event;

const PASSWORD: &str = "canary-of-the-mail-server";

/// A certificate that is its own authority, and its key.
fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]);
    let CertifiedKey { cert, signing_key } = made.unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

async fn register(rig: &Rig, body: Value) -> (u16, String) {
    let mut whole =
        json!({"from": "Strongroom <strongroom@example.org>", "to": ["ops@example.org"]});
    for (name, value) in body.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let line = "POST sys/rotation/mails/ops";
    let made = rig.world.root(line, &whole.to_string()).await;
    (made.status, made.text)
}

/// A rig whose store has the credentials for the mail server.
async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.good(
        "CreateSecret",
        json!({"Name": "mail/smtp", "ClientRequestToken": "m".repeat(32),
            "SecretString": json!({"username": "rooms", "password": PASSWORD}).to_string()}),
    )
    .await;
    rig
}

async fn tell(rig: &Rig, path: &str, message: &str) {
    let core = rig.world.node.core().unwrap();
    let event = Event {
        what: "rotation.failed",
        path,
        message,
        key: "today",
    };
    notices::tell(&rig.world.node, &core, &event).await.unwrap();
}

async fn deliver(rig: &Rig) {
    let core = rig.world.node.core().unwrap();
    notices::deliver(&rig.world.node, &core).await.unwrap();
}

/// Sends one mail past the queue: why it was not taken.
async fn send(rig: &Rig) -> Result<(), String> {
    let core = rig.world.node.core().unwrap();
    let notice = Notice {
        key: "key".into(),
        to: "ops".into(),
        body: json!({"event": "rotation.failed", "secret": "db"}).to_string(),
        made: Timestamp::from_micros(1_700_000_000_000_000),
        attempts: 1,
        is_told: false,
    };
    let sent = mail::send(&rig.world.node, &core, "ops", &notice).await;
    sent.unwrap()
}

/// The mails among what a server has seen.
fn mails(server: &MailServer) -> Vec<Value> {
    let seen = server.seen().into_iter();
    seen.filter(|one| one["headers"].is_array()).collect()
}

fn headers(mail: &Value) -> BTreeMap<String, String> {
    let all = mail["headers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

#[tokio::test]
async fn a_notice_is_one_mail_through_tls_of_either_kind_and_in_the_clear_here() {
    let (certificate, key) = pair("localhost");
    for (channel, scheme, is_secure) in [
        (Channel::Starttls(&certificate, &key), "smtp", true),
        (Channel::Tls(&certificate, &key), "smtps", true),
        (Channel::Plain, "smtp", false),
    ] {
        let rig = rig().await;
        let credentials = is_secure.then_some(("rooms", PASSWORD));
        let server = MailServer::start(channel, credentials, 0);
        let mut body = json!({"server": format!("{scheme}://localhost:{}", server.port())});
        if is_secure {
            body["ca"] = json!(certificate);
            body["credentials"] = json!("mail/smtp");
        }
        let (status, said) = register(&rig, body).await;
        assert_eq!(status, 200, "{said}");
        assert!(!said.contains(PASSWORD));
        tell(
            &rig,
            "db",
            "setSecret of db: the server is away (rotator.unreachable)",
        )
        .await;
        tell(
            &rig,
            "db",
            "setSecret of db: the server is away (rotator.unreachable)",
        )
        .await;
        deliver(&rig).await;
        rig.world.pass(3600);
        deliver(&rig).await;
        let mails = mails(&server);
        assert_eq!(mails.len(), 1, "{mails:?}");
        let mail = &mails[0];
        assert_eq!(mail["is_encrypted"], is_secure, "{mail}");
        assert_eq!(
            mail["user"].as_str(),
            is_secure.then_some("rooms"),
            "{mail}"
        );
        assert_eq!(mail["from"], "strongroom@example.org");
        assert_eq!(mail["to"], json!(["ops@example.org"]));
        let headers = headers(mail);
        assert_eq!(headers["Subject"], "[strongroom] rotation.failed: db");
        assert_eq!(headers["To"], "ops@example.org");
        assert!(
            headers["Message-ID"].ends_with("@example.org>"),
            "{headers:?}"
        );
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains("the server is away"), "{text}");
        assert!(!mail.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn a_server_that_is_away_gets_the_mail_when_it_is_back() {
    let rig = rig().await;
    let gone = MailServer::start(Channel::Plain, None, 0);
    let port = gone.port();
    drop(gone);
    let (status, _) = register(&rig, json!({"server": format!("smtp://127.0.0.1:{port}")})).await;
    assert_eq!(status, 200);
    tell(&rig, "db", "it failed").await;
    deliver(&rig).await;
    let said = send(&rig).await.unwrap_err();
    assert!(said.contains("cannot be reached"), "{said}");
    let server = MailServer::start(Channel::Plain, None, port);
    deliver(&rig).await;
    assert_eq!(mails(&server).len(), 0, "not before its time again");
    rig.world.pass(11);
    deliver(&rig).await;
    deliver(&rig).await;
    assert_eq!(mails(&server).len(), 1);
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_is_another_or_has_no_tls() {
    let (certificate, key) = pair("localhost");
    let (other, other_key) = pair("localhost");
    let (elsewhere, elsewhere_key) = pair("elsewhere.test");
    let credentials = Some(("rooms", PASSWORD));
    for (channel, scheme, ca) in [
        (Channel::Starttls(&other, &other_key), "smtp", &certificate),
        (Channel::Tls(&other, &other_key), "smtps", &certificate),
        (
            Channel::Tls(&elsewhere, &elsewhere_key),
            "smtps",
            &elsewhere,
        ),
        (Channel::Plain, "smtp", &certificate),
        (Channel::Plain, "smtps", &certificate),
    ] {
        let rig = rig().await;
        let server = MailServer::start(channel, credentials, 0);
        let url = format!("{scheme}://localhost:{}", server.port());
        let body = json!({"server": url, "ca": ca, "credentials": "mail/smtp"});
        assert_eq!(register(&rig, body).await.0, 200);
        let said = send(&rig).await.unwrap_err();
        assert!(said.starts_with("the mail server localhost "), "{said}");
        assert_eq!(server.seen(), Vec::<Value>::new(), "{channel:?}");
    }
    // The right server, and the wrong password.
    let server = MailServer::start(
        Channel::Tls(&certificate, &key),
        Some(("rooms", "other")),
        0,
    );
    let rig = rig().await;
    let url = format!("smtps://localhost:{}", server.port());
    let body = json!({"server": url, "ca": certificate, "credentials": "mail/smtp"});
    assert_eq!(register(&rig, body.clone()).await.0, 200);
    let said = send(&rig).await.unwrap_err();
    assert!(said.contains("refuses it (535)"), "{said}");
    assert!(!said.contains("canary"));
    assert_eq!(mails(&server).len(), 0);
    // No such secret, and one that is something else.
    for name in ["mail/none", "db"] {
        let mut body = body.clone();
        body["credentials"] = json!(name);
        assert_eq!(register(&rig, body).await.0, 200);
        let said = send(&rig).await.unwrap_err();
        assert!(said.contains("`username` and `password`"), "{said}");
    }
}

#[tokio::test]
async fn a_name_of_a_secret_begins_no_header_and_ends_no_mail() {
    let rig = rig().await;
    let server = MailServer::start(Channel::Plain, None, 0);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    assert_eq!(register(&rig, json!({ "server": url })).await.0, 200);
    let path = "db\r\nBcc: evil@example.org\r\n\r\nHello";
    let message = "failed\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<evil@example.org>\r\n";
    tell(&rig, path, message).await;
    tell(&rig, "ключ/é", "ok").await;
    deliver(&rig).await;
    let mut mails = mails(&server);
    assert_eq!(mails.len(), 2, "{mails:?}");
    mails.sort_by_key(|mail| mail["text"].as_str().unwrap().len());
    for mail in &mails {
        assert_eq!(mail["to"], json!(["ops@example.org"]), "{mail}");
        assert_eq!(mail["from"], "strongroom@example.org");
        assert!(!headers(mail).contains_key("Bcc"), "{mail}");
    }
    let text = mails[1]["text"].as_str().unwrap();
    assert!(text.contains("MAIL FROM"), "{text}");
    let subject = &headers(&mails[1])["Subject"];
    assert!(
        subject.contains("Bcc: evil@example.org"),
        "as one line: {subject}"
    );
    assert!(mails[0]["text"].as_str().unwrap().contains("ключ/é"));
}

#[tokio::test]
async fn who_gets_mail_is_an_administrators_business() {
    let rig = rig().await;
    for (body, word) in [
        (json!({"server": "mail.internal"}), "server"),
        (
            json!({"server": "smtp://a:canary@mail.internal"}),
            "credentials",
        ),
        (json!({"server": "smtps://mail.internal", "to": []}), "to"),
        (
            json!({"server": "smtps://mail.internal", "to": ["a\r\nBcc: b@c.d"]}),
            "from",
        ),
        (
            json!({"server": "smtps://mail.internal", "from": "nobody"}),
            "from",
        ),
        (
            json!({"server": "smtps://mail.internal", "ca": "canary"}),
            "ca",
        ),
    ] {
        let (status, said) = register(&rig, body).await;
        assert_eq!(status, 400, "{said}");
        assert!(said.contains(word) && !said.contains("canary"), "{said}");
    }
    let (status, _) = register(&rig, json!({"server": "smtps://mail.internal"})).await;
    assert_eq!(status, 200);
    let listed = rig.world.root("LIST sys/rotation/mails", "").await;
    assert_eq!(listed.data()["keys"], json!(["ops"]));
    let read = rig.world.root("GET sys/rotation/mails/ops", "").await;
    assert_eq!(read.data()["server"], "smtps://mail.internal");
    let gone = rig.world.root("DELETE sys/rotation/mails/ops", "").await;
    assert_eq!(gone.status, 204);
    let read = rig.world.root("GET sys/rotation/mails/ops", "").await;
    assert_eq!(read.status, 404);
    let node = Arc::clone(&rig.world.node);
    node.log_rotation_notices();
    tell(&rig, "db", "it is told to the log").await;
    let core = node.core().unwrap();
    assert_eq!(core.state.due_notices(node.now()).await.unwrap().len(), 1);
    deliver(&rig).await;
    assert!(core.state.due_notices(node.now()).await.unwrap().is_empty());
}
