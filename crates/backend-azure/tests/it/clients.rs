//! The vendor's Python client against the fake: what it finds true, the tests may build on.

use std::path::Path;

use strongroom_core::port::Backend;
use strongroom_core::port::VersionRef;
use strongroom_fakes::wait;
use tokio::process::Command;

use crate::world::World;
use crate::world::read;
use crate::world::value;

#[test]
fn the_python_client_and_we_agree() {
    wait(async {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = root.join(".peers/venv/bin/python");
        assert!(python.exists(), "no Python client: run `cargo xtask peers`");
        let world = World::start().await;
        let backend = world.backend("", "").await;
        let mut ours = value("from strongroom");
        ours.annotation.description = Some("ours".into());
        backend.write("jwt/secret_key", &ours).await.unwrap();
        let output = Command::new(&python)
            .env_clear()
            .arg(root.join("crates/backend-azure/tests/clients/key_vault_client.py"))
            .arg(world.fake.port().to_string())
            .arg(world.folder.path().join("ca.pem"))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{talk}");
        assert_eq!(read(&backend, "theirs").await.unwrap(), "two ключ");
        let details = backend.details("theirs").await.unwrap().unwrap();
        assert_eq!(details.description.as_deref(), Some("by Python"));
        assert_eq!(details.tags["team"], "web");
        let first = VersionRef::Id(details.versions[0].id.clone());
        let first = backend.read("theirs", &first).await.unwrap().unwrap();
        assert_eq!(first.payload.value.expose_secret(), b"one");
        assert_eq!(
            backend.list().await.unwrap(),
            ["jwt/secret_key", "off", "theirs"]
        );
        let removed = backend.details("list-02").await.unwrap().unwrap().removed;
        assert!(removed.is_some());
    });
}
