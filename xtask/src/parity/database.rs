//! A PostgreSQL of its own for clients that have users made in it, stopped on drop.

use std::fs;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
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

/// Where Debian keeps the programs of version 15.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The user that the package makes. PostgreSQL does not run as root.
const USER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(60);
/// Whose password counts, and who may be made a member of `app` by them.
const PASSWORD: &str = "first-one";
const ROLES: &str = "CREATE ROLE app; \
    CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'first-one' IN ROLE app; \
    CREATE ROLE fixed LOGIN IN ROLE app";
const ACCESS: &str = "\
local all all trust
host all +app 127.0.0.1/32 scram-sha-256
";

/// A cluster below the system's folder for temporary files.
pub(super) struct Database {
    folder: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    process: Option<Child>,
}

impl Database {
    /// With the users that the script wants.
    pub(super) fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let port = listener.and_then(|listener| listener.local_addr());
        let port = port.map_err(|e| failed("no free port", &e))?.port();
        let mut database = Self {
            folder: std::env::temp_dir().join(format!("strongroom-parity-{port}")),
            owner: owner(),
            port,
            process: None,
        };
        fs::create_dir(&database.folder)
            .and_then(|()| database.give(&database.folder))
            .map_err(|e| failed("no folder for PostgreSQL", &e))?;
        shell::run(
            database
                .program("initdb")
                .arg("-D")
                .arg(database.data())
                .args(["-U", USER, "-A", "trust", "-E", "UTF8"])
                .args(["--locale=C.UTF-8", "--no-sync"])
                .stdout(Stdio::null()),
        )?;
        fs::write(database.data().join("pg_hba.conf"), ACCESS)
            .map_err(|e| failed("PostgreSQL cannot be set up", &e))?;
        let log = fs::File::create(database.folder.join("log"));
        let log = log.map_err(|e| failed("no log for PostgreSQL", &e))?;
        let mut command = database.program("postgres");
        command.arg("-D").arg(database.data());
        command.args(["-p", &port.to_string(), "-k"]);
        command.arg(&database.folder);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        let process = command.stdout(Stdio::null()).stderr(log).spawn();
        database.process = Some(process.map_err(|e| failed("PostgreSQL cannot start", &e))?);
        database.fill()?;
        Ok(database)
    }

    /// Makes its users as soon as it answers.
    fn fill(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let mut client = self.program("psql");
            client.args(["-X", "-q", "-U", USER, "-d", "postgres", "-h"]);
            client
                .arg(&self.folder)
                .args(["-p", &self.port.to_string()]);
            let done = client.args(["-c", ROLES]).stderr(Stdio::null()).status();
            match done {
                Ok(status) if status.success() => return Ok(()),
                _ if begun.elapsed() > PATIENCE => {
                    return Err(Failure::new("PostgreSQL does not answer"));
                }
                _ => thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }

    /// What the script reads of it.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("DATABASE", format!("127.0.0.1:{}", self.port)),
            ("DATABASE_PASSWORD", PASSWORD.to_owned()),
        ]
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn give(&self, path: &Path) -> std::io::Result<()> {
        match self.owner {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    fn program(&self, name: &str) -> Command {
        let path = Path::new(PROGRAMS).join(name);
        let path = if path.is_file() { path } else { name.into() };
        let mut command = shell::program_in(&self.folder, path);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let stopped = self
            .program("pg_ctl")
            .args(["stop", "-w", "-m", "immediate", "-D"])
            .arg(self.data())
            .stdout(Stdio::null())
            .status();
        if let Some(mut process) = self.process.take() {
            if !stopped.is_ok_and(|status| status.success()) {
                // It does not listen to anybody.
                let _ = process.kill();
            }
            let _ = process.wait();
        }
        // What cannot be removed is in the system's folder for that.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("{what} (`cargo xtask peers` installs it): {error}"))
}

/// Whom the cluster belongs to, where this runs as root.
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
