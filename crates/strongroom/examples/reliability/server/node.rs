//! A server that is killed at the end.

use std::fs;
use std::fs::File;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;
use serde_json::json;
use strongroom_testkit::openbao::program;

use super::client::Answer;
use super::client::Client;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// A server has so long to start.
const START: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Node {
    child: Child,
    pub(crate) address: SocketAddr,
    /// A root token, where there is one.
    pub(crate) token: String,
}

impl Node {
    /// `strongroom serve` with these words, at a port that is free.
    pub(crate) fn start(rig: &Rig, words: &[&str]) -> AnyResult<Self> {
        let address = free_address()?;
        Self::start_at(rig, words, address)
    }

    /// As `start`, at this address.
    pub(crate) fn start_at(rig: &Rig, words: &[&str], address: SocketAddr) -> AnyResult<Self> {
        let mut command = rig.strongroom(&["serve", "--listen", &address.to_string()]);
        Self::of_command(command.args(words), &rig.file("server.log"), address)
    }

    /// In memory, unsealed, with the root token `root`, a KV v2 engine and an audit file.
    pub(crate) fn dev(rig: &Rig) -> AnyResult<Self> {
        let audit = rig.file("audit").display().to_string();
        let words = [
            "--dev",
            "--dev-root-token-id",
            "root",
            "--audit-folder",
            &audit,
        ];
        let mut node = Self::start(rig, &words)?;
        node.token = "root".to_owned();
        Ok(node)
    }

    /// The user's own store, unsealed by its key file.
    pub(crate) fn of_store(rig: &Rig, audit: &Path) -> AnyResult<Self> {
        let token = String::from_utf8(rig.ask(&["operator", "root-token"])?)?;
        let audit = audit.display().to_string();
        let mut node = Self::start(rig, &["--audit-folder", &audit])?;
        node.token = token.trim().to_owned();
        Ok(node)
    }

    /// As `of_store`, with so many file descriptors at most.
    pub(crate) fn with_files(rig: &Rig, files: u64) -> AnyResult<Self> {
        let token = String::from_utf8(rig.ask(&["operator", "root-token"])?)?;
        let address = free_address()?;
        let audit = rig.file("audit").display().to_string();
        let listen = address.to_string();
        let served = rig.strongroom(&["serve", "--listen", &listen, "--audit-folder", &audit]);
        let mut command = rig.program(Path::new("prlimit"));
        command
            .arg(format!("--nofile={files}:{files}"))
            .arg(served.get_program())
            .args(served.get_args());
        let mut node = Self::of_command(&mut command, &rig.file("server.log"), address)?;
        node.token = token.trim().to_owned();
        Ok(node)
    }

    /// OpenBao in memory, with the root token `root`.
    pub(crate) fn openbao(rig: &Rig) -> AnyResult<Self> {
        let address = free_address()?;
        let mut command = Command::new(program());
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg("-dev-root-token-id=root")
            .arg(format!("-dev-listen-address={address}"))
            .env_clear()
            .env("HOME", rig.project());
        let mut node = Self::of_command(&mut command, &rig.file("openbao.log"), address)?;
        node.token = "root".to_owned();
        Ok(node)
    }

    /// A command that serves at this address.
    pub(crate) fn of_command(
        command: &mut Command,
        log: &Path,
        address: SocketAddr,
    ) -> AnyResult<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut node = Self {
            child,
            address,
            token: String::new(),
        };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = node.child.try_wait()? {
                return Err(format!("a server ended: {status}").into());
            }
            if begun.elapsed() > START {
                return Err("a server does not start".into());
            }
            pause(Duration::from_millis(2));
        }
        Ok(node)
    }

    /// Waits until it serves: it listens before it does.
    pub(crate) fn until_ready(&self) -> AnyResult<()> {
        let begun = Instant::now();
        let status = || {
            let answer = self.ask("GET", "sys/health", &Value::Null);
            answer.map_or(0, |answer| answer.status)
        };
        while status() != 200 {
            if begun.elapsed() > START {
                return Err("a server does not serve".into());
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A connection that is kept.
    pub(crate) fn client(&self) -> AnyResult<Client> {
        Client::connect(self.address, &self.token)
    }

    /// One request with the root token on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> AnyResult<Answer> {
        self.client()?.ask(method, path, body)
    }

    /// As `ask`; any answer but a good one is an error.
    pub(crate) fn demand(&self, method: &str, path: &str, body: &Value) -> AnyResult<Value> {
        let answer = self.ask(method, path, body)?;
        if answer.status < 300 {
            return Ok(answer.json());
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Err(format!("{method} {path}: {} {text}", answer.status).into())
    }

    /// Gives unseal shares until it is open; the last answer.
    pub(crate) fn unseal(&self, shares: &[String]) -> AnyResult<Answer> {
        let mut last = self.ask("GET", "sys/seal-status", &Value::Null)?;
        for share in shares {
            last = self.ask("PUT", "sys/unseal", &json!({ "key": share }))?;
        }
        Ok(last)
    }

    /// Memory that it takes, in MiB.
    pub(crate) fn memory_mib(&self) -> AnyResult<u64> {
        Ok(self.memory_kib()? / 1024)
    }

    /// Memory that it takes, in KiB.
    pub(crate) fn memory_kib(&self) -> AnyResult<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(number.ok_or("no VmRSS")?.parse::<u64>()?)
    }

    /// Tells it that its audit file was moved away.
    pub(crate) fn hang_up(&self) -> AnyResult<()> {
        let id = i32::try_from(self.child.id())?;
        let process = Pid::from_raw(id).ok_or("no process")?;
        Ok(kill_process(process, Signal::HUP)?)
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn end(&mut self, signal: Signal) -> AnyResult<()> {
        let id = i32::try_from(self.child.id())?;
        kill_process(Pid::from_raw(id).ok_or("no process")?, signal)?;
        self.child.wait()?;
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> AnyResult<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits; nothing to be done meanwhile.
pub(crate) fn pause(time: Duration) {
    // Threads that have ended leave a wake-up behind, which would cut it short.
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

pub(crate) fn free_address() -> AnyResult<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
