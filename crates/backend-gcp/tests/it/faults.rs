//! A server that is slow, gone, or stops in the middle: every call ends, as unreachable.

use std::sync::Arc;
use std::time::Duration;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::VersionRef;
use strongroom_fakes::circuit::Behind;
use strongroom_fakes::circuit::counts_trouble_only;
use strongroom_fakes::faults::Broken;
use strongroom_fakes::faults::Fault;
use strongroom_fakes::google::Fake;
use strongroom_fakes::proxy::Proxy;
use strongroom_fakes::wait;
use strongroom_testkit::backend_faults::every_call_fails;
use strongroom_testkit::port::Port;

use crate::world::open;
use crate::world::read;
use crate::world::value;

/// How a good answer begins.
const HALF: &str = "{\"payload\":{\"data\":\"Y2FuYXJ5LTEx";

strongroom_fakes::broken_servers!(check);
strongroom_fakes::circuit_contract!(circuit, crate::faults::behind);

/// A backend of a healthy server, behind a line.
async fn behind() -> Behind {
    let fake = Fake::start().await;
    let proxy = Proxy::start(fake.port()).await;
    let backend = open("shop", proxy.port(), "&timeout=1s").await;
    Behind {
        backend: Arc::new(backend),
        proxy,
        keep: Box::new(fake),
    }
}

async fn check(fault: Fault) {
    let kind = match fault {
        Fault::Page => BackendErrorKind::Malformed,
        _ => BackendErrorKind::Unreachable,
    };
    let server = Broken::start(fault, HALF).await;
    let backend = async || open("shop", server.port(), "&timeout=1s").await;
    // Far beyond all deadlines together: it only tells an end from none.
    tokio::time::timeout(Duration::from_secs(90), every_call_fails(backend, kind))
        .await
        .unwrap();
}

#[test]
fn nobody_listens() {
    wait(async {
        let nobody = Port::claim();
        let backend = open("shop", nobody.number(), "").await;
        let error = backend.read("a", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unreachable);
        assert!(error.message.contains("refused"), "{error}");
    });
}

#[test]
fn a_server_in_trouble_is_left_alone() {
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "&timeout=1s").await;
        counts_trouble_only(&backend, |status| fake.fail_next(&[status; 500])).await;
    });
}

#[test]
fn a_busy_server_is_asked_again() {
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "").await;
        fake.fail_next(&[503, 429]);
        backend.write("a/b", &value("x")).await.unwrap();
        fake.fail_next(&[500, 502, 504]);
        assert_eq!(read(&backend, "a/b").await.unwrap(), "x");
        let hasty = open("shop", fake.port(), "&timeout=1s").await;
        fake.fail_next(&[429; 50]);
        let error = hasty.read("a/b", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Throttled);
    });
}
