//! The journal: a header and an entry for each secret, sealed in the store.

mod entry;
mod stored;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Field;

use self::stored::backup_id;
use self::stored::entries_parent;
use self::stored::entry_id;
use self::stored::header_id;
use self::stored::headers_parent;
use self::stored::open_entry;
use self::stored::open_header;
use super::MigrateError;
use crate::error::Error;
use crate::folder::PAGE;
use crate::record;
use crate::secrets::Engine;

pub use entry::Before;
pub use entry::Entry;
pub use entry::State;
pub(super) use entry::Todo;

/// Bytes of an id, as hexadecimal digits.
const ID_BYTES: usize = 8;

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Secrets are being copied.
    Copying,
    /// All are copied and read back; the source is as it was.
    Copied,
    /// They are being taken out of the source.
    Cleaning,
    /// Nothing is left to do.
    Done,
    /// Everything is being put back.
    RollingBack,
    /// Everything is as it was before, but for what is said of an entry.
    RolledBack,
    /// Values are moved one by one when they are read.
    Lazy,
}

impl Stage {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Copied => "copied",
            Self::Cleaning => "cleaning",
            Self::Done => "done",
            Self::RollingBack => "rolling back",
            Self::RolledBack => "rolled back",
            Self::Lazy => "lazy",
        }
    }
}

/// What is known of a migration as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name: 16 hexadecimal digits.
    pub id: String,
    /// When it was begun.
    pub created: Timestamp,
    /// The source's URI, in absolute terms.
    pub from: String,
    /// The target's URI, in absolute terms.
    pub to: String,
    /// How far it is.
    pub stage: Stage,
    /// How many entries it has.
    pub count: u32,
    /// Earlier versions are copied too.
    pub with_history: bool,
    /// Tags that every written secret gets.
    pub tags: BTreeMap<String, String>,
    /// The source is cleaned when everything is copied.
    pub cleans: bool,
    /// Fingerprint of the source's file as it was left.
    pub left: Option<[u8; 16]>,
    /// Lines that were added to a `.gitignore`: the file, and the lines.
    pub ignored: Option<(String, Vec<String>)>,
}

/// A migration's journal, and the right to write to it until another process takes it over.
pub struct Journal {
    engine: Engine,
    /// What is known of the migration as a whole.
    pub header: Header,
    /// Its secrets.
    pub entries: Vec<Entry>,
    /// The header's revision: who has changed it last may write.
    revision: u64,
}

impl Journal {
    /// Begins a migration: all of it is written down in one step. `header.id` and
    /// `header.count` are filled in.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn create(
        engine: &Engine,
        mut header: Header,
        entries: Vec<Entry>,
    ) -> Result<Self, MigrateError> {
        let mut id = [0; ID_BYTES];
        engine.barrier.rng().fill(&mut id);
        header.id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        header.count = count(entries.len())?;
        let mut journal = Self {
            engine: engine.clone(),
            header,
            entries,
            revision: 0,
        };
        let mut batch = vec![journal.put_header(Precondition::Absent)];
        for at in 0..journal.entries.len() {
            batch.extend(journal.put_entry(at));
        }
        let durable = Durability::Durable;
        journal.revision = engine.storage.commit(batch, durable).await?;
        Ok(journal)
    }

    /// All migrations of a store, newest first.
    ///
    /// # Errors
    /// When a header does not open, or the store cannot be read.
    pub async fn list(engine: &Engine) -> Result<Vec<Header>, MigrateError> {
        let parent = headers_parent(&engine.barrier);
        let mut found = Vec::new();
        for stored in children(engine, parent).await? {
            found.push(open_header(&engine.barrier, &stored).ok_or_else(damaged)?);
        }
        found.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        Ok(found)
    }

    /// Opens a migration by its id, or the beginning of it.
    ///
    /// # Errors
    /// When there is none or more than one, or it is damaged.
    pub async fn load(engine: &Engine, id: &str) -> Result<Self, MigrateError> {
        let known = Self::list(engine).await?;
        let mut fitting = known.into_iter().filter(|header| header.id.starts_with(id));
        let not_found = || MigrateError::NotFound { id: id.to_owned() };
        let header = fitting.next().ok_or_else(not_found)?;
        if fitting.next().is_some() {
            return Err(MigrateError::Ambiguous { id: id.to_owned() });
        }
        let stored = engine
            .storage
            .get(header_id(&engine.barrier, &header.id))
            .await?
            .ok_or_else(not_found)?;
        let header = open_header(&engine.barrier, &stored).ok_or_else(damaged)?;
        let parent = entries_parent(&engine.barrier, &header.id);
        let mut entries = BTreeMap::new();
        for record in children(engine, parent).await? {
            if record.id == backup_id(&engine.barrier, &header.id) {
                continue;
            }
            let (number, entry) = open_entry(&engine.barrier, &record).ok_or_else(damaged)?;
            entries.insert(number, entry);
        }
        // A row that has vanished is noticed: numbers go from 0 to the count without a gap.
        let is_whole = entries.keys().copied().eq(0..header.count);
        if !is_whole {
            return Err(damaged().into());
        }
        Ok(Self {
            engine: engine.clone(),
            header,
            entries: entries.into_values().collect(),
            revision: stored.revision,
        })
    }

    /// Takes the journal over: whoever had it before can write to it no more.
    ///
    /// # Errors
    /// When another process was faster, or the store cannot be written.
    pub async fn take_over(&mut self) -> Result<(), MigrateError> {
        self.save_header().await
    }

    /// Writes the header down, with what else has to change in the same step.
    ///
    /// # Errors
    /// When another process has taken the journal over, or the store cannot be written.
    pub async fn save_header(&mut self) -> Result<(), MigrateError> {
        self.save_all(&[]).await
    }

    /// Writes the header and some entries down.
    ///
    /// # Errors
    /// When another process has taken the journal over, or the store cannot be written.
    pub async fn save_all(&mut self, changed: &[usize]) -> Result<(), MigrateError> {
        self.header.count = count(self.entries.len())?;
        let mut batch = vec![self.put_header(Precondition::Revision(self.revision))];
        for at in changed {
            batch.extend(self.put_entry(*at));
        }
        let committed = self.engine.storage.commit(batch, Durability::Durable).await;
        self.revision = committed.map_err(taken_over)?;
        Ok(())
    }

    /// Writes entries down, if nobody has taken the journal over.
    ///
    /// # Errors
    /// As [`Journal::save_all`].
    pub async fn save(&self, changed: &[usize]) -> Result<(), MigrateError> {
        let mut batch = vec![self.still_mine()];
        for at in changed {
            batch.extend(self.put_entry(*at));
        }
        self.commit(batch).await
    }

    /// Writes down entries as they are handed in.
    pub(super) async fn save_entries(
        &self,
        changed: impl IntoIterator<Item = (usize, &Entry)>,
    ) -> Result<(), MigrateError> {
        let mut batch = vec![self.still_mine()];
        batch.extend(changed.into_iter().map(|(at, entry)| self.put(at, entry)));
        self.commit(batch).await
    }

    /// Keeps the source's file as it was, sealed.
    ///
    /// # Errors
    /// As [`Journal::save_all`].
    pub async fn save_backup(&self, bytes: &SecretValue) -> Result<(), MigrateError> {
        let barrier = &self.engine.barrier;
        let id = backup_id(barrier, &self.header.id);
        let plain = record::encode(&(), Some(bytes));
        let put = Change::Put {
            parent: entries_parent(barrier, &self.header.id),
            name: Vec::new(),
            value: barrier.seal(id, Field::Value, &plain),
            due_at: None,
        };
        self.commit(vec![self.still_mine(), any(id, put)]).await
    }

    /// The source's file as it was, if it was kept.
    ///
    /// # Errors
    /// When it does not open, or the store cannot be read.
    pub async fn backup(&self) -> Result<Option<SecretValue>, MigrateError> {
        let barrier = &self.engine.barrier;
        let id = backup_id(barrier, &self.header.id);
        let Some(stored) = self.engine.storage.get(id).await? else {
            return Ok(None);
        };
        let plain = barrier.open(id, Field::Value, &stored.value);
        let plain = plain.map_err(|_| damaged())?;
        let ((), rest) = record::decode(&plain).ok_or_else(damaged)?;
        Ok(Some(SecretValue::copy_from(rest)))
    }

    /// Drops the journal with everything that it keeps.
    ///
    /// # Errors
    /// As [`Journal::save_all`].
    pub async fn forget(self) -> Result<(), MigrateError> {
        let barrier = &self.engine.barrier;
        let mut batch = vec![BatchItem {
            id: header_id(barrier, &self.header.id),
            precondition: Precondition::Revision(self.revision),
            change: Change::Delete,
        }];
        batch.push(any(backup_id(barrier, &self.header.id), Change::Delete));
        for number in 0..self.header.count {
            let id = entry_id(barrier, &self.header.id, number);
            batch.push(any(id, Change::Delete));
        }
        self.commit(batch).await
    }

    /// The keyed hash by which values are compared later.
    #[must_use]
    pub fn fingerprint(&self, value: &SecretValue) -> [u8; 16] {
        self.engine.barrier.fingerprint(value)
    }

    async fn commit(&self, batch: Vec<BatchItem>) -> Result<(), MigrateError> {
        let committed = self.engine.storage.commit(batch, Durability::Durable).await;
        committed.map(|_| ()).map_err(taken_over)
    }

    fn still_mine(&self) -> BatchItem {
        BatchItem {
            id: header_id(&self.engine.barrier, &self.header.id),
            precondition: Precondition::Revision(self.revision),
            change: Change::Check,
        }
    }

    fn put_header(&self, precondition: Precondition) -> BatchItem {
        let barrier = &self.engine.barrier;
        let id = header_id(barrier, &self.header.id);
        let plain = stored::header(&self.header);
        BatchItem {
            id,
            precondition,
            change: Change::Put {
                parent: headers_parent(barrier),
                name: Vec::new(),
                value: barrier.seal(id, Field::Value, &plain),
                due_at: None,
            },
        }
    }

    fn put_entry(&self, at: usize) -> Option<BatchItem> {
        Some(self.put(at, self.entries.get(at)?))
    }

    fn put(&self, at: usize, entry: &Entry) -> BatchItem {
        let barrier = &self.engine.barrier;
        // The count of entries is checked to fit.
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let id = entry_id(barrier, &self.header.id, number);
        let plain = stored::entry(number, entry);
        let put = Change::Put {
            parent: entries_parent(barrier, &self.header.id),
            name: Vec::new(),
            value: barrier.seal(id, Field::Value, &plain),
            due_at: None,
        };
        any(id, put)
    }
}

fn any(id: RecordId, change: Change) -> BatchItem {
    BatchItem {
        id,
        precondition: Precondition::Any,
        change,
    }
}

fn count(entries: usize) -> Result<u32, MigrateError> {
    let limit = format!("{} secrets", u32::MAX);
    let what = "a migration".into();
    u32::try_from(entries).map_err(|_| Error::LimitExceeded { what, limit }.into())
}

fn taken_over(error: StorageError) -> MigrateError {
    match error {
        StorageError::Conflict { .. } => MigrateError::TakenOver,
        error => error.into(),
    }
}

fn damaged() -> Error {
    Error::Damaged {
        what: "the journal of migrations".into(),
        detail: "a record of it does not open or has vanished".into(),
    }
}

async fn children(engine: &Engine, parent: RecordId) -> Result<Vec<Record>, StorageError> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = engine.storage.list(parent, after, PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|record| record.id);
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

/// The parents of all records of journals, for what goes through the whole store.
pub(crate) async fn parents(engine: &Engine) -> Result<Vec<RecordId>, StorageError> {
    let barrier = &engine.barrier;
    let parent = headers_parent(barrier);
    let mut found = vec![parent];
    for stored in children(engine, parent).await? {
        if let Some(header) = open_header(barrier, &stored) {
            found.push(entries_parent(barrier, &header.id));
        }
    }
    Ok(found)
}

/// Opens every record of every journal: their ids, and how many do not open.
pub(crate) async fn open_all(engine: &Engine) -> Result<(Vec<RecordId>, u64), StorageError> {
    let barrier = &engine.barrier;
    let mut ids = Vec::new();
    let mut closed = 0;
    for parent in parents(engine).await? {
        for stored in children(engine, parent).await? {
            let opens = barrier.open(stored.id, Field::Value, &stored.value).is_ok();
            closed += u64::from(!opens);
            ids.push(stored.id);
        }
    }
    Ok((ids, closed))
}
