//! Records in memory: for tests, and for servers that forget.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Change;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;

/// A store that lives as long as the process.
#[derive(Default)]
pub struct MemoryStorage(Mutex<State>);

#[derive(Default)]
struct State {
    records: BTreeMap<RecordId, Record>,
    deleted: BTreeMap<RecordId, u64>,
    /// By parent, for listings.
    children: BTreeSet<(RecordId, RecordId)>,
    /// By time, for what is due.
    due: BTreeSet<(i64, RecordId)>,
    /// By revision, for who watches.
    changed: BTreeSet<(u64, RecordId)>,
    revision: u64,
}

impl MemoryStorage {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state is only replaced as a whole, so that a panic elsewhere leaves it sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holds(&self, item: &BatchItem) -> bool {
        let record = self.records.get(&item.id);
        match item.precondition {
            Precondition::Any => true,
            Precondition::Absent => record.is_none(),
            Precondition::Exists => record.is_some(),
            Precondition::Revision(revision) => {
                record.is_some_and(|record| record.revision == revision)
            }
        }
    }

    fn apply(&mut self, batch: Vec<BatchItem>) -> Result<u64, StorageError> {
        if let Some(item) = batch.iter().find(|item| !self.holds(item)) {
            return Err(StorageError::Conflict { id: item.id });
        }
        let revision = self.revision + 1;
        // What the batch leaves of each record; nothing is kept unless all of it works.
        let mut staged: BTreeMap<RecordId, Option<Record>> = BTreeMap::new();
        for BatchItem { id, change, .. } in batch {
            match change {
                Change::Check => {}
                Change::Put {
                    parent,
                    name,
                    value,
                    due_at,
                } => {
                    let record = Record {
                        id,
                        parent,
                        name,
                        value,
                        due_at,
                        revision,
                    };
                    staged.insert(id, Some(record));
                }
                Change::Merge(merge) => {
                    let current = match staged.get(&id) {
                        Some(staged) => staged.as_ref(),
                        None => self.records.get(&id),
                    };
                    let mut record = current.cloned().ok_or(StorageError::Conflict { id })?;
                    record.value = merge(&record.value).map_err(|failed| failed.refusal(id))?;
                    record.revision = revision;
                    staged.insert(id, Some(record));
                }
                Change::Delete => {
                    staged.insert(id, None);
                }
            }
        }
        for (id, record) in staged {
            let before = self.forget(id);
            if let Some(record) = record {
                self.children.insert((record.parent, id));
                self.due.extend(record.due_at.map(|due| (due, id)));
                self.changed.insert((revision, id));
                self.records.insert(id, record);
            } else if before {
                self.deleted.insert(id, revision);
                self.changed.insert((revision, id));
            }
        }
        self.revision = revision;
        Ok(revision)
    }

    /// Takes a record out of everything; whether there was one.
    fn forget(&mut self, id: RecordId) -> bool {
        if let Some(revision) = self.deleted.remove(&id) {
            self.changed.remove(&(revision, id));
        }
        let Some(record) = self.records.remove(&id) else {
            return false;
        };
        self.children.remove(&(record.parent, id));
        if let Some(due) = record.due_at {
            self.due.remove(&(due, id));
        }
        self.changed.remove(&(record.revision, id));
        true
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Storage for MemoryStorage {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        ready(Ok(self.state().records.get(&id).cloned()))
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        let state = self.state();
        ready(Ok(ids
            .iter()
            .map(|id| state.records.get(id).cloned())
            .collect()))
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        let state = self.state();
        let start = match after {
            Some(after) => Bound::Excluded((parent, after)),
            None => Bound::Included((parent, RecordId([0; 16]))),
        };
        let end = Bound::Included((parent, RecordId([0xff; 16])));
        let found = state
            .children
            .range((start, end))
            .take(limit)
            .filter_map(|(_, id)| state.records.get(id).cloned())
            .collect();
        ready(Ok(found))
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        let state = self.state();
        let found = state
            .due
            .range(..(before, RecordId([0; 16])))
            .take(limit)
            .filter_map(|(_, id)| state.records.get(id).cloned())
            .collect();
        ready(Ok(found))
    }

    fn commit(
        &self,
        batch: Vec<BatchItem>,
        _durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        ready(self.state().apply(batch))
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        let state = self.state();
        let start = Bound::Excluded((after, RecordId([0xff; 16])));
        let found = state
            .changed
            .range((start, Bound::Unbounded))
            .take(limit)
            .map(|(revision, id)| Changed {
                id: *id,
                revision: *revision,
                exists: state.records.contains_key(id),
            })
            .collect();
        ready(Ok(found))
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        ready(Ok(self.state().revision))
    }

    fn sign(&self) -> Option<u64> {
        Some(self.state().revision)
    }
}
