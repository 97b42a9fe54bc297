//! Starting other programs: never with a terminal on stdin, always announced or captured.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::thread;

use crate::failure::Failure;

/// What a program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Printed {
    /// How the program ended.
    pub(crate) status: ExitStatus,
    /// Its standard output, with invalid UTF-8 replaced.
    pub(crate) stdout: String,
    /// Its standard error, with invalid UTF-8 replaced.
    pub(crate) stderr: String,
}

/// A `cargo` command in the repository root, free of the variables that `cargo run` set for xtask.
pub(crate) fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = program_in(root, program);
    for (name, _) in std::env::vars_os() {
        if is_of_this_run(&name.to_string_lossy()) {
            command.env_remove(&name);
        }
    }
    command
}

/// A program to be started in `dir`, without a stdin.
pub(crate) fn program_in(dir: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    command
}

/// Runs a program to its end with our own stdout and stderr, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    println!("$ {}", line_of(command));
    let status = command.status().map_err(|e| cannot_start(command, &e))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(command, status))
}

/// Runs a program silently and hands back what it printed, however it ended.
pub(crate) fn capture(command: &mut Command) -> Result<Printed, Failure> {
    let output = command.output().map_err(|e| cannot_start(command, &e))?;
    Ok(Printed {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program, shows what it prints while it prints it, and hands the same back.
pub(crate) fn tee(command: &mut Command) -> Result<Printed, Failure> {
    println!("$ {}", line_of(command));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| cannot_start(command, &e))?;
    let stdout = child
        .stdout
        .take()
        .map(|pipe| thread::spawn(move || copy_lines(pipe, |line| println!("{line}"))));
    let stderr = child
        .stderr
        .take()
        .map(|pipe| copy_lines(pipe, |line| eprintln!("{line}")));
    let stdout = stdout.and_then(|reader| reader.join().ok());
    let status = child.wait().map_err(|e| cannot_start(command, &e))?;
    Ok(Printed {
        status,
        stdout: stdout.unwrap_or_default(),
        stderr: stderr.unwrap_or_default(),
    })
}

/// True if the program can be started and ends well. Prints nothing.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where a program is: on `PATH`, or in the folders for administrators that `PATH` may lack.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// The failure of a program that ran and ended badly.
pub(crate) fn failed(command: &Command, status: ExitStatus) -> Failure {
    Failure::new(format!("`{}` failed ({status})", line_of(command)))
}

/// The command as a person would type it.
pub(crate) fn line_of(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .enumerate()
        .map(|(index, word)| {
            let word = word.to_string_lossy();
            match Path::new(word.as_ref()).file_name() {
                Some(name) if index == 0 => name.to_string_lossy().into_owned(),
                _ => word.into_owned(),
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot run `{}`: {error}", line_of(command)))
}

fn copy_lines(pipe: impl Read, show: impl Fn(&str)) -> String {
    let mut reader = BufReader::new(pipe);
    let mut all = String::new();
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| bytes > 0)
    {
        let text = String::from_utf8_lossy(&line);
        show(text.trim_end_matches(['\r', '\n']));
        all.push_str(&text);
        line.clear();
    }
    all
}

/// Variables that `cargo run` sets for the program it starts. Handed on, they would make build
/// scripts of the nested cargo believe that their environment changed.
fn is_of_this_run(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tee_hands_back_both_streams_and_the_status() {
        let mut command = program_in(Path::new("/"), "sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let printed = tee(&mut command).unwrap();
        assert_eq!(printed.status.code(), Some(3));
        assert_eq!(printed.stdout, "out\n");
        assert_eq!(printed.stderr, "err\n");
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let mut command = program_in(Path::new("/"), "sh");
        let failure = run(command.args(["-c", "exit 3"])).unwrap_err();
        assert!(failure.to_string().contains("sh -c exit 3"), "{failure}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut command = program_in(Path::new("/"), "no-such-program-here");
        let failure = run(&mut command).unwrap_err();
        assert!(
            failure.to_string().contains("no-such-program-here"),
            "{failure}"
        );
        assert!(!works(&mut program_in(
            Path::new("/"),
            "no-such-program-here"
        )));
        assert_eq!(find_program("no-such-program-here"), None);
    }

    #[test]
    fn only_variables_of_the_running_program_are_dropped() {
        assert!(is_of_this_run("CARGO_PKG_VERSION"));
        assert!(is_of_this_run("CARGO_MANIFEST_DIR"));
        assert!(!is_of_this_run("CARGO_HOME"));
        assert!(!is_of_this_run("CARGO_TARGET_DIR"));
    }
}
