//! `kill -9` of all writers at a random moment, again and again, on one store.

use std::time::Duration;
use std::time::Instant;

use strongroom_store::embedded::Writes;

use crate::crew::Crew;
use crate::crew::PROCESSES;
use crate::draw::Draw;
use crate::ledger::Ledger;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::worker;

const LONGEST_MS: u64 = 400;
/// So often the command line reads the whole store through.
const DOCTOR_EVERY: u64 = 50;

/// Runs the loops and prints the figures.
pub(crate) fn run(loops: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let store = rig.file("store.db");
    let key = rig.file("key");
    worker::create(&store)?;
    worker::write_key_file(&key)?;
    let (store_text, key_text) = (store.display().to_string(), key.display().to_string());
    let doctor = ["doctor", "--store", &store_text, "--key-file", &key_text];
    let mut draw = Draw::new(1);
    let mut ledger = Ledger::default();
    let mut ready = Vec::new();
    let mut not_opened = 0_u64;
    for round in 0..loops {
        let crew = Crew::start(&store, round)?;
        crew.let_write(Duration::from_millis(draw.below(LONGEST_MS)))?;
        let writes = crew.kill()?;
        let start = Instant::now();
        let engine = match worker::open(&store, Writes::Inline) {
            Ok((engine, _)) => engine,
            Err(error) => {
                not_opened += 1;
                note(&format!("round {round}: {error}"));
                break;
            }
        };
        let first = writes.first().ok_or("nothing was written")?.0.path()?;
        let read = pollster::block_on(engine.read(&worker::context(), &first, None));
        ready.push(start.elapsed());
        if let Err(error) = read {
            note(&format!("round {round}: {first}: {error}"));
        }
        ledger.settle(&engine, &writes, 1)?;
        drop(engine);
        if (round + 1).is_multiple_of(DOCTOR_EVERY) {
            rig.ask(&doctor)?;
            let done = round + 1;
            note(&format!("{done} kills, {} writes", ledger.acknowledged));
        }
    }
    if not_opened == 0 {
        let (engine, _) = worker::open(&store, Writes::Inline)?;
        ledger.look_for_all(&engine)?;
        rig.ask(&doctor)?;
    }
    ready.sort_unstable();
    let in_ms = |at: usize| ready.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let (median, most) = (in_ms(ready.len() / 2), in_ms(ready.len().saturating_sub(1)));
    let threads = PROCESSES * worker::THREADS;
    report::heading(&["what", "figure", "goal", "reached"]);
    let what = format!("kills of {PROCESSES} processes with {threads} writing threads");
    let reached = report::verdict(loops >= 300);
    report::row(&[&what, &loops.to_string(), "at least 300", reached]);
    let what = format!("acknowledged writes, to {} secrets", ledger.paths());
    let reached = report::verdict(ledger.acknowledged >= 50_000);
    report::row(&[
        &what,
        &ledger.acknowledged.to_string(),
        "at least 50,000",
        reached,
    ]);
    ledger.rows();
    let reached = report::verdict(not_opened == 0);
    report::row(&[
        "stores that do not open",
        &not_opened.to_string(),
        "0",
        reached,
    ]);
    let unacknowledged = ledger.unacknowledged.to_string();
    report::row(&[
        "writes there, but killed before they were acknowledged",
        &unacknowledged,
        "",
        "",
    ]);
    let figure = format!("{median:.1} ms, at most {most:.1} ms");
    let reached = report::verdict(median <= 100.0 && most <= 400.0);
    let goal = "100 ms, at most 400 ms";
    report::row(&[
        "from the kill to the first value read (median)",
        &figure,
        goal,
        reached,
    ]);
    Ok(ledger.is_clean() && not_opened == 0)
}
