//! Databases that go away, come back, and forget.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::commit;
use crate::support::connect;
use crate::support::create;
use crate::support::open;
use crate::support::store;
use crate::support::value;

/// The database crashes again and again under load. What was acknowledged is there, and a chain of
/// compare-and-set writes is never confused by a commit whose answer was lost.
#[test]
fn no_acknowledged_write_is_lost_when_the_database_restarts() {
    const CRASHES: usize = 4;
    const WRITERS: u64 = 4;
    let mut server = Postgres::start();
    create(&connect(&server.url("postgres")).unwrap());
    let stores = [open(&server.url("postgres")), open(&server.url("postgres"))];
    let is_over = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let storage = &stores[usize::try_from(writer % 2).unwrap()];
            let (is_over, acknowledged) = (&is_over, &acknowledged);
            scope.spawn(move || chain(&**storage, id(writer), is_over, acknowledged));
        }
        for _ in 0..CRASHES {
            let before = acknowledged.load(Ordering::SeqCst);
            while acknowledged.load(Ordering::SeqCst) < before + 40 {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            server.crash();
            server.resume();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(acknowledged.load(Ordering::SeqCst) >= 160);
}

/// Counts up in a record, each write conditional on the last one; at the end the last
/// acknowledged number stands there, and no later one.
fn chain(storage: &dyn Storage, own: RecordId, is_over: &AtomicBool, acknowledged: &AtomicU64) {
    let (mut number, mut revision) = (0_u64, None);
    while !is_over.load(Ordering::SeqCst) {
        let mut item = put(own, &(number + 1).to_be_bytes());
        item.precondition = match revision {
            None => Precondition::Absent,
            Some(revision) => Precondition::Revision(revision),
        };
        match commit(storage, vec![item]) {
            Ok(written) => {
                (number, revision) = (number + 1, Some(written));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            // Nothing was written: the same again.
            Err(StorageError::Unavailable { .. }) => {}
            // Away for too long to tell: as an application would, it looks.
            Err(StorageError::Io { detail }) if detail.contains("look before") => {
                let found = loop {
                    if let Ok(found) = pollster::block_on(storage.get(own)) {
                        break found;
                    }
                };
                if let Some(found) = found.filter(|found| Some(found.revision) != revision) {
                    assert_eq!(found.value, (number + 1).to_be_bytes());
                    (number, revision) = (number + 1, Some(found.revision));
                }
            }
            Err(error) => panic!("{own:?}: {error:?}"),
        }
    }
    let found = value(storage, own);
    assert_eq!(found, (number > 0).then(|| number.to_be_bytes().to_vec()));
}

/// The primary dies under load and its synchronous standby takes over.
#[test]
fn a_promoted_standby_has_all_that_was_acknowledged() {
    let mut primary = Postgres::start();
    create(&connect(&primary.url("postgres")).unwrap());
    let standby = primary.synchronous_standby();
    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        primary.port(),
        standby.port()
    );
    let stores = [open(&both), open(&both)];
    let is_over = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let storage = &stores[usize::try_from(writer % 2).unwrap()];
            let (is_over, acknowledged) = (&is_over, &acknowledged);
            scope.spawn(move || chain(&**storage, id(writer), is_over, acknowledged));
        }
        let more = |count: u64| {
            let before = acknowledged.load(Ordering::SeqCst);
            while acknowledged.load(Ordering::SeqCst) < before + count {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        };
        more(40);
        primary.crash();
        standby.promote();
        more(40);
        is_over.store(true, Ordering::SeqCst);
    });
}

/// The standby is away for longer than any statement may take: what only the primary has is not
/// acknowledged, neither at first nor by asking again, and may be gone when the standby takes over.
#[test]
fn what_the_standby_does_not_have_is_not_acknowledged() {
    let mut primary = Postgres::start();
    create(&connect(&primary.url("postgres")).unwrap());
    let mut standby = primary.synchronous_standby();
    let storage = open(&primary.url("postgres"));
    commit(&*storage, vec![put(id(1), b"both have it")]).unwrap();
    standby.crash();
    let answer = commit(&*storage, vec![put(id(2), b"one has it")]);
    let is_unknown = |detail: &str| detail.contains("look before");
    assert!(
        matches!(&answer, Err(StorageError::Io { detail }) if is_unknown(detail)),
        "{answer:?}"
    );
    primary.crash();
    standby.resume();
    standby.promote();
    let after = open(&standby.url("postgres"));
    assert_eq!(value(&*after, id(1)).as_deref(), Some(&b"both have it"[..]));
    assert_eq!(value(&*after, id(2)), None);
}

/// Connections are cut at every moment of a commit: each is done once.
#[test]
fn a_commit_whose_connection_is_cut_is_done_once() {
    let (storage, server) = store();
    commit(&*storage, vec![put(id(1), b"")]).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cutting = scope.spawn(|| {
            let mut cut = 0;
            while !is_over.load(Ordering::SeqCst) {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name = 'strongroom'";
                cut += server.sql("postgres", sql).parse::<u64>().unwrap();
            }
            cut
        });
        for _ in 0..120 {
            let append = BatchItem {
                id: id(1),
                precondition: Precondition::Exists,
                change: Change::Merge(Arc::new(|value: &[u8]| Ok([value, &[1]].concat()))),
            };
            loop {
                match commit(&*storage, vec![append.clone()]) {
                    Ok(_) => break,
                    Err(StorageError::Unavailable { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
        is_over.store(true, Ordering::SeqCst);
        assert!(cutting.join().unwrap() > 0);
    });
    assert_eq!(value(&*storage, id(1)).unwrap().len(), 120);
}

/// A commit that nobody waited for, and that others have seen, is there after a crash: else every
/// server would take the database for one that lost what was acknowledged.
#[test]
fn a_crash_after_a_relaxed_commit_stops_no_server() {
    let mut server = Postgres::start();
    create(&connect(&server.url("postgres")).unwrap());
    let storage = open(&server.url("postgres"));
    for number in 0..5 {
        let batch = vec![put(id(number), b"x")];
        pollster::block_on(storage.commit(batch, Durability::Relaxed)).unwrap();
        server.crash();
        server.resume();
        let batch = vec![put(id(99), b"y")];
        let written = loop {
            match commit(&*storage, batch.clone()) {
                Err(StorageError::Unavailable { .. }) => {}
                other => break other,
            }
        };
        assert!(written.is_ok(), "{written:?}");
        assert_eq!(value(&*storage, id(number)).as_deref(), Some(&b"x"[..]));
    }
}

/// A database that was put back to an earlier state is not served by those who know better.
#[test]
fn a_database_that_forgot_commits_is_refused() {
    let (storage, server) = store();
    for number in 0..5 {
        commit(&*storage, vec![put(id(number), b"x")]).unwrap();
    }
    let _ = server.sql(
        "postgres",
        "UPDATE strongroom_store SET revision = 2;
         DELETE FROM strongroom_record WHERE revision > 2",
    );
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        match pollster::block_on(storage.revision()) {
            Err(StorageError::Damaged { detail }) => {
                assert!(detail.contains("lost commits"), "{detail}");
                break;
            }
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    }
    let refused = commit(&*storage, vec![put(id(9), b"x")]);
    assert!(
        matches!(refused, Err(StorageError::Damaged { .. })),
        "{refused:?}"
    );
    assert!(pollster::block_on(storage.get(id(1))).is_err());
    // A server that starts anew takes what is there.
    assert!(commit(&*open(&server.url("postgres")), vec![put(id(9), b"x")]).is_ok());
}
