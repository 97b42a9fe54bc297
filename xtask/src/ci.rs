//! `cargo xtask ci`: everything a change has to pass, in order, on two cores in 25 minutes.

mod first_command;
mod room;
mod test_run;

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use crate::corpus;
use crate::corpus::Covered;
use crate::failure::Failure;
use crate::peers;
use crate::peers::Scope;
use crate::programs;
use crate::repo;
use crate::shell;
use crate::tidy;
use test_run::Tally;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Run everything a change has to pass, in order, and stop at the first failure

Usage: cargo xtask ci [--only STEP[,STEP...]]

  --only   Run only these steps: room, peers, fmt, clippy, tidy, test, doc, deny, release,
           first-command, corpus";

/// Runs the steps, then prints how long each took.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let steps = selected(args)?;
    let root = repo::root()?;
    let mut state = State::default();
    let mut rows = Vec::new();
    let mut failure = None;
    for (index, step) in steps.iter().enumerate() {
        println!(
            "\n==> {}/{} {}: {}",
            index + 1,
            steps.len(),
            step.name,
            step.about
        );
        let start = Instant::now();
        let result = (step.run)(&root, &mut state);
        rows.push(Row {
            name: step.name,
            took: start.elapsed(),
            outcome: match &result {
                Ok(Done::Passed) => "ok".to_owned(),
                Ok(Done::PassedOver(why)) => format!("passed over: {why}"),
                Err(_) => "FAILED".to_owned(),
            },
        });
        if let Err(e) = result {
            failure = Some(Failure::new(format!("ci stopped at {}: {e}", step.name)));
            break;
        }
    }
    print!("{}", table(&rows));
    if let Some(tally) = state.tests {
        println!("{tally}");
    }
    failure.map_or(Ok(()), Err)
}

/// What steps leave behind for the end.
#[derive(Debug, Default)]
struct State {
    tests: Option<Tally>,
}

/// How a step that did not fail ended.
#[derive(Debug)]
enum Done {
    Passed,
    PassedOver(String),
}

/// One step.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Path, &mut State) -> Result<Done, Failure>,
}

/// One line of the table at the end.
struct Row {
    name: &'static str,
    took: Duration,
    outcome: String,
}

fn selected(args: &[String]) -> Result<Vec<&'static Step>, Failure> {
    let names = match args {
        [] => return Ok(STEPS.iter().collect()),
        [flag, names] if flag == "--only" => names,
        _ => {
            return Err(Failure::usage(
                "ci: only `--only STEP` is known (see --help)",
            ));
        }
    };
    let find = |name: &str| STEPS.iter().find(|step| step.name == name);
    if let Some(unknown) = names.split(',').find(|name| find(name).is_none()) {
        return Err(Failure::usage(format!(
            "ci: no step is called `{unknown}` (see --help)"
        )));
    }
    let is_wanted = |step: &&Step| names.split(',').any(|name| name == step.name);
    Ok(STEPS.iter().filter(is_wanted).collect())
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("\n{:<14} {:>8}  outcome\n", "step", "seconds");
    for row in rows {
        let seconds = row.took.as_secs_f64();
        text.push_str(&format!(
            "{:<14} {seconds:>8.1}  {}\n",
            row.name, row.outcome
        ));
    }
    let all: Duration = rows.iter().map(|row| row.took).sum();
    text.push_str(&format!("{:<14} {:>8.1}\n", "all", all.as_secs_f64()));
    if all > BUDGET {
        text.push_str(&format!(
            "over the budget of {} minutes\n",
            BUDGET.as_secs() / 60
        ));
    }
    text
}

fn check_room(root: &Path, _: &mut State) -> Result<Done, Failure> {
    room::check(root)
}

fn install_peers(root: &Path, _: &mut State) -> Result<Done, Failure> {
    peers::install(root, Scope::Tests).map(|()| Done::Passed)
}

fn format_check(root: &Path, _: &mut State) -> Result<Done, Failure> {
    cargo(root, &["fmt", "--all", "--check"])
}

fn clippy(root: &Path, _: &mut State) -> Result<Done, Failure> {
    cargo(
        root,
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )
}

fn check_house_rules(root: &Path, _: &mut State) -> Result<Done, Failure> {
    tidy::check(root, false).map(|()| Done::Passed)
}

fn test(root: &Path, state: &mut State) -> Result<Done, Failure> {
    let (tally, result) = test_run::run(root)?;
    state.tests = Some(tally);
    result.map(|()| Done::Passed)
}

fn doc(root: &Path, _: &mut State) -> Result<Done, Failure> {
    let mut command = shell::cargo(root);
    command.env("RUSTDOCFLAGS", "-Dwarnings");
    shell::run(command.args(["doc", "--workspace", "--no-deps", "--locked"]))?;
    Ok(Done::Passed)
}

fn deny(root: &Path, _: &mut State) -> Result<Done, Failure> {
    if !shell::works(shell::cargo(root).args(["deny", "--version"])) {
        let why = "no cargo-deny here; tidy checked licences, bans and sources";
        return Ok(Done::PassedOver(why.to_owned()));
    }
    cargo(
        root,
        &["deny", "--locked", "check", "bans", "licenses", "sources"],
    )
}

fn release(root: &Path, _: &mut State) -> Result<Done, Failure> {
    let binary = programs::release_binary(root)?;
    let bytes = std::fs::metadata(&binary)
        .map_err(|e| Failure::new(format!("cannot see {}: {e}", binary.display())))?
        .len();
    println!("the release binary has {bytes} bytes, at most {BINARY_BYTES_MAX}");
    within(bytes)
}

fn within(bytes: u64) -> Result<Done, Failure> {
    if bytes > BINARY_BYTES_MAX {
        let message = format!("the binary has {bytes} bytes, at most {BINARY_BYTES_MAX}");
        return Err(Failure::new(message));
    }
    Ok(Done::Passed)
}

fn first_command(root: &Path, _: &mut State) -> Result<Done, Failure> {
    first_command::run(root)
}

fn corpus(root: &Path, _: &mut State) -> Result<Done, Failure> {
    Ok(match corpus::check(root, &[])? {
        Covered::Ran => Done::Passed,
        Covered::Nothing(why) => Done::PassedOver(why),
    })
}

fn cargo(root: &Path, args: &[&str]) -> Result<Done, Failure> {
    shell::run(shell::cargo(root).args(args)).map(|()| Done::Passed)
}

/// The size of the shipped binary, symbols stripped: docs/adr/0009. The goal is less, and stands in
/// docs/benchmarks.md.
const BINARY_BYTES_MAX: u64 = 42_000_000;
const BUDGET: Duration = Duration::from_secs(25 * 60);

/// The steps, in order: what fails fast first, what reuses a build after it.
const STEPS: &[Step] = &[
    Step {
        name: "room",
        about: "the disk has room for what a run builds",
        run: check_room,
    },
    Step {
        name: "peers",
        about: "what the tests talk to is installed",
        run: install_peers,
    },
    Step {
        name: "fmt",
        about: "the code is formatted",
        run: format_check,
    },
    Step {
        name: "clippy",
        about: "no lint is broken",
        run: clippy,
    },
    Step {
        name: "tidy",
        about: "the house rules hold",
        run: check_house_rules,
    },
    Step {
        name: "test",
        about: "all tests of the workspace",
        run: test,
    },
    Step {
        name: "doc",
        about: "the documentation builds without a warning",
        run: doc,
    },
    Step {
        name: "deny",
        about: "licences, banned crates and sources",
        run: deny,
    },
    Step {
        name: "release",
        about: "the shipped binary builds and is small enough",
        run: release,
    },
    Step {
        name: "first-command",
        about: "the first command of the README works, twice",
        run: first_command,
    },
    Step {
        name: "corpus",
        about: "the product over real projects, where they are",
        run: corpus,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> Result<Vec<&'static str>, Failure> {
        let args: Vec<String> = words.iter().map(ToString::to_string).collect();
        Ok(selected(&args)?.iter().map(|step| step.name).collect())
    }

    #[test]
    fn all_steps_run_unless_some_are_named() {
        assert_eq!(chosen(&[]).unwrap().len(), STEPS.len());
        assert_eq!(chosen(&["--only", "tidy,fmt"]).unwrap(), ["fmt", "tidy"]);
        assert_eq!(
            chosen(&["--only", "tidy,tests"]).unwrap_err().exit_code(),
            2
        );
        assert_eq!(chosen(&["--only"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn help_names_every_step() {
        for step in STEPS {
            assert!(USAGE.contains(step.name), "{}", step.name);
        }
    }

    #[test]
    fn the_table_says_when_the_budget_is_spent() {
        let row = |seconds| Row {
            name: "fmt",
            took: Duration::from_secs(seconds),
            outcome: "ok".to_owned(),
        };
        assert!(table(&[row(90)]).contains("fmt                90.0  ok\n"));
        assert!(!table(&[row(750), row(750)]).contains("budget"));
        assert!(table(&[row(750), row(751)]).contains("over the budget of 25 minutes"));
    }

    #[test]
    fn a_binary_over_the_bound_fails() {
        assert!(within(BINARY_BYTES_MAX).is_ok());
        assert!(within(BINARY_BYTES_MAX + 1).is_err());
    }
}
