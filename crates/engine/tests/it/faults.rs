//! Storage that fails at any call: the error is told, and nothing is half done.

use std::sync::Arc;

use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_engine::secrets::Versions;
use strongroom_store::memory::MemoryStorage;
use strongroom_testkit::fault::Fault;
use strongroom_testkit::fault::FaultyStorage;

use crate::support::World;
use crate::support::some;

type Step = fn(&World) -> Result<(), Error>;

const STEPS: [(&str, Step); 10] = [
    ("new", |world| {
        world.try_set("x/y/z", "new", |_| {}).map(drop)
    }),
    ("write", |world| {
        world.try_set("a/b", "three", |_| {}).map(drop)
    }),
    ("rollback", |world| world.rollback("a/b", 1).map(drop)),
    ("delete", |world| {
        world.delete("a/b", &Versions::Newest).map(drop)
    }),
    ("destroy", |world| {
        world.destroy("a/b", &some([1])).map(drop)
    }),
    ("copy", |world| world.copy("a/b", "c/d")),
    ("rename", |world| world.rename("a/b", "c/d")),
    ("remove", |world| world.remove("a/b")),
    ("together", |world| {
        let changes = [("a/b", Some("three")), ("c/d", Some("new")), ("e", None)];
        world.change_together(&changes)
    }),
    ("together, with one that goes", |world| {
        world.change_together(&[("c/d", Some("new")), ("a/b", None)])
    }),
];

/// What a user sees of the store.
fn state(world: &World) -> Vec<(String, Vec<Result<String, &'static str>>)> {
    let mut state = Vec::new();
    for at in world.list_recursive("") {
        let read = |number| {
            let value = world.get_version(&at, Some(number));
            value.map_err(|error| error.code())
        };
        let values = world.numbers(&at).into_iter().map(read).collect();
        state.push((at, values));
    }
    state
}

fn filled(fault: Fault) -> (World, Arc<FaultyStorage>) {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new()), fault));
    let world = World::over(Arc::clone(&faulty) as _);
    world.set("a/b", "one");
    world.set("a/b", "two");
    (world, faulty)
}

#[test]
fn a_failing_call_leaves_the_state_before_or_after() {
    for fault in [Fault::Before, Fault::After] {
        for (name, step) in STEPS {
            let (world, faulty) = filled(fault);
            let before = state(&world);
            faulty.fail_at(0);
            step(&world).unwrap();
            let calls = faulty.calls();
            let after = state(&world);
            assert!(calls >= 2 && before != after, "{name}");
            for call in 1..=calls {
                let (world, faulty) = filled(fault);
                faulty.fail_at(call);
                let result = step(&world);
                faulty.fail_at(0);
                let what = format!("{name}, call {call} failing {fault:?}");
                assert!(
                    matches!(result, Err(Error::Storage(_))),
                    "{what}: {result:?}"
                );
                let is_done = fault == Fault::After && call == calls;
                let expected = if is_done { &after } else { &before };
                assert_eq!(state(&world), *expected, "{what}");
                world.assert_sound();
            }
        }
    }
}

/// A read is not refused because its audit row cannot be kept.
#[test]
fn a_read_survives_an_audit_row_that_cannot_be_written() {
    let (world, faulty) = filled(Fault::Before);
    faulty.fail_at(2);
    assert_eq!(world.get("a/b").unwrap(), "two");
    assert_eq!(faulty.calls(), 2);
}

#[test]
fn a_failing_read_is_an_error_and_not_missing() {
    let (world, faulty) = filled(Fault::Before);
    let engine: &Engine = &world.engine;
    faulty.fail_at(1);
    let result = world.get("a/b");
    assert!(matches!(result, Err(Error::Storage(_))), "{result:?}");
    for call in 1..=3 {
        faulty.fail_at(call);
        let result = world.get("a/nothing");
        assert!(
            matches!(result, Err(Error::Storage(_))),
            "{call}: {result:?}"
        );
        faulty.fail_at(call);
        let listed = pollster::block_on(engine.list(&crate::support::context(), "a"));
        let expected = if call <= 2 { Some("store.io") } else { None };
        assert_eq!(listed.err().map(|error| error.code()), expected);
    }
}
