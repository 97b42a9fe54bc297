//! The machine's clock is set while a server runs, and before it is started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::postgres::Postgres;

use super::super::node::pause;
use super::place::FAKETIME;
use super::place::PATIENCE;
use super::place::Place;
use super::place::ask;
use super::place::logs_in;
use crate::note::note;
use crate::rig::AnyResult;

/// How long users and tokens live.
const TTL: Duration = Duration::from_secs(12);
const USERS: usize = 4;
const LANE: usize = 20;
/// How the clock is set: a day, ten years, a leap second, and standing still.
const CLOCKS: [&str; 8] = [
    "+86400",
    "-86400",
    "+315360000",
    "-315360000",
    "+1",
    "-1",
    "2026-11-30 00:00:00",
    "+0",
];

#[derive(Default)]
pub(super) struct Figures {
    pub(super) jumps: u64,
    /// Users and tokens that were gone more than 5 s before their time.
    pub(super) early: u64,
    /// Users that were made after a jump and not let in.
    pub(super) refused: u64,
    /// How late the last one went.
    pub(super) latest: Duration,
    /// The longest time until a rotation was over, that was cut off before the clock was set.
    pub(super) rotation: Duration,
}

/// `None` where nothing is there that sets a program's clock.
pub(super) fn run(database: &Postgres) -> AnyResult<Option<Figures>> {
    if !Path::new(FAKETIME).is_file() {
        return Ok(None);
    }
    let mut place = Place::with_clock(database, LANE, true)?;
    place.role("12s")?;
    let body = json!({ "data": { "value": "before" } });
    place.node()?.demand("POST", "secret/data/rotated", &body)?;
    let mut figures = Figures::default();
    for clock in CLOCKS {
        lives(&place, database, clock, &mut figures)?;
        let took = rotation(&mut place, clock)?;
        figures.rotation = figures.rotation.max(took);
        figures.jumps += 1;
        note(&format!(
            "clock {clock}: the last one {:.1} s late, the rotation after {:.1} s",
            figures.latest.as_secs_f64(),
            took.as_secs_f64()
        ));
    }
    Ok(Some(figures))
}

/// Users and a token that live while the clock is set, and others that are made afterwards.
fn lives(place: &Place, database: &Postgres, clock: &str, figures: &mut Figures) -> AnyResult<()> {
    let mut ends = BTreeMap::new();
    let mut make = |figures: &mut Figures| -> AnyResult<()> {
        for _ in 0..USERS {
            let asked = Instant::now();
            let user = place.make()?;
            let is_in = logs_in(database.port(), &user.name, &user.password)?;
            figures.refused += u64::from(is_in != Some(true));
            ends.insert(user.name, asked + TTL);
        }
        Ok(())
    };
    make(figures)?;
    let asked = Instant::now();
    let body = json!({"ttl": "12s", "policies": ["root"]});
    let made = place.node()?.demand("POST", "auth/token/create", &body)?;
    let token = made["auth"]["client_token"].as_str().unwrap_or_default();
    let token = token.to_owned();
    let token_end = asked + TTL;
    place.set_clock(clock)?;
    pause(Duration::from_millis(1_500));
    make(figures)?;
    let begun = Instant::now();
    let mut is_alive = true;
    while is_alive || !ends.is_empty() {
        let before = Instant::now();
        let users = Place::users(database);
        let after = Instant::now();
        let mut went = |end: Instant| {
            let is_early = after + Duration::from_secs(5) < end;
            figures.early += u64::from(is_early);
            figures.latest = figures.latest.max(before.saturating_duration_since(end));
            false
        };
        ends.retain(|name, end| users.contains(name) || went(*end));
        if is_alive {
            let path = "auth/token/lookup-self";
            let answer = ask(place.address, &token, "GET", path, &Value::Null)?;
            is_alive = answer.status == 200 || went(token_end);
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("clock {clock}: users stay: {ends:?}").into());
        }
        pause(Duration::from_millis(100));
    }
    Ok(())
}

/// A rotation that is cut off, and a start with a clock that was set back to what it was.
fn rotation(place: &mut Place, clock: &str) -> AnyResult<Duration> {
    let path = "sys/aws/rotations/rotated";
    let node = place.node()?;
    let before = node.ask("GET", path, &Value::Null)?.json()["data"]["finished"].clone();
    let before = before.as_u64().unwrap_or(0);
    // The server that rotates believes in the clock as it was set.
    place.kill()?;
    place.start()?;
    place.node()?.demand("POST", path, &json!({}))?;
    place.kill()?;
    place.set_clock("+0")?;
    place.start()?;
    let begun = Instant::now();
    loop {
        let report = place.node()?.demand("GET", path, &Value::Null)?["data"].clone();
        if report["run"].is_null() && report["finished"].as_u64() > Some(before) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("clock {clock}: a rotation does not go on: {report}").into());
        }
        pause(Duration::from_millis(100));
    }
}
