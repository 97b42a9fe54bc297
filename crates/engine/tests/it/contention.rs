//! Many threads at once on the same things.

use std::sync::Arc;
use std::sync::Barrier;
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
use strongroom_engine::Error;
use strongroom_store::memory::MemoryStorage;

use crate::support::World;

const THREADS: usize = 8;

fn in_threads(work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
}

#[test]
fn writers_of_one_folder_do_not_disturb_each_other() {
    const ROUNDS: usize = 12;
    let world = World::new();
    in_threads(|thread| {
        for round in 0..ROUNDS {
            let at = format!("folder/{thread}-{round}");
            world.set(&at, "value");
            world.set(&at, "newer value");
        }
    });
    assert_eq!(world.list("folder").len(), THREADS * ROUNDS);
    world.assert_sound();
}

#[test]
fn of_writers_with_the_same_cas_one_wins() {
    const ROUNDS: u64 = 10;
    let world = World::new();
    let won = AtomicU64::new(0);
    for round in 0..ROUNDS {
        in_threads(|thread| {
            let value = format!("{round} by {thread}");
            match world.try_set("name", &value, |options| options.cas = Some(round)) {
                Ok(written) => {
                    assert_eq!(written.version, round + 1);
                    won.fetch_add(1, Ordering::SeqCst);
                }
                Err(Error::VersionMismatch { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        });
    }
    assert_eq!(won.load(Ordering::SeqCst), ROUNDS);
    world.assert_sound();
}

#[test]
fn writers_of_one_secret_make_a_version_each() {
    const ROUNDS: usize = 8;
    let world = World::new();
    in_threads(|thread| {
        for round in 0..ROUNDS {
            world.set("name", &format!("{thread}-{round}"));
        }
    });
    let newest = *world.numbers("name").last().unwrap();
    assert_eq!(newest, (THREADS * ROUNDS) as u64);
    world.assert_sound();
}

/// Folders are made and emptied by all threads all the time.
#[test]
fn folders_come_and_go_under_many_hands() {
    let world = World::new();
    in_threads(|thread| {
        for round in 0..15 {
            let at = format!("a/b{}/{thread}", round % 2);
            world.set(&at, "value");
            let other = format!("a/c/{thread}");
            world.rename(&at, &other).unwrap();
            world.remove(&other).unwrap();
        }
    });
    assert_eq!(world.list(""), Vec::<String>::new());
    world.assert_sound();
}

/// A lister sees whole states only, and writes elsewhere are no excuse to fail.
#[test]
fn listing_beside_writers_is_never_damage() {
    let world = World::new();
    world.set("quiet/name", "value");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..150 {
                world.set(&format!("busy/{}", round % 7), &format!("{round}"));
            }
        });
        while !writer.is_finished() {
            assert_eq!(world.list("quiet"), ["quiet/name"]);
            assert!(world.list("busy").len() <= 7);
            assert!(world.get("busy/none").unwrap_err().code() == "secret.not_found");
        }
    });
}

/// Lets the two commits after the first `skipped` go only when both have been planned.
struct Together {
    inner: MemoryStorage,
    skipped: u64,
    commits: AtomicU64,
    both: Barrier,
}

impl Storage for Together {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        self.inner.get(id)
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        self.inner.get_many(ids)
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.inner.list(parent, after, limit)
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.inner.due(before, limit)
    }

    fn commit(
        &self,
        batch: Vec<BatchItem>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        if (self.skipped..self.skipped + 2).contains(&number) {
            self.both.wait();
        }
        self.inner.commit(batch, durability)
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        self.inner.watch(after, limit)
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        self.inner.revision()
    }
}

/// Each removal was planned while the other's secret was still there.
#[test]
fn a_folder_that_two_empty_at_once_is_gone() {
    // The root folder and two writes come first.
    let storage = Arc::new(Together {
        inner: MemoryStorage::new(),
        skipped: 3,
        commits: AtomicU64::new(0),
        both: Barrier::new(2),
    });
    let world = World::over(storage);
    world.set("a/one", "value");
    world.set("a/two", "value");
    std::thread::scope(|scope| {
        for at in ["a/one", "a/two"] {
            let world = &world;
            scope.spawn(move || world.remove(at).unwrap());
        }
    });
    assert_eq!(world.list(""), Vec::<String>::new());
    world.assert_sound();
}
