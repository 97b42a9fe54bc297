//! A store that arrives in pieces.

use std::sync::Arc;

use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::header::Header;
use strongroom_store_postgres::Arrival;
use strongroom_store_postgres::OpenDatabaseError;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::store_contract::id;

use crate::support::connect;
use crate::support::create;

fn record(number: u64, revision: u64) -> Record {
    Record {
        id: id(number),
        parent: RecordId([1; 16]),
        name: b"name".to_vec(),
        value: number.to_be_bytes().to_vec(),
        due_at: None,
        revision,
    }
}

#[test]
fn an_arrival_goes_on_where_it_stopped_and_keeps_revisions() {
    let server = Postgres::start();
    let url = server.url("postgres");
    let (header, _) = Header::create(&SystemRng, Timestamp::from_micros(0));
    let source = header.store_id();
    let mut first = Arrival::begin(connect(&url).unwrap(), source).unwrap();
    assert_eq!(first.revision(), 0);
    first
        .take(vec![record(1, 3), record(2, 4)], vec![(id(9), 2)], 4)
        .unwrap();
    drop(first);
    // Nobody takes it for a store, or makes one of it.
    let database = connect(&url).unwrap();
    assert!(database.header().unwrap().is_none());
    let (other, _) = Header::create(&SystemRng, Timestamp::from_micros(0));
    let refused = database.create(&other, &[]).unwrap_err();
    assert!(
        matches!(refused, OpenDatabaseError::Unfinished { .. }),
        "{refused:?}"
    );
    let refused = Arrival::begin(Arc::clone(&database), other.store_id());
    assert!(matches!(refused, Err(OpenDatabaseError::Unfinished { .. })));

    let mut second = Arrival::begin(database, source).unwrap();
    assert_eq!(second.revision(), 4);
    second.take(vec![record(1, 7)], Vec::new(), 7).unwrap();
    assert_eq!(second.count().unwrap(), 2);
    second.finish(&header, 9, 40).unwrap();
    let database = connect(&url).unwrap();
    assert_eq!(database.header().unwrap().unwrap().store_id(), source);
    assert_eq!(database.seals().unwrap(), 40);
    let storage = database.open();
    assert_eq!(pollster::block_on(storage.revision()).unwrap(), 9);
    let found = pollster::block_on(storage.get(id(1))).unwrap();
    assert_eq!(found, Some(record(1, 7)));
    let changes = pollster::block_on(storage.watch(0, 10)).unwrap();
    let order: Vec<(u64, bool)> = changes
        .iter()
        .map(|one| (one.revision, one.exists))
        .collect();
    assert_eq!(order, [(2, false), (4, true), (7, true)]);
    // And once it is a store, nothing arrives any more.
    let refused = Arrival::begin(database, source);
    assert!(matches!(refused, Err(OpenDatabaseError::Exists { .. })));
}

#[test]
fn nothing_arrives_in_a_store() {
    let server = Postgres::start();
    let database = connect(&server.url("postgres")).unwrap();
    let header = create(&database);
    let refused = Arrival::begin(database, header.store_id());
    assert!(matches!(refused, Err(OpenDatabaseError::Exists { .. })));
}
