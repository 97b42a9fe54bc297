//! Storage that counts what it is asked for.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_store::memory::MemoryStorage;

/// Memory, counted.
#[derive(Default)]
pub(crate) struct CountingStorage {
    inner: MemoryStorage,
    commits: AtomicUsize,
    read: AtomicUsize,
}

impl CountingStorage {
    pub(crate) fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }

    /// Records that were handed out.
    pub(crate) fn records_read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    fn handed_out(&self, records: usize) {
        self.read.fetch_add(records, Ordering::Relaxed);
    }
}

impl Storage for CountingStorage {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        Box::pin(async move {
            let found = self.inner.get(id).await?;
            self.handed_out(usize::from(found.is_some()));
            Ok(found)
        })
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        Box::pin(async move {
            let found = self.inner.get_many(ids).await?;
            self.handed_out(found.iter().flatten().count());
            Ok(found)
        })
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        Box::pin(async move {
            let found = self.inner.list(parent, after, limit).await?;
            self.handed_out(found.len());
            Ok(found)
        })
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.inner.due(before, limit)
    }

    fn commit(
        &self,
        batch: Vec<BatchItem>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(batch, durability)
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        self.inner.watch(after, limit)
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        self.inner.revision()
    }
}
