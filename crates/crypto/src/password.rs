//! Passwords that people log in with: kept as slow, salted hashes.

use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use subtle::ConstantTimeEq;

use crate::kdf;
use crate::kdf::CostOutOfBounds;
use crate::kdf::KdfCost;

/// What checking a password costs: the choice for servers of OWASP, 19 MiB and two passes.
pub const LOGIN_COST: KdfCost = KdfCost {
    memory_kib: 19 * 1024,
    passes: 2,
    lanes: 1,
};

/// Pieces of memory that are kept.
const KEPT_MAX: usize = 4;

/// Wiped memory for the next hash: given back each time, the allocator would hold many times
/// what is in use.
static MEMORY: Mutex<Vec<Vec<argon2::Block>>> = Mutex::new(Vec::new());

/// A password's hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    cost: KdfCost,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl PasswordHash {
    /// Hashes a password. Takes some hundredths of a second by design.
    ///
    /// # Errors
    /// When the cost is out of bounds.
    pub fn new(
        password: &SecretValue,
        cost: KdfCost,
        rng: &dyn Rng,
    ) -> Result<Self, CostOutOfBounds> {
        let mut salt = [0; 16];
        rng.fill(&mut salt);
        let hash = derive(password, &salt, cost)?;
        Ok(Self { cost, salt, hash })
    }

    /// Whether this is the password. Takes as long whether or not it is.
    #[must_use]
    pub fn matches(&self, password: &SecretValue) -> bool {
        match derive(password, &self.salt, self.cost) {
            Ok(hash) => hash.ct_eq(&self.hash).into(),
            Err(CostOutOfBounds) => false,
        }
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

fn derive(
    password: &SecretValue,
    salt: &[u8; 16],
    cost: KdfCost,
) -> Result<[u8; 32], CostOutOfBounds> {
    let lock = || MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let mut memory = lock().pop().unwrap_or_default();
    let key = kdf::derive_in(password, salt, cost, &mut memory);
    let mut kept = lock();
    if kept.len() < KEPT_MAX {
        kept.push(memory);
    }
    drop(kept);
    let key = key?;
    let mut hash = [0; 32];
    hash.copy_from_slice(key.bytes());
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_matches() {
        let cost = KdfCost {
            memory_kib: 64,
            passes: 1,
            lanes: 1,
        };
        let text = |text: &str| SecretValue::copy_from(text.as_bytes());
        let hash = PasswordHash::new(&text("right"), cost, &crate::SystemRng).unwrap();
        let other = PasswordHash::new(&text("right"), cost, &crate::SystemRng).unwrap();
        assert!(hash.matches(&text("right")));
        assert!(!hash.matches(&text("wrong")) && !hash.matches(&text("")));
        assert!(hash != other);
        assert_eq!(format!("{hash:?}"), "PasswordHash([redacted])");
    }
}
