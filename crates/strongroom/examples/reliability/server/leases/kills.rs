//! `kill -9` while users are made, renewed and revoked, and while passwords change.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::postgres::Postgres;

use super::super::client::Client;
use super::super::node::pause;
use super::place::Place;
use super::place::User;
use super::place::ask;
use super::place::logs_in;
use super::place::until;
use super::place::user_of;
use crate::draw::Draw;
use crate::note::note;
use crate::rig::AnyResult;

const CLIENTS: u64 = 8;
/// Longest life of a server between two kills.
const LIFE_MS: u64 = 1_500;

/// What came of it.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) kills: u64,
    pub(super) told: u64,
    pub(super) revoked: u64,
    /// Requests for a user that had no answer.
    pub(super) cut_off: u64,
    /// Users in the database of whom nobody was told, after a kill.
    pub(super) untold: u64,
    /// Of those that were told and not revoked: not let in.
    pub(super) lost: u64,
    /// Users without a lease, after recovery and one sweep.
    pub(super) orphans: u64,
    /// Of those that nobody was told of: their lease was confirmed, and its answer was lost.
    pub(super) kept: u64,
    pub(super) recovery: Duration,
}

/// What clients know.
#[derive(Default)]
struct Known {
    told: Vec<User>,
    /// Users that may be there or not: the answer to their revocation was lost.
    maybe: BTreeSet<String>,
    all_told: u64,
    revoked: u64,
    cut_off: u64,
}

struct Clients<'a> {
    address: SocketAddr,
    token: &'a str,
    mount: &'a str,
    known: Mutex<Known>,
    is_over: AtomicBool,
}

impl Clients<'_> {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, number: u64) {
        let mut draw = Draw::new(4_000 + number);
        while !self.is_over.load(Ordering::Relaxed) {
            let path = format!("{}/creds/ro", self.mount);
            let Ok(mut client) = Client::connect(self.address, self.token) else {
                pause(Duration::from_millis(5));
                continue;
            };
            let Ok(answer) = client.ask("GET", &path, &Value::Null) else {
                self.known().cut_off += 1;
                continue;
            };
            let Some(user) = user_of(&answer) else {
                pause(Duration::from_millis(5));
                continue;
            };
            let body = json!({ "lease_id": user.lease });
            {
                let mut known = self.known();
                known.told.push(user.clone());
                known.all_told += 1;
            }
            if draw.below(3) == 0 {
                let _ = ask(self.address, self.token, "PUT", "sys/leases/renew", &body);
            }
            if draw.below(8) == 0 {
                continue;
            }
            self.known().maybe.insert(user.name.clone());
            let answer = ask(self.address, self.token, "PUT", "sys/leases/revoke", &body);
            if answer.is_ok_and(|answer| answer.status == 204) {
                let mut known = self.known();
                known.maybe.remove(&user.name);
                known.told.retain(|one| one.name != user.name);
                known.revoked += 1;
            }
        }
    }
}

/// Clients that make and revoke, and so many kills meanwhile.
pub(super) fn run(database: &Postgres, kills: u64) -> AnyResult<Figures> {
    let mut place = Place::new(database, 0)?;
    let (token, mount) = (place.token.clone(), place.mount.clone());
    let clients = Clients {
        address: place.address,
        token: &token,
        mount: &mount,
        known: Mutex::default(),
        is_over: AtomicBool::new(false),
    };
    let mut draw = Draw::new(4_100);
    let mut figures = Figures::default();
    thread::scope(|scope| -> AnyResult<()> {
        for number in 0..CLIENTS {
            let clients = &clients;
            scope.spawn(move || clients.run(number));
        }
        let mut all = || -> AnyResult<()> {
            for kill in 1..=kills {
                pause(Duration::from_millis(draw.below(LIFE_MS)));
                place.kill()?;
                place.start()?;
                if kill.is_multiple_of(50) {
                    note(&format!("{kill} kills"));
                }
            }
            place.kill()
        };
        let done = all();
        clients.is_over.store(true, Ordering::Relaxed);
        done
    })?;
    figures.kills = kills + 1;
    let known = clients
        .known
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let told: BTreeSet<String> = known.told.iter().map(|user| user.name.clone()).collect();
    let untold = || Place::users(database).difference(&told).count();
    figures.untold = untold() as u64;
    (figures.told, figures.revoked) = (known.all_told, known.revoked);
    figures.cut_off = known.cut_off;
    place.start()?;
    // A user whose lease was confirmed while its answer was lost has a lease, and ends with it.
    figures.recovery = until("each user has a lease", &mut || {
        let known = place.compare()?["users"].as_u64();
        Ok(known == Some(Place::users(database).len() as u64))
    })?;
    let swept = place.sweep()?;
    note(&format!("the sweep: {swept}"));
    let users = Place::users(database).len() as u64;
    figures.orphans = users.abs_diff(swept["users"].as_u64().unwrap_or(0));
    figures.kept = untold() as u64;
    for user in &known.told {
        if known.maybe.contains(&user.name) {
            continue;
        }
        if logs_in(database.port(), &user.name, &user.password)? != Some(true) {
            note(&format!("BAD: {} is not let in", user.name));
            figures.lost += 1;
        }
    }
    let line = format!("sys/leases/revoke-prefix/{mount}/creds/ro");
    place.node()?.demand("PUT", &line, &json!({}))?;
    figures.orphans += Place::users(database).len() as u64;
    Ok(figures)
}

/// What came of changes of passwords.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) kills: u64,
    pub(super) cut_off: u64,
    /// Passwords of the static role that the server told and the database refused.
    pub(super) refused: u64,
    /// Users that were not made after the next start.
    pub(super) not_made: u64,
    pub(super) slowest: Duration,
}

/// Kills while the database's own user or a static role gets a new password.
pub(super) fn passwords(database: &Postgres, kills: u64) -> AnyResult<Changes> {
    let mut place = Place::new(database, 1)?;
    let mount = place.mount.clone();
    let body = json!({"db_name": "pg", "username": "fixed1", "rotation_period": "24h"});
    let path = format!("{mount}/static-roles/s");
    place.node()?.demand("POST", &path, &body)?;
    let mut draw = Draw::new(4_200);
    let mut changes = Changes::default();
    for kill in 0..kills {
        let path = match kill % 2 {
            0 => format!("{mount}/rotate-root/pg"),
            _ => format!("{mount}/rotate-role/s"),
        };
        let (address, token) = (place.address, place.token.clone());
        let asked = thread::spawn(move || {
            let answer = ask(address, &token, "POST", &path, &json!({}));
            answer.map_or(0, |answer| answer.status)
        });
        pause(Duration::from_micros(draw.below(250_000)));
        place.kill()?;
        let status = asked.join().map_err(|_| "a request panicked")?;
        changes.cut_off += u64::from(status == 0);
        changes.kills += 1;
        place.start()?;
        let begun = Instant::now();
        let made = place.make();
        if let Err(error) = &made {
            note(&format!("BAD: after kill {kill}: {error}"));
            changes.not_made += 1;
            until("a user is made", &mut || Ok(place.make().is_ok()))?;
        }
        let path = format!("{mount}/static-creds/s");
        let mut is_first = true;
        until("the static role is let in", &mut || {
            let told = place.node()?.demand("GET", &path, &Value::Null)?;
            let text = |name: &str| told["data"][name].as_str().unwrap_or_default().to_owned();
            let (name, password) = (text("username"), text("password"));
            let is_in = logs_in(database.port(), &name, &password)? == Some(true);
            if !is_in && is_first {
                note(&format!(
                    "BAD: after kill {kill}: the static role's password is refused"
                ));
                changes.refused += 1;
            }
            is_first = false;
            Ok(is_in)
        })?;
        changes.slowest = changes.slowest.max(begun.elapsed());
    }
    let line = format!("sys/leases/revoke-prefix/{mount}/creds/ro");
    place.node()?.demand("PUT", &line, &json!({}))?;
    Ok(changes)
}
