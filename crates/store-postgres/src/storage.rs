//! The storage port.

use std::sync::Arc;
use std::time::Instant;

use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::database::Database;
use crate::error::Failure;
use crate::limits;
use crate::read;
use crate::work::Link;
use crate::work::Working;
use crate::writer::Request;

/// An open store in a database.
pub struct PostgresStorage {
    database: Arc<Database>,
    link: Arc<Link>,
    queue: mpsc::Sender<Request>,
}

impl PostgresStorage {
    pub(crate) fn new(
        database: Arc<Database>,
        link: Arc<Link>,
        queue: mpsc::Sender<Request>,
    ) -> Self {
        Self {
            database,
            link,
            queue,
        }
    }

    /// The database it is in.
    #[must_use]
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl for<'a> Fn(&'a deadpool_postgres::ClientWrapper) -> Working<'a, T>
        + Send
        + Sync
        + 'static,
    ) -> BoxFuture<'_, Result<T, StorageError>> {
        let link = Arc::clone(&self.link);
        self.database.spawn(async move { link.read(work).await })
    }
}

impl Storage for PostgresStorage {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        self.read(move |client| Box::pin(read::get(client, id)))
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        if ids.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        let ids: Arc<[RecordId]> = ids.into();
        self.read(move |client| {
            let ids = Arc::clone(&ids);
            Box::pin(async move { read::get_many(client, &ids).await })
        })
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.read(move |client| Box::pin(read::list(client, parent, after, limit)))
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.read(move |client| Box::pin(read::due(client, before, limit)))
    }

    fn commit(
        &self,
        batch: Vec<BatchItem>,
        // Every commit waits for the disk. A revision that others have seen, and that goes with a
        // crash, would look to them as if the database had lost what was acknowledged.
        _durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        let bytes = match limits::check_batch(&batch) {
            Ok(bytes) => bytes,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let (reply, answer) = oneshot::channel();
        let request = Request {
            batch,
            bytes,
            reply,
        };
        Box::pin(async move {
            let stopped = || StorageError::Io {
                detail: "the writer has stopped".into(),
            };
            let sent = self.queue.send(request).await;
            sent.map_err(|_| stopped())?;
            answer.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        let link = Arc::clone(&self.link);
        self.read(move |client| {
            let link = Arc::clone(&link);
            Box::pin(async move {
                // What is found below may be newer than that; nothing older is missing.
                let question = link.seen.question();
                let (counters, changes) = futures_util::future::join(
                    read::counters(client),
                    read::watch(client, after, limit),
                )
                .await;
                let noted = link.seen.note(question, counters?);
                noted.map_err(Failure::Stored)?;
                changes
            })
        })
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        let link = Arc::clone(&self.link);
        self.read(move |client| {
            let link = Arc::clone(&link);
            Box::pin(async move {
                let question = link.seen.question();
                let counters = read::counters(client).await?;
                let noted = link.seen.note(question, counters);
                noted.map_err(Failure::Stored)?;
                Ok(counters.revision)
            })
        })
    }

    /// The newest revision that is known here; `None` when nothing was heard for longer than what
    /// is kept in memory may be old, and when nothing may be served any more.
    fn sign(&self) -> Option<u64> {
        let seen = &self.link.seen;
        let may_serve = seen.check().is_ok() && !seen.is_stale(Instant::now());
        may_serve.then(|| seen.revision())
    }
}
