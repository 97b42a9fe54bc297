//! A mail server: Python's `aiosmtpd`. Killed on drop.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

/// How the channel to it is protected.
#[derive(Clone, Copy, Debug)]
pub enum Channel<'a> {
    /// Not at all.
    Plain,
    /// STARTTLS, without which it takes nothing, with a certificate and its key (PEM).
    Starttls(&'a str, &'a str),
    /// TLS from the start.
    Tls(&'a str, &'a str),
}

/// A mail server on a port of this machine.
pub struct MailServer {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl MailServer {
    /// Starts one, which wants a name and a password where they are given; at any port for 0.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn start(channel: Channel<'_>, credentials: Option<(&str, &str)>, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let (mode, pair) = match channel {
            Channel::Plain => ("plain", None),
            Channel::Starttls(certificate, key) => ("starttls", Some((certificate, key))),
            Channel::Tls(certificate, key) => ("tls", Some((certificate, key))),
        };
        if let Some((certificate, key)) = pair {
            fs::write(at("certificate"), certificate).expect("the certificate is written");
            fs::write(at("key"), key).expect("its key is written");
        }
        let settings = json!({
            "mode": mode,
            "certificate": at("certificate"),
            "key": at("key"),
            "file": at("mails"),
            "credentials": credentials.map(|(name, password)| [name, password]),
            "port": port,
        });
        let mut process = Command::new(python())
            .args(["-c", include_str!("mail.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts: cargo xtask peers installs what it needs");
        let mut input = process.stdin.take().expect("its input");
        writeln!(input, "{settings}").expect("it reads");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("it says its port");
        Self {
            process,
            port: line.trim().parse().expect("it listens"),
            folder,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The mails that it took, and the logins that were tried.
    #[must_use]
    pub fn seen(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("mails")).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str);
        lines.filter_map(Result::ok).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/venv/bin/python")
}
