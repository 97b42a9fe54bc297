//! A real PostgreSQL on a private port. Killed on drop.

use std::fs;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::port::Port;

/// Where Debian keeps the programs of version 15.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The user that the package makes. PostgreSQL does not run as root.
const USER: &str = "postgres";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// A moment between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// Everybody is trusted, but who comes as `app`, or as a member of it, needs a password.
const ACCESS: &str = "\
local all all trust
host all +app 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
";

/// A cluster of its own, with the user `postgres` and the database `postgres`.
pub struct Postgres {
    process: Option<Child>,
    port: Port,
    folder: tempfile::TempDir,
    owner: Option<(u32, u32)>,
    settings: Vec<String>,
}

/// An open session; what it holds is let go of on drop.
pub struct Session {
    process: Child,
    _input: ChildStdin,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Printed when a session's SQL has been run.
const DONE: &str = "-- done";

impl Postgres {
    /// Starts one on a free port of this machine, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with settings such as `max_connections=20`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn start_with(settings: &[&str]) -> Self {
        let mut server = Self::make(settings).expect("a folder for PostgreSQL's data");
        server.resume();
        server
    }

    /// A cluster that is not running yet.
    fn make(settings: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Self {
            process: None,
            port: Port::claim(),
            owner: owner(),
            folder,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
        };
        server.give(server.folder.path())?;
        let made = server
            .program("initdb")
            .arg("-D")
            .arg(server.data())
            .args(["-U", USER, "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync"])
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&made.stderr).into_owned(),
            ));
        }
        fs::write(server.data().join("pg_hba.conf"), ACCESS)?;
        Ok(server)
    }

    /// A standby that has all that this one acknowledges: from now on each commit waits for it.
    ///
    /// # Panics
    /// When it cannot be made, or does not follow.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn synchronous_standby(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder for PostgreSQL's data");
        let mut standby = Self {
            process: None,
            port: Port::claim(),
            owner: self.owner,
            folder,
            settings: self.settings.clone(),
        };
        standby
            .give(standby.folder.path())
            .expect("the folder is PostgreSQL's");
        let copied = standby
            .program("pg_basebackup")
            .args(["-h", "127.0.0.1", "-U", USER, "-R", "-X", "stream"])
            .args(["-c", "fast", "-p", &self.port().to_string(), "-D"])
            .arg(standby.data())
            .output()
            .expect("pg_basebackup runs");
        let said = String::from_utf8_lossy(&copied.stderr);
        assert!(copied.status.success(), "{said}");
        standby.resume();
        let _ = self.sql(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
        );
        let _ = self.sql("postgres", "SELECT pg_reload_conf()");
        let until = Instant::now() + PATIENCE;
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        while self.sql("postgres", follows) != "1" {
            assert!(
                Instant::now() < until,
                "the standby follows: {}",
                standby.log()
            );
            pause();
        }
        standby
    }

    /// Makes a standby the one that takes writes.
    ///
    /// # Panics
    /// When it does not.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn promote(&self) {
        let promoted = self
            .program("pg_ctl")
            .args(["promote", "-w", "-D"])
            .arg(self.data())
            .output()
            .expect("pg_ctl runs");
        assert!(promoted.status.success(), "{}", self.log());
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
            .open(self.log_path())
            .expect("a log file");
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data());
        command.args(["-p", &self.port.number().to_string()]);
        command.arg("-k").arg(self.folder.path());
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "max_connections=200",
        ] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let process = command.stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(process.expect("postgres runs: cargo xtask peers installs it"));
        let until = Instant::now() + PATIENCE;
        while self.try_sql("postgres", "SELECT 1").is_none() {
            assert!(Instant::now() < until, "PostgreSQL starts: {}", self.log());
            pause();
        }
    }

    /// Ends it as a crash would: without a word to anybody.
    ///
    /// # Panics
    /// When it cannot be stopped.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn crash(&mut self) {
        let stopped = self
            .program("pg_ctl")
            .args(["stop", "-w", "-m", "immediate", "-D"])
            .arg(self.data())
            .output();
        stopped.expect("pg_ctl runs");
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

    /// The address of one of its databases, for its first user.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port())
    }

    /// Runs SQL with its own client; what it prints, without decoration.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).expect("the SQL is good")
    }

    /// Runs SQL in a session that stays open, e.g. one that holds a lock.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn session(&self, database: &str, sql: &str) -> Session {
        let mut process = self
            .client(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let mut input = process.stdin.take().expect("its input");
        writeln!(input, "{sql};\n\\echo {DONE}").expect("it reads");
        let output = process.stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines();
        let is_done = lines.any(|line| line.is_ok_and(|line| line == DONE));
        let session = Session {
            process,
            _input: input,
        };
        assert!(is_done, "the SQL is good");
        session
    }

    fn client(&self, database: &str) -> Command {
        let mut client = self.program("psql");
        client
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", USER, "-d", database, "-p", &self.port().to_string()])
            .arg("-h")
            .arg(self.folder.path());
        client
    }

    fn try_sql(&self, database: &str, sql: &str) -> Option<String> {
        let output = self.client(database).args(["-c", sql]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        output.status.success().then(|| text.trim_end().to_owned())
    }

    /// Makes a database.
    pub fn create_database(&self, name: &str) {
        let _ = self.sql("postgres", &format!("CREATE DATABASE {name}"));
    }

    /// Has it take TLS only, with this certificate and key. Restarts it.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn require_tls(&mut self, certificate: &str, key: &str) {
        self.crash();
        let place = |name: &str, text: &str| {
            let path = self.data().join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            self.give(&path)
        };
        place("server.crt", certificate).expect("the certificate is written");
        place("server.key", key).expect("the key is written");
        let access = ACCESS.replace("host ", "hostssl ");
        fs::write(self.data().join("pg_hba.conf"), access).expect("the rules are written");
        self.settings.push("ssl=on".to_owned());
        self.resume();
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        match self.owner {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    fn program(&self, name: &str) -> Command {
        let path = Path::new(PROGRAMS).join(name);
        let mut command = match path.is_file() {
            true => Command::new(path),
            false => Command::new(name),
        };
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.crash();
        }
    }
}

/// Whom the cluster belongs to, where the tests run as root.
fn owner() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2).map(str::parse);
    match (is_root, fields.next()?, fields.next()?) {
        (true, Ok(user), Ok(group)) => Some((user, group)),
        _ => None,
    }
}

pub(crate) fn pause() {
    // Nobody ever sends: this only waits.
    let (_kept, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(PAUSE);
}
