//! The installation's encrypted store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use strongroom_chain::keyfile;
use strongroom_chain::passphrase;
use strongroom_chain::unlock;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Durability;
use strongroom_core::port::Rng;
use strongroom_core::port::Storage;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::Provenance;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::Engine;
use strongroom_engine::Error as EngineError;
use strongroom_engine::context::OpContext;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Given;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::secrets::Together;
use strongroom_engine::secrets::WriteOptions;
use strongroom_engine::state::State;
use strongroom_store::embedded::EmbeddedStorage;
use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;

use crate::error::SuperviseError;
use crate::now;

/// A value, and where it is from.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) value: SecretValue,
    pub(crate) origin: Origin,
}

/// Where a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Generated,
    /// Drawn anew in the place of another.
    Rotated,
    Given,
    Remote,
    /// From an earlier installation, which did not say.
    Imported,
}

/// The installation's store, open.
pub(crate) struct Keep {
    engine: Engine,
    storage: Arc<EmbeddedStorage>,
    actor: String,
}

/// What may open the store.
pub(crate) struct Keys<'a> {
    pub(crate) key_file: &'a Path,
    pub(crate) passphrase: Option<&'a SecretValue>,
}

/// The folder of the application's secrets in the store.
const FOLDER: &str = "app";
/// Begins the name of a secret whose id cannot be one.
const ENCODED: &str = "x-";
/// Longest id that is a name as it is.
const NAME_BYTES_MAX: usize = 120;

impl Keep {
    /// Opens the store, or makes it with a slot for the key file.
    pub(crate) fn open(path: &Path, keys: &Keys<'_>, actor: &str) -> Result<Self, SuperviseError> {
        let file = match StoreFile::open(path) {
            Err(OpenStoreError::Missing { .. }) => make(path, keys.key_file)?,
            other => other?,
        };
        let mut refused = Vec::new();
        let header = file.header();
        let mut found = unlock::without_a_person(header, keys.key_file, &mut refused)?;
        if found.is_none() {
            found = keys
                .passphrase
                .and_then(|typed| passphrase::unseal(header, typed));
        }
        let Some((unsealed, _)) = found else {
            return Err(SuperviseError::Locked {
                slots: unlock::slots_in_words(header),
                refused,
            });
        };
        let barrier = Barrier::new(file.header().store_id(), &unsealed.keyring);
        let storage = Arc::new(file.unlock(&barrier, Writes::Inline, Rollback::Refuse)?);
        let port: Arc<dyn Storage> = storage.clone();
        Ok(Self {
            engine: Engine::new(port, barrier),
            storage,
            actor: actor.to_owned(),
        })
    }

    fn context(&self) -> OpContext {
        let mut id = [0; 8];
        SystemRng.fill(&mut id);
        OpContext {
            actor: self.actor.clone(),
            door: "supervise".to_owned(),
            request_id: HEXLOWER.encode(&id),
            now: now(),
        }
    }

    /// All values that are kept, by their ids.
    pub(crate) async fn all(&self) -> Result<BTreeMap<String, Kept>, EngineError> {
        let context = self.context();
        let entries = match self.engine.list(&context, FOLDER).await {
            Err(EngineError::NotFound { .. }) => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut kept = BTreeMap::new();
        for entry in entries
            .iter()
            .filter(|entry| !entry.is_folder && entry.is_live)
        {
            let Ok(path) = entry.path.parse::<SecretPath>() else {
                continue;
            };
            let secret = self.engine.read(&context, &path, None).await?;
            let origin = match secret.version.provenance {
                Provenance::Generated => Origin::Generated,
                Provenance::Rotated => Origin::Rotated,
                Provenance::Copied(_) => Origin::Remote,
                Provenance::Imported(_) => Origin::Imported,
                Provenance::Set | Provenance::RolledBack(_) => Origin::Given,
            };
            let value = secret.payload.value;
            kept.insert(id_of(path.leaf()), Kept { value, origin });
        }
        Ok(kept)
    }

    pub(crate) async fn put(&self, id: &str, kept: &Kept) -> Result<(), EngineError> {
        self.change([(id, Some(kept))]).await
    }

    /// Gives secrets values, or takes them away: all in one transaction.
    pub(crate) async fn change<'k>(
        &self,
        changes: impl IntoIterator<Item = (&'k str, Option<&'k Kept>)>,
    ) -> Result<(), EngineError> {
        let changes = changes.into_iter().map(|(id, kept)| {
            Ok(Together {
                path: path_of(id)?,
                value: kept.map(|kept| {
                    let payload = Payload::detect(kept.value.clone());
                    (payload, WriteOptions::new(provenance_of(kept.origin)))
                }),
            })
        });
        let changes = changes.collect::<Result<Vec<Together>, EngineError>>()?;
        self.engine.change_together(&self.context(), &changes).await
    }

    /// Writes down that a service is given values, before it is. Without it no service starts.
    pub(crate) async fn note(
        &self,
        service: &str,
        values: &[(&str, &SecretValue)],
    ) -> Result<(), EngineError> {
        if values.is_empty() {
            return Ok(());
        }
        let state = State::new(self.storage.clone() as _, self.engine.barrier().clone());
        let ledger = Ledger::new(state);
        let context = self.context();
        let items = values.iter().map(|(id, value)| {
            let given = Given {
                secret: path_of(id)?.to_string(),
                source: "store".to_owned(),
                version: None,
                fingerprint: ledger.fingerprint(value),
            };
            Ok((given, 1))
        });
        let delivery = Delivery {
            at: context.now,
            who: context.actor,
            channel: Channel::Supervise,
            to: format!("service {service}"),
            request_id: context.request_id,
            items: items.collect::<Result<_, EngineError>>()?,
            is_repeat: false,
        };
        ledger.note(&delivery, Durability::Relaxed).await
    }

    /// What is due at the end: a short log, and the daily copy.
    pub(crate) fn finish(&self) -> Option<String> {
        self.storage.shorten_log();
        let made = self.storage.back_up_daily(now().as_micros());
        made.err().map(|error| error.to_string())
    }
}

fn provenance_of(origin: Origin) -> Provenance {
    match origin {
        Origin::Generated => Provenance::Generated,
        Origin::Rotated => Provenance::Rotated,
        Origin::Given => Provenance::Set,
        Origin::Remote => Provenance::Copied("where it is kept".to_owned()),
        Origin::Imported => Provenance::Imported("secrets.json".to_owned()),
    }
}

fn make(path: &Path, key_file: &Path) -> Result<StoreFile, SuperviseError> {
    if key_file.parent() == path.parent() {
        let path = key_file.into();
        return Err(SuperviseError::KeyBesideStore { path });
    }
    let key = keyfile::create(key_file, &SystemRng)?;
    let now = now();
    let (mut header, unsealed) = Header::create(&SystemRng, now);
    let context = WrapContext {
        rng: &SystemRng,
        now,
    };
    let label = "made with the installation";
    let slot = header.add_slot(&unsealed, SlotKind::KeyFile, label, &key, &context);
    slot.map_err(|error| SuperviseError::Folder {
        path: path.into(),
        why: error.to_string(),
    })?;
    let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
    let first = Engine::first_records(&barrier);
    match StoreFile::create(path, &header, &barrier, first) {
        Err(OpenStoreError::Exists { .. }) => Ok(StoreFile::open(path)?),
        other => Ok(other?),
    }
}

/// Where a secret lies in the store.
fn path_of(id: &str) -> Result<SecretPath, EngineError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = id.chars().all(is_plain)
        && id.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !id.starts_with(ENCODED)
        && id.len() <= NAME_BYTES_MAX;
    let name = match is_name {
        true => id.to_owned(),
        false => format!("{ENCODED}{}", HEXLOWER.encode(id.as_bytes())),
    };
    let path = format!("{FOLDER}/{name}").parse();
    path.map_err(|_| EngineError::LimitExceeded {
        what: "the secret's id".to_owned(),
        limit: "240 bytes".to_owned(),
    })
}

fn id_of(name: &str) -> String {
    let decoded = name.strip_prefix(ENCODED);
    let decoded = decoded.and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_a_place_of_its_own() {
        for id in [
            "API_KEY", "a.b-c", "x-61", "..", "a/b", "-", "", "ключ", "a\nb",
        ] {
            let path = path_of(id).unwrap();
            assert_eq!(id_of(path.leaf()), id);
        }
        assert_ne!(path_of("x-61").unwrap(), path_of("a").unwrap());
        assert!(path_of(&"ж".repeat(200)).is_err());
    }
}
