//! `cargo xtask reliability`: programs that take minutes, mount rights or a crash.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::programs;
use crate::programs::Program;
use crate::repo;
use crate::results;
use crate::results::Document;
use crate::results::Section;
use crate::shell;
use crate::shell::Printed;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Build the release binary, then run the long fault and crash programs

Usage: cargo xtask reliability [NAME] [ROUNDS] [--debug]

Of a store:   kill, power, damage, many, migrate
Of a server:  sinks, requests, connections, timing, guesses, shares, histories, policies;
              `server` runs all of these
Of others:    backends
Of databases: rotation, leases (20 times each; `--times N` is the same as ROUNDS)

  --debug     With the debug build
The results go to docs/reliability.md.";

/// Runs one program or all, and writes down what came of it.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let is_debug = args.iter().any(|arg| arg == "--debug");
    let (selected, rest) = select(args);
    // What is left is the number of rounds, with a name or without.
    let rest = rest
        .iter()
        .filter(|arg| *arg != "--debug" && *arg != "--times");
    let rest: Vec<OsString> = rest.map(OsString::from).collect();
    let builds = match is_debug {
        true => Builds::debug(&root)?,
        false => Builds::Release(programs::release_binary(&root)?),
    };
    let mut document = document(&root)?;
    let mut failed = Vec::new();
    for program in selected {
        let printed = builds.run(&root, program, &rest)?;
        let mut table = results::tables(&printed.stdout);
        if is_debug {
            table.push_str("| build | debug |  |  |\n");
        }
        document.replace(program.name, &table)?;
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

/// What is run.
enum Builds {
    /// As it is shipped; the programs are built for it.
    Release(PathBuf),
    /// The folder of a debug build, with the programs in it.
    Debug(PathBuf),
}

impl Builds {
    fn debug(root: &Path) -> Result<Self, Failure> {
        let mut build = shell::cargo(root);
        build.args(["build", "--workspace", "--bins", "--example", EXAMPLE]);
        shell::run(&mut build)?;
        let target = repo::Metadata::load(root)?.target_directory;
        Ok(Self::Debug(target.join("debug")))
    }

    fn run(&self, root: &Path, program: &Program, rest: &[OsString]) -> Result<Printed, Failure> {
        let folder = match self {
            Self::Release(binary) => return programs::run_one(root, program, binary, rest),
            Self::Debug(folder) => folder,
        };
        println!("== {}, with the debug build", program.name);
        let mut command = shell::program_in(root, folder.join("examples").join(EXAMPLE));
        command.args(program.words).args(rest);
        shell::tee(command.env("STRONGROOM_BIN", folder.join("strongroom")))
    }
}

/// The program that has all of them.
const EXAMPLE: &str = "reliability";

/// The document with the results.
pub(crate) fn document(root: &Path) -> Result<Document, Failure> {
    Document::load(root, "docs/reliability.md", INTRODUCTION, SECTIONS)
}

/// One program, those of a server, or all of them.
fn select(args: &[String]) -> (Vec<&'static Program>, &[String]) {
    match args.split_first() {
        Some((name, rest)) if name == "server" => {
            let of_server = PROGRAMS.iter().filter(|one| SERVER.contains(&one.name));
            (of_server.collect(), rest)
        }
        _ => programs::select(PROGRAMS, args),
    }
}

/// The programs that attack a server.
const SERVER: &[&str] = &[
    "sinks",
    "requests",
    "connections",
    "timing",
    "guesses",
    "shares",
    "histories",
    "policies",
    "poison",
    "backends",
    "rotation",
    "leases",
    "soak",
];

/// The programs, in the order they run.
const PROGRAMS: &[Program] = &[
    Program::example("kill", "strongroom", "reliability", &["kill"]),
    Program::example("power", "strongroom", "reliability", &["power"]),
    Program::example("damage", "strongroom", "reliability", &["damage"]),
    Program::example("many", "strongroom", "reliability", &["many"]),
    Program::example("migrate", "strongroom", "reliability", &["migrate"]),
    Program::example("sinks", "strongroom", "reliability", &["sinks"]),
    Program::example("requests", "strongroom", "reliability", &["requests"]),
    Program::example("connections", "strongroom", "reliability", &["connections"]),
    Program::example("timing", "strongroom", "reliability", &["timing"]),
    Program::example("guesses", "strongroom", "reliability", &["guesses"]),
    Program::example("shares", "strongroom", "reliability", &["shares"]),
    Program::example("histories", "strongroom", "reliability", &["histories"]),
    Program::example("policies", "strongroom", "reliability", &["policies"]),
    Program::example("poison", "strongroom", "reliability", &["poison"]),
    Program::example("backends", "strongroom", "reliability", &["backends"]),
    Program::example("rotation", "strongroom", "reliability", &["rotation"]),
    Program::example("leases", "strongroom", "reliability", &["leases"]),
    Program::example("soak", "strongroom", "reliability", &["soak"]),
];

/// What `cargo xtask chaos` runs.
pub(crate) const CHAOS: Program =
    Program::example("chaos", "strongroom", "reliability", &["chaos"]);

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
`doctor` looks at the store. What is harmless hit bytes that nothing needs: a page's unused rest,
or, where a log was left, a page of which the log has the newer copy (and the other way round).",
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
    Section {
        name: "sinks",
        title: "A server whose audit log fails",
        about: "\
`strongroom serve` with a file on a disk that fills up, in a folder that is moved away, and with a
socket that nobody reads as its only device. Every answer that holds the secret has to have a line
with its request id; everything else is refused. Then one line of a whole log is taken out, moved or
changed.",
    },
    Section {
        name: "requests",
        title: "A server that is sent malformed requests",
        about: "\
HTTP that two readers would cut differently, heads that are too large, and JSON that eats memory, to
`strongroom serve` over loopback.",
    },
    Section {
        name: "connections",
        title: "A server with thousands of connections",
        about: "\
Connections that stop in the middle of a head (or before it), others that asked once and stay, while
somebody else asks `sys/health` on new connections; then more connections than the server may have
file descriptors, while an open connection writes. Client and server share the machine.",
    },
    Section {
        name: "timing",
        title: "What time tells",
        about: "\
Welch's t of two kinds of requests that are answered alike, in an order that is drawn. The slowest
5 % of both together are left out, as they are the machine's other work; t of all stands beside it.
In process the operations are timed in batches of 16.",
    },
    Section {
        name: "guesses",
        title: "Guessing at a server",
        about: "\
Eight clients with wrong passwords for 1,000 names from 50 addresses, while somebody else logs in;
then wrong unseal shares.",
    },
    Section {
        name: "shares",
        title: "New unseal shares, and kills",
        about: "\
Shares that are wrong, the same or another store's; a rekey that somebody without a token tries to
cancel; then `kill -9` within 30 ms of the last share of a rekey. What its holders have afterwards,
old shares or new ones that were shown to them, has to open the store.",
    },
    Section {
        name: "histories",
        title: "Reads and writes of many clients, with kills",
        about: "\
Eight clients read and write with check-and-set over HTTP while the server is killed and started
again and again. For each secret there has to be one order of the operations, in keeping with real
time, that explains every answer.

Below that, shuttle chooses the order in which tasks reach the storage: the tests try 1,000
interleavings each of writes, folders, uses, renewals and revocations (`schedules` in the engine).",
    },
    Section {
        name: "policies",
        title: "Generated policies",
        about: "\
What `sys/capabilities-self` says for generated policies and paths, beside a model of 60 lines and
beside OpenBao. (A test compares 100,000 decisions with the same model; `cargo xtask parity
policies` compares 450,000 with OpenBao.)",
    },
    Section {
        name: "poison",
        title: "Unseal shares of bytes that nobody may look at",
        about: "\
valgrind's memcheck takes the secret and the random coefficients for memory that was never written,
and reports every branch and every address that depends on them, while shares are made and put
together again. (Reading a share's text, base64 or hexadecimal, is not part of it.)",
    },
    Section {
        name: "backends",
        title: "Backends that are slow or gone",
        about: "\
Between `strongroom` and a server that speaks Vault's or AWS's API, or a store in PostgreSQL, lies
a line that is late, swallows all, is reset, or ends in the middle of an answer. Each command has
to end in time with the exit code that says so, to keep little under way, and to work again when
the line does. (That a server is left alone after five outages, and that a bulk call does not wait
for each, is a test of every backend: `circuit_contract!`.)",
    },
    Section {
        name: "rotation",
        title: "Rotations under faults",
        about: "\
`strongroom serve` rotates six secrets at once while applications read them through the API and log
in to a real PostgreSQL with what they read. The server is killed (`kill -9`) where its audit log,
which has a line before and behind each of the four steps, ends with a given line; then the
database is stopped, or the line to it cut, in the middle of a step; and two servers on one storage
are told to rotate the same secrets, all that at the same time. Only a wrong password is a refusal:
with two roles of any value that was current since the last rotation but one, with one role when
neither the current value nor the one that waits is let in.",
    },
    Section {
        name: "leases",
        title: "Users of databases under faults",
        about: "\
`strongroom serve` makes users in a real PostgreSQL, renews and revokes them, changes its own
password and that of a static role, and removes the mount, and is killed (`kill -9`) meanwhile; or
the database is away. What clients were told of has to work until its time, and nobody else may be
left after the next start and one sweep.",
    },
    Section {
        name: "chaos",
        title: "Three servers and a pair of databases",
        about: "\
`cargo xtask chaos`: three servers, a primary PostgreSQL and its synchronous standby in network
namespaces. Twelve clients read, write with check-and-set, make secrets and list them, each at a
server that is drawn anew for every request. For each secret there has to be one order that explains
every answer, in keeping with real time; a read may show what was current up to a second before it
began (docs/scale.md). An answer of 503 or 412 has to mean that nothing was done. Afterwards every
server has to serve again by itself, and everything acknowledged has to be there at each of them.",
    },
    Section {
        name: "soak",
        title: "An hour under full load",
        about: "\
Ten clients that never wait, on connections that come and go, while the audit file is moved away and
deleted every 30 seconds: what the server's memory (resident set, the machine's word) does. The
growth is the slope of the line through a sample every 10 seconds.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_section() {
        for program in PROGRAMS.iter().chain([&CHAOS]) {
            assert!(SECTIONS.iter().any(|section| section.name == program.name));
        }
        for name in SERVER {
            assert!(PROGRAMS.iter().any(|program| program.name == *name));
        }
    }
}
