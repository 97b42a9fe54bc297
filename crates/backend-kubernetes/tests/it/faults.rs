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
use strongroom_fakes::kubernetes::Fake;
use strongroom_fakes::proxy::Proxy;
use strongroom_fakes::wait;
use strongroom_testkit::backend_faults::every_call_fails;

use crate::world::TOKEN;
use crate::world::World;
use crate::world::kubeconfig;
use crate::world::open;
use crate::world::read;
use crate::world::value;

/// How a good answer begins.
const HALF: &str = "{\"data\":{\"a\":\"Y2FuYXJ5LTEx";

strongroom_fakes::broken_servers!(check);
strongroom_fakes::circuit_contract!(circuit, crate::faults::behind);

/// A backend of a healthy server, behind a line.
async fn behind() -> Behind {
    let fake = Fake::start(TOKEN).await;
    let (_, port) = fake.url().rsplit_once(':').unwrap();
    let proxy = Proxy::start(port.parse().unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let url = format!("http://127.0.0.1:{}", proxy.port());
    std::fs::write(&config, kubeconfig(&url, TOKEN)).unwrap();
    let backend = open("k8s:shop?timeout=1s", &config).await.unwrap();
    Behind {
        backend: Arc::new(backend),
        proxy,
        keep: Box::new((fake, folder)),
    }
}

async fn check(fault: Fault) {
    let kind = match fault {
        Fault::Page => BackendErrorKind::Malformed,
        _ => BackendErrorKind::Unreachable,
    };
    let server = Broken::start(fault, HALF).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let url = format!("http://127.0.0.1:{}", server.port());
    std::fs::write(&config, kubeconfig(&url, TOKEN)).unwrap();
    let backend = async || open("k8s:shop?timeout=1s", &config).await.unwrap();
    // Far beyond all deadlines together: it only tells an end from none.
    tokio::time::timeout(Duration::from_secs(90), every_call_fails(backend, kind))
        .await
        .unwrap();
}

#[test]
fn nobody_listens() {
    wait(async {
        let world = World::start().await;
        let config = world.config();
        let backend = world.backend("k8s:shop").await;
        backend.write("a/b", &value("x")).await.unwrap();
        world.fake.stop().await;
        let other = open("k8s:shop", &config).await.unwrap();
        let error = other.read("a/b", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unreachable);
        assert!(error.message.contains("refused"), "{error}");
    });
}

#[test]
fn a_server_in_trouble_is_left_alone() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop?timeout=1s").await;
        counts_trouble_only(&backend, |status| world.fake.fail_next(&[status; 500])).await;
    });
}

#[test]
fn a_busy_server_is_asked_again() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop").await;
        world.fake.fail_next(&[503, 429]);
        backend.write("a/b", &value("x")).await.unwrap();
        world.fake.fail_next(&[500, 502, 504]);
        assert_eq!(read(&backend, "a/b").await.unwrap(), "x");
        let hasty = world.backend("k8s:shop?timeout=1s").await;
        world.fake.fail_next(&[429; 50]);
        let error = hasty.read("a/b", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Throttled);
    });
}

#[test]
fn another_authority_is_not_trusted() {
    wait(async {
        let world = World::start_with_tls().await;
        let backend = world.backend("k8s:shop").await;
        backend.write("a/b", &value("x")).await.unwrap();
        let other = World::start_with_tls().await;
        std::fs::copy(
            other.folder.path().join("ca.pem"),
            world.folder.path().join("ca.pem"),
        )
        .unwrap();
        let backend = world.backend("k8s:shop").await;
        let error = backend.read("a/b", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unreachable);
        assert!(error.message.contains("certificate"), "{error}");
    });
}
