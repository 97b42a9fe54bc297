//! `cargo xtask reliability`: programs that take minutes, mount rights or a crash.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::programs;
use crate::programs::Program;
use crate::repo;
use crate::results;
use crate::results::Document;
use crate::results::Section;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Build the release binary, then run the long fault and crash programs

Usage: cargo xtask reliability [NAME] [ROUNDS]

Names: kill, power, damage, many, migrate. The results go to docs/reliability.md.";

/// Runs one program or all, and writes down what came of it.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let (selected, rest) = programs::select(PROGRAMS, args);
    let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
    let binary = programs::release_binary(&root)?;
    let mut document = Document::load(&root, "docs/reliability.md", INTRODUCTION, SECTIONS)?;
    let mut failed = Vec::new();
    for program in selected {
        let printed = programs::run_one(&root, program, &binary, &rest)?;
        document.replace(program.name, &results::tables(&printed.stdout))?;
        if !printed.status.success() {
            failed.push(program.name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "reliability: {} failed",
        failed.join(", ")
    )))
}

/// The programs, in the order they run.
const PROGRAMS: &[Program] = &[
    Program::example("kill", "strongroom", "reliability", &["kill"]),
    Program::example("power", "strongroom", "reliability", &["power"]),
    Program::example("damage", "strongroom", "reliability", &["damage"]),
    Program::example("many", "strongroom", "reliability", &["many"]),
    Program::example("migrate", "strongroom", "reliability", &["migrate"]),
];

const INTRODUCTION: &str = "\
# Reliability

Figures of `cargo xtask reliability`, written by it. Each program makes a store, does it harm, and
compares what is there afterwards with what was acknowledged. To repeat one:
`cargo xtask reliability kill 500`. The power losses need root, loop devices and `mkfs.xfs`.
";

const SECTIONS: &[Section] = &[
    Section {
        name: "kill",
        title: "kill -9",
        about: "\
All writers are killed at a random moment, on the same store again and again. After each kill every
path that was written to in that round is read; at the end every path that ever was, and `doctor`
reads the whole store through every 50 rounds.",
    },
    Section {
        name: "power",
        title: "Power loss",
        about: "\
The store lies on ext4 in an image on an XFS that shares blocks. A clone of the image holds exactly
what reached the block device up to that moment; the writers are killed, and the clone is mounted in
the image's place, in turn with `data=ordered` and `data=writeback`. It has to hold every write
acknowledged before it was made. A file written without a sync is the control: it has to be lost.",
    },
    Section {
        name: "damage",
        title: "Damaged files",
        about: "\
1 KiB of noise at a random place of a closed store; then every version of every secret is read, and
`doctor` looks at the store.",
    },
    Section {
        name: "many",
        title: "Many processes",
        about: "\
Eight processes raise shared counters with check-and-set, write, read, list, delete and undelete on
one store; then eight of them start `strongroom set` at once.",
    },
    Section {
        name: "migrate",
        title: "A migration that is killed",
        about: "\
500 secrets of a `.env` file go to the store and back: `migrate` and `migrate rollback` are killed
with `kill -9` at random moments of their lives, and `migrate resume` goes on. After each pass every
secret has to be there once, with one version, and the file without them; after each rollback the
store has to be empty and the file to the byte what it was.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_section() {
        for program in PROGRAMS {
            assert!(SECTIONS.iter().any(|section| section.name == program.name));
        }
    }
}
