//! Several servers over one database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::MergeFn;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::header::Header;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_store_postgres::OpenDatabaseError;
use strongroom_store_postgres::PostgresStorage;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::commit;
use crate::support::connect;
use crate::support::create;
use crate::support::open;
use crate::support::value;

/// A server, and several stores open on it as other processes would.
fn servers(count: usize) -> (Vec<Arc<PostgresStorage>>, Postgres) {
    let server = Postgres::start();
    create(&connect(&server.url("postgres")).unwrap());
    let stores = (0..count).map(|_| open(&server.url("postgres"))).collect();
    (stores, server)
}

#[test]
fn of_many_who_compare_and_set_exactly_one_wins() {
    let (stores, _server) = servers(3);
    let first = commit(&*stores[0], vec![put(id(1), b"0")]).unwrap();
    let mut revision = first;
    for round in 1..=10_u8 {
        let results: Vec<Result<u64, StorageError>> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..12)
                .map(|number| {
                    let storage = &stores[number % stores.len()];
                    let value = [round, u8::try_from(number).unwrap()];
                    let mut item = put(id(1), &value);
                    item.precondition = Precondition::Revision(revision);
                    scope.spawn(move || commit(&**storage, vec![item]))
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let winners: Vec<usize> = (0..12).filter(|at| results[*at].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        for result in &results {
            let is_lost = matches!(result, Err(StorageError::Conflict { .. }));
            assert!(result.is_ok() || is_lost, "{result:?}");
        }
        let won = [round, u8::try_from(winners[0]).unwrap()];
        for storage in &stores {
            assert_eq!(value(&**storage, id(1)).unwrap(), won);
        }
        revision = *results[winners[0]].as_ref().unwrap();
    }
}

/// Counts up in one record from all sides: nothing is counted twice or lost.
#[test]
fn merges_of_many_servers_all_count() {
    const ROUNDS: u64 = 25;
    let (stores, _server) = servers(3);
    commit(&*stores[0], vec![put(id(1), &0_u64.to_be_bytes())]).unwrap();
    let up: MergeFn = Arc::new(|value: &[u8]| {
        let count = u64::from_be_bytes(value.try_into().unwrap());
        Ok((count + 1).to_be_bytes().to_vec())
    });
    std::thread::scope(|scope| {
        for storage in &stores {
            for _ in 0..2 {
                let up = Arc::clone(&up);
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let item = BatchItem {
                            id: id(1),
                            precondition: Precondition::Exists,
                            change: Change::Merge(Arc::clone(&up)),
                        };
                        commit(&**storage, vec![item]).unwrap();
                    }
                });
            }
        }
    });
    let count = value(&*stores[1], id(1)).unwrap();
    assert_eq!(count, (6 * ROUNDS).to_be_bytes());
}

/// Whoever watches from where he stopped sees every change, however many commit beside him.
#[test]
fn a_watcher_misses_no_change_that_commits_late() {
    const EACH: u64 = 60;
    let (stores, server) = servers(3);
    let watcher = open(&server.url("postgres"));
    let start = pollster::block_on(watcher.revision()).unwrap();
    let (seen, revisions) = std::thread::scope(|scope| {
        let writers: Vec<_> = stores
            .iter()
            .enumerate()
            .map(|(at, storage)| {
                let from = u64::try_from(at).unwrap() * EACH;
                scope.spawn(move || {
                    let write = |number| commit(&**storage, vec![put(id(number), b"x")]).unwrap();
                    (from..from + EACH).map(write).collect::<Vec<u64>>()
                })
            })
            .collect();
        let watching = scope.spawn(|| {
            let mut seen: BTreeSet<RecordId> = BTreeSet::new();
            let mut after = start;
            while seen.len() < usize::try_from(3 * EACH).unwrap() {
                let page = pollster::block_on(watcher.watch(after, 7)).unwrap();
                if let Some(last) = page.last() {
                    after = last.revision;
                }
                seen.extend(page.iter().map(|change| change.id));
            }
            seen
        });
        let revisions: Vec<u64> = writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect();
        (watching.join().unwrap(), revisions)
    });
    assert_eq!(seen.len(), usize::try_from(3 * EACH).unwrap());
    let distinct: BTreeSet<u64> = revisions.iter().copied().collect();
    assert_eq!(
        distinct.len(),
        revisions.len(),
        "no two commits share a revision"
    );
}

/// The sign changes by itself when another server commits, and own commits are signed at once.
#[test]
fn others_commits_change_the_sign() {
    let (stores, _server) = servers(2);
    let own = commit(&*stores[0], vec![put(id(1), b"x")]).unwrap();
    assert!(stores[0].sign().is_none_or(|sign| sign >= own));
    let until = Instant::now() + Duration::from_secs(120);
    while stores[1].sign() != Some(own) {
        assert!(Instant::now() < until, "the other server hears of {own}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// What is kept in memory counts for nothing when the database cannot be asked.
#[test]
fn without_the_database_there_is_no_sign() {
    let (stores, mut server) = servers(1);
    commit(&*stores[0], vec![put(id(1), b"x")]).unwrap();
    server.crash();
    let until = Instant::now() + Duration::from_secs(120);
    while stores[0].sign().is_some() {
        assert!(Instant::now() < until, "the sign is given up");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let failed = pollster::block_on(stores[0].watch(0, 1));
    assert!(
        matches!(failed, Err(StorageError::Unavailable { .. })),
        "{failed:?}"
    );
    server.resume();
    assert_eq!(pollster::block_on(stores[0].watch(0, 1)).unwrap().len(), 1);
}

#[test]
fn of_many_who_make_the_store_one_does() {
    let server = Postgres::start();
    let made: Vec<Result<(), OpenDatabaseError>> = std::thread::scope(|scope| {
        let making: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let database = connect(&server.url("postgres"))?;
                    let (header, _) = Header::create(&SystemRng, Timestamp::from_micros(0));
                    database.create(&header, &[put(id(1), &header.store_id())])
                })
            })
            .collect();
        making.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(
        made.iter().filter(|result| result.is_ok()).count(),
        1,
        "{made:?}"
    );
    for result in made.iter().filter(|result| result.is_err()) {
        assert!(
            matches!(result, Err(OpenDatabaseError::Exists { .. })),
            "{result:?}"
        );
    }
    let database = connect(&server.url("postgres")).unwrap();
    let header = database.header().unwrap().unwrap();
    assert_eq!(value(&*database.open(), id(1)).unwrap(), header.store_id());
}

/// A key slot that one server adds is known to the others, and two do not overwrite each other.
#[test]
fn the_header_is_one_for_all() {
    let server = Postgres::start();
    let one = connect(&server.url("postgres")).unwrap();
    let (mut header, keys) = Header::create(&SystemRng, Timestamp::from_micros(0));
    one.create(&header, &[]).unwrap();
    let two = connect(&server.url("postgres")).unwrap();
    assert_eq!(two.header().unwrap().unwrap().slots().len(), 0);
    let (read_at, mut late) = (header.generation(), header.clone());
    let add = |header: &mut Header| {
        let context = WrapContext {
            rng: &SystemRng,
            now: Timestamp::from_micros(0),
        };
        let key = SecretValue::copy_from(&[7; 32]);
        header
            .add_slot(&keys, SlotKind::KeyFile, "a key file", &key, &context)
            .unwrap();
    };
    add(&mut header);
    one.replace_header(read_at, &header).unwrap();
    add(&mut late);
    let refused = two.replace_header(read_at, &late);
    assert!(
        matches!(refused, Err(StorageError::Conflict { .. })),
        "{refused:?}"
    );
    let until = Instant::now() + Duration::from_secs(120);
    while two.header().unwrap().unwrap().slots().len() != 1 {
        assert!(
            Instant::now() < until,
            "the other server reads the header anew"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
