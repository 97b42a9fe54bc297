//! A store in a database, which other servers serve at the same time.

use std::sync::Arc;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Storage;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_store_postgres::Database;

use super::Keeper;
use super::KeeperError;

/// Keeps the header beside the records.
pub struct DatabaseKeeper {
    database: Arc<Database>,
}

impl DatabaseKeeper {
    /// The keeper of the store in a database, or of the one that is to be made there.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

impl Keeper for DatabaseKeeper {
    fn word(&self) -> &'static str {
        "postgresql"
    }

    fn header(&self) -> Result<Option<Header>, KeeperError> {
        Ok(self.database.header()?)
    }

    fn is_reachable(&self) -> bool {
        self.database.is_reachable()
    }

    fn create(
        &self,
        header: &Header,
        _barrier: &Barrier,
        first: Vec<BatchItem>,
    ) -> Result<(), KeeperError> {
        Ok(self.database.create(header, &first)?)
    }

    fn open(&self, _barrier: &Barrier) -> Result<Arc<dyn Storage>, KeeperError> {
        Ok(self.database.open())
    }

    fn replace_header(&self, read_at: u64, header: &Header) -> Result<(), KeeperError> {
        Ok(self.database.replace_header(read_at, header)?)
    }
}
