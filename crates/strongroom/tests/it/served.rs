//! A running server, stopped on drop, and a client that sends exactly the bytes it is told to.

use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use strongroom_testkit::port::Port;

use crate::support::Case;
use crate::support::PROGRAM;

/// `strongroom serve`, in a folder of its own.
pub(crate) struct Served {
    child: Child,
    dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    _port: Port,
}

/// Longest wait for anything; only a hang takes that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

impl Served {
    /// Unsealed, with the root token `root` and KV v2 at `secret/`.
    pub(crate) fn dev() -> Self {
        Self::start(&["--dev", "--dev-root-token-id", "root"])
    }

    /// Not yet initialised, in memory.
    pub(crate) fn empty() -> Self {
        Self::start(&["--storage", "memory"])
    }

    /// Over the store of a case.
    pub(crate) fn of_store(case: &Case) -> Self {
        Self::spawn(
            case.command(PROGRAM).arg("serve"),
            tempfile::tempdir().unwrap(),
        )
    }

    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .arg("serve")
            .args(args)
            .env_clear()
            .env("HOME", dir.path())
            .current_dir(dir.path());
        Self::spawn(&mut command, dir)
    }

    fn spawn(command: &mut Command, dir: tempfile::TempDir) -> Self {
        let port = Port::claim();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = command
            .args(["--listen", &address.to_string()])
            .arg("--audit-folder")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut served = Self {
            child,
            dir,
            address,
            _port: port,
        };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = served.child.try_wait().unwrap() {
                panic!("the server ended ({status}): {}", served.log());
            }
            assert!(start.elapsed() < DEADLINE, "{}", served.log());
            thread::park_timeout(Duration::from_millis(10));
        }
        served
    }

    /// All that it printed.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("log")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Has it open its audit files anew.
    pub(crate) fn hang_up(&self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-HUP", &id]).status().unwrap();
        assert!(told.success());
    }

    /// Waits for something that it does.
    pub(crate) fn wait_until(&self, is_done: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_done() {
            assert!(start.elapsed() < DEADLINE, "{}", self.log());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it takes now, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }

    /// A request with a token; status and body of the answer.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        let token = match token {
            "" => String::new(),
            token => format!("X-Vault-Token: {token}\r\n"),
        };
        let bytes = self.exchange(format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{token}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        (
            status.unwrap_or_else(|| panic!("no answer to {path}: {text}")),
            body.to_owned(),
        )
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) fn exchange(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(bytes.as_ref());
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return answer,
                Ok(count) => answer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answer,
                Err(error) => panic!("the server neither answers nor closes: {error}"),
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many HTTP answers the bytes are.
pub(crate) fn answers_in(bytes: &[u8]) -> usize {
    bytes
        .windows(9)
        .filter(|window| window == b"HTTP/1.1 ")
        .count()
}

/// Python with its packages, as `cargo xtask peers` put it there.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers")
}
