//! Users of databases under faults: whoever was told of one can use it, and nobody else is left.

mod clocks;
mod kills;
mod mounts;
mod outages;
mod place;
mod restarts;

use std::thread;
use std::time::Duration;

use super::requests::zero;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;

/// What was cut off, or could not be done, is done so long after the cause is gone.
const OVER: Duration = Duration::from_secs(60);
/// A user is gone so long after its time.
const LATE: Duration = Duration::from_secs(5);
/// Kills under load, for each time.
const KILLS: u64 = 10;

/// What came of one kind of fault: prints its figures when all have theirs.
type Told = Box<dyn FnOnce() -> bool + Send>;

/// Each kind of fault, all at once and each on a database of its own; prints the figures.
pub(crate) fn run(times: u64) -> AnyResult<bool> {
    let parts: [fn(u64) -> AnyResult<Told>; 6] =
        [under_load, passwords, restarts, mounts, clocks, outages];
    let told = thread::scope(|scope| {
        let begun: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part(times).map_err(|error| error.to_string())))
            .collect();
        let ended = begun.into_iter().map(|part| match part.join() {
            Ok(told) => Ok(told?),
            Err(_) => Err("a part panicked".into()),
        });
        ended.collect::<AnyResult<Vec<Told>>>()
    })?;
    report::heading(&["what", "figure", "goal", "reached"]);
    let mut is_good = true;
    for tell in told {
        is_good &= tell();
    }
    Ok(is_good)
}

/// Revocations while the database is away.
fn outages(times: u64) -> AnyResult<Told> {
    note("outages");
    let found = outages::run(&mut place::database(), times)?;
    Ok(Box::new(move || {
        report::row(&[
            "revocations while the database is down, for 0 to 12 s and once for long",
            &format!("{} outages, {} users", found.outages, found.users),
            "",
            "",
        ]);
        let mut is_good = none("revocations answered as done that were not", found.lies);
        is_good &= in_time("they are done after its return", found.slowest, OVER);
        let shown = format!("shown after {:.0} s", found.shown_after.as_secs_f64());
        report::row(&[
            "the list of what cannot be revoked, meanwhile and afterwards",
            &format!("{shown}, then empty"),
            "shown, then empty",
            report::verdict(found.is_list_empty),
        ]);
        is_good & found.is_list_empty
    }))
}

/// Users that are made and revoked all the time.
fn under_load(times: u64) -> AnyResult<Told> {
    note("kills under load");
    let found = kills::run(&place::database(), times * KILLS)?;
    Ok(Box::new(move || {
        report::row(&[
            "kills while 8 clients make, renew and revoke users",
            &found.kills.to_string(),
            "",
            "",
        ]);
        report::row(&[
            "users that clients were told of; revoked; requests without an answer",
            &format!("{}; {}; {}", found.told, found.revoked, found.cut_off),
            "",
            "",
        ]);
        report::row(&[
            "users in the database of whom nobody was told, after the last kill",
            &found.untold.to_string(),
            "",
            "",
        ]);
        let mut is_good = in_time(
            "each of them has a lease, or is gone, after the next start",
            found.recovery,
            OVER,
        );
        report::row(&[
            "of these: the lease was confirmed, and only the answer lost: they end with it",
            &found.kept.to_string(),
            "",
            "",
        ]);
        is_good &= none("users without a lease after one sweep", found.orphans);
        is_good
            & none(
                "users that clients were told of and that are not let in",
                found.lost,
            )
    }))
}

/// Changes of passwords of users that stay.
fn passwords(times: u64) -> AnyResult<Told> {
    note("passwords");
    let found = kills::passwords(&place::database(), times * KILLS)?;
    Ok(Box::new(move || {
        report::row(&[
            "kills while a database's own password or a static role's is changed",
            &format!("{}, {} of them in the middle", found.kills, found.cut_off),
            "",
            "",
        ]);
        let is_good = none(
            "users that could not be made after the next start",
            found.not_made,
        );
        is_good
            & none(
                "passwords of the static role told that are refused",
                found.refused,
            )
    }))
}

/// A restart at each point of a lease's life.
fn restarts(times: u64) -> AnyResult<Told> {
    note("restarts");
    let found = restarts::run(&place::database(), times)?;
    Ok(Box::new(move || {
        report::row(&[
            "restarts at 12 points of the life of users with a TTL of 6 s, half of them `kill -9`",
            &format!("{}, {} users", found.restarts, found.users),
            "",
            "",
        ]);
        let is_good = in_time(
            "a user is gone after the end of its time, or the return of the server",
            found.latest,
            LATE,
        );
        is_good & none("users that went before their time", found.early)
    }))
}

/// A mount that goes while its users live.
fn mounts(times: u64) -> AnyResult<Told> {
    note("mounts");
    let found = mounts::run(&place::database(), times)?;
    Ok(Box::new(move || {
        report::row(&[
            "mounts that are removed with 12 users, and a kill meanwhile",
            &format!(
                "{}, {} of them in the middle",
                found.removals, found.cut_off
            ),
            "",
            "",
        ]);
        let mut is_good = in_time(
            "their users are gone after the next start",
            found.slowest,
            OVER,
        );
        is_good &= none("users that outlived their mount", found.left);
        is_good & none("removals that left rows in the store", found.rows)
    }))
}

/// A clock that is set.
fn clocks(_: u64) -> AnyResult<Told> {
    note("clocks");
    let found = clocks::run(&place::database())?;
    Ok(Box::new(move || {
        let what =
            "the server's clock is set: a day and ten years either way, a second, standing still";
        let Some(found) = found else {
            report::row(&[what, "not tried: libfaketime is not there", "", ""]);
            return true;
        };
        report::row(&[what, &format!("{} times", found.jumps), "", ""]);
        let mut is_good = none(
            "users and tokens gone over 5 s before their time",
            found.early,
        );
        is_good &= in_time(
            "and after it, by a clock that is not set",
            found.latest,
            LATE,
        );
        is_good &= none(
            "users made that the database does not let in",
            found.refused,
        );
        is_good
            & in_time(
                "a rotation that was cut off by a server with that clock is over after the next \
                 start",
                found.rotation,
                OVER,
            )
    }))
}

fn none(what: &str, count: u64) -> bool {
    zero(what, count);
    count == 0
}

fn in_time(what: &str, took: Duration, goal: Duration) -> bool {
    let is_so = took <= goal;
    report::row(&[
        what,
        &format!("at most {:.1} s", took.as_secs_f64()),
        &format!("at most {} s", goal.as_secs()),
        report::verdict(is_so),
    ]);
    is_so
}
