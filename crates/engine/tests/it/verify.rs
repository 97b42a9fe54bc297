//! The reading of the whole store, when something is wrong with it.

use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_crypto::barrier::Field;

use crate::support::World;
use crate::support::code;
use crate::support::context;
use crate::support::path;

fn filled() -> World {
    let world = World::new();
    for value in ["one", "two"] {
        for at in ["a/b", "a/c", "d"] {
            world.set(at, value);
        }
    }
    world
}

fn change(world: &World, record: &Record, change: Change) {
    let item = BatchItem {
        id: record.id,
        precondition: Precondition::Any,
        change,
    };
    pollster::block_on(world.storage.commit(vec![item], Durability::Durable)).unwrap();
}

fn put(world: &World, record: &Record) {
    let Record {
        parent,
        name,
        value,
        due_at,
        ..
    } = record.clone();
    let put = Change::Put {
        parent,
        name,
        value,
        due_at,
    };
    change(world, record, put);
}

fn problems(world: &World) -> Vec<String> {
    let report = pollster::block_on(world.engine.verify()).unwrap();
    report
        .problems
        .into_iter()
        .map(|problem| format!("{}: {}", problem.what, problem.detail))
        .collect()
}

#[test]
fn a_whole_store_has_no_problems() {
    let world = filled();
    let report = pollster::block_on(world.engine.verify()).unwrap();
    assert_eq!(report.problems, []);
    let counts = (report.secrets, report.versions, report.audit_records);
    assert_eq!(counts, (3, 6, 6));
}

#[test]
fn every_record_that_vanished_or_changed_is_told() {
    let world = filled();
    for record in world.records() {
        let is_audit = record.name.is_empty() && record.id.0[0] == 0;
        change(&world, &record, Change::Delete);
        // An audit row that is gone is not told here: rows are not counted.
        assert!(is_audit || !problems(&world).is_empty(), "{:?}", record.id);
        for bit in [0, 8 * record.value.len() - 1, 8 * record.value.len() / 2] {
            let mut damaged = record.clone();
            damaged.value[bit / 8] ^= 1 << (bit % 8);
            put(&world, &damaged);
            assert!(!problems(&world).is_empty(), "{:?}", record.id);
        }
        put(&world, &record);
        assert_eq!(problems(&world), Vec::<String>::new());
    }
}

#[test]
fn problems_name_what_is_lost_and_the_rest_is_counted() {
    let world = filled();
    let heads: Vec<Record> = world
        .records()
        .into_iter()
        .filter(|record| !record.name.is_empty())
        .collect();
    let head = heads.iter().find(|head| {
        let mut damaged = (*head).clone();
        let last = damaged.value.len() - 1;
        damaged.value[last] ^= 1;
        put(&world, &damaged);
        let is_it = problems(&world)
            .iter()
            .any(|problem| problem.starts_with("a/b: "));
        if !is_it {
            put(&world, head);
        }
        is_it
    });
    assert!(head.is_some());
    let report = pollster::block_on(world.engine.verify()).unwrap();
    assert_eq!(report.secrets, 2);
    assert_eq!(code(world.get("a/b")), "store.damaged");
    assert_eq!(world.get("a/c").unwrap(), "two");
    assert_eq!(world.get("d").unwrap(), "two");
}

/// One damaged secret does not keep the others from being read.
#[test]
fn one_damaged_secret_of_many_is_an_error_of_its_own() {
    let world = filled();
    let damaged = world.records().into_iter().find(|record| {
        let mut copy = record.clone();
        copy.value.truncate(9);
        put(&world, &copy);
        let is_it = code_of(&world, "d") == Some("store.damaged");
        if !is_it || record.name.is_empty() {
            put(&world, record);
        }
        is_it && !record.name.is_empty()
    });
    assert!(damaged.is_some());
    let paths = ["a/b", "d", "a/c"].map(path);
    let context = crate::support::context();
    let found = pollster::block_on(world.engine.read_many(&context, &paths)).unwrap();
    let states: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(states, [true, false, true]);
}

fn code_of(world: &World, at: &str) -> Option<&'static str> {
    world.get(at).err().map(|error| error.code())
}

/// As a later program would have written it: the same record, of a form that is not known yet.
fn make_newer(world: &World, record: &Record, field: Field) {
    let mut newer = record.clone();
    let sealed = match field {
        Field::Name => &mut newer.name,
        _ => &mut newer.value,
    };
    let mut plain = world.barrier.open(record.id, field, sealed).unwrap();
    plain[0] = 200;
    *sealed = world.barrier.seal(record.id, field, &plain);
    put(world, &newer);
}

#[test]
fn what_a_newer_program_wrote_is_called_newer_and_not_damaged() {
    let world = filled();
    let engine = &world.engine;
    let everything = || -> Vec<String> {
        let mut codes = Vec::new();
        for folder in ["", "a"] {
            let listed = pollster::block_on(engine.list(&context(), folder));
            codes.extend(listed.err().map(|error| error.code().to_owned()));
        }
        for (at, version) in [
            ("a/b", None),
            ("a/b", Some(1)),
            ("d", None),
            ("a/none", None),
        ] {
            let read = world.get_version(at, version);
            codes.extend(read.err().map(|error| error.code().to_owned()));
        }
        let audit = pollster::block_on(engine.audit_log(None, 100));
        codes.extend(audit.err().map(|error| error.code().to_owned()));
        codes
    };
    assert_eq!(everything(), ["secret.not_found"]);
    let (mut names, mut values) = (0, 0);
    for record in world.records() {
        for field in [Field::Name, Field::Value] {
            if field == Field::Name && record.name.is_empty() {
                continue;
            }
            make_newer(&world, &record, field);
            let codes = everything();
            if codes.iter().any(|code| code == "store.newer") {
                match field {
                    Field::Name => names += 1,
                    _ => values += 1,
                }
                let report = pollster::block_on(engine.verify());
                let is_told = report.is_err_and(|error| error.code() == "store.newer");
                assert!(is_told || field == Field::Value, "{:?}", record.id);
            }
            put(&world, &record);
        }
    }
    // Names of two folders' children: `a`, `d`, `a/b`, `a/c`. Values of two folders, two heads, an
    // earlier version, and twelve records of the audit log.
    assert_eq!((names, values), (4, 17));
}
