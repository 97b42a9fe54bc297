//! A vault that is slow, gone, or stops in the middle: every call ends, as unreachable.

use std::time::Duration;

use strongroom_core::port::BackendErrorKind;
use strongroom_fakes::azure::CLIENT_SECRET;
use strongroom_fakes::faults::Broken;
use strongroom_fakes::faults::Fault;
use strongroom_fakes::tls::Authority;
use strongroom_testkit::backend_faults::every_call_fails;

use crate::world::open;

/// How a good answer begins.
const HALF: &str = "{\"value\":\"canary-11";

strongroom_fakes::broken_servers!(check);

async fn check(fault: Fault) {
    let kind = match fault {
        Fault::Page => BackendErrorKind::Malformed,
        _ => BackendErrorKind::Unreachable,
    };
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
    let server = Broken::start_with_tls(fault, HALF, &authority).await;
    let (port, ca) = (server.port(), folder.path());
    let backend = open(port, ca, "", "&timeout=1s", CLIENT_SECRET).await;
    // Far beyond all deadlines together: it only tells an end from none.
    tokio::time::timeout(Duration::from_secs(90), every_call_fails(&backend, kind))
        .await
        .unwrap();
}
