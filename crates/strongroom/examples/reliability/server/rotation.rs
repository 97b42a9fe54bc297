//! Rotations under faults: the application's credential always works, and the journal says what
//! happened.

mod application;
mod kills;
mod outages;
mod pair;
mod place;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use strongroom_fakes::proxy::Line;

use self::application::Seen;
use self::application::Use;
use self::kills::Points;
use self::outages::Harm;
use super::requests::zero;
use crate::report;
use crate::rig::AnyResult;

/// A rotation that was cut off is over, one way or the other, after so long.
const OVER: Duration = Duration::from_secs(60);
/// Times that a generated value, which costs nothing, is cut off at each point, for each time
/// that a role's is.
const GENERATED: u64 = 5;

/// What was done, and what came of it.
#[derive(Default)]
struct Figures {
    kills: u64,
    rotations: u64,
    cut_off: u64,
    /// Rotations of which stages, versions or history are not as they have to be.
    faults: u64,
    slowest: Duration,
    points: Points,
}

/// One kind of fault.
type Part<'p> = Box<dyn FnOnce() -> AnyResult<Figures> + Send + 'p>;

/// Each kind of rotation under each kind of fault, all at once: most of the time each waits for the
/// leases of a server that is dead. Prints the figures.
pub(crate) fn run(times: u64) -> AnyResult<bool> {
    let seen = Seen::default();
    let (seen, database) = (&seen, place::database());
    let database = &database;
    let kinds = [
        (Use::OneRole, "one PostgreSQL role", 0..6, times),
        (Use::Turns, "two roles that take turns", 6..12, times),
        (Use::Read, "a generated value", 12..20, times * GENERATED),
    ];
    let harms = [
        (Harm::Stopped, "the database is stopped (`-m immediate`)"),
        (
            Harm::Cut(Line::BlackHole),
            "the line to the database swallows all",
        ),
        (Harm::Cut(Line::Reset), "the line to the database is reset"),
        (
            Harm::Cut(Line::Half),
            "the line ends in the middle of an answer",
        ),
    ];
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (kind, _, lanes, times) in kinds.clone() {
        parts.push(Box::new(move || {
            kills::run(database, kind, lanes, times, seen)
        }));
    }
    for (harm, _) in harms {
        let rounds = times.div_ceil(4);
        parts.push(Box::new(move || outages::run(harm, rounds, seen)));
    }
    parts.push(Box::new(move || pair::run(times * 2, seen)));
    let mut found = all_at_once(parts)?.into_iter();
    let mut next = || found.next().ok_or("a part has no figures");
    report::heading(&["what", "figure", "goal", "reached"]);
    let mut is_good = true;
    for (_, what, _, times) in kinds {
        is_good &= killed(&next()?, what, times);
    }
    for (_, what) in harms {
        let figures = next()?;
        report::row(&[
            &format!("{what} during set, test, finish, for 1 to 4 s"),
            &format!("{} times, {} rotations", figures.kills, figures.rotations),
            "",
            "",
        ]);
        is_good &= over(&figures, "from its return until all are over");
    }
    let figures = next()?;
    report::row(&[
        "two servers on one PostgreSQL rotate the same secrets",
        &format!("{} rotations, {} kills", figures.rotations, figures.kills),
        "",
        "",
    ]);
    is_good &= over(
        &figures,
        "until all are over, also those of a server that was killed",
    );
    Ok(is_good & applications(seen))
}

/// The figures of all parts, in their order.
fn all_at_once(parts: Vec<Part<'_>>) -> AnyResult<Vec<Figures>> {
    thread::scope(|scope| {
        let begun: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(|| part().map_err(|error| error.to_string())))
            .collect();
        let ended = begun.into_iter().map(|part| match part.join() {
            Ok(figures) => Ok(figures?),
            Err(_) => Err("a part panicked".into()),
        });
        ended.collect()
    })
}

fn killed(figures: &Figures, what: &str, times: u64) -> bool {
    report::row(&[
        &format!("{what}: `kill -9` of a server that rotates"),
        &format!("{} in {} rotations", figures.kills, figures.rotations),
        "",
        "",
    ]);
    let least = figures.points.least();
    report::row(&[
        "cut off between two journalled steps, at each of 8 points",
        &format!("{} in all, at least {least} each", figures.points.sum()),
        &format!("at least {times} each"),
        report::verdict(least >= times),
    ]);
    over(figures, "from the next start until all are over") && least >= times
}

fn over(figures: &Figures, what: &str) -> bool {
    let seconds = figures.slowest.as_secs_f64();
    let is_in_time = figures.slowest <= OVER;
    report::row(&[
        what,
        &format!("at most {seconds:.1} s"),
        "at most 60 s",
        report::verdict(is_in_time),
    ]);
    zero(
        "rotations with other than one AWSCURRENT, a second new version, or a history that does \
         not tell of them",
        figures.faults,
    );
    is_in_time && figures.faults == 0
}

fn applications(seen: &Seen) -> bool {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (logins, reads) = (count(&seen.logins), count(&seen.reads));
    report::row(&[
        "logins of applications meanwhile",
        &format!("{logins}, {reads} values read"),
        "",
        "",
    ]);
    zero(
        "logins refused that the guide promises",
        count(&seen.refused),
    );
    zero("reads of a secret that had no value", count(&seen.empty));
    report::row(&[
        "one role: longest time until the value that waits was read, kills included",
        &format!("{:.1} s", count(&seen.locked_out_ms) as f64 / 1000.0),
        "",
        "",
    ]);
    count(&seen.refused) == 0 && count(&seen.empty) == 0 && logins > 0
}
