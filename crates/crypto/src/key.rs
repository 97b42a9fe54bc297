//! Key bytes: in locked pages of their own, wiped on drop.

use std::fmt;

use strongroom_core::port::Rng;
use zeroize::Zeroize;

const PAGE_BYTES: usize = 4096;

/// A 256-bit key. It has a page of its own, which is locked into memory if the system allows.
pub struct Key {
    // Before the page: it is unlocked while it is still there. `Drop::drop` has wiped it by then.
    lock: Option<region::LockGuard>,
    page: Box<Page>,
}

#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

impl Key {
    /// Length of a key.
    pub const BYTES: usize = 32;

    /// Draws a new key.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self::fill_with(|bytes| rng.fill(bytes))
    }

    /// Whether its page is locked into memory, so that it is never swapped out.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// A key whose bytes are written in place.
    pub(crate) fn fill_with(write: impl FnOnce(&mut [u8])) -> Self {
        let mut page = Box::new(Page([0; PAGE_BYTES]));
        let lock = region::lock(page.0.as_ptr(), PAGE_BYTES).ok();
        write(&mut page.0[..Self::BYTES]);
        Self { page, lock }
    }

    /// A key from bytes, if there are exactly 32.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == Self::BYTES).then(|| Self::fill_with(|page| page.copy_from_slice(bytes)))
    }

    /// The same key in a page of its own.
    pub(crate) fn copy(&self) -> Self {
        Self::fill_with(|page| page.copy_from_slice(self.bytes()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.page.0[..Self::BYTES]
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.page.0[..Self::BYTES].zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

/// The key that a store's keyring is sealed under; every key slot wraps it.
#[derive(Debug)]
pub struct RootKey(pub(crate) Key);

impl RootKey {
    /// Draws a new root key.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(Key::generate(rng))
    }

    /// Whether its page is locked into memory.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    pub(crate) fn copy(&self) -> Self {
        Self(self.0.copy())
    }
}
