//! The user's keyring as a key slot.

use strongroom_core::secret::SecretValue;

/// Keyrings this program knows.
pub(crate) const SERVICES: [&str; 2] = ["secret-service", "keyutils"];

/// Reads a store's entry.
pub(crate) fn get(
    service: &str,
    store_id: &[u8; 16],
    slot: u32,
) -> Result<Option<SecretValue>, String> {
    let _ = (service, store_id, slot);
    Err("keyrings are not built in".into())
}

/// Writes a store's entry.
pub(crate) fn set(
    service: &str,
    store_id: &[u8; 16],
    slot: u32,
    key: &SecretValue,
) -> Result<(), String> {
    let _ = (service, store_id, slot, key);
    Err("keyrings are not built in".into())
}

/// Removes a store's entry.
pub(crate) fn remove(service: &str, store_id: &[u8; 16], slot: u32) -> Result<(), String> {
    let _ = (service, store_id, slot);
    Err("keyrings are not built in".into())
}
