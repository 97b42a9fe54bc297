//! Two databases, one of which takes writes and the other follows it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use super::net::DATABASES;
use super::net::Net;
use super::net::database_host;
use super::net::within;
use crate::rig::AnyResult;
use crate::server::node::pause;

/// Where Debian keeps the programs of version 15.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The user that the package makes. PostgreSQL does not run as root.
const USER: &str = "postgres";
const PORT: &str = "5432";
const PATIENCE: Duration = Duration::from_secs(120);
const ACCESS: &str = "\
local all all trust
host all all 10.81.2.0/24 trust
host replication all 10.81.2.0/24 trust
";
/// Whoever is cut off is noticed, and comes back, in seconds.
const SETTINGS: &[&str] = &[
    "listen_addresses=*",
    "fsync=off",
    "max_connections=120",
    "shared_buffers=32MB",
    "wal_keep_size=512MB",
    "wal_sender_timeout=3s",
    "wal_receiver_timeout=3s",
    "wal_retrieve_retry_interval=500ms",
    "hot_standby=on",
];

/// The pair.
pub(super) struct Cluster {
    folder: PathBuf,
    spaces: Vec<String>,
    processes: Vec<Option<Child>>,
    primary: usize,
}

impl Cluster {
    /// A primary and its synchronous standby.
    pub(super) fn start(net: &Net, folder: &Path) -> AnyResult<Self> {
        fs::create_dir(folder)?;
        give(folder)?;
        let mut cluster = Self {
            folder: folder.to_owned(),
            spaces: (0..DATABASES).map(|number| net.database(number)).collect(),
            processes: (0..DATABASES).map(|_| None).collect(),
            primary: 0,
        };
        for number in 0..DATABASES {
            let place = cluster.place(number);
            fs::create_dir(&place)?;
            give(&place)?;
        }
        let data = cluster.data(0).display().to_string();
        let words = ["-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8"];
        let more = ["--locale=C.UTF-8", "--no-sync"];
        demand(cluster.program(0, "initdb").args(words).args(more))?;
        fs::write(cluster.data(0).join("pg_hba.conf"), ACCESS)?;
        cluster.resume(0)?;
        cluster.rebuild()?;
        Ok(cluster)
    }

    /// The one that takes writes.
    pub(super) fn primary(&self) -> usize {
        self.primary
    }

    pub(super) fn standby(&self) -> usize {
        1 - self.primary
    }

    /// The address that servers are given: they find the one that takes writes.
    pub(super) fn url() -> String {
        let hosts: Vec<_> = (0..DATABASES)
            .map(|number| format!("{}:{PORT}", database_host(number)))
            .collect();
        format!(
            "postgres://{USER}@{}/postgres?sslmode=disable",
            hosts.join(",")
        )
    }

    /// Ends one without a word to anybody, as a crash would.
    pub(super) fn crash(&mut self, number: usize) -> AnyResult<()> {
        self.stop(number, "immediate")
    }

    /// Ends one in order: who is connected is told.
    pub(super) fn end(&mut self, number: usize) -> AnyResult<()> {
        self.stop(number, "fast")
    }

    fn stop(&mut self, number: usize, mode: &str) -> AnyResult<()> {
        if let Some(mut process) = self.processes.get_mut(number).and_then(Option::take) {
            let data = self.data(number).display().to_string();
            let words = ["stop", "-w", "-m", mode, "-D", &data];
            // A primary that waits for its standby cannot end in order.
            let stopped = demand(self.program(number, "pg_ctl").args(words));
            if stopped.is_err() {
                let words = ["stop", "-w", "-m", "immediate", "-D", &data];
                demand(self.program(number, "pg_ctl").args(words))?;
            }
            process.wait()?;
        }
        Ok(())
    }

    /// Starts one again, and waits until it answers.
    pub(super) fn resume(&mut self, number: usize) -> AnyResult<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.place(number).join("log"))?;
        let mut command = self.program(number, "postgres");
        command.arg("-D").arg(self.data(number)).args(["-p", PORT]);
        command.arg("-k").arg(self.place(number));
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        if let Some(process) = self.processes.get_mut(number) {
            *process = Some(child);
        }
        self.wait_for(number, "SELECT 1", "1")
    }

    /// Makes the standby the one that takes writes. Nobody waits for a standby until there is one
    /// again.
    pub(super) fn promote(&mut self) -> AnyResult<()> {
        let standby = self.standby();
        let data = self.data(standby).display().to_string();
        demand(
            self.program(standby, "pg_ctl")
                .args(["promote", "-w", "-D", &data]),
        )?;
        self.primary = standby;
        self.sql(standby, "ALTER SYSTEM RESET synchronous_standby_names")?;
        self.sql(standby, "SELECT pg_reload_conf()")?;
        Ok(())
    }

    /// Makes a standby anew, from a copy of the primary; from then on each commit waits for it.
    pub(super) fn rebuild(&mut self) -> AnyResult<()> {
        let (primary, standby) = (self.primary(), self.standby());
        self.crash(standby)?;
        if self.data(standby).exists() {
            fs::remove_dir_all(self.data(standby))?;
        }
        let data = self.data(standby).display().to_string();
        let host = database_host(primary);
        let words = ["-h", &host, "-p", PORT, "-U", USER, "-R", "-X", "stream"];
        let more = ["-c", "fast", "--no-sync", "-D", &data];
        demand(
            self.program(standby, "pg_basebackup")
                .args(words)
                .args(more),
        )?;
        self.resume(standby)?;
        self.sql(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.sql(primary, "SELECT pg_reload_conf()")?;
        self.wait_until_followed()
    }

    /// Waits until each commit is with both.
    pub(super) fn wait_until_followed(&self) -> AnyResult<()> {
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        self.wait_for(self.primary, follows, "1")
    }

    fn wait_for(&self, number: usize, question: &str, answer: &str) -> AnyResult<()> {
        let until = Instant::now() + PATIENCE;
        while self.sql(number, question).ok().as_deref() != Some(answer) {
            if Instant::now() > until {
                let log = fs::read_to_string(self.place(number).join("log"));
                let log = log.unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(10).collect();
                return Err(format!("a database does not come to {question}: {tail:?}").into());
            }
            pause(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks over its socket in the file system, which no cut cable concerns.
    fn sql(&self, number: usize, sql: &str) -> AnyResult<String> {
        let place = self.place(number).display().to_string();
        let words = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER];
        let more = ["-d", USER, "-p", PORT, "-h", &place, "-c", sql];
        demand(self.program(number, "psql").args(words).args(more))
    }

    fn place(&self, number: usize) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn data(&self, number: usize) -> PathBuf {
        self.place(number).join("data")
    }

    /// A program of PostgreSQL's, as its user, where a database is.
    fn program(&self, number: usize, name: &str) -> Command {
        let space = self.spaces.get(number).map_or("", String::as_str);
        let mut command = within(space, "setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
            .arg(Path::new(PROGRAMS).join(name))
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..DATABASES {
            // It is gone either way.
            drop(self.crash(number));
        }
    }
}

fn demand(command: &mut Command) -> AnyResult<String> {
    let output = command.output()?;
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        return Ok(text.trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}", said.trim()).into())
}

/// Gives a folder to PostgreSQL's user.
fn give(path: &Path) -> AnyResult<()> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.ok_or("no user postgres")?.split(':').skip(2);
    let mut id = || -> AnyResult<u32> { Ok(fields.next().ok_or("no id")?.parse()?) };
    chown(path, Some(id()?), Some(id()?))?;
    Ok(())
}
