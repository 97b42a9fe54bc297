//! From a passphrase to a key: Argon2id.

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Block;
use argon2::Params;
use argon2::Version;
use serde::Deserialize;
use serde::Serialize;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroize;

use crate::key::Key;

/// Most memory a stored cost may ask for; a hostile file cannot ask for more.
pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes a stored cost may ask for.
pub const PASSES_MAX: u32 = 16;
/// Most lanes a stored cost may ask for.
pub const LANES_MAX: u32 = 16;

/// What deriving a key from a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    /// The second recommended choice of RFC 9106: 64 MiB, three passes, four lanes.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
    };
}

/// The cost written in a store is not one we would ever write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cost of the passphrase slot is out of bounds")]
pub struct CostOutOfBounds;

/// Derives a key. Takes about a tenth of a second by design.
///
/// # Errors
/// When the cost is out of bounds.
pub fn derive_from_passphrase(
    passphrase: &SecretValue,
    salt: &[u8; 16],
    cost: KdfCost,
) -> Result<Key, CostOutOfBounds> {
    derive_in(passphrase, salt, cost, &mut Vec::new())
}

/// The same in memory that can be used again. It is wiped afterwards.
pub(crate) fn derive_in(
    passphrase: &SecretValue,
    salt: &[u8; 16],
    cost: KdfCost,
    memory: &mut Vec<Block>,
) -> Result<Key, CostOutOfBounds> {
    if cost.memory_kib > MEMORY_KIB_MAX || cost.passes > PASSES_MAX || cost.lanes > LANES_MAX {
        return Err(CostOutOfBounds);
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(Key::BYTES))
        .map_err(|_| CostOutOfBounds)?;
    memory.resize(params.block_count(), Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut derived = Ok(());
    let key = Key::fill_with(|bytes| {
        // EXPOSE: the passphrase goes into the key derivation and nowhere else.
        let passphrase = passphrase.expose_secret();
        derived = argon2.hash_password_into_with_memory(passphrase, salt, bytes, &mut *memory);
    });
    memory.iter_mut().for_each(Zeroize::zeroize);
    derived.map(|()| key).map_err(|_| CostOutOfBounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_costs_are_refused() {
        let passphrase = SecretValue::copy_from(b"correct horse");
        for cost in [
            KdfCost {
                memory_kib: u32::MAX,
                passes: 1,
                lanes: 1,
            },
            KdfCost {
                memory_kib: 64,
                passes: 1_000_000,
                lanes: 1,
            },
            KdfCost {
                memory_kib: 0,
                passes: 0,
                lanes: 0,
            },
        ] {
            assert!(derive_from_passphrase(&passphrase, &[0; 16], cost).is_err());
        }
    }

    #[test]
    fn same_input_same_key() {
        let cost = KdfCost {
            memory_kib: 64,
            passes: 1,
            lanes: 1,
        };
        let derive = |word: &[u8], salt| {
            let key = derive_from_passphrase(&SecretValue::copy_from(word), salt, cost).unwrap();
            key.bytes().to_vec()
        };
        assert_eq!(derive(b"a", &[1; 16]), derive(b"a", &[1; 16]));
        assert_ne!(derive(b"a", &[1; 16]), derive(b"a", &[2; 16]));
        assert_ne!(derive(b"a", &[1; 16]), derive(b"b", &[1; 16]));
    }
}
