//! A restart at each point of a lease's life: its user goes in time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use strongroom_testkit::postgres::Postgres;

use super::super::node::pause;
use super::place::PATIENCE;
use super::place::Place;
use crate::draw::Draw;
use crate::note::note;
use crate::rig::AnyResult;

/// How long users live.
const TTL: Duration = Duration::from_secs(6);
/// Users of one round, made one after the other.
const USERS: usize = 6;
const LANES: usize = 4;
/// Points of a life, in tenths of it; the last ones lie behind its end.
const POINTS: u64 = 12;

#[derive(Default)]
pub(super) struct Figures {
    pub(super) users: u64,
    pub(super) restarts: u64,
    /// How late the last one went, after the later of its time's end and the server's return.
    pub(super) latest: Duration,
    /// How many went before their time.
    pub(super) early: u64,
}

/// Each lane restarts its server at each point so often, every second time with `kill -9`.
pub(super) fn run(database: &Postgres, times: u64) -> AnyResult<Figures> {
    let figures = Mutex::new(Figures::default());
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|number| {
                let figures = &figures;
                scope.spawn(move || {
                    let rounds = times.div_ceil(LANES as u64) * POINTS;
                    lane(database, 10 + number, rounds, figures).map_err(|error| error.to_string())
                })
            })
            .collect();
        lanes.into_iter().try_for_each(|lane| match lane.join() {
            Ok(done) => done,
            Err(_) => Err("a lane panicked".to_owned()),
        })
    })?;
    Ok(figures.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn lane(database: &Postgres, lane: usize, rounds: u64, figures: &Mutex<Figures>) -> AnyResult<()> {
    let mut place = Place::new(database, lane)?;
    place.role("6s")?;
    let mut draw = Draw::new(5_000 + lane as u64);
    for round in 0..rounds {
        let mut ends = BTreeMap::new();
        let begun = Instant::now();
        for number in 0..USERS {
            let asked = Instant::now();
            let user = place.make()?;
            let mut from = asked;
            if number % 2 == 1 {
                pause(Duration::from_millis(draw.below(200)));
                from = Instant::now();
                let body = json!({ "lease_id": user.lease });
                place.node()?.demand("PUT", "sys/leases/renew", &body)?;
            }
            ends.insert(user.name, from + TTL);
        }
        let point = round % POINTS;
        let at = begun + TTL * u32::try_from(point)? / 10;
        pause(at.saturating_duration_since(Instant::now()));
        match (round / POINTS) % 2 {
            0 => place.kill()?,
            _ => place.end()?,
        }
        place.start()?;
        let back = Instant::now();
        let (mut latest, mut early) = (Duration::ZERO, 0);
        while !ends.is_empty() {
            let before = Instant::now();
            let users = Place::users(database);
            let after = Instant::now();
            ends.retain(|name, end| {
                if users.contains(name) {
                    return true;
                }
                early += u64::from(after < *end);
                latest = latest.max(before.saturating_duration_since((*end).max(back)));
                false
            });
            if begun.elapsed() > PATIENCE {
                return Err(format!("users stay: {ends:?}").into());
            }
            pause(Duration::from_millis(60));
        }
        let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.users += USERS as u64;
        figures.restarts += 1;
        figures.early += early;
        if latest > figures.latest {
            note(&format!(
                "lane {lane}, point {point}: {:.1} s late",
                latest.as_secs_f64()
            ));
        }
        figures.latest = figures.latest.max(latest);
    }
    Ok(())
}
