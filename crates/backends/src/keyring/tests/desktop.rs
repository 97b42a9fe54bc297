//! GNOME's keyring on a bus of its own. The suite runs in this test program, started again: the
//! address of a bus is taken from the environment.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use strongroom_core::port::BackendErrorKind;
use strongroom_testkit::backend_contract;

use super::*;
use crate::keyring::deadline::Limits;
use crate::keyring::deadline::within;

/// Set in a test program that has a keyring.
const STARTED: &str = "STRONGROOM_TEST_KEYRING_STARTED";

/// So often it is asked whether the keyring is there.
const TRIES_MAX: usize = 100;

/// With a keyring, the contract's cases do their work; the others start the program again.
#[test]
fn the_desktops_keyring_fulfils_the_contract() {
    let desktop = Desktop::start();
    let mut command = Command::new(std::env::current_exe().unwrap());
    desktop.settle(&mut command);
    let (_, module) = module_path!().split_once("::").unwrap();
    command
        .arg(format!("{module}::contract::"))
        .env(STARTED, "1");
    command.args(["--test-threads", "1"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("running 0 tests"), "{said}");
}

fn backend() -> (Box<dyn Backend>, ()) {
    if std::env::var_os(STARTED).is_none() {
        // Started by itself, the suite runs over something that is always there: see above.
        return (Box::new(crate::env::EnvBackend::new(Vec::new())), ());
    }
    let backend = keyring(Keyring::Desktop, "strongroom-test");
    // The daemon says that it is ready a moment before the bus knows it.
    for _ in 0..TRIES_MAX {
        match block_on(backend.health()) {
            Err(error) if error.kind == BackendErrorKind::Unreachable => {
                std::thread::park_timeout(Duration::from_millis(100));
            }
            _ => break,
        }
    }
    (backend, ())
}

backend_contract!(contract, block_on, backend());

const AT_ONCE: Limits = Limits {
    answer_seconds: 0,
    unlock_seconds: 0,
};

#[test]
fn who_waits_is_told_what_was_waited_for() {
    let (hold, held) = mpsc::channel::<()>();
    let silent = within::<()>(AT_ONCE, move |_| {
        let _ = held.recv();
        Ok(())
    });
    assert!(matches!(silent, Err(KeyringError::NoAnswer { seconds: 0 })));
    drop(hold);

    let (hold, held) = mpsc::channel::<()>();
    let limits = Limits {
        answer_seconds: 60,
        ..AT_ONCE
    };
    let locked = within::<()>(limits, move |progress| {
        progress.unlocking();
        let _ = held.recv();
        Ok(())
    });
    assert!(matches!(locked, Err(KeyringError::Locked)));
    drop(hold);
}

#[test]
fn a_job_in_time_brings_its_result() {
    let limits = Limits {
        answer_seconds: 60,
        unlock_seconds: 60,
    };
    let found = within(limits, |progress| {
        progress.unlocking();
        Ok(7)
    });
    assert_eq!(found.ok(), Some(7));
}

/// A bus with a keyring, and nobody who would ask a person for a password.
struct Desktop {
    folder: tempfile::TempDir,
    bus: Child,
    address: String,
}

impl Desktop {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700)).unwrap();
        let config = folder.path().join("bus.conf");
        let listen = format!("unix:dir={}", run.display());
        std::fs::write(&config, CONFIG.replace("[LISTEN]", &listen)).unwrap();
        let mut command = peer("dbus-daemon", folder.path());
        command.arg(format!("--config-file={}", config.display()));
        command
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped());
        let bus = command.spawn().unwrap();
        let mut this = Self {
            folder,
            bus,
            address: String::new(),
        };
        let stdout = this.bus.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut this.address).unwrap();
        this.address = this.address.trim().to_owned();
        let mut command = peer("gnome-keyring-daemon", this.folder.path());
        this.settle(&mut command);
        command.args(["--unlock", "--components=secrets"]);
        let mut starter = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        starter
            .stdin
            .take()
            .unwrap()
            .write_all(b"of-the-login-keyring")
            .unwrap();
        // It goes on in the background, and this ends when it is ready.
        assert!(starter.wait().unwrap().success());
        this
    }

    fn settle(&self, command: &mut Command) {
        settle(command, self.folder.path());
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        // The keyring's daemon ends with its bus.
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

fn peer(name: &str, home: &Path) -> Command {
    let mut command = Command::new(name);
    command.stderr(Stdio::null());
    settle(&mut command, home);
    command
}

fn settle(command: &mut Command, home: &Path) {
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .current_dir(home);
}

const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>[LISTEN]</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;
