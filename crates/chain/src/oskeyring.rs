//! The user's keyring as a key slot.
//!
//! Two keyrings are known. `secret-service` is the desktop's (GNOME Keyring, KWallet, KeePassXC),
//! asked over D-Bus. `keyutils` is the kernel's: it needs no desktop, but keeps the key in memory,
//! so that it is gone after a reboot.

use data_encoding::HEXLOWER;
use strongroom_backends::keyring::Entry;
use strongroom_backends::keyring::Keyring;
use strongroom_backends::keyring::KeyringError;
use strongroom_core::secret::SecretValue;

/// Keyrings this program knows.
pub const SERVICES: [&str; 2] = [SECRET_SERVICE, KEYUTILS];

/// The desktop's.
pub const SECRET_SERVICE: &str = "secret-service";
/// The kernel's.
pub const KEYUTILS: &str = "keyutils";
/// Whose entries these are.
pub const SERVICE: &str = "strongroom";
/// Longest key that is read; ours have 44 bytes.
const KEY_BYTES_MAX: usize = 1024;

/// The name of a slot's entry: `strongroom`, `<store id>/slot-<n>`.
#[must_use]
pub fn entry(store_id: &[u8; 16], slot: u32) -> Entry {
    let store = HEXLOWER.encode(store_id);
    Entry {
        service: SERVICE.to_owned(),
        label: format!("Strongroom: key slot {slot} of store {store}"),
        account: format!("{store}/slot-{slot}"),
        bytes_max: KEY_BYTES_MAX,
    }
}

/// Reads a store's entry.
///
/// # Errors
/// When the keyring is not there, locked, or unknown.
pub fn get(
    service: &str,
    store_id: &[u8; 16],
    slot: u32,
) -> Result<Option<SecretValue>, KeyringError> {
    keyring(service)?.get(&entry(store_id, slot))
}

/// Writes a store's entry.
///
/// # Errors
/// When the keyring is not there, locked, or unknown.
pub fn set(
    service: &str,
    store_id: &[u8; 16],
    slot: u32,
    key: &SecretValue,
) -> Result<(), KeyringError> {
    keyring(service)?.set(&entry(store_id, slot), key)
}

/// Removes a store's entry; one that is not there is no error.
///
/// # Errors
/// When the keyring is not there, locked, or unknown.
pub fn remove(service: &str, store_id: &[u8; 16], slot: u32) -> Result<(), KeyringError> {
    keyring(service)?.remove(&entry(store_id, slot))
}

/// What its user should know about a keyring, if it keeps a key for less than ever.
#[must_use]
pub fn caution(service: &str) -> Option<&'static str> {
    (service == KEYUTILS).then_some(
        "hint: the kernel keeps this key in memory: it is gone after a reboot, and may be after \
         days without use; keep another key slot",
    )
}

fn keyring(service: &str) -> Result<Keyring, KeyringError> {
    match service {
        KEYUTILS => Ok(Keyring::Kernel),
        SECRET_SERVICE => Ok(Keyring::Desktop),
        _ => Err(KeyringError::UnknownService {
            service: service.to_owned(),
        }),
    }
}
