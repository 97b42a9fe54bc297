//! Audit devices that are no files, with real listeners.

use std::io::BufRead;
use std::io::BufReader;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixListener;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;

use super::ROOT;
use super::World;
use crate::node::FirstMount;

/// On however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);
const CANARY: &str = "canary-7d1c";

async fn enable(world: &World, name: &str, kind: &str, options: Value) -> super::Reply {
    let body = json!({"type": kind, "description": "d", "options": options});
    world
        .root(&format!("POST sys/audit/{name}"), &body.to_string())
        .await
}

async fn without_file(world: &World) {
    let gone = world.root("DELETE sys/audit/file", "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
}

async fn write(world: &World) -> super::Reply {
    let body = json!({"data": {"k": CANARY}}).to_string();
    world.root("PUT secret/data/x", &body).await
}

/// Reads lines until one is the answer to the write.
fn read_until_answer(stream: impl std::io::Read) -> Vec<Value> {
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        assert!(!line.contains(CANARY) && !line.contains(ROOT), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        let is_last = line["request"]["path"] == "secret/data/x" && line["type"] == "response";
        lines.push(line);
        if is_last {
            break;
        }
    }
    lines
}

#[tokio::test]
async fn a_socket_gets_every_line_before_the_answer() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let made = enable(&world, "tcp", "socket", json!({"address": address})).await;
    assert_eq!(made.status, 204, "{made:?}");
    let path = world.audit_file.with_file_name("lines.socket");
    let local = UnixListener::bind(&path).unwrap();
    let options = json!({"address": path, "socket_type": "unix", "write_timeout": "5s"});
    let made = enable(&world, "unix", "socket", options).await;
    assert_eq!(made.status, 204, "{made:?}");
    let listed = world.root("GET sys/audit", "").await;
    assert_eq!(listed.data()["tcp/"]["type"], "socket", "{listed:?}");
    assert_eq!(listed.data()["unix/"]["options"]["write_timeout"], "5s");
    without_file(&world).await;
    assert_eq!(write(&world).await.status, 200);
    // The first connection was only to see whether somebody listens.
    drop(listener.accept().unwrap());
    drop(local.accept().unwrap());
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let over_tcp = read_until_answer(stream);
    let (stream, _) = local.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines = read_until_answer(stream);
    assert_eq!(over_tcp.last(), lines.last());
    let last = &lines[lines.len() - 1];
    assert_eq!(last["response"]["status"], 200);
    assert_eq!(last["auth"]["display_name"], "root");
    let hash = world
        .root(
            "POST sys/audit-hash/tcp",
            &json!({"input": CANARY}).to_string(),
        )
        .await;
    let request = &lines[lines.len() - 2];
    assert_eq!(request["request"]["data"]["data"]["k"], hash.data()["hash"]);
}

#[tokio::test]
async fn a_socket_that_comes_back_is_used_again_and_one_that_is_gone_refuses() {
    let world = World::new().await;
    let path = world.audit_file.with_file_name("lines.socket");
    let listener = UnixListener::bind(&path).unwrap();
    let options = json!({"address": path, "socket_type": "unix", "prefix": "@cee: "});
    assert_eq!(enable(&world, "s", "socket", options).await.status, 204);
    drop(listener.accept().unwrap());
    without_file(&world).await;
    // The answer to the last request is what began a connection.
    let (stream, _) = listener.accept().unwrap();
    assert_eq!(write(&world).await.status, 200);
    drop((stream, listener));
    std::fs::remove_file(&path).unwrap();
    let refused = write(&world).await;
    let expected = (503, "the audit log cannot be written".to_owned());
    assert_eq!(refused.error(), expected);
    assert_eq!(world.root("GET secret/data/x", "").await.error(), expected);
    let listener = UnixListener::bind(&path).unwrap();
    let read = world.root("GET secret/data/x", "").await;
    // What was refused did not happen.
    assert_eq!(read.data()["metadata"]["version"], 1, "{read:?}");
    let (stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("@cee: {\"time\":"), "{line}");
}

#[tokio::test]
async fn the_log_of_the_system_gets_datagrams_and_a_full_one_keeps_nobody_waiting() {
    let world = World::new().await;
    let log = UnixDatagram::bind(world.audit_file.with_file_name("log.socket")).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let options = json!({"facility": "LOCAL3", "tag": "vault", "write_timeout": "1s"});
    assert_eq!(enable(&world, "log", "syslog", options).await.status, 204);
    assert_eq!(write(&world).await.status, 200);
    let mut buffer = vec![0; 65536];
    let mut next = || {
        let length = log.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let line = next();
    let head = format!("<158>vault[{}]: {{", std::process::id());
    assert!(line.starts_with(&head) && line.ends_with('}'), "{line}");
    assert!(line.contains("sys/audit/log"), "{line}");
    assert!(next().contains("\"path\":\"secret/data/x\""));
    assert!(next().contains("\"path\":\"secret/data/x\""));
    without_file(&world).await;
    // Nobody reads: the kernel's queue is full after some lines.
    let begun = Instant::now();
    let mut asked = 0;
    while write(&world).await.status == 200 {
        asked += 1;
        assert!(asked < 100_000, "the queue has no end");
    }
    let refused = Instant::now();
    assert_eq!(write(&world).await.status, 503);
    // One time-out, and not one for each of several attempts.
    assert!(refused.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    // Another device is enough, and does not wait for this one.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    while log.recv(&mut [0; 65536]).is_ok_and(|length| length > 0) {
        log.set_nonblocking(true).unwrap();
    }
    let made = enable(&world, "tcp", "socket", json!({"address": address})).await;
    assert_eq!(made.status, 204, "{made:?}");
    for _ in 0..200 {
        assert_eq!(write(&world).await.status, 200);
    }
}

#[tokio::test]
async fn devices_are_there_again_after_a_seal() {
    let world = World::sealed(FirstMount::OwnSpace);
    let token = SecretValue::copy_from(ROOT.as_bytes());
    let keys = world.node.start_dev(Some(token)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let made = enable(&world, "tcp", "socket", json!({"address": address})).await;
    assert_eq!(made.status, 204, "{made:?}");
    drop(listener.accept().unwrap());
    without_file(&world).await;
    assert_eq!(world.root("PUT sys/seal", "").await.status, 204);
    assert_eq!(write(&world).await.status, 503);
    let key = keys.unseal_key.expose_secret_text().unwrap();
    let body = json!({ "key": key }).to_string();
    let open = world.ask(None, "PUT sys/unseal", &body).await;
    assert_eq!(open.body["sealed"], false, "{open:?}");
    let listed = world.root("GET sys/audit", "").await;
    assert_eq!(
        listed.data()["tcp/"]["options"]["address"],
        address.as_str()
    );
    assert_eq!(write(&world).await.status, 200);
    drop(listener.accept().unwrap());
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(read_until_answer(stream).len() >= 3);
    assert_eq!(world.root("DELETE sys/audit/tcp", "").await.status, 204);
    let listed = world.root("GET sys/audit", "").await;
    assert_eq!(*listed.data(), json!({}));
}

#[tokio::test]
async fn options_that_cannot_be_kept_are_refused() {
    let world = World::new().await;
    for (kind, options, why) in [
        ("socket", json!({}), "address is required"),
        (
            "socket",
            json!({"address": "a:1", "socket_type": "x"}),
            "socket_type is one of",
        ),
        (
            "socket",
            json!({"address": "a:1", "write_timeout": "x"}),
            "write_timeout is a time",
        ),
        (
            "socket",
            json!({"address": "a:1", "write_timeout": "31s"}),
            "at most 30s",
        ),
        (
            "socket",
            json!({"address": "a:1", "format": "jsonx"}),
            "unknown format type",
        ),
        (
            "socket",
            json!({"address": "a:1", "log_raw": "true"}),
            "log_raw: values never",
        ),
        (
            "socket",
            json!({"address": "a:1", "log_raw": "maybe"}),
            "log_raw is true or false",
        ),
        (
            "socket",
            json!({"address": "a:1", "hmac_accessor": "false"}),
            "hmac_accessor:",
        ),
        (
            "socket",
            json!({"address": "a:1", "prefix": "\n"}),
            "prefix is at most",
        ),
        (
            "socket",
            json!({"address": "127.0.0.1:1"}),
            "audit backend failed test message",
        ),
        (
            "syslog",
            json!({"facility": "NOPE"}),
            "invalid syslog facility: NOPE",
        ),
        (
            "syslog",
            json!({"tag": "x".repeat(65)}),
            "tag is at most 64",
        ),
        ("syslog", json!({}), "audit backend failed test message"),
        ("nonsense", json!({}), "unknown backend type: \"nonsense\""),
    ] {
        let shown = format!("{kind} {options}");
        let (status, text) = enable(&world, "bad", kind, options).await.error();
        assert_eq!(status, 400, "{shown}: {text}");
        assert!(text.contains(why), "{shown}: {text}");
    }
    let listed = world.root("GET sys/audit", "").await;
    assert_eq!(listed.data().as_object().unwrap().len(), 1, "{listed:?}");
    let options = json!({"address": "127.0.0.1:1", "skip_test": "true"});
    assert_eq!(
        enable(&world, "later", "socket", options.clone())
            .await
            .status,
        204
    );
    let again = enable(&world, "later", "socket", options).await;
    assert_eq!(again.error(), (400, "path already in use".into()));
    // The file takes the lines: nobody waits for the one that is not there.
    assert_eq!(write(&world).await.status, 200);
}
