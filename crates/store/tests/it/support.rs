//! A store in a folder of its own.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use strongroom_core::port::Storage;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::Engine;
use strongroom_store::embedded::EmbeddedStorage;
use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;
use tempfile::TempDir;

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// The keys of one store.
pub(crate) struct Keys {
    pub(crate) header: Header,
    pub(crate) unsealed: Unsealed,
    pub(crate) barrier: Barrier,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let (mut header, unsealed) = Header::create(&SystemRng, NOW);
        let secret = SecretValue::copy_from(b"content of a key file");
        let context = WrapContext {
            rng: &SystemRng,
            now: NOW,
        };
        header
            .add_slot(&unsealed, SlotKind::KeyFile, "", &secret, &context)
            .unwrap();
        let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
        Self {
            header,
            unsealed,
            barrier,
        }
    }
}

/// A folder with a store in it, mode 0700.
pub(crate) struct Place {
    pub(crate) keys: Keys,
    path: PathBuf,
    _folder: TempDir,
}

impl Place {
    /// A folder without a store.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            keys: Keys::new(),
            path: folder.path().into(),
            _folder: folder,
        }
    }

    /// A folder with a new store.
    pub(crate) fn new() -> Self {
        let place = Self::empty();
        place.create().unwrap();
        place
    }

    pub(crate) fn create(&self) -> Result<StoreFile, OpenStoreError> {
        let first = Engine::first_records(&self.keys.barrier);
        StoreFile::create(&self.store(), &self.keys.header, &self.keys.barrier, first)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.path
    }

    /// Another folder, made by the store itself.
    pub(crate) fn move_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// The path of a file of the store: `""`, `-wal`, `-shm`, `.bak`.
    pub(crate) fn file(&self, suffix: &str) -> PathBuf {
        self.folder().join(format!("store.db{suffix}"))
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.file("")
    }

    pub(crate) fn head(&self) -> PathBuf {
        self.folder().join("store.head")
    }

    pub(crate) fn try_open(&self, rollback: Rollback) -> Result<EmbeddedStorage, OpenStoreError> {
        self.try_open_with(Writes::Inline, rollback)
    }

    pub(crate) fn try_open_with(
        &self,
        writes: Writes,
        rollback: Rollback,
    ) -> Result<EmbeddedStorage, OpenStoreError> {
        StoreFile::open(&self.store())?.unlock(&self.keys.barrier, writes, rollback)
    }

    pub(crate) fn open(&self, writes: Writes) -> EmbeddedStorage {
        self.try_open_with(writes, Rollback::Refuse).unwrap()
    }

    /// Puts an older header in the place of the one that is stored.
    pub(crate) fn put_header(&self, header: &Header) {
        let mut bytes = vec![1];
        bytes.extend(postcard::to_stdvec(header).unwrap());
        let connection = rusqlite::Connection::open(self.store()).unwrap();
        connection
            .execute("UPDATE meta SET value = ?1 WHERE key = 'header'", [bytes])
            .unwrap();
    }

    /// All files but the shared memory, which SQLite makes anew.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && !path.to_string_lossy().ends_with("-shm"))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            // To read a store, SQLite makes its log; an empty one is as good as none.
            .filter(|(path, bytes)| !bytes.is_empty() || !path.ends_with("store.db-wal"))
            .collect();
        files.sort();
        Snapshot(files)
    }

    /// Makes the folder hold what a snapshot holds, and nothing else.
    pub(crate) fn put_back(&self, snapshot: &Snapshot) {
        for entry in fs::read_dir(self.folder()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (path, bytes) in &snapshot.0 {
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// Files with their bytes, sorted by path. Shows itself without the bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(pub(crate) Vec<(PathBuf, Vec<u8>)>);

impl Snapshot {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same, with other bytes for one file.
    pub(crate) fn with(&self, path: &Path, bytes: Vec<u8>) -> Self {
        let mut files = self.0.clone();
        files.retain(|(other, _)| other != path);
        files.push((path.into(), bytes));
        files.sort();
        Self(files)
    }

    pub(crate) fn bytes(&self, path: &Path) -> &[u8] {
        let found = self.0.iter().find(|(other, _)| other == path);
        found.map_or(&[], |(_, bytes)| bytes)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.0.iter().map(|(path, bytes)| (path, bytes.len()));
        f.debug_list().entries(files).finish()
    }
}

/// The storage with its folder, as the contract wants it.
pub(crate) fn embedded(writes: Writes) -> (Arc<dyn Storage>, Place) {
    let place = Place::new();
    (Arc::new(place.open(writes)), place)
}
