//! The keys of one store: numbered data keys, and fixed keys for ids, fingerprints and checks.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Rng;
use strongroom_core::time::Timestamp;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::hazmat::Aead;
use crate::hazmat::Mac;
use crate::hazmat::OpenFailed;
use crate::key::Key;
use crate::key::RootKey;

/// A new data key is made by itself after so many seals under one.
pub const SEALS_PER_KEY_MAX: u64 = 1 << 31;

/// All keys of a store. Lives only behind a [`crate::barrier::Barrier`].
pub struct Keyring {
    data: Vec<DataKey>,
    index: Key,
    fingerprint: Key,
    check: Key,
}

struct DataKey {
    id: u32,
    created: Timestamp,
    key: Key,
}

/// A data key as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataKeyInfo {
    /// Its number.
    pub id: u32,
    /// When it was made.
    pub created: Timestamp,
    /// New records are sealed under it.
    pub active: bool,
}

impl Keyring {
    /// Draws all keys of a new store.
    #[must_use]
    pub fn generate(rng: &dyn Rng, now: Timestamp) -> Self {
        Self {
            data: vec![DataKey {
                id: 1,
                created: now,
                key: Key::generate(rng),
            }],
            index: Key::generate(rng),
            fingerprint: Key::generate(rng),
            check: Key::generate(rng),
        }
    }

    /// Adds a data key, which new records are sealed under from now on; its number.
    pub fn rotate(&mut self, rng: &dyn Rng, now: Timestamp) -> u32 {
        let id = self.data.iter().map(|key| key.id).max().unwrap_or(0) + 1;
        self.data.push(DataKey {
            id,
            created: now,
            key: Key::generate(rng),
        });
        id
    }

    /// The number of the data key that new records are sealed under.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.data.last().map_or(0, |key| key.id)
    }

    /// The data keys, oldest first.
    #[must_use]
    pub fn data_keys(&self) -> Vec<DataKeyInfo> {
        let last = self.data.len().saturating_sub(1);
        let info = |(at, key): (usize, &DataKey)| DataKeyInfo {
            id: key.id,
            created: key.created,
            active: at == last,
        };
        self.data.iter().enumerate().map(info).collect()
    }

    /// Seals the keyring under the root key; `aad` binds it to its store and slots.
    #[must_use]
    pub fn seal(&self, root: &RootKey, rng: &dyn Rng, aad: &[u8]) -> Vec<u8> {
        let mut stored = StoredKeyring {
            data: self
                .data
                .iter()
                .map(|key| (key.id, key.created, copy(&key.key)))
                .collect(),
            index: copy(&self.index),
            fingerprint: copy(&self.fingerprint),
            check: copy(&self.check),
        };
        let plain = postcard::to_stdvec(&stored)
            .map(Zeroizing::new)
            .unwrap_or_default();
        stored.wipe();
        let mut sealed = Vec::new();
        Aead::new(&root.0).seal(rng, aad, &plain, &mut sealed);
        sealed
    }

    /// Opens a sealed keyring.
    ///
    /// # Errors
    /// When the root key, the place or the bytes are not the right ones.
    pub fn open(root: &RootKey, sealed: &[u8], aad: &[u8]) -> Result<Self, OpenFailed> {
        let plain = Aead::new(&root.0).open(aad, sealed)?;
        let mut stored: StoredKeyring = postcard::from_bytes(&plain).map_err(|_| OpenFailed)?;
        let key = |bytes: &[u8; 32]| Key::fill_with(|page| page.copy_from_slice(bytes));
        let keyring = Self {
            data: stored
                .data
                .iter()
                .map(|(id, created, bytes)| DataKey {
                    id: *id,
                    created: *created,
                    key: key(bytes),
                })
                .collect(),
            index: key(&stored.index),
            fingerprint: key(&stored.fingerprint),
            check: key(&stored.check),
        };
        stored.wipe();
        if keyring.data.is_empty() {
            Err(OpenFailed)
        } else {
            Ok(keyring)
        }
    }

    pub(crate) fn copy(&self) -> Self {
        let copy = |key: &DataKey| DataKey {
            id: key.id,
            created: key.created,
            key: key.key.copy(),
        };
        Self {
            data: self.data.iter().map(copy).collect(),
            index: self.index.copy(),
            fingerprint: self.fingerprint.copy(),
            check: self.check.copy(),
        }
    }

    pub(crate) fn ciphers(&self) -> Vec<(u32, Aead)> {
        self.data
            .iter()
            .map(|key| (key.id, Aead::new(&key.key)))
            .collect()
    }

    pub(crate) fn macs(&self) -> (Mac, Mac, Mac) {
        (
            Mac::new(&self.index),
            Mac::new(&self.fingerprint),
            Mac::new(&self.check),
        )
    }
}

#[derive(Serialize, Deserialize)]
struct StoredKeyring {
    data: Vec<(u32, Timestamp, [u8; 32])>,
    index: [u8; 32],
    fingerprint: [u8; 32],
    check: [u8; 32],
}

impl StoredKeyring {
    fn wipe(&mut self) {
        for (_, _, key) in &mut self.data {
            key.zeroize();
        }
        self.index.zeroize();
        self.fingerprint.zeroize();
        self.check.zeroize();
    }
}

fn copy(key: &Key) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.bytes());
    bytes
}
