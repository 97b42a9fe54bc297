//! The vendor's Python client against the fake: what it finds true, the tests may build on.

use std::path::Path;

use strongroom_core::port::Backend;
use strongroom_core::port::VersionRef;
use strongroom_core::version::VersionState;
use strongroom_fakes::google::Fake;
use strongroom_fakes::wait;
use tokio::process::Command;

use crate::world::open;
use crate::world::read;
use crate::world::value;

#[test]
fn the_python_client_and_we_agree() {
    wait(async {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = root.join(".peers/venv/bin/python");
        assert!(python.exists(), "no Python client: run `cargo xtask peers`");
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "").await;
        let ours = value("from strongroom");
        backend.write("jwt/secret_key", &ours).await.unwrap();
        let output = Command::new(&python)
            .env_clear()
            .arg(root.join("crates/backend-gcp/tests/clients/secret_manager_client.py"))
            .arg(fake.port().to_string())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{talk}");
        assert_eq!(read(&backend, "theirs").await.unwrap(), "three");
        let stable = VersionRef::Stage("stable".into());
        let stable = backend.read("theirs", &stable).await.unwrap().unwrap();
        assert_eq!(stable.version.as_deref(), Some("2"));
        let details = backend.details("theirs").await.unwrap().unwrap();
        assert_eq!(details.description.as_deref(), Some("written by Python"));
        assert_eq!(details.tags["team"], "pay");
        let states: Vec<_> = details.versions.iter().map(|v| v.state).collect();
        let live = VersionState::Live;
        assert_eq!(states, [VersionState::Destroyed, live, live]);
        assert_eq!(details.versions[1].stages, ["stable"]);
        let first = VersionRef::Id("1".into());
        assert!(backend.read("theirs", &first).await.unwrap().is_none());
        assert_eq!(backend.list().await.unwrap(), ["jwt/secret_key", "theirs"]);
    });
}

/// Where gcloud is installed, which is no Debian package. It checks the checksum of values.
#[test]
fn gcloud_reads_what_we_wrote() {
    let program = ["/usr/local/bin/gcloud", "/usr/bin/gcloud"].map(Path::new);
    let Some(program) = program.into_iter().find(|path| path.exists()) else {
        return;
    };
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "").await;
        backend
            .write("jwt/key", &value("over gcloud"))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "anything").unwrap();
        let endpoint = format!("http://127.0.0.1:{}/", fake.port());
        let output = Command::new(program)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", folder.path())
            .env("CLOUDSDK_CONFIG", folder.path())
            .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
            .env("CLOUDSDK_CORE_PROJECT", "shop")
            .env("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", &token)
            .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", endpoint)
            .args([
                "secrets",
                "versions",
                "access",
                "latest",
                "--secret=jwt__key",
            ])
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{talk}");
        assert_eq!(output.stdout, b"over gcloud");
    });
}
