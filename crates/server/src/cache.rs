//! A bounded cache of what was read from the store, dropped as soon as the store changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use strongroom_core::port::RecordId;

/// Locks that the entries are spread over.
const SHARDS: usize = 16;

/// Values by the id of the record they were made from.
pub(crate) struct Cache<T> {
    shards: Vec<Mutex<Shard<T>>>,
    weight_max: usize,
    era: Arc<AtomicU64>,
}

struct Shard<T> {
    entries: HashMap<RecordId, (Arc<T>, usize)>,
    weight: usize,
}

impl<T> Cache<T> {
    /// A cache of at most `weight_max` bytes; `era` grows before anything is dropped.
    pub(crate) fn new(weight_max: usize, era: Arc<AtomicU64>) -> Self {
        let shard = || {
            Mutex::new(Shard {
                entries: HashMap::new(),
                weight: 0,
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            weight_max: weight_max / SHARDS,
            era,
        }
    }

    /// Must be asked before the store is read for what will be put in.
    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::SeqCst)
    }

    pub(crate) fn get(&self, id: RecordId) -> Option<Arc<T>> {
        let shard = self.shard(id);
        shard.entries.get(&id).map(|(value, _)| Arc::clone(value))
    }

    /// Keeps a value that was read in `era`, unless something has changed since.
    pub(crate) fn put(&self, id: RecordId, value: &Arc<T>, weight: usize, era: u64) {
        if weight > self.weight_max {
            return;
        }
        let mut shard = self.shard(id);
        if self.era() != era {
            return;
        }
        while shard.weight + weight > self.weight_max {
            // Any entry will do: the map's order is as good as random.
            let Some(victim) = shard.entries.keys().next().copied() else {
                break;
            };
            shard.remove(victim);
        }
        shard.remove(id);
        shard.weight += weight;
        shard.entries.insert(id, (Arc::clone(value), weight));
    }

    pub(crate) fn remove(&self, id: RecordId) {
        self.shard(id).remove(id);
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.entries.clear();
            shard.weight = 0;
        }
    }

    fn shard(&self, id: RecordId) -> MutexGuard<'_, Shard<T>> {
        let at = usize::from(id.0[15]) % SHARDS;
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Shard<T> {
    fn remove(&mut self, id: RecordId) {
        if let Some((_, weight)) = self.entries.remove(&id) {
            self.weight -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> RecordId {
        RecordId([number; 16])
    }

    #[test]
    fn it_stays_within_its_weight() {
        let cache = Cache::new(1600, Arc::new(AtomicU64::new(0)));
        for number in 0..=255 {
            cache.put(id(number), &Arc::new(number), 30, cache.era());
        }
        let kept = (0..=255).filter(|number| cache.get(id(*number)).is_some());
        assert_eq!(kept.count(), 16 * 3);
        cache.put(id(1), &Arc::new(1), 101, cache.era());
        cache.clear();
        assert!((0..=255).all(|number| cache.get(id(number)).is_none()));
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let era = Arc::new(AtomicU64::new(0));
        let cache = Cache::new(1600, Arc::clone(&era));
        let before = cache.era();
        era.fetch_add(1, Ordering::SeqCst);
        cache.put(id(1), &Arc::new("old"), 1, before);
        assert_eq!(cache.get(id(1)), None);
        cache.put(id(1), &Arc::new("new"), 1, cache.era());
        assert_eq!(cache.get(id(1)).as_deref(), Some(&"new"));
        cache.remove(id(1));
        assert_eq!(cache.get(id(1)), None);
    }
}
