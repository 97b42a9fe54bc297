//! Programs of the workspace that are run by name: benchmarks, corpus and reliability runs.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::repo;
use crate::repo::Metadata;
use crate::shell;

/// A program of the workspace, one row of a table.
#[derive(Debug)]
pub(crate) struct Program {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// The crate it belongs to.
    pub(crate) package: &'static str,
    /// The example or benchmark target.
    pub(crate) target: Target,
}

/// What kind of target a program is.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the tables are filled as the programs are written"
    )
)]
pub(crate) enum Target {
    /// `examples/<name>.rs`
    Example(&'static str),
    /// `benches/<name>.rs`
    Bench(&'static str),
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

/// Builds the release binary, then runs each program with `args`. `STRONGROOM_BIN` tells it where
/// the binary is.
pub(crate) fn run(root: &Path, programs: &[&Program], args: &[OsString]) -> Result<(), Failure> {
    let binary = release_binary(root)?;
    for program in programs {
        println!("== {}", program.name);
        let mut command = shell::cargo(root);
        match program.target {
            Target::Example(name) => {
                command.args(["run", "--quiet", "--release", "--example", name]);
            }
            Target::Bench(name) => {
                command.args(["bench", "--quiet", "--bench", name]);
            }
        }
        command
            .args(["--locked", "--package", program.package, "--"])
            .args(args);
        shell::run(command.env("STRONGROOM_BIN", &binary))?;
    }
    Ok(())
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

/// Runs the programs of a table that `args` select, with the other arguments.
pub(crate) fn run_table(command: &str, table: &[Program], args: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let (selected, rest) = select(table, args);
    if selected.is_empty() {
        println!("{command}: no programs are in the table of xtask/src/{command}.rs yet");
        return Ok(());
    }
    let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
    run(&root, &selected, &rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Program] = &[
        Program {
            name: "storage",
            package: "strongroom-store",
            target: Target::Bench("storage"),
        },
        Program {
            name: "redact",
            package: "strongroom-core",
            target: Target::Example("redact"),
        },
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
}
