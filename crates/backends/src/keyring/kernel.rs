//! The kernel's keyring.
//!
//! The key is linked to two of the user's keyrings. The persistent one outlives the last process
//! of the user, but is dropped when nobody has asked for it for some days (three, unless
//! `/proc/sys/kernel/keys/persistent_keyring_expiry` says otherwise); the user keyring has no such
//! clock, but ends with the user's last process. Neither outlives a reboot. Session keyrings are
//! left alone: a key there is not found by the next login.
//!
//! A key is readable by who possesses it, that is who has it in a keyring of the process. So both
//! keyrings are linked to this process's own, which ends with it; the key's permissions stay as
//! narrow as the kernel makes them.

use linux_keyutils::Key;
use linux_keyutils::KeyError;
use linux_keyutils::KeyRing;
use linux_keyutils::KeyRingIdentifier;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use crate::keyring::Entry;
use crate::keyring::KeyringError;

pub(super) fn get(entry: &Entry) -> Result<Option<SecretValue>, KeyringError> {
    let rings = Rings::open()?;
    let Some(key) = rings.find(entry)? else {
        return Ok(None);
    };
    // Where one of the two has forgotten the key meanwhile, it gets it back.
    let _ = rings.link(key);
    let mut buffer = Zeroizing::new(vec![0; entry.bytes_max]);
    let length = key.read(&mut *buffer).map_err(refused)?;
    let bytes = buffer.get(..length).ok_or_else(|| KeyringError::Foreign {
        account: entry.account.clone(),
    })?;
    Ok(Some(SecretValue::copy_from(bytes)))
}

pub(super) fn set(entry: &Entry, secret: &SecretValue) -> Result<(), KeyringError> {
    let rings = Rings::open()?;
    // EXPOSE: handed to the kernel, which keeps it.
    let secret = secret.expose_secret();
    let key = rings
        .process
        .add_key(&description(entry), secret)
        .map_err(refused)?;
    rings.link(key)
}

pub(super) fn remove(entry: &Entry) -> Result<(), KeyringError> {
    match Rings::open()?.find(entry)? {
        Some(key) => key.invalidate().map_err(refused),
        None => Ok(()),
    }
}

/// The keyrings of this process and its user.
struct Rings {
    process: KeyRing,
    /// Where keys are kept: user and persistent keyring, as far as the kernel has them.
    keepers: Vec<KeyRing>,
}

impl Rings {
    fn open() -> Result<Self, KeyringError> {
        let process =
            KeyRing::from_special_id(KeyRingIdentifier::Process, true).map_err(refused)?;
        let user = process
            .link_keyring_id(KeyRingIdentifier::User)
            .and_then(|()| KeyRing::from_special_id(KeyRingIdentifier::User, true));
        let persistent = KeyRing::get_persistent(KeyRingIdentifier::Process);
        match (user, persistent) {
            (Err(error), Err(_)) => Err(refused(error)),
            (user, persistent) => Ok(Self {
                process,
                keepers: user.into_iter().chain(persistent).collect(),
            }),
        }
    }

    fn find(&self, entry: &Entry) -> Result<Option<Key>, KeyringError> {
        match self.process.search(&description(entry)) {
            Ok(key) => Ok(Some(key)),
            // A key that was revoked or timed out is as good as none.
            Err(KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked) => {
                Ok(None)
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Links `key` to all keepers; one of them is enough.
    fn link(&self, key: Key) -> Result<(), KeyringError> {
        let links: Vec<_> = self.keepers.iter().map(|ring| ring.link_key(key)).collect();
        if links.iter().any(Result::is_ok) {
            return Ok(());
        }
        match links.into_iter().find_map(Result::err) {
            Some(error) => Err(refused(error)),
            None => Err(KeyringError::KernelDenied),
        }
    }
}

fn description(entry: &Entry) -> String {
    format!("{}:{}", entry.service, entry.account)
}

fn refused(error: KeyError) -> KeyringError {
    // A kernel built without keyrings says ENOSYS, which the crate has no name for.
    let no_such_call = rustix::io::Errno::NOSYS.raw_os_error();
    match error {
        KeyError::AccessDenied | KeyError::PermissionDenied | KeyError::OperationNotSupported => {
            KeyringError::KernelDenied
        }
        KeyError::Unknown(code) if code == no_such_call => KeyringError::KernelDenied,
        KeyError::QuotaExceeded => KeyringError::KernelQuota,
        KeyError::Unknown(code) => KeyringError::Kernel {
            detail: rustix::io::Errno::from_raw_os_error(code).to_string(),
        },
        other => KeyringError::Kernel {
            detail: other.to_string(),
        },
    }
}
