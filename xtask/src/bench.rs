//! `cargo xtask bench`: the benchmarks, on the release build.

use crate::failure::Failure;
use crate::programs;
use crate::programs::Program;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Build the release binary, then run the benchmarks

Usage: cargo xtask bench [NAME] [ARGS...]

Arguments go to the benchmark. `cargo xtask peers --bench` installs what is compared with.";

/// Runs one benchmark or all.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    programs::run_table("bench", BENCHES, args)
}

/// The benchmarks, in the order they run.
const BENCHES: &[Program] = &[];
