//! Old values that are still good beside the new one, and their end.

use std::sync::Arc;
use std::sync::Mutex;

use pollster::block_on;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Durability;
use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Storage;
use strongroom_core::port::Writer;
use strongroom_core::secret::Payload;
use strongroom_core::time::Span;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::VersionState;
use strongroom_engine::context::OpContext;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Given;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::ledger::Progress;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::EndedBy;
use strongroom_engine::rotation::Keep;
use strongroom_engine::rotation::Looked;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Setup;
use strongroom_engine::rotation::Wait;
use strongroom_engine::state::State;
use strongroom_store::memory::MemoryStorage;
use strongroom_testkit::fault::Fault;
use strongroom_testkit::fault::FaultyStorage;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;
use crate::support::path;
use crate::support::text;

const DAY: i64 = 86_400;

/// Draws values, and notes which old ones it was told to refuse.
#[derive(Default)]
struct Service {
    drawn: Mutex<u32>,
    refused: Mutex<Vec<String>>,
    fails: Mutex<bool>,
}

fn shown(payload: &Payload) -> String {
    payload.value.expose_secret_text().unwrap().to_owned()
}

impl Rotator for Service {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        Box::pin(async move {
            if call.step != Step::Create {
                return Ok(None);
            }
            let mut drawn = self.drawn.lock().unwrap();
            *drawn += 1;
            Ok(Some(text(&format!("new-{drawn}"))))
        })
    }

    fn retire<'a>(&'a self, ending: &'a Ending<'a>) -> BoxFuture<'a, Result<(), RotatorError>> {
        Box::pin(async move {
            if *self.fails.lock().unwrap() {
                return Err(RotatorError::new("test.failed", "made by the test"));
            }
            assert_ne!(shown(ending.current), shown(ending.old));
            self.refused.lock().unwrap().push(shown(ending.old));
            Ok(())
        })
    }
}

fn at(seconds: i64) -> OpContext {
    OpContext {
        now: NOW.plus(Span::from_seconds(seconds)),
        ..context()
    }
}

fn state(world: &World) -> State {
    State::new(Arc::clone(&world.storage), world.barrier.clone())
}

fn rotations(world: &World) -> Rotations {
    Rotations::new(state(world), world.engine.clone(), "a")
}

fn keep(wait: Wait) -> Keep {
    Keep {
        overlap: Some(Span::from_seconds(3 * DAY)),
        wait,
        consumers_within: None,
    }
}

/// Rotates `db` at a time.
fn rotate(world: &World, service: &Service, seconds: i64, keep: Keep, purpose: Purpose) {
    let rotations = rotations(world);
    let token = format!("{seconds:032}");
    let setup = Setup {
        rotator: "arn:test".into(),
        is_enabled: true,
        days: Some(10),
        keep,
        ..Setup::default()
    };
    let request = Request {
        path: &path("db"),
        secret: "arn:db",
        token: &token,
        purpose,
        setup,
    };
    block_on(rotations.request(&at(seconds), &request)).unwrap();
    assert!(matches!(
        run(world, service, seconds),
        Some(After::Finished)
    ));
}

/// Does what is due.
fn run(world: &World, service: &Service, seconds: i64) -> Option<After> {
    let (rotations, context) = (rotations(world), at(seconds));
    let mut claim = block_on(rotations.claim(&context, &path("db"))).unwrap()?;
    loop {
        let work = block_on(rotations.begin(claim, context.now)).unwrap()?;
        let result = block_on(rotations.perform(&context, &work, service));
        match block_on(rotations.complete(&context, work, result)).unwrap() {
            After::More(next) => claim = next,
            after => return Some(after),
        }
    }
}

fn record(world: &World) -> Rotation {
    let found = block_on(rotations(world).find(&path("db"))).unwrap();
    found.unwrap().value
}

fn read(world: &World, seconds: i64, who: &str, channel: Channel, version: u64) {
    let ledger = Ledger::new(state(world));
    let given = Given {
        secret: "db".into(),
        source: "store".into(),
        version: Some(version.to_string()),
        fingerprint: [version.to_be_bytes()[7]; 16],
    };
    let delivery = Delivery {
        at: at(seconds).now,
        who: who.into(),
        channel,
        to: format!("vault api of-{who}"),
        request_id: String::new(),
        items: vec![(given, 1)],
        is_repeat: false,
    };
    block_on(ledger.note(&delivery, Durability::Relaxed)).unwrap();
}

fn progress(world: &World) -> Progress {
    let overlap = record(world).overlap.unwrap();
    let rotations = rotations(world);
    let readers = block_on(rotations.readers(&path("db"), &overlap)).unwrap();
    block_on(rotations.progress(&path("db"), &overlap, &readers)).unwrap()
}

fn look(world: &World, service: &Service, seconds: i64) -> Looked {
    let (rotations, now) = (rotations(world), at(seconds).now);
    if record(world).overlap.is_none() {
        return Looked::Nothing;
    }
    let progress = progress(world);
    let looked = block_on(rotations.look(&path("db"), &progress, now)).unwrap();
    if let Looked::Ends(overlap) = &looked {
        let what = (overlap, &progress);
        let _ = block_on(rotations.retire(&at(seconds), &path("db"), what, Ok(service))).unwrap();
    }
    looked
}

fn state_of(world: &World, number: u64) -> VersionState {
    let snapshot = block_on(world.engine.snapshot(&path("db")))
        .unwrap()
        .unwrap();
    snapshot.version(number).unwrap().state
}

fn due(world: &World, seconds: i64) -> bool {
    !block_on(state(world).due_rotations(at(seconds).now))
        .unwrap()
        .is_empty()
}

#[test]
fn the_old_value_ends_when_all_who_read_it_have_read_the_new_one() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    for who in ["a", "b", "c", "d", "billing-api"] {
        read(&world, -DAY, who, Channel::Server, 1);
    }
    read(&world, -30 * DAY, "long-gone", Channel::Server, 1);
    read(&world, -DAY, "ann", Channel::Reveal, 1);
    rotate(&world, &service, 0, keep(Wait::Consumers), Purpose::Rotate);
    assert_eq!(state_of(&world, 1), VersionState::Live);
    assert!(due(&world, 31) && !due(&world, 29));
    for who in ["a", "b", "c", "d"] {
        read(&world, 10, who, Channel::Server, 2);
    }
    read(&world, 20, "billing-api", Channel::Server, 1);
    assert_eq!(look(&world, &service, 31), Looked::GoesOn);
    let found = progress(&world);
    let told = "4 of 5 consumers on v2, billing-api still on v1";
    assert_eq!((found.to_string().as_str(), found.old_reads), (told, 1));
    let report = record(&world).report(Some(&found));
    assert_eq!(report["overlap"]["standing"], told);
    assert_eq!(
        report["overlap"]["consumers"]["behind"][0]["name"],
        "billing-api"
    );
    assert_eq!(
        look(&world, &service, 32),
        Looked::Nothing,
        "not before its time"
    );
    read(&world, 3600, "billing-api", Channel::Server, 2);
    assert!(matches!(look(&world, &service, 3700), Looked::Ends(_)));
    assert_eq!(*service.refused.lock().unwrap(), ["old"]);
    assert!(matches!(state_of(&world, 1), VersionState::Deleted { .. }));
    assert_eq!(world.get("db").unwrap(), "new-1");
    let record = record(&world);
    assert_eq!(record.overlap, None);
    let ended = record.ended.last().unwrap();
    assert_eq!(
        (ended.by, ended.behind, ended.old_reads),
        (EndedBy::Moved, 0, 1)
    );
    let row = &record.report(None)["history"][0];
    assert_eq!(row["old_value"]["because"], "consumers moved", "{row}");
    // What was deleted is no value to return to.
    let request = Request {
        path: &path("db"),
        secret: "arn:db",
        token: &"r".repeat(32),
        purpose: Purpose::Return,
        setup: Setup::default(),
    };
    let refused = block_on(rotations(&world).request(&at(4000), &request));
    assert!(matches!(refused, Err(Refused::NoPrevious)), "{refused:?}");
    world.assert_sound();
}

#[test]
fn one_that_never_comes_again_holds_nobody_up_for_ever() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    read(&world, -DAY, "dead", Channel::Run, 1);
    rotate(&world, &service, 0, keep(Wait::Consumers), Purpose::Rotate);
    assert_eq!(look(&world, &service, 3 * DAY - 1), Looked::GoesOn);
    assert!(due(&world, 3 * DAY));
    assert!(matches!(look(&world, &service, 3 * DAY), Looked::Ends(_)));
    let ended = record(&world).ended.pop().unwrap();
    assert_eq!((ended.by, ended.behind), (EndedBy::Deadline, 1));
    assert!(ended.standing.contains("still on v1"), "{}", ended.standing);
}

#[test]
fn where_nobody_is_known_and_where_nobody_is_waited_for_the_deadline_counts() {
    for wait in [Wait::Consumers, Wait::Deadline] {
        let world = World::new();
        world.set("db", "old");
        let service = Service::default();
        rotate(&world, &service, 0, keep(wait), Purpose::Rotate);
        if wait == Wait::Deadline {
            read(&world, 5, "a", Channel::Server, 2);
        }
        assert_eq!(look(&world, &service, DAY), Looked::GoesOn, "{wait:?}");
        assert!(matches!(look(&world, &service, 4 * DAY), Looked::Ends(_)));
    }
}

#[test]
fn somebody_ends_it_and_the_next_one_waits_for_its_end() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    let long = Keep {
        overlap: Some(Span::from_seconds(30 * DAY)),
        ..keep(Wait::Consumers)
    };
    rotate(&world, &service, 0, long, Purpose::Rotate);
    // Every ten days, but not over an old value that somebody still has.
    assert!(run(&world, &service, 12 * DAY).is_none());
    assert_eq!(record(&world).finished, 1);
    let now = at(12 * DAY).now;
    assert!(block_on(rotations(&world).finish_now(&path("db"), now)).unwrap());
    assert!(matches!(look(&world, &service, 12 * DAY), Looked::Ends(_)));
    assert_eq!(record(&world).ended[0].by, EndedBy::Asked);
    assert!(!block_on(rotations(&world).finish_now(&path("db"), now)).unwrap());
    assert!(matches!(
        run(&world, &service, 12 * DAY),
        Some(After::Finished)
    ));
}

#[test]
fn an_overlap_that_is_cut_short_ends_with_the_next_one() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    rotate(&world, &service, 0, keep(Wait::Deadline), Purpose::Rotate);
    rotate(&world, &service, DAY, keep(Wait::Deadline), Purpose::Rotate);
    let open = record(&world).overlap.unwrap();
    assert_eq!((open.old, open.version), (vec![1, 2], 3));
    assert!(matches!(look(&world, &service, 4 * DAY), Looked::Ends(_)));
    assert_eq!(*service.refused.lock().unwrap(), ["old", "new-1"]);
    for number in [1, 2] {
        assert!(matches!(
            state_of(&world, number),
            VersionState::Deleted { .. }
        ));
    }
}

#[test]
fn a_value_that_is_returned_to_is_not_retired() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    rotate(&world, &service, 0, keep(Wait::Deadline), Purpose::Rotate);
    rotate(&world, &service, DAY, keep(Wait::Deadline), Purpose::Return);
    assert_eq!(world.get("db").unwrap(), "old");
    assert!(matches!(look(&world, &service, 5 * DAY), Looked::Ends(_)));
    assert_eq!(*service.refused.lock().unwrap(), ["new-1"]);
    assert_eq!(world.get("db").unwrap(), "old");
    assert_eq!(state_of(&world, 1), VersionState::Live);
}

#[test]
fn what_somebody_made_current_again_is_neither_refused_nor_deleted() {
    for is_moved in [true, false] {
        let world = World::new();
        world.set("db", "old");
        let service = Service::default();
        rotate(&world, &service, 0, keep(Wait::Deadline), Purpose::Rotate);
        match is_moved {
            // As AWS clients do it: the stage goes back to the version that it was at.
            true => {
                let found = block_on(world.engine.snapshot(&path("db"))).unwrap();
                let found = found.unwrap();
                let id = |number| {
                    world
                        .engine
                        .version_id(&found, found.version(number).unwrap())
                };
                let (old, new) = (id(1), id(2));
                let (at, db) = (at(60), path("db"));
                let (from, to) = (Some(new.as_str()), Some(old.as_str()));
                let moved = world.engine.move_stage(&at, &db, STAGE_CURRENT, from, to);
                block_on(moved).unwrap();
            }
            false => drop(world.set("db", "old")),
        }
        assert!(matches!(look(&world, &service, 3 * DAY), Looked::Ends(_)));
        assert_eq!(world.get("db").unwrap(), "old", "{is_moved}");
        assert_eq!(*service.refused.lock().unwrap(), [""; 0], "{is_moved}");
        assert_eq!(state_of(&world, 1) == VersionState::Live, is_moved);
        world.assert_sound();
    }
}

#[test]
fn an_end_that_comes_too_late_leaves_the_next_overlap_open() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    rotate(&world, &service, 0, keep(Wait::Deadline), Purpose::Rotate);
    let (rotations, db) = (rotations(&world), path("db"));
    let before = progress(&world);
    let looked = block_on(rotations.look(&db, &before, at(3 * DAY).now)).unwrap();
    let Looked::Ends(first) = looked else {
        panic!("{looked:?}");
    };
    // Another one is rotated in before the first one is retired.
    rotate(
        &world,
        &service,
        3 * DAY + 1,
        keep(Wait::Deadline),
        Purpose::Rotate,
    );
    let context = at(3 * DAY + 2);
    let done = rotations.retire(&context, &db, (&first, &before), Ok(&service));
    block_on(done).unwrap().unwrap();
    let open = record(&world).overlap.unwrap();
    assert_eq!((open.old, open.version), (vec![1, 2], 3));
    assert_eq!(record(&world).ended, []);
    assert_eq!(world.get("db").unwrap(), "new-2");
}

#[test]
fn what_cannot_be_retired_is_loud_and_tried_again() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    rotate(&world, &service, 0, keep(Wait::Deadline), Purpose::Rotate);
    *service.fails.lock().unwrap() = true;
    assert!(matches!(look(&world, &service, 3 * DAY), Looked::Ends(_)));
    let record = record(&world);
    let overlap = record.overlap.as_ref().unwrap();
    assert_eq!((overlap.attempts, record.failures), (1, 1));
    let report = record.report(None);
    assert_eq!(
        report["overlap"]["failure"]["code"], "test.failed",
        "{report}"
    );
    assert_eq!(state_of(&world, 1), VersionState::Live, "not half of it");
    *service.fails.lock().unwrap() = false;
    assert_eq!(look(&world, &service, 3 * DAY + 1), Looked::Nothing);
    assert!(matches!(
        look(&world, &service, 3 * DAY + 3),
        Looked::Ends(_)
    ));
    assert!(matches!(state_of(&world, 1), VersionState::Deleted { .. }));
}

/// Looks and retires until storage fails, then goes on with a new process.
#[test]
fn an_end_that_is_cut_off_anywhere_goes_on() {
    for fault in [Fault::Before, Fault::After] {
        for nth in 1.. {
            let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new()), fault));
            let world = World::over(Arc::clone(&faulty) as Arc<dyn Storage>);
            world.set("db", "old");
            let service = Service::default();
            rotate(&world, &service, 0, keep(Wait::Deadline), Purpose::Rotate);
            let progress = progress(&world);
            faulty.fail_at(nth);
            let attempt = |seconds: i64| {
                let rotations = rotations(&world);
                let looked = block_on(rotations.look(&path("db"), &progress, at(seconds).now))?;
                if let Looked::Ends(overlap) = looked {
                    let what = (&overlap, &progress);
                    let context = at(seconds);
                    let db = path("db");
                    let done = rotations.retire(&context, &db, what, Ok(&service));
                    let _ = block_on(done)?;
                }
                Ok::<_, strongroom_engine::Error>(())
            };
            let first = attempt(3 * DAY);
            let is_through = faulty.calls() < nth;
            faulty.fail_at(0);
            for later in 1..4 {
                let _ = attempt(3 * DAY + later * 60);
            }
            assert_eq!(record(&world).overlap, None, "{nth} {first:?}");
            assert!(
                matches!(state_of(&world, 1), VersionState::Deleted { .. }),
                "{nth}"
            );
            assert_eq!(record(&world).ended.len(), 1, "{nth}");
            world.assert_sound();
            if is_through {
                assert!(first.is_ok() && nth > 3, "{nth}");
                break;
            }
        }
    }
}

#[test]
fn a_place_that_is_gone_is_not_waited_for() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    read(&world, -DAY, "a", Channel::Server, 1);
    read(&world, -DAY, "b", Channel::Server, 1);
    rotate(&world, &service, 0, keep(Wait::Consumers), Purpose::Rotate);
    read(&world, 5, "a", Channel::Server, 2);
    let overlap = record(&world).overlap.unwrap();
    let rotations = rotations(&world);
    let mut readers = block_on(rotations.readers(&path("db"), &overlap)).unwrap();
    readers.retain(|reader| reader.who != "b");
    let found = block_on(rotations.progress(&path("db"), &overlap, &readers)).unwrap();
    assert!(found.has_all() && found.consumers.len() == 1, "{found}");
}

#[test]
fn without_an_overlap_the_old_value_stays() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::default();
    rotate(&world, &service, 0, Keep::default(), Purpose::Rotate);
    assert_eq!(record(&world).overlap, None);
    assert_eq!(look(&world, &service, 300 * DAY), Looked::Nothing);
    assert_eq!(state_of(&world, 1), VersionState::Live);
}
