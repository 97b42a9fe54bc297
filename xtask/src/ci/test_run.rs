//! The tests of the workspace: by nextest where it is installed, else by `cargo test`.

use std::fmt;
use std::path::Path;

use crate::failure::Failure;
use crate::shell;

/// Runs all tests. The tally is handed back also when tests failed.
pub(crate) fn run(root: &Path) -> Result<(Tally, Result<(), Failure>), Failure> {
    let mut command = shell::cargo(root);
    let has_nextest = shell::works(shell::cargo(root).args(["nextest", "--version"]));
    if has_nextest {
        command.args(["nextest", "run", "--workspace", "--locked"]);
    } else {
        println!("no cargo-nextest here: the tests run by `cargo test`");
        command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    }
    let printed = shell::tee(&mut command)?;
    let tally = if has_nextest {
        Tally::of_nextest(&printed.stderr)
    } else {
        Tally::of_cargo_test(&printed.stdout)
    };
    let result = if printed.status.success() {
        tally.check()
    } else {
        Err(shell::failed(&command, printed.status))
    };
    Ok((tally, result))
}

/// How many tests passed and failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Reads nextest's summary: `Summary [ 1.2s] 5 tests run: 3 passed (1 slow), 2 failed`.
    /// A test that is ended for its time or cannot start has failed too.
    fn of_nextest(stderr: &str) -> Self {
        let mut tally = Self::default();
        let plain = without_colours(stderr);
        let summary = plain
            .lines()
            .filter(|line| line.trim_start().starts_with("Summary ["))
            .filter_map(|line| line.split_once(" run: "))
            .next_back();
        let Some((_, counts)) = summary else {
            return tally;
        };
        for part in counts.split(',') {
            let mut words = part.split_whitespace();
            let number: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            match words.next() {
                Some("passed") => tally.passed += number,
                Some("failed" | "timed" | "exec") => tally.failed += number,
                _ => {}
            }
        }
        tally
    }

    /// Adds up the lines `test result: ok. 3 passed; 0 failed; ...` of `cargo test`.
    fn of_cargo_test(stdout: &str) -> Self {
        let mut tally = Self::default();
        let plain = without_colours(stdout);
        for (_, counts) in plain.lines().filter_map(|line| {
            line.strip_prefix("test result: ")
                .and_then(|rest| rest.split_once(". "))
        }) {
            for part in counts.split(';') {
                match part.trim().split_once(' ') {
                    Some((number, "passed")) => tally.passed += number.parse().unwrap_or(0),
                    Some((number, "failed")) => tally.failed += number.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
        tally
    }

    /// A run that says it went well must have run something, and nothing of it may have failed.
    fn check(self) -> Result<(), Failure> {
        match self {
            Self { passed: 0, .. } => Err(Failure::new("no test was run")),
            Self { failed: 0, .. } => Ok(()),
            Self { failed, .. } => Err(Failure::new(format!("{failed} tests failed"))),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Drops the colour codes that a forced colour setting puts even into a pipe.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_nextest_is_read() {
        let text = "        PASS a\n     Summary [   0.1s] 5 tests run: 3 passed (1 slow), \
                    1 failed, 1 timed out, 2 skipped\n        FAIL b\n";
        let tally = Tally::of_nextest(text);
        assert_eq!(tally.to_string(), "3 passed, 2 failed");
        assert!(tally.check().is_err());
        let fine = Tally::of_nextest("     Summary [   0.1s] 2/5 tests run: 2 passed, 0 skipped\n");
        assert_eq!(fine.to_string(), "2 passed, 0 failed");
        assert!(fine.check().is_ok());
    }

    #[test]
    fn colours_do_not_hide_the_summary() {
        let text = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \
                    \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped\n";
        assert_eq!(Tally::of_nextest(text).to_string(), "2 passed, 0 failed");
    }

    #[test]
    fn the_lines_of_cargo_test_are_added_up() {
        let text = "running 2 tests\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; finished in 0.00s\n\
                    test result: FAILED. 1 passed; 3 failed; 0 ignored; finished in 0.00s\n";
        assert_eq!(Tally::of_cargo_test(text).to_string(), "3 passed, 3 failed");
    }

    #[test]
    fn a_run_without_tests_fails() {
        assert!(
            Tally::of_nextest("error: no tests to run\n")
                .check()
                .is_err()
        );
        assert!(Tally::of_cargo_test("").check().is_err());
    }
}
