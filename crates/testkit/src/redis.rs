//! A real Redis on a private port. Killed on drop.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::certificates::Certificates;
use crate::port::Port;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The administrator of its users.
pub const ADMIN: &str = "boss";
/// And the password.
pub const ADMIN_PASSWORD: &str = "of-the-boss";

/// How its own client speaks TLS.
const CLIENT_TLS: [&str; 6] = [
    "--tls",
    "--insecure",
    "--cert",
    "certificate",
    "--key",
    "key",
];

/// A server with an ACL file, in which `boss` may do everything and nobody else anything.
pub struct Redis {
    process: Option<Child>,
    port: Port,
    folder: tempfile::TempDir,
    /// Whether it asks clients for certificates, where it speaks TLS.
    tls: Option<&'static str>,
}

impl Redis {
    /// Starts one on a free port of this machine, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::make(None)
    }

    /// Starts one that speaks TLS and nothing else.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_tls(certificates: &Certificates) -> Self {
        Self::make(Some((certificates, "no")))
    }

    /// The same, but it lets in only clients with a certificate: as Redis does by default.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_asking_for_certificates(certificates: &Certificates) -> Self {
        Self::make(Some((certificates, "yes")))
    }

    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    fn make(tls: Option<(&Certificates, &'static str)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Redis's data");
        let users =
            format!("user default off resetpass\nuser {ADMIN} on >{ADMIN_PASSWORD} ~* &* +@all\n");
        let place = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("its files are written");
        };
        place("users.acl", &users);
        if let Some((certificates, _)) = tls {
            place("authority", &certificates.authority);
            place("certificate", &certificates.certificate);
            place("key", &certificates.key);
        }
        let mut server = Self {
            process: None,
            port: Port::claim(),
            folder,
            tls: tls.map(|(_, clients)| clients),
        };
        server.resume();
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
            .open(self.log_path())
            .expect("a log file");
        let process = Command::new("redis-server")
            .args(self.listening())
            .args(["--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "verbose"])
            .arg("--dir")
            .arg(self.folder.path())
            .arg("--aclfile")
            .arg(self.folder.path().join("users.acl"))
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.expect("redis-server runs: cargo xtask peers installs it"));
        let until = Instant::now() + PATIENCE;
        while self.try_ask(&["PING"]).is_err() {
            assert!(Instant::now() < until, "Redis starts: {}", self.log());
            crate::postgres::pause();
        }
    }

    fn listening(&self) -> Vec<String> {
        let port = self.port();
        let options = match self.tls {
            Some(clients) => format!(
                "--port 0 --tls-port {port} --tls-cert-file certificate --tls-key-file key \
                 --tls-ca-cert-file authority --tls-auth-clients {clients}"
            ),
            None => format!("--port {port}"),
        };
        options.split(' ').map(str::to_owned).collect()
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

    /// Its address, for a user.
    #[must_use]
    pub fn url(&self, user: &str) -> String {
        let scheme = self.tls.map_or("redis", |_| "rediss");
        format!("{scheme}://{user}@127.0.0.1:{}", self.port())
    }

    /// Runs a command as the administrator, with its own client; what it prints.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn ask(&self, words: &[&str]) -> String {
        self.try_ask(words).expect("the command is good")
    }

    fn try_ask(&self, words: &[&str]) -> io::Result<String> {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port().to_string(), "-e"])
            .args(["--user", ADMIN, "--no-auth-warning"])
            .args(self.tls.into_iter().flat_map(|_| CLIENT_TLS))
            .args(words)
            .current_dir(self.folder.path())
            .env("REDISCLI_AUTH", ADMIN_PASSWORD)
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(io::Error::other(text(&output.stderr))),
        }
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Its ACL file.
    #[must_use]
    pub fn acl_file(&self) -> String {
        fs::read_to_string(self.folder.path().join("users.acl")).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.crash();
    }
}
