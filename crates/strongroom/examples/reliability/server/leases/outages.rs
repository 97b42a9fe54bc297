//! Revoking while the database is away.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::postgres::Postgres;

use super::super::node::pause;
use super::place::Place;
use super::place::User;
use super::place::ask;
use super::place::until;
use crate::note::note;
use crate::rig::AnyResult;

/// Users of one outage.
const USERS: usize = 10;

#[derive(Default)]
pub(super) struct Figures {
    pub(super) outages: u64,
    pub(super) users: u64,
    /// Revocations that were answered as done, while they were not.
    pub(super) lies: u64,
    /// From the database's return until nobody is left.
    pub(super) slowest: Duration,
    /// Until the list of those that cannot be revoked had one.
    pub(super) shown_after: Duration,
    pub(super) is_list_empty: bool,
}

/// Short outages, and a long one in which leases come to the list of the irrevocable.
pub(super) fn run(database: &mut Postgres, times: u64) -> AnyResult<Figures> {
    let mut place = Place::new(database, 2)?;
    let mut figures = Figures::default();
    for round in 0..=times {
        let users: Vec<User> = (0..USERS).map(|_| place.make()).collect::<Result<_, _>>()?;
        database.crash();
        let begun = Instant::now();
        for user in &users {
            let body = json!({ "lease_id": user.lease });
            let answer = ask(
                place.address,
                &place.token,
                "PUT",
                "sys/leases/revoke",
                &body,
            )?;
            figures.lies += u64::from(answer.status < 300);
        }
        if round == times {
            until("an irrevocable lease is shown", &mut || {
                let path = "sys/leases?type=irrevocable";
                let shown = place.node()?.demand("GET", path, &Value::Null)?;
                Ok(shown["data"]["lease_count"].as_u64() > Some(0))
            })?;
            figures.shown_after = begun.elapsed();
        } else {
            pause(Duration::from_secs(round % 12));
        }
        // Some of those that hold the duty die meanwhile.
        if round % 3 == 1 {
            place.kill()?;
            place.start()?;
        }
        database.resume();
        let took = until(
            "all users go",
            &mut || Ok(Place::users(database).is_empty()),
        )?;
        note(&format!("outage {round}: {:.1} s", took.as_secs_f64()));
        figures.slowest = figures.slowest.max(took);
        figures.outages += 1;
        figures.users += USERS as u64;
    }
    let path = "sys/leases?type=irrevocable";
    until("the list is empty again", &mut || {
        let shown = place.node()?.demand("GET", path, &Value::Null)?;
        Ok(shown["data"]["lease_count"] == 0)
    })?;
    figures.is_list_empty = true;
    Ok(figures)
}
