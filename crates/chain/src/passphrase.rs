//! A passphrase or a recovery key: read from a file, and tried at the slots that take one.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use strongroom_core::secret::SecretValue;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::slot::KeySlot;
use strongroom_crypto::slot::SlotKind;
use zeroize::Zeroizing;

const PASSPHRASE_BYTES_MAX: u64 = 4096;

/// The file with the passphrase cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the passphrase file {} cannot be read: {error}", path.display())]
pub struct PassphraseFileError {
    path: PathBuf,
    error: io::Error,
}

/// Reads a passphrase from its file, without the end of the line.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> Result<SecretValue, PassphraseFileError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    File::open(path)
        .and_then(|file| file.take(PASSPHRASE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| PassphraseFileError {
            path: path.to_owned(),
            error,
        })?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(SecretValue::copy_from(line))
}

/// True when a passphrase or a recovery key can open the store.
#[must_use]
pub fn is_taken(header: &Header) -> bool {
    slots(header).next().is_some()
}

/// Opens the store with a passphrase, or a recovery key. Takes about a second for each slot.
#[must_use]
pub fn unseal(header: &Header, secret: &SecretValue) -> Option<(Unsealed, KeySlot)> {
    // EXPOSE: only its prefix is looked at, to spare a slow derivation.
    let is_kit = secret
        .expose_secret()
        .trim_ascii_start()
        .starts_with(b"SRK1");
    slots(header)
        .filter(|slot| is_kit == (slot.kind == SlotKind::Recovery))
        .find_map(|slot| {
            let unsealed = header.unseal(slot.id, secret).ok()?;
            Some((unsealed, slot.clone()))
        })
}

fn slots(header: &Header) -> impl Iterator<Item = &KeySlot> {
    let slots = header.slots().iter();
    slots.filter(|slot| matches!(slot.kind, SlotKind::Passphrase { .. } | SlotKind::Recovery))
}
