//! Servers that are slow, silent, cut off or in trouble: every call ends, and says what it met.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Removal;
use strongroom_core::port::VersionRef;
use strongroom_fakes::circuit::Behind;
use strongroom_fakes::proxy::Proxy;
use strongroom_testkit::port::Port;

use crate::support::Reply;
use crate::support::Trap;
use crate::support::connect;
use crate::support::connect_parameters;
use crate::support::open_at;
use crate::support::open_parameters;
use crate::support::refusal;
use crate::support::said;
use crate::support::text;
use crate::support::wait;

const GOOD: &str = r#"{"Name":"n","SecretString":"value","VersionStages":["AWSCURRENT"]}"#;

fn good() -> Reply {
    Reply::Json(200, GOOD.into())
}

/// Every call of the port, each of a backend that has met no failure before, and what it failed
/// with.
fn failures(endpoint: SocketAddr, more: &str) -> Vec<BackendError> {
    let open = async || connect("/", endpoint, more).await;
    wait(async {
        let mut all = vec![
            open().await.read("n", &VersionRef::Current).await.err(),
            open().await.write("n", &text("canary-value")).await.err(),
            open().await.page("", None, 10).await.err(),
            open().await.details("n").await.err(),
            open().await.remove("n", Removal::Recoverable).await.err(),
            open().await.restore("n").await.err(),
            open().await.rotate("n").await.err(),
            open().await.list().await.err(),
            open().await.health().await.err(),
        ];
        let many = open().await.read_many(&["n".into(), "m".into()]).await;
        all.extend(many.into_iter().map(Result::err));
        all.into_iter().map(Option::unwrap).collect()
    })
}

strongroom_fakes::circuit_contract!(circuit, crate::faults::behind);
strongroom_fakes::circuit_contract!(circuit_of_parameters, crate::faults::parameters_behind);

/// A backend of a server that has no secret, behind a line.
async fn behind() -> Behind {
    let trap = Trap::new(|_, _| refusal(400, "ResourceNotFoundException"));
    let proxy = Proxy::start(trap.address.port()).await;
    let backend = connect("/", on_this_machine(&proxy), "&timeout=1s").await;
    Behind {
        backend: Arc::new(backend),
        proxy,
        keep: Box::new(trap),
    }
}

async fn parameters_behind() -> Behind {
    let none = r#"{"Parameters":[],"InvalidParameters":["/a/b"]}"#;
    let trap = Trap::new(|_, _| Reply::Json(200, none.into()));
    let proxy = Proxy::start(trap.address.port()).await;
    let backend = connect_parameters("/", on_this_machine(&proxy), "&timeout=1s").await;
    Behind {
        backend: Arc::new(backend),
        proxy,
        keep: Box::new(trap),
    }
}

fn on_this_machine(proxy: &Proxy) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, proxy.port()).into()
}

#[test]
fn a_server_in_trouble_is_left_alone_and_an_answer_is_no_trouble() {
    for (status, requests) in [(503, 5 * 3), (400, 8), (403, 8)] {
        let trap = Trap::new(move |_, _| refusal(status, "SomeException"));
        let backend = open_at("/", trap.address, "&timeout=20s");
        for _ in 0..8 {
            wait(backend.read("n", &VersionRef::Current)).unwrap_err();
        }
        assert_eq!(trap.seen().len(), requests, "{status}");
    }
}

#[test]
fn a_silent_server_ends_every_call_in_time() {
    for reply in [Reply::Silence, Reply::Stall] {
        let of_trap = reply.clone();
        let trap = Trap::new(move |_, _| of_trap.clone());
        for error in failures(trap.address, "&timeout=200ms") {
            assert_eq!(
                error.kind,
                BackendErrorKind::Unreachable,
                "{reply:?} {error}"
            );
            let text = said(&error);
            assert!(text.contains(&trap.address.to_string()), "{text}");
        }
    }
}

#[test]
fn a_connection_that_is_cut_is_unreachable() {
    for reply in [Reply::Reset, Reply::Half] {
        let of_trap = reply.clone();
        let trap = Trap::new(move |_, _| of_trap.clone());
        let backend = open_at("/", trap.address, "&timeout=10s");
        let error = wait(backend.read("n", &VersionRef::Current)).unwrap_err();
        assert_eq!(
            error.kind,
            BackendErrorKind::Unreachable,
            "{reply:?} {error}"
        );
        assert!(said(&error).contains(&trap.address.to_string()));
    }
}

#[test]
fn a_server_that_recovers_is_asked_again() {
    for first in [
        Reply::Json(500, "{}".into()),
        Reply::Json(503, "no JSON".into()),
        Reply::Json(429, "{}".into()),
        refusal(400, "ThrottlingException"),
        Reply::Reset,
    ] {
        let of_trap = first.clone();
        let trap = Trap::new(move |number, _| match number {
            0 => of_trap.clone(),
            _ => good(),
        });
        let backend = open_at("/", trap.address, "");
        let found = wait(backend.read("n", &VersionRef::Current));
        assert!(found.unwrap().is_some(), "{first:?}");
        assert_eq!(trap.seen().len(), 2, "{first:?}");
    }
}

#[test]
fn a_server_that_stays_in_trouble_is_named() {
    let read = |reply: Reply| {
        let trap = Trap::new(move |_, _| reply.clone());
        let backend = open_at("/", trap.address, "&timeout=20s");
        let error = wait(backend.read("n", &VersionRef::Current)).unwrap_err();
        (error.kind, said(&error))
    };
    let (kind, text) = read(refusal(400, "ThrottlingException"));
    assert_eq!(kind, BackendErrorKind::Throttled, "{text}");
    let (kind, text) = read(Reply::Json(429, "{}".into()));
    assert_eq!(kind, BackendErrorKind::Throttled, "{text}");
    let (kind, text) = read(refusal(500, "InternalServiceError"));
    assert_eq!(kind, BackendErrorKind::Unreachable, "{text}");
    assert!(text.contains("is in trouble: it answers 500"), "{text}");
    let (kind, text) = read(Reply::Json(200, "<html>canary</html>".into()));
    assert_eq!(kind, BackendErrorKind::Malformed, "{text}");
    let (kind, text) = read(Reply::Json(404, "not here".into()));
    assert_eq!(kind, BackendErrorKind::Malformed, "{text}");
    let (kind, text) = read(Reply::Json(200, "{}".into()));
    assert_eq!(kind, BackendErrorKind::Malformed, "{text}");
}

#[test]
fn a_refused_port_is_named() {
    let nobody = Port::claim();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, nobody.number()));
    let backend = open_at("/", address, "&timeout=20s");
    let error = wait(backend.read("n", &VersionRef::Current)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unreachable);
    let text = said(&error);
    assert!(
        text.contains(&format!("{address} cannot be reached: it refuses")),
        "{text}"
    );
}

#[test]
fn a_host_without_a_listener_that_answers_ends_in_time() {
    // Accepts connections into its backlog and never serves them.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = open_at("/", listener.local_addr().unwrap(), "&timeout=300ms");
    let error = wait(backend.read("n", &VersionRef::Current)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unreachable);
    assert!(said(&error).contains("no answer in 300ms"), "{error}");
}

#[test]
fn denials_and_lost_sessions_are_not_absence() {
    for (status, code, part) in [
        (
            400,
            "AccessDeniedException",
            "secretsmanager:GetSecretValue on `n`",
        ),
        (403, "InvalidClientTokenId", "aws sts get-caller-identity"),
        (
            400,
            "UnrecognizedClientException",
            "aws sts get-caller-identity",
        ),
        (400, "ExpiredTokenException", "aws sso login"),
        (400, "DecryptionFailure", "kms:Decrypt"),
    ] {
        let trap = Trap::new(move |_, _| refusal(status, code));
        let backend = open_at("/", trap.address, "");
        let error = wait(backend.read("n", &VersionRef::Current)).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied, "{code}");
        let text = said(&error);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn parameters_meet_the_same_troubles() {
    let silent = Trap::new(|_, _| Reply::Silence);
    let backend = open_parameters("/", silent.address, "&timeout=200ms");
    let names: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    for found in wait(backend.read_many(&names)) {
        assert_eq!(found.unwrap_err().kind, BackendErrorKind::Unreachable);
    }
    let denied = Trap::new(|_, _| refusal(400, "AccessDeniedException"));
    let backend = open_parameters("/", denied.address, "");
    let error = wait(backend.read("p", &VersionRef::Current)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied);
    assert!(said(&error).contains("ssm:GetParameters on `p`"));
    let unspoken = Trap::new(|_, _| Reply::Json(200, "{}".into()));
    let backend = open_parameters("/", unspoken.address, "");
    let error = wait(backend.read("p", &VersionRef::Current)).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Malformed);
}

#[test]
fn a_request_carries_only_what_it_needs() {
    let trap = Trap::new(|_, _| good());
    let backend = open_at("/", trap.address, "");
    wait(backend.read("n", &VersionRef::Current)).unwrap();
    let seen = trap.seen();
    let head = seen[0].head.to_lowercase();
    assert!(head.contains("authorization: aws4-hmac-sha256"));
    assert!(
        !head.contains("canary"),
        "the secret key signs and is not sent"
    );
    let names = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    for (name, _) in names {
        let is_known = [
            "accept",
            "accept-encoding",
            "amz-sdk-invocation-id",
            "amz-sdk-request",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "x-amz-content-sha256",
            "x-amz-date",
            "x-amz-target",
            "x-amz-user-agent",
        ];
        assert!(is_known.contains(&name), "{name}");
    }
}
