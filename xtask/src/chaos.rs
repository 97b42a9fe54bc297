//! `cargo xtask chaos`: servers, databases and the cables between them are broken under load.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::programs;
use crate::reliability;
use crate::repo;
use crate::results;
use crate::shell;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Break servers, databases and the cables between them under load, and check what clients saw

Usage: cargo xtask chaos [--runs N] [--first SEED] [--debug]

  --runs N      So many runs, of about a minute each (20)
  --first SEED  The first run's number, from which its harm is drawn (0)
  --debug       With the debug build

Three servers, a primary PostgreSQL and its synchronous standby in network namespaces: it needs
root, iproute2 and what `cargo xtask peers` installs; clocks are skewed where libfaketime is.
The results go to docs/reliability.md.";

/// Runs it, and writes down what came of it.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let options = parse(args)?;
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| shell::find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        return Err(Failure::new(format!(
            "chaos: not found: {}; `cargo xtask peers` installs them",
            missing.join(", ")
        )));
    }
    let root = repo::root()?;
    let rest = [options.runs, options.first].map(|number| OsString::from(number.to_string()));
    let printed = if options.is_debug {
        println!("== chaos, with the debug build");
        let mut build = shell::cargo(&root);
        build.args(["build", "--workspace", "--bins", "--example", EXAMPLE]);
        shell::run(&mut build)?;
        let folder = repo::Metadata::load(&root)?.target_directory.join("debug");
        let mut command = shell::program_in(&root, folder.join("examples").join(EXAMPLE));
        command.arg(NAME).args(&rest);
        shell::tee(command.env("STRONGROOM_BIN", folder.join("strongroom")))?
    } else {
        let binary = programs::release_binary(&root)?;
        programs::run_one(&root, &reliability::CHAOS, &binary, &rest)?
    };
    let table = results::tables(&printed.stdout);
    if table.starts_with("| ") {
        let build = if options.is_debug { "debug" } else { "release" };
        let table = format!("{table}| build | {build} |  |  |\n");
        reliability::document(&root)?.replace(NAME, &table)?;
    }
    match printed.status.success() {
        true => Ok(()),
        false => Err(Failure::new("chaos failed")),
    }
}

const NAME: &str = "chaos";
const EXAMPLE: &str = "reliability";

/// Programs that it starts, and the packages they are in.
const NEEDED: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("setpriv", "util-linux"),
    ("psql", "postgresql-15"),
];

#[derive(Debug, PartialEq, Eq)]
struct Options {
    runs: u64,
    first: u64,
    is_debug: bool,
}

fn parse(args: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        runs: 20,
        first: 0,
        is_debug: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().and_then(|text| text.parse().ok());
            text.ok_or_else(|| Failure::usage(format!("chaos: {arg} needs a number")))
        };
        match arg.as_str() {
            "--runs" => options.runs = number()?,
            "--first" => options.first = number()?,
            "--debug" => options.is_debug = true,
            _ => {
                return Err(Failure::usage(format!(
                    "chaos: unknown option `{arg}` (see --help)"
                )));
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options, Failure> {
        parse(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let usual = parsed(&[]).unwrap();
        assert_eq!((usual.runs, usual.first, usual.is_debug), (20, 0, false));
        let given = parsed(&["--runs", "3", "--first", "7", "--debug"]).unwrap();
        assert_eq!((given.runs, given.first, given.is_debug), (3, 7, true));
        for words in [&["--runs"][..], &["--runs", "many"], &["--rounds", "3"]] {
            assert_eq!(parsed(words).unwrap_err().exit_code(), 2);
        }
    }
}
