//! What batches make of the records they touch. No SQL: the rows are read before, and written
//! after.

use std::collections::HashMap;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;

use crate::limits;

/// The records that a group of batches has to know, and how well.
#[derive(Default)]
pub(crate) struct Needed {
    /// Only whether they are there, and their revision.
    pub(crate) revisions: Vec<RecordId>,
    /// All of them.
    pub(crate) whole: Vec<RecordId>,
}

impl Needed {
    pub(crate) fn of<'a>(batches: impl Iterator<Item = &'a Vec<BatchItem>>) -> Self {
        let mut needed = Self::default();
        for item in batches.flatten() {
            match item.change {
                Change::Merge(_) => needed.whole.push(item.id),
                Change::Put { .. } | Change::Check if item.precondition == Precondition::Any => {}
                Change::Put { .. } | Change::Check | Change::Delete => {
                    needed.revisions.push(item.id);
                }
            }
        }
        for list in [&mut needed.revisions, &mut needed.whole] {
            list.sort_unstable();
            list.dedup();
        }
        let whole = &needed.whole;
        needed
            .revisions
            .retain(|id| whole.binary_search(id).is_err());
        needed
    }
}

/// A record as it stands in this transaction.
enum State {
    Absent,
    /// Only its revision is known.
    Known {
        revision: u64,
    },
    Whole(Record),
}

struct Slot {
    state: State,
    is_changed: bool,
}

/// The records that this transaction has read or changed.
#[derive(Default)]
pub(crate) struct Overlay {
    slots: HashMap<RecordId, Slot>,
    /// The last revision that was given.
    pub(crate) revision: u64,
    pub(crate) seals: u64,
    /// When records were deleted.
    deleted: HashMap<RecordId, u64>,
}

impl Overlay {
    pub(crate) fn new(revision: u64, seals: u64, needed: &Needed) -> Self {
        let absent = || Slot {
            state: State::Absent,
            is_changed: false,
        };
        let ids = needed.revisions.iter().chain(&needed.whole);
        Self {
            slots: ids.map(|id| (*id, absent())).collect(),
            revision,
            seals,
            deleted: HashMap::new(),
        }
    }

    /// A record that is stored, of which only the revision was asked.
    pub(crate) fn found(&mut self, id: RecordId, revision: u64) {
        self.set(id, State::Known { revision }, false);
    }

    /// A record that is stored.
    pub(crate) fn found_whole(&mut self, record: Record) {
        self.set(record.id, State::Whole(record), false);
    }

    fn set(&mut self, id: RecordId, state: State, is_changed: bool) {
        self.slots.insert(id, Slot { state, is_changed });
    }

    fn revision_of(&self, id: RecordId) -> Option<u64> {
        match &self.slots.get(&id)?.state {
            State::Absent => None,
            State::Known { revision } => Some(*revision),
            State::Whole(record) => Some(record.revision),
        }
    }

    /// Applies a batch whole, or leaves everything as it is. Its revision.
    pub(crate) fn apply(&mut self, batch: &[BatchItem]) -> Result<u64, StorageError> {
        for item in batch {
            let stored = || self.revision_of(item.id);
            let holds = match item.precondition {
                Precondition::Any => true,
                Precondition::Absent => stored().is_none(),
                Precondition::Exists => stored().is_some(),
                Precondition::Revision(expected) => stored() == Some(expected),
            };
            if !holds {
                return Err(StorageError::Conflict { id: item.id });
            }
        }
        let merged = self.merge(batch)?;
        let revision = self.revision + 1;
        for item in batch {
            match &item.change {
                Change::Check | Change::Merge(_) => {}
                Change::Put {
                    parent,
                    name,
                    value,
                    due_at,
                } => {
                    let record = Record {
                        id: item.id,
                        parent: *parent,
                        name: name.clone(),
                        value: value.clone(),
                        due_at: *due_at,
                        revision,
                    };
                    self.seals += 2;
                    self.deleted.remove(&item.id);
                    self.set(item.id, State::Whole(record), true);
                }
                Change::Delete => {
                    if self.revision_of(item.id).is_some() {
                        self.deleted.insert(item.id, revision);
                        self.set(item.id, State::Absent, true);
                    }
                }
            }
        }
        for (id, value) in merged {
            self.seals += 1;
            // A record that the same batch deleted stays deleted.
            if let Some(Slot {
                state: State::Whole(record),
                is_changed,
            }) = self.slots.get_mut(&id)
            {
                record.value = value;
                record.revision = revision;
                *is_changed = true;
            }
        }
        self.revision = revision;
        Ok(revision)
    }

    /// Computes a batch's merges before anything of it is applied.
    fn merge(&self, batch: &[BatchItem]) -> Result<HashMap<RecordId, Vec<u8>>, StorageError> {
        let mut merged: HashMap<RecordId, Vec<u8>> = HashMap::new();
        for item in batch {
            let Change::Merge(merge) = &item.change else {
                continue;
            };
            let current = match merged.get(&item.id) {
                Some(value) => value,
                None => match self.slots.get(&item.id).map(|slot| &slot.state) {
                    Some(State::Whole(record)) => &record.value,
                    _ => return Err(StorageError::Conflict { id: item.id }),
                },
            };
            let value = merge(current).map_err(|failed| failed.refusal(item.id))?;
            limits::check_record(0, limits::wide(value.len()))?;
            merged.insert(item.id, value);
        }
        Ok(merged)
    }

    /// The records to be written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Record> {
        let changed = self.slots.values().filter(|slot| slot.is_changed);
        changed.filter_map(|slot| match &slot.state {
            State::Whole(record) => Some(record),
            State::Absent | State::Known { .. } => None,
        })
    }

    /// The records to be deleted, and at which revision they were.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = (RecordId, u64)> {
        self.deleted.iter().map(|(id, revision)| (*id, *revision))
    }
}
