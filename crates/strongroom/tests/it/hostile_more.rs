//! What an attacker sends, continued: ways round a policy, tokens that outlive what they should,
//! and requests that take memory or connections before anybody is asked who he is.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use crate::hostile::assert_works;
use crate::hostile::token_with;
use crate::served::DEADLINE;
use crate::served::Served;
use crate::served::answers_in;

/// A path with a `/` behind it is not the same to a policy, so it must not be the same to a route.
#[test]
fn a_slash_at_the_end_is_no_way_round_a_policy() {
    let served = Served::dev();
    let token = token_with(
        &served,
        r#"path \"+/config\" { policy = \"deny\" } path \"*\" { policy = \"sudo\" }
           path \"sys/policies/acl/+\" { policy = \"deny\" }
           path \"sys/seal\" { policy = \"deny\" }
           path \"auth/token/roles/+\" { policy = \"deny\" }"#,
    );
    for (method, path) in [
        ("GET", "secret/config"),
        ("POST", "secret/config"),
        ("GET", "sys/policies/acl/default"),
        ("PUT", "sys/policies/acl/mine"),
        ("DELETE", "sys/policies/acl/mine"),
        ("POST", "auth/token/roles/mine"),
        ("PUT", "sys/seal"),
    ] {
        for end in ["", "/", "%2f", "//", "/%2f"] {
            let path = format!("{path}{end}");
            let body = r#"{"policy":"path \"a\" { policy = \"read\" }","max_versions":3}"#;
            let (status, answer) = served.ask(method, &path, &token, body);
            assert!(
                (400..500).contains(&status),
                "{method} {path}: {status} {answer}"
            );
        }
    }
    assert_works(&served);
}

/// A token without `sudo` makes no token that outlives it, by a role neither.
#[test]
fn a_role_does_not_make_orphans_unasked() {
    let served = Served::dev();
    let role = r#"{"allowed_policies":["default"],"orphan":false}"#;
    assert_eq!(
        served.ask("POST", "auth/token/roles/plain", "root", role).0,
        204
    );
    let token = token_with(
        &served,
        r#"path \"auth/token/create/plain\" { capabilities = [\"update\"] }"#,
    );
    let (status, made) = served.ask(
        "POST",
        "auth/token/create/plain",
        &token,
        r#"{"no_parent":true}"#,
    );
    assert!(status >= 400 || made.contains("\"orphan\":false"), "{made}");
}

/// Logins are slow on purpose; many at once must not take the machine's memory.
#[test]
fn many_logins_at_once_take_little_memory() {
    let served = Served::dev();
    assert_eq!(
        served
            .ask(
                "POST",
                "sys/auth/userpass",
                "root",
                r#"{"type":"userpass"}"#
            )
            .0,
        204
    );
    let before = served.memory_kib();
    let mut most = 0;
    let mut streams: Vec<TcpStream> = (0..200)
        .map(|at| {
            let mut stream = TcpStream::connect(served.address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let body = r#"{"password":"wrong"}"#;
            let request = format!(
                "POST /v1/auth/userpass/login/u{at} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in &mut streams {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        most = served.memory_kib().max(most);
        let text = String::from_utf8_lossy(&answer);
        // Wrong, or not its turn in time.
        assert!(
            text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 503"),
            "{text}"
        );
    }
    let grown = most.saturating_sub(before);
    assert!(grown < 512 << 10, "{grown} KiB more");
    assert_works(&served);
}

/// Bodies of people who have not said who they are.
#[test]
fn large_bodies_without_a_token_take_little_memory() {
    let served = Served::dev();
    let before = served.memory_kib();
    let chunk = vec![b' '; 30 << 20];
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream
            .set_write_timeout(Some(std::time::Duration::from_secs(5)))
            .unwrap();
        let head = "POST /v1/secret/data/a HTTP/1.1\r\nHost: a\r\nContent-Length: 31457281\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // It may refuse, or take it slowly.
        let _ = stream.write_all(&chunk);
        held.push(stream);
    }
    let grown = served.memory_kib().saturating_sub(before);
    assert!(
        grown < 256 << 10,
        "{grown} KiB more for {} requests",
        held.len()
    );
    assert_works(&served);
}

/// A connection on which nothing comes, or a part of what HTTP/2 begins with, is closed as well:
/// else as many of them as the server takes keep all others out.
#[test]
fn silent_connections_are_dropped() {
    let served = Served::dev();
    for start in ["", "PRI * HT"] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            let reset = std::io::ErrorKind::ConnectionReset;
            assert_eq!(error.kind(), reset, "after {start:?}: {error}");
        }
    }
}

/// A token of a role lasts for ever only where whoever asks may say so.
#[test]
fn a_role_does_not_make_periodic_tokens_unasked() {
    let served = Served::dev();
    let role = r#"{"allowed_policies":["default"]}"#;
    let (status, _) = served.ask("POST", "auth/token/roles/plain", "root", role);
    assert_eq!(status, 204);
    let rule = r#"path \"auth/token/create/plain\" { capabilities = [\"update\"] }"#;
    let token = token_with(&served, rule);
    let asked = r#"{"period":"1h"}"#;
    let (status, made) = served.ask("POST", "auth/token/create/plain", &token, asked);
    assert_eq!(status, 400, "{made}");
}

/// Behind an answer to a request that was refused for its form, nothing is read any more.
#[test]
fn two_hosts_end_the_conversation() {
    let served = Served::dev();
    let inner = "GET /v1/sys/mounts HTTP/1.1\r\nHost: a\r\nX-Vault-Token: root\r\n\r\n";
    let outer = "GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let answer = served.exchange(format!("{outer}{inner}"));
    let text = String::from_utf8_lossy(&answer);
    assert_eq!(answers_in(&answer), 1, "{text}");
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
}
