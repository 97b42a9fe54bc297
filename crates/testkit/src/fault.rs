//! A storage that fails at a chosen call.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;

/// What a panic made by `Fault::Panic` says.
pub const BUG: &str = "a bug made by the test";

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Before,
    /// It is done, and the answer is lost.
    After,
    /// The code has a bug there.
    Panic,
}

/// Passes calls on to another storage, but fails the nth.
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    calls: AtomicU64,
    fails_at: AtomicU64,
    fault: Fault,
}

impl FaultyStorage {
    /// A storage that does not fail yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, fault: Fault) -> Self {
        Self {
            inner,
            calls: AtomicU64::new(0),
            fails_at: AtomicU64::new(0),
            fault,
        }
    }

    /// Counts from here, and fails the `nth` call from now, counted from 1; 0 for none.
    pub fn fail_at(&self, nth: u64) {
        self.calls.store(0, Ordering::SeqCst);
        self.fails_at.store(nth, Ordering::SeqCst);
    }

    /// Calls since `fail_at`.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn pass<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a dyn Storage) -> BoxFuture<'a, Result<T, StorageError>>,
    ) -> BoxFuture<'a, Result<T, StorageError>> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = number == self.fails_at.load(Ordering::SeqCst);
        let failure = StorageError::Io {
            detail: "a failure made by the test".into(),
        };
        if !fails {
            return call(&*self.inner);
        }
        match self.fault {
            Fault::Before => return Box::pin(std::future::ready(Err(failure))),
            Fault::Panic => std::panic::panic_any(BUG),
            Fault::After => {}
        }
        let done = call(&*self.inner);
        Box::pin(async move {
            done.await?;
            Err(failure)
        })
    }
}

impl Storage for FaultyStorage {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        self.pass(|inner| inner.get(id))
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        self.pass(|inner| inner.get_many(ids))
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.pass(|inner| inner.list(parent, after, limit))
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.pass(|inner| inner.due(before, limit))
    }

    fn commit(
        &self,
        batch: Vec<BatchItem>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        self.pass(|inner| inner.commit(batch, durability))
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        self.pass(|inner| inner.watch(after, limit))
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        self.pass(|inner| inner.revision())
    }
}
