//! The version graph that AWS clients move about in, beside everything else that happens to
//! versions.

use std::collections::BTreeMap;

use strongroom_core::aws::AwsFacts;
use strongroom_core::secret::Payload;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionState;
use strongroom_engine::Error;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::Addition;
use strongroom_engine::secrets::Creation;
use strongroom_engine::secrets::GraphError;
use strongroom_engine::secrets::Limits;
use strongroom_engine::secrets::Snapshot;
use strongroom_engine::secrets::Versions;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;
use crate::support::path;
use crate::support::some;
use crate::support::text;

impl World {
    fn create(&self, at: &str, value: Option<(&str, &str)>) -> Result<u64, GraphError> {
        let payload = value.map(|(value, id)| (text(value), id));
        let new = Creation {
            description: None,
            tags: &BTreeMap::new(),
            facts: &AwsFacts::default(),
            value: payload.as_ref().map(|(payload, id)| (payload, *id)),
            limits: Limits::default(),
        };
        let (context, at) = (context(), path(at));
        let created = self.engine.create(&context, &at, &new);
        Ok(pollster::block_on(created)?.number)
    }

    fn add(&self, at: &str, value: &str, id: &str, stages: &[&str]) -> Result<u64, GraphError> {
        self.add_at(NOW, at, value, id, stages)
    }

    fn add_at(
        &self,
        now: Timestamp,
        at: &str,
        value: &str,
        id: &str,
        stages: &[&str],
    ) -> Result<u64, GraphError> {
        let stages: Vec<String> = stages.iter().map(|&stage| stage.to_owned()).collect();
        let payload: Payload = text(value);
        let new = Addition {
            payload: &payload,
            provenance: Provenance::Set,
            id,
            stages: &stages,
            limits: Limits::default(),
        };
        let context = OpContext { now, ..context() };
        let at = path(at);
        let added = self.engine.add_version(&context, &at, &new, |_, _| Ok(()));
        Ok(pollster::block_on(added)?.number)
    }

    fn shift(
        &self,
        at: &str,
        stage: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<(), GraphError> {
        let (context, at) = (context(), path(at));
        let moved = self.engine.move_stage(&context, &at, stage, from, to);
        pollster::block_on(moved).map(drop)
    }

    fn snapshot(&self, at: &str) -> Snapshot {
        let found = pollster::block_on(self.engine.snapshot(&path(at)));
        found.unwrap().unwrap()
    }

    /// Where the stages are: by the id of their version.
    fn stages(&self, at: &str) -> BTreeMap<String, Vec<String>> {
        let snapshot = self.snapshot(at);
        let mut stages = BTreeMap::new();
        for info in snapshot.versions() {
            let mut own = snapshot.stages(info);
            own.sort();
            if !own.is_empty() {
                stages.insert(self.engine.version_id(&snapshot, info), own);
            }
        }
        stages
    }

    fn value_of(&self, at: &str, id: &str) -> Option<String> {
        let snapshot = self.snapshot(at);
        let versions = snapshot.versions().iter();
        let mut found = versions.filter(|info| self.engine.version_id(&snapshot, info) == id);
        let info = found.next()?;
        let payload = pollster::block_on(self.engine.value_in(&snapshot, info.number, NOW));
        let payload = payload.unwrap()?;
        Some(payload.value.expose_secret_text().unwrap().to_owned())
    }
}

fn map(rows: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let own = |stages: &[&str]| stages.iter().map(|&stage| stage.to_owned()).collect();
    rows.iter()
        .map(|(id, stages)| ((*id).to_owned(), own(stages)))
        .collect()
}

#[test]
fn a_version_waits_before_it_is_current() {
    let world = World::new();
    world.create("s", Some(("one", "1"))).unwrap();
    assert_eq!(world.add("s", "two", "2", &["AWSPENDING"]).unwrap(), 2);
    assert_eq!(world.get("s").unwrap(), "one");
    // Whoever knows nothing of stages writes on.
    assert_eq!(world.set("s", "three").version, 3);
    assert_eq!(world.value_of("s", "2").unwrap(), "two");
    let snapshot = world.snapshot("s");
    let third = world
        .engine
        .version_id(&snapshot, snapshot.newest().unwrap());
    world
        .shift("s", STAGE_CURRENT, Some(&third), Some("2"))
        .unwrap();
    assert_eq!(world.get("s").unwrap(), "two");
    assert_eq!(
        world.stages("s"),
        map(&[
            ("2", &[STAGE_CURRENT, "AWSPENDING"]),
            (&third, &[STAGE_PREVIOUS])
        ])
    );
    assert_eq!(world.set("s", "four").version, 4);
    assert_eq!(world.numbers("s"), [1, 3, 2, 4]);
    for (number, value) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        assert_eq!(world.get_version("s", Some(number)).unwrap(), value);
    }
    world.copy("s", "copy").unwrap();
    world.rename("s", "moved").unwrap();
    for at in ["copy", "moved"] {
        assert_eq!(world.get_version(at, Some(2)).unwrap(), "two");
        assert_eq!(world.get(at).unwrap(), "four");
    }
    world.assert_sound();
}

#[test]
fn refusals_say_what_is_wrong() {
    let world = World::new();
    world.create("s", Some(("one", "1"))).unwrap();
    world.add("s", "two", "2", &[]).unwrap();
    let exists = world.create("s", Some(("x", "x")));
    assert!(matches!(exists, Err(GraphError::Exists)), "{exists:?}");
    assert_eq!(world.create("s", Some(("one", "1"))).unwrap(), 1);
    let taken = world.create("s", Some(("x", "1")));
    assert!(
        matches!(taken, Err(GraphError::IdTaken { .. })),
        "{taken:?}"
    );
    assert_eq!(world.add("s", "two", "2", &[]).unwrap(), 2);
    let taken = world.add("s", "x", "2", &[]);
    assert!(
        matches!(taken, Err(GraphError::IdTaken { .. })),
        "{taken:?}"
    );
    let missing = world.add("none", "x", "1", &[]);
    assert!(matches!(
        missing,
        Err(GraphError::Engine(Error::NotFound { .. }))
    ));
    for (from, to) in [(None, Some("1")), (Some("1"), Some("1")), (Some("1"), None)] {
        let refused = world.shift("s", STAGE_CURRENT, from, to);
        let is_right = matches!(&refused, Err(GraphError::StageElsewhere { holder: Some(id), .. })
            if id == "2");
        assert!(is_right, "{from:?} {to:?} {refused:?}");
    }
    let refused = world.shift("s", STAGE_CURRENT, Some("2"), None);
    assert!(
        matches!(refused, Err(GraphError::CurrentStays)),
        "{refused:?}"
    );
    let refused = world.shift("s", STAGE_CURRENT, Some("2"), Some("9"));
    assert!(
        matches!(refused, Err(GraphError::NoVersion { .. })),
        "{refused:?}"
    );
    world.delete("s", &some([1])).unwrap();
    let refused = world.shift("s", STAGE_CURRENT, Some("2"), Some("1"));
    assert!(
        matches!(refused, Err(GraphError::NoVersion { .. })),
        "{refused:?}"
    );
    let many: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = world.add("s", "x", "3", &[&many[..], &[STAGE_CURRENT]].concat());
    assert!(
        matches!(refused, Err(GraphError::TooManyStages)),
        "{refused:?}"
    );
    world.add("s", "x", "3", &many).unwrap();
    assert_eq!(world.get("s").unwrap(), "two");
    world.assert_sound();
}

#[test]
fn a_secret_of_another_door_has_ids_that_stay() {
    let world = World::new();
    world.set("s", "one");
    let first: Vec<String> = world.stages("s").into_keys().collect();
    world.set("s", "two");
    assert_eq!(world.value_of("s", &first[0]).unwrap(), "one");
    assert_eq!(first[0].len(), 36);
    let suffix = |at: &str| world.engine.name_suffix(&world.snapshot(at));
    assert_eq!(suffix("s").len(), 6);
    world.copy("s", "t").unwrap();
    assert_ne!(suffix("s"), suffix("t"));
}

#[test]
fn old_versions_without_a_stage_go_first_when_they_are_not_young() {
    let world = World::new();
    world.create("s", Some(("first", "first"))).unwrap();
    world.shift("s", "kept", None, Some("first")).unwrap();
    for number in 0..150 {
        world
            .add("s", &number.to_string(), &format!("id{number}"), &[])
            .unwrap();
    }
    assert_eq!(world.numbers("s").len(), 151);
    let later = NOW.plus(Span::from_seconds(24 * 3600 + 1));
    world.add_at(later, "s", "last", "last", &[]).unwrap();
    assert_eq!(world.numbers("s").len(), 100);
    assert_eq!(world.value_of("s", "first").unwrap(), "first");
    assert_eq!(world.value_of("s", "id149").unwrap(), "149");
    for number in 0..150 {
        let id = format!("more{number}");
        world
            .add_at(later, "s", &number.to_string(), &id, &[])
            .unwrap();
    }
    assert_eq!(world.numbers("s").len(), 152);
    for number in 0..60 {
        let id = format!("most{number}");
        world
            .add_at(later, "s", &number.to_string(), &id, &[])
            .unwrap();
    }
    assert_eq!(world.numbers("s").len(), 200);
    world.assert_sound();
}

#[test]
fn a_planned_deletion_is_taken_back_by_whoever_writes() {
    let world = World::new();
    let later = |seconds| NOW.plus(Span::from_seconds(seconds));
    let plan = |at: &str| {
        let due = later(100);
        let (context, at) = (context(), path(at));
        let planned = world.engine.plan_deletion(&context, &at, due, &[]);
        pollster::block_on(planned)
    };
    let remove = |at: &str, seconds| {
        let context = OpContext {
            now: later(seconds),
            ..context()
        };
        pollster::block_on(world.engine.remove_if_due(&context, &path(at))).unwrap()
    };
    let write_later = |at: &str| {
        let context = OpContext {
            now: later(1),
            ..context()
        };
        let options = strongroom_engine::secrets::WriteOptions::new(
            strongroom_core::version::Provenance::Set,
        );
        let (at, payload) = (path(at), text("new"));
        pollster::block_on(world.engine.write(&context, &at, &payload, &options)).unwrap();
    };
    for at in ["goes", "restored", "written", "empty"] {
        let value = (at != "empty").then_some(("x", "1"));
        world.create(at, value).unwrap();
        plan(at).unwrap();
        assert!(matches!(plan(at), Err(GraphError::MarkedForDeletion)));
        let made = world.create(at, Some(("x", "1")));
        assert!(
            matches!(made, Err(GraphError::NameMarkedForDeletion)),
            "{made:?}"
        );
    }
    assert_eq!(world.get("goes").unwrap_err().code(), "secret.gone");
    let (now, at) = (context(), path("restored"));
    let restored = world.engine.restore(&now, &at);
    pollster::block_on(restored).unwrap();
    write_later("written");
    // Deleted again by somebody who plans nothing: that is not what was planned.
    world.delete("written", &Versions::Newest).unwrap();
    for at in ["goes", "restored", "written", "empty"] {
        assert!(!remove(at, 99), "{at}");
    }
    assert!(remove("goes", 100));
    assert!(remove("empty", 100));
    assert!(!remove("goes", 100));
    assert!(!remove("restored", 100));
    assert!(!remove("written", 100));
    assert_eq!(world.get("restored").unwrap(), "x");
    let versions = world.versions("written");
    assert!(
        versions
            .iter()
            .all(|info| info.state != VersionState::Destroyed)
    );
    world.assert_sound();
}

/// Numbers that look drawn and are the same every time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

#[test]
fn whatever_happens_every_version_keeps_its_value() {
    for seed in 0..40 {
        let world = World::new();
        let mut draw = Draw(seed);
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        world.create("s", Some(("v", "id"))).unwrap();
        values.insert("id".into(), "v".into());
        for round in 0..60 {
            let (value, id) = (format!("value {round}"), format!("id{round}"));
            let stages: Vec<String> = world.stages("s").into_keys().collect();
            let ids: Vec<&String> = values.keys().collect();
            let other = ids[usize::try_from(draw.below(ids.len() as u64)).unwrap()].clone();
            match draw.below(7) {
                0 | 1 => {
                    world.add("s", &value, &id, &[]).unwrap();
                    values.insert(id, value);
                }
                2 => {
                    let stage = ["AWSPENDING", "blue"][usize::try_from(draw.below(2)).unwrap()];
                    world.add("s", &value, &id, &[stage]).unwrap();
                    values.insert(id, value);
                }
                3 => {
                    let snapshot = world.snapshot("s");
                    let current = snapshot.newest().unwrap();
                    let current = world.engine.version_id(&snapshot, current);
                    world
                        .shift("s", STAGE_CURRENT, Some(&current), Some(&other))
                        .unwrap();
                    assert_eq!(world.get("s").unwrap(), values[&other], "seed {seed}");
                }
                4 => {
                    let held = world.stages("s");
                    let holder = held
                        .iter()
                        .find(|(_, own)| own.contains(&"blue".to_owned()));
                    let holder = holder.map(|(id, _)| id.clone());
                    world
                        .shift("s", "blue", holder.as_deref(), Some(&other))
                        .unwrap();
                }
                5 => {
                    // Through a door that keeps all versions, too.
                    world
                        .tag("s", |patch| patch.max_versions = Some(1000))
                        .unwrap();
                    world.set("s", &value);
                    let snapshot = world.snapshot("s");
                    let newest = snapshot.newest().unwrap();
                    values.insert(world.engine.version_id(&snapshot, newest), value);
                }
                _ => {
                    let number = world.snapshot("s").newest().unwrap().number;
                    world.delete("s", &some([number])).unwrap();
                    world.undelete("s", &some([number])).unwrap();
                }
            }
            for (id, value) in &values {
                let found = world.value_of("s", id);
                assert_eq!(
                    found.as_ref(),
                    Some(value),
                    "seed {seed}, round {round}, {id}"
                );
            }
            let held = world.stages("s");
            let with = |stage: &str| {
                let own = held
                    .values()
                    .filter(|own| own.iter().any(|one| one == stage));
                own.count()
            };
            assert_eq!(with(STAGE_CURRENT), 1, "seed {seed}, round {round}");
            assert!(
                with(STAGE_PREVIOUS) <= 1 && with("blue") <= 1,
                "seed {seed}"
            );
            drop(stages);
        }
        let mut numbers = world.numbers("s");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), world.numbers("s").len(), "seed {seed}");
        world.assert_sound();
    }
}
