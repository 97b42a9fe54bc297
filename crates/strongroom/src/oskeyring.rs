//! The user's keyring as a key slot.
//!
//! Two keyrings are known. `secret-service` is the desktop's (GNOME Keyring, KWallet, KeePassXC),
//! asked over D-Bus. `keyutils` is the kernel's: it needs no desktop, but keeps the key in memory,
//! so that it is gone after a reboot.

#[cfg(feature = "secret-service")]
mod deadline;
#[cfg(feature = "secret-service")]
mod desktop;
mod keyutils;
#[cfg(test)]
mod tests;

use data_encoding::HEXLOWER;
use strongroom_core::secret::SecretValue;
use thiserror::Error;

/// Keyrings this program knows.
pub(crate) const SERVICES: [&str; 2] = [SECRET_SERVICE, KEYUTILS];

const SECRET_SERVICE: &str = "secret-service";
const KEYUTILS: &str = "keyutils";

/// Why a keyring did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum KeyringError {
    #[error("this version knows no keyring of that kind ({service})")]
    UnknownService { service: String },
    #[cfg(not(feature = "secret-service"))]
    #[error("this strongroom was built without the desktop's keyring (feature secret-service)")]
    NotBuiltIn,
    #[cfg(feature = "secret-service")]
    #[error(
        "there is no D-Bus session to reach the desktop's keyring by \
         (DBUS_SESSION_BUS_ADDRESS is not set or nobody listens there)"
    )]
    NoBus,
    #[cfg(feature = "secret-service")]
    #[error("no keyring runs in this D-Bus session (org.freedesktop.secrets)")]
    NoService,
    #[cfg(feature = "secret-service")]
    #[error("the keyring has no default collection to keep the key in")]
    NoCollection,
    #[cfg(feature = "secret-service")]
    #[error("the keyring is locked: unlock it, or open the store by another key slot")]
    Locked,
    #[cfg(feature = "secret-service")]
    #[error("the keyring did not answer within {seconds} seconds")]
    NoAnswer { seconds: u64 },
    #[cfg(feature = "secret-service")]
    #[error("the keyring refused: {detail}")]
    Bus { detail: String },
    #[error("the kernel's keyring may not be used here (containers often forbid it)")]
    KernelDenied,
    #[error("the kernel's keyring is full: your quota of keys is used up (/proc/key-users)")]
    KernelQuota,
    #[error("the kernel's keyring refused: {detail}")]
    Kernel { detail: String },
    #[error("the keyring's entry {account} is no key of ours")]
    Foreign { account: String },
}

/// The name of a slot's entry: `strongroom`, `<store id>/slot-<n>`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    account: String,
    label: String,
}

impl Entry {
    const SERVICE: &str = "strongroom";

    fn new(store_id: &[u8; 16], slot: u32) -> Self {
        let store = HEXLOWER.encode(store_id);
        Self {
            label: format!("Strongroom: key slot {slot} of store {store}"),
            account: format!("{store}/slot-{slot}"),
        }
    }
}

/// Reads a store's entry.
pub(crate) fn get(
    service: &str,
    store_id: &[u8; 16],
    slot: u32,
) -> Result<Option<SecretValue>, KeyringError> {
    let entry = Entry::new(store_id, slot);
    match service {
        KEYUTILS => keyutils::get(&entry),
        #[cfg(feature = "secret-service")]
        SECRET_SERVICE => desktop::get(entry),
        _ => Err(unknown(service)),
    }
}

/// Writes a store's entry.
pub(crate) fn set(
    service: &str,
    store_id: &[u8; 16],
    slot: u32,
    key: &SecretValue,
) -> Result<(), KeyringError> {
    let entry = Entry::new(store_id, slot);
    match service {
        KEYUTILS => keyutils::set(&entry, key),
        #[cfg(feature = "secret-service")]
        SECRET_SERVICE => desktop::set(entry, key.clone()),
        _ => Err(unknown(service)),
    }
}

/// Removes a store's entry; one that is not there is no error.
pub(crate) fn remove(service: &str, store_id: &[u8; 16], slot: u32) -> Result<(), KeyringError> {
    let entry = Entry::new(store_id, slot);
    match service {
        KEYUTILS => keyutils::remove(&entry),
        #[cfg(feature = "secret-service")]
        SECRET_SERVICE => desktop::remove(entry),
        _ => Err(unknown(service)),
    }
}

/// What its user should know about a keyring, if it keeps a key for less than ever.
pub(crate) fn caution(service: &str) -> Option<&'static str> {
    (service == KEYUTILS).then_some(
        "hint: the kernel keeps this key in memory: it is gone after a reboot, and may be after \
         days without use; keep another key slot",
    )
}

fn unknown(service: &str) -> KeyringError {
    #[cfg(not(feature = "secret-service"))]
    if service == SECRET_SERVICE {
        return KeyringError::NotBuiltIn;
    }
    KeyringError::UnknownService {
        service: service.to_owned(),
    }
}
