//! A project and a home of its own for a test.

use std::path::PathBuf;
use std::sync::Arc;

use strongroom_chain::keyfile;
use strongroom_core::port::Storage;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::kdf::KdfCost;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::ledger::Wanted;
use strongroom_engine::secrets::WriteOptions;
use strongroom_engine::state::State;
use strongroom_sdk::Builder;
use strongroom_sdk::Secrets;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;
use strongroom_store_postgres::Database;
use strongroom_store_postgres::Options;
use tempfile::TempDir;

pub(crate) struct Place {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new(manifest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self {
            variables: vec![("HOME".to_owned(), dir.path().display().to_string())],
            dir,
        };
        place.write(
            "strongroom.toml",
            &format!("[project]\nname = \"shop\"\n{manifest}"),
        );
        place
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A builder that sees nothing but this place.
    pub(crate) fn builder(&self) -> Builder {
        Secrets::builder()
            .manifest(self.path("strongroom.toml"))
            .environment(self.variables.clone())
    }

    /// A store with a key file, where the library looks for it.
    pub(crate) fn store(&self) -> Store {
        let key_path = self.path(".config/strongroom/store.key");
        let key = keyfile::create(&key_path, &SystemRng).unwrap();
        self.store_with(SlotKind::KeyFile, &key)
    }

    /// A store that only a passphrase opens.
    pub(crate) fn store_with_passphrase(&self, passphrase: &str) -> Store {
        let kind = SlotKind::Passphrase {
            cost: KdfCost {
                memory_kib: 64,
                passes: 1,
                lanes: 1,
            },
            salt: [7; 16],
        };
        self.store_with(kind, &SecretValue::copy_from(passphrase.as_bytes()))
    }

    /// A store in a database, with a key file where the library looks for it.
    pub(crate) fn store_in(&self, url: &str) -> Store {
        let key_path = self.path(".config/strongroom/store.key");
        let key = keyfile::create(&key_path, &SystemRng).unwrap();
        let (header, barrier) = opened_by(SlotKind::KeyFile, &key);
        let url = url.parse().unwrap();
        let database = Database::connect(&url, Options::default()).unwrap();
        let first = Engine::first_records(&barrier);
        database.create(&header, &first).unwrap();
        Store::new(database.open(), barrier)
    }

    fn store_with(&self, kind: SlotKind, key: &SecretValue) -> Store {
        let path = self.path(".local/share/strongroom/store.db");
        let (header, barrier) = opened_by(kind, key);
        let first = Engine::first_records(&barrier);
        let file = StoreFile::create(&path, &header, &barrier, first).unwrap();
        let storage = file
            .unlock(&barrier, Writes::Inline, Rollback::Refuse)
            .unwrap();
        Store::new(Arc::new(storage), barrier)
    }
}

/// A header with one slot.
fn opened_by(kind: SlotKind, key: &SecretValue) -> (Header, Barrier) {
    let now = Timestamp::from_micros(1_000_000);
    let (mut header, unsealed) = Header::create(&SystemRng, now);
    let context = WrapContext {
        rng: &SystemRng,
        now,
    };
    header
        .add_slot(&unsealed, kind, "of a test", key, &context)
        .unwrap();
    let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
    (header, barrier)
}

pub(crate) struct Store(Engine, Ledger);

impl Store {
    fn new(storage: Arc<dyn Storage>, barrier: Barrier) -> Self {
        let state = State::new(Arc::clone(&storage), barrier.clone());
        Self(Engine::new(storage, barrier), Ledger::new(state))
    }

    /// Channel, secret, source and version of each delivery, the newest first.
    pub(crate) async fn deliveries(&self) -> Vec<String> {
        let newest = self.1.newest(&Wanted::default(), 100).await.unwrap();
        let rows = newest.iter().flat_map(|(_, one)| {
            let items = one.items.iter();
            items.map(|(given, _)| {
                let version = given.version.as_deref().unwrap_or("-");
                let (channel, source) = (one.channel.word(), &given.source);
                format!("{channel} {} {source} v{version} {}", given.secret, one.who)
            })
        });
        rows.collect()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0
    }

    pub(crate) async fn set(&self, path: &str, value: &str) {
        let context = OpContext {
            actor: "a test".to_owned(),
            door: "test".to_owned(),
            request_id: "1".to_owned(),
            now: Timestamp::from_micros(2_000_000),
        };
        let payload = Payload::detect(SecretValue::copy_from(value.as_bytes()));
        let options = WriteOptions::new(Provenance::Set);
        let path = path.parse().unwrap();
        self.0
            .write(&context, &path, &payload, &options)
            .await
            .unwrap();
    }
}

/// What a value is, for a comparison.
pub(crate) fn text(value: &SecretValue) -> &str {
    value.expose_secret_text().unwrap()
}
