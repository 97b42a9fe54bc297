//! The barrier: everything that passes to storage is sealed here and bound to its place.

use std::sync::Arc;

use strongroom_core::port::RecordId;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use crate::hazmat::Aead;
use crate::hazmat::Mac;
use crate::hazmat::NONCE_BYTES;
pub use crate::hazmat::OpenFailed;
use crate::hazmat::SystemRng;
use crate::hazmat::TAG_BYTES;
use crate::keyring::Keyring;

/// First byte of every sealed field.
const FORMAT: u8 = 1;
/// Format byte and key id.
const HEADER_BYTES: usize = 1 + 4;
/// So many data keys may be made while a store is open before the next of them is not believed.
const LATER_KEYS_MAX: u32 = 64;
/// What sealing adds to a plaintext.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

/// Which field of a record a ciphertext belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The name and what a listing shows.
    Name,
    /// The value.
    Value,
    /// The head file beside the store.
    Head,
}

/// Seals and opens the records of one unsealed store.
#[derive(Clone)]
pub struct Barrier {
    inner: Arc<Inner>,
    space: Option<[u8; 16]>,
}

/// Marks the kind of a record that lies in a space of its own.
const IN_SPACE: u8 = 0x80;

struct Inner {
    store_id: [u8; 16],
    ciphers: Vec<(u32, Aead)>,
    index: Mac,
    fingerprint: Mac,
    check: Mac,
    rng: Arc<dyn Rng>,
}

impl Barrier {
    /// A barrier with the keys of a keyring.
    #[must_use]
    pub fn new(store_id: [u8; 16], keyring: &Keyring) -> Self {
        Self::with_rng(store_id, keyring, Arc::new(SystemRng))
    }

    /// A barrier that draws its nonces from `rng`.
    #[must_use]
    pub fn with_rng(store_id: [u8; 16], keyring: &Keyring, rng: Arc<dyn Rng>) -> Self {
        let (index, fingerprint, check) = keyring.macs();
        let ciphers = keyring.ciphers();
        let inner = Arc::new(Inner {
            store_id,
            ciphers,
            index,
            fingerprint,
            check,
            rng,
        });
        Self { inner, space: None }
    }

    /// The same keys for records of another space: no id there is one of any other space.
    #[must_use]
    pub fn within(&self, space: [u8; 16]) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            space: Some(space),
        }
    }

    /// The id of the record of `kind` for a name. Fixed for the life of the store.
    #[must_use]
    pub fn record_id(&self, kind: u8, name: &str) -> RecordId {
        let name = name.as_bytes();
        RecordId(match &self.space {
            None => self.inner.index.tag(&[&[kind], name]),
            Some(space) => self.inner.index.tag(&[&[kind | IN_SPACE], space, name]),
        })
    }

    /// A keyed hash of 256 bits, bound to what it is for. For what has to be recognised later
    /// without being kept: values in an audit log, codes.
    #[must_use]
    pub fn keyed_hash(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        self.keyed_hash_of(purpose, &[bytes])
    }

    /// As `keyed_hash`, of parts one after the other.
    #[must_use]
    pub fn keyed_hash_of(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.inner.check.full(purpose, parts)
    }

    /// A keyed hash of a value: equal values give equal fingerprints, nothing else is told.
    #[must_use]
    pub fn fingerprint(&self, value: &SecretValue) -> [u8; 16] {
        // EXPOSE: the value goes through a keyed one-way function.
        self.inner.fingerprint.tag(&[value.expose_secret()])
    }

    /// A keyed hash of public bytes, for checks that only a holder of the keys can compute.
    #[must_use]
    pub fn check_tag(&self, parts: &[&[u8]]) -> [u8; 16] {
        self.inner.check.tag(parts)
    }

    /// The barrier's randomness.
    #[must_use]
    pub fn rng(&self) -> &dyn Rng {
        &*self.inner.rng
    }

    /// Seals a field of a record under the active data key.
    #[must_use]
    pub fn seal(&self, id: RecordId, field: Field, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
        // A keyring has at least one data key: `Keyring::open` refuses an empty one.
        let Some((key_id, cipher)) = self.inner.ciphers.last() else {
            unreachable!()
        };
        sealed.push(FORMAT);
        sealed.extend_from_slice(&key_id.to_le_bytes());
        let aad = self.associated_data(&sealed, id, field);
        cipher.seal(&*self.inner.rng, &aad, plaintext, &mut sealed);
        sealed
    }

    /// Opens a field of a record.
    ///
    /// # Errors
    /// When the bytes were changed or belong elsewhere.
    pub fn open(
        &self,
        id: RecordId,
        field: Field,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(OpenFailed)?;
        let key_id = key_id_of(header).ok_or(OpenFailed)?;
        let (_, cipher) = self
            .inner
            .ciphers
            .iter()
            .rev()
            .find(|(id, _)| *id == key_id)
            .ok_or(OpenFailed)?;
        cipher.open(&self.associated_data(header, id, field), body)
    }

    /// The data key that a sealed field is under.
    #[must_use]
    pub fn key_of(sealed: &[u8]) -> Option<u32> {
        key_id_of(sealed.get(..HEADER_BYTES)?)
    }

    /// Whether a field names a data key that was made after those of this barrier. Far numbers
    /// are none that anybody has made: they are damage.
    #[must_use]
    pub fn is_under_later_key(&self, sealed: &[u8]) -> bool {
        let known = self.inner.ciphers.iter().map(|(id, _)| *id).max();
        let known = known.unwrap_or_default();
        Self::key_of(sealed).is_some_and(|id| id > known && id - known <= LATER_KEYS_MAX)
    }

    /// What tells this very copy of a sealed field from every other: its nonce.
    #[must_use]
    pub fn copy_of(sealed: &[u8]) -> &[u8] {
        sealed
            .get(HEADER_BYTES..HEADER_BYTES + NONCE_BYTES)
            .unwrap_or_default()
    }

    fn associated_data(&self, header: &[u8], id: RecordId, field: Field) -> [u8; 48] {
        let mut data = [0; 48];
        data[..10].copy_from_slice(b"strongroom");
        data[10..15].copy_from_slice(header);
        data[15] = match field {
            Field::Name => 1,
            Field::Value => 2,
            Field::Head => 3,
        };
        data[16..32].copy_from_slice(&self.inner.store_id);
        data[32..].copy_from_slice(&id.0);
        data
    }
}

fn key_id_of(header: &[u8]) -> Option<u32> {
    let (format, id) = header.split_first()?;
    (*format == FORMAT).then_some(u32::from_le_bytes(id.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_core::time::Timestamp;

    const PLACE: RecordId = RecordId([4; 16]);

    fn keyring() -> Keyring {
        Keyring::generate(&SystemRng, Timestamp::from_micros(0))
    }

    #[test]
    fn a_field_opens_in_its_place_only() {
        let keyring = keyring();
        let barrier = Barrier::new([1; 16], &keyring);
        let sealed = barrier.seal(PLACE, Field::Value, b"value");
        assert_eq!(
            barrier
                .open(PLACE, Field::Value, &sealed)
                .unwrap()
                .as_slice(),
            b"value"
        );
        assert!(
            barrier
                .open(RecordId([5; 16]), Field::Value, &sealed)
                .is_err()
        );
        assert!(barrier.open(PLACE, Field::Name, &sealed).is_err());
        assert!(
            Barrier::new([2; 16], &keyring)
                .open(PLACE, Field::Value, &sealed)
                .is_err()
        );
    }

    #[test]
    fn every_changed_header_byte_is_refused() {
        let barrier = Barrier::new([1; 16], &keyring());
        let sealed = barrier.seal(PLACE, Field::Value, b"value");
        for at in 0..HEADER_BYTES {
            for byte in 0..=255_u8 {
                let mut changed = sealed.clone();
                changed[at] = byte;
                let opens = barrier.open(PLACE, Field::Value, &changed).is_ok();
                assert_eq!(opens, changed == sealed, "byte {at} = {byte}");
            }
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        const SEALS: usize = 100_000;
        let barrier = Barrier::new([1; 16], &keyring());
        let mut nonces = std::collections::HashSet::with_capacity(SEALS);
        for _ in 0..SEALS {
            let sealed = barrier.seal(PLACE, Field::Value, b"the same value");
            assert_eq!(Barrier::copy_of(&sealed).len(), NONCE_BYTES);
            assert!(nonces.insert(Barrier::copy_of(&sealed).to_vec()));
        }
    }

    #[test]
    fn whatever_was_cut_or_changed_does_not_open_and_does_not_panic() {
        let barrier = Barrier::new([1; 16], &keyring());
        let sealed = barrier.seal(PLACE, Field::Value, b"value");
        for length in 0..sealed.len() {
            let cut = &sealed[..length];
            assert!(barrier.open(PLACE, Field::Value, cut).is_err());
            let _ = (Barrier::key_of(cut), Barrier::copy_of(cut));
            let mut changed = sealed.clone();
            changed[length] ^= 0x10;
            assert!(barrier.open(PLACE, Field::Value, &changed).is_err());
        }
        let longer = [&sealed[..], b"x"].concat();
        assert!(barrier.open(PLACE, Field::Value, &longer).is_err());
    }

    #[test]
    fn a_later_data_key_is_told_from_damage() {
        let mut keyring = keyring();
        let before = Barrier::new([1; 16], &keyring);
        let mut sealed = before.seal(PLACE, Field::Value, b"one");
        assert!(!before.is_under_later_key(&sealed));
        keyring.rotate(&SystemRng, Timestamp::from_micros(0));
        sealed = Barrier::new([1; 16], &keyring).seal(PLACE, Field::Value, b"two");
        assert!(before.is_under_later_key(&sealed));
        // A number that nobody has come to in one command.
        sealed[1..HEADER_BYTES].copy_from_slice(&[0x7f; 4]);
        assert!(!before.is_under_later_key(&sealed));
        assert!(!before.is_under_later_key(&sealed[..HEADER_BYTES - 1]));
    }

    #[test]
    fn after_rotation_old_records_open_and_new_ones_use_the_new_key() {
        let mut keyring = keyring();
        let before = Barrier::new([1; 16], &keyring).seal(PLACE, Field::Value, b"old");
        assert_eq!(keyring.rotate(&SystemRng, Timestamp::from_micros(1)), 2);
        let barrier = Barrier::new([1; 16], &keyring);
        let after = barrier.seal(PLACE, Field::Value, b"new");
        assert_eq!(
            (Barrier::key_of(&before), Barrier::key_of(&after)),
            (Some(1), Some(2))
        );
        assert_eq!(
            barrier
                .open(PLACE, Field::Value, &before)
                .unwrap()
                .as_slice(),
            b"old"
        );
        let id = barrier.record_id(1, "a/b");
        assert_eq!(id, Barrier::new([1; 16], &keyring).record_id(1, "a/b"));
        assert_ne!(id, barrier.record_id(2, "a/b"));
        let elsewhere = barrier.within([7; 16]);
        assert_ne!(id, elsewhere.record_id(1, "a/b"));
        assert_ne!(
            elsewhere.record_id(1, "a/b"),
            barrier.within([8; 16]).record_id(1, "a/b")
        );
    }
}
