//! The user's keyrings: the desktop's (GNOME Keyring, KWallet, KeePassXC), asked over D-Bus by the
//! Secret Service interface, and the kernel's, which needs no desktop, but keeps what it has in
//! memory, so that it is gone after a reboot.

use strongroom_core::secret::SecretValue;
use thiserror::Error;

mod backend;
#[cfg(feature = "secret-service")]
mod deadline;
#[cfg(feature = "secret-service")]
mod desktop;
mod kernel;
#[cfg(test)]
mod tests;

pub use backend::keyring;

/// A keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyring {
    /// The desktop's. Without the feature `secret-service` it answers that it is not built in.
    Desktop,
    /// The kernel's.
    Kernel,
}

/// The name of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is, e.g. `strongroom`.
    pub service: String,
    /// Which of its entries.
    pub account: String,
    /// What a person reads who looks at the keyring.
    pub label: String,
    /// Longest value that is read from the kernel's keyring; a longer one is somebody else's.
    pub bytes_max: usize,
}

impl Keyring {
    /// Reads an entry.
    ///
    /// # Errors
    /// When the keyring is not there, is locked or refuses.
    pub fn get(self, entry: &Entry) -> Result<Option<SecretValue>, KeyringError> {
        Ok(self.get_many(std::slice::from_ref(entry))?.pop().flatten())
    }

    /// Reads entries at once, in order.
    ///
    /// # Errors
    /// When the keyring is not there, is locked or refuses.
    pub fn get_many(self, entries: &[Entry]) -> Result<Vec<Option<SecretValue>>, KeyringError> {
        match self {
            Self::Kernel => entries.iter().map(kernel::get).collect(),
            #[cfg(feature = "secret-service")]
            Self::Desktop => desktop::get(entries.to_vec()),
            #[cfg(not(feature = "secret-service"))]
            Self::Desktop => Err(KeyringError::NotBuiltIn),
        }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// When the keyring is not there, is locked or refuses.
    pub fn set(self, entry: &Entry, value: &SecretValue) -> Result<(), KeyringError> {
        match self {
            Self::Kernel => kernel::set(entry, value),
            #[cfg(feature = "secret-service")]
            Self::Desktop => desktop::set(entry.clone(), value.clone()),
            #[cfg(not(feature = "secret-service"))]
            Self::Desktop => Err(KeyringError::NotBuiltIn),
        }
    }

    /// Removes an entry; one that is not there is no error.
    ///
    /// # Errors
    /// When the keyring is not there, is locked or refuses.
    pub fn remove(self, entry: &Entry) -> Result<(), KeyringError> {
        match self {
            Self::Kernel => kernel::remove(entry),
            #[cfg(feature = "secret-service")]
            Self::Desktop => desktop::remove(entry.clone()),
            #[cfg(not(feature = "secret-service"))]
            Self::Desktop => Err(KeyringError::NotBuiltIn),
        }
    }

    /// The accounts of a service; the kernel does not tell them.
    fn accounts(self, service: &str) -> Result<Option<Vec<String>>, KeyringError> {
        match self {
            Self::Kernel => {
                let _ = service;
                Ok(None)
            }
            #[cfg(feature = "secret-service")]
            Self::Desktop => desktop::accounts(service.to_owned()).map(Some),
            #[cfg(not(feature = "secret-service"))]
            Self::Desktop => Err(KeyringError::NotBuiltIn),
        }
    }
}

/// Why a keyring did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// A kind of keyring that this version does not know.
    #[error("this version knows no keyring of that kind ({service})")]
    UnknownService {
        /// Which.
        service: String,
    },
    /// Built without it.
    #[cfg(not(feature = "secret-service"))]
    #[error("this strongroom was built without the desktop's keyring (feature secret-service)")]
    NotBuiltIn,
    /// No bus to ask over.
    #[cfg(feature = "secret-service")]
    #[error(
        "there is no D-Bus session to reach the desktop's keyring by \
         (DBUS_SESSION_BUS_ADDRESS is not set or nobody listens there)"
    )]
    NoBus,
    /// A bus without a keyring.
    #[cfg(feature = "secret-service")]
    #[error("no keyring runs in this D-Bus session (org.freedesktop.secrets)")]
    NoService,
    /// Nowhere to keep anything.
    #[cfg(feature = "secret-service")]
    #[error("the keyring has no default collection to keep the key in")]
    NoCollection,
    /// Locked, and nobody unlocked it.
    #[cfg(feature = "secret-service")]
    #[error("the keyring is locked: unlock it, or use another kind of key slot")]
    Locked,
    /// No answer in time.
    #[cfg(feature = "secret-service")]
    #[error("the keyring did not answer within {seconds} seconds")]
    NoAnswer {
        /// How long was waited.
        seconds: u64,
    },
    /// The keyring refused for another reason.
    #[cfg(feature = "secret-service")]
    #[error("the keyring refused: {detail}")]
    Bus {
        /// What it said.
        detail: String,
    },
    /// The kernel does not allow it.
    #[error("the kernel's keyring may not be used here (containers often forbid it)")]
    KernelDenied,
    /// The kernel's quota is used up.
    #[error("the kernel's keyring is full: your quota of keys is used up (/proc/key-users)")]
    KernelQuota,
    /// The kernel refused for another reason.
    #[error("the kernel's keyring refused: {detail}")]
    Kernel {
        /// What it said.
        detail: String,
    },
    /// An entry that is longer than ours are.
    #[error("the keyring's entry {account} is no key of ours")]
    Foreign {
        /// The entry.
        account: String,
    },
}
