//! The ledger: what was given to whom, and what follows from it.

use std::sync::Arc;

use pollster::block_on;
use strongroom_core::port::Durability;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Exposure;
use strongroom_engine::ledger::Given;
use strongroom_engine::ledger::ITEMS_MAX;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::ledger::Mark;
use strongroom_engine::ledger::Standing;
use strongroom_engine::ledger::Wanted;
use strongroom_engine::ledger::id_text;
use strongroom_engine::ledger::parse_id;
use strongroom_engine::state::Found;
use strongroom_engine::state::State;

use crate::counting::CountingStorage;
use crate::support::NOW;
use crate::support::World;

fn ledger(world: &World) -> Ledger {
    Ledger::new(State::new(
        Arc::clone(&world.storage),
        world.barrier.clone(),
    ))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000)
}

fn given(ledger: &Ledger, secret: &str, version: u64, value: &str) -> Given {
    Given {
        secret: secret.into(),
        source: "store".into(),
        version: Some(version.to_string()),
        fingerprint: ledger.fingerprint(&SecretValue::copy_from(value.as_bytes())),
    }
}

fn delivery(seconds: i64, who: &str, channel: Channel, to: &str, items: &[Given]) -> Delivery {
    Delivery {
        at: at(seconds),
        who: who.into(),
        channel,
        to: to.into(),
        request_id: "request-1".into(),
        items: items.iter().map(|one| (one.clone(), 1)).collect(),
        is_repeat: false,
    }
}

fn note(ledger: &Ledger, one: &Delivery) {
    block_on(ledger.note(one, Durability::Relaxed)).unwrap();
}

/// Secret, version, person, place and how often.
fn rows(found: &[Found<Exposure>]) -> Vec<String> {
    let row = |found: &Found<Exposure>| {
        let one = &found.value;
        let version = one.given.version.as_deref().unwrap_or("-");
        let (secret, who, to, count) = (&one.given.secret, &one.who, &one.to, one.count);
        format!("{secret} v{version} {who} {to} {count}")
    };
    found.iter().map(row).collect()
}

#[test]
fn who_was_given_what_and_where_a_value_is() {
    let world = World::new();
    let ledger = ledger(&world);
    let (db, key) = (
        given(&ledger, "shop/db", 1, "one"),
        given(&ledger, "shop/key", 3, "two"),
    );
    let both = [db.clone(), key.clone()];
    note(&ledger, &delivery(1, "ann", Channel::Run, "server", &both));
    note(&ledger, &delivery(2, "ann", Channel::Run, "server", &both));
    note(
        &ledger,
        &delivery(
            3,
            "bob",
            Channel::Reveal,
            "console",
            std::slice::from_ref(&key),
        ),
    );
    let where_is_key = block_on(ledger.of_secret("shop/key")).unwrap();
    assert_eq!(
        rows(&where_is_key),
        ["shop/key v3 bob console 1", "shop/key v3 ann server 2"]
    );
    assert_eq!(
        (where_is_key[1].value.first, where_is_key[1].value.last),
        (at(1), at(2))
    );
    let seen_by_ann = block_on(ledger.of_person("ann")).unwrap();
    let mut seen = rows(&seen_by_ann);
    seen.sort();
    assert_eq!(
        seen,
        ["shop/db v1 ann server 2", "shop/key v3 ann server 2"]
    );
    assert!(block_on(ledger.of_person("eve")).unwrap().is_empty());
    // Users of the system are known by their names.
    note(
        &ledger,
        &delivery(4, "eve (uid 7)", Channel::Run, "server", &both),
    );
    assert_eq!(block_on(ledger.of_person("eve")).unwrap().len(), 2);
    // The log has every delivery, the newest first.
    let newest = block_on(ledger.newest(&Wanted::default(), 10)).unwrap();
    let who: Vec<&str> = newest.iter().map(|(_, one)| one.who.as_str()).collect();
    assert_eq!(who, ["eve (uid 7)", "bob", "ann", "ann"]);
    let (id, first) = &newest[3];
    assert_eq!(parse_id(&id_text(*id)), Some(*id));
    assert_eq!(
        block_on(ledger.delivery(*id)).unwrap().as_ref(),
        Some(first)
    );
    assert_eq!(block_on(ledger.of_delivery(first)).unwrap().len(), 2);
    let wanted = Wanted {
        who: Some("ann".into()),
        channel: Some(Channel::Run),
    };
    assert_eq!(block_on(ledger.newest(&wanted, 1)).unwrap().len(), 1);
    world.assert_sound();
}

#[test]
fn a_repeat_counts_and_is_no_row_of_the_log() {
    let world = World::new();
    let ledger = ledger(&world);
    let key = [given(&ledger, "key", 1, "one")];
    note(&ledger, &delivery(1, "ann", Channel::Server, "kv", &key));
    let mut repeat = delivery(9, "ann", Channel::Server, "kv", &key);
    repeat.items[0].1 = 41;
    repeat.is_repeat = true;
    note(&ledger, &repeat);
    assert_eq!(
        rows(&block_on(ledger.of_secret("key")).unwrap()),
        ["key v1 ann kv 42"]
    );
    assert_eq!(
        block_on(ledger.newest(&Wanted::default(), 10))
            .unwrap()
            .len(),
        1
    );
    // The exposure leads to a delivery that is there.
    let of_key = block_on(ledger.of_secret("key")).unwrap();
    let id = of_key[0].value.delivery.unwrap();
    assert!(block_on(ledger.delivery(id)).unwrap().is_some());
}

#[test]
fn many_secrets_are_as_many_deliveries_as_are_needed() {
    let world = World::new();
    let ledger = ledger(&world);
    let many = |count: usize| {
        let names = (0..count).map(|at| given(&ledger, &format!("s{at}"), 1, "x"));
        names.collect::<Vec<Given>>()
    };
    note(
        &ledger,
        &delivery(1, "ann", Channel::Backup, "file", &many(ITEMS_MAX)),
    );
    assert_eq!(
        block_on(ledger.newest(&Wanted::default(), 10))
            .unwrap()
            .len(),
        1
    );
    note(
        &ledger,
        &delivery(2, "ann", Channel::Backup, "file", &many(ITEMS_MAX + 1)),
    );
    assert_eq!(
        block_on(ledger.newest(&Wanted::default(), 10))
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        block_on(ledger.of_person("ann")).unwrap().len(),
        ITEMS_MAX + 1
    );
}

#[test]
fn a_note_is_one_commit_and_questions_read_what_they_answer() {
    let counting = Arc::new(CountingStorage::default());
    let world = World::over(counting.clone());
    let ledger = ledger(&world);
    let secrets: Vec<Given> = (0..200)
        .map(|at| given(&ledger, &format!("s{at}"), 1, "x"))
        .collect();
    let before = counting.commits();
    note(
        &ledger,
        &delivery(1, "ann", Channel::Run, "server", &secrets),
    );
    assert_eq!(counting.commits() - before, 1);
    for seconds in 2..300 {
        note(
            &ledger,
            &delivery(seconds, "ann", Channel::Run, "server", &secrets),
        );
    }
    assert_eq!(block_on(ledger.enter()).unwrap(), 299);
    // Three hundred runs of two hundred secrets: one exposure of each.
    let before = counting.records_read();
    assert_eq!(
        rows(&block_on(ledger.of_secret("s7")).unwrap()),
        ["s7 v1 ann server 299"]
    );
    let read = counting.records_read() - before;
    assert!(read <= 1, "{read} records for one exposure");
}

#[test]
fn two_that_ask_at_once_enter_each_delivery_once() {
    let world = World::new();
    let ledger = ledger(&world);
    let key = [given(&ledger, "key", 1, "one")];
    for seconds in 0..400 {
        note(
            &ledger,
            &delivery(seconds, "ann", Channel::Run, "server", &key),
        );
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| block_on(ledger.enter()).unwrap());
        }
    });
    assert_eq!(
        rows(&block_on(ledger.of_secret("key")).unwrap()),
        ["key v1 ann server 400"]
    );
    assert_eq!(
        block_on(ledger.newest(&Wanted::default(), 1000))
            .unwrap()
            .len(),
        400
    );
}

#[test]
fn a_mark_is_due_until_the_value_is_another() {
    let world = World::new();
    let ledger = ledger(&world);
    world.set("shop/key", "one");
    let key = given(&ledger, "shop/key", 1, "one");
    note(
        &ledger,
        &delivery(1, "ann", Channel::Run, "server", std::slice::from_ref(&key)),
    );
    let exposures = block_on(ledger.of_person("ann")).unwrap();
    let mark = Mark::of(&exposures[0].value, at(5), "bob", "ann has left");
    block_on(ledger.revoke(&exposures, std::slice::from_ref(&mark), at(5), "bob")).unwrap();
    let standing = || {
        let marks = block_on(ledger.marks()).unwrap();
        let [mark] = marks.as_slice() else {
            panic!("{marks:?}")
        };
        let engine = Some(&world.engine);
        let found = ledger.standing(engine, &mark.secret, &mark.source, mark.fingerprint);
        block_on(found).unwrap()
    };
    assert_eq!(standing(), Standing::Current);
    world.set("shop/key", "two");
    assert_eq!(standing(), Standing::Replaced);
    // Whoever puts the old value back is told again.
    world.set("shop/key", "one");
    assert_eq!(standing(), Standing::Current);
    world.remove("shop/key").unwrap();
    assert_eq!(standing(), Standing::Replaced);
    // Revoked is final: a later run adds to the row and does not lift it.
    note(
        &ledger,
        &delivery(9, "ann", Channel::Run, "server", std::slice::from_ref(&key)),
    );
    let again = block_on(ledger.of_person("ann")).unwrap();
    assert_eq!(again[0].value.count, 2);
    assert_eq!(again[0].value.revoked, Some((at(5), "bob".into())));
    block_on(ledger.settle(&mark)).unwrap();
    assert!(block_on(ledger.marks()).unwrap().is_empty());
}

#[test]
fn what_is_kept_elsewhere_is_known_by_what_was_given_since() {
    let world = World::new();
    let ledger = ledger(&world);
    let of = |value: &str| Given {
        source: "vault:secret/shop".into(),
        version: None,
        ..given(&ledger, "shop/key", 1, value)
    };
    let standing = |one: &Given| {
        let found = ledger.standing(None, &one.secret, &one.source, one.fingerprint);
        block_on(found).unwrap()
    };
    note(
        &ledger,
        &delivery(1, "ann", Channel::Run, "server", &[of("one")]),
    );
    assert_eq!(standing(&of("one")), Standing::Unknown);
    note(
        &ledger,
        &delivery(2, "bob", Channel::Run, "server", &[of("two")]),
    );
    assert_eq!(standing(&of("one")), Standing::Replaced);
    assert_eq!(standing(&of("two")), Standing::Unknown);
}

#[test]
fn no_value_and_no_name_is_in_the_records() {
    let world = World::new();
    let ledger = ledger(&world);
    let key = [given(&ledger, "canary-path", 1, "canary-value-83af")];
    note(
        &ledger,
        &delivery(1, "canary-person", Channel::Run, "canary-place", &key),
    );
    block_on(ledger.enter()).unwrap();
    for record in world.records() {
        for bytes in [&record.name, &record.value] {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("canary"), "{text}");
        }
    }
    let shown = format!("{:?}", block_on(ledger.of_secret("canary-path")).unwrap());
    assert!(!shown.contains("83af"));
}
