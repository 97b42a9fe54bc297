//! Opening a store with what needs nobody: its key file, or an entry of the user's keyring.

use std::path::Path;

use strongroom_crypto::header::Header;
use strongroom_crypto::header::UnsealError;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::slot::KeySlot;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::UnwrapError;

use crate::keyfile;
use crate::keyfile::KeyFileError;
use crate::oskeyring;

/// Why a store cannot be opened, whatever other key there may be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlockError {
    /// Its only way in is a key file, and that cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key is right, and what it opens is damaged.
    #[error(transparent)]
    Keyring(UnsealError),
}

/// Tries the key file, then the keyrings. `refused` gets one line for each slot that did not open.
///
/// # Errors
/// When trying other slots makes no sense.
pub fn without_a_person(
    header: &Header,
    key_file: &Path,
    refused: &mut Vec<String>,
) -> Result<Option<(Unsealed, KeySlot)>, UnlockError> {
    if let Some(found) = try_key_file(header, key_file, refused)? {
        return Ok(Some(found));
    }
    for slot in header.slots() {
        let SlotKind::OsKeyring { service } = &slot.kind else {
            continue;
        };
        match oskeyring::get(service, &header.store_id(), slot.id) {
            Ok(Some(key)) => match header.unseal(slot.id, &key) {
                Ok(unsealed) => return Ok(Some((unsealed, slot.clone()))),
                Err(error) => refused.push(format!("slot {} (keyring): {error}", slot.id)),
            },
            Ok(None) => {
                refused.push(format!(
                    "slot {} (keyring): {service} has no such entry",
                    slot.id
                ));
            }
            Err(error) => refused.push(format!("slot {} (keyring): {error}", slot.id)),
        }
    }
    Ok(None)
}

fn try_key_file(
    header: &Header,
    path: &Path,
    refused: &mut Vec<String>,
) -> Result<Option<(Unsealed, KeySlot)>, UnlockError> {
    let slots: Vec<&KeySlot> = header
        .slots()
        .iter()
        .filter(|slot| slot.kind == SlotKind::KeyFile)
        .collect();
    if slots.is_empty() {
        return Ok(None);
    }
    let key = match keyfile::read(path) {
        Ok(Some(key)) => key,
        Ok(None) => {
            refused.push(format!("key file {}: there is none", path.display()));
            return Ok(None);
        }
        // With another way in, a bad key file is only named when that fails too.
        Err(error) if slots.len() < header.slots().len() => {
            refused.push(error.to_string());
            refused.extend(error.hint);
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    for slot in slots {
        match header.unseal(slot.id, &key) {
            Ok(unsealed) => return Ok(Some((unsealed, slot.clone()))),
            Err(UnsealError::Slot(UnwrapError::WrongKey)) => {}
            Err(error) => return Err(UnlockError::Keyring(error)),
        }
    }
    refused.push(format!(
        "key file {}: it does not open this store",
        path.display()
    ));
    Ok(None)
}

/// The kinds of a store's slots, for a report that none of them opened.
#[must_use]
pub fn slots_in_words(header: &Header) -> String {
    let slots = header.slots().iter();
    let words: Vec<&str> = slots.map(|slot| slot.kind.word()).collect();
    words.join(", ")
}
