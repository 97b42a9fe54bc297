//! From a specification to a running process.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use pty_process::blocking::Pts;
use rustix::fs::Access;
use rustix::io::Errno;

use super::ChildError;
use super::ChildSpec;
use super::SecretOrPlain;
use super::terminal;
use super::wiring::Theirs;

/// Finds the program where `exec` would, in the `PATH` of the command.
///
/// Doing it here keeps the standard library on its fast way of starting a process, which it
/// leaves when it must search a changed `PATH`.
pub(crate) fn find_program(spec: &ChildSpec) -> Result<PathBuf, ChildError> {
    let program = || spec.program.to_string_lossy().into_owned();
    if spec.program.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(&spec.program));
    }
    if spec.program.is_empty() {
        return Err(ChildError::NotFound { program: program() });
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(PATH_DEFAULT), |(_, value)| value.as_os_str());
    let mut denied = None;
    for folder in std::env::split_paths(path) {
        // An empty entry means the current folder, as everywhere.
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &folder
        };
        let candidate = folder.join(&spec.program);
        match rustix::fs::access(&candidate, Access::EXEC_OK) {
            Ok(()) if !candidate.is_dir() => return Ok(candidate),
            Ok(()) | Err(Errno::ACCESS) => denied = Some(candidate),
            Err(_) => {}
        }
    }
    Err(match denied.filter(|candidate| candidate.is_file()) {
        Some(candidate) => ChildError::NotExecutable {
            program: candidate.to_string_lossy().into_owned(),
            reason: "no permission to execute it",
        },
        None => ChildError::NotFound { program: program() },
    })
}

/// Refuses what the system would refuse with an error that names nothing.
pub(crate) fn check_environment(env: &[(OsString, SecretOrPlain)]) -> Result<(), ChildError> {
    for (name, value) in env {
        let shown = || name.to_string_lossy().into_owned();
        let value = value.as_os_str().as_bytes();
        if name.is_empty()
            || name
                .as_bytes()
                .iter()
                .any(|byte| matches!(byte, b'=' | b'\0'))
        {
            return Err(ChildError::VariableName { name: shown() });
        }
        if value.contains(&0) {
            return Err(ChildError::NulInVariable { name: shown() });
        }
        if name.len() + value.len() + 2 > VARIABLE_BYTES_MAX {
            return Err(ChildError::VariableTooLong { name: shown() });
        }
    }
    Ok(())
}

/// Starts the command with exactly the environment of `spec` and `variables`.
pub(crate) fn spawn(
    spec: &ChildSpec,
    program: &Path,
    variables: &[(String, OsString)],
    theirs: Theirs,
    console: Option<&Pts>,
) -> Result<Child, ChildError> {
    let mut command = Command::new(program);
    command.arg0(&spec.program).args(&spec.args).env_clear();
    for (name, value) in &spec.env {
        command.env(name, value.as_os_str());
    }
    command.envs(variables.iter().map(|(name, path)| (name, path)));
    let started = match console {
        Some(console) => {
            let mut command = pty_process::blocking::Command::from(command);
            if let Some(stderr) = theirs.stderr {
                command = command.stderr(Stdio::from(stderr));
            }
            command.spawn_borrowed(console).map_err(terminal::io_error)
        }
        None => {
            let stdio = |fd: Option<_>| fd.map_or_else(Stdio::inherit, Stdio::from);
            command.stdin(stdio(theirs.stdin));
            command.stdout(stdio(theirs.stdout));
            command.stderr(stdio(theirs.stderr));
            command.spawn()
        }
    };
    started.map_err(|source| start_error(&spec.program, program, source))
}

fn start_error(name: &OsStr, path: &Path, source: io::Error) -> ChildError {
    let program = name.to_string_lossy().into_owned();
    let because = |reason| ChildError::NotExecutable {
        program: program.clone(),
        reason,
    };
    match Errno::from_io_error(&source) {
        Some(Errno::NOENT) if path.exists() => because("the interpreter it names is not there"),
        Some(Errno::NOENT | Errno::NOTDIR) => ChildError::NotFound { program },
        Some(Errno::ACCESS) if path.is_dir() => because("it is a folder"),
        Some(Errno::ACCESS) => because("no permission to execute it"),
        Some(Errno::NOEXEC) => because("it is neither a program nor a script with a #! line"),
        Some(Errno::TOOBIG) => ChildError::TooLong { program },
        _ => ChildError::Start { program, source },
    }
}

impl SecretOrPlain {
    fn as_os_str(&self) -> &OsStr {
        match self {
            // EXPOSE: the user asked for this secret in the command's environment.
            Self::Secret(value) => OsStr::from_bytes(value.expose_secret()),
            Self::Plain(value) => value,
        }
    }
}

/// Where the C library looks when there is no `PATH`.
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// `MAX_ARG_STRLEN`: the most that Linux takes for one variable, with its name, `=` and NUL.
const VARIABLE_BYTES_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use strongroom_core::secret::SecretValue;

    use super::*;

    fn variable(name: &str, value: Vec<u8>) -> [(OsString, SecretOrPlain); 1] {
        [(
            OsString::from(name),
            SecretOrPlain::Secret(SecretValue::new(value)),
        )]
    }

    #[test]
    fn variables_that_cannot_be_are_named() {
        let longest = VARIABLE_BYTES_MAX - "A".len() - 2;
        assert!(check_environment(&variable("A", vec![b'x'; longest])).is_ok());
        assert!(matches!(
            check_environment(&variable("A", vec![b'x'; longest + 1])),
            Err(ChildError::VariableTooLong { name }) if name == "A"
        ));
        assert!(matches!(
            check_environment(&variable("A", b"a\0b".to_vec())),
            Err(ChildError::NulInVariable { name }) if name == "A"
        ));
        for name in ["", "A=B", "A\0"] {
            assert!(matches!(
                check_environment(&variable(name, b"x".to_vec())),
                Err(ChildError::VariableName { .. })
            ));
        }
    }
}
