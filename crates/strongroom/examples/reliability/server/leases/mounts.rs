//! A mount that is removed while its users live, and a kill in the middle of it.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use serde_json::Value;
use strongroom_testkit::postgres::Postgres;

use super::super::node::pause;
use super::place::Place;
use super::place::ask;
use super::place::until;
use crate::draw::Draw;
use crate::note::note;
use crate::rig::AnyResult;

const USERS: usize = 12;
const LANE: usize = 3;
/// Rounds before shelves are counted.
const WARM_UP: u64 = 3;
/// Background work has done what it has to, also where it had to wait for the end of the lease of
/// a server that was killed.
const SETTLED: Duration = Duration::from_secs(40);
/// Most of it.
const SHORT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Figures {
    pub(super) removals: u64,
    pub(super) cut_off: u64,
    /// Users that were left after the mount was gone.
    pub(super) left: u64,
    /// Rows of the store that were left.
    pub(super) rows: u64,
    /// From the next start, until nobody was left.
    pub(super) slowest: Duration,
}

/// So many removals, most of them cut off.
pub(super) fn run(database: &Postgres, times: u64) -> AnyResult<Figures> {
    let mut place = Place::new(database, LANE)?;
    let mount = place.mount.clone();
    let path = format!("sys/mounts/{mount}");
    place.node()?.demand("DELETE", &path, &Value::Null)?;
    // The first rounds leave what every later one finds: folders, who has which duty.
    let mut before = 0;
    let mut draw = Draw::new(6_000);
    let mut figures = Figures::default();
    for round in 0..times + WARM_UP {
        place.enable(database.port(), LANE)?;
        for _ in 0..USERS {
            place.make()?;
        }
        let (address, token, asked) = (place.address, place.token.clone(), path.clone());
        let request = thread::spawn(move || {
            let answer = ask(address, &token, "DELETE", &asked, &Value::Null);
            answer.map_or(0, |answer| answer.status)
        });
        pause(Duration::from_micros(draw.below(250_000)));
        place.kill()?;
        let status = request.join().map_err(|_| "a request panicked")?;
        figures.cut_off += u64::from(status == 0);
        figures.removals += 1;
        if status == 204 && !Place::users(database).is_empty() {
            figures.left += 1;
        }
        place.start()?;
        let is_there = place.node()?.demand("GET", "sys/mounts", &Value::Null)?["data"]
            [format!("{mount}/")]
        .is_object();
        if is_there && round % 2 == 0 {
            // What was begun to be removed goes by itself, or is asked for again.
            place.node()?.demand("DELETE", &path, &Value::Null)?;
        }
        // A mount that was not touched yet keeps its users, who are nobody's orphans.
        let untouched = is_there && round % 2 == 1 && is_usable(&place);
        if untouched {
            place.node()?.demand("DELETE", &path, &Value::Null)?;
        }
        let took = until(
            "all users go",
            &mut || Ok(Place::users(database).is_empty()),
        )?;
        figures.slowest = figures.slowest.max(took);
        if is_there && round % 2 == 1 && !untouched {
            place.node()?.demand("DELETE", &path, &Value::Null)?;
        }
        // Records of a mount that is gone are removed by background work.
        if round < WARM_UP {
            pause(if round + 1 == WARM_UP { SETTLED } else { SHORT });
            before = shelves(&place)?;
            continue;
        }
        let begun = Instant::now();
        let mut after = shelves(&place)?;
        while after > before && begun.elapsed() < SETTLED {
            pause(Duration::from_millis(250));
            after = shelves(&place)?;
        }
        if after > before {
            note(&format!(
                "BAD: round {round}: {before} shelves, then {after}"
            ));
            figures.rows += 1;
        }
    }
    Ok(figures)
}

/// Whether users can still be made: the removal had not begun.
fn is_usable(place: &Place) -> bool {
    place.make().is_ok()
}

/// How many shelves the store has records on, but for those of the ledger, which stay: what
/// belongs to a mount lies on shelves of its own.
fn shelves(place: &Place) -> AnyResult<i64> {
    // Whoever asks the ledger has what waits entered first.
    let asked = place
        .rig
        .ask(&["ledger", "list", "--limit", "100000", "--json"])?;
    let told: Value = serde_json::from_slice(&asked)?;
    let deliveries = told["deliveries"].as_array().ok_or("no deliveries")?.len();
    let file = place
        .rig
        .project()
        .join("../.local/share/strongroom/store.db");
    let store = Connection::open(file)?;
    let sql = "SELECT count(DISTINCT parent) FROM record";
    let all: i64 = store.query_row(sql, [], |row| row.get(0))?;
    // Each user is a secret that was given, on a shelf of its own.
    Ok(all - i64::try_from(deliveries)?)
}
