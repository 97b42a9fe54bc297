//! A store full of secrets, and a reader that accepts nothing but the truth or an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::Provenance;
use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::WriteOptions;
use strongroom_store::embedded::Writes;

use crate::support::NOW;
use crate::support::Place;

/// A place with secrets in it, and what they are.
pub(crate) struct Vault {
    pub(crate) place: Place,
    /// Path and values, oldest version first.
    pub(crate) secrets: BTreeMap<SecretPath, Vec<Vec<u8>>>,
}

pub(crate) fn context() -> OpContext {
    OpContext {
        actor: "tester".into(),
        door: "test".into(),
        request_id: "1".into(),
        now: NOW,
    }
}

pub(crate) fn write(engine: &Engine, path: &SecretPath, value: &[u8]) -> u64 {
    let payload = Payload::detect(SecretValue::copy_from(value));
    let options = WriteOptions::new(Provenance::Set);
    let written = pollster::block_on(engine.write(&context(), path, &payload, &options));
    written.unwrap().version
}

pub(crate) fn read(
    engine: &Engine,
    path: &SecretPath,
    version: Option<u64>,
) -> Result<Vec<u8>, Error> {
    let secret = pollster::block_on(engine.read(&context(), path, version))?;
    Ok(secret.payload.value.expose_secret().to_vec())
}

/// Folds the log into the store.
pub(crate) fn fold_log(place: &Place) {
    let connection = rusqlite::Connection::open(place.store()).unwrap();
    let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
    connection.query_row(fold, [], |_| Ok(())).unwrap();
}

impl Vault {
    /// `count` secrets in a few folders, each with `versions` versions.
    pub(crate) fn filled(count: usize, versions: usize) -> Self {
        let place = Place::new();
        let engine = Engine::new(
            Arc::new(place.open(Writes::Inline)),
            place.keys.barrier.clone(),
        );
        let mut secrets: BTreeMap<SecretPath, Vec<Vec<u8>>> = BTreeMap::new();
        for version in 0..versions {
            // Some of it lies in the store, some in its log.
            if version + 1 == versions {
                fold_log(&place);
            }
            for number in 0..count {
                let folder = ["", "shop/", "shop/production/", "mail/"][number % 4];
                let path: SecretPath = format!("{folder}name-{number}").parse().unwrap();
                let length = 8 + (number * 97 + version * 31) % 300;
                let mut value = format!("value {number} v{version} ").into_bytes();
                value.resize(
                    value.len() + length,
                    b'a' + u8::try_from(number % 26).unwrap(),
                );
                write(&engine, &path, &value);
                secrets.entry(path).or_default().push(value);
            }
        }
        Self { place, secrets }
    }

    /// Another version of the first few secrets.
    pub(crate) fn write_newer(&mut self, count: usize) {
        let engine = self.engine(Arc::new(self.place.open(Writes::Inline)));
        for (path, values) in self.secrets.iter_mut().take(count) {
            let value = format!("newer value of {path}").into_bytes();
            write(&engine, path, &value);
            values.push(value);
        }
    }

    pub(crate) fn engine(&self, storage: Arc<dyn Storage>) -> Engine {
        Engine::new(storage, self.place.keys.barrier.clone())
    }

    /// Reads everything in every way. What is read is right, or there is a clear error; an
    /// acknowledged secret is never just not there. The number of errors.
    pub(crate) fn assert_truth_or_error(&self, engine: &Engine, what: &str) -> usize {
        let mut errors = 0;
        let mut note = |error: &Error, path: &str| {
            errors += 1;
            let is_clear = matches!(
                error,
                Error::Damaged { .. }
                    | Error::Storage(StorageError::Damaged { .. } | StorageError::Io { .. })
            );
            assert!(is_clear, "{what}: {path}: {error:?}");
        };
        for (path, values) in &self.secrets {
            let newest = read(engine, path, None);
            match &newest {
                Ok(value) => assert!(value == values.last().unwrap(), "{what}: {path} is wrong"),
                Err(error) => note(error, path.as_str()),
            }
            for (number, expected) in (1..).zip(values) {
                match read(engine, path, Some(number)) {
                    Ok(value) => assert!(value == *expected, "{what}: {path} v{number} is wrong"),
                    Err(error) => note(&error, path.as_str()),
                }
            }
        }
        let paths: Vec<SecretPath> = self.secrets.keys().cloned().collect();
        match pollster::block_on(engine.read_many(&context(), &paths)) {
            Err(error) => note(&error, "read_many"),
            Ok(found) => {
                for (found, (path, values)) in found.iter().zip(&self.secrets) {
                    match found {
                        Ok(Some(secret)) => {
                            let value = secret.payload.value.expose_secret();
                            assert!(value == values.last().unwrap(), "{what}: {path} is wrong");
                        }
                        Ok(None) => panic!("{what}: {path} is not there, without an error"),
                        Err(error) => note(error, path.as_str()),
                    }
                }
            }
        }
        match pollster::block_on(engine.list_recursive(&context(), "")) {
            Err(error) => note(&error, "list"),
            Ok(entries) => {
                let listed: Vec<(&str, u64)> = entries
                    .iter()
                    .map(|entry| (entry.path.as_str(), entry.version))
                    .collect();
                let expected: Vec<(&str, u64)> = self
                    .secrets
                    .iter()
                    .map(|(path, values)| (path.as_str(), values.len() as u64))
                    .collect();
                assert_eq!(listed, expected, "{what}");
            }
        }
        errors
    }
}

/// Lets nothing be written, so that what was damaged stays as it is.
pub(crate) struct ReadOnly(pub(crate) Arc<dyn Storage>);

impl Storage for ReadOnly {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        self.0.get(id)
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        self.0.get_many(ids)
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.0.list(parent, after, limit)
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.0.due(before, limit)
    }

    fn commit(
        &self,
        _batch: Vec<BatchItem>,
        _durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        let detail = "the test lets nothing be written".into();
        Box::pin(std::future::ready(Err(StorageError::ReadOnly { detail })))
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        self.0.watch(after, limit)
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        self.0.revision()
    }
}
