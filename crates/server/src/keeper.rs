//! Where a server's header and records are kept: a store file, or memory.

mod database;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Durability;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_store::embedded::EmbeddedStorage;
use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;
use strongroom_store::memory::MemoryStorage;
use strongroom_store_postgres::OpenDatabaseError;

pub use database::DatabaseKeeper;

/// Keeps the header, which says who can unseal, and opens what it guards.
pub trait Keeper: Send + Sync {
    /// The word that `sys/seal-status` shows.
    fn word(&self) -> &'static str;
    /// The header; `None` before the first start.
    ///
    /// # Errors
    /// When it cannot be read.
    fn header(&self) -> Result<Option<Header>, KeeperError>;
    /// Whether what keeps the records was heard of lately.
    fn is_reachable(&self) -> bool {
        true
    }
    /// Makes the store.
    ///
    /// # Errors
    /// When there is one already, or it cannot be written.
    fn create(
        &self,
        header: &Header,
        barrier: &Barrier,
        first: Vec<BatchItem>,
    ) -> Result<(), KeeperError>;
    /// Opens the store with its keys.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, barrier: &Barrier) -> Result<Arc<dyn Storage>, KeeperError>;
    /// Replaces the header, if it is still the generation it was read at.
    ///
    /// # Errors
    /// When somebody else has changed it.
    fn replace_header(&self, read_at: u64, header: &Header) -> Result<(), KeeperError>;
}

/// Why a keeper fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The store file.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenDatabaseError),
    /// The storage below.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not open.
    #[error("the store is not open")]
    Closed,
    /// There is one already.
    #[error("there is a store already")]
    Exists,
}

/// A store that is gone with the process.
#[derive(Default)]
pub struct MemoryKeeper {
    header: Mutex<Option<Header>>,
    storage: Arc<MemoryStorage>,
}

impl Keeper for MemoryKeeper {
    fn word(&self) -> &'static str {
        "inmem"
    }

    fn header(&self) -> Result<Option<Header>, KeeperError> {
        Ok(self.lock().clone())
    }

    fn create(
        &self,
        header: &Header,
        _barrier: &Barrier,
        first: Vec<BatchItem>,
    ) -> Result<(), KeeperError> {
        let mut slot = self.lock();
        if slot.is_some() {
            return Err(KeeperError::Exists);
        }
        // Storage in memory answers at once: there is nothing to wait for.
        now_or_closed(self.storage.commit(first, Durability::Durable))??;
        *slot = Some(header.clone());
        Ok(())
    }

    fn open(&self, _barrier: &Barrier) -> Result<Arc<dyn Storage>, KeeperError> {
        Ok(Arc::clone(&self.storage) as Arc<dyn Storage>)
    }

    fn replace_header(&self, read_at: u64, header: &Header) -> Result<(), KeeperError> {
        let mut slot = self.lock();
        match &*slot {
            Some(stored) if stored.generation() == read_at => {
                *slot = Some(header.clone());
                Ok(())
            }
            _ => Err(KeeperError::Storage(StorageError::Conflict {
                id: strongroom_core::port::RecordId([0; 16]),
            })),
        }
    }
}

impl MemoryKeeper {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Header>> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_or_closed<T>(future: impl Future<Output = T>) -> Result<T, KeeperError> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Ok(value),
        std::task::Poll::Pending => Err(KeeperError::Closed),
    }
}

/// A store file, which the command line may use at the same time.
pub struct FileKeeper {
    path: PathBuf,
    open: Mutex<std::sync::Weak<EmbeddedStorage>>,
}

impl FileKeeper {
    /// The keeper of the store at a path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Mutex::new(std::sync::Weak::new()),
        }
    }

    fn storage(&self) -> Option<Arc<EmbeddedStorage>> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }
}

impl Keeper for FileKeeper {
    fn word(&self) -> &'static str {
        "file"
    }

    fn header(&self) -> Result<Option<Header>, KeeperError> {
        if let Some(storage) = self.storage() {
            return Ok(Some(storage.read_header()?));
        }
        match StoreFile::open(&self.path) {
            Ok(file) => Ok(Some(file.header().clone())),
            Err(OpenStoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn create(
        &self,
        header: &Header,
        barrier: &Barrier,
        first: Vec<BatchItem>,
    ) -> Result<(), KeeperError> {
        StoreFile::create(&self.path, header, barrier, first)?;
        Ok(())
    }

    fn open(&self, barrier: &Barrier) -> Result<Arc<dyn Storage>, KeeperError> {
        let file = StoreFile::open(&self.path)?;
        let storage = Arc::new(file.unlock(barrier, Writes::Grouped, Rollback::Refuse)?);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&storage);
        Ok(storage)
    }

    fn replace_header(&self, read_at: u64, header: &Header) -> Result<(), KeeperError> {
        let storage = self.storage().ok_or(KeeperError::Closed)?;
        Ok(storage.replace_header(read_at, header)?)
    }
}
