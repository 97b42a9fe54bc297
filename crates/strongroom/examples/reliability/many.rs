//! Many processes on one store: no lost update, and no error that only says "busy".

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::path::SecretPath;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::Provenance;
use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_engine::secrets::Versions;
use strongroom_engine::secrets::WriteOptions;
use strongroom_store::embedded::Writes;

use crate::draw::Draw;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::worker;
use crate::worker::context;

const PROCESSES: u64 = 8;
/// Counters that all processes raise.
const COUNTERS: u64 = 4;
/// Commands of the command line that each of the processes starts.
const COMMANDS: u64 = 25;

/// Runs the processes and prints the figures.
pub(crate) fn run(operations: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let store = rig.file("store.db");
    worker::create(&store)?;
    let start = Instant::now();
    let children: Vec<_> = (0..PROCESSES)
        .map(|process| {
            Command::new(std::env::current_exe()?)
                .arg("mix")
                .arg(&store)
                .args([operations.to_string(), process.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    let (mut raised, mut errors, mut waits, mut longest) = (0, 0, 0, 0);
    for child in children {
        let output = child.wait_with_output()?;
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [own_raised, own_errors, own_waits, own_longest] = numbers[..] else {
            return Err("a process did not end well".into());
        };
        raised += own_raised;
        errors += own_errors;
        waits += own_waits;
        longest = longest.max(own_longest);
    }
    let took = start.elapsed();
    let counted = counted(&store)?;
    let (commands_failed, kept) = commands(&rig, &store)?;
    let rate = (PROCESSES * operations) as f64 / took.as_secs_f64();
    report::heading(&["what", "figure", "goal", "reached"]);
    let what = format!("{PROCESSES} processes, {operations} mixed operations each");
    report::row(&[&what, &format!("{rate:.0} operations/s"), "", ""]);
    let lost = raised - counted.min(raised);
    let figure = format!("{lost} of {raised}");
    let is_kept = counted == raised;
    report::row(&[
        "updates of shared counters that are lost",
        &figure,
        "0",
        report::verdict(is_kept),
    ]);
    let reached = report::verdict(errors == 0);
    report::row(&[
        "errors, \"database is locked\" among them",
        &errors.to_string(),
        "0",
        reached,
    ]);
    report::row(&[
        "updates begun again because another was first",
        &waits.to_string(),
        "",
        "",
    ]);
    let reached = report::verdict(longest <= 5000);
    let figure = format!("{longest} ms");
    report::row(&["longest operation", &figure, "at most 5 s", reached]);
    let all = PROCESSES * COMMANDS;
    let figure = format!("{commands_failed} of {all}");
    let reached = report::verdict(commands_failed == 0);
    report::row(&[
        "`strongroom set` in 8 processes at once: failed",
        &figure,
        "0",
        reached,
    ]);
    let figure = format!("{kept} of {all}");
    report::row(&[
        "values of them that are there",
        &figure,
        "all",
        report::verdict(kept == all),
    ]);
    Ok(is_kept && errors == 0 && commands_failed == 0 && kept == all)
}

fn counter(number: u64) -> AnyResult<SecretPath> {
    Ok(format!("shared/counter{number}").parse()?)
}

fn text(number: u64) -> Payload {
    Payload::detect(SecretValue::from_text(format!("count {number}")))
}

/// The sum of the counters; each holds its version number.
fn counted(store: &Path) -> AnyResult<u64> {
    let (engine, _) = worker::open(store, Writes::Inline)?;
    let mut sum = 0;
    for number in 0..COUNTERS {
        let secret = pollster::block_on(engine.read(&context(), &counter(number)?, None))?;
        let version = secret.version.number;
        if !secret.payload.value.ct_eq(&text(version).value) {
            return Err("a counter does not hold its version number".into());
        }
        sum += version;
    }
    Ok(sum)
}

/// One of the processes: `mix STORE OPERATIONS PROCESS`.
pub(crate) fn mix(args: &[String]) -> AnyResult<()> {
    let [store, operations, process] = args else {
        return Err("mix STORE OPERATIONS PROCESS".into());
    };
    let (engine, _storage) = worker::open(Path::new(store), Writes::Inline)?;
    let process: u64 = process.parse()?;
    let mut draw = Draw::new(100 + process);
    let (mut raised, mut errors, mut waits) = (0_u64, 0_u64, 0_u64);
    let mut longest = Duration::ZERO;
    for operation in 0..operations.parse::<u64>()? {
        let start = Instant::now();
        let own: SecretPath = format!("own/p{process}/s{}", draw.below(20)).parse()?;
        let result = match draw.below(10) {
            0..4 => {
                let counter = counter(draw.below(COUNTERS))?;
                raise(&engine, &counter, &mut waits).map(|()| raised += 1)
            }
            4..7 => write(&engine, &own, operation),
            7 => pollster::block_on(engine.list(&context(), "own")).map(drop),
            8 => take_away(&engine, &own),
            _ => pollster::block_on(engine.read(&context(), &own, None)).map(drop),
        };
        longest = longest.max(start.elapsed());
        match result {
            Ok(()) | Err(Error::NotFound { .. } | Error::Gone { .. }) => {}
            Err(error) => {
                errors += 1;
                note(&format!("process {process}: {error}"));
            }
        }
    }
    let longest = longest.as_millis();
    writeln!(std::io::stdout(), "{raised} {errors} {waits} {longest}")?;
    Ok(())
}

/// Reads the counter and writes the next number, if it is still the same one.
fn raise(engine: &Engine, path: &SecretPath, waits: &mut u64) -> Result<(), Error> {
    loop {
        let current = match pollster::block_on(engine.read(&context(), path, None)) {
            Ok(secret) => secret.version.number,
            Err(Error::NotFound { .. }) => 0,
            Err(error) => return Err(error),
        };
        let mut options = WriteOptions::new(Provenance::Set);
        options.cas = Some(current);
        let next = text(current + 1);
        match pollster::block_on(engine.write(&context(), path, &next, &options)) {
            Ok(_) => return Ok(()),
            Err(Error::VersionMismatch { .. }) => *waits += 1,
            Err(error) => return Err(error),
        }
    }
}

fn write(engine: &Engine, path: &SecretPath, operation: u64) -> Result<(), Error> {
    let options = WriteOptions::new(Provenance::Set);
    pollster::block_on(engine.write(&context(), path, &text(operation), &options)).map(drop)
}

fn take_away(engine: &Engine, path: &SecretPath) -> Result<(), Error> {
    pollster::block_on(engine.delete(&context(), path, &Versions::Newest))?;
    pollster::block_on(engine.undelete(&context(), path, &Versions::Newest)).map(drop)
}

/// The command line from eight sides: how many failed, and how many values are there.
fn commands(rig: &Rig, store: &Path) -> AnyResult<(u64, u64)> {
    let key = rig.file("key");
    worker::write_key_file(&key)?;
    let (store, key) = (store.display().to_string(), key.display().to_string());
    let name = |process: u64, number: u64| format!("/cli/p{process}/s{number}");
    let set = |process: u64, number: u64| -> std::io::Result<bool> {
        let words = [
            "set",
            &name(process, number),
            "-",
            "--store",
            &store,
            "--key-file",
            &key,
        ];
        let mut child = rig
            .strongroom(&words)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"a value from the command line")?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            note(String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.status.success())
    };
    let all = |process: u64| -> std::io::Result<u64> {
        (0..COMMANDS)
            .map(|number| set(process, number).map(|ok| u64::from(!ok)))
            .sum()
    };
    let failed = thread::scope(|scope| {
        let threads: Vec<_> = (0..PROCESSES)
            .map(|process| scope.spawn(move || all(process)))
            .collect();
        let mut failed = 0;
        for thread in threads {
            failed += thread.join().map_err(|_| "a thread panicked")??;
        }
        AnyResult::Ok(failed)
    })?;
    let (engine, _) = worker::open(Path::new(&store), Writes::Inline)?;
    let entries = pollster::block_on(engine.list_recursive(&context(), "cli"))?;
    Ok((failed, entries.len() as u64))
}
