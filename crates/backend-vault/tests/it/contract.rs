//! What every backend has to do, on both versions of the KV engine.

use strongroom_backend_vault::VaultBackend;

use super::support::OpenBao;
use super::support::wait;

fn make(rest: &str) -> (Box<VaultBackend>, OpenBao) {
    let server = OpenBao::start();
    let backend = wait(async {
        server
            .must("POST", "sys/mounts/kv1", r#"{"type":"kv"}"#)
            .await;
        let backend = server.open(rest).await;
        backend.prepare().await.unwrap();
        backend
    });
    (Box::new(backend), server)
}

strongroom_testkit::backend_contract!(kv2, wait, make("vault:secret/some/folder"));
strongroom_testkit::backend_contract!(kv1, wait, make("vault:kv1"));
