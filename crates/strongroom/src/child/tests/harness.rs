//! Starts this test program again, so that `run` has a process of its own.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::process::exit;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use strongroom_core::secret::SecretValue;
use tempfile::TempDir;

use crate::child::ChildSpec;
use crate::child::Mask;
use crate::child::Masks;
use crate::child::SecretFile;
use crate::child::SecretOrPlain;
use crate::child::run;
use crate::hardening::harden;

/// A command to be run by `run` in another process.
pub(super) struct Driver {
    args: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
    prepare: Option<String>,
    is_output_joined: bool,
    folder: TempDir,
}

/// What a finished driver left.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) code: Option<i32>,
}

impl Driver {
    pub(super) fn new(args: &[&str]) -> Self {
        Self {
            args: args.iter().map(OsString::from).collect(),
            variables: Vec::new(),
            prepare: None,
            is_output_joined: false,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    pub(super) fn inherited(mut self) -> Self {
        self.variables.push((INHERIT, "1".into()));
        self
    }

    /// Gives the command a secret file, whose path is in `WHERE`.
    pub(super) fn file(mut self, contents: &[u8], base: &Path) -> Self {
        let path = self.keep("file", contents);
        self.variables.push((FILE, path));
        self.variables.push((BASE, base.into()));
        self
    }

    pub(super) fn stdin_secret(mut self, contents: &[u8]) -> Self {
        let path = self.keep("stdin", contents);
        self.variables.push((STDIN, path));
        self
    }

    pub(super) fn child_path(mut self, path: &Path) -> Self {
        self.variables.push((PATH, path.into()));
        self
    }

    /// Starts the driver by a shell that first runs `script`, which ends with `exec "$@"`.
    pub(super) fn prepared(mut self, script: &str) -> Self {
        self.prepare = Some(script.to_owned());
        self
    }

    /// Both outputs are the same pipe.
    pub(super) fn joined_output(mut self) -> Self {
        self.is_output_joined = true;
        self
    }

    /// The driver as a command, and the folder that it needs while it runs.
    pub(super) fn into_command(self) -> (Command, TempDir) {
        let this = std::env::current_exe().unwrap();
        let (_, module) = module_path!().split_once("::").unwrap();
        let test = module.replace("::harness", "::driver");
        let test = ["--exact", &test, "--nocapture", "--test-threads=2"];
        let mut command = match &self.prepare {
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", script, "sh"]).arg(this);
                shell
            }
            None => Command::new(this),
        };
        command
            .args(test)
            .env(ARGS, self.args.join(OsStr::new("\x1f")));
        command.envs(self.variables);
        (command, self.folder)
    }

    pub(super) fn start(self) -> Driven {
        let is_output_joined = self.is_output_joined;
        let (mut command, folder) = self.into_command();
        command.stdin(Stdio::piped());
        let (stdout, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        if is_output_joined {
            command.stderr(write.try_clone().unwrap());
        } else {
            command.stderr(Stdio::piped());
        }
        let child = command.stdout(write).spawn().unwrap();
        drop(command);
        let mut driven = Driven::new(child, stdout, folder);
        driven.read_until(HEADER.as_bytes());
        driven
    }

    pub(super) fn output(self) -> Done {
        let mut driven = self.start();
        drop(driven.take_stdin());
        let stdout = driven.read_to_end();
        let stderr = driven.read_stderr();
        Done {
            stdout,
            stderr,
            code: driven.wait(),
        }
    }

    fn keep(&self, name: &str, contents: &[u8]) -> OsString {
        let path = self.folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path.into_os_string()
    }
}

/// A driver that runs. Every wait on it has a deadline.
pub(super) struct Driven {
    child: Child,
    stdout: Option<OwnedFd>,
    deadline: Instant,
    _folder: TempDir,
}

impl Driven {
    pub(super) fn new(child: Child, stdout: OwnedFd, folder: TempDir) -> Self {
        let deadline = Instant::now() + DEADLINE;
        Self {
            child,
            stdout: Some(stdout),
            deadline,
            _folder: folder,
        }
    }

    pub(super) fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(super) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Reads up to the first `needle`, byte by byte: what follows is left.
    pub(super) fn read_until(&mut self, needle: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        while !read.ends_with(needle) {
            let text = String::from_utf8_lossy(&read).into_owned();
            let byte = self.read_some(1).unwrap_or_default();
            assert!(
                !byte.is_empty(),
                "end before {:?}: {text:?}",
                String::from_utf8_lossy(needle)
            );
            read.extend(byte);
        }
        read
    }

    pub(super) fn read_to_end(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(chunk) = self.read_some(1 << 16) {
            read.extend(chunk);
        }
        read
    }

    pub(super) fn drain_to_end(&mut self) {
        while self.read_some(1 << 16).is_some() {}
    }

    pub(super) fn read_stderr(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        read
    }

    /// Waits for the end; the code, or none for a signal.
    pub(super) fn wait(&mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        await_readable(&pidfd, self.deadline);
        self.child.wait().unwrap().code()
    }

    fn read_some(&mut self, bytes_max: usize) -> Option<Vec<u8>> {
        let stdout = self.stdout.as_ref()?;
        await_readable(stdout, self.deadline);
        let mut chunk = vec![0; bytes_max];
        // A terminal answers with an error when its other side is closed.
        let count = rustix::io::read(stdout, &mut *chunk).unwrap_or(0);
        chunk.truncate(count);
        (count > 0).then_some(chunk)
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn await_readable(fd: impl AsFd, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let ready = rustix::event::poll(&mut fds, Some(&left)).unwrap();
    assert!(ready > 0, "nothing happened for {DEADLINE:?}");
}

/// What the started test program does: runs the command that its environment describes.
pub(super) fn drive() {
    let Some(args) = std::env::var_os(ARGS) else {
        return;
    };
    let original_limits = harden();
    let mut args = args
        .as_bytes()
        .split(|byte| *byte == 0x1f)
        .map(OsStr::from_bytes);
    let is_own = |name: &OsStr| name.as_bytes().starts_with(PREFIX.as_bytes());
    let plain = |(name, value)| (name, SecretOrPlain::Plain(value));
    let contents = |name| std::env::var_os(name).map(|path| std::fs::read(path).unwrap());
    let mut env: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| !is_own(name))
        .map(plain)
        .collect();
    if let Some(path) = std::env::var_os(PATH) {
        env.push(("PATH".into(), SecretOrPlain::Plain(path)));
    }
    let spec = ChildSpec {
        program: args.next().unwrap_or_default().to_owned(),
        args: args.map(OsStr::to_owned).collect(),
        env,
        files: contents(FILE)
            .map(|contents| SecretFile {
                name: "file".to_owned(),
                value: SecretValue::new(contents),
                mode: 0o600,
                env: Some("WHERE".to_owned()),
            })
            .into_iter()
            .collect(),
        private_dirs: std::env::var_os(BASE)
            .map(PathBuf::from)
            .into_iter()
            .collect(),
        stdin_secret: contents(STDIN).map(SecretValue::new),
        redact: std::env::var_os(INHERIT).is_none(),
        original_limits,
    };
    let masks = || -> Masks { [Box::new(WordMask::default()), Box::new(WordMask::default())] };
    let code = match run(spec, masks) {
        Ok(status) => i32::from(status.code()),
        Err(error) => {
            writeln!(std::io::stderr(), "{error}").unwrap();
            i32::from(error.exit_code().unwrap_or(125))
        }
    };
    exit(code);
}

/// Masks one word, and holds back what may become it.
#[derive(Default)]
struct WordMask {
    held: Vec<u8>,
}

impl Mask for WordMask {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for byte in chunk {
            self.held.push(*byte);
            while !WORD.starts_with(&self.held) {
                out.push(self.held.remove(0));
            }
            if self.held == WORD {
                self.held.clear();
                out.extend_from_slice(b"[masked]");
            }
        }
    }

    fn flush_idle(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }
}

/// What the test runner writes before the driver begins.
pub(super) const HEADER: &str = "\nrunning 1 test\n";
const WORD: &[u8] = b"secret";
const DEADLINE: Duration = Duration::from_secs(60);
const PREFIX: &str = "CHILD_TEST_";
const ARGS: &str = "CHILD_TEST_ARGS";
const INHERIT: &str = "CHILD_TEST_INHERIT";
const FILE: &str = "CHILD_TEST_FILE";
const BASE: &str = "CHILD_TEST_BASE";
const STDIN: &str = "CHILD_TEST_STDIN";
const PATH: &str = "CHILD_TEST_PATH";
