//! `kill -9` between any two journalled steps.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use strongroom_testkit::postgres::Postgres;

use super::super::node::pause;
use super::Figures;
use super::application::Application;
use super::application::Seen;
use super::application::Use;
use super::place::LINES;
use super::place::Place;
use crate::draw::Draw;
use crate::note::note;
use crate::rig::AnyResult;

/// Secrets that one server rotates at once.
const SECRETS: usize = 6;
/// A point that is not met in so many kills is not met at all.
const ROUNDS_MAX: u64 = 40;

/// How often rotations were cut off at each point: behind so many lines of their audit log, of
/// which one stands before and one behind each step.
#[derive(Default)]
pub(super) struct Points([u64; LINES]);

impl Points {
    pub(super) fn least(&self) -> u64 {
        self.0.iter().copied().min().unwrap_or(0)
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The point that was met least often, as a number of lines.
    fn rarest(&self) -> usize {
        let least = self.least();
        let place = self.0.iter().position(|count| *count == least);
        place.unwrap_or(0) + 1
    }
}

/// Kills servers in some lanes at once until each point was met `times` times.
pub(super) fn run(
    database: &Postgres,
    kind: Use,
    lanes: std::ops::Range<usize>,
    times: u64,
    seen: &Seen,
) -> AnyResult<Figures> {
    let points = Mutex::new(Points::default());
    let figures = Mutex::new(Figures::default());
    thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .map(|number| {
                let (points, figures) = (&points, &figures);
                scope.spawn(move || {
                    let done = lane(database, kind, number, times, points, figures, seen);
                    done.map_err(|error| error.to_string())
                })
            })
            .collect();
        lanes.into_iter().try_for_each(|lane| match lane.join() {
            Ok(done) => done,
            Err(_) => Err("a lane panicked".to_owned()),
        })
    })?;
    let mut figures = figures.into_inner().unwrap_or_else(PoisonError::into_inner);
    figures.points = points.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(figures)
}

fn lane(
    database: &Postgres,
    kind: Use,
    number: usize,
    times: u64,
    points: &Mutex<Points>,
    figures: &Mutex<Figures>,
    seen: &Seen,
) -> AnyResult<()> {
    let mut place = Place::new(database, database.port(), kind, number, SECRETS)?;
    let is_over = AtomicBool::new(false);
    let (servers, token, secrets) = ([place.address], place.token.clone(), place.secrets.clone());
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
        let done = rounds(&mut place, number, times, points, figures);
        is_over.store(true, Ordering::Relaxed);
        done
    })
}

fn rounds(
    place: &mut Place,
    number: usize,
    times: u64,
    points: &Mutex<Points>,
    figures: &Mutex<Figures>,
) -> AnyResult<()> {
    let mut draw = Draw::new(700 + number as u64);
    for round in 1..=ROUNDS_MAX * times {
        let target = {
            let points = points.lock().unwrap_or_else(PoisonError::into_inner);
            if points.least() >= times {
                break;
            }
            points.rarest()
        };
        let log = place.log()?;
        place.rotate_all()?;
        let first = draw.below(SECRETS as u64);
        let first = place.secrets[usize::try_from(first)?].clone();
        if !log.wait_for(&first, target)? {
            return Err(format!("{first}: no line {target}").into());
        }
        // Between a line and the next commit, or somewhere behind it.
        if target < LINES && draw.below(2) == 0 {
            pause(Duration::from_micros(draw.below(3_000)));
        }
        place.kill()?;
        let before: Vec<Vec<String>> = place.secrets.iter().map(|one| log.steps(one)).collect();
        place.start()?;
        let mut cut_off = 0;
        for (secret, lines) in place.secrets.iter().zip(&before) {
            let is_under_way = !place.report(secret)?["run"].is_null();
            let mut points = points.lock().unwrap_or_else(PoisonError::into_inner);
            if is_under_way
                && let Some(point) = lines.len().checked_sub(1)
                && let Some(count) = points.0.get_mut(point)
            {
                *count += 1;
                cut_off += 1;
            }
        }
        let took = place.settled()?;
        let mut faults = Vec::new();
        for (secret, lines) in place.secrets.iter().zip(&before) {
            faults.extend(place.faults(secret, round)?);
            let all = log.steps(secret);
            // What was begun is what was finished: one version, whatever was cut off.
            let mut tokens: Vec<&str> = all.iter().filter_map(|line| token_in(line)).collect();
            tokens.dedup();
            if tokens.len() != 1 || all.len() < lines.len() {
                faults.push(format!("{secret}: more than one version: {tokens:?}"));
            }
        }
        let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.kills += 1;
        figures.rotations += place.secrets.len() as u64;
        figures.cut_off += cut_off;
        figures.slowest = figures.slowest.max(took);
        for fault in faults {
            note(&format!("BAD: {fault}"));
            figures.faults += 1;
        }
        drop(figures);
        if round.is_multiple_of(5) {
            note(&format!(
                "lane {number}: {round} kills, the last at line {target}"
            ));
        }
    }
    Ok(())
}

/// The id of the new version that a line of the log tells.
fn token_in(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"token\":\"")?;
    rest.split_once('"').map(|(token, _)| token)
}
