//! A Redis and a MariaDB for each of the two servers that are compared, stopped on drop.

use std::fs;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::failure::Failure;
use crate::shell;

const PATIENCE: Duration = Duration::from_secs(60);
/// The users of the Redis; the script knows the password.
const ACL: &str = "\
user default off resetpass
user boss on >of-the-boss ~* &* +@all
user fixed on >first ~* +@read
";
/// And those of the MariaDB.
const USERS: &str = "\
CREATE DATABASE shop; CREATE TABLE shop.goods (id INT);
CREATE USER boss IDENTIFIED BY 'of-the-boss';
GRANT CREATE USER ON *.* TO boss; GRANT SELECT ON mysql.* TO boss;
GRANT ALL ON shop.* TO boss WITH GRANT OPTION;
CREATE USER fixed IDENTIFIED BY 'first'";
/// It runs as root only when it is told to, and has nothing to keep from a power cut.
const SMALL: [&str; 5] = [
    "--user=root",
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-name-resolve",
];

/// Both, in a folder below the system's for temporary files.
pub(super) struct Databases {
    folder: PathBuf,
    cache: u16,
    shop: u16,
    running: Vec<Child>,
}

impl Databases {
    /// With the users that the script wants.
    pub(super) fn start() -> Result<Self, Failure> {
        let [cache, shop] = free_ports()?;
        let mut databases = Self {
            folder: std::env::temp_dir().join(format!("strongroom-parity-{shop}")),
            cache,
            shop,
            running: Vec::new(),
        };
        fs::create_dir(&databases.folder)
            .and_then(|()| fs::write(databases.folder.join("users.acl"), ACL))
            .map_err(|e| failed("no folder for the databases", &e))?;
        databases.start_redis()?;
        databases.start_mariadb()?;
        Ok(databases)
    }

    /// What the script reads of them.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("CACHE", self.cache.to_string()),
            ("SHOP", self.shop.to_string()),
        ]
    }

    fn start_redis(&mut self) -> Result<(), Failure> {
        let mut command = shell::program_in(&self.folder, "redis-server");
        command.args(["--port", &self.cache.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--aclfile", "users.acl"]);
        self.run("Redis", &mut command)?;
        until("Redis", || {
            let mut client = shell::program_in(&self.folder, "redis-cli");
            client.args(["-p", &self.cache.to_string(), "-e", "--no-auth-warning"]);
            client.args(["--user", "boss", "--pass", "of-the-boss", "PING"]);
            client
        })
    }

    fn start_mariadb(&mut self) -> Result<(), Failure> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut install = shell::program_in(&self.folder, "mariadb-install-db");
        install
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--force"])
            .arg(format!("--datadir={}", path("data")))
            .args(SMALL);
        let made = shell::capture(install.env("TMPDIR", &self.folder))?;
        if !made.status.success() {
            return Err(Failure::new(format!(
                "no data for MariaDB: {}",
                made.stderr
            )));
        }
        let mut command = shell::program_in(&self.folder, "mariadbd");
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1"])
            .arg(format!("--port={}", self.shop))
            .arg(format!("--datadir={}", path("data")))
            // One that starts takes away the temporary tables of all that share the folder.
            .arg(format!("--tmpdir={}", self.folder.display()))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .args(SMALL);
        self.run("MariaDB", &mut command)?;
        until("MariaDB", || {
            let mut client = shell::program_in(&self.folder, "mariadb");
            client.args(["--no-defaults", "--user=root", "--socket=socket"]);
            client.args(["--execute", USERS]);
            client
        })
    }

    fn run(&mut self, name: &str, command: &mut Command) -> Result<(), Failure> {
        let log = fs::File::create(self.folder.join(format!("{name}.log")));
        let log = log.map_err(|e| failed("no log for a database", &e))?;
        let process = command.stdout(Stdio::null()).stderr(log).spawn();
        let process = process.map_err(|e| failed(&format!("{name} cannot start"), &e))?;
        self.running.push(process);
        Ok(())
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        for process in &mut self.running {
            // Nothing is to be done where it is gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
        // What cannot be removed is in the system's folder for that.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs a client until it is answered.
fn until(name: &str, client: impl Fn() -> Command) -> Result<(), Failure> {
    let begun = Instant::now();
    while !shell::works(&mut client()) {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(format!("{name} does not answer")));
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

/// Both at once: they are not the same.
fn free_ports() -> Result<[u16; 2], Failure> {
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let found = bind().and_then(|one| {
        let other = bind()?;
        Ok([port(&one)?, port(&other)?])
    });
    found.map_err(|e| failed("no free port", &e))
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("{what} (`cargo xtask peers` installs it): {error}"))
}
