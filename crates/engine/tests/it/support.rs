//! An engine with storage in memory, and short words for what it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::Storage;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::VersionInfo;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::keyring::Keyring;
use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::MetadataPatch;
use strongroom_engine::secrets::Together;
use strongroom_engine::secrets::Versions;
use strongroom_engine::secrets::WriteOptions;
use strongroom_engine::secrets::Written;
use strongroom_store::memory::MemoryStorage;

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A store in memory with its keys.
pub(crate) struct World {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) keyring: Keyring,
    pub(crate) barrier: Barrier,
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryStorage::new()))
    }

    pub(crate) fn over(storage: Arc<dyn Storage>) -> Self {
        let keyring = Keyring::generate(&SystemRng, NOW);
        let barrier = Barrier::new([1; 16], &keyring);
        let first = Engine::first_records(&barrier);
        pollster::block_on(storage.commit(first, Durability::Durable)).unwrap();
        let engine = Engine::new(Arc::clone(&storage), barrier.clone());
        Self {
            storage,
            keyring,
            barrier,
            engine,
        }
    }

    pub(crate) fn set(&self, at: &str, value: &str) -> Written {
        self.try_set(at, value, |_| {}).unwrap()
    }

    pub(crate) fn try_set(
        &self,
        at: &str,
        value: &str,
        options: impl FnOnce(&mut WriteOptions),
    ) -> Result<Written, Error> {
        let mut chosen = WriteOptions::new(Provenance::Set);
        options(&mut chosen);
        let (context, at, payload) = (context(), path(at), text(value));
        let write = self.engine.write(&context, &at, &payload, &chosen);
        pollster::block_on(write)
    }

    pub(crate) fn tag(
        &self,
        at: &str,
        patch: impl FnOnce(&mut MetadataPatch),
    ) -> Result<(), Error> {
        let mut chosen = MetadataPatch::default();
        patch(&mut chosen);
        pollster::block_on(self.engine.tag(&context(), &path(at), &chosen))
    }

    pub(crate) fn get(&self, at: &str) -> Result<String, Error> {
        self.get_version(at, None)
    }

    pub(crate) fn get_version(&self, at: &str, version: Option<u64>) -> Result<String, Error> {
        let secret = pollster::block_on(self.engine.read(&context(), &path(at), version))?;
        let value = secret.payload.value.expose_secret_text().unwrap();
        Ok(value.to_owned())
    }

    pub(crate) fn versions(&self, at: &str) -> Vec<VersionInfo> {
        let found = pollster::block_on(self.engine.describe(&path(at))).unwrap();
        found.versions
    }

    pub(crate) fn numbers(&self, at: &str) -> Vec<u64> {
        let versions = self.versions(at);
        versions.iter().map(|version| version.number).collect()
    }

    pub(crate) fn delete(&self, at: &str, versions: &Versions) -> Result<Vec<u64>, Error> {
        pollster::block_on(self.engine.delete(&context(), &path(at), versions))
    }

    pub(crate) fn undelete(&self, at: &str, versions: &Versions) -> Result<Vec<u64>, Error> {
        pollster::block_on(self.engine.undelete(&context(), &path(at), versions))
    }

    pub(crate) fn destroy(&self, at: &str, versions: &Versions) -> Result<Vec<u64>, Error> {
        pollster::block_on(self.engine.destroy(&context(), &path(at), versions))
    }

    pub(crate) fn rollback(&self, at: &str, version: u64) -> Result<Written, Error> {
        pollster::block_on(self.engine.rollback(&context(), &path(at), version))
    }

    pub(crate) fn remove(&self, at: &str) -> Result<(), Error> {
        pollster::block_on(self.engine.remove(&context(), &path(at)))
    }

    /// Several at once; those without a value are removed.
    pub(crate) fn change_together(&self, changes: &[(&str, Option<&str>)]) -> Result<(), Error> {
        let changes = changes.iter().map(|(at, value)| Together {
            path: path(at),
            value: value.map(|value| (text(value), WriteOptions::new(Provenance::Set))),
        });
        let changes: Vec<Together> = changes.collect();
        pollster::block_on(self.engine.change_together(&context(), &changes))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        pollster::block_on(self.engine.rename(&context(), &path(from), &path(to)))
    }

    pub(crate) fn copy(&self, from: &str, to: &str) -> Result<(), Error> {
        pollster::block_on(self.engine.copy(&context(), &path(from), &path(to)))
    }

    /// Names in a folder; those of folders end with `/`.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let entries = pollster::block_on(self.engine.list(&context(), folder)).unwrap();
        let name = |entry: strongroom_engine::secrets::Entry| {
            if entry.is_folder {
                format!("{}/", entry.path)
            } else {
                entry.path
            }
        };
        entries.into_iter().map(name).collect()
    }

    pub(crate) fn list_recursive(&self, folder: &str) -> Vec<String> {
        let context = context();
        let found = self.engine.list_recursive(&context, folder);
        let entries = pollster::block_on(found).unwrap();
        entries.into_iter().map(|entry| entry.path).collect()
    }

    /// Every record there is.
    pub(crate) fn records(&self) -> Vec<Record> {
        let changes = pollster::block_on(self.storage.watch(0, usize::MAX)).unwrap();
        let exists = changes.iter().filter(|change| change.exists);
        exists
            .map(|change| {
                pollster::block_on(self.storage.get(change.id))
                    .unwrap()
                    .unwrap()
            })
            .collect()
    }

    pub(crate) fn assert_sound(&self) {
        let report = pollster::block_on(self.engine.verify()).unwrap();
        assert_eq!(report.problems, []);
    }
}

pub(crate) fn context() -> OpContext {
    OpContext {
        actor: "tester".into(),
        door: "test".into(),
        request_id: "request-1".into(),
        now: NOW,
    }
}

pub(crate) fn path(text: &str) -> SecretPath {
    text.parse().unwrap()
}

pub(crate) fn text(value: &str) -> Payload {
    Payload::detect(SecretValue::copy_from(value.as_bytes()))
}

pub(crate) fn some<const N: usize>(numbers: [u64; N]) -> Versions {
    Versions::Some(BTreeSet::from(numbers))
}

/// The error's code.
#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code()
}
