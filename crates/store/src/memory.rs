//! Records in memory: for tests, and for servers that forget.

use std::collections::BTreeMap;
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
            if let Some(record) = record {
                self.deleted.remove(&id);
                self.records.insert(id, record);
            } else if self.records.remove(&id).is_some() {
                self.deleted.insert(id, revision);
            }
        }
        self.revision = revision;
        Ok(revision)
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
        let found = state
            .records
            .values()
            .filter(|record| record.parent == parent && after.is_none_or(|after| record.id > after))
            .take(limit)
            .cloned()
            .collect();
        ready(Ok(found))
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        let state = self.state();
        let mut found: Vec<Record> = state
            .records
            .values()
            .filter(|record| record.due_at.is_some_and(|due| due < before))
            .cloned()
            .collect();
        found.sort_by_key(|record| (record.due_at, record.id));
        found.truncate(limit);
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
        let written = state.records.values().map(|record| Changed {
            id: record.id,
            revision: record.revision,
            exists: true,
        });
        let deleted = state.deleted.iter().map(|(id, revision)| Changed {
            id: *id,
            revision: *revision,
            exists: false,
        });
        let mut found: Vec<Changed> = written
            .chain(deleted)
            .filter(|change| change.revision > after)
            .collect();
        found.sort_by_key(|change| (change.revision, change.id));
        found.truncate(limit);
        ready(Ok(found))
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        ready(Ok(self.state().revision))
    }
}
