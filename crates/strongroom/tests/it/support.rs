//! A hermetic place to run the binary in, and a search for canary values when it is left.
//!
//! A `Case` has its own home and XDG folders, project and temporary folder. The values that a
//! test makes with `Case::canary` may appear nowhere but where the test says so: when the case
//! ends, all output of all commands and every file below the case's folder are searched for
//! them, plain and in base64 and hex.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;

use data_encoding::BASE64;
use data_encoding::BASE64URL;
use data_encoding::HEXLOWER;
use data_encoding::HEXUPPER;
use memchr::memmem;
use regex::Regex;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");
/// Characters behind the prefix of a canary.
const CANARY_CHARS: usize = 28;

/// A place to run commands in.
pub(crate) struct Case {
    dir: tempfile::TempDir,
    canaries: RefCell<Vec<Vec<u8>>>,
    /// What the commands printed, with the arguments that made them.
    talk: RefCell<Vec<(String, Vec<u8>)>>,
    /// Files that may hold values.
    open_files: RefCell<BTreeSet<PathBuf>>,
    /// Variables of every command.
    env: RefCell<Vec<(OsString, OsString)>>,
    random: Cell<u64>,
}

impl Case {
    /// An empty place, no manifest.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("strongroom-it-")
            .tempdir()
            .unwrap();
        for folder in ["home", "config", "data", "state", "run", "tmp", "project"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self {
            dir,
            canaries: RefCell::default(),
            talk: RefCell::default(),
            open_files: RefCell::default(),
            env: RefCell::default(),
            random: Cell::new(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// A place with a manifest. The project is named `shop` unless the text names it.
    pub(crate) fn with_manifest(text: &str) -> Self {
        let case = Self::new();
        case.manifest(text);
        case
    }

    /// Writes the manifest.
    pub(crate) fn manifest(&self, text: &str) {
        let text = if text.contains("[project]") {
            text.to_owned()
        } else {
            format!("[project]\nname = \"shop\"\n{text}")
        };
        self.write("strongroom.toml", &text);
    }

    /// A variable of all commands that follow.
    pub(crate) fn env(&self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.env.borrow_mut().push(pair);
    }

    /// A path below the case's folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A path in the project's folder.
    pub(crate) fn in_project(&self, relative: &str) -> PathBuf {
        self.path("project").join(relative)
    }

    /// The store's file, or one beside it.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.path("data/strongroom").join(name)
    }

    /// The folder of kept answers.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path("home/.cache/strongroom")
    }

    /// The key file.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.path("config/strongroom/store.key")
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.in_project(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a file of the project that may hold values.
    pub(crate) fn write_open(&self, relative: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(relative, bytes);
        self.leave_open(&path);
        path
    }

    /// Reads a file of the project.
    pub(crate) fn read(&self, relative: &str) -> Vec<u8> {
        std::fs::read(self.in_project(relative)).unwrap()
    }

    /// This file may hold values.
    pub(crate) fn leave_open(&self, path: &Path) {
        self.open_files.borrow_mut().insert(path.to_owned());
    }

    /// A new value that may be seen nowhere: the prefix and some random characters.
    pub(crate) fn canary(&self, prefix: &str) -> String {
        const CHARS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
        let mut state = self.random.get();
        let mut value = prefix.to_owned();
        for _ in 0..CANARY_CHARS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value.push(char::from(
                CHARS[usize::try_from(state % CHARS.len() as u64).unwrap()],
            ));
        }
        self.random.set(state);
        self.watch(value.as_bytes());
        value
    }

    /// This value may be seen nowhere.
    pub(crate) fn watch(&self, value: &[u8]) {
        assert!(value.len() >= 8, "too short to be told from chance");
        self.canaries.borrow_mut().push(value.to_owned());
    }

    /// A command of the program.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Run<'_> {
        let mut command = self.command(PROGRAM);
        command.args(args);
        let words: Vec<_> = args
            .iter()
            .map(|arg| arg.as_ref().to_string_lossy())
            .collect();
        Run {
            case: self,
            command,
            line: format!("strongroom {}", words.join(" ")),
            stdin: Vec::new(),
            is_revealing: false,
        }
    }

    /// As `run`, with the words of a line.
    pub(crate) fn sr(&self, line: &str) -> Run<'_> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run(&words)
    }

    /// A script for `sh`, in which `strongroom` is the program.
    pub(crate) fn shell(&self, script: &str) -> Run<'_> {
        let mut command = self.command("sh");
        command.args(["-c", script]);
        let folder = Path::new(PROGRAM).parent().unwrap();
        command.env("PATH", format!("{}:{PATH}", folder.display()));
        Run {
            case: self,
            command,
            line: script.to_owned(),
            stdin: Vec::new(),
            is_revealing: false,
        }
    }

    /// Any program, in this place's environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("USER", "tester")
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.path("project"));
        for (name, value) in &*self.env.borrow() {
            command.env(name, value);
        }
        command
    }

    /// Stores a value, and expects that it works.
    pub(crate) fn set(&self, name: &str, value: impl AsRef<[u8]>) {
        self.run(&["set", name, "-", "--exact", "--no-check"])
            .stdin(value)
            .ok();
    }

    /// The value as `get` prints it.
    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        self.run(&["get", name]).reveals().ok().stdout
    }

    /// Text without what differs between runs: folder, times, ids.
    pub(crate) fn normal(&self, text: &str) -> String {
        let folder = self.dir.path().display().to_string();
        let mut text = text.replace(&folder, "[DIR]");
        if !self.canaries.borrow().is_empty() {
            for value in self.canaries.borrow().iter() {
                if let Ok(value) = std::str::from_utf8(value) {
                    text = text.replace(value, "[VALUE]");
                }
            }
        }
        for (pattern, to) in [
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?", "[TIME]"),
            (r"\b[0-9a-f]{32}\b", "[FINGERPRINT]"),
            (r"\b[0-9a-f]{16}\b", "[ID]"),
            (r"uid \d+", "uid [UID]"),
        ] {
            text = Regex::new(pattern)
                .unwrap()
                .replace_all(&text, to)
                .into_owned();
        }
        if text.contains("[DIR]") && text.contains("\nWHAT ") {
            // The width of a column depends on the length of the folder's name.
            let gap = Regex::new(r"(\S) {2,}").unwrap();
            text = gap.replace_all(&text, "$1  ").into_owned();
        }
        text
    }

    /// Looks for canaries everywhere.
    fn search(&self) {
        let canaries = self.canaries.borrow();
        let forms: Vec<(String, Vec<u8>)> =
            canaries.iter().flat_map(|value| forms(value)).collect();
        let finders: Vec<_> = forms
            .iter()
            .map(|(form, bytes)| (form, memmem::Finder::new(bytes)))
            .collect();
        let look = |place: &str, bytes: &[u8]| {
            for (form, finder) in &finders {
                if let Some(at) = finder.find(bytes) {
                    let around = &bytes[at.saturating_sub(60)..at];
                    let before = String::from_utf8_lossy(around).into_owned();
                    panic!("{place} shows a value ({form}), after {before:?}");
                }
            }
        };
        for (line, bytes) in &*self.talk.borrow() {
            look(&format!("`{line}`"), bytes);
        }
        let open_files = self.open_files.borrow();
        for path in files_below(self.dir.path()) {
            if open_files.contains(&path) {
                continue;
            }
            look(
                &path.display().to_string(),
                path.as_os_str().as_encoded_bytes(),
            );
            if let Ok(bytes) = std::fs::read(&path) {
                look(&path.display().to_string(), &bytes);
            }
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.search();
        }
    }
}

/// Programs that tests and children use.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// A command on its way.
pub(crate) struct Run<'c> {
    case: &'c Case,
    command: Command,
    line: String,
    stdin: Vec<u8>,
    is_revealing: bool,
}

impl Run<'_> {
    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_owned();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// It prints values, as it should.
    pub(crate) fn reveals(mut self) -> Self {
        self.is_revealing = true;
        self
    }

    /// Runs it to its end.
    pub(crate) fn output(mut self) -> Outcome {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let bytes = std::mem::take(&mut self.stdin);
        let writer = std::thread::spawn(move || {
            // A command that does not read its input closes the pipe.
            let _ = pipe.write_all(&bytes);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        if !self.is_revealing {
            let mut talk = self.case.talk.borrow_mut();
            talk.push((self.line.clone(), output.stdout.clone()));
            talk.push((self.line.clone(), output.stderr.clone()));
        }
        Outcome {
            line: self.line,
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }

    /// Runs it; it must succeed.
    pub(crate) fn ok(self) -> Outcome {
        self.code(0)
    }

    /// Runs it; it must end with this exit code.
    pub(crate) fn code(self, code: i32) -> Outcome {
        let outcome = self.output();
        assert_eq!(
            outcome.status.code(),
            Some(code),
            "`{}` ended with {}\nstdout: {}\nstderr: {}",
            outcome.line,
            outcome.status,
            outcome.out(),
            outcome.err()
        );
        outcome
    }

    /// Runs it: the command line, what it printed and its exit code, for a golden file.
    pub(crate) fn transcript(self) -> String {
        let case = self.case;
        case.normal(&self.output().transcript())
    }
}

/// What a command left.
pub(crate) struct Outcome {
    line: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Outcome {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).expect("stdout is JSON")
    }

    /// stderr has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let err = self.err();
        assert!(err.contains(text), "{text:?} is not in stderr:\n{err}");
        self
    }

    /// stdout has this text.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        let out = self.out();
        assert!(out.contains(text), "{text:?} is not in stdout:\n{out}");
        self
    }

    fn transcript(&self) -> String {
        let mut text = format!("$ {}\n{}", self.line, self.out());
        for line in self.err().lines() {
            text.push_str(&format!("! {line}\n"));
        }
        match (self.status.code(), self.status.signal()) {
            (Some(0), _) => {}
            (Some(code), _) => text.push_str(&format!("exit code {code}\n")),
            (None, signal) => text.push_str(&format!("signal {signal:?}\n")),
        }
        text
    }
}

/// The value as it could turn up.
fn forms(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![
        ("plain".to_owned(), value.to_owned()),
        ("hex".to_owned(), HEXLOWER.encode(value).into_bytes()),
        ("HEX".to_owned(), HEXUPPER.encode(value).into_bytes()),
    ];
    for shift in 0..3 {
        // Characters that do not depend on what stands before and behind.
        let start = (3 - shift) % 3;
        let whole = &value[start..start + (value.len() - start) / 3 * 3];
        forms.push(("base64".to_owned(), BASE64.encode(whole).into_bytes()));
        forms.push(("base64url".to_owned(), BASE64URL.encode(whole).into_bytes()));
    }
    forms
}

/// All regular files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o7777
}
