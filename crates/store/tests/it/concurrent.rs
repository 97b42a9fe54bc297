//! Many writers at once: threads, connections, and instances as other processes would have.

use std::sync::Arc;

use strongroom_core::port::Durability;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_engine::Engine;
use strongroom_store::embedded::Writes;
use strongroom_testkit::store_contract::count_up;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::Place;
use crate::vault::context;
use crate::vault::read;
use crate::vault::write;

fn counter(storage: &dyn Storage) -> u64 {
    let record = pollster::block_on(storage.get(id(1))).unwrap().unwrap();
    u64::from_be_bytes(record.value.try_into().unwrap())
}

fn commit(
    storage: &dyn Storage,
    batch: Vec<strongroom_core::port::BatchItem>,
) -> Result<u64, StorageError> {
    pollster::block_on(storage.commit(batch, Durability::Durable))
}

/// Eight threads on three instances: merges and compare-and-set on one record.
#[test]
fn no_update_is_lost_between_threads_and_instances() {
    const THREADS: usize = 8;
    const ROUNDS: u64 = 10;
    let place = Place::new();
    let instances = [
        place.open(Writes::Grouped),
        place.open(Writes::Grouped),
        place.open(Writes::Inline),
    ];
    let zero = 0_u64.to_be_bytes();
    commit(&instances[0], vec![put(id(1), &zero), put(id(2), &zero)]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let storage = &instances[thread % instances.len()];
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    commit(storage, vec![count_up(id(1))]).unwrap();
                    loop {
                        let old = pollster::block_on(storage.get(id(2))).unwrap().unwrap();
                        let number = u64::from_be_bytes(old.value.try_into().unwrap()) + 1;
                        let mut next = put(id(2), &number.to_be_bytes());
                        next.precondition =
                            strongroom_core::port::Precondition::Revision(old.revision);
                        match commit(storage, vec![next]) {
                            Ok(_) => break,
                            Err(StorageError::Conflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    let all = THREADS as u64 * ROUNDS;
    for storage in &instances {
        assert_eq!(counter(storage), all);
        let second = pollster::block_on(storage.get(id(2))).unwrap().unwrap();
        assert_eq!(second.value, all.to_be_bytes());
    }
    drop(instances);
    // The head file fits what was written.
    assert_eq!(counter(&place.open(Writes::Inline)), all);
}

#[test]
fn two_instances_see_each_others_writes_at_once() {
    let place = Place::new();
    let one = place.open(Writes::Inline);
    let two = place.open(Writes::Grouped);
    commit(&one, vec![put(id(1), &0_u64.to_be_bytes())]).unwrap();
    let mut last = 0;
    for round in 0..20 {
        let (writer, reader): (&dyn Storage, &dyn Storage) = if round % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        let revision = commit(writer, vec![count_up(id(1))]).unwrap();
        assert!(revision > last);
        assert_eq!(pollster::block_on(reader.revision()).unwrap(), revision);
        assert_eq!(counter(reader), round + 1);
        let changed = pollster::block_on(reader.watch(revision - 1, 10)).unwrap();
        assert_eq!(changed.len(), 1);
        last = revision;
    }
}

/// An instance that has not written for long must not put an old state into the head file.
#[test]
fn the_head_file_knows_the_newest_of_all_instances() {
    let place = Place::new();
    let one = place.open(Writes::Inline);
    let two = place.open(Writes::Inline);
    commit(&one, vec![put(id(1), b"x")]).unwrap();
    let old = place.snapshot();
    for _ in 0..5 {
        commit(&two, vec![put(id(1), b"y")]).unwrap();
    }
    commit(&one, vec![put(id(2), b"z")]).unwrap();
    commit(&two, vec![put(id(2), b"z")]).unwrap();
    drop((one, two));
    let head = std::fs::read(place.head()).unwrap();
    place.put_back(&old.with(&place.head(), head));
    assert!(
        place
            .try_open(strongroom_store::embedded::Rollback::Refuse)
            .is_err()
    );
}

#[test]
fn readers_do_not_wait_for_writers() {
    let place = Place::new();
    let storage = Arc::new(place.open(Writes::Grouped));
    let engine = Engine::new(storage, place.keys.barrier.clone());
    let path = "shop/name".parse().unwrap();
    write(&engine, &path, b"value 0");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..60 {
                write(&engine, &path, format!("value {round}").as_bytes());
            }
        });
        while !writer.is_finished() {
            let value = read(&engine, &path, None).unwrap();
            assert!(value.starts_with(b"value "));
        }
    });
    assert_eq!(read(&engine, &path, None).unwrap(), b"value 59");
    let report = pollster::block_on(engine.verify()).unwrap();
    assert_eq!(report.problems, []);
    let listed = pollster::block_on(engine.list(&context(), "shop")).unwrap();
    assert_eq!(listed[0].version, 60);
}

/// Version 1 is dropped while it is read: gone or not found, but no damage.
#[test]
fn a_version_that_is_dropped_while_it_is_read_is_no_damage() {
    let place = Place::new();
    let storage = Arc::new(place.open(Writes::Inline));
    let engine = Engine::new(storage, place.keys.barrier.clone());
    let path = "name".parse().unwrap();
    write(&engine, &path, b"value 1");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 2..80 {
                write(&engine, &path, format!("value {round}").as_bytes());
            }
        });
        while !writer.is_finished() {
            let newest = pollster::block_on(engine.describe(&path)).unwrap();
            let oldest = newest.versions[0].number;
            match read(&engine, &path, Some(oldest)) {
                Ok(value) => assert_eq!(value, format!("value {oldest}").as_bytes()),
                Err(strongroom_engine::Error::NotFound { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// The log of one instance is emptied while others write, read, and while nobody does.
#[test]
fn a_log_is_shortened_without_losing_anything() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    let other = place.open(Writes::Inline);
    let log = || {
        let log = storage.path().with_extension("db-wal");
        std::fs::metadata(log).unwrap().len()
    };
    let big = [7; 1024];
    for number in 0..60 {
        commit(&storage, vec![put(id(number), &big)]).unwrap();
    }
    assert!(log() > 256 * 1024, "the test writes too little: {}", log());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 60..120 {
                commit(&other, vec![put(id(number), &big)]).unwrap();
            }
        });
        for _ in 0..20 {
            storage.shorten_log();
        }
    });
    storage.shorten_log();
    assert!(log() <= 256 * 1024, "the log still has {} bytes", log());
    drop((storage, other));
    let storage = place.open(Writes::Inline);
    for number in 0..120 {
        let record = pollster::block_on(storage.get(id(number))).unwrap();
        assert_eq!(record.unwrap().value, big, "{number}");
    }
}
