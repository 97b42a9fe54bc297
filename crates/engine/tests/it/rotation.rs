//! Rotations that are cut off, fail, are taken back and begin by themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;

use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Storage;
use strongroom_core::port::Writer;
use strongroom_core::secret::Payload;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PENDING;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_engine::rotation::Abort;
use strongroom_engine::rotation::Aborted;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::Asked;
use strongroom_engine::rotation::LEASE;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Setup;
use strongroom_engine::secrets::Addition;
use strongroom_engine::secrets::Limits;
use strongroom_engine::secrets::WriteOptions;
use strongroom_engine::state::State;
use strongroom_store::memory::MemoryStorage;
use strongroom_testkit::fault::Fault;
use strongroom_testkit::fault::FaultyStorage;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;
use crate::support::path;
use crate::support::text;

const TOKEN: &str = "11111111-2222-4333-8444-555555555555";

/// Whoever checks the values, and the rotator that tells it new ones.
struct Service {
    writer: Writer,
    accepted: Mutex<BTreeSet<String>>,
    drawn: Mutex<u32>,
    fails: Mutex<Option<Step>>,
    fails_back: Mutex<bool>,
    steps: Mutex<Vec<Step>>,
    taken_back: Mutex<u32>,
    engine: Engine,
}

fn shown(payload: Option<&Payload>) -> String {
    let payload = payload.unwrap();
    payload.value.expose_secret_text().unwrap().to_owned()
}

impl Service {
    fn new(world: &World, writer: Writer) -> Self {
        Self {
            writer,
            accepted: Mutex::new(BTreeSet::from(["old".to_owned()])),
            drawn: Mutex::new(0),
            fails: Mutex::new(None),
            fails_back: Mutex::new(false),
            steps: Mutex::new(Vec::new()),
            taken_back: Mutex::new(0),
            engine: world.engine.clone(),
        }
    }

    fn draw(&self) -> Payload {
        let mut drawn = self.drawn.lock().unwrap();
        *drawn += 1;
        text(&format!("new-{drawn}"))
    }

    /// What a function of AWS does, through the engine as through a door.
    async fn act(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let failed = |_| RotatorError::new("function", "the function failed");
        let context = OpContext {
            now: call.now,
            ..context()
        };
        let at = path("db");
        let snapshot = self.engine.snapshot(&at).await.map_err(failed)?.unwrap();
        let id = |stage: &str| {
            let mut versions = snapshot.versions().iter();
            let found = versions.find(|info| snapshot.stages(info).iter().any(|s| s == stage));
            found.map(|info| self.engine.version_id(&snapshot, info))
        };
        let of_graph = |_| RotatorError::new("function", "the function failed");
        match call.step {
            Step::Create if id(STAGE_PENDING).as_deref() != Some(call.token) => {
                let payload = self.draw();
                let new = Addition {
                    payload: &payload,
                    provenance: Provenance::Set,
                    id: call.token,
                    stages: &[STAGE_PENDING.to_owned()],
                    limits: Limits::default(),
                };
                let added = self.engine.add_version(&context, &at, &new, |_, _| Ok(()));
                added.await.map_err(of_graph)?;
            }
            Step::Set => {
                let version = snapshot
                    .versions()
                    .iter()
                    .find(|info| snapshot.stages(info).iter().any(|s| s == STAGE_PENDING));
                let value = self
                    .engine
                    .value_in(&snapshot, version.unwrap().number, call.now);
                let value = value.await.map_err(failed)?;
                self.accepted.lock().unwrap().insert(shown(value.as_ref()));
            }
            Step::Finish if id(STAGE_CURRENT).as_deref() != Some(call.token) => {
                let from = id(STAGE_CURRENT);
                let to = Some(call.token);
                let moved =
                    self.engine
                        .move_stage(&context, &at, STAGE_CURRENT, from.as_deref(), to);
                moved.await.map_err(of_graph)?;
            }
            Step::Create | Step::Test | Step::Finish => {}
        }
        Ok(())
    }
}

impl Rotator for Service {
    fn writer(&self) -> Writer {
        self.writer
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        Box::pin(async move {
            self.steps.lock().unwrap().push(call.step);
            if *self.fails.lock().unwrap() == Some(call.step) {
                return Err(RotatorError::new("test.failed", "made by the test"));
            }
            if self.writer == Writer::Rotator {
                assert!(call.current.is_none() && call.pending.is_none());
                self.act(call).await?;
                return Ok(None);
            }
            match call.step {
                Step::Create => return Ok(Some(self.draw())),
                Step::Set => {
                    self.accepted.lock().unwrap().insert(shown(call.pending));
                }
                Step::Test => {
                    let accepted = self.accepted.lock().unwrap();
                    assert!(accepted.contains(&shown(call.pending)));
                }
                Step::Finish => {}
            }
            Ok(None)
        })
    }

    fn take_back<'a>(&'a self, call: &'a StepCall<'a>) -> BoxFuture<'a, Result<(), RotatorError>> {
        assert_eq!(shown(call.current), "old");
        if *self.fails_back.lock().unwrap() {
            let error = RotatorError::new("test.failed", "made by the test");
            return Box::pin(std::future::ready(Err(error)));
        }
        if let Some(pending) = call.pending {
            self.accepted.lock().unwrap().remove(&shown(Some(pending)));
        }
        *self.taken_back.lock().unwrap() += 1;
        Box::pin(std::future::ready(Ok(())))
    }
}

fn rotations(world: &World, holder: &str) -> Rotations {
    let state = State::new(Arc::clone(&world.storage), world.barrier.clone());
    Rotations::new(state, world.engine.clone(), holder)
}

fn at(now: Timestamp) -> OpContext {
    OpContext { now, ..context() }
}

fn setup(rule: Option<&str>) -> Setup {
    Setup {
        rotator: "arn:test".into(),
        is_enabled: true,
        days: None,
        expression: rule.map(str::to_owned),
        duration: None,
        ..Setup::default()
    }
}

fn ask(
    rotations: &Rotations,
    now: Timestamp,
    token: &str,
    purpose: Purpose,
) -> Result<Asked, Refused> {
    let request = Request {
        path: &path("db"),
        secret: "arn:db",
        token,
        purpose,
        setup: setup(Some("rate(10 days)")),
    };
    pollster::block_on(rotations.request(&at(now), &request))
}

/// Drives what is due until there is nothing more, or storage fails.
fn drive(
    rotations: &Rotations,
    service: &Service,
    now: Timestamp,
) -> Result<Option<After>, strongroom_engine::Error> {
    pollster::block_on(async {
        let context = at(now);
        let Some(mut claim) = rotations.claim(&context, &path("db")).await? else {
            return Ok(None);
        };
        loop {
            let Some(work) = rotations.begin(claim, now).await? else {
                return Ok(Some(After::Lost));
            };
            let result = rotations.perform(&context, &work, service).await;
            match rotations.complete(&context, work, result).await? {
                After::More(next) => claim = next,
                after => return Ok(Some(after)),
            }
        }
    })
}

fn record(rotations: &Rotations) -> Rotation {
    let found = pollster::block_on(rotations.find(&path("db"))).unwrap();
    found.unwrap().value
}

/// Each version's id and stages, by number.
fn stages(world: &World) -> Vec<(String, Vec<String>)> {
    let snapshot = pollster::block_on(world.engine.snapshot(&path("db")));
    let snapshot = snapshot.unwrap().unwrap();
    let mut versions: Vec<_> = snapshot.versions().iter().collect();
    versions.sort_by_key(|info| info.number);
    let versions = versions.into_iter().map(|info| {
        let id = world.engine.version_id(&snapshot, info);
        (id, snapshot.stages(info))
    });
    versions.collect()
}

fn assert_rotated(world: &World, service: &Service) {
    let found = stages(world);
    let (id, last) = found.last().unwrap();
    assert_eq!(id, TOKEN);
    let allowed = [STAGE_CURRENT, STAGE_PENDING];
    assert!(
        last.iter().all(|stage| allowed.contains(&stage.as_str())),
        "{found:?}"
    );
    assert_eq!(last[0], STAGE_CURRENT);
    let current = found
        .iter()
        .filter(|(_, stages)| stages.contains(&STAGE_CURRENT.into()));
    assert_eq!(current.count(), 1, "{found:?}");
    for (_, stages) in found.iter().take(found.len() - 1) {
        assert!(!stages.contains(&STAGE_PENDING.into()), "{found:?}");
    }
    assert_eq!(found[found.len() - 2].1, [STAGE_PREVIOUS]);
    let current = world.get("db").unwrap();
    assert!(current.starts_with("new-"), "{current}");
    assert!(service.accepted.lock().unwrap().contains(&current));
}

#[test]
fn a_rotation_goes_through_four_steps() {
    for writer in [Writer::Engine, Writer::Rotator] {
        let world = World::new();
        world.set("db", "old");
        let service = Service::new(&world, writer);
        let rotations = rotations(&world, "a");
        assert_eq!(
            ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap(),
            Asked::Begins
        );
        let snapshot = pollster::block_on(world.engine.snapshot(&path("db")));
        let snapshot = snapshot.unwrap().unwrap();
        let facts = snapshot.aws().unwrap().rotation.as_ref().unwrap();
        assert_eq!(facts.pending.as_deref(), Some(TOKEN));
        assert_eq!(
            ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap(),
            Asked::Before
        );
        let after = drive(&rotations, &service, NOW).unwrap();
        assert!(matches!(after, Some(After::Finished)), "{after:?}");
        assert_eq!(*service.steps.lock().unwrap(), Step::ALL);
        assert_rotated(&world, &service);
        let snapshot = pollster::block_on(world.engine.snapshot(&path("db")));
        let snapshot = snapshot.unwrap().unwrap();
        let facts = snapshot.aws().unwrap().rotation.as_ref().unwrap();
        assert_eq!(facts.last, Some(NOW));
        assert!(facts.next.unwrap() > NOW && facts.pending.is_none());
        assert_eq!(
            ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap(),
            Asked::Before
        );
        world.assert_sound();
    }
}

#[test]
fn a_rotation_that_is_cut_off_anywhere_goes_on() {
    for writer in [Writer::Engine, Writer::Rotator] {
        for fault in [Fault::Before, Fault::After] {
            let mut cuts = 0;
            for nth in 1.. {
                let faulty = FaultyStorage::new(Arc::new(MemoryStorage::new()), fault);
                let faulty = Arc::new(faulty);
                let world = World::over(Arc::clone(&faulty) as Arc<dyn Storage>);
                world.set("db", "old");
                let service = Service::new(&world, writer);
                faulty.fail_at(nth);
                let first = rotations(&world, "a");
                let mut now = NOW;
                let asked = ask(&first, now, TOKEN, Purpose::Rotate);
                let cut = match asked {
                    Ok(_) => drive(&first, &service, now).is_err(),
                    Err(_) => true,
                };
                let is_through = faulty.calls() < nth;
                faulty.fail_at(0);
                cuts += u32::from(cut);
                // The value that is read now works now.
                let current = world.get("db").unwrap();
                assert!(service.accepted.lock().unwrap().contains(&current), "{nth}");
                // Another process goes on, after the lease; whoever asked, asks again.
                let second = rotations(&world, "b");
                if ask(&second, now, TOKEN, Purpose::Rotate).is_ok() {
                    for _ in 0..3 {
                        now = now.plus(LEASE).plus(Span::from_seconds(1));
                        drive(&second, &service, now).unwrap();
                    }
                }
                assert_rotated(&world, &service);
                assert_eq!(stages(&world).len(), 2, "{writer:?} {fault:?} {nth}");
                let record = record(&second);
                assert_eq!((record.run, record.finished), (None, 1), "{nth}");
                world.assert_sound();
                if is_through {
                    break;
                }
            }
            assert!(cuts > 20, "{cuts}");
        }
    }
}

#[test]
fn a_step_that_fails_leaves_the_current_value_and_is_tried_again() {
    for writer in [Writer::Engine, Writer::Rotator] {
        for failing in Step::ALL {
            let world = World::new();
            world.set("db", "old");
            let service = Service::new(&world, writer);
            *service.fails.lock().unwrap() = Some(failing);
            let rotations = rotations(&world, "a");
            ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
            let after = drive(&rotations, &service, NOW).unwrap();
            let Some(After::Again(at)) = after else {
                panic!("{after:?}");
            };
            assert_eq!(world.get("db").unwrap(), "old");
            let run = record(&rotations).run.unwrap();
            let failure = run.failure.unwrap();
            // A new value that does not work is set again, too, before it is tried.
            let next = match failing {
                Step::Test => Step::Create,
                other => other,
            };
            assert_eq!((failure.step, run.step), (failing, next));
            let is_told = matches!(failing, Step::Set | Step::Test) && writer == Writer::Engine;
            assert_eq!(*service.taken_back.lock().unwrap(), u32::from(is_told));
            assert_eq!(failure.error.code, "test.failed");
            assert_eq!(record(&rotations).failures, 1);
            // Nothing before its time, and no second rotation beside it.
            assert!(drive(&rotations, &service, NOW).unwrap().is_none());
            let other = ask(&rotations, NOW, &TOKEN.replace('1', "9"), Purpose::Rotate);
            assert!(matches!(other, Err(Refused::UnderWay)), "{other:?}");
            // That had it go on at once.
            assert_eq!(record(&rotations).run.unwrap().resume, NOW);
            let again = drive(&rotations, &service, NOW).unwrap();
            assert!(
                matches!(again, Some(After::Again(later)) if later > at),
                "{again:?}"
            );
            *service.fails.lock().unwrap() = None;
            let later = NOW.plus(Span::from_seconds(90_000));
            let after = drive(&rotations, &service, later).unwrap();
            assert!(matches!(after, Some(After::Finished)), "{after:?}");
            assert_rotated(&world, &service);
        }
    }
}

#[test]
fn two_servers_never_rotate_one_secret_at_once() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::new(&world, Writer::Engine);
    let (first, second) = (rotations(&world, "a"), rotations(&world, "b"));
    ask(&first, NOW, TOKEN, Purpose::Rotate).unwrap();
    let claim = pollster::block_on(first.claim(&at(NOW), &path("db"))).unwrap();
    assert!(drive(&second, &service, NOW).unwrap().is_none());
    let work = pollster::block_on(first.begin(claim.unwrap(), NOW))
        .unwrap()
        .unwrap();
    let later = NOW.plus(Span::from_seconds(15));
    assert!(pollster::block_on(first.renew(&work, later)).unwrap());
    let over = NOW.plus(LEASE).plus(Span::from_seconds(1));
    assert!(drive(&second, &service, over).unwrap().is_none());
    // The first one was stopped for long: the second one takes over, and it notices.
    let over = over.plus(LEASE);
    let after = drive(&second, &service, over).unwrap();
    assert!(matches!(after, Some(After::Finished)), "{after:?}");
    assert!(!pollster::block_on(first.renew(&work, over)).unwrap());
    let result = pollster::block_on(first.perform(&at(over), &work, &service));
    let after = pollster::block_on(first.complete(&at(over), work, result)).unwrap();
    assert!(matches!(after, After::Lost), "{after:?}");
    assert_rotated(&world, &service);
    assert_eq!(record(&first).finished, 1);
}

#[test]
fn a_rotator_is_tried_with_a_copy_of_the_current_value() {
    for writer in [Writer::Engine, Writer::Rotator] {
        let world = World::new();
        world.set("db", "old");
        let service = Service::new(&world, writer);
        let rotations = rotations(&world, "a");
        ask(&rotations, NOW, TOKEN, Purpose::Try).unwrap();
        let after = drive(&rotations, &service, NOW).unwrap();
        assert!(matches!(after, Some(After::Finished)), "{after:?}");
        assert_eq!(*service.steps.lock().unwrap(), [Step::Test]);
        assert_eq!(world.get("db").unwrap(), "old");
        let found = stages(&world);
        assert_eq!(found[0].1, [STAGE_CURRENT]);
        assert_eq!(found[1], (TOKEN.to_owned(), vec![]));
        assert_eq!(record(&rotations).last, None);
    }
}

#[test]
fn what_is_due_begins_once_however_late() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::new(&world, Writer::Engine);
    let rotations = rotations(&world, "a");
    ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
    drive(&rotations, &service, NOW).unwrap();
    let due = |now| {
        let state = State::new(Arc::clone(&world.storage), world.barrier.clone());
        pollster::block_on(state.due_rotations(now)).unwrap().len()
    };
    let late = NOW.plus(Span::from_seconds(86_400 * 95));
    assert_eq!((due(NOW), due(late)), (0, 1));
    let after = drive(&rotations, &service, late).unwrap();
    assert!(matches!(after, Some(After::Finished)), "{after:?}");
    assert_eq!(world.get("db").unwrap(), "new-2");
    assert!(drive(&rotations, &service, late).unwrap().is_none());
    assert_eq!(due(late), 0);
    let found = record(&rotations);
    assert_eq!(found.finished, 2);
    assert!(found.next.unwrap().begins > late);
}

#[test]
fn a_rotation_is_given_up_and_ended() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::new(&world, Writer::Engine);
    *service.fails.lock().unwrap() = Some(Step::Test);
    let rotations = rotations(&world, "a");
    ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
    drive(&rotations, &service, NOW).unwrap();
    let abort = |how| pollster::block_on(rotations.abort(&context(), &path("db"), how)).unwrap();
    // It began anew after the test, and the new value may be known: the old one is put back.
    assert_eq!(abort(Abort::Properly), Some(Aborted::Begins(Step::Create)));
    assert_eq!(stages(&world)[1].1, [STAGE_PENDING]);
    let after = drive(&rotations, &service, NOW).unwrap();
    assert!(matches!(after, Some(After::GivenUp)), "{after:?}");
    assert_eq!(*service.taken_back.lock().unwrap(), 2);
    assert_eq!(abort(Abort::Properly), None);
    assert_eq!(stages(&world)[1].1, Vec::<String>::new());
    let found = record(&rotations);
    assert!(found.run.is_none() && found.setup.is_enabled);
    assert_eq!(found.history[0].given_up_at, Some(Step::Create));
    // As AWS does it, the stage stays, and the next one is refused until it is taken away.
    let second = TOKEN.replace('1', "2");
    ask(&rotations, NOW, &second, Purpose::Rotate).unwrap();
    drive(&rotations, &service, NOW).unwrap();
    assert!(pollster::block_on(rotations.cancel(&context(), &path("db"))).unwrap());
    assert_eq!(stages(&world)[2].1, [STAGE_PENDING]);
    assert!(record(&rotations).next.is_none());
    let third = ask(&rotations, NOW, &TOKEN.replace('1', "3"), Purpose::Rotate);
    assert!(matches!(third, Err(Refused::PendingElsewhere)), "{third:?}");
    assert_eq!(world.get("db").unwrap(), "old");
    assert!(!pollster::block_on(rotations.resume(&path("db"), NOW)).unwrap());
}

#[test]
fn a_secret_that_is_gone_is_not_rotated() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::new(&world, Writer::Engine);
    let rotations = rotations(&world, "a");
    ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
    world.remove("db").unwrap();
    let later = NOW.plus(Span::from_seconds(1));
    let options = WriteOptions::new(Provenance::Set);
    let (context, at, other) = (at(later), path("db"), text("other"));
    let written = world.engine.write(&context, &at, &other, &options);
    pollster::block_on(written).unwrap();
    assert!(drive(&rotations, &service, later).unwrap().is_none());
    let left = pollster::block_on(rotations.find(&path("db"))).unwrap();
    assert!(left.is_none());
    assert_eq!(world.get("db").unwrap(), "other");
    assert!(service.steps.lock().unwrap().is_empty());
}

#[test]
fn a_rotation_that_nobody_can_take_back_is_abandoned() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::new(&world, Writer::Engine);
    *service.fails.lock().unwrap() = Some(Step::Set);
    let rotations = rotations(&world, "a");
    ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
    drive(&rotations, &service, NOW).unwrap();
    let (context, at) = (context(), path("db"));
    let aborted = pollster::block_on(rotations.abort(&context, &at, Abort::AtOnce)).unwrap();
    assert_eq!(aborted, Some(Aborted::Over(Step::Set)));
    assert!(record(&rotations).run.is_none());
    assert_eq!(stages(&world)[1].1, Vec::<String>::new());
}

#[test]
fn the_value_before_is_rotated_in_again() {
    for writer in [Writer::Engine, Writer::Rotator] {
        let world = World::new();
        world.set("db", "old");
        let service = Service::new(&world, writer);
        let rotations = rotations(&world, "a");
        let refused = ask(&rotations, NOW, TOKEN, Purpose::Return);
        assert!(matches!(refused, Err(Refused::NoPrevious)), "{refused:?}");
        ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
        drive(&rotations, &service, NOW).unwrap();
        assert_eq!(world.get("db").unwrap(), "new-1");
        ask(&rotations, NOW, &TOKEN.replace('1', "2"), Purpose::Return).unwrap();
        let after = drive(&rotations, &service, NOW).unwrap();
        assert!(matches!(after, Some(After::Finished)), "{after:?}");
        assert_eq!(world.get("db").unwrap(), "old");
        let versions = world.versions("db");
        let came: Vec<&Provenance> = versions.iter().map(|info| &info.provenance).collect();
        let rolled = Provenance::RolledBack(1);
        assert_eq!(came, [&Provenance::Set, &Provenance::Rotated, &rolled]);
        world.assert_sound();
    }
}

#[test]
fn a_rotation_follows_its_secret() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::new(&world, Writer::Engine);
    *service.fails.lock().unwrap() = Some(Step::Create);
    let rotations = rotations(&world, "a");
    ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
    drive(&rotations, &service, NOW).unwrap();
    world.rename("db", "moved").unwrap();
    assert!(
        pollster::block_on(rotations.find(&path("db")))
            .unwrap()
            .is_none()
    );
    let state = State::new(Arc::clone(&world.storage), world.barrier.clone());
    let all = pollster::block_on(state.rotations()).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].path, "moved");
    assert_eq!(all[0].run.as_ref().unwrap().token, TOKEN);
    // A copy is nobody's to rotate.
    world.copy("moved", "db").unwrap();
    assert!(
        pollster::block_on(rotations.find(&path("db")))
            .unwrap()
            .is_none()
    );
    let copied = pollster::block_on(world.engine.snapshot(&path("db")));
    assert!(copied.unwrap().unwrap().aws().is_none());
    *service.fails.lock().unwrap() = None;
    world.remove("db").unwrap();
    world.rename("moved", "db").unwrap();
    let later = NOW.plus(Span::from_seconds(90_000));
    let after = drive(&rotations, &service, later).unwrap();
    assert!(matches!(after, Some(After::Finished)), "{after:?}");
    assert_rotated(&world, &service);
    world.assert_sound();
}

/// A restart with a clock that was set back by a day, or by years, in the middle of a rotation or
/// after one.
#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let ahead = |world: &World, now| {
        let state = State::new(Arc::clone(&world.storage), world.barrier.clone());
        let found = pollster::block_on(state.rotations_ahead(now)).unwrap();
        found.len()
    };
    for seconds in [120, 86_400, 3_650 * 86_400] {
        let before = NOW.plus(Span::from_seconds(seconds));
        let world = World::new();
        world.set("db", "old");
        let service = Service::new(&world, Writer::Engine);
        let (first, second) = (rotations(&world, "a"), rotations(&world, "b"));
        ask(&first, before, TOKEN, Purpose::Rotate).unwrap();
        // It is claimed and never finished.
        assert!(pollster::block_on(first.claim(&at(before), &path("db"))).is_ok());
        assert_eq!(ahead(&world, NOW), 1, "{seconds}");
        let after = drive(&second, &service, NOW).unwrap();
        assert!(
            matches!(after, Some(After::Finished)),
            "{seconds}: {after:?}"
        );
        assert_rotated(&world, &service);
        assert_eq!(ahead(&world, NOW), 0);

        // One that was finished then: the next comes by the clock as it is.
        let third = TOKEN.replace('1', "3");
        ask(&first, before, &third, Purpose::Rotate).unwrap();
        drive(&first, &service, before).unwrap();
        assert_eq!(ahead(&world, NOW), 1);
        assert!(drive(&second, &service, NOW).unwrap().is_none());
        let next = record(&second).next.unwrap().begins;
        assert!(next > NOW && next < NOW.plus(Span::from_seconds(20 * 86_400)));
        assert_eq!(ahead(&world, NOW), 0);
    }
    // Another server's clock that is a little ahead changes nothing.
    let world = World::new();
    world.set("db", "old");
    let first = rotations(&world, "a");
    let before = NOW.plus(Span::from_seconds(50));
    ask(&first, before, TOKEN, Purpose::Rotate).unwrap();
    assert!(pollster::block_on(first.claim(&at(before), &path("db"))).is_ok());
    assert_eq!(ahead(&world, NOW), 0);
}

#[test]
fn what_may_work_with_neither_value_is_tried_again_soon() {
    let world = World::new();
    world.set("db", "old");
    let service = Service::new(&world, Writer::Engine);
    *service.fails.lock().unwrap() = Some(Step::Set);
    *service.fails_back.lock().unwrap() = true;
    let rotations = rotations(&world, "a");
    ask(&rotations, NOW, TOKEN, Purpose::Rotate).unwrap();
    let mut now = NOW;
    for attempt in 0..20 {
        let after = drive(&rotations, &service, now).unwrap();
        let Some(After::Again(at)) = after else {
            panic!("{attempt}: {after:?}");
        };
        let wait = at.seconds_since(now);
        assert!((1..=30).contains(&wait), "{attempt}: {wait} s");
        now = at;
    }
    // Where the old value works there is time.
    *service.fails_back.lock().unwrap() = false;
    let after = drive(&rotations, &service, now).unwrap();
    assert!(
        matches!(after, Some(After::Again(at)) if at.seconds_since(now) > 3_600),
        "{after:?}"
    );
}
