//! Programs of the workspace that are run by name: benchmarks, corpus and reliability runs.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::repo::Metadata;
use crate::shell;
use crate::shell::Printed;

/// A program of the workspace, one row of a table.
#[derive(Debug)]
pub(crate) struct Program {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// The crate it belongs to.
    pub(crate) package: &'static str,
    /// The example: `examples/<example>.rs` or `examples/<example>/main.rs`.
    pub(crate) example: &'static str,
    /// Its first arguments.
    pub(crate) words: &'static [&'static str],
    /// Other examples of the crate that it starts.
    pub(crate) starts: &'static [&'static str],
}

impl Program {
    /// A program that is an example and starts no other.
    pub(crate) const fn example(
        name: &'static str,
        package: &'static str,
        example: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            package,
            example,
            words,
            starts: &[],
        }
    }

    /// True if its source is in the repository.
    pub(crate) fn is_written(&self, root: &Path) -> bool {
        let folder = self
            .package
            .strip_prefix("strongroom-")
            .unwrap_or(self.package);
        let examples = root.join("crates").join(folder).join("examples");
        examples.join(format!("{}.rs", self.example)).is_file()
            || examples.join(self.example).join("main.rs").is_file()
    }
}

/// Splits off a leading program name: `storage --rounds 3` runs one program with two arguments,
/// `--rounds 3` runs all of them.
pub(crate) fn select<'a, 'b>(
    table: &'a [Program],
    args: &'b [String],
) -> (Vec<&'a Program>, &'b [String]) {
    if let Some((first, rest)) = args.split_first()
        && let Some(program) = table.iter().find(|program| program.name == first)
    {
        return (vec![program], rest);
    }
    (table.iter().collect(), args)
}

/// Builds the release binary, then runs each program with `args`, and fails with the first.
pub(crate) fn run(root: &Path, programs: &[&Program], args: &[OsString]) -> Result<(), Failure> {
    let binary = release_binary(root)?;
    for program in programs {
        println!("== {}", program.name);
        shell::run(&mut command_of(root, program, &binary, args)?)?;
    }
    Ok(())
}

/// Runs one program and hands back what it printed, however it ended.
pub(crate) fn run_one(
    root: &Path,
    program: &Program,
    binary: &Path,
    args: &[OsString],
) -> Result<Printed, Failure> {
    println!("== {}", program.name);
    shell::tee(&mut command_of(root, program, binary, args)?)
}

/// The command that starts a program. `STRONGROOM_BIN` tells it where the binary is.
fn command_of(
    root: &Path,
    program: &Program,
    binary: &Path,
    args: &[OsString],
) -> Result<Command, Failure> {
    if !program.starts.is_empty() {
        let mut build = shell::cargo(root);
        build.args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            program.package,
        ]);
        for example in program.starts {
            build.args(["--example", example]);
        }
        shell::run(&mut build)?;
    }
    let mut command = shell::cargo(root);
    command
        .args(["run", "--quiet", "--release", "--example", program.example])
        .args(["--locked", "--package", program.package, "--"])
        .args(program.words)
        .args(args)
        .env("STRONGROOM_BIN", binary);
    Ok(command)
}

/// Builds the binary as it is shipped, and says where it is.
pub(crate) fn release_binary(root: &Path) -> Result<PathBuf, Failure> {
    let mut command = shell::cargo(root);
    shell::run(command.args(["build", "--release", "--locked", "--package", "strongroom"]))?;
    let name = format!("strongroom{}", std::env::consts::EXE_SUFFIX);
    Ok(Metadata::load(root)?
        .target_directory
        .join("release")
        .join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Program] = &[
        Program::example("storage", "strongroom-store", "storage", &[]),
        Program::example("redact", "strongroom-core", "redact_bench", &[]),
    ];

    fn selected(words: &[&str]) -> (Vec<&'static str>, Vec<String>) {
        let args: Vec<String> = words.iter().map(ToString::to_string).collect();
        let (programs, rest) = select(TABLE, &args);
        (
            programs.iter().map(|program| program.name).collect(),
            rest.to_vec(),
        )
    }

    #[test]
    fn a_name_selects_one_program_and_nothing_selects_all() {
        assert_eq!(selected(&[]).0, ["storage", "redact"]);
        assert_eq!(selected(&["redact"]), (vec!["redact"], vec![]));
        assert_eq!(selected(&["redact", "--mb", "3"]).1, ["--mb", "3"]);
        assert_eq!(selected(&["--mb", "3"]).0, ["storage", "redact"]);
    }
    #[test]
    fn a_program_without_a_source_is_not_written_yet() {
        let root = repo_root();
        assert!(TABLE[1].is_written(&root));
        assert!(!TABLE[0].is_written(&root));
    }

    fn repo_root() -> PathBuf {
        crate::repo::root().unwrap()
    }
}
