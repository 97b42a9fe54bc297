//! Servers of others that a test starts: OpenBao, and moto in AWS's place. Killed on drop.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use strongroom_testkit::openbao::exchange;

use crate::support::Case;

/// A moment between two questions.
pub(crate) fn pause() {
    // Nobody ever sends: this only waits.
    let (_kept, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(Duration::from_millis(20));
}

/// The place where `cargo xtask peers` puts Python packages.
fn venv() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/venv")
}

/// An OpenBao in development mode, in memory, with the root token `root`.
pub(crate) struct OpenBao(strongroom_testkit::openbao::OpenBao);

impl OpenBao {
    pub(crate) fn start() -> Self {
        Self(strongroom_testkit::openbao::OpenBao::start())
    }

    /// One call with the root token; the whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> String {
        self.0.ask(method, path, body)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port())
    }

    /// The variables that lead a case's commands here.
    pub(crate) fn lead(&self, case: &Case) {
        case.env("VAULT_ADDR", format!("http://{}", self.address()));
        case.env("VAULT_TOKEN", "root");
    }
}

/// moto's server.
pub(crate) struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let installed = venv().join("bin/moto_server");
        let program = match installed.is_file() {
            true => installed,
            false => "moto_server".into(),
        };
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto_server is missing: cargo xtask peers");
        let mut moto = Self { process, port: 0 };
        let mut log = BufReader::new(moto.process.stderr.take().unwrap());
        let mut line = String::new();
        while moto.port == 0 {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "moto ended at start");
            let address = line.trim_end().split_once("Running on http://127.0.0.1:");
            if let Some((_, port)) = address {
                moto.port = port.parse().unwrap();
            }
        }
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        moto
    }

    /// One call in AWS's JSON protocol, as another client's.
    pub(crate) fn call(&self, target: &str, body: &str) -> String {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: secretsmanager.{target}\r\n\
             Content-Type: application/x-amz-json-1.1\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=a/20300101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, \
             Signature=0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        exchange(self.port, &request)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The variables that lead a case's commands here.
    pub(crate) fn lead(&self, case: &Case) {
        case.env("AWS_REGION", "us-east-1");
        case.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
        case.env("AWS_SECRET_ACCESS_KEY", "of-the-test");
        case.env("AWS_EC2_METADATA_DISABLED", "true");
        case.env("AWS_ENDPOINT_URL", self.address());
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
