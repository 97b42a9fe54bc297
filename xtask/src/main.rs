//! House keeping for the workspace: `cargo xtask <command>`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "xtask talks to a terminal or a CI log"
)]

mod bench;
mod chaos;
mod ci;
mod corpus;
mod failure;
mod parity;
mod peers;
mod programs;
mod reliability;
mod repo;
mod results;
mod shell;
mod tidy;

use std::process::ExitCode;

use failure::Failure;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs the command named by the first argument, with the rest as its arguments.
fn dispatch(args: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = args.split_first() else {
        print!("{}", help());
        return Err(Failure::usage("a command is needed"));
    };
    if is_help(name) {
        print!("{}", help());
        return Ok(());
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(Failure::usage(format!(
            "unknown command `{name}` (see `cargo xtask --help`)"
        )));
    };
    if rest.first().is_some_and(|arg| is_help(arg)) {
        println!("{}", command.usage);
        return Ok(());
    }
    (command.run)(rest)
}

/// The list of commands, one line each.
fn help() -> String {
    let mut text =
        String::from("House keeping for the workspace\n\nUsage: cargo xtask <command>\n\n");
    for command in COMMANDS {
        text.push_str(&format!("  {:<12} {}\n", command.name, command.about));
    }
    text.push_str("\n`cargo xtask <command> --help` shows the options of one command.\n");
    text
}

fn is_help(arg: &str) -> bool {
    matches!(arg, "--help" | "-h" | "help")
}

/// One command of `cargo xtask`.
struct Command {
    name: &'static str,
    about: &'static str,
    usage: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "ci",
        about: "Run everything a change has to pass, in order",
        usage: ci::USAGE,
        run: ci::run,
    },
    Command {
        name: "tidy",
        about: "Check the house rules that a machine can check",
        usage: tidy::USAGE,
        run: tidy::run,
    },
    Command {
        name: "peers",
        about: "Install the programs that the tests talk to",
        usage: peers::USAGE,
        run: peers::run,
    },
    Command {
        name: "bench",
        about: "Run the benchmarks",
        usage: bench::USAGE,
        run: bench::run,
    },
    Command {
        name: "corpus",
        about: "Run the product over the shared corpus",
        usage: corpus::USAGE,
        run: corpus::run,
    },
    Command {
        name: "reliability",
        about: "Run the long fault and crash programs",
        usage: reliability::USAGE,
        run: reliability::run,
    },
    Command {
        name: "chaos",
        about: "Break servers and databases under load, and check what clients saw",
        usage: chaos::USAGE,
        run: chaos::run,
    },
    Command {
        name: "parity",
        about: "Compare our server's answers with a real OpenBao's",
        usage: parity::USAGE,
        run: parity::run,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatch_words(words: &[&str]) -> Result<(), Failure> {
        dispatch(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn an_unknown_command_exits_with_two() {
        let failure = dispatch_words(&["tydy"]).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("tydy"));
    }

    #[test]
    fn no_command_exits_with_two() {
        assert_eq!(dispatch_words(&[]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn help_names_every_command() {
        for command in COMMANDS {
            assert!(help().contains(command.name));
            assert!(
                command
                    .usage
                    .contains(&format!("cargo xtask {}", command.name))
            );
            dispatch_words(&[command.name, "--help"]).unwrap();
        }
    }

    #[test]
    fn an_unknown_option_exits_with_two() {
        for command in ["ci", "tidy", "peers", "chaos"] {
            let failure = dispatch_words(&[command, "--nonsense"]).unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{command}");
        }
    }
}
