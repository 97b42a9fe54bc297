//! The database goes away, or the line to it, in the middle of a step.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use strongroom_fakes::proxy::Line;
use strongroom_fakes::proxy::Proxy;
use strongroom_testkit::postgres::Postgres;

use super::super::node::pause;
use super::Figures;
use super::application::Application;
use super::application::Seen;
use super::application::Use;
use super::place::Place;
use super::place::database;
use crate::draw::Draw;
use crate::note::note;
use crate::rig::AnyResult;

const SECRETS: usize = 6;
/// The first line of the audit log that tells of a step: set, test, finish.
const STEPS: [(&str, usize); 3] = [("setSecret", 3), ("testSecret", 5), ("finishSecret", 7)];

/// What goes wrong with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// It is stopped at once, and started again.
    Stopped,
    /// The line between the server and it; applications have another one.
    Cut(Line),
}

/// Some rounds for each step; what came of it.
pub(super) fn run(harm: Harm, rounds: u64, seen: &Seen) -> AnyResult<Figures> {
    let database = Mutex::new(database());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let proxy = runtime.block_on(Proxy::start(port_of(&database)));
    let figures = Mutex::new(Figures::default());
    for (lane, kind) in [Use::OneRole, Use::Turns].into_iter().enumerate() {
        let mut place = {
            let database = database.lock().unwrap_or_else(PoisonError::into_inner);
            Place::new(&database, proxy.port(), kind, lane, SECRETS)?
        };
        let (servers, token) = ([place.address], place.token.clone());
        let secrets = place.secrets.clone();
        let is_over = AtomicBool::new(false);
        let application = Application {
            servers: &servers,
            token: &token,
            secrets: &secrets,
            kind,
            seen,
            is_over: &is_over,
        };
        thread::scope(|scope| {
            scope.spawn(|| application.run());
            let done = all_steps(&mut place, &database, &proxy, harm, rounds, &figures);
            is_over.store(true, Ordering::Relaxed);
            done
        })?;
    }
    Ok(figures.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn port_of(database: &Mutex<Postgres>) -> u16 {
    let database = database.lock().unwrap_or_else(PoisonError::into_inner);
    database.port()
}

fn all_steps(
    place: &mut Place,
    database: &Mutex<Postgres>,
    proxy: &Proxy,
    harm: Harm,
    rounds: u64,
    figures: &Mutex<Figures>,
) -> AnyResult<()> {
    let mut draw = Draw::new(810);
    let mut done = 0;
    for (step, line) in STEPS {
        for round in 0..rounds {
            done += 1;
            let log = place.log()?;
            place.rotate_all()?;
            let first = draw.below(SECRETS as u64);
            let first = place.secrets[usize::try_from(first)?].clone();
            if !log.wait_for(&first, line)? {
                return Err(format!("{first}: no line {line}").into());
            }
            pause(Duration::from_micros(draw.below(2_000)));
            harmed(database, proxy, harm, draw.below(4));
            let back = Instant::now();
            place.settled()?;
            let took = back.elapsed();
            note(&format!(
                "{harm:?} at {step}, {round}: {:.1} s",
                took.as_secs_f64()
            ));
            let mut faults = Vec::new();
            for secret in &place.secrets {
                faults.extend(place.faults(secret, done)?);
            }
            let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
            figures.kills += 1;
            figures.rotations += place.secrets.len() as u64;
            figures.slowest = figures.slowest.max(took);
            for fault in faults {
                note(&format!("BAD: {fault}"));
                figures.faults += 1;
            }
        }
    }
    Ok(())
}

/// Harm for some seconds; the database answers again afterwards.
fn harmed(database: &Mutex<Postgres>, proxy: &Proxy, harm: Harm, seconds: u64) {
    let time = Duration::from_secs(1 + seconds);
    match harm {
        Harm::Stopped => {
            let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
            database.crash();
            pause(time);
            database.resume();
        }
        Harm::Cut(line) => {
            proxy.set(line);
            pause(time);
            proxy.set(Line::Whole);
        }
    }
}
