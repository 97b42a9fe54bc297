//! A real MariaDB on a private port. Killed on drop.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::port::Port;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// The administrator of its users.
pub const ADMIN: &str = "boss";
/// And the password.
pub const ADMIN_PASSWORD: &str = "of-the-boss";
/// Where folders are kept that a new server begins with: making one takes seconds.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.peers");
const INSTALL: &str = "mariadb-install-db";
/// What makes a server small, and quick rather than safe from power cuts.
const SMALL: [&str; 6] = [
    "--innodb-log-file-size=4M",
    "--innodb-data-file-path=ibdata1:5M:autoextend",
    "--innodb-buffer-pool-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--skip-name-resolve",
];

/// A server with the database `shop`, whose users `boss` may make and change.
pub struct MariaDb {
    process: Option<Child>,
    port: Port,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

impl MariaDb {
    /// Starts one on a free port of this machine, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with options of its own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for MariaDB's data");
        let begin = template().expect("mariadb-install-db runs: cargo xtask peers installs it");
        copy(&begin, &folder.path().join("data")).expect("its data is copied");
        let mut server = Self {
            process: None,
            port: Port::claim(),
            folder,
            options: options.iter().map(|&one| one.to_owned()).collect(),
        };
        server.resume();
        let _ = server.ask(&format!(
            "CREATE DATABASE shop; CREATE TABLE shop.goods (id INT);
             CREATE USER {ADMIN} IDENTIFIED BY '{ADMIN_PASSWORD}';
             GRANT CREATE USER ON *.* TO {ADMIN}; GRANT SELECT ON mysql.* TO {ADMIN};
             GRANT ALL ON shop.* TO {ADMIN} WITH GRANT OPTION"
        ));
        server
    }

    /// Starts it again after it was stopped.
    ///
    /// # Panics
    /// When it does not start.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn resume(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log file");
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let process = Command::new("mariadbd")
            .args(["--no-defaults", "--bind-address=127.0.0.1"])
            .args(as_root())
            .arg(format!("--port={}", self.port()))
            .arg(format!("--datadir={}", path("data")))
            // One that starts takes away the temporary tables of all that share the folder.
            .arg(format!("--tmpdir={}", self.folder.path().display()))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .arg("--general-log")
            .arg(format!("--general-log-file={}", path("general")))
            .arg(format!("--log-bin={}", path("binary")))
            .args(SMALL)
            .args(&self.options)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("mariadbd runs: cargo xtask peers installs it"));
        let until = Instant::now() + PATIENCE;
        while self.try_ask("SELECT 1").is_err() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            assert!(Instant::now() < until, "MariaDB starts: {log:?}");
            crate::postgres::pause();
        }
    }

    /// Ends it as a crash would: without a word to anybody.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Where it listens, on this machine.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its folder: files that its options name may lie there.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address, for a user.
    #[must_use]
    pub fn url(&self, user: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/", self.port())
    }

    /// Runs statements as root, with its own client; the rows it prints.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn ask(&self, sql: &str) -> String {
        self.try_ask(sql).expect("the statement is good")
    }

    fn try_ask(&self, sql: &str) -> io::Result<String> {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "--user=root", "--batch"])
            .args(["--skip-column-names", "--raw"])
            .arg(format!(
                "--socket={}",
                self.folder.path().join("socket").display()
            ))
            .arg(format!("--execute={sql}"))
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(io::Error::other(text(&output.stderr))),
        }
    }

    /// All that it writes of what it is told, beside its tables: the statements as they came, and
    /// its log for replicas.
    #[must_use]
    pub fn logs(&self) -> String {
        let entries = fs::read_dir(self.folder.path()).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_log = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.unwrap_or_default();
            name == "general" || name == "log" || name.starts_with("binary.")
        };
        let text = |path: PathBuf| fs::read(path).unwrap_or_default();
        let all: Vec<u8> = paths.filter(is_log).flat_map(text).collect();
        String::from_utf8_lossy(&all).into_owned()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.crash();
    }
}

/// It runs as root only when it is told to.
fn as_root() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    is_root.then_some("--user=root")
}

/// A folder that a new server begins with; made when it is needed first.
fn template() -> io::Result<PathBuf> {
    let server = Command::new("mariadbd").arg("--version").output()?;
    let server = String::from_utf8_lossy(&server.stdout).into_owned();
    let name: String = server
        .split_whitespace()
        .find(|word| word.contains("MariaDB"))
        .unwrap_or("mariadb")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c))
        .collect();
    let kept = Path::new(KEPT).join(format!("data-{name}"));
    if kept.is_dir() {
        return Ok(kept);
    }
    fs::create_dir_all(KEPT)?;
    let made = tempfile::tempdir_in(KEPT)?;
    let data = made.path().join("data");
    let output = Command::new(INSTALL)
        .args(["--no-defaults", "--auth-root-authentication-method=normal"])
        .args(["--skip-test-db", "--force"])
        .args(as_root())
        .arg(format!("--datadir={}", data.display()))
        .args(SMALL)
        .env("TMPDIR", made.path())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(said));
    }
    // Another test may have been first: then this one is dropped.
    match fs::rename(&data, &kept) {
        Err(error) if !kept.is_dir() => Err(error),
        _ => Ok(kept),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), &target).map(drop)?,
        }
    }
    Ok(())
}
