//! `run --watch` through the real binary: what changes while the command runs.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::peers::OpenBao;
use crate::peers::pause;
use crate::support::Case;
use crate::support::PROGRAM;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits as long as the program lives that started the shell: a test that fails leaves none.
const WAIT: &str = "while kill -0 $PPID 2> /dev/null; do sleep 0.05; done";

/// A `run` in the background.
pub(crate) struct Running<'c> {
    case: &'c Case,
    process: Child,
    out: PathBuf,
    err: PathBuf,
}

impl<'c> Running<'c> {
    /// `run OPTIONS -- sh -c SCRIPT`, which then waits.
    pub(crate) fn start(case: &'c Case, options: &str, script: &str) -> Self {
        let (out, err) = (case.path("tmp/out"), case.path("tmp/err"));
        let script = format!("{script}; {WAIT}");
        let process = case
            .command(PROGRAM)
            .arg("run")
            .args(options.split_whitespace())
            .args(["--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Self {
            case,
            process,
            out,
            err,
        }
    }

    fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    fn err(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            let ended = self.process.try_wait().unwrap();
            let is_late = Instant::now() > until;
            assert!(
                !is_late && ended.is_none(),
                "{what}: ended {ended:?}\nout: {}\nerr: {}",
                self.out(),
                self.err()
            );
            pause();
        }
    }

    /// Until the command has written this many lines to the file `seen`.
    #[track_caller]
    pub(crate) fn until_seen(&mut self, lines: usize) {
        self.until("seen", |it| it.seen().matches('\n').count() >= lines);
    }

    #[track_caller]
    pub(crate) fn until_said(&mut self, text: &str) {
        self.until(text, |it| it.err().contains(text));
    }

    pub(crate) fn seen(&self) -> String {
        let seen = std::fs::read(self.case.in_project("seen"));
        String::from_utf8(seen.unwrap_or_default()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Its exit code. What it printed is searched for values with the case.
    #[track_caller]
    pub(crate) fn code(&mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(Instant::now() < until, "it does not end: {}", self.err());
            pause();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn shop() -> Case {
    let case = Case::with_manifest(
        "[secrets.API_KEY]\n[secrets.KEY_FILE]\nrequired = false\n\
         target = { type = \"file\", name = \"key.pem\", env = \"KEY_FILE_PATH\" }\n",
    );
    case.leave_open(&case.in_project("seen"));
    case
}

/// Writes its value to `seen`, and ends in good order.
const SERVER: &str = "trap 'echo in good order; exit 0' TERM; echo \"$API_KEY\" >> seen; cat seen";

#[test]
fn a_changed_value_restarts_the_command() {
    let case = shop();
    let (old, new) = (case.canary("old"), case.canary("new"));
    case.set("API_KEY", &old);
    let mut run = Running::start(&case, "--watch --watch-interval 1s", SERVER);
    run.until_seen(1);
    case.set("API_KEY", &new);
    run.until_said("changed: API_KEY; restarting the command");
    run.until_seen(2);
    assert_eq!(run.seen(), format!("{old}\n{new}\n"));
    run.until("both are printed", |it| {
        it.out().matches("redacted").count() == 3
    });
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 0);
    // The second one printed the old value, too: it is masked all the same.
    let masked = "[redacted:API_KEY]\n";
    let good = "in good order\n";
    assert_eq!(run.out(), format!("{masked}{good}{masked}{masked}{good}"));
    assert_eq!(run.err().matches("changed: ").count(), 1);
}

#[test]
fn a_data_key_that_is_made_meanwhile_is_followed() {
    let case = shop();
    let (old, new) = (case.canary("old"), case.canary("new"));
    case.set("API_KEY", &old);
    let mut run = Running::start(&case, "--watch --watch-interval 1s", SERVER);
    run.until_seen(1);
    case.sr("key rotate").ok();
    case.set("API_KEY", &new);
    run.until_said("changed: API_KEY; restarting the command");
    run.until_seen(2);
    assert_eq!(run.seen(), format!("{old}\n{new}\n"));
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 0);
    assert!(!run.err().contains("while watching"), "{}", run.err());
}

#[test]
fn a_command_can_be_told_to_read_its_files_again() {
    let case = shop();
    let values = [
        case.canary("one"),
        case.canary("two"),
        case.canary("new-env"),
    ];
    case.set("KEY_FILE", &values[0]);
    case.set("API_KEY", case.canary("env"));
    let script = "read_it() { cat \"$KEY_FILE_PATH\" >> seen; echo >> seen; cat seen; }; \
                  trap read_it HUP; read_it";
    let mut run = Running::start(&case, "--watch=signal --watch-interval 1s", script);
    run.until_seen(1);
    case.set("KEY_FILE", &values[1]);
    run.until_seen(2);
    assert_eq!(run.seen(), format!("{}\n{}\n", values[0], values[1]));
    run.until("both are printed", |it| {
        it.out().matches("redacted:KEY_FILE").count() == 3
    });
    run.until_said("changed: KEY_FILE; the command was sent SIGHUP");
    assert!(!run.err().contains("only a restart"), "{}", run.err());
    case.set("API_KEY", &values[2]);
    run.until_said("API_KEY: not in a file, so that only a restart brings the new value");
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 128 + 15);
}

#[test]
fn a_command_that_does_not_end_is_killed_after_a_while() {
    let case = shop();
    case.set("API_KEY", case.canary("old"));
    let script = "trap '' TERM; echo \"$API_KEY\" >> seen";
    let options = "--watch --watch-interval 1s --watch-grace 1s";
    let mut run = Running::start(&case, options, script);
    run.until_seen(1);
    case.set("API_KEY", case.canary("new"));
    run.until_seen(2);
    run.signal(Signal::KILL);
}

#[test]
fn who_ends_the_command_meanwhile_has_ended_it() {
    let case = shop();
    case.set("API_KEY", case.canary("old"));
    let script = "trap 'trap \"exit 9\" TERM; echo asked' TERM; echo \"$API_KEY\" >> seen";
    let mut run = Running::start(&case, "--watch --watch-interval 1s", script);
    run.until_seen(1);
    case.set("API_KEY", case.canary("new"));
    run.until("it was asked", |it| it.out().contains("asked"));
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 9);
    assert_eq!(run.seen().lines().count(), 1);
}

#[test]
fn a_command_that_ends_ends_the_watching() {
    let case = shop();
    case.set("API_KEY", case.canary("old"));
    let start = Instant::now();
    let mut run = Running::start(&case, "--watch --watch-interval 1h", "exit 7");
    assert_eq!(run.code(), 7);
    assert!(start.elapsed() < PATIENCE);
    let mut run = Running::start(&case, "--watch", "kill -KILL $$");
    assert_eq!(run.code(), 128 + 9);
}

#[test]
fn a_value_that_does_not_fit_restarts_nothing() {
    let case = shop();
    case.manifest("[secrets.API_KEY]\nformat = \"^(old|good)\"\n");
    case.set("API_KEY", case.canary("old"));
    let mut run = Running::start(&case, "--watch --watch-interval 1s", SERVER);
    run.until_seen(1);
    case.set("API_KEY", case.canary("bad"));
    run.until_said("warning: while watching: API_KEY ");
    // Nor does one that is gone.
    case.sr("rm API_KEY").ok();
    let good = case.canary("good");
    case.set("API_KEY", &good);
    run.until_seen(2);
    assert!(run.seen().ends_with(&format!("{good}\n")));
    assert_eq!(
        run.err().matches("while watching").count(),
        1,
        "{}",
        run.err()
    );
    run.until_said("watching again");
}

#[test]
fn a_changed_file_is_noticed() {
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"dotenv:.env\"]\n[secrets.API_KEY]\n",
    );
    case.leave_open(&case.in_project("seen"));
    case.write_open(".env", format!("API_KEY={}\n", case.canary("old")));
    let mut run = Running::start(&case, "--watch --watch-interval 1s", SERVER);
    run.until_seen(1);
    case.write_open(".env", format!("API_KEY={}\n", case.canary("new")));
    run.until_seen(2);
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 0);
}

#[test]
fn a_server_that_goes_away_is_told_once_and_ends_nothing() {
    let bao = OpenBao::start();
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"vault:secret/shop\"]\n[secrets.API_KEY]\n",
    );
    bao.lead(&case);
    case.env("VAULT_MAX_RETRIES", "0");
    case.leave_open(&case.in_project("seen"));
    case.sr("set API_KEY").stdin(case.canary("old")).ok();
    let mut run = Running::start(&case, "--watch --watch-interval 1s", SERVER);
    run.until_seen(1);
    case.sr("set API_KEY").stdin(case.canary("new")).ok();
    run.until_seen(2);
    drop(bao);
    run.until_said("warning: while watching: vault:secret/shop: ");
    // Three more looks.
    let until = Instant::now() + Duration::from_secs(4);
    run.until("some time", |_| Instant::now() > until);
    assert_eq!(
        run.err().matches("while watching").count(),
        1,
        "{}",
        run.err()
    );
    assert_eq!(run.seen().lines().count(), 2);
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 0);
}

#[test]
fn looking_at_the_store_fills_no_audit_log() {
    let case = shop();
    case.set("API_KEY", case.canary("old"));
    let mut run = Running::start(&case, "--watch --watch-interval 1s", SERVER);
    run.until_seen(1);
    let reads = |case: &Case| {
        let audit = case.sr("audit --json").ok().out();
        audit.matches("\"read\"").count()
    };
    let look = |run: &mut Running<'_>| {
        let until = Instant::now() + Duration::from_secs(3);
        run.until("some time", |_| Instant::now() > until);
    };
    look(&mut run);
    let before = reads(&case);
    assert!(before > 0);
    look(&mut run);
    assert_eq!(reads(&case), before);
    // It still looks.
    case.set("API_KEY", case.canary("new"));
    run.until_seen(2);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let case = shop();
    case.sr("run --watch --watch-interval 0 -- true").code(2);
    case.sr("run --watch-interval 1s -- true").code(2);
    case.sr("run --watch=never -- true").code(2);
    case.sr("run --watch --offline -- true")
        .code(2)
        .says("--watch");
}
