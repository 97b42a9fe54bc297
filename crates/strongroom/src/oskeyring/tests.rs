//! Real keyrings. For the command line, each test starts this test program again, as `driver`.

#[cfg(feature = "secret-service")]
mod desktop;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use clap::Parser;
use tempfile::TempDir;

use strongroom_backends::keyring::KeyringError;
use strongroom_chain::oskeyring::KEYUTILS;
use strongroom_chain::oskeyring::entry;
use strongroom_chain::oskeyring::get;
use strongroom_core::secret::SecretValue;

use super::*;
use crate::app;
use crate::app::App;
use crate::args::Cli;
use crate::env::Environment;

/// Arguments of the command line that a started test program is.
const ARGS: &str = "STRONGROOM_TEST_KEYRING_ARGS";

#[test]
fn entries_are_named_by_store_and_slot() {
    let entry = entry(&[0xab; 16], 7);
    let store = "ab".repeat(16);
    assert_eq!(entry.account, format!("{store}/slot-7"));
    assert!(entry.label.contains(&store));
}

#[test]
fn a_keyring_of_a_later_version_is_named() {
    let error = get("enclave", &[0; 16], 1).unwrap_err();
    assert!(error.to_string().contains("enclave"));
}

#[cfg(not(feature = "secret-service"))]
#[test]
fn a_keyring_that_is_not_built_in_says_so() {
    let service = strongroom_chain::oskeyring::SECRET_SERVICE;
    let error = get(service, &[0; 16], 1).unwrap_err();
    assert!(error.to_string().contains("built without"));
}

/// Where the kernel lets nobody near its keyring, as in many containers, the error says so.
#[test]
fn the_kernels_keyring_opens_a_store() {
    let place = Place::new();
    place.run(&["set", "a/b", "-"], b"value-of-a-b").code(0);
    let keyctl = peer("keyctl").args(["show", "@u"]).output();
    if !started(keyctl, "keyctl").status.success() {
        place
            .run(&["key", "add", "keyring", "keyutils"], b"")
            .code(8)
            .says("the kernel's keyring may not be used here");
        return;
    }
    place
        .run(&["key", "add", "keyring", "keyutils"], b"")
        .code(0)
        .says("added key slot 2 (keyring)")
        .says("gone after a reboot");
    place.lose_key();
    place
        .run(&["get", "a/b"], b"")
        .code(0)
        .shows("value-of-a-b");

    // A later login has a session keyring of its own, with no link to this one.
    let mut login = peer("keyctl");
    login.args(["session", "-"]);
    let command = place.command_after(login, &["get", "a/b"]);
    place.finish(command, b"").code(0).shows("value-of-a-b");

    place.find_key();
    place.run(&["--yes", "key", "remove", "2"], b"").code(0);
    place.lose_key();
    place.run(&["get", "a/b"], b"").code(7);
}

#[test]
fn the_kernels_entry_is_replaced_and_removed() {
    let store_id = store_of_this_run(1);
    let removed = remove(KEYUTILS, &store_id, 1);
    if matches!(removed, Err(KeyringError::KernelDenied)) {
        return;
    }
    removed.unwrap();
    assert!(get(KEYUTILS, &store_id, 1).unwrap().is_none());
    for text in ["one", "another"] {
        let key = SecretValue::from_text(text.to_owned());
        set(KEYUTILS, &store_id, 1, &key).unwrap();
        let found = get(KEYUTILS, &store_id, 1).unwrap();
        assert!(found.is_some_and(|found| found.ct_eq(&key)));
    }
    remove(KEYUTILS, &store_id, 1).unwrap();
    assert!(get(KEYUTILS, &store_id, 1).unwrap().is_none());
}

/// A foreign entry under our name may be of any length.
#[test]
fn a_key_that_is_too_long_is_not_ours() {
    let store_id = store_of_this_run(2);
    for (bytes, is_ours) in [(1024, true), (1025, false)] {
        let key = SecretValue::from_text("k".repeat(bytes));
        match set(KEYUTILS, &store_id, 1, &key) {
            Err(KeyringError::KernelDenied) => return,
            result => result.unwrap(),
        }
        let found = get(KEYUTILS, &store_id, 1);
        assert_eq!(found.is_ok(), is_ours, "{bytes} bytes");
        remove(KEYUTILS, &store_id, 1).unwrap();
    }
}

/// The kernel's keyring is one for all runs of these tests.
fn store_of_this_run(test: u8) -> [u8; 16] {
    let mut id = [test; 16];
    id[..4].copy_from_slice(&std::process::id().to_be_bytes());
    id
}

/// The command line, when a test has started this program for it.
#[test]
fn driver() {
    let environment = Environment::of_process();
    let Some(args) = environment.text(ARGS) else {
        return;
    };
    let limits = crate::hardening::harden();
    let words = std::iter::once("strongroom").chain(args.split('\x1f'));
    let Cli { global, command } = Cli::try_parse_from(words).unwrap();
    let ui = app::ui_of(&global, &environment);
    let result = App::new(global, environment, "test", limits)
        .and_then(|app| crate::dispatch(&app, &command));
    let code = result.unwrap_or_else(|error| {
        ui.report(&error);
        error.kind.exit_code()
    });
    std::process::exit(i32::from(code));
}

/// A home for commands, with nothing of the surrounding environment.
struct Place {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self {
            folder,
            variables: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes the key file away.
    fn lose_key(&self) {
        std::fs::rename(self.key_file(), self.path("lost.key")).unwrap();
    }

    /// Puts it back.
    fn find_key(&self) {
        std::fs::rename(self.path("lost.key"), self.key_file()).unwrap();
    }

    fn key_file(&self) -> PathBuf {
        self.path(".config/strongroom/store.key")
    }

    fn run(&self, args: &[&str], stdin: &[u8]) -> Done {
        let this = Command::new(std::env::current_exe().unwrap());
        self.finish(self.driven(this, args), stdin)
    }

    /// The command line, started by `starter`.
    fn command_after(&self, mut starter: Command, args: &[&str]) -> Command {
        starter.arg(std::env::current_exe().unwrap());
        self.driven(starter, args)
    }

    fn driven(&self, mut command: Command, args: &[&str]) -> Command {
        let (_, module) = module_path!().split_once("::").unwrap();
        let driver = format!("{module}::driver");
        command.args(["--exact", &driver, "--nocapture"]);
        self.settle(&mut command);
        command.env(ARGS, args.join("\x1f"));
        command
    }

    /// Has `command` live here.
    fn settle(&self, command: &mut Command) {
        let home = self.folder.path();
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .envs(self.variables.iter().cloned())
            .current_dir(home);
    }

    fn finish(&self, mut command: Command, stdin: &[u8]) -> Done {
        let given = self.path("stdin");
        std::fs::write(&given, stdin).unwrap();
        command.stdin(std::fs::File::open(given).unwrap());
        Done(started(command.output(), "this test program"))
    }
}

/// What a command left.
struct Done(Output);

impl Done {
    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{}", self.talk());
        self
    }

    /// On stderr.
    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.talk().contains(words), "{words:?} in {}", self.talk());
        self
    }

    /// At the end of stdout, behind what the test program itself says.
    #[track_caller]
    fn shows(self, value: &str) -> Self {
        let is_shown = self.0.stdout.trim_ascii_end().ends_with(value.as_bytes());
        assert!(is_shown, "{}", self.talk());
        self
    }

    fn talk(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

/// Programs of others.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

fn peer(name: &str) -> Command {
    let found = PATH
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    let mut command = Command::new(found.unwrap_or_else(|| missing(name)));
    command.stderr(Stdio::null());
    command
}

fn missing(name: &str) -> ! {
    panic!("{name} is not there: run `cargo xtask peers`")
}

fn started<T>(result: std::io::Result<T>, name: &str) -> T {
    result.unwrap_or_else(|error| panic!("{name} does not start: {error}"))
}
