//! The desktop's keyring, by the Secret Service interface of D-Bus.
//!
//! Values cross the bus encrypted for this connection, so that who watches the bus does not see
//! them.

use std::collections::HashMap;
use std::io::ErrorKind;

use secret_service::EncryptionType;
use secret_service::Error;
use secret_service::blocking::Collection;
use secret_service::blocking::Item;
use secret_service::blocking::SecretService;
use strongroom_core::secret::SecretValue;

use crate::keyring::Entry;
use crate::keyring::KeyringError;
use crate::keyring::deadline::Limits;
use crate::keyring::deadline::Progress;
use crate::keyring::deadline::within;

/// KWallet keeps texts only; the keys are Base64.
const CONTENT_TYPE: &str = "text/plain";

/// Reads entries over one connection, in order.
pub(super) fn get(entries: Vec<Entry>) -> Result<Vec<Option<SecretValue>>, KeyringError> {
    within(Limits::of_process(), move |progress| {
        let service = connect()?;
        let read = |entry: &Entry| {
            let items = find(&service, entry, progress)?;
            let Some(item) = items.first() else {
                return Ok(None);
            };
            let secret = item.get_secret().map_err(refused)?;
            Ok(Some(SecretValue::new(secret)))
        };
        entries.iter().map(read).collect()
    })
}

pub(super) fn set(entry: Entry, secret: SecretValue) -> Result<(), KeyringError> {
    within(Limits::of_process(), move |progress| {
        let service = connect()?;
        let collection = default_collection(&service)?.ok_or(KeyringError::NoCollection)?;
        unlock(&collection, progress)?;
        // EXPOSE: handed to the keyring, which keeps it.
        let secret = secret.expose_secret();
        collection
            .create_item(&entry.label, attributes(&entry), secret, true, CONTENT_TYPE)
            .map_err(refused)?;
        Ok(())
    })
}

pub(super) fn remove(entry: Entry) -> Result<(), KeyringError> {
    within(Limits::of_process(), move |progress| {
        let service = connect()?;
        for item in find(&service, &entry, progress)? {
            item.delete().map_err(refused)?;
        }
        Ok(())
    })
}

/// The accounts under which a service keeps something, as far as the keyring tells.
pub(super) fn accounts(service_name: String) -> Result<Vec<String>, KeyringError> {
    within(Limits::of_process(), move |progress| {
        let service = connect()?;
        if let Some(collection) = default_collection(&service)? {
            unlock(&collection, progress)?;
        }
        let wanted = HashMap::from([("service", service_name.as_str())]);
        let found = service.search_items(wanted).map_err(refused)?;
        let mut accounts = Vec::new();
        for item in found.unlocked.iter().chain(&found.locked) {
            let attributes = item.get_attributes().map_err(refused)?;
            accounts.extend(attributes.get("account").cloned());
        }
        Ok(accounts)
    })
}

fn connect<'a>() -> Result<SecretService<'a>, KeyringError> {
    SecretService::connect(EncryptionType::Dh).map_err(refused)
}

/// The entry's items, unlocked.
fn find<'a, T>(
    service: &'a SecretService<'a>,
    entry: &Entry,
    progress: &Progress<T>,
) -> Result<Vec<Item<'a>>, KeyringError> {
    let mut found = service.search_items(attributes(entry)).map_err(refused)?;
    if found.unlocked.is_empty() && found.locked.is_empty() {
        // Some keyrings do not tell what they hold while they are locked.
        let Some(collection) = default_collection(service)? else {
            return Ok(Vec::new());
        };
        if !unlock(&collection, progress)? {
            return Ok(Vec::new());
        }
        found = service.search_items(attributes(entry)).map_err(refused)?;
    }
    if !found.unlocked.is_empty() {
        return Ok(found.unlocked);
    }
    progress.unlocking();
    for item in &found.locked {
        item.unlock().map_err(refused)?;
        item.ensure_unlocked().map_err(refused)?;
    }
    Ok(found.locked)
}

/// Where new keys go; not every keyring has one.
fn default_collection<'a>(
    service: &'a SecretService<'a>,
) -> Result<Option<Collection<'a>>, KeyringError> {
    match service.get_default_collection() {
        Ok(collection) => Ok(Some(collection)),
        Err(Error::NoResult) => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

/// Has the keyring unlock a collection; the answer says whether it was locked.
fn unlock<T>(collection: &Collection<'_>, progress: &Progress<T>) -> Result<bool, KeyringError> {
    if !collection.is_locked().map_err(refused)? {
        return Ok(false);
    }
    progress.unlocking();
    collection.unlock().map_err(refused)?;
    collection.ensure_unlocked().map_err(refused)?;
    Ok(true)
}

fn attributes(entry: &Entry) -> HashMap<&str, &str> {
    HashMap::from([
        ("service", entry.service.as_str()),
        ("account", entry.account.as_str()),
    ])
}

fn refused(error: Error) -> KeyringError {
    match error {
        Error::Locked | Error::Prompt | Error::PromptDisconnected => KeyringError::Locked,
        Error::Unavailable => KeyringError::NoBus,
        Error::NoResult => KeyringError::NoCollection,
        Error::Zbus(error) => refused_by_bus(&error),
        Error::ZbusFdo(zbus::fdo::Error::ServiceUnknown(_)) => KeyringError::NoService,
        other => KeyringError::Bus {
            detail: other.to_string(),
        },
    }
}

fn refused_by_bus(error: &zbus::Error) -> KeyringError {
    match error {
        zbus::Error::Address(_) | zbus::Error::Connection(..) => KeyringError::NoBus,
        zbus::Error::InputOutput(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            KeyringError::NoBus
        }
        zbus::Error::MethodError(name, _, _) => match name.as_str() {
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner"
            | "org.freedesktop.DBus.Error.Spawn.ServiceNotFound" => KeyringError::NoService,
            "org.freedesktop.Secret.Error.IsLocked" => KeyringError::Locked,
            _ => KeyringError::Bus {
                detail: error.to_string(),
            },
        },
        zbus::Error::FDO(fdo) if matches!(**fdo, zbus::fdo::Error::ServiceUnknown(_)) => {
            KeyringError::NoService
        }
        other => KeyringError::Bus {
            detail: other.to_string(),
        },
    }
}
