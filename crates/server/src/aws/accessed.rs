//! When secrets were last read: the day, as AWS tells it. It lies beside the secrets, so that
//! reading one does not change it, and is written once a day.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;
use strongroom_engine::departures::Accessed;
use strongroom_engine::secrets::Snapshot;

use super::dispatch::Request;
use super::error::Fault;
use crate::core::Live;

/// Secrets whose day is kept in memory.
const KEPT_MAX: usize = 64 * 1024;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// The days that were noted by this process.
#[derive(Default)]
pub(crate) struct Days(Mutex<HashMap<RecordId, Accessed>>);

impl Days {
    /// Whether this was not noted yet.
    fn is_news(&self, secret: RecordId, accessed: Accessed) -> bool {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if days.get(&secret) == Some(&accessed) {
            return false;
        }
        if days.len() >= KEPT_MAX {
            days.clear();
        }
        days.insert(secret, accessed);
        true
    }
}

/// Notes that a secret was read. A store that takes no writes is still read.
pub(super) async fn note(request: &Request, live: &Live, snapshot: &Snapshot) {
    let secret = live.secrets.secret_id(snapshot.path());
    let micros = request.now.as_micros();
    let accessed = Accessed {
        created: snapshot.metadata().created,
        day: Timestamp::from_micros(micros - micros.rem_euclid(DAY_MICROS)),
    };
    if request.core.days.is_news(secret, accessed) {
        let _ = request.core.state.note_accessed(secret, accessed).await;
    }
}

/// The day a secret was last read.
pub(super) async fn day_of(
    request: &Request,
    live: &Live,
    snapshot: &Snapshot,
) -> Result<Option<Timestamp>, Fault> {
    let secret = live.secrets.secret_id(snapshot.path());
    let accessed = request.core.state.accessed(secret).await?;
    let own = accessed.filter(|accessed| accessed.created == snapshot.metadata().created);
    Ok(own.map(|accessed| accessed.day))
}
