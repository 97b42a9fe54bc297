use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use strongroom_testkit::openbao::exchange_within;
use strongroom_testkit::port::Port;

/// Only a hang takes that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// What is promised: after that, every server knows what was acknowledged by any.
pub(crate) const STALENESS: Duration = Duration::from_millis(1001);

/// A home with a key file, which servers and the command line share.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints that has to succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn root_token(&self, store: &str) -> String {
        self.ok(&["operator", "root-token", "--store", store])
    }
}

/// `strongroom serve`, killed on drop.
pub(crate) struct Node {
    child: Child,
    port: Port,
    log: PathBuf,
}

impl Node {
    pub(crate) fn start(home: &Home, args: &[&str]) -> Self {
        let port = Port::claim();
        let name = format!("node-{}", port.number());
        let log = home.path(&format!("{name}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let audit = home.path(&name);
        let child = home
            .command(&["serve"])
            .args(args)
            .args(["--listen", &format!("127.0.0.1:{}", port.number())])
            .arg("--audit-folder")
            .arg(audit)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut node = Self { child, port, log };
        // It listens before it is ready, and answers when it is.
        wait_until(|| {
            let ended = node.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", node.log());
            let is_there = TcpStream::connect(("127.0.0.1", node.port.number())).is_ok();
            is_there && node.ask("GET", "sys/seal-status", "", "").0 == 200
        });
        node
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Status and body of an answer; status 0 where there is none.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        ask_port(self.port.number(), method, path, token, body)
    }

    /// Ends as it does when it is told to, and waits for that.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success());
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    /// An answer that has to be a success, read.
    pub(crate) fn json(&self, method: &str, path: &str, token: &str, body: &str) -> Json {
        let (status, text) = self.ask(method, path, token, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {text}"
        );
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The value of `secret/data/PATH`, or the status.
    pub(crate) fn value(&self, path: &str, token: &str) -> Result<String, u16> {
        let (status, body) = self.ask("GET", &format!("secret/data/{path}"), token, "");
        match status {
            200 => {
                let answer: Json = serde_json::from_str(&body).unwrap();
                Ok(answer["data"]["data"]["v"].as_str().unwrap().to_owned())
            }
            other => Err(other),
        }
    }

    pub(crate) fn put(&self, path: &str, token: &str, value: &str) -> u16 {
        let body = format!("{{\"data\":{{\"v\":\"{value}\"}}}}");
        self.ask("POST", &format!("secret/data/{path}"), token, &body)
            .0
    }
}

/// The same of whatever listens at a port.
pub(crate) fn ask_port(
    port: u16,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> (u16, String) {
    let token = match token {
        "" => String::new(),
        token => format!("X-Vault-Token: {token}\r\n"),
    };
    let request = format!(
        "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange_within(DEADLINE, port, &request);
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

pub(crate) type Json = serde_json::Value;

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

pub(crate) fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "it never is so");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits for the whole time, whoever unparks.
pub(crate) fn wait(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
