//! Servers that are slow, broken, busy or lead elsewhere: every call ends, and nothing piles up.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use strongroom_backend_vault::VaultBackend;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::NewValue;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_fakes::circuit::Behind;
use strongroom_fakes::proxy::Proxy;
use tokio::time::timeout;

use super::support::Action;
use super::support::OpenBao;
use super::support::PATIENCE;
use super::support::Seen;
use super::support::Trap;
use super::support::lookup;
use super::support::open;
use super::support::read;
use super::support::shown;
use super::support::wait;

async fn behind(trap: &Trap, rest: &str) -> VaultBackend {
    let url = trap.url();
    let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "root")];
    open(rest, &variables).await.unwrap()
}

/// What is mounted.
const MOUNT: &str = r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#;

fn is_secret(seen: &Seen) -> bool {
    seen.line.contains("/v1/secret/data/")
}

async fn fails(action: fn() -> Action, limit: &str, words: &str) {
    let trap = Trap::start(move |_, _| action()).await;
    let backend = behind(&trap, &format!("vault:secret?timeout={limit}")).await;
    let call = timeout(PATIENCE, read(&backend, "a"));
    let error = call.await.expect("the call does not end").unwrap_err();
    assert!(error.message.contains(words), "{error}");
    let call = timeout(PATIENCE, backend.health());
    assert!(call.await.expect("the call does not end").is_err());
}

strongroom_fakes::circuit_contract!(circuit, crate::faults::behind_a_line);

/// A backend of a server that has no secret, behind a line.
async fn behind_a_line() -> Behind {
    let trap = Trap::start(|seen, _| match is_secret(seen) {
        true => Action::Reply(404, "", r#"{"errors":[]}"#.into()),
        false => Action::Reply(200, "", MOUNT.into()),
    })
    .await;
    let proxy = Proxy::start(trap.port).await;
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "root")];
    let backend = open("vault:secret?timeout=1s", &variables).await.unwrap();
    Behind {
        backend: Arc::new(backend),
        proxy,
        keep: Box::new(trap),
    }
}

#[test]
fn every_call_ends() {
    wait(async {
        fails(|| Action::Silence, "500ms", "did not answer within 500ms").await;
        fails(|| Action::Reset, "60s", "broke off").await;
        fails(|| Action::Half, "60s", "broke off").await;
        let trouble = || Action::Reply(500, "", r#"{"errors":["internal error"]}"#.into());
        fails(trouble, "60s", "500: internal error").await;
    });
}

#[test]
fn an_answer_that_is_too_long_is_not_read() {
    wait(async {
        let trap = Trap::start(|_, _| Action::Endless).await;
        let backend = behind(&trap, "vault:secret?timeout=60s").await;
        let error = read(&backend, "a").await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Malformed);
        assert!(error.message.contains("over 32 MiB"), "{error}");
    });
}

#[test]
fn a_bulk_call_to_a_dead_server_ends_and_does_not_pile_up() {
    wait(async {
        let trap = Trap::start(|seen, _| {
            if is_secret(seen) {
                return Action::Silence;
            }
            Action::Reply(200, "", MOUNT.into())
        })
        .await;
        let backend = behind(&trap, "vault:secret?timeout=2s").await;
        let lookups: Vec<_> = (0..300)
            .map(|number| lookup("A", &format!("s{number}")))
            .collect();
        let call = timeout(PATIENCE, backend.get_many(&lookups));
        let found = call.await.expect("the call does not end");
        assert_eq!(found.len(), 300);
        let last = found
            .into_iter()
            .map(Result::unwrap_err)
            .next_back()
            .unwrap();
        assert_eq!(last.kind, BackendErrorKind::Unreachable);
        assert!(last.message.contains("was not asked"), "{last}");
        assert!(last.message.contains("did not answer"), "{last}");
        // Sixteen at once, and one more for each of the four failures that open nothing yet.
        let asked = trap.seen().iter().filter(|seen| is_secret(seen)).count();
        assert!(asked <= 20, "{asked}");
        let before = trap.seen().len();
        read(&backend, "a").await.unwrap_err();
        assert_eq!(trap.seen().len(), before);
    });
}

#[test]
fn at_most_sixteen_are_in_flight() {
    wait(async {
        let server = OpenBao::start_here().await;
        let port = server.port();
        let trap = Trap::start(move |_, _| Action::Forward(port)).await;
        let backend = behind(&trap, "vault:secret").await;
        let lookups: Vec<_> = (0..100)
            .map(|number| lookup("A", &format!("s{number}")))
            .collect();
        let mut left = backend.get_many(&lookups).await;
        left.retain(|found| !matches!(found, Ok(None)));
        assert_eq!(left.len(), 0);
        assert_eq!(trap.count("GET /v1/secret/data/"), 100);
        let most = trap.most_open();
        assert!((2..=16).contains(&most), "{most}");
    });
}

#[test]
fn reads_are_tried_again() {
    let server = OpenBao::start();
    wait(async {
        server
            .must("POST", "secret/data/a", r#"{"data":{"value":"v"}}"#)
            .await;
        let port = server.port();
        for fault in ["reset", "half", "503", "500", "412", "429"] {
            let failed = AtomicUsize::new(0);
            let trap = Trap::start(move |seen, _| {
                if !is_secret(seen) || failed.fetch_add(1, Ordering::SeqCst) > 1 {
                    return Action::Forward(port);
                }
                let errors = || r#"{"errors":["later"]}"#.to_owned();
                match fault {
                    "reset" => Action::Reset,
                    "half" => Action::Half,
                    "429" => Action::Reply(429, "Retry-After: 0\r\n", errors()),
                    status => Action::Reply(status.parse().unwrap(), "", errors()),
                }
            })
            .await;
            let backend = behind(&trap, "vault:secret?timeout=60s").await;
            let found = read(&backend, "a").await.unwrap();
            assert_eq!(found.as_deref(), Some("v"), "{fault}");
            assert_eq!(trap.count("GET /v1/secret/data/a"), 3, "{fault}");
        }
    });
}

#[test]
fn a_server_that_wants_us_much_later_is_not_waited_for() {
    wait(async {
        let busy = || Action::Reply(429, "Retry-After: 3600\r\n", r#"{"errors":[]}"#.into());
        let trap = Trap::start(move |_, _| busy()).await;
        let backend = behind(&trap, "vault:secret").await;
        let error = read(&backend, "a").await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Throttled);
        assert_eq!(trap.count("GET /v1/sys/internal"), 1);
    });
}

/// A write whose answer was lost may have happened: it is not sent twice, and that is said.
#[test]
fn writes_are_not_repeated_blindly() {
    let server = OpenBao::start();
    wait(async {
        let port = server.port();
        for (fault, times) in [
            ("half", 1),
            ("reset", 1),
            ("500", 1),
            ("503", 3),
            ("429", 3),
        ] {
            let trap = Trap::start(move |seen, _| {
                if !seen.line.starts_with("POST /v1/secret") {
                    return Action::Forward(port);
                }
                match fault {
                    "half" => Action::Half,
                    "reset" => Action::Reset,
                    status => Action::Reply(status.parse().unwrap(), "", "{}".into()),
                }
            })
            .await;
            let backend = behind(&trap, "vault:secret?timeout=60s").await;
            let value = NewValue::new(Payload::detect(SecretValue::copy_from(b"canary-9d")));
            let error = backend.write("a", &value).await.unwrap_err();
            assert_eq!(trap.count("POST /v1/secret/data/a"), times, "{fault}");
            let is_unsure = error.message.contains("may have been written");
            assert_eq!(is_unsure, times == 1, "{error}");
            assert!(!shown(&error).contains("canary"));
        }
    });
}

#[test]
fn a_redirect_is_followed_on_the_same_server_only() {
    let server = OpenBao::start();
    wait(async {
        server
            .must("POST", "secret/data/b", r#"{"data":{"value":"v"}}"#)
            .await;
        let elsewhere = Trap::start(|_, _| Action::Reply(200, "", "{}".into())).await;
        let port = server.port();
        let to: &'static str = Box::leak(
            format!(
                "Location: http://127.0.0.1:{}/v1/secret/data/b\r\n",
                elsewhere.port
            )
            .into_boxed_str(),
        );
        let trap = Trap::start(move |seen, _| match &*seen.line {
            "GET /v1/secret/data/a" => Action::Reply(307, to, String::new()),
            "GET /v1/secret/data/same" => {
                Action::Reply(307, "Location: /v1/secret/data/b\r\n", String::new())
            }
            "GET /v1/secret/data/loop" => {
                Action::Reply(307, "Location: /v1/secret/data/loop\r\n", String::new())
            }
            _ => Action::Forward(port),
        })
        .await;
        let backend = behind(&trap, "vault:secret").await;
        assert_eq!(read(&backend, "same").await.unwrap().as_deref(), Some("v"));
        for address in ["a", "loop"] {
            let error = read(&backend, address).await.unwrap_err();
            assert_eq!(error.kind, BackendErrorKind::Misconfigured, "{error}");
        }
        assert_eq!(elsewhere.seen().len(), 0);
    });
}

#[test]
fn requests_carry_what_the_api_needs_and_nothing_else() {
    let server = OpenBao::start();
    wait(async {
        let port = server.port();
        let trap = Trap::start(move |_, _| Action::Forward(port)).await;
        let url = trap.url();
        let variables = [
            ("VAULT_ADDR", &*url),
            ("VAULT_TOKEN", "root"),
            ("HTTP_PROXY", "http://127.0.0.1:9"),
            ("AWS_SECRET_ACCESS_KEY", "canary-3e"),
        ];
        let backend = open("vault:secret", &variables).await.unwrap();
        let value = NewValue::new(Payload::detect(SecretValue::copy_from(b"v")));
        backend.write("a", &value).await.unwrap();
        assert!(read(&backend, "a").await.unwrap().is_some());
        let known = [
            "accept",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "x-vault-request",
            "x-vault-token",
        ];
        for seen in trap.seen() {
            assert_eq!(seen.header("x-vault-request"), Some("true"));
            assert_eq!(seen.header("x-vault-token"), Some("root"));
            for line in &seen.headers {
                let (name, value) = line.split_once(':').unwrap();
                assert!(known.contains(&&*name.to_ascii_lowercase()), "{line}");
                assert!(!value.contains("canary"));
            }
        }
        let other = behind(&trap, "vault:secret?namespace=team/a").await;
        read(&other, "a").await.unwrap_err();
        let last = trap.seen().pop().unwrap();
        assert_eq!(last.header("x-vault-namespace"), Some("team/a"));
    });
}
