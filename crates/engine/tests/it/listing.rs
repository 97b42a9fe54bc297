//! A target whose listing is asked instead of every secret, and is behind by some minutes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Expected;
use strongroom_core::port::Item;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_engine::migrate;
use strongroom_engine::migrate::Journal;
use strongroom_engine::migrate::Options;
use strongroom_engine::migrate::Planned;
use strongroom_engine::migrate::State;
use strongroom_engine::migrate::Step;
use strongroom_engine::migrate::Wish;

use crate::migrate::backend;
use crate::migrate::begin;
use crate::support::World;

/// Where a write to the target fails, as when the network does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Nothing,
    Request,
    Answer,
}

/// Names versions by the token they were written with.
struct Target {
    held: Mutex<BTreeMap<String, Item>>,
    listed: BTreeSet<String>,
    read: Mutex<Vec<String>>,
    lost: Mutex<Lost>,
}

impl Target {
    fn new(listed: &[&str]) -> Self {
        Self {
            held: Mutex::default(),
            listed: listed.iter().map(ToString::to_string).collect(),
            read: Mutex::default(),
            lost: Mutex::new(Lost::Nothing),
        }
    }

    /// Somebody else writes.
    fn hold(&self, address: &str, value: &str) {
        let item = item(
            Payload::detect(SecretValue::copy_from(value.as_bytes())),
            "somebody's",
        );
        self.held.lock().unwrap().insert(address.to_owned(), item);
    }

    fn value(&self, address: &str) -> Option<String> {
        let held = self.held.lock().unwrap();
        let value = held.get(address).map(|item| &item.payload.value);
        // EXPOSE: a test compares what is there.
        value.map(|value| String::from_utf8(value.expose_secret().to_vec()).unwrap())
    }

    fn error(&self, kind: BackendErrorKind) -> BackendError {
        BackendError::new(kind, self.describe(), "no")
    }
}

fn item(payload: Payload, version: &str) -> Item {
    Item {
        payload,
        version: Some(version.to_owned()),
        stages: Vec::new(),
        created: None,
        expires_at: None,
    }
}

impl Backend for Target {
    fn scheme(&self) -> &'static str {
        "listed"
    }

    fn describe(&self) -> String {
        "listed".into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            list: true,
            cas: true,
            delete: true,
            names_by_token: true,
            ..Capabilities::default()
        }
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async { Ok(self.listed.iter().cloned().collect()) })
    }

    fn listed<'a>(
        &'a self,
        _addresses: &'a [String],
    ) -> BoxFuture<'a, Result<Option<BTreeSet<String>>, BackendError>> {
        Box::pin(async { Ok(Some(self.listed.clone())) })
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        _version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        self.read.lock().unwrap().push(address.to_owned());
        Box::pin(async move { Ok(self.held.lock().unwrap().get(address).cloned()) })
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let lost = *self.lost.lock().unwrap();
            if lost == Lost::Request {
                return Err(self.error(BackendErrorKind::Unreachable));
            }
            let mut held = self.held.lock().unwrap();
            if value.expected == Expected::Absent && held.contains_key(address) {
                return Err(self.error(BackendErrorKind::Conflict));
            }
            let item = item(value.payload.clone(), value.token.as_deref().unwrap());
            let version = item.version.clone();
            held.insert(address.to_owned(), item);
            match lost {
                Lost::Answer => Err(self.error(BackendErrorKind::Unreachable)),
                _ => Ok(Stored {
                    version,
                    is_new: true,
                }),
            }
        })
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        _removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move { Ok(self.held.lock().unwrap().remove(address).is_some()) })
    }
}

fn source() -> World {
    let world = World::new();
    for name in ["a", "b", "c", "d"] {
        world.set(name, &format!("value of {name}"));
    }
    world
}

async fn plan(source: &World, target: &Target) -> Vec<Planned> {
    let same = |name: &str| Wish {
        from: name.to_owned(),
        to: name.to_owned(),
    };
    let wishes = ["a", "b", "c", "d"].map(same).to_vec();
    let options = Options {
        overwrite: false,
        with_history: false,
    };
    migrate::plan(&backend(source), target, wishes, options, &|_, _| {})
        .await
        .unwrap()
}

fn states(journal: &Journal) -> Vec<&'static str> {
    journal
        .entries
        .iter()
        .map(|entry| entry.state.word())
        .collect()
}

#[test]
fn what_a_late_listing_hides_is_neither_overwritten_nor_taken_for_ours() {
    let (source, target, journals) = (source(), Target::new(&["d"]), World::new());
    target.hold("b", "value of b");
    target.hold("c", "another");
    target.hold("d", "value of d");
    pollster::block_on(async {
        let planned = plan(&source, &target).await;
        let steps = planned.iter().map(|planned| planned.step.clone());
        let (create, unchanged) = (Step::Create, Step::Unchanged);
        let wanted = [create.clone(), create.clone(), create, unchanged];
        assert_eq!(steps.collect::<Vec<_>>(), wanted);
        assert_eq!(*target.read.lock().unwrap(), ["d"]);
        let mut journal = begin(&journals, &planned).await.unwrap();
        let from = backend(&source);
        migrate::copy(&mut journal, &from, &target, planned, &|_, _| {})
            .await
            .unwrap();
        assert_eq!(
            states(&journal),
            ["migrated", "unchanged", "failed", "unchanged"]
        );
        migrate::undo(&mut journal, &target, &|_, _| {})
            .await
            .unwrap();
    });
    assert_eq!(target.value("a"), None);
    assert_eq!(target.value("b").as_deref(), Some("value of b"));
    assert_eq!(target.value("c").as_deref(), Some("another"));
    assert_eq!(target.value("d").as_deref(), Some("value of d"));
}

#[test]
fn a_write_of_ours_is_told_from_somebody_elses_when_a_migration_goes_on() {
    for lost in [Lost::Request, Lost::Answer] {
        let (source, target, journals) = (source(), Target::new(&[]), World::new());
        pollster::block_on(async {
            let planned = plan(&source, &target).await;
            let mut journal = begin(&journals, &planned).await.unwrap();
            *target.lost.lock().unwrap() = lost;
            let from = backend(&source);
            let ended = migrate::copy(&mut journal, &from, &target, planned, &|_, _| {}).await;
            assert!(ended.is_err());
            *target.lost.lock().unwrap() = Lost::Nothing;
            let is_ours = target.value("a").is_some();
            assert_eq!(is_ours, lost == Lost::Answer);
            if !is_ours {
                target.hold("a", "value of a");
            }
            let mut journal = Journal::load(&journals.engine, "").await.unwrap();
            journal.take_over().await.unwrap();
            migrate::copy(&mut journal, &from, &target, Vec::new(), &|_, _| {})
                .await
                .unwrap();
            let first = match is_ours {
                true => State::Verified,
                false => State::Unchanged,
            };
            assert_eq!(journal.entries[0].state, first);
            assert_eq!(states(&journal)[1..], ["migrated"; 3]);
        });
    }
}
