//! `cargo xtask reliability`: programs that take minutes, mount rights or a crash.

use crate::failure::Failure;
use crate::programs;
use crate::programs::Program;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Build the release binary, then run the long fault and crash programs

Usage: cargo xtask reliability [NAME] [ARGS...]

Arguments go to the program.";

/// Runs one program or all.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    programs::run_table("reliability", PROGRAMS, args)
}

/// The programs, in the order they run.
const PROGRAMS: &[Program] = &[];
