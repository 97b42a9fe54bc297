//! A keyring in a chain.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Stored;

use super::Entry;
use super::Keyring;
use super::KeyringError;
use crate::adapter::Adapter;
use crate::adapter::Blocking;
use crate::adapter::Found;

/// The entries of a service in a keyring: an address is an entry's account.
#[must_use]
pub fn keyring(keyring: Keyring, service: &str) -> Box<dyn Backend> {
    Adapter::boxed(KeyringBackend {
        keyring,
        service: service.to_owned(),
    })
}

struct KeyringBackend {
    keyring: Keyring,
    service: String,
}

impl KeyringBackend {
    fn entry(&self, address: &str) -> Entry {
        Entry {
            service: self.service.clone(),
            account: address.to_owned(),
            label: format!("{}: {address}", self.service),
            bytes_max: VALUE_BYTES_MAX,
        }
    }

    fn failed(&self, error: &KeyringError) -> BackendError {
        let kind = match error {
            KeyringError::UnknownService { .. } => BackendErrorKind::Misconfigured,
            #[cfg(not(feature = "secret-service"))]
            KeyringError::NotBuiltIn => BackendErrorKind::Misconfigured,
            #[cfg(feature = "secret-service")]
            KeyringError::Locked => BackendErrorKind::Sealed,
            KeyringError::KernelDenied => BackendErrorKind::Denied,
            KeyringError::Foreign { .. } => BackendErrorKind::Malformed,
            _ => BackendErrorKind::Unreachable,
        };
        self.error(kind, error.to_string())
    }

    fn check_address(&self, address: &str) -> Result<(), BackendError> {
        let is_name =
            (1..=ADDRESS_BYTES_MAX).contains(&address.len()) && !address.contains(char::is_control);
        if is_name {
            return Ok(());
        }
        let message = format!("a name has 1 to {ADDRESS_BYTES_MAX} bytes, none of them control");
        Err(self.error(BackendErrorKind::Invalid, message))
    }
}

impl Blocking for KeyringBackend {
    fn scheme(&self) -> &'static str {
        "keyring"
    }

    fn describe(&self) -> String {
        match self.keyring {
            Keyring::Desktop => format!("keyring:{}", self.service),
            Keyring::Kernel => format!("keyring:{}?kind=kernel", self.service),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            delete: true,
            cas: true,
            list: self.keyring == Keyring::Desktop,
            binary: self.keyring == Keyring::Kernel,
            value_bytes_max: Some(VALUE_BYTES_MAX),
            ..Capabilities::default()
        }
    }

    fn read_all(&self, addresses: &[String]) -> Result<Vec<Found>, BackendError> {
        let is_name = |address: &&String| self.check_address(address).is_ok();
        let entries: Vec<Entry> = addresses
            .iter()
            .filter(is_name)
            .map(|address| self.entry(address))
            .collect();
        let found = self.keyring.get_many(&entries);
        let mut found = found.map_err(|error| self.failed(&error))?.into_iter();
        let in_order = addresses.iter().map(|address| {
            // What is no name is not asked for, and not there.
            Ok(if is_name(&address) {
                found.next().flatten()
            } else {
                None
            })
        });
        Ok(in_order.collect())
    }

    fn addresses(&self) -> Result<Vec<String>, BackendError> {
        let accounts = self.keyring.accounts(&self.service);
        let accounts = accounts.map_err(|error| self.failed(&error))?;
        let mut accounts = accounts.ok_or_else(|| self.unsupported("list"))?;
        accounts.sort_unstable();
        accounts.dedup();
        Ok(accounts)
    }

    fn write(&self, address: &str, new: &NewValue) -> Result<Stored, BackendError> {
        self.check_address(address)?;
        let value = &new.payload.value;
        let refused = |message: &str| {
            Err(self.error(BackendErrorKind::Invalid, format!("{address}: {message}")))
        };
        if value.is_empty() || value.len_bytes() > VALUE_BYTES_MAX {
            return refused(&format!("a value has 1 to {VALUE_BYTES_MAX} bytes"));
        }
        // EXPOSE: looked at for its encoding only.
        if self.keyring == Keyring::Desktop && value.expose_secret_text().is_none() {
            return refused("not every desktop's keyring keeps what is no text");
        }
        let entry = self.entry(address);
        let found = self
            .keyring
            .get(&entry)
            .map_err(|error| self.failed(&error))?;
        let conflict = match (&new.expected, &found) {
            (Expected::Any, _) | (Expected::Absent, None) => None,
            (Expected::Absent, Some(_)) => Some("it is there already"),
            (Expected::Version(_), _) => Some("a keyring keeps no versions to expect"),
        };
        if let Some(conflict) = conflict {
            return Err(self.error(BackendErrorKind::Conflict, format!("{address}: {conflict}")));
        }
        let is_new = found.is_none_or(|found| !found.ct_eq(value));
        if is_new {
            self.keyring
                .set(&entry, value)
                .map_err(|error| self.failed(&error))?;
        }
        Ok(Stored {
            version: None,
            is_new,
        })
    }

    fn remove(&self, address: &str) -> Result<bool, BackendError> {
        if self.check_address(address).is_err() {
            return Ok(false);
        }
        let entry = self.entry(address);
        let found = self
            .keyring
            .get(&entry)
            .map_err(|error| self.failed(&error))?;
        if found.is_some() {
            self.keyring
                .remove(&entry)
                .map_err(|error| self.failed(&error))?;
        }
        Ok(found.is_some())
    }

    fn health(&self) -> Result<String, BackendError> {
        let found = self
            .keyring
            .get(&self.entry("health"))
            .map_err(|error| self.failed(&error))?;
        drop(found);
        Ok("unlocked".to_owned())
    }
}

/// Longest value, in bytes: what the kernel's keyring holds at the most.
const VALUE_BYTES_MAX: usize = 32_767;
/// Longest name, in bytes: the kernel's descriptions have 4095, the service's name among them.
const ADDRESS_BYTES_MAX: usize = 1024;
