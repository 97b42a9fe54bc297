//! Key slots: each wraps the root key under something a person or machine has. Any one opens.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;

use crate::hazmat;
use crate::hazmat::Aead;
use crate::kdf;
use crate::kdf::KdfCost;
use crate::key::Key;
use crate::key::RootKey;
use crate::recovery;

/// How a slot is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotKind {
    /// By a passphrase, stretched with Argon2id.
    Passphrase {
        /// What stretching costs.
        cost: KdfCost,
        /// Salt of the stretching.
        salt: [u8; 16],
    },
    /// By a file that holds 256 random bits.
    KeyFile,
    /// By an entry of the user's keyring that holds 256 random bits.
    OsKeyring {
        /// Which keyring: `secret-service` or `keyutils`.
        service: String,
    },
    /// By the printed recovery kit.
    Recovery,
    /// By enough unseal shares of a random key.
    Shamir {
        /// Shares that were given out.
        shares: u8,
        /// Shares that are needed.
        threshold: u8,
    },
}

impl SlotKind {
    /// The word users know the kind by.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => "passphrase",
            Self::KeyFile => "key-file",
            Self::OsKeyring { .. } => "keyring",
            Self::Recovery => "recovery",
            Self::Shamir { .. } => "shares",
        }
    }
}

/// One way to open a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySlot {
    /// Number that the user names it by.
    pub id: u32,
    /// How it is opened.
    pub kind: SlotKind,
    /// The user's own words for it.
    pub label: String,
    /// When it was added.
    pub created: Timestamp,
    wrapped: Vec<u8>,
}

/// Why a slot does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The key does not fit this slot.
    #[error("the key does not open this slot")]
    WrongKey,
    /// A recovery key with a typing error.
    #[error(transparent)]
    Mistyped(#[from] recovery::RecoveryKeyMistyped),
    /// The slot's own data make no sense.
    #[error(transparent)]
    Cost(#[from] kdf::CostOutOfBounds),
}

impl KeySlot {
    /// Wraps the root key under `secret`.
    ///
    /// # Errors
    /// When the secret is no valid recovery key, or the cost out of bounds.
    pub fn wrap(
        root: &RootKey,
        store_id: &[u8; 16],
        id: u32,
        kind: SlotKind,
        label: &str,
        secret: &SecretValue,
        context: &WrapContext<'_>,
    ) -> Result<Self, UnwrapError> {
        let key = derive(&kind, store_id, secret)?;
        let mut slot = Self {
            id,
            kind,
            label: label.into(),
            created: context.now,
            wrapped: Vec::new(),
        };
        let mut wrapped = Vec::new();
        let aad = slot.associated_data(store_id);
        Aead::new(&key).seal(context.rng, &aad, root.0.bytes(), &mut wrapped);
        slot.wrapped = wrapped;
        Ok(slot)
    }

    /// Opens the slot.
    ///
    /// # Errors
    /// When the secret does not fit.
    pub fn unwrap(
        &self,
        store_id: &[u8; 16],
        secret: &SecretValue,
    ) -> Result<RootKey, UnwrapError> {
        let key = derive(&self.kind, store_id, secret)?;
        let bytes = Aead::new(&key)
            .open(&self.associated_data(store_id), &self.wrapped)
            .map_err(|_| UnwrapError::WrongKey)?;
        Key::from_slice(&bytes)
            .map(RootKey)
            .ok_or(UnwrapError::WrongKey)
    }

    /// Everything about the slot but the wrapped key, so that no part can be exchanged.
    fn associated_data(&self, store_id: &[u8; 16]) -> Vec<u8> {
        let mut data = b"strongroom slot 1".to_vec();
        data.extend_from_slice(store_id);
        data.extend_from_slice(&self.id.to_le_bytes());
        data.extend_from_slice(self.kind.word().as_bytes());
        match &self.kind {
            SlotKind::Passphrase { cost, salt } => {
                for number in [cost.memory_kib, cost.passes, cost.lanes] {
                    data.extend_from_slice(&number.to_le_bytes());
                }
                data.extend_from_slice(salt);
            }
            SlotKind::Shamir { shares, threshold } => data.extend([*shares, *threshold]),
            SlotKind::KeyFile | SlotKind::OsKeyring { .. } | SlotKind::Recovery => {}
        }
        data
    }
}

/// What wrapping needs from outside.
#[derive(Clone, Copy)]
pub struct WrapContext<'a> {
    /// Randomness.
    pub rng: &'a dyn Rng,
    /// The time.
    pub now: Timestamp,
}

fn derive(kind: &SlotKind, store_id: &[u8; 16], secret: &SecretValue) -> Result<Key, UnwrapError> {
    let purpose = match kind {
        SlotKind::Passphrase { cost, salt } => {
            return Ok(kdf::derive_from_passphrase(secret, salt, *cost)?);
        }
        SlotKind::Recovery => {
            let material = recovery::parse_recovery_key(secret)?;
            return Ok(hazmat::derive_key(
                &material,
                store_id,
                "strongroom slot recovery 1",
            ));
        }
        SlotKind::KeyFile => "strongroom slot key-file 1",
        SlotKind::OsKeyring { .. } => "strongroom slot keyring 1",
        SlotKind::Shamir { .. } => "strongroom slot shares 1",
    };
    // EXPOSE: the key file's or keyring's content goes into the key derivation only.
    Ok(hazmat::derive_key(
        secret.expose_secret(),
        store_id,
        purpose,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hazmat::SystemRng;

    fn kinds() -> Vec<(SlotKind, SecretValue, SecretValue)> {
        let cost = KdfCost {
            memory_kib: 64,
            passes: 1,
            lanes: 1,
        };
        let text = |text: &str| SecretValue::copy_from(text.as_bytes());
        vec![
            (
                SlotKind::Passphrase {
                    cost,
                    salt: [7; 16],
                },
                text("right"),
                text("wrong"),
            ),
            (
                SlotKind::KeyFile,
                text("file content"),
                text("other content"),
            ),
            (
                SlotKind::OsKeyring {
                    service: "keyutils".into(),
                },
                text("entry"),
                text("other"),
            ),
            (
                SlotKind::Shamir {
                    shares: 5,
                    threshold: 3,
                },
                text("combined shares"),
                text("others"),
            ),
            (
                SlotKind::Recovery,
                recovery::generate_recovery_key(&SystemRng),
                recovery::generate_recovery_key(&SystemRng),
            ),
        ]
    }

    #[test]
    fn every_kind_opens_with_its_key_only_and_only_for_its_store() {
        let context = WrapContext {
            rng: &SystemRng,
            now: Timestamp::from_micros(0),
        };
        for (kind, right, wrong) in kinds() {
            let root = RootKey::generate(&SystemRng);
            let slot =
                KeySlot::wrap(&root, &[1; 16], 3, kind.clone(), "mine", &right, &context).unwrap();
            let opened = slot.unwrap(&[1; 16], &right).unwrap();
            assert_eq!(opened.0.bytes(), root.0.bytes());
            assert_eq!(
                slot.unwrap(&[1; 16], &wrong).unwrap_err(),
                UnwrapError::WrongKey
            );
            assert_eq!(
                slot.unwrap(&[2; 16], &right).unwrap_err(),
                UnwrapError::WrongKey
            );
            let moved = KeySlot { id: 4, ..slot };
            assert_eq!(
                moved.unwrap(&[1; 16], &right).unwrap_err(),
                UnwrapError::WrongKey
            );
        }
    }
}
