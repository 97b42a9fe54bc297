//! Programs of others, run so that neither they nor we leak anything.
//!
//! A program is found once, by its absolute path. It gets a cleared environment but for a list of
//! variables, its input on standard input only, a process group of its own that is killed when
//! time is up, and a bound on what it may answer. What it says on standard error is shown in one
//! escaped line at the most, and not at all when it may hold a value.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

mod pipes;
#[cfg(test)]
mod tests;

/// Most bytes that a program may answer.
pub const PROGRAM_OUTPUT_BYTES_MAX: usize = 16 << 20;
/// How long a program may take unless the chain says otherwise, in seconds.
pub const PROGRAM_SECONDS_MAX: u64 = 20;

/// Variables that every program gets when they are set.
const VARIABLES: &[&str] = &[
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
];

/// A program that can be run, with the environment it gets.
pub struct Program {
    name: String,
    path: PathBuf,
    environment: Vec<(&'static str, SecretValue)>,
    time: Duration,
}

/// What a program answered.
pub(crate) struct Answer {
    /// Its standard output.
    pub(crate) output: Zeroizing<Vec<u8>>,
    /// Its exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// One line of what it said on standard error, if it may be shown.
    pub(crate) remark: Option<String>,
}

/// Who may be able to change a program that is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Only root and this user: for plugins, which are run for their name alone.
    Owner,
    /// Not everybody: for programs that the user's `PATH` names.
    Path,
}

impl Program {
    /// Finds a program in the first of some folders that has it.
    ///
    /// # Errors
    /// When there is none, or others could have put it there.
    pub(crate) fn find(
        name: &str,
        folders: &[PathBuf],
        trust: Trust,
    ) -> Result<Self, ProgramError> {
        let absolute = folders.iter().filter(|folder| folder.is_absolute());
        let found = absolute
            .map(|folder| folder.join(name))
            .find(|path| is_executable(path));
        let missing = || ProgramError::NotInstalled { name: name.into() };
        let path = fs::canonicalize(found.ok_or_else(missing)?).map_err(|_| missing())?;
        if let Some(place) = untrusted(&path, trust) {
            let name = name.to_owned();
            return Err(ProgramError::Untrusted { name, place });
        }
        Ok(Self {
            name: name.to_owned(),
            path,
            environment: Vec::new(),
            time: Duration::from_secs(PROGRAM_SECONDS_MAX),
        })
    }

    /// Finds a program on the user's `PATH` and hands it the usual variables and some more.
    ///
    /// # Errors
    /// When there is none, or everybody could have put it there.
    pub(crate) fn on_path(
        name: &str,
        variables: &Variables,
        more: &[&'static str],
    ) -> Result<Self, ProgramError> {
        let path = variables.text("PATH").unwrap_or("/usr/bin:/bin");
        let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
        Ok(Self::find(name, &folders, Trust::Path)?.with_variables(variables, more))
    }

    /// With the usual variables and some more, where they are set.
    pub(crate) fn with_variables(mut self, variables: &Variables, more: &[&'static str]) -> Self {
        let names = VARIABLES.iter().chain(more);
        let set = names.filter_map(|name| Some((*name, variables.secret(name)?)));
        self.environment = set.collect();
        self
    }

    /// With another bound on its time.
    pub(crate) fn within(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs it with arguments, none of them secret, and an input.
    ///
    /// # Errors
    /// When it cannot be started, does not end in time or answers too much.
    pub(crate) fn run(
        &self,
        args: &[&OsStr],
        input: Option<&SecretValue>,
    ) -> Result<Answer, ProgramError> {
        let until = Instant::now() + self.time;
        let mut command = Command::new(&self.path);
        command.args(args).env_clear().process_group(0);
        command.stdin(match input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in &self.environment {
            // EXPOSE: the user's own variable, handed on to the user's own program.
            command.env(name, OsStr::from_bytes(value.expose_secret()));
        }
        let child = command.spawn().map_err(|error| ProgramError::NotStarted {
            name: self.name.clone(),
            kind: error.kind(),
        })?;
        let mut running = Running(child);
        let ended = pipes::talk(&mut running.0, input, until).map_err(|end| match end {
            pipes::End::Late => ProgramError::Late {
                name: self.name.clone(),
                seconds: self.time.as_secs(),
            },
            pipes::End::TooMuch => ProgramError::TooMuch {
                name: self.name.clone(),
            },
            pipes::End::Io(kind) => ProgramError::Pipe {
                name: self.name.clone(),
                kind,
            },
        })?;
        let remark = remark(&ended.error, &ended.output, input);
        Ok(Answer {
            output: ended.output,
            code: ended.code,
            remark,
        })
    }

    /// Runs it and takes an exit code other than 0 for a failure.
    ///
    /// # Errors
    /// As [`Self::run`], and when it says that it failed.
    pub(crate) fn succeed(
        &self,
        args: &[&OsStr],
        input: Option<&SecretValue>,
    ) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let answer = self.run(args, input)?;
        if answer.code == Some(0) {
            return Ok(answer.output);
        }
        Err(ProgramError::Failed {
            name: self.name.clone(),
            ending: ending(answer.code),
            remark: answer
                .remark
                .map(|text| format!(": {text}"))
                .unwrap_or_default(),
        })
    }
}

/// Arguments of plain texts.
pub(crate) fn words<'a>(words: &[&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).collect()
}

fn ending(code: Option<i32>) -> String {
    match code {
        Some(code) => format!("exit code {code}"),
        None => "ended by a signal".to_owned(),
    }
}

/// A child that is killed with its group unless it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
            // It may have ended a moment ago; then there is nobody to tell.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
}

/// The program or folder on the way to it that somebody else could change.
fn untrusted(path: &Path, trust: Trust) -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let may_change = |place: &&Path| {
        let Ok(found) = fs::symlink_metadata(place) else {
            return true;
        };
        let by_owner = found.uid() != 0 && found.uid() != user;
        // In a folder with the sticky bit nobody can exchange what belongs to another.
        let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        match trust {
            Trust::Owner => by_owner || (found.mode() & 0o022 != 0 && !is_sticky),
            Trust::Path => found.mode() & 0o002 != 0 && !is_sticky,
        }
    };
    path.ancestors().find(may_change).map(Path::to_owned)
}

/// One line of an error output that may be shown: escaped, short, and nothing when it holds a
/// line of the output or of the input.
fn remark(error: &[u8], output: &[u8], input: Option<&SecretValue>) -> Option<String> {
    // EXPOSE: compared with what the program said, so that it is not shown.
    let input = input.map_or(&[][..], |input| input.expose_secret());
    if output.len().max(input.len()) > COMPARED_BYTES_MAX {
        return None;
    }
    let text = String::from_utf8_lossy(error);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let holds = |value: &[u8]| {
        let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines
            .filter(|part| part.len() >= HIDDEN_LINE_BYTES_MIN)
            .any(|part| {
                line.as_bytes()
                    .windows(part.len())
                    .any(|window| window == part)
            })
    };
    if line.len() > REMARK_LINE_BYTES_MAX || holds(output) || holds(input) {
        return None;
    }
    let escaped = line.chars().take(REMARK_CHARS_MAX).map(|c| match c {
        '"' | '\'' => c.to_string(),
        c => c.escape_debug().to_string(),
    });
    Some(escaped.collect())
}

/// Shorter lines of an output do not keep an error from being shown.
const HIDDEN_LINE_BYTES_MIN: usize = 4;
/// With a longer input or output, no error is shown.
const COMPARED_BYTES_MAX: usize = 64 << 10;
/// A longer line is not shown.
const REMARK_LINE_BYTES_MAX: usize = 4 << 10;
/// Most characters of a line that are shown.
const REMARK_CHARS_MAX: usize = 200;

/// Why a program did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is in none of the folders.
    #[error("the program '{name}' is not installed")]
    NotInstalled {
        /// The program.
        name: String,
    },
    /// Somebody else could have put something else in its place.
    #[error("the program '{name}' is not run: others can write to {}", place.display())]
    Untrusted {
        /// The program.
        name: String,
        /// It or a folder on the way to it.
        place: PathBuf,
    },
    /// The system did not start it.
    #[error("the program '{name}' could not be started ({kind})")]
    NotStarted {
        /// The program.
        name: String,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// Time was up.
    #[error("'{name}' did not end within {seconds} seconds and was killed")]
    Late {
        /// The program.
        name: String,
        /// The time it had.
        seconds: u64,
    },
    /// Over [`PROGRAM_OUTPUT_BYTES_MAX`].
    #[error("'{name}' answers with more than {PROGRAM_OUTPUT_BYTES_MAX} bytes and was killed")]
    TooMuch {
        /// The program.
        name: String,
    },
    /// Talking to it failed.
    #[error("talking to '{name}' failed ({kind})")]
    Pipe {
        /// The program.
        name: String,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// It ended with another exit code than 0.
    #[error("'{name}' failed ({ending}){remark}")]
    Failed {
        /// The program.
        name: String,
        /// How it ended.
        ending: String,
        /// What it said, escaped and free of values; empty when it may not be shown.
        remark: String,
    },
}

impl ProgramError {
    /// What kind of a backend's failure it is; `failed` for what the program itself reports.
    pub(crate) fn kind(&self, failed: BackendErrorKind) -> BackendErrorKind {
        match self {
            Self::NotInstalled { .. } | Self::Untrusted { .. } | Self::NotStarted { .. } => {
                BackendErrorKind::Misconfigured
            }
            Self::Late { .. } | Self::Pipe { .. } => BackendErrorKind::Unreachable,
            Self::TooMuch { .. } => BackendErrorKind::Malformed,
            Self::Failed { .. } => failed,
        }
    }
}
