//! Reads of secrets for the ledger: counted in memory, and written many at a time.
//!
//! No read pays a write. Who reads what for the first time is in the ledger within seconds, and a
//! row of its log; that the same client reads it again is counted, and the counts are written now
//! and then. A server that is killed takes what it had not written yet: its audit log has it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Durability;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionInfo;
use strongroom_deploy::assemble;
use strongroom_engine::Error;
use strongroom_engine::leases::Leased;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Given;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::tokens::Token;
use tokio::sync::watch;

use crate::core::Core;
use crate::core::Known;
use crate::core::Live;
use crate::node::Node;
use crate::users::user_of;
use crate::vault::call::Call;

/// So often what was read for the first time is written.
const INTERVAL: Duration = Duration::from_secs(5);
/// So much of each interval may go into entering what was written. Of many clients that read many
/// secrets for the first time, the rest waits for the next, or for who asks the ledger something.
const ENTERING_MIN: Duration = Duration::from_millis(100);
/// So much where more comes than that enters, for as long as some of it waits.
const ENTERING_MAX: Duration = Duration::from_millis(3_200);
/// So often the counts of what was read before are.
const REPEATS_MICROS: i64 = 600 * 1_000_000;
/// Clients and versions that are counted; of more, those that are quiet are forgotten first.
const COUNTED_MAX: usize = 32 * 1024;
/// The source of what lies in the mount whose paths are those of the store.
pub(crate) const STORE: &str = "store";
/// The source of leases.
pub(crate) const LEASE: &str = "lease";
/// Names that say nothing of who a token is for.
const NO_NAMES: [&str; 2] = ["", "token"];

/// What batch tokens are called, which have no accessor.
const BATCH: &str = "batch token";

/// Through which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    Vault,
    Aws,
}

impl Door {
    fn word(self) -> &'static str {
        match self {
            Self::Vault => "vault api",
            Self::Aws => "aws api",
        }
    }

    /// The door and the token's accessor or the key's id in what the ledger calls a place; `None`
    /// for what has no such handle.
    pub(crate) fn handle_in(place: &str) -> Option<(Self, &str)> {
        let of = |door: Self| Some((door, place.strip_prefix(door.word())?.strip_prefix(' ')?));
        let found = [Self::Vault, Self::Aws].into_iter().find_map(of);
        found.filter(|(_, handle)| *handle != BATCH)
    }
}

/// The reads that were not written yet.
#[derive(Default)]
pub(crate) struct Reads {
    hasher: RandomState,
    counted: Mutex<HashMap<u64, Counted>>,
    /// Reads that there was no room for.
    missed: AtomicU64,
    /// Nobody who is quiet was found to be forgotten: looked for again after the next writing.
    is_full: AtomicBool,
}

/// A client's reads of one version.
struct Counted {
    who: String,
    to: String,
    given: Given,
    last: Timestamp,
    count: u64,
    /// When it was written.
    noted: Option<Timestamp>,
    /// When the client's token ends: then there is nothing left to be counted.
    ends: Option<Timestamp>,
}

impl Counted {
    fn has_ended(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

impl Reads {
    /// Counts a read that is answered.
    pub(crate) fn note(
        &self,
        door: Door,
        known: &Known,
        live: &Live,
        (path, info): (&SecretPath, &VersionInfo),
        now: Timestamp,
    ) {
        let what = (live.mount.uuid, path.as_str(), info.number);
        let key = self
            .hasher
            .hash_one((known.id.0, what, info.fingerprint, door));
        let mut counted = self.counted();
        if let Some(found) = counted.get_mut(&key) {
            found.count += 1;
            found.last = now;
            found.ends = known.token.expires;
            return;
        }
        if counted.len() >= COUNTED_MAX {
            if !self.is_full.load(Ordering::Relaxed) {
                counted.retain(|_, one| one.count > 0);
            }
            if counted.len() >= COUNTED_MAX {
                self.is_full.store(true, Ordering::Relaxed);
                self.missed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let (secret, source) = name_of(live, path.as_str());
        let one = Counted {
            who: person_of(&known.token),
            to: place_of(door, &known.token),
            given: Given {
                secret,
                source,
                version: Some(info.number.to_string()),
                fingerprint: info.fingerprint,
            },
            last: now,
            count: 1,
            noted: None,
            ends: known.token.expires,
        };
        counted.insert(key, one);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.counted().len()
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<u64, Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written, one delivery for each client; with `all`, the counts too.
    fn take(&self, now: Timestamp, all: bool) -> (Vec<Delivery>, Vec<(u64, u64)>) {
        let mut deliveries: HashMap<(String, bool), Delivery> = HashMap::new();
        let mut taken = Vec::new();
        for (key, one) in self.counted().iter_mut() {
            let since = one.noted.map(|noted| now.as_micros() - noted.as_micros());
            let is_last = all || one.has_ended(now);
            let is_due = since.is_none_or(|since| is_last || since >= REPEATS_MICROS);
            if one.count == 0 || !is_due {
                continue;
            }
            let is_repeat = one.noted.is_some();
            let place = (format!("{}\0{}", one.who, one.to), is_repeat);
            let delivery = deliveries.entry(place).or_insert_with(|| Delivery {
                at: one.last,
                who: one.who.clone(),
                channel: Channel::Server,
                to: one.to.clone(),
                request_id: String::new(),
                items: Vec::new(),
                is_repeat,
            });
            delivery.at = delivery.at.max(one.last);
            delivery.items.push((one.given.clone(), one.count));
            taken.push((*key, one.count));
            one.count = 0;
        }
        (deliveries.into_values().collect(), taken)
    }

    /// What was taken is in the ledger. Clients whose tokens have ended are forgotten: many
    /// short-lived ones fill no memory.
    fn written(&self, taken: &[(u64, u64)], now: Timestamp) {
        let mut counted = self.counted();
        for (key, _) in taken {
            if let Some(one) = counted.get_mut(key) {
                one.noted = Some(now);
            }
        }
        counted.retain(|_, one| one.count > 0 || one.noted.is_none() || !one.has_ended(now));
        self.is_full.store(false, Ordering::Relaxed);
    }

    /// What was taken could not be written: it is counted on.
    fn give_back(&self, taken: &[(u64, u64)]) {
        let mut counted = self.counted();
        for (key, count) in taken {
            if let Some(one) = counted.get_mut(key) {
                one.count += count;
            }
        }
    }
}

/// Who a token is for, as far as is known.
pub(crate) fn person_of(token: &Token) -> String {
    if let Some(user) = user_of(token) {
        return user.to_owned();
    }
    let name = token.display_name.as_str();
    match NO_NAMES.contains(&name) {
        false => name.to_owned(),
        true => format!("token {}", token.accessor),
    }
}

/// A lease that is given: to whom, of which role, until when. Each has a value of its own, so that
/// the secret is the lease by its id, which begins with the path of its role.
pub(crate) fn notes_of_lease(
    call: &Call,
    leased: &Leased,
    password: &SecretValue,
) -> Vec<BatchItem> {
    let ledger = of(&call.core);
    let given = Given {
        secret: leased.lease_id.clone(),
        source: LEASE.to_owned(),
        version: None,
        fingerprint: ledger.fingerprint(password),
    };
    let token = call.caller.as_ref().map(|known| &known.token);
    let place = token.map_or_else(String::new, |token| place_of(Door::Vault, token));
    let delivery = Delivery {
        at: call.now,
        who: token.map_or_else(String::new, person_of),
        channel: Channel::Lease,
        to: format!("{place}, until {}", leased.times.expires_at),
        request_id: call.request_id.clone(),
        items: vec![(given, 1)],
        is_repeat: false,
    };
    ledger.notes(&delivery)
}

/// A bundle was made, which opens every secret that is fetched where it runs.
pub(crate) async fn note_bundle(
    call: &Call,
    manifest: &serde_json::Value,
    to: &str,
) -> Result<(), Error> {
    let references = assemble::references(manifest).into_iter();
    let items: Vec<(Given, u64)> = references
        .map(|one| (Given::reference(&one.path, &one.kind), 1))
        .collect();
    if items.is_empty() {
        return Ok(());
    }
    let token = call.caller.as_ref().map(|known| &known.token);
    let delivery = Delivery {
        at: call.now,
        who: token.map_or_else(String::new, person_of),
        channel: Channel::Bundle,
        to: to.to_owned(),
        request_id: call.request_id.clone(),
        items,
        is_repeat: false,
    };
    of(&call.core).note(&delivery, Durability::Relaxed).await
}

/// What reads through a door with a token.
fn place_of(door: Door, token: &Token) -> String {
    let handle = match token.accessor.as_str() {
        "" => "batch token",
        accessor => accessor,
    };
    format!("{} {handle}", door.word())
}

/// What the ledger calls a secret, and where it is kept.
pub(crate) fn name_of(live: &Live, path: &str) -> (String, String) {
    match live.mount.space() {
        None => (path.to_owned(), STORE.to_owned()),
        Some(_) => (
            format!("{}{path}", live.path),
            format!("mount {}", live.path),
        ),
    }
}

/// The ledger of a server's store.
pub(crate) fn of(core: &Core) -> Ledger {
    Ledger::new(core.state.clone())
}

/// Writes what was read.
pub(crate) async fn write(core: &Core, now: Timestamp, all: bool) -> Result<(), Error> {
    let (deliveries, taken) = core.reads.take(now, all);
    if deliveries.is_empty() {
        core.reads.written(&[], now);
        return Ok(());
    }
    let ledger = of(core);
    match ledger.note_all(&deliveries, Durability::Relaxed).await {
        Ok(()) => core.reads.written(&taken, now),
        Err(error) => {
            core.reads.give_back(&taken);
            return Err(error);
        }
    }
    Ok(())
}

/// How long entering may take, each time.
#[derive(Debug)]
struct Pace {
    allowed: Duration,
}

impl Pace {
    fn new() -> Self {
        Self {
            allowed: ENTERING_MIN,
        }
    }

    /// Enters what waits, for as long as that may take.
    async fn enter(&mut self, ledger: &Ledger, stop: &watch::Receiver<bool>) -> Result<(), Error> {
        let began = Instant::now();
        let mut left = true;
        while left && began.elapsed() < self.allowed && !*stop.borrow() {
            left = ledger.enter_some().await? > 0;
        }
        self.next(left);
        Ok(())
    }

    /// Twice as long next time when something was left, so that what waits does not grow for ever.
    fn next(&mut self, left: bool) {
        self.allowed = if left {
            (self.allowed * 2).min(ENTERING_MAX)
        } else {
            ENTERING_MIN
        };
    }
}

/// Writes reads and enters them, until the server stops.
pub(crate) async fn work(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut last_failure = None;
    let mut pace = Pace::new();
    let mut worked = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL.saturating_sub(worked)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let began = Instant::now();
        worked = Duration::ZERO;
        let Some(core) = node.core() else { continue };
        let mut result = write(&core, node.now(), false).await;
        if result.is_ok() {
            result = pace.enter(&of(&core), &stop).await;
        }
        worked = began.elapsed();
        let missed = core.reads.missed.swap(0, Ordering::Relaxed);
        let failure = result.err().map(|error| error.to_string()).or_else(|| {
            let text = format!("{missed} reads are in the audit log alone");
            (missed > 0).then_some(text)
        });
        if let Some(text) = failure.as_ref().filter(|_| failure != last_failure) {
            node.log.error(&format!("the ledger cannot follow: {text}"));
        }
        last_failure = failure;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_given_more_time_until_nothing_does() {
        let mut pace = Pace::new();
        let mut allowed = Vec::new();
        for left in [true, true, true, true, true, true, true, false, true] {
            pace.next(left);
            allowed.push(pace.allowed.as_millis());
        }
        let expected = [200, 400, 800, 1_600, 3_200, 3_200, 3_200, 100, 200];
        assert_eq!(allowed, expected);
    }
}
