//! Group commit: many batches in one transaction, acknowledged after it is on disk.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use futures_channel::oneshot;
use rusqlite::Connection;
use rusqlite::TransactionBehavior;
use rusqlite::params;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;

use super::Shared;
use super::sqlite;
use super::sqlite::failed;

/// Most batches joined into one transaction.
const GROUP_MAX: usize = 512;
/// Most batches waiting; past that, writers wait to submit.
const QUEUE_MAX: usize = 4096;

/// A group that is small beside the last one waits so long for more: those who were answered
/// just now are about to write again, and each commit costs a wait for the disk.
const GATHER: Duration = Duration::from_micros(150);

/// After so long without a request, the log is folded back.
const IDLE: Duration = Duration::from_millis(200);

/// One batch on its way to the disk.
pub(super) struct Group {
    batch: Vec<BatchItem>,
    durability: Durability,
}

impl Group {
    pub(super) fn new(batch: Vec<BatchItem>, durability: Durability) -> Self {
        Self { batch, durability }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }
}

/// The thread that writes.
pub(super) struct Writer {
    queue: Option<mpsc::SyncSender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Request {
    group: Group,
    reply: oneshot::Sender<Result<u64, StorageError>>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (queue, requests) = mpsc::sync_channel(QUEUE_MAX);
        // Without a thread the queue is closed, and every commit says that the writer stopped.
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || serve(&shared, &requests))
            .ok();
        Self {
            queue: Some(queue),
            thread,
        }
    }

    pub(super) fn submit(
        &self,
        group: Group,
    ) -> impl Future<Output = Result<u64, StorageError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self
            .queue
            .as_ref()
            .map(|queue| queue.send(Request { group, reply }));
        async move {
            let stopped = StorageError::Io {
                detail: "the writer has stopped".into(),
            };
            match sent {
                Some(Ok(())) => answer.await.unwrap_or(Err(stopped)),
                _ => Err(stopped),
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the queue ends the thread after what is waiting has been written.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared, requests: &mpsc::Receiver<Request>) {
    // A connection of its own keeps its pages: those of the pool lose theirs with every commit.
    let mut own = None;
    let mut last_count = 0;
    loop {
        let first = match requests.recv_timeout(IDLE) {
            Ok(first) => first,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Nobody waits: a good time to fold the log back.
                if let Some(connection) = &own {
                    sqlite::fold_log(connection);
                }
                match requests.recv() {
                    Ok(first) => first,
                    Err(_) => break,
                }
            }
        };
        let waiting = gather(requests, first, last_count);
        last_count = waiting.len();
        let (groups, replies): (Vec<Group>, Vec<_>) = waiting
            .into_iter()
            .map(|request| (request.group, request.reply))
            .unzip();
        let count = replies.len();
        let connection = match own.take() {
            Some(connection) => Ok(connection),
            None => sqlite::connect_writer(&shared.path),
        };
        let results = match connection {
            Ok(mut connection) => {
                let results = shared.commit_groups(&mut connection, groups);
                own = Some(connection);
                results
            }
            Err(error) => vec![Err(error); count],
        };
        for (reply, result) in replies.into_iter().zip(results) {
            // A caller that has gone does not need the answer.
            let _ = reply.send(result);
        }
    }
}

/// What waits, and for a moment what is about to come.
fn gather(requests: &mpsc::Receiver<Request>, first: Request, last_count: usize) -> Vec<Request> {
    let mut waiting = vec![first];
    let until = Instant::now() + GATHER;
    while waiting.len() < GROUP_MAX {
        let next = match requests.try_recv() {
            Ok(request) => Some(request),
            Err(_) if waiting.len() < last_count => {
                let left = until.saturating_duration_since(Instant::now());
                requests.recv_timeout(left).ok()
            }
            Err(_) => None,
        };
        match next {
            Some(request) => waiting.push(request),
            None => break,
        }
    }
    waiting
}

/// Writes groups in one transaction: each is applied whole or not at all.
pub(super) fn apply_group(
    connection: &mut Connection,
    groups: Vec<Group>,
) -> Vec<Result<u64, StorageError>> {
    let count = groups.len();
    let is_durable = groups.iter().any(Group::is_durable);
    match try_apply(connection, groups, is_durable) {
        Ok(results) => results,
        Err(error) => vec![Err(error); count],
    }
}

fn try_apply(
    connection: &mut Connection,
    groups: Vec<Group>,
    is_durable: bool,
) -> Result<Vec<Result<u64, StorageError>>, StorageError> {
    let sql = |error: rusqlite::Error| failed(&error);
    if !is_durable {
        connection
            .execute_batch("PRAGMA synchronous = NORMAL")
            .map_err(sql)?;
    }
    let applied = (|| {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql)?;
        let mut revision = sqlite::read_revision(&transaction)?;
        let mut seals = sqlite::read_seals(&transaction)?;
        let mut merged = Merged::default();
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            match apply_batch(&transaction, &mut merged, group.batch, revision + 1) {
                Ok(written) => {
                    revision += 1;
                    seals += written;
                    results.push(Ok(revision));
                }
                Err(Refused::Batch(error)) => results.push(Err(error)),
                Err(Refused::All(error)) => return Err(error),
            }
        }
        merged.write(&transaction).map_err(sql)?;
        sqlite::write_counters(&transaction, revision, seals).map_err(sql)?;
        transaction
            .commit()
            .map_err(|error| sqlite::commit_failed(&error))?;
        Ok(results)
    })();
    if !is_durable {
        connection
            .execute_batch("PRAGMA synchronous = FULL")
            .map_err(sql)?;
    }
    applied
}

/// Who has to hear of a failure.
enum Refused {
    /// This batch only: nothing of it was written.
    Batch(StorageError),
    /// Everybody: the transaction is lost.
    All(StorageError),
}

/// Values changed by merges in this transaction, written once at its end.
#[derive(Default)]
struct Merged(HashMap<RecordId, (Vec<u8>, u64)>);

impl Merged {
    fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut update = connection
            .prepare_cached("UPDATE record SET value = ?2, revision = ?3 WHERE id = ?1")?;
        for (id, (value, revision)) in self.0 {
            update.execute(params![&id.0, value, revision])?;
        }
        Ok(())
    }
}

fn apply_batch(
    connection: &Connection,
    merged: &mut Merged,
    batch: Vec<BatchItem>,
    revision: u64,
) -> Result<u64, Refused> {
    let mut places = Vec::with_capacity(batch.len());
    for item in &batch {
        // What holds anyway is not looked up: the audit record of every write is such a one.
        if item.precondition == Precondition::Any {
            places.push(None);
            continue;
        }
        let place = find_place(connection, item.id).map_err(Refused::All)?;
        let stored = match merged.0.get(&item.id) {
            Some((_, revision)) => Some(*revision),
            None => place.as_ref().map(|place| place.revision),
        };
        let holds = match item.precondition {
            Precondition::Any => true,
            Precondition::Absent => stored.is_none(),
            Precondition::Exists => stored.is_some(),
            Precondition::Revision(expected) => stored == Some(expected),
        };
        if !holds {
            return Err(Refused::Batch(StorageError::Conflict { id: item.id }));
        }
        places.push(place);
    }
    let staged = stage_merges(connection, merged, &batch)?;
    let mut seals = 0;
    for (BatchItem { id, change, .. }, place) in batch.into_iter().zip(places) {
        match change {
            Change::Check | Change::Merge(_) => continue,
            Change::Put {
                parent,
                name,
                value,
                due_at,
            } => {
                merged.0.remove(&id);
                seals += 2;
                let row = Row {
                    id,
                    parent: &parent,
                    name: &name,
                    value: &value,
                    due_at,
                    revision,
                };
                row.put(connection, place)
            }
            Change::Delete => {
                merged.0.remove(&id);
                delete(connection, id, revision)
            }
        }
        .map_err(|error| Refused::All(failed(&error)))?;
    }
    for (id, value) in staged {
        seals += 1;
        merged.0.insert(id, (value, revision));
    }
    Ok(seals)
}

/// Computes a batch's merges before anything of the batch is written.
fn stage_merges(
    connection: &Connection,
    merged: &Merged,
    batch: &[BatchItem],
) -> Result<HashMap<RecordId, Vec<u8>>, Refused> {
    let mut staged: HashMap<RecordId, Vec<u8>> = HashMap::new();
    for item in batch {
        let Change::Merge(merge) = &item.change else {
            continue;
        };
        let stored;
        let current = match (staged.get(&item.id), merged.0.get(&item.id)) {
            (Some(value), _) => value,
            (None, Some((value, _))) => value,
            (None, None) => {
                stored = sqlite::get(connection, item.id).map_err(Refused::All)?;
                let Some(record) = &stored else {
                    return Err(Refused::Batch(StorageError::Conflict { id: item.id }));
                };
                &record.value
            }
        };
        let value = merge(current).map_err(|failed| Refused::Batch(failed.refusal(item.id)))?;
        staged.insert(item.id, value);
    }
    Ok(staged)
}

/// Where a record lies, and what its indexes say of it.
struct Place {
    row: i64,
    parent: RecordId,
    due_at: Option<i64>,
    revision: u64,
}

fn find_place(connection: &Connection, id: RecordId) -> Result<Option<Place>, StorageError> {
    use rusqlite::OptionalExtension;
    let place = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Place> {
        Ok(Place {
            row: row.get(0)?,
            parent: RecordId(row.get(1)?),
            due_at: row.get(2)?,
            revision: row.get(3)?,
        })
    };
    let read = || -> rusqlite::Result<Option<Place>> {
        connection
            .prepare_cached("SELECT row, parent, due_at, revision FROM record WHERE id = ?1")?
            .query_row([&id.0], place)
            .optional()
    };
    read().map_err(|error| failed(&error))
}

/// A record on its way into the table.
struct Row<'a> {
    id: RecordId,
    parent: &'a RecordId,
    name: &'a [u8],
    value: &'a [u8],
    due_at: Option<i64>,
    revision: u64,
}

impl Row<'_> {
    fn put(&self, connection: &Connection, place: Option<Place>) -> rusqlite::Result<()> {
        let fits = |place: &Place| place.parent == *self.parent && place.due_at == self.due_at;
        if let Some(place) = place.filter(fits)
            && self.update(connection, place.row)?
        {
            return Ok(());
        }
        self.upsert(connection)
    }

    /// Changes a row without touching the indexes that stay as they are; false when it is not
    /// there any more.
    fn update(&self, connection: &Connection, row: i64) -> rusqlite::Result<bool> {
        // An earlier change of the same batch may have given the number to another record.
        let changed = connection
            .prepare_cached(
                "UPDATE record SET name = ?3, value = ?4, revision = ?5
                 WHERE row = ?1 AND id = ?2",
            )?
            .execute(params![
                row,
                &self.id.0,
                self.name,
                self.value,
                self.revision
            ])?;
        Ok(changed == 1)
    }

    fn upsert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO record (id, parent, name, value, due_at, revision)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, name = excluded.name,
                 value = excluded.value, due_at = excluded.due_at, revision = excluded.revision",
            )?
            .execute(params![
                &self.id.0,
                &self.parent.0,
                self.name,
                self.value,
                self.due_at,
                self.revision
            ])?;
        Ok(())
    }
}

fn delete(connection: &Connection, id: RecordId, revision: u64) -> rusqlite::Result<()> {
    let removed = connection
        .prepare_cached("DELETE FROM record WHERE id = ?1")?
        .execute([&id.0])?;
    if removed > 0 {
        connection
            .prepare_cached(
                "INSERT INTO deleted (id, revision) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET revision = excluded.revision",
            )?
            .execute(params![&id.0, revision])?;
    }
    Ok(())
}
