//! A migration that is interrupted anywhere goes on, and loses and doubles nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_core::port::Backend;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PENDING;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::Engine;
use strongroom_engine::backend::StoreBackend;
use strongroom_engine::migrate;
use strongroom_engine::migrate::Drift;
use strongroom_engine::migrate::Header;
use strongroom_engine::migrate::Journal;
use strongroom_engine::migrate::MigrateError;
use strongroom_engine::migrate::Options;
use strongroom_engine::migrate::Planned;
use strongroom_engine::migrate::Stage;
use strongroom_engine::migrate::State;
use strongroom_engine::migrate::Step;
use strongroom_engine::migrate::Wish;
use strongroom_engine::secrets::Versions;
use strongroom_engine::transfer::Loss;
use strongroom_engine::transfer::backup::Backup;
use strongroom_engine::transfer::backup::BackupBackend;
use strongroom_engine::transfer::backup::Contents;
use strongroom_engine::transfer::backup::Saved;
use strongroom_engine::transfer::backup::SavedVersion;
use strongroom_store::memory::MemoryStorage;
use strongroom_testkit::fault::Fault;
use strongroom_testkit::fault::FaultyStorage;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;
use crate::support::some;

const EXPIRY: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);

const OPTIONS: Options = Options {
    overwrite: true,
    with_history: true,
};

pub(crate) fn backend(world: &World) -> StoreBackend {
    StoreBackend::new(world.engine.clone(), context(), String::new())
}

fn faulty(fault: Fault) -> (World, Arc<FaultyStorage>) {
    let storage = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new()), fault));
    (World::over(Arc::clone(&storage) as _), storage)
}

/// Secrets with one version and with many, with metadata, and one deleted version.
fn source() -> World {
    let world = World::new();
    for number in 0..5 {
        world.set(&format!("app/s{number}"), &format!("value-{number}"));
    }
    for value in ["one", "two", "two-b", "three"] {
        world
            .try_set("app/many", value, |options| {
                options.metadata.description = Some("what it is for".into());
                options.metadata.tags = BTreeMap::from([("team".into(), Some("pay".into()))]);
            })
            .unwrap();
    }
    world.delete("app/many", &some([2])).unwrap();
    world
}

fn header() -> Header {
    Header {
        id: String::new(),
        created: NOW,
        from: "from".into(),
        to: "to".into(),
        stage: Stage::Copying,
        count: 0,
        with_history: true,
        tags: BTreeMap::from([("migrated_from".into(), "test".into())]),
        cleans: false,
        left: None,
        ignored: None,
    }
}

async fn plan(source: &dyn Backend, target: &dyn Backend) -> Vec<Planned> {
    let addresses = strongroom_engine::transfer::addresses(source, "app/")
        .await
        .unwrap();
    let wishes = addresses.into_iter().map(|from| Wish {
        to: from.replace("app/", "new/"),
        from,
    });
    migrate::plan(source, target, wishes.collect(), OPTIONS, &|_, _| {})
        .await
        .unwrap()
}

pub(crate) async fn begin(journals: &World, planned: &[Planned]) -> Result<Journal, MigrateError> {
    let fingerprint = |value: &SecretValue| journals.barrier.fingerprint(value);
    let entries = planned
        .iter()
        .filter_map(|planned| planned.entry(|item| fingerprint(&item.payload.value)));
    Journal::create(&journals.engine, header(), entries.collect()).await
}

/// The live values of a secret, oldest first.
fn history(world: &World, at: &str) -> Vec<String> {
    let values = world.numbers(at).into_iter();
    values
        .filter_map(|number| world.get_version(at, Some(number)).ok())
        .collect()
}

fn assert_moved(target: &World) {
    assert_eq!(history(target, "new/many"), ["one", "two-b", "three"]);
    for number in 0..5 {
        let at = format!("new/s{number}");
        assert_eq!(history(target, &at), [format!("value-{number}")]);
    }
    let details = pollster::block_on(backend(target).details("new/many"))
        .unwrap()
        .unwrap();
    assert_eq!(details.description.as_deref(), Some("what it is for"));
    assert_eq!(details.tags["team"], "pay");
    assert_eq!(details.tags["migrated_from"], "test");
}

/// Loads the journal and goes on until all is there, as another process would.
fn resume(journals: &World, source: &World, target: &World) {
    pollster::block_on(async {
        let mut journal = Journal::load(&journals.engine, "").await.unwrap();
        journal.take_over().await.unwrap();
        let (from, to) = (backend(source), backend(target));
        migrate::copy(&mut journal, &from, &to, Vec::new(), &|_, _| {})
            .await
            .unwrap();
        for entry in &journal.entries {
            assert_eq!(entry.state, State::Verified, "{}", entry.from);
        }
    });
}

#[test]
fn a_migration_moves_values_versions_and_what_is_known_of_them() {
    let (from, to, journals) = (source(), World::new(), World::new());
    pollster::block_on(async {
        let planned = plan(&backend(&from), &backend(&to)).await;
        assert!(planned.iter().all(|planned| planned.step == Step::Create));
        assert_eq!(planned[0].versions, 3);
        let mut journal = begin(&journals, &planned).await.unwrap();
        migrate::copy(
            &mut journal,
            &backend(&from),
            &backend(&to),
            planned,
            &|_, _| {},
        )
        .await
        .unwrap();
    });
    assert_moved(&to);
}

#[test]
fn a_target_that_fails_at_any_call_is_gone_on_with() {
    for fault in [Fault::Before, Fault::After] {
        let calls = {
            let (from, journals) = (source(), World::new());
            let (to, storage) = faulty(fault);
            storage.fail_at(0);
            run_once(&from, &to, &journals).unwrap();
            storage.calls()
        };
        assert!(calls > 20);
        for call in 1..=calls {
            let (from, journals) = (source(), World::new());
            let (to, storage) = faulty(fault);
            storage.fail_at(call);
            let ended = run_once(&from, &to, &journals);
            storage.fail_at(0);
            if ended.is_err() && is_begun(&journals) {
                resume(&journals, &from, &to);
            } else if ended.is_err() {
                run_once(&from, &to, &journals).unwrap();
            }
            assert_moved(&to);
        }
    }
}

#[test]
fn a_journal_that_fails_at_any_call_is_gone_on_with() {
    for fault in [Fault::Before, Fault::After] {
        let calls = {
            let (from, to) = (source(), World::new());
            let (journals, storage) = faulty(fault);
            storage.fail_at(0);
            run_once(&from, &to, &journals).unwrap();
            storage.calls()
        };
        for call in 1..=calls {
            let (from, to) = (source(), World::new());
            let (journals, storage) = faulty(fault);
            storage.fail_at(call);
            let ended = run_once(&from, &to, &journals);
            storage.fail_at(0);
            if ended.is_err() && is_begun(&journals) {
                resume(&journals, &from, &to);
            } else if ended.is_err() {
                run_once(&from, &to, &journals).unwrap();
            }
            assert_moved(&to);
        }
    }
}

fn is_begun(journals: &World) -> bool {
    !pollster::block_on(Journal::list(&journals.engine))
        .unwrap()
        .is_empty()
}

fn run_once(from: &World, to: &World, journals: &World) -> Result<(), MigrateError> {
    pollster::block_on(async {
        let (source, target) = (backend(from), backend(to));
        let addresses = strongroom_engine::transfer::addresses(&source, "app/").await?;
        let wishes = addresses.into_iter().map(|from| Wish {
            to: from.replace("app/", "new/"),
            from,
        });
        let wishes = wishes.collect();
        let planned = migrate::plan(&source, &target, wishes, OPTIONS, &|_, _| {}).await?;
        let mut journal = begin(journals, &planned).await?;
        migrate::copy(&mut journal, &source, &target, planned, &|_, _| {}).await
    })
}

#[test]
fn a_rollback_puts_back_what_was_there_and_leaves_what_others_changed() {
    let (from, to, journals) = (source(), World::new(), World::new());
    to.try_set("new/s1", "before", |options| {
        options.metadata.tags = BTreeMap::from([("kept".into(), Some("1".into()))]);
    })
    .unwrap();
    to.set("new/s2", "value-2");
    to.set("new/s3", "of earlier times");
    to.delete("new/s3", &Versions::Newest).unwrap();
    run_once(&from, &to, &journals).unwrap();
    assert_eq!(history(&to, "new/s1"), ["before", "value-1"]);
    to.set("new/s4", "somebody's");
    pollster::block_on(async {
        let mut journal = Journal::load(&journals.engine, "").await.unwrap();
        migrate::undo(&mut journal, &backend(&to), &|_, _| {})
            .await
            .unwrap();
        let state = |at: &str| {
            let mut entries = journal.entries.iter();
            entries.find(|entry| entry.to == at).unwrap().state.clone()
        };
        assert_eq!(state("new/s0"), State::Restored);
        assert_eq!(state("new/s2"), State::Unchanged);
        assert!(matches!(state("new/s4"), State::Kept(_)));
    });
    let read = |at: &str| {
        let read = pollster::block_on(backend(&to).read(at, &VersionRef::Current));
        // EXPOSE: a test compares what is there.
        let value = read.unwrap().map(|item| item.payload.value);
        value.map(|value| String::from_utf8(value.expose_secret().to_vec()).unwrap())
    };
    assert_eq!(read("new/s0"), None);
    assert_eq!(read("new/many"), None);
    assert_eq!(read("new/s1").as_deref(), Some("before"));
    assert_eq!(read("new/s2").as_deref(), Some("value-2"));
    assert_eq!(read("new/s3"), None);
    assert_eq!(read("new/s4").as_deref(), Some("somebody's"));
    let tags = pollster::block_on(backend(&to).details("new/s1"));
    let tags: Vec<_> = tags.unwrap().unwrap().tags.into_keys().collect();
    assert_eq!(tags, ["kept"]);
    // What was there before, though deleted, was not destroyed with ours.
    assert!(to.numbers("new/s3").contains(&1));
}

#[test]
fn drift_is_told_by_fingerprint() {
    let (from, to, journals) = (source(), World::new(), World::new());
    run_once(&from, &to, &journals).unwrap();
    to.set("new/s1", "another");
    to.remove("new/s2").unwrap();
    pollster::block_on(async {
        let journal = Journal::load(&journals.engine, "").await.unwrap();
        let drifts = migrate::drift(&journal, &backend(&to), &|_, _| {})
            .await
            .unwrap();
        let count = |wanted| drifts.iter().filter(|(_, drift)| *drift == wanted).count();
        assert_eq!(
            (
                count(Drift::Same),
                count(Drift::Changed),
                count(Drift::Missing)
            ),
            (4, 1, 1)
        );
    });
}

#[test]
fn who_takes_a_journal_over_is_alone() {
    let (from, to, journals) = (source(), World::new(), World::new());
    pollster::block_on(async {
        let planned = plan(&backend(&from), &backend(&to)).await;
        let mut first = begin(&journals, &planned).await.unwrap();
        let mut second = Journal::load(&journals.engine, &first.header.id[..4])
            .await
            .unwrap();
        second.take_over().await.unwrap();
        let (source, target) = (backend(&from), backend(&to));
        let ended = migrate::copy(&mut first, &source, &target, planned, &|_, _| {}).await;
        assert!(matches!(ended, Err(MigrateError::TakenOver)));
        assert!(to.list_recursive("").is_empty());
        migrate::copy(&mut second, &source, &target, Vec::new(), &|_, _| {})
            .await
            .unwrap();
    });
    assert_moved(&to);
}

#[test]
fn journals_are_sealed_anew_and_verified_with_the_store() {
    let (from, to) = (source(), World::new());
    let mut journals = World::new();
    run_once(&from, &to, &journals).unwrap();
    let active = journals.keyring.rotate(&SystemRng, NOW);
    journals.barrier = Barrier::new([1; 16], &journals.keyring);
    journals.engine = Engine::new(Arc::clone(&journals.storage), journals.barrier.clone());
    pollster::block_on(journals.engine.reseal(&context(), active)).unwrap();
    pollster::block_on(async {
        let report = journals.engine.verify().await.unwrap();
        assert_eq!(report.problems, []);
        let journal = Journal::load(&journals.engine, "").await.unwrap();
        assert_eq!(journal.entries.len(), 6);
        journal.forget().await.unwrap();
        let report = journals.engine.verify().await.unwrap();
        assert_eq!(report.problems, []);
        assert!(Journal::list(&journals.engine).await.unwrap().is_empty());
    });
}

/// What AWS may hold: a version that waits to be current is newer than the current one.
fn staged() -> BackupBackend {
    let version = |id: &str, stages: &[&str]| SavedVersion {
        id: Some(id.into()),
        stages: stages.iter().map(|stage| (*stage).to_owned()).collect(),
        created: Some(NOW),
        payload: crate::support::text(id),
    };
    let saved = Saved {
        address: "app/staged".into(),
        description: None,
        tags: BTreeMap::new(),
        expires_at: Some(EXPIRY),
        left: Vec::new(),
        versions: vec![
            version("stable", &["STABLE"]),
            version("previous", &[STAGE_PREVIOUS]),
            version("pending", &[STAGE_PENDING]),
            version("current", &[STAGE_CURRENT, "LIVE"]),
        ],
    };
    let contents = Contents {
        created: NOW,
        from: "aws".into(),
        secrets: 1,
        versions: 4,
    };
    let saved = vec![saved];
    BackupBackend::new("of a test".into(), Backup { contents, saved })
}

#[test]
fn stages_and_expiry_go_along_and_are_no_loss() {
    let (source, target, journals) = (staged(), World::new(), World::new());
    pollster::block_on(async {
        let store = backend(&target);
        let planned = plan(&source, &store).await;
        assert_eq!(planned[0].losses, []);
        assert_eq!(planned[0].versions, 4);
        let mut journal = begin(&journals, &planned).await.unwrap();
        migrate::copy(&mut journal, &source, &store, planned, &|_, _| {})
            .await
            .unwrap();
        let value = async |stage: &str| {
            let reference = VersionRef::Stage(stage.into());
            let item = store.read("new/staged", &reference).await.unwrap();
            let value = item.unwrap().payload.value;
            value.expose_secret_text().unwrap().to_owned()
        };
        for (stage, wanted) in [
            ("STABLE", "stable"),
            (STAGE_PREVIOUS, "previous"),
            (STAGE_PENDING, "pending"),
            (STAGE_CURRENT, "current"),
            ("LIVE", "current"),
        ] {
            assert_eq!(value(stage).await, wanted, "{stage}");
        }
        let current = VersionRef::Current;
        let item = store.read("new/staged", &current).await.unwrap().unwrap();
        assert_eq!(item.expires_at, Some(EXPIRY));
    });
    // More versions than the store keeps are told beforehand.
    let many = World::new();
    for number in 0..12 {
        many.try_set("app/many", &number.to_string(), |options| {
            options.metadata.max_versions = Some(20);
        })
        .unwrap();
    }
    let planned = pollster::block_on(plan(&backend(&many), &backend(&target)));
    assert_eq!(planned[0].losses, [Loss::OldestVersions]);
}

#[test]
fn a_rollback_puts_stages_and_expiry_back() {
    let (source, target, journals) = (staged(), World::new(), World::new());
    target
        .try_set("new/staged", "before", |options| {
            options.stages = vec!["LIVE".into()];
        })
        .unwrap();
    pollster::block_on(async {
        let store = backend(&target);
        let planned = plan(&source, &store).await;
        let mut journal = begin(&journals, &planned).await.unwrap();
        let id = journal.header.id.clone();
        migrate::copy(&mut journal, &source, &store, planned, &|_, _| {})
            .await
            .unwrap();
        let live = VersionRef::Stage("LIVE".into());
        let read = async || store.read("new/staged", &live).await.unwrap().unwrap();
        assert_eq!(read().await.expires_at, Some(EXPIRY));
        let mut journal = Journal::load(&journals.engine, &id).await.unwrap();
        migrate::undo(&mut journal, &store, &|_, _| {})
            .await
            .unwrap();
        let item = read().await;
        assert_eq!(item.payload.value.expose_secret_text(), Some("before"));
        assert_eq!(item.expires_at, None);
    });
}
