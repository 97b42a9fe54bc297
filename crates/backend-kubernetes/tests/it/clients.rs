//! Clients of others against the fake: what they find true, the tests may build on.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use strongroom_core::port::Backend;
use strongroom_core::secret::SecretValue;
use strongroom_fakes::wait;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::world::World;
use crate::world::read;
use crate::world::value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program of others: no settings of ours, killed with the test.
fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command, input: &[u8]) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_python_client_and_we_agree() {
    wait(async {
        let python = root().join(".peers/venv/bin/python");
        assert!(python.exists(), "no Python client: run `cargo xtask peers`");
        let world = World::start().await;
        let backend = world.backend("k8s:").await;
        let ours = value("from strongroom");
        backend.write("ours/jwt/secret_key", &ours).await.unwrap();
        let mut command = command(&python, world.folder.path());
        command
            .arg(root().join("crates/backend-kubernetes/tests/clients/kubernetes_client.py"))
            .arg(world.config());
        assert_eq!(run(command, b"").await, "ok\n");
        assert_eq!(read(&backend, "theirs/a").await.unwrap(), "newer");
        assert_eq!(read(&backend, "theirs/b").await, None);
        let expected = [
            "ice/a",
            "ours/jwt/secret_key",
            "theirs/a",
            "theirs/c",
            "theirs/d",
        ];
        assert_eq!(backend.list().await.unwrap(), expected);
    });
}

/// Where kubectl is installed, which is no Debian package.
#[test]
fn kubectl_applies_our_manifest() {
    let program = ["/usr/local/bin/kubectl", "/usr/bin/kubectl"].map(Path::new);
    let Some(program) = program.into_iter().find(|path| path.exists()) else {
        return;
    };
    wait(async {
        // kubectl sends no token without TLS.
        let world = World::start_with_tls().await;
        let backend = world.backend("k8s:shop").await;
        let text = |text: &str| SecretValue::copy_from(text.as_bytes());
        let values = BTreeMap::from([
            ("jwt/secret_key".to_owned(), text("first")),
            ("tls.crt".to_owned(), SecretValue::copy_from(&[0, 255])),
        ]);
        let manifest = backend.manifest("app", &values).unwrap();
        let kubectl = |arguments: &[&str]| {
            let mut command = command(program, world.folder.path());
            command
                .arg("--kubeconfig")
                .arg(world.config())
                .args(arguments);
            command
        };
        let apply = &["apply", "--validate=false", "-f", "-"];
        let said = run(kubectl(apply), manifest.expose_secret()).await;
        assert_eq!(said, "secret/app created\n");
        assert_eq!(read(&backend, "app/jwt/secret_key").await.unwrap(), "first");
        let changed = [("jwt/secret_key".to_owned(), text("second"))].into();
        backend.apply("app", &changed).await.unwrap();
        let path = "jsonpath={.data.jwt__secret_key} {.data.tls\\.crt}";
        let shown = run(kubectl(&["get", "secret", "app", "-o", path]), b"").await;
        assert_eq!(shown, "c2Vjb25k AP8=");
    });
}
