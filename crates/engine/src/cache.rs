//! Answers of other backends, sealed to be kept in a file.
//!
//! Each answer is a record of its own: sealed by the store's barrier, and bound by its id (a keyed
//! hash of who was asked, as whom, and for what) to the one question it answers. The file tells a
//! thief how many answers there are and how long they are, and nothing else. It is no store: what
//! does not open is dropped, and asked for again.

mod backend;
#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::RecordId;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;

pub use self::backend::CachedBackend;
pub use self::backend::Manner;
pub use self::backend::Open;
use crate::record;
use crate::record::Kind;

/// Most answers that are kept; the oldest go first.
pub const ENTRIES_MAX: usize = 4096;
/// Most bytes that are kept; the oldest answers go first.
pub const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

const MAGIC: &[u8; 16] = b"strongroom-cache";
const FORMAT: u8 = 1;
const ID_BYTES: usize = 16;
const LENGTH_BYTES: usize = 4;

/// Whose answers these are: the backend's address, and as whom it was asked. Any text; equal
/// only where both are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// From everything that could lead to another answer. Only a keyed hash of it is kept.
    #[must_use]
    pub fn new(barrier: &Barrier, parts: &[&[u8]]) -> Self {
        let lengths: Vec<[u8; 8]> = parts
            .iter()
            .map(|part| (part.len() as u64).to_le_bytes())
            .collect();
        let framed = lengths.iter().zip(parts);
        let framed: Vec<&[u8]> = framed
            .flat_map(|(length, part)| [&length[..], part])
            .collect();
        let hash = barrier.keyed_hash_of("cache identity", &framed);
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The answers of one store's cache file, and what became of them since it was read.
pub struct Cache {
    barrier: Barrier,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Vec<(RecordId, Vec<u8>)>,
    changes: Vec<(RecordId, Change)>,
    uses: Vec<Use>,
    damaged: usize,
}

enum Change {
    Put(Timestamp, Vec<u8>),
    /// Forget what was fetched before this moment.
    Drop(Timestamp),
}

/// A kept answer, as it is sealed; the value's bytes follow it.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    source: String,
    fetched: Timestamp,
    is_found: bool,
    version: Option<String>,
    expires_at: Option<Timestamp>,
}

/// A kept answer, opened.
pub struct Kept {
    /// The secret's declared name.
    pub name: String,
    /// The backend, as it stands in the chain.
    pub source: String,
    /// When it was asked.
    pub fetched: Timestamp,
    /// What it had; `None` for "not found".
    pub found: Option<Fetched>,
}

impl Kept {
    /// True when the answer is not older than `span`, and not of the future.
    #[must_use]
    pub fn is_within(&self, span: Span, now: Timestamp) -> bool {
        let micros = now.as_micros().saturating_sub(self.fetched.as_micros());
        (0..=span.as_seconds().saturating_mul(1_000_000)).contains(&micros)
    }
}

/// An answer that was used in place of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The secret's declared name.
    pub name: String,
    /// The backend, as it stands in the chain.
    pub source: String,
    /// When it was asked.
    pub fetched: Timestamp,
    /// False for "not found".
    pub is_found: bool,
}

/// Why a file is no cache: it is then treated as an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCacheError {
    /// Cut off, or never one.
    #[error("it is damaged")]
    Damaged,
    /// Written by a newer program.
    #[error("a newer strongroom wrote it (format {format})")]
    Newer {
        /// Its format.
        format: u8,
    },
}

impl Cache {
    /// An empty cache of the store with these keys.
    #[must_use]
    pub fn new(barrier: &Barrier) -> Self {
        Self {
            barrier: barrier.clone(),
            state: Mutex::default(),
        }
    }

    /// A cache as it was written.
    ///
    /// # Errors
    /// When the bytes are no cache. Single answers that do not open are noticed when they are
    /// looked for.
    pub fn parse(barrier: &Barrier, bytes: &[u8]) -> Result<Self, ParseCacheError> {
        let cache = Self::new(barrier);
        cache.state().kept = parse(bytes)?;
        Ok(cache)
    }

    /// Every answer that opens, in the order they were given.
    #[must_use]
    pub fn entries(&self) -> Vec<Kept> {
        let mut state = self.state();
        let kept: Vec<Option<Kept>> = state
            .kept
            .iter()
            .map(|(id, sealed)| self.open(*id, sealed))
            .collect();
        state.damaged += kept.iter().filter(|entry| entry.is_none()).count();
        kept.into_iter().flatten().collect()
    }

    /// What was used in place of asking, in the order it was.
    #[must_use]
    pub fn uses(&self) -> Vec<Use> {
        self.state().uses.clone()
    }

    /// How many answers did not open.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.state().damaged
    }

    /// True when there is something to write.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.state().changes.is_empty()
    }

    /// The bytes to be written in place of `on_disk`, which others may have changed meanwhile;
    /// `None` when there is nothing to write.
    #[must_use]
    pub fn merged(&self, on_disk: Option<&[u8]>) -> Option<Vec<u8>> {
        let state = self.state();
        if state.changes.is_empty() {
            return None;
        }
        let mut kept = on_disk
            .and_then(|bytes| parse(bytes).ok())
            .unwrap_or_default();
        for (id, change) in &state.changes {
            let at = kept.iter().position(|(known, _)| known == id);
            let there = at.and_then(|at| self.open(*id, &kept.get(at)?.1));
            let is_newer = |than: &Timestamp| there.is_some_and(|there| there.fetched > *than);
            let (Change::Put(moment, _) | Change::Drop(moment)) = change;
            if is_newer(moment) {
                continue;
            }
            if let Some(at) = at {
                kept.remove(at);
            }
            if let Change::Put(_, sealed) = change {
                kept.push((*id, sealed.clone()));
            }
        }
        Some(write(&kept))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment or push: none is seen half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, identity: &Identity, lookup: &Lookup) -> RecordId {
        // None of them can hold a NUL, so that no two questions have the same name.
        let name = format!(
            "{}\0{}\0{}\0{}",
            identity.0, lookup.name, lookup.path, lookup.place
        );
        record::id_of(&self.barrier, Kind::Cached, &name)
    }

    fn open(&self, id: RecordId, sealed: &[u8]) -> Option<Kept> {
        let plain = self.barrier.open(id, Field::Value, sealed).ok()?;
        let (stored, rest): (Stored, &[u8]) = record::decode(&plain)?;
        let found = stored.is_found.then(|| Fetched {
            value: SecretValue::copy_from(rest),
            version: stored.version,
            expires_at: stored.expires_at,
        });
        Some(Kept {
            name: stored.name,
            source: stored.source,
            fetched: stored.fetched,
            found,
        })
    }

    fn look(&self, id: RecordId) -> Option<Kept> {
        let mut state = self.state();
        let (_, sealed) = state.kept.iter().find(|(known, _)| *known == id)?;
        let opened = self.open(id, sealed);
        if opened.is_none() {
            state.damaged += 1;
            state.kept.retain(|(known, _)| *known != id);
        }
        opened
    }

    fn note_use(&self, kept: &Kept) {
        self.state().uses.push(Use {
            name: kept.name.clone(),
            source: kept.source.clone(),
            fetched: kept.fetched,
            is_found: kept.found.is_some(),
        });
    }

    fn put(&self, id: RecordId, kept: &Kept) {
        let fetched = kept.found.as_ref();
        let stored = Stored {
            name: kept.name.clone(),
            source: kept.source.clone(),
            fetched: kept.fetched,
            is_found: fetched.is_some(),
            version: fetched.and_then(|fetched| fetched.version.clone()),
            expires_at: fetched.and_then(|fetched| fetched.expires_at),
        };
        let plain = record::encode(&stored, fetched.map(|fetched| &fetched.value));
        let sealed = self.barrier.seal(id, Field::Value, &plain);
        let mut state = self.state();
        state.changes.push((id, Change::Put(kept.fetched, sealed)));
    }

    fn forget(&self, id: RecordId, now: Timestamp) {
        self.state().changes.push((id, Change::Drop(now)));
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<(RecordId, Vec<u8>)>, ParseCacheError> {
    let damaged = ParseCacheError::Damaged;
    if bytes.len() > CACHE_BYTES_MAX {
        return Err(damaged);
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(damaged)?;
    let (format, mut rest) = rest.split_first().ok_or(damaged)?;
    if *format != FORMAT {
        return Err(ParseCacheError::Newer { format: *format });
    }
    let mut kept = Vec::new();
    while !rest.is_empty() {
        let (id, after) = rest.split_first_chunk::<ID_BYTES>().ok_or(damaged)?;
        let (length, after) = after.split_first_chunk::<LENGTH_BYTES>().ok_or(damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| damaged)?;
        let (sealed, after) = after.split_at_checked(length).ok_or(damaged)?;
        kept.push((RecordId(*id), sealed.to_owned()));
        rest = after;
    }
    Ok(kept)
}

fn write(kept: &[(RecordId, Vec<u8>)]) -> Vec<u8> {
    let size = |sealed: &[u8]| ID_BYTES + LENGTH_BYTES + sealed.len();
    let mut bytes_left = CACHE_BYTES_MAX - MAGIC.len() - 1;
    // The newest stand last: as many of them as there is room for.
    let newest = kept.iter().rev().take(ENTRIES_MAX);
    let count = newest
        .take_while(|(_, sealed)| match bytes_left.checked_sub(size(sealed)) {
            Some(left) => {
                bytes_left = left;
                true
            }
            None => false,
        })
        .count();
    let mut bytes = Vec::with_capacity(CACHE_BYTES_MAX - bytes_left);
    bytes.extend_from_slice(MAGIC);
    bytes.push(FORMAT);
    for (id, sealed) in kept.iter().skip(kept.len() - count) {
        let Ok(length) = u32::try_from(sealed.len()) else {
            continue;
        };
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(sealed);
    }
    bytes
}
