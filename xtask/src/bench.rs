//! `cargo xtask bench`: the benchmarks, on the release build.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::programs;
use crate::programs::Program;
use crate::repo;
use crate::results;
use crate::results::Document;
use crate::results::Section;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Build the release binary, then run the benchmarks

Usage: cargo xtask bench [NAME] [ARGS...]

Names: run, set, check, redact, store, migrate, server, aws, postgres, leases, rotation, userkeys,
size. The results go to docs/benchmarks.md. Arguments go to the benchmark (`postgres 20000`: so many
secrets). `cargo xtask peers --bench` installs what is compared with.";

/// Runs one benchmark or all, and writes down the figures.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let is_size = args.first().is_some_and(|name| name == SIZE);
    let (selected, rest) = programs::select(BENCHES, args);
    let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
    let binary = programs::release_binary(&root)?;
    let mut document = Document::load(&root, "docs/benchmarks.md", INTRODUCTION, SECTIONS)?;
    if is_size || args.is_empty() {
        let table = size_table(&root, &binary)?;
        print!("== {SIZE}\n{table}");
        document.replace(SIZE, &table)?;
    }
    if is_size {
        return Ok(());
    }
    for program in selected {
        if !program.is_written(&root) {
            println!(
                "== {}: {} is not written yet",
                program.name, program.example
            );
            continue;
        }
        let printed = programs::run_one(&root, program, &binary, &rest)?;
        if !printed.status.success() {
            return Err(Failure::new(format!("bench: {} failed", program.name)));
        }
        let table = match program.name {
            REDACT => redact_table(&printed.stdout)?,
            _ => results::tables(&printed.stdout),
        };
        document.replace(program.name, &table)?;
    }
    Ok(())
}

/// What is measured without running anything.
fn size_table(root: &Path, binary: &Path) -> Result<String, Failure> {
    let cannot = |e: std::io::Error| Failure::new(format!("cannot measure the sizes: {e}"));
    let bytes = fs::metadata(binary).map_err(cannot)?.len();
    let lock = fs::read_to_string(root.join("Cargo.lock")).map_err(cannot)?;
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    let mut table = String::from(HEADING);
    let megabytes = bytes as f64 / 1e6;
    table.push_str(&row(&[
        "the release binary, symbols stripped",
        &format!("{megabytes:.1} MB"),
        "",
        "",
        "at most 25 MB",
        verdict(megabytes <= 25.0),
    ]));
    table.push_str(&row(&[
        "packages in the lock file",
        &packages.to_string(),
        "",
        "",
        "at most 700",
        verdict(packages <= 700),
    ]));
    for (what, goal) in BY_HAND {
        table.push_str(&row(&[what, "measured by hand", "", "", goal, ""]));
    }
    Ok(table)
}

/// The redactor's benchmark talks in lines of its own.
fn redact_table(printed: &str) -> Result<String, Failure> {
    let rate = |label: &str| -> Result<f64, Failure> {
        let line = printed.lines().find(|line| line.starts_with(label));
        let before = line.and_then(|line| line.split(" MB/s").next());
        let figure = before.and_then(|text| text.split_whitespace().last()?.parse().ok());
        figure.ok_or_else(|| Failure::new(format!("redact: no line `{label}` with a rate")))
    };
    let floor = rate("copy only")?;
    let mut table = String::from(HEADING);
    for (label, what, goal) in REDACTED {
        let figure = rate(label)?;
        let reached = goal.map_or("", |goal| verdict(figure >= goal));
        let goal = goal.map_or(String::new(), |goal| format!("at least {goal:.0} MB/s"));
        table.push_str(&row(&[
            what,
            &format!("{figure:.0} MB/s"),
            &format!("copying only: {floor:.0} MB/s"),
            &format!("{:.2}", figure / floor),
            &goal,
            reached,
        ]));
    }
    Ok(table)
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "yes" } else { "**no**" }
}

const SIZE: &str = "size";
const REDACT: &str = "redact";

/// The benchmarks, in the order they run.
const BENCHES: &[Program] = &[
    Program {
        starts: &["hello"],
        ..Program::example("run", "strongroom", "bench", &["run"])
    },
    Program::example("set", "strongroom", "bench", &["set"]),
    Program {
        starts: &["hello"],
        ..Program::example("check", "strongroom", "bench", &["check"])
    },
    Program::example(REDACT, "strongroom-core", "redact_bench", &[]),
    Program::example("store", "strongroom-store", "store_bench", &[]),
    Program::example("migrate", "strongroom", "bench", &["migrate"]),
    Program::example("server", "strongroom", "bench", &["server"]),
    Program::example("aws", "strongroom", "bench", &["aws"]),
    Program::example("postgres", "strongroom", "bench", &["postgres"]),
    Program::example("leases", "strongroom", "bench", &["leases"]),
    Program::example("rotation", "strongroom", "bench", &["rotation"]),
    Program::example("userkeys", "strongroom-sdk", "userkeys_bench", &[]),
];

const HEADING: &str = "\
| what | figure | beside | ratio | goal | reached |
| --- | --- | --- | --- | --- | --- |
";

/// Minutes that a person measures with nothing else running.
const BY_HAND: &[(&str, &str)] = &[
    ("clean release build, two cores", "at most 8 minutes"),
    ("`cargo xtask ci`, two cores", "at most 25 minutes"),
];

/// Lines of the redactor's benchmark: how they begin, what they mean, what is wanted.
const REDACTED: &[(&str, &str, Option<f64>)] = &[
    (
        "200 secrets",
        "1 GB of output, 200 secrets in all encodings, one core",
        Some(400.0),
    ),
    ("and one of 9 bytes", "the same, and one of 9 bytes", None),
    ("and one of 4 bytes", "the same, and one of 4 bytes", None),
];

const INTRODUCTION: &str = "\
# Benchmarks

Figures of `cargo xtask bench`, written by it. To repeat: `cargo xtask peers --bench` once, then
`cargo xtask bench`, or one of them, `cargo xtask bench run`. Times of a whole process are the best
of many rounds, with the median beside; all that is compared starts in turn within one run, and
ratios are of the best unless they say otherwise. A figure under a busy machine is worse than it
could be: the load is noted.
";

const SECTIONS: &[Section] = &[
    Section {
        name: "run",
        title: "Starting a command",
        about: "\
A cold process each time: opens the store with its key file, resolves, checks and injects, starts
`true`, waits for it. The floor is a Rust program that prints one line. The peers hold the same
values and hand them to the same `true`.

Two designs were measured. With everything optimised for speed and across crates, and format 1 of
the store, a start with 200 secrets took 11 times the floor. Now vendors' libraries are built for
size, the store's rows are in format 2 (99 reads of the file instead of 928), placeholders are
told in one look and only the arguments of `run` are described to the parser: 8 to 9 times the
floor. What is left is mostly not ours to save while one binary holds every vendor's library: half
of the 735 page faults of a start are the loader's, which relocates the tables of 39 MB before the
first instruction; the rest is starting a child, reading 200 sealed rows and checking them.
Two ways round the loader were tried on the same code: linked to a fixed address it starts 1.1 ms
sooner (of 11.7, in the median) but lies where an attacker knows, which a program with keys in
memory should not; packed relocations make the file 1.9 MB smaller, want a newer C library and save
no time.

SecretSpec links one provider beside its command line (built with its age provider alone) and has no
store to open: it decrypts one file. What a process of ours pays before it reads anything, 4 to 5 ms
of loading 42 MB, is more than the goal of 0.7 leaves.",
    },
    Section {
        name: "set",
        title: "Writing",
        about: "\
In one process, alternating with an insert into a bare SQLite table in the same folder, both synced
before they return.",
    },
    Section {
        name: "check",
        title: "Checking",
        about: "\
The whole process, with the table it prints. At first the values of a .env file were looked for
one by one, and each value was compared with every phrase of the placeholder rule; now both are
tables. From the store, 1,000 rows are opened and 1,000 rows of the audit log are on the disk before
the answer: 29 to 45 ms, by the day.",
    },
    Section {
        name: REDACT,
        title: "Masking output",
        about: "Log lines in chunks of 64 KiB, against copying the same chunks.",
    },
    Section {
        name: "store",
        title: "The store",
        about: "\
Group commit and point reads, in one process.

The goal of 30,000 durable writes a second at 64 writers is above what SQLite does on this machine
with the bare rows: the third line has the rows and indexes of a secret and its audit record, 64
secrets a commit, one writer, and nothing else: no lookup, no sealing, no other thread. One random
key a row costs 30 to 40 us, whatever else is in it. Two designs were measured: format 1 with ids
as keys, and format 2 with row numbers, where the writer looks up only what a condition needs,
updates in place, and waits a moment for those it has just answered. Other layouts of the same rows
(audit records in a table without indexes, no index of revisions) gain 10 to 15 per cent bare, so
that a third format would not reach the goal either. Only a log that is written first and
indexed later would; then a second process would not see what the first has acknowledged.

With a million secrets, measured by hand (`store_bench FOLDER --reads --million`): a value is read
and opened 143,000 times a second where it is 224,000 among a thousand, 1.6 times as slow (goal: at
most 2; it was 2.4 with SQLite's own 2 MB of pages a connection, where the bare table is 2.1); the
listing of a folder with a hundred takes 0.55 ms, where it takes 0.49.",
    },
    Section {
        name: "migrate",
        title: "Migration",
        about: "\
A whole `migrate` from a `.env` file to AWS Secrets Manager: planned, written, read back, compared,
journalled, the file cleaned. moto stands in AWS's place, a new one each time; beside it eight
clients that write as many secrets to it and do nothing else.

moto is one interpreter: a creation costs it 3.2 to 4.7 ms of CPU, reading 20 secrets back 5 to 7.
Of 1,000 secrets 1,000 creations, 50 readings and two listings have to be asked for: 1.08 times
what the bare clients ask, so that 0.93 or so is the most there is. The first design looked every
name up before (another 50 readings) and read each group back before it began the next, while moto
had nothing to do: 0.76. Now a listing says what is there, and what was written is read back while
the next is being written: 0.78 to 0.94, by the day. moto is busy nine tenths of the time; the rest
are the process's start and its last commits (the file cleaned, the daily backup), half a second
together. A third design: moto trips over its own threads now and then and answers 500, and the
vendor's library waited up to a second before it asked again, at worst as the last of all. Now it
waits up to 50 ms: 0.77 at an hour at which the machine was 1.7 times as fast as at others, so that
the half second weighed more. With what was written read back in smaller pieces, of which less is
left at the end: 0.83. The CPU is the vendor's machinery for each request, a quarter of what moto
needs for one: 0.80 ms at that hour, 1.19 at a slow one.",
    },
    Section {
        name: "server",
        title: "The server",
        about: "\
wrk beside the servers, in turn: ours on its store file, OpenBao on raft, both with an audit file;
every write is synced before its answer. RustyVault (0.2.1) has the first KV engine only, lies in
files and keeps no audit log. The bare handler reads a request and writes as many bytes as ours, and
does nothing else.

Writes: at first each waited for the audit file and then for the store, and was 1.7 times as fast as
OpenBao's. Now both disks are asked at once, writers share a commit, and the rows are those of
format 2. A write costs half a millisecond of the two cores, half of it the kernel's (the pages of
three indexes for the version that is kept, two flushes, the socket); asking the audit file's disk
at most once in 2 ms was tried too and changed nothing, nor did another allocator (mimalloc: 14 MB
more memory, no difference above the noise), for reads and tokens neither. The section on the store
says what SQLite allows. Reads: the answer and its hashes for the log stay in memory until the
secret changes; what is left is the token, the policy, two chained lines of the log and their way to
the kernel, and more than half of all time is the kernel's. Listings are kept in the same way: 17 to
36 a second of 10,000 names were read from the store each time, 420 to 520 now.",
    },
    Section {
        name: "aws",
        title: "The AWS API",
        about: "\
wrk beside the servers, in turn: ours on its store file with an audit file, every signature verified
and every write synced before its answer; moto's server, which verifies nothing and keeps nothing;
and the bare handler of the section before.

Two designs of reading were compared. At first every answer was built as JSON and hashed for the
audit log anew, and the key of a signature derived from the secret each time (four HMACs before the
one that counts). Now the answer with the current value and its hashes stay in memory until the
secret changes, as for Vault clients, and so does the key of a day, a region and a service; a batch
puts such answers together. With two lines of the audit log for each of its 20 values a batch cost
4.3 times what one does; with one line each, that of the answer, 3.2, and now that line has the
hashes of the value and its version alone. Lists are taken from a catalogue of all secrets in
memory, of which only what has changed is read anew; before, each page read the head of every
secret.

Writes are those of Vault's API with a signature: what SQLite allows for a version, its head and its
folder is in the section on the store, and the two designs of writing there are those here.",
    },
    Section {
        name: "postgres",
        title: "The server on PostgreSQL",
        about: "\
wrk at 32 connections beside the servers, all of them and the database on one machine, which syncs
its log at every commit; every answer has its line in an audit file. Beside them bare
tokio-postgres: selects of single rows over as many connections as a server reads with, and commits
of single rows at 32 connections, one for each of them. Our reads are of secrets of which a server's
memory holds a small part; our writes share commits.
Each of those secrets is read for the first time by this client, which is a row of the ledger. At
first all rows were entered as soon as they were written, beside the readers: 0.43 of bare selects,
0.51 before there was a ledger. Now that may take a fiftieth of the time, and the rest waits until
somebody asks the ledger: 0.49, and no less than for a client that the ledger knows.

Two designs of writing were compared, and neither comes near the goal: one connection that joins all
that waits into one transaction (decision 20, which is built), and two of them, so that one waits
for the lock while the other waits for the disk. In the same hour the first wrote 3429 a second, the
second 3027. A bare commit is one row; a write here is a version, a head and the folder's record, of
which two are read under the lock before, an HTTP request, and a line of the audit log that the disk
has before the answer: on a store file, without PostgreSQL's share of the two cores, the same is
6645 a second.",
    },
    Section {
        name: "leases",
        title: "Users of databases",
        about: "\
Clients that have a user of a PostgreSQL made and removed again, one pair after the other, with
audit and fsync on. OpenBao on its raft storage beside us, the database the same for all; bare
statements over as many connections. Then a start over a store file with many leases: how long until
the server listens, and what memory it has after the first list. Two designs were weighed (decision
33): what is due comes from the index that the storage has, or from records of time buckets.

Two designs of issuing were measured. At first a lease was four commits that waited for the disk or
for the writer (begun, in the ledger, live, gone): 0.53 of bare statements. Now the ledger's row is
in the commit that confirms the lease, and its end does not wait for the disk: 0.63. What is left
are the two commits without which a crash would leave a user that nobody knows of, and the lines of
the audit log, beside the two commits of the database itself.",
    },
    Section {
        name: "rotation",
        title: "Rotation",
        about: "\
A server on its store file with its audit log. Each rotation has four steps, each noted before and
after in its record and in the audit log, all of it on the disk; eight are under way at once.",
    },
    Section {
        name: "userkeys",
        title: "Users' own keys",
        about: "\
A PostgreSQL of its own with fsync on, a million rows in clear (an argument says otherwise). Four
clients do the application's own selects, without and during the pass, as fast as they can. Then
one key after the other, asked by the thread that waits for it: by `pgp_sym_decrypt` in a select, by
a bare select, by `for_user().get` with nothing in memory and every read noted (decision 29), and
from memory. Then the same by many at once.

The goal of five times is not reached. One after the other a read costs little more than the bare
select, which is itself 2.6 times cheaper than `pgp_sym_decrypt` here (7 times where the goal was
set): what is left is the round trip. By many at once a read costs twice a bare select. Two
designs were measured: notes beside the store, which is built, and notes as rows of the
application's database, by the statement that reads, without waiting for the disk either. The
design before these, a commit of the store for nearly every read, came to 1.5 by a benchmark in
which another thread waited.",
    },
    Section {
        name: SIZE,
        title: "Sizes and builds",
        about: "\
What is shipped, and what it takes to build it. With every vendor's library in one binary two
designs miss the goals of the foundation, which has 10 to 13 MB (decision 9): 46 MB in 12m52s,
optimised for speed and across crates; 40 MB in 12m45s, vendors' libraries for size. What is built
now is the second without the vendor's crate for Parameter Store (decision 14), with equal functions
kept once. `cargo xtask ci` took 24 minutes and another five over the corpus when the server was
new; with rotation, PostgreSQL and 1,580 tests it takes 40 to 45 with everything to be compiled
first, and 25 where the dependencies are.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_benchmark_has_a_section() {
        for program in BENCHES {
            assert!(SECTIONS.iter().any(|section| section.name == program.name));
        }
    }

    #[test]
    fn the_redactors_lines_become_rows() {
        let printed = "copy only:   8000 MB/s\n200 secrets   800 MB/s, 90 MB/s by 100 bytes\n\
                       and one of 9 bytes  300 MB/s\nand one of 4 bytes  200 MB/s\n";
        let table = redact_table(printed).unwrap();
        assert!(
            table.contains("| 800 MB/s | copying only: 8000 MB/s | 0.10 |"),
            "{table}"
        );
        assert!(table.contains("| at least 400 MB/s | yes |"), "{table}");
        assert!(redact_table("nothing").is_err());
    }
}
