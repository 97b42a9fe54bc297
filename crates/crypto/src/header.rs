//! The header of a store: who it is, its key slots and its sealed keyring.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;

use crate::hazmat;
use crate::key::RootKey;
use crate::keyring::Keyring;
use crate::slot::KeySlot;
use crate::slot::SlotKind;
use crate::slot::UnwrapError;
use crate::slot::WrapContext;

/// Most key slots of one store.
pub const SLOTS_MAX: usize = 32;

/// Everything that is needed, with the right key, to open a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    store_id: [u8; 16],
    created: Timestamp,
    generation: u64,
    slots: Vec<KeySlot>,
    keyring: Vec<u8>,
}

/// An opened store's keys.
pub struct Unsealed {
    /// Wraps into slots; seals the keyring.
    pub root: RootKey,
    /// The keys.
    pub keyring: Keyring,
}

impl Unsealed {
    /// The same keys once more, in pages of their own.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            root: self.root.copy(),
            keyring: self.keyring.copy(),
        }
    }
}

/// Why a header does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// There is no such slot.
    #[error("there is no such key slot")]
    NoSlot,
    /// The key does not fit.
    #[error(transparent)]
    Slot(#[from] UnwrapError),
    /// The slot opened, but the keyring below it did not.
    #[error("the key fits, but the store's keyring or its list of key slots was changed")]
    Keyring,
}

/// Why a slot cannot be added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// At the limit.
    #[error("a store has at most {SLOTS_MAX} key slots")]
    TooMany,
    /// There is no such slot.
    #[error("there is no key slot with that number")]
    NoSlot,
    /// Nobody could open the store any more.
    #[error("the last key slot cannot be removed: nobody could open the store")]
    Last,
    /// Wrapping failed.
    #[error(transparent)]
    Wrap(#[from] UnwrapError),
}

impl Header {
    /// A new store without slots: add one before it is written.
    #[must_use]
    pub fn create(rng: &dyn Rng, now: Timestamp) -> (Self, Unsealed) {
        let mut store_id = [0; 16];
        rng.fill(&mut store_id);
        let unsealed = Unsealed {
            root: RootKey::generate(rng),
            keyring: Keyring::generate(rng, now),
        };
        let mut header = Self {
            store_id,
            created: now,
            generation: 0,
            slots: Vec::new(),
            keyring: Vec::new(),
        };
        header.reseal(&unsealed, rng);
        (header, unsealed)
    }

    /// The store's id.
    #[must_use]
    pub fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    /// When the store was made.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Grows with every change of the header.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The key slots.
    #[must_use]
    pub fn slots(&self) -> &[KeySlot] {
        &self.slots
    }

    /// Opens the store with one slot.
    ///
    /// # Errors
    /// When the key does not fit or the header was changed.
    pub fn unseal(&self, slot_id: u32, secret: &SecretValue) -> Result<Unsealed, UnsealError> {
        let slot = self
            .slots
            .iter()
            .find(|slot| slot.id == slot_id)
            .ok_or(UnsealError::NoSlot)?;
        let root = slot.unwrap(&self.store_id, secret)?;
        let keyring = Keyring::open(&root, &self.keyring, &self.associated_data())
            .map_err(|_| UnsealError::Keyring)?;
        Ok(Unsealed { root, keyring })
    }

    /// Opens the keyring as it is now with a root key that was unwrapped before: after somebody
    /// else has changed the slots or made a new data key.
    ///
    /// # Errors
    /// When the root key is another one or the header was changed.
    pub fn unseal_with_root(&self, root: &RootKey) -> Result<Unsealed, UnsealError> {
        let keyring = Keyring::open(root, &self.keyring, &self.associated_data())
            .map_err(|_| UnsealError::Keyring)?;
        Ok(Unsealed {
            root: root.copy(),
            keyring,
        })
    }

    /// Adds a slot that opens with `secret`; its number.
    ///
    /// # Errors
    /// At the limit, or when the secret is no valid recovery key.
    pub fn add_slot(
        &mut self,
        unsealed: &Unsealed,
        kind: SlotKind,
        label: &str,
        secret: &SecretValue,
        context: &WrapContext<'_>,
    ) -> Result<u32, SlotError> {
        if self.slots.len() >= SLOTS_MAX {
            return Err(SlotError::TooMany);
        }
        let id = self.slots.iter().map(|slot| slot.id).max().unwrap_or(0) + 1;
        let slot = KeySlot::wrap(
            &unsealed.root,
            &self.store_id,
            id,
            kind,
            label,
            secret,
            context,
        )?;
        self.slots.push(slot);
        self.reseal(unsealed, context.rng);
        Ok(id)
    }

    /// Removes a slot.
    ///
    /// # Errors
    /// When there is none, or it is the last.
    pub fn remove_slot(
        &mut self,
        unsealed: &Unsealed,
        slot_id: u32,
        rng: &dyn Rng,
    ) -> Result<(), SlotError> {
        let at = self
            .slots
            .iter()
            .position(|slot| slot.id == slot_id)
            .ok_or(SlotError::NoSlot)?;
        if self.slots.len() == 1 {
            return Err(SlotError::Last);
        }
        self.slots.remove(at);
        self.reseal(unsealed, rng);
        Ok(())
    }

    /// Seals the keyring anew, after the keyring or the slots have changed.
    pub fn reseal(&mut self, unsealed: &Unsealed, rng: &dyn Rng) {
        self.generation += 1;
        self.keyring = unsealed
            .keyring
            .seal(&unsealed.root, rng, &self.associated_data());
    }

    /// Binds the keyring to the store, the generation and the very list of slots.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = b"strongroom keyring 1".to_vec();
        data.extend_from_slice(&self.store_id);
        data.extend_from_slice(&self.created.as_micros().to_le_bytes());
        data.extend_from_slice(&self.generation.to_le_bytes());
        let slots = postcard::to_stdvec(&self.slots).unwrap_or_default();
        data.extend_from_slice(&hazmat::digest(&slots));
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hazmat::SystemRng;

    fn context() -> WrapContext<'static> {
        WrapContext {
            rng: &SystemRng,
            now: Timestamp::from_micros(5),
        }
    }

    fn secret(text: &str) -> SecretValue {
        SecretValue::copy_from(text.as_bytes())
    }

    #[test]
    fn any_slot_opens_and_removed_ones_do_not() {
        let (mut header, unsealed) = Header::create(&SystemRng, Timestamp::from_micros(0));
        let one = header.add_slot(&unsealed, SlotKind::KeyFile, "", &secret("one"), &context());
        assert_eq!(one, Ok(1));
        let removed = header.remove_slot(&unsealed, 1, &SystemRng);
        assert_eq!(removed, Err(SlotError::Last));
        let old = header.clone();
        header
            .add_slot(&unsealed, SlotKind::KeyFile, "", &secret("two"), &context())
            .unwrap();
        assert!(header.unseal(1, &secret("one")).is_ok());
        assert!(header.unseal(2, &secret("two")).is_ok());
        header.remove_slot(&unsealed, 1, &SystemRng).unwrap();
        assert_eq!(
            header.unseal(1, &secret("one")).err(),
            Some(UnsealError::NoSlot)
        );
        // A slot that was removed cannot be put back by editing the file.
        header.slots.push(old.slots[0].clone());
        assert_eq!(
            header.unseal(1, &secret("one")).err(),
            Some(UnsealError::Keyring)
        );
    }

    /// All values of every byte of what is stored of a header: nothing opens but the header.
    #[test]
    fn a_changed_header_does_not_open() {
        let (mut header, unsealed) = Header::create(&SystemRng, Timestamp::from_micros(0));
        let key = secret("key");
        header
            .add_slot(&unsealed, SlotKind::KeyFile, "label", &key, &context())
            .unwrap();
        let bytes = postcard::to_stdvec(&header).unwrap();
        for at in 0..bytes.len() {
            for change in [1_u8, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let Ok(changed) = postcard::from_bytes::<Header>(&changed) else {
                    continue;
                };
                assert!(
                    changed.unseal(1, &key).is_err(),
                    "byte {at} xor {change:#x}"
                );
            }
        }
        assert!(header.unseal(1, &key).is_ok());
    }

    #[test]
    fn slots_have_a_bound() {
        let (mut header, unsealed) = Header::create(&SystemRng, Timestamp::from_micros(0));
        let mut add =
            || header.add_slot(&unsealed, SlotKind::KeyFile, "", &secret("key"), &context());
        for number in 1..=SLOTS_MAX {
            assert_eq!(add(), Ok(u32::try_from(number).unwrap()));
        }
        assert_eq!(add(), Err(SlotError::TooMany));
        assert_eq!(header.slots().len(), SLOTS_MAX);
        assert_eq!(
            header.remove_slot(&unsealed, 99, &SystemRng),
            Err(SlotError::NoSlot)
        );
    }
}
