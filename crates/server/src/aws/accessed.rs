//! When secrets and their versions were last read: the day, as AWS tells it. It lies beside the
//! secrets, so that reading one does not change it, and is written once a day for each version.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionInfo;
use strongroom_engine::departures::Accessed;
use strongroom_engine::departures::Reading;
use strongroom_engine::secrets::Snapshot;

use super::dispatch::Request;
use super::error::Fault;
use crate::core::Live;
use crate::core::Seen;

/// Versions whose day is kept in memory.
const KEPT_MAX: usize = 64 * 1024;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// The days that were noted by this process.
#[derive(Default)]
pub(crate) struct Days(Mutex<HashMap<(RecordId, u64), Reading>>);

impl Days {
    /// Whether this was not noted yet.
    fn is_news(&self, reading: Reading) -> bool {
        let of = (reading.secret, reading.version);
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if days.get(&of) == Some(&reading) {
            return false;
        }
        if days.len() >= KEPT_MAX {
            days.clear();
        }
        days.insert(of, reading);
        true
    }
}

/// A day that was noted, as what begins with it in microseconds; none yet.
pub(crate) struct Day(AtomicI64);

impl Default for Day {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

/// Notes that a version was read. A store that takes no writes is still read.
pub(super) async fn note(request: &Request, seen: &Seen, version: &VersionInfo) {
    let micros = request.now.as_micros();
    let day = micros - micros.rem_euclid(DAY_MICROS);
    let snapshot = &seen.snapshot;
    let is_current = snapshot.newest() == Some(version);
    if is_current && seen.read_on.0.load(Ordering::Relaxed) == day {
        return;
    }
    let reading = Reading {
        secret: seen.id,
        created: snapshot.metadata().created,
        version: version.number,
        day: Timestamp::from_micros(day),
    };
    if request.core.days.is_news(reading) {
        let is_kept = |number| number == version.number || snapshot.version(number).is_some();
        let _ = request.core.state.note_accessed(&reading, is_kept).await;
    }
    if is_current {
        seen.read_on.0.store(day, Ordering::Relaxed);
    }
}

/// The days a secret and its versions were last read.
pub(super) async fn of(
    request: &Request,
    live: &Live,
    snapshot: &Snapshot,
) -> Result<Option<Accessed>, Fault> {
    let secret = live.secrets.secret_id(snapshot.path());
    let accessed = request.core.state.accessed(secret).await?;
    Ok(accessed.filter(|accessed| accessed.created == snapshot.metadata().created))
}

/// The day a secret was last read.
pub(super) async fn day_of(
    request: &Request,
    live: &Live,
    snapshot: &Snapshot,
) -> Result<Option<Timestamp>, Fault> {
    let accessed = of(request, live, snapshot).await?;
    Ok(accessed.map(|accessed| accessed.day))
}
