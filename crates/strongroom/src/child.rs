//! The command that `run` starts: it gets its secrets, its output is masked on the way, and for
//! the rest it behaves as if we were not there.
//!
//! Everything happens on the calling thread. The masks are built while the command already runs.

mod files;
mod mask;
mod relay;
mod signals;
mod start;
mod stream;
mod terminal;
#[cfg(test)]
mod tests;
mod wiring;

use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitStatus;
use strongroom_core::secret::SecretValue;

use self::files::SecretFiles;
pub(crate) use self::mask::Mask;
pub(crate) use self::mask::PassThrough;
use self::relay::Relay;
use self::relay::Running;
pub(crate) use self::relay::Step;
use self::signals::Group;
use self::signals::Signals;
pub(crate) use self::stream::Output;
use self::stream::Stream;
use self::wiring::Ours;
use self::wiring::Plan;
use self::wiring::Surroundings;
use super::hardening::OriginalLimits;

/// What to start, and what it gets.
#[derive(Debug)]
pub(crate) struct ChildSpec {
    /// A path, or a name that is looked up in the command's `PATH`.
    pub(crate) program: OsString,
    /// Its arguments. Never a secret: everybody on the machine can read them.
    pub(crate) args: Vec<OsString>,
    /// Its whole environment; nothing is inherited.
    pub(crate) env: Vec<(OsString, SecretOrPlain)>,
    /// Secrets that it reads from files.
    pub(crate) files: Vec<SecretFile>,
    /// Where the files may be, in this order: `$XDG_RUNTIME_DIR`, `/dev/shm`. Only those that are
    /// in memory are used; without one the files are anonymous memory.
    pub(crate) private_dirs: Vec<PathBuf>,
    /// A secret that is all of its standard input.
    pub(crate) stdin_secret: Option<SecretValue>,
    /// Whether its output is masked. If not, it gets our own descriptors.
    pub(crate) redact: bool,
    /// The limits that it is to have.
    pub(crate) original_limits: OriginalLimits,
}

/// The value of an environment variable.
#[derive(Clone, Debug)]
pub(crate) enum SecretOrPlain {
    /// A secret.
    Secret(SecretValue),
    /// Anything else.
    Plain(OsString),
}

/// A secret that the command reads from a file.
#[derive(Clone, Debug)]
pub(crate) struct SecretFile {
    /// The file's name, without a folder.
    pub(crate) name: String,
    /// Its exact contents.
    pub(crate) value: SecretValue,
    /// Its permissions.
    pub(crate) mode: u32,
    /// The variable that receives its path.
    pub(crate) env: Option<String>,
}

/// What a command ended with, as a shell tells it: its code, or 128 and the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExitStatusCode(u8);

impl ExitStatusCode {
    /// The number.
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        self.0
    }

    fn from_wait(status: WaitStatus) -> Self {
        let signal = status.terminating_signal().map(|signal| 128 + signal);
        let code = status.exit_status().or(signal).unwrap_or(1);
        Self(u8::try_from(code).unwrap_or(u8::MAX))
    }
}

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ChildError {
    /// There is no such program.
    #[error("there is no program `{program}`")]
    NotFound {
        /// As it was asked for.
        program: String,
    },
    /// There is one, and it cannot be executed.
    #[error("cannot execute `{program}`: {reason}")]
    NotExecutable {
        /// As it was asked for, or where it was found.
        program: String,
        /// What is in the way.
        reason: &'static str,
    },
    /// Arguments and environment together are too long.
    #[error("the arguments and the environment of `{program}` are too long together")]
    TooLong {
        /// As it was asked for.
        program: String,
    },
    /// The system refuses for another reason.
    #[error("cannot start `{program}`")]
    Start {
        /// As it was asked for.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A variable that the environment cannot name.
    #[error("`{name}` cannot be the name of an environment variable")]
    VariableName {
        /// The name.
        name: String,
    },
    /// A value that the environment cannot hold.
    #[error("the value of `{name}` has a NUL byte and cannot be an environment variable")]
    NulInVariable {
        /// The variable.
        name: String,
    },
    /// A value that the environment cannot hold.
    #[error("the value of `{name}` is too long for an environment variable")]
    VariableTooLong {
        /// The variable.
        name: String,
    },
    /// A file name that leads elsewhere.
    #[error("`{name}` cannot be the name of a secret file")]
    FileName {
        /// The name.
        name: String,
    },
    /// A secret file could not be written.
    #[error("cannot write the secret file `{name}`")]
    FileWrite {
        /// Its name.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The connections to the command could not be made.
    #[error("cannot connect to the command")]
    Connect {
        /// The system's answer.
        source: io::Error,
    },
    /// The command runs and can no longer be followed.
    #[error("lost the connection to the command")]
    Relay {
        /// The system's answer.
        source: io::Error,
    },
    /// The command ended; not all of its output could be written.
    #[error("cannot write the command's {output}")]
    Output {
        /// Which one.
        output: Output,
        /// The system's answer.
        source: io::Error,
    },
}

impl ChildError {
    /// The exit code that shells use for it, where they have one.
    #[must_use]
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self {
            Self::NotFound { .. } => Some(127),
            Self::NotExecutable { .. } | Self::TooLong { .. } => Some(126),
            _ => None,
        }
    }
}

/// The masks of standard output and standard error.
pub(crate) type Masks = [Box<dyn Mask>; 2];

/// Runs a command to its end. `masks` makes those for standard output and standard error; it is
/// called once the command runs, and only if its output is masked.
///
/// While it runs, signals are the command's: they are passed on, and this process outlives it.
pub(crate) fn run(
    spec: ChildSpec,
    masks: impl FnOnce() -> Masks,
) -> Result<ExitStatusCode, ChildError> {
    let mut child = Child::start(spec, masks, None)?;
    let ended = loop {
        match child.step() {
            Ok(Step::Ended(code)) => break Ok(code),
            Ok(Step::Woken) => {}
            Err(error) => break Err(error),
        }
    };
    child.finish();
    ended
}

/// A command that runs.
pub(crate) struct Child {
    relay: Relay,
    files: SecretFiles,
}

impl Child {
    /// Starts a command. What is written to `wake` is told by [`Child::step`].
    pub(crate) fn start(
        spec: ChildSpec,
        masks: impl FnOnce() -> Masks,
        wake: Option<Rc<OwnedFd>>,
    ) -> Result<Self, ChildError> {
        Self::start_with(spec, masks, wake, None)
    }

    /// Starts a command in the place of this one, which has ended. Signals that came in between
    /// are the new one's.
    pub(crate) fn start_anew(
        self,
        spec: ChildSpec,
        masks: impl FnOnce() -> Masks,
    ) -> Result<Self, ChildError> {
        let Self { relay, files } = self;
        remove(files);
        let (signals, wake) = relay.into_parts();
        Self::start_with(spec, masks, wake, Some(signals))
    }

    fn start_with(
        spec: ChildSpec,
        masks: impl FnOnce() -> Masks,
        wake: Option<Rc<OwnedFd>>,
        signals: Option<Signals>,
    ) -> Result<Self, ChildError> {
        start::check_environment(&spec.env)?;
        let program = start::find_program(&spec)?;
        let connect_error = |source| ChildError::Connect { source };
        let plan = if spec.redact {
            Plan::masked(Surroundings::look(spec.stdin_secret.is_some()))
        } else {
            Plan::INHERIT
        };
        let (theirs, mut ours) =
            wiring::connect(plan, spec.stdin_secret.clone()).map_err(connect_error)?;
        let group = if ours.console.is_some() {
            Group::Own
        } else {
            Group::Shared
        };
        // Before the files are made: from here on a signal cannot end us and leave them behind.
        let signals = match signals {
            Some(mut signals) => {
                signals.set_group(group);
                signals
            }
            None => Signals::listen(group).map_err(connect_error)?,
        };
        let files = SecretFiles::create(&spec.files, &spec.private_dirs)?;

        let started = {
            let _lifted = spec.original_limits.lift();
            files.set_inheritable(true).map_err(connect_error)?;
            let console = ours.console.as_ref().and_then(terminal::Console::slave);
            start::spawn(&spec, &program, files.variables(), theirs, console)
        };
        files.set_inheritable(false).map_err(connect_error)?;
        let child = Running::new(Pid::from_child(&started?));

        if let Some(console) = &mut ours.console {
            // Without raw mode keys are echoed twice, which is better than no command.
            let _ = console.engage();
        }
        let streams = if spec.redact {
            mask_streams(&mut ours, masks())
        } else {
            Vec::new()
        };
        files::sweep(&spec.private_dirs);
        drop(spec);
        let relay = Relay::new(child, signals, ours, streams, wake);
        Ok(Self { relay, files })
    }

    /// Follows the command until it has ended or something woke us.
    pub(crate) fn step(&mut self) -> Result<Step, ChildError> {
        self.relay.step()
    }

    /// Asks the command to end, kills it after `grace`, and waits for it. `None` when it ended for
    /// that; otherwise what it ended with, by itself or because somebody else told it to.
    pub(crate) fn end(&mut self, grace: Duration) -> Result<Option<ExitStatusCode>, ChildError> {
        self.relay.ask_to_end(grace)?;
        loop {
            if let Step::Ended(code) = self.relay.step()? {
                return Ok((!self.relay.has_ended_for_us()).then_some(code));
            }
        }
    }

    /// True when somebody else has told the command to end, not longer than `span` ago.
    pub(crate) fn was_told_to_end(&self, span: Duration) -> bool {
        let told = self.relay.told_to_end();
        told.is_some_and(|at| at.elapsed() <= span)
    }

    /// More is secret from now on: `masks` know all that is.
    pub(crate) fn cover(&mut self, masks: Masks) {
        self.relay.cover(masks);
    }

    /// Puts new contents into the command's secret files.
    pub(crate) fn rewrite(&self, files: &[SecretFile]) -> Result<(), ChildError> {
        self.files.rewrite(files)
    }

    /// Tells the command to read its files again.
    pub(crate) fn hang_up(&self) {
        self.relay.signal(Signal::HUP);
    }

    /// Removes what was made for the command, which has ended.
    pub(crate) fn finish(self) {
        remove(self.files);
    }
}

fn remove(files: SecretFiles) {
    if let Err((path, error)) = files.remove() {
        let path = path.display();
        // Nothing is left to tell it to if this fails too.
        let _ = writeln!(
            io::stderr(),
            "strongroom: secret files are left in {path}: {error}"
        );
    }
}

fn mask_streams(ours: &mut Ours, masks: Masks) -> Vec<Stream> {
    let sources = ours.sources.drain(..).zip(masks);
    sources
        .map(|((output, source), mask)| Stream::new(output, source, mask))
        .collect()
}
