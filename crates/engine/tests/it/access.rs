//! Every access leaves an audit row, and no row, message or record holds a value.

use std::sync::Arc;

use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::Versions;
use strongroom_testkit::canary::Canary;
use strongroom_testkit::clock::FakeClock;
use strongroom_testkit::rng::SeededRng;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;
use crate::support::path;
use crate::support::some;

fn last(world: &World) -> (Action, Vec<String>, Outcome, Option<u64>) {
    let mut log = pollster::block_on(world.engine.audit_log(None, 1000)).unwrap();
    // Rows of one microsecond have no order: there is one only after `clear`.
    assert_eq!(log.len(), 1, "{log:?}");
    let event = log.remove(0);
    assert_eq!(
        (
            event.actor.as_str(),
            event.door.as_str(),
            event.request_id.as_str(),
            event.at
        ),
        ("tester", "test", "request-1", NOW)
    );
    (event.action, event.paths, event.outcome, event.version)
}

/// Takes the audit rows out of the store.
fn clear(world: &World) {
    use strongroom_core::port::BatchItem;
    use strongroom_core::port::Change;
    use strongroom_core::port::Durability;
    use strongroom_core::port::Precondition;
    let rows = world
        .records()
        .into_iter()
        .filter(|record| record.id.0[..8] == NOW.as_micros().to_be_bytes());
    let batch = rows
        .map(|record| BatchItem {
            id: record.id,
            precondition: Precondition::Exists,
            change: Change::Delete,
        })
        .collect();
    pollster::block_on(world.storage.commit(batch, Durability::Durable)).unwrap();
}

/// What the one audit row of a step has to say.
struct Expected<'a>(Action, &'a [&'a str], Outcome, Option<u64>);

#[track_caller]
fn check<T>(world: &World, step: impl FnOnce(&World) -> T, expected: &Expected<'_>) {
    clear(world);
    step(world);
    let Expected(action, paths, outcome, version) = *expected;
    let paths = paths.iter().map(ToString::to_string).collect();
    assert_eq!(last(world), (action, paths, outcome, version));
}

#[test]
fn every_reading_leaves_one_audit_row() {
    use Action::List;
    use Action::Read;
    use Outcome::Allowed;
    use Outcome::Failed;
    let world = World::new();
    for (at, value) in [("a/b", "one"), ("x", "y"), ("a/b", "two")] {
        world.set(at, value);
    }
    let check = |step: fn(&World), expected: Expected<'_>| check(&world, step, &expected);
    check(
        |w| drop(w.get("a/b")),
        Expected(Read, &["a/b"], Allowed, None),
    );
    let version_1 = Expected(Read, &["a/b"], Allowed, Some(1));
    check(|w| drop(w.get_version("a/b", Some(1))), version_1);
    check(|w| drop(w.get("q")), Expected(Read, &["q"], Failed, None));
    let read_many = |w: &World| {
        let paths = ["x", "nothing", "a/b"].map(path);
        drop(pollster::block_on(w.engine.read_many(&context(), &paths)));
    };
    check(read_many, Expected(Read, &["x", "a/b"], Allowed, None));
    check(|w| drop(w.list("a")), Expected(List, &["a"], Allowed, None));
    check(
        |w| drop(w.list_recursive("")),
        Expected(List, &[""], Allowed, None),
    );
    world.delete("a/b", &Versions::Newest).unwrap();
    check(
        |w| drop(w.get("a/b")),
        Expected(Read, &["a/b"], Failed, None),
    );
}

#[test]
fn every_change_leaves_one_audit_row() {
    use Action::Copy;
    use Action::Destroy;
    use Action::Move;
    use Action::Write;
    use Outcome::Allowed;
    use Outcome::Failed;
    let world = World::new();
    world.set("a/b", "one");
    check(
        &world,
        |w| w.set("a/b", "two"),
        &Expected(Write, &["a/b"], Allowed, Some(2)),
    );
    check(
        &world,
        |w| w.set("x", "y"),
        &Expected(Write, &["x"], Allowed, Some(1)),
    );
    let cas = |w: &World| w.try_set("a/b", "z", |options| options.cas = Some(9));
    check(&world, cas, &Expected(Write, &["a/b"], Failed, None));
    let tag = |w: &World| w.tag("a/b", |patch| patch.owner = Some("me".into()));
    check(&world, tag, &Expected(Action::Tag, &["a/b"], Allowed, None));
    check(
        &world,
        |w| w.rollback("a/b", 1),
        &Expected(Write, &["a/b"], Allowed, Some(3)),
    );
    let delete = |w: &World| w.delete("a/b", &Versions::Newest);
    check(
        &world,
        delete,
        &Expected(Action::Delete, &["a/b"], Allowed, None),
    );
    let undelete = |w: &World| w.undelete("a/b", &Versions::All);
    check(
        &world,
        undelete,
        &Expected(Action::Undelete, &["a/b"], Allowed, None),
    );
    let destroy = |w: &World| w.destroy("a/b", &some([1]));
    check(&world, destroy, &Expected(Destroy, &["a/b"], Allowed, None));
    check(
        &world,
        |w| w.copy("a/b", "c"),
        &Expected(Copy, &["a/b", "c"], Allowed, None),
    );
    check(
        &world,
        |w| w.copy("a/b", "c"),
        &Expected(Copy, &["a/b", "c"], Failed, None),
    );
    check(
        &world,
        |w| w.rename("c", "d"),
        &Expected(Move, &["c", "d"], Allowed, None),
    );
    check(
        &world,
        |w| w.rename("c", "d"),
        &Expected(Move, &["c", "d"], Failed, None),
    );
    check(
        &world,
        |w| w.remove("d"),
        &Expected(Destroy, &["d"], Allowed, None),
    );
    check(
        &world,
        |w| w.remove("d"),
        &Expected(Destroy, &["d"], Failed, None),
    );
}

#[test]
fn the_log_is_read_in_order_and_from_a_time_on() {
    let world = World::new();
    let clock = FakeClock::at(NOW);
    for number in 0..5 {
        let context = OpContext {
            now: clock.advance(strongroom_core::time::Span::from_seconds(1)),
            ..context()
        };
        let at = path(&format!("name-{number}"));
        drop(pollster::block_on(world.engine.read(&context, &at, None)));
    }
    let paths = |since: Option<Timestamp>, limit| -> Vec<String> {
        let log = pollster::block_on(world.engine.audit_log(since, limit)).unwrap();
        log.into_iter().flat_map(|event| event.paths).collect()
    };
    assert_eq!(
        paths(None, 100),
        ["name-0", "name-1", "name-2", "name-3", "name-4"]
    );
    assert_eq!(paths(None, 2), ["name-3", "name-4"]);
    assert_eq!(paths(None, 0), Vec::<String>::new());
    let later = Timestamp::from_micros(NOW.as_micros() + 4_000_000);
    assert_eq!(paths(Some(later), 100), ["name-3", "name-4"]);
}

#[test]
fn no_value_and_no_name_stands_in_what_is_stored_or_said() {
    let world = World::new();
    let rng = SeededRng::new(7);
    let (value, name) = (Canary::new(&rng), Canary::new(&rng));
    let at = format!("folder/{}", name.text());
    world.set(&at, value.text());
    world.set(&at, &format!("{} again", value.text()));
    let copy = format!("{at}-copy");
    world.copy(&at, &copy).unwrap();
    world
        .tag(&at, |patch| patch.description = Some(value.text().into()))
        .unwrap();
    let errors = [
        world
            .try_set(&at, value.text(), |options| options.cas = Some(9))
            .unwrap_err(),
        world.get_version(&at, Some(9)).unwrap_err(),
        world.rename(&at, &copy).unwrap_err(),
    ];
    for error in errors {
        let said = format!("{error} {error:?}");
        assert_eq!(value.find_in(said.as_bytes()), None, "{said}");
    }
    let log = pollster::block_on(world.engine.audit_log(None, 1000)).unwrap();
    assert_eq!(value.find_in(format!("{log:?}").as_bytes()), None);
    let records = world.records();
    assert!(records.len() > 8);
    for record in records {
        let bytes = [
            &record.id.0[..],
            &record.parent.0,
            &record.name,
            &record.value,
        ]
        .concat();
        assert_eq!(value.find_in(&bytes), None, "{:?}", record.id);
        assert_eq!(name.find_in(&bytes), None, "{:?}", record.id);
    }
}

/// Nobody can tell from the file that two secrets are equal.
#[test]
fn equal_values_are_stored_as_different_bytes() {
    let world = World::new();
    world.set("one", "the very same value");
    world.set("two", "the very same value");
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for record in world.records() {
        fields.extend([record.name, record.value]);
    }
    fields.retain(|field| !field.is_empty());
    // 16 bytes in a row that are alike in two fields would be more than chance.
    for (at, one) in fields.iter().enumerate() {
        for two in &fields[at + 1..] {
            let is_alike = one
                .windows(16)
                .any(|window| two.windows(16).any(|other| other == window));
            assert!(!is_alike);
        }
    }
}

#[test]
fn a_new_data_key_reaches_every_record() {
    let mut world = World::new();
    for value in ["one", "two", "three"] {
        world.set("a/deep/name", value);
        world.set("b", value);
    }
    world.destroy("b", &some([1])).unwrap();
    world.delete("b", &Versions::Newest).unwrap();
    let key = world.keyring.rotate(&SystemRng, NOW);
    let barrier = Barrier::new([1; 16], &world.keyring);
    world.engine = Engine::new(Arc::clone(&world.storage), barrier.clone());
    world.barrier = barrier;
    // Before: old records are read, new ones go under the new key.
    assert_eq!(world.get("a/deep/name").unwrap(), "three");
    world.set("new", "value");
    world.assert_sound();
    assert_eq!(
        pollster::block_on(world.engine.reseal(&context(), key)).unwrap(),
        2
    );
    for record in world.records() {
        for field in [&record.name, &record.value] {
            let is_new = field.is_empty() || Barrier::key_of(field) == Some(key);
            assert!(is_new, "{:?}", record.id);
        }
    }
    assert_eq!(world.get_version("a/deep/name", Some(1)).unwrap(), "one");
    world.undelete("b", &Versions::All).unwrap();
    assert_eq!(world.get("b").unwrap(), "three");
    world.assert_sound();
    // Once is enough.
    let revision = pollster::block_on(world.storage.revision()).unwrap();
    assert_eq!(
        pollster::block_on(world.engine.reseal(&context(), key)).unwrap(),
        0
    );
    assert_eq!(
        pollster::block_on(world.storage.revision()).unwrap(),
        revision
    );
}

#[test]
fn other_keys_open_nothing() {
    let world = World::new();
    world.set("name", "value");
    let other = World::new();
    let stranger = Engine::new(Arc::clone(&world.storage), other.barrier.clone());
    let result = pollster::block_on(stranger.read(&context(), &path("name"), None));
    assert_eq!(result.unwrap_err().code(), "store.damaged");
}
