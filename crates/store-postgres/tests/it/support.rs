use std::sync::Arc;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Durability;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::header::Header;
use strongroom_store_postgres::Database;
use strongroom_store_postgres::DatabaseUrl;
use strongroom_store_postgres::OpenDatabaseError;
use strongroom_store_postgres::Options;
use strongroom_store_postgres::PostgresStorage;
use strongroom_testkit::postgres::Postgres;

/// An empty store in a database of its own, and its server.
pub(crate) fn store() -> (Arc<dyn Storage>, Postgres) {
    let server = Postgres::start();
    let database = connect(&server.url("postgres")).unwrap();
    create(&database);
    (database.open(), server)
}

pub(crate) fn connect(url: &str) -> Result<Arc<Database>, OpenDatabaseError> {
    Database::connect(&parse(url), Options::default())
}

pub(crate) fn parse(url: &str) -> DatabaseUrl {
    url.parse().unwrap()
}

/// Makes an empty store.
pub(crate) fn create(database: &Database) -> Header {
    let (header, _) = Header::create(&SystemRng, Timestamp::from_micros(0));
    database.create(&header, &[]).unwrap();
    header
}

pub(crate) fn open(url: &str) -> Arc<PostgresStorage> {
    connect(url).unwrap().open()
}

pub(crate) fn commit(storage: &dyn Storage, batch: Vec<BatchItem>) -> Result<u64, StorageError> {
    pollster::block_on(storage.commit(batch, Durability::Durable))
}

pub(crate) fn value(storage: &dyn Storage, id: RecordId) -> Option<Vec<u8>> {
    let found = pollster::block_on(storage.get(id)).unwrap();
    found.map(|record| record.value)
}
