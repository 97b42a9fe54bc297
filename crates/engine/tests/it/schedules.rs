//! The order in which tasks reach the storage, chosen by shuttle: thousands of interleavings of
//! the same few operations, with a switch possible before and after every call of the port.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::future::spawn;
use shuttle::future::yield_now;
use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::version::Provenance;
use strongroom_engine::Error;
use strongroom_engine::secrets::NewVersion;
use strongroom_engine::secrets::WriteOptions;
use strongroom_engine::state::State;
use strongroom_engine::tokens::NewToken;
use strongroom_store::memory::MemoryStorage;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;
use crate::support::path;
use crate::support::text;

/// Interleavings that are tried of each case, half of them by the scheduler that changes
/// priorities a few times (which finds what needs few switches at the right places).
const SCHEDULES: usize = 1000;
/// Changes of priority in each of those.
const DEPTH: usize = 3;

/// Another task may go on before and after everything that is asked of the storage.
struct Interleaved(MemoryStorage);

impl Interleaved {
    fn around<'a, T: Send + 'a>(
        asked: impl Future<Output = Result<T, StorageError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StorageError>> {
        Box::pin(async move {
            yield_now().await;
            let answer = asked.await;
            yield_now().await;
            answer
        })
    }
}

impl Storage for Interleaved {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        Self::around(self.0.get(id))
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        Self::around(self.0.get_many(ids))
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        Self::around(self.0.list(parent, after, limit))
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        Self::around(self.0.due(before, limit))
    }

    fn commit(
        &self,
        batch: Vec<BatchItem>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        Self::around(async move { self.0.commit(batch, durability).await })
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        Self::around(self.0.watch(after, limit))
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        Self::around(self.0.revision())
    }
}

/// Runs a case in many interleavings.
fn in_all_orders(case: impl Fn(Arc<World>) + Send + Sync + Clone + 'static) {
    let once = move || {
        let storage = Interleaved(MemoryStorage::new());
        case(Arc::new(World::over(Arc::new(storage))));
    };
    shuttle::check_random(once.clone(), SCHEDULES / 2);
    shuttle::check_pct(once, SCHEDULES / 2, DEPTH);
}

/// Starts all, waits for all.
fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    tasks: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(spawn).collect();
    block_on(async {
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    })
}

fn state(world: &World) -> State {
    State::new(Arc::clone(&world.storage), world.barrier.clone())
}

fn newcomer(uses: i64, parent: Option<(RecordId, u64)>) -> NewToken {
    NewToken {
        num_uses: uses,
        parent,
        ttl: 3600,
        ..NewToken::orphan(vec!["default".into()], "auth/token/create", [0; 16])
    }
}

#[test]
fn of_writes_with_the_same_cas_one_wins_and_is_there() {
    in_all_orders(|world| {
        let write = |number: u32| {
            let world = Arc::clone(&world);
            async move {
                let mut options = WriteOptions::new(Provenance::Set);
                options.cas = Some(0);
                let value = format!("value {number}");
                let (context, at, payload) = (context(), path("a/b"), text(&value));
                let written = world.engine.write(&context, &at, &payload, &options).await;
                match written {
                    Ok(_) => Some(value),
                    Err(Error::VersionMismatch { .. }) => None,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let won: Vec<String> = together((0..3).map(write)).into_iter().flatten().collect();
        assert_eq!(won.len(), 1);
        assert_eq!(world.get("a/b").unwrap(), won[0]);
        world.assert_sound();
    });
}

#[test]
fn every_acknowledged_version_is_there() {
    in_all_orders(|world| {
        let put = |number: u32| {
            let world = Arc::clone(&world);
            async move {
                let value = format!("value {number}");
                let (context, at, payload) = (context(), path("a/b"), text(&value));
                let how = NewVersion {
                    cas: None,
                    cas_required: false,
                    max_versions: 10,
                    delete_after: None,
                };
                let written = world
                    .engine
                    .put_version(&context, &at, &payload, &how)
                    .await;
                (written.unwrap().0.number, value)
            }
        };
        let written = together((0..3).map(put));
        let numbers: BTreeSet<u64> = written.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, BTreeSet::from([1, 2, 3]));
        for (number, value) in written {
            assert_eq!(world.get_version("a/b", Some(number)).unwrap(), value);
        }
        world.assert_sound();
    });
}

#[test]
fn folders_that_come_and_go_are_sound() {
    in_all_orders(|world| {
        world.set("a/b/one", "value");
        let remove = {
            let world = Arc::clone(&world);
            spawn(async move { world.engine.remove(&context(), &path("a/b/one")).await })
        };
        let write = {
            let world = Arc::clone(&world);
            spawn(async move {
                let options = WriteOptions::new(Provenance::Set);
                let (context, at, payload) = (context(), path("a/b/two"), text("value"));
                world.engine.write(&context, &at, &payload, &options).await
            })
        };
        let rename = {
            let world = Arc::clone(&world);
            spawn(async move {
                let (context, from, to) = (context(), path("a/b/two"), path("a/three"));
                world.engine.rename(&context, &from, &to).await
            })
        };
        let (removed, written, renamed) = block_on(async {
            (
                remove.await.unwrap(),
                write.await.unwrap(),
                rename.await.unwrap(),
            )
        });
        removed.unwrap();
        written.unwrap();
        let left = if renamed.is_ok() {
            "a/three"
        } else {
            "a/b/two"
        };
        assert_eq!(world.list_recursive(""), [left]);
        world.assert_sound();
    });
}

#[test]
fn a_token_is_used_as_often_as_it_may_and_no_more() {
    in_all_orders(|world| {
        let issued = block_on(state(&world).issue(newcomer(2, None), NOW, Vec::new())).unwrap();
        let take = |_| {
            let (world, id) = (Arc::clone(&world), issued.id);
            async move { state(&world).take_use(id, NOW).await.is_ok() }
        };
        let taken = together((0..4).map(take));
        assert_eq!(taken.iter().filter(|is_taken| **is_taken).count(), 2);
    });
}

#[test]
fn no_child_outlives_a_parent_that_is_revoked() {
    in_all_orders(|world| {
        let state_of = state(&world);
        let parent = block_on(state_of.issue(newcomer(0, None), NOW, Vec::new())).unwrap();
        let issue = |_: u32| {
            let (world, parent) = (Arc::clone(&world), parent.id);
            async move {
                let state = state(&world);
                let found = state.token(parent).await.unwrap()?;
                let child = newcomer(0, Some((parent, found.revision)));
                state.issue(child, NOW, Vec::new()).await.ok()
            }
        };
        let revoke = {
            let (world, parent) = (Arc::clone(&world), parent.id);
            spawn(async move { state(&world).revoke(parent).await })
        };
        let children = together((0..2).map(issue));
        block_on(revoke).unwrap().unwrap();
        for child in children.into_iter().flatten() {
            assert!(block_on(state_of.token(child.id)).unwrap().is_none());
        }
        assert!(block_on(state_of.token(parent.id)).unwrap().is_none());
        assert_eq!(
            block_on(state_of.accessors()).unwrap(),
            Vec::<String>::new()
        );
    });
}

#[test]
fn a_renewal_does_not_bring_a_revoked_token_back() {
    in_all_orders(|world| {
        let state_of = state(&world);
        let issued = block_on(state_of.issue(newcomer(0, None), NOW, Vec::new())).unwrap();
        let renew = |_: u32| {
            let (world, id) = (Arc::clone(&world), issued.id);
            async move { state(&world).renew(id, NOW, 60, 7200).await.is_ok() }
        };
        let revoke = {
            let (world, id) = (Arc::clone(&world), issued.id);
            spawn(async move { state(&world).revoke(id).await })
        };
        together((0..2).map(renew));
        block_on(revoke).unwrap().unwrap();
        assert!(block_on(state_of.token(issued.id)).unwrap().is_none());
    });
}
