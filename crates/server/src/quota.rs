//! Limits of rates: so many requests in so many seconds, for all paths or those below a prefix.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arc_swap::ArcSwap;
use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

/// Addresses that are counted at once; past that the oldest counts are dropped.
const COUNTS_MAX: usize = 65_536;

/// A limit as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quota {
    /// Below which path; empty for everywhere. With a `*` at its end, any path that begins so.
    pub(crate) path: String,
    /// Requests in each interval, of one address.
    pub(crate) rate: f64,
    /// Seconds.
    pub(crate) interval: i64,
    /// Seconds that an address is refused after it was over the limit; 0 for the interval's rest.
    pub(crate) block_interval: i64,
    /// Kept for clients that set it.
    pub(crate) role: String,
    /// Kept for clients that set it.
    pub(crate) inheritable: bool,
}

impl Stored for Quota {
    const KIND: Kind = Kind::Quota;
}

impl Quota {
    fn fits(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path.starts_with(self.path.as_str()),
        }
    }
}

/// How much an address has used.
struct Count {
    since: Timestamp,
    used: f64,
    blocked_until: Option<Timestamp>,
}

/// All limits, and what was used of them.
#[derive(Default)]
pub(crate) struct Quotas {
    rules: ArcSwap<Vec<(String, Quota)>>,
    ids: ArcSwap<Vec<RecordId>>,
    counts: Mutex<HashMap<(String, IpAddr), Count>>,
}

impl Quotas {
    pub(crate) async fn load(&self, state: &State) -> Result<(), Error> {
        let all = state.all::<Quota>(Shelf::Kind).await?;
        let ids = all.iter().map(|(_, found)| found.id).collect();
        let rules = all.into_iter().map(|(name, found)| (name, found.value));
        self.rules.store(Arc::new(rules.collect()));
        self.ids.store(Arc::new(ids));
        Ok(())
    }

    /// Whether a change concerns a limit that is known.
    pub(crate) fn has_changed(&self, ids: &[RecordId]) -> bool {
        self.ids.load().iter().any(|id| ids.contains(id))
    }

    /// Counts a request; when it is over a limit, the seconds to wait.
    pub(crate) fn take(&self, path: &str, from: IpAddr, now: Timestamp) -> Result<(), i64> {
        let rules = self.rules.load();
        if rules.is_empty() {
            return Ok(());
        }
        // The limit with the longest path speaks.
        let fitting = rules.iter().filter(|(_, quota)| quota.fits(path));
        let Some((name, quota)) = fitting.max_by_key(|(_, quota)| quota.path.len()) else {
            return Ok(());
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTS_MAX {
            counts.retain(|_, count| now.seconds_since(count.since) < 60);
            if counts.len() >= COUNTS_MAX {
                counts.clear();
            }
        }
        let count = counts.entry((name.clone(), from)).or_insert(Count {
            since: now,
            used: 0.0,
            blocked_until: None,
        });
        if let Some(until) = count.blocked_until {
            let left = until.seconds_since(now);
            if left > 0 {
                return Err(left);
            }
            count.blocked_until = None;
        }
        let interval = quota.interval.max(1);
        let passed = now.seconds_since(count.since);
        if passed >= interval || passed < 0 {
            count.since = now;
            count.used = 0.0;
        }
        if count.used + 1.0 > quota.rate {
            if quota.block_interval > 0 {
                let span = strongroom_core::time::Span::from_seconds(quota.block_interval);
                count.blocked_until = Some(now.plus(span));
                return Err(quota.block_interval);
            }
            return Err((interval - passed).max(1));
        }
        count.used += 1.0;
        Ok(())
    }
}
