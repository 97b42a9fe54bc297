//! A vault that is slow, gone, or stops in the middle: every call ends, as unreachable.

use std::sync::Arc;
use std::time::Duration;

use strongroom_core::port::BackendErrorKind;
use strongroom_fakes::azure::CLIENT_SECRET;
use strongroom_fakes::circuit::Behind;
use strongroom_fakes::circuit::counts_trouble_only;
use strongroom_fakes::faults::Broken;
use strongroom_fakes::faults::Fault;
use strongroom_fakes::proxy::Proxy;
use strongroom_fakes::tls::Authority;
use strongroom_fakes::wait;
use strongroom_testkit::backend_faults::every_call_fails;

use crate::world::World;
use crate::world::open;

/// How a good answer begins.
const HALF: &str = "{\"value\":\"canary-11";

strongroom_fakes::broken_servers!(check);
strongroom_fakes::circuit_contract!(circuit, crate::faults::behind);

/// A backend of a healthy server, behind a line.
async fn behind() -> Behind {
    let world = World::start().await;
    let proxy = Proxy::start(world.fake.port()).await;
    let (port, ca) = (proxy.port(), world.folder.path());
    let backend = open(port, ca, "", "&timeout=1s", CLIENT_SECRET).await;
    Behind {
        backend: Arc::new(backend),
        proxy,
        keep: Box::new(world),
    }
}

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
    let backend = async || open(port, ca, "", "&timeout=1s", CLIENT_SECRET).await;
    // Far beyond all deadlines together: it only tells an end from none.
    tokio::time::timeout(Duration::from_secs(90), every_call_fails(backend, kind))
        .await
        .unwrap();
}

#[test]
fn a_server_in_trouble_is_left_alone() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("", "&timeout=1s").await;
        counts_trouble_only(&backend, |status| {
            world.fake.fail_next(&[(status, "Trouble"); 500]);
        })
        .await;
    });
}
