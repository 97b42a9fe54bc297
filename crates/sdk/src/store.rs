//! The user's store as a link of the chain: opened without asking anybody.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use strongroom_chain::passphrase;
use strongroom_chain::passphrase::PassphraseFileError;
use strongroom_chain::places;
use strongroom_chain::unlock;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Rng;
use strongroom_core::port::Storage;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_engine::Engine;
use strongroom_engine::backend::StoreBackend;
use strongroom_engine::backend::store_capabilities;
use strongroom_engine::context::OpContext;
use strongroom_engine::state::State;
use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;

use crate::environment::Environment;
use crate::error::LoadError;
use crate::notes::Notes;
use crate::secrets::now;

/// Where the store and its key are, as far as the application says. A store may be an address with
/// a password.
#[derive(Clone, Default)]
pub(crate) struct Place {
    pub(crate) store: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) passphrase: Option<SecretValue>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// The store; before it is made, a place without secrets.
pub(crate) struct StoreLink {
    engine: Option<Engine>,
    /// Where its ledger lies.
    state: Option<State>,
    /// `None` where the store is a database.
    #[cfg(feature = "userkeys")]
    file: Option<PathBuf>,
    actor: String,
    folder: String,
}

impl StoreLink {
    pub(crate) fn open(
        environment: &Environment,
        place: &Place,
        folder: String,
    ) -> Result<Self, LoadError> {
        let named = |name: &str| environment.text(name).map(PathBuf::from);
        let config_folder = places::xdg(named, "XDG_CONFIG_HOME", ".config");
        let config = match &config_folder {
            Some(folder) => places::read_config(&folder.join("config.toml"))?,
            None => places::ConfigFile::default(),
        };
        let data = places::xdg(named, "XDG_DATA_HOME", ".local/share");
        let path = place.store.clone().or_else(|| named("STRONGROOM_STORE"));
        let path = path.or(config.store).or(data.map(|it| it.join("store.db")));
        let path = path.ok_or(LoadError::NoHome)?;
        let key = place
            .key_file
            .clone()
            .or_else(|| named("STRONGROOM_KEY_FILE"));
        let key = key.or(config.key_file);
        let key = key.or(config_folder.map(|it| it.join("store.key")));
        let key = key.ok_or(LoadError::NoHome)?;
        let passphrase_file = named("STRONGROOM_PASSPHRASE_FILE");
        let passphrase = || match (&place.passphrase, &passphrase_file) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Some(file)) => passphrase::read(file).map(Some),
            (None, None) => Ok(None),
        };
        let address = path.to_str().filter(|text| is_database(text));
        let opened = match address {
            Some(address) => Some(of_database(address, environment, &key, passphrase)?),
            None => match StoreFile::open(&path) {
                Ok(file) => Some(of_file(file, &key, passphrase)?),
                Err(OpenStoreError::Missing { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        let (engine, state) = opened.unzip();
        #[cfg(feature = "userkeys")]
        let file = match address {
            Some(_) => None,
            None => Some(path),
        };
        let user = environment
            .text("USER")
            .or_else(|| environment.text("LOGNAME"));
        Ok(Self {
            engine,
            state,
            #[cfg(feature = "userkeys")]
            file,
            actor: user.unwrap_or("unknown").to_owned(),
            folder,
        })
    }

    /// What tells its ledger, and as whom; `None` before the store is made.
    pub(crate) fn notes(&self) -> Option<Notes> {
        let state = self.state.clone()?;
        Some(Notes::new(state, self.actor.clone()))
    }

    /// The store's records; `None` before it is made.
    #[cfg(feature = "userkeys")]
    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// The store's file; `None` where it is a database.
    #[cfg(feature = "userkeys")]
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Who asks, now.
    pub(crate) fn context(&self) -> OpContext {
        let mut id = [0; 8];
        SystemRng.fill(&mut id);
        OpContext {
            actor: self.actor.clone(),
            door: "sdk".to_owned(),
            request_id: HEXLOWER.encode(&id),
            now: now(),
        }
    }

    /// The backend for one question: it is asked at another time than the one before.
    fn backend(&self) -> Option<StoreBackend> {
        let engine = self.engine.clone()?;
        Some(StoreBackend::new(
            engine,
            self.context(),
            self.folder.clone(),
        ))
    }
}

/// Whether this is the address of a database, and no file.
fn is_database(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// The secrets of a store, and what else lies in it.
type Opened = (Engine, State);

fn opened(storage: Arc<dyn Storage>, barrier: Barrier) -> Opened {
    let state = State::new(Arc::clone(&storage), barrier.clone());
    (Engine::new(storage, barrier), state)
}

fn of_file(
    file: StoreFile,
    key_file: &Path,
    passphrase: impl FnOnce() -> Result<Option<SecretValue>, PassphraseFileError>,
) -> Result<Opened, LoadError> {
    let barrier = unlocked(file.header(), key_file, passphrase)?;
    let storage = file.unlock(&barrier, Writes::Inline, Rollback::Refuse)?;
    Ok(opened(Arc::new(storage), barrier))
}

#[cfg(feature = "postgres")]
fn of_database(
    address: &str,
    environment: &Environment,
    key_file: &Path,
    passphrase: impl FnOnce() -> Result<Option<SecretValue>, PassphraseFileError>,
) -> Result<Opened, LoadError> {
    use strongroom_store_postgres::Database;
    use strongroom_store_postgres::DatabaseUrl;
    use strongroom_store_postgres::OpenDatabaseError;
    use strongroom_store_postgres::Options;
    let url: DatabaseUrl = address.parse().map_err(LoadError::Address)?;
    let url = match (environment.text("PGPASSWORD"), url.has_password()) {
        (Some(password), false) => url.with_password(&SecretValue::copy_from(password.as_bytes())),
        _ => url,
    };
    let database = Database::connect(&url, Options::default())?;
    let failed = |error| OpenDatabaseError::Storage {
        place: database.place().to_owned(),
        error,
    };
    let header = database.header().map_err(failed)?;
    let header = header.ok_or_else(|| OpenDatabaseError::Missing {
        place: database.place().to_owned(),
    })?;
    let barrier = unlocked(&header, key_file, passphrase)?;
    Ok(opened(database.open(), barrier))
}

#[cfg(not(feature = "postgres"))]
fn of_database(
    _address: &str,
    _environment: &Environment,
    _key_file: &Path,
    _passphrase: impl FnOnce() -> Result<Option<SecretValue>, PassphraseFileError>,
) -> Result<Opened, LoadError> {
    Err(LoadError::NoPostgres)
}

fn unlocked(
    header: &Header,
    key_file: &Path,
    passphrase: impl FnOnce() -> Result<Option<SecretValue>, PassphraseFileError>,
) -> Result<Barrier, LoadError> {
    let mut refused = Vec::new();
    let mut found = unlock::without_a_person(header, key_file, &mut refused)?;
    if found.is_none() && passphrase::is_taken(header) {
        match passphrase()? {
            Some(passphrase) => {
                found = passphrase::unseal(header, &passphrase);
                refused.push("the passphrase does not open it".into());
            }
            None => refused.push("no passphrase: STRONGROOM_PASSPHRASE_FILE names none".into()),
        }
    }
    let Some((unsealed, _)) = found else {
        let slots = unlock::slots_in_words(header);
        refused.push(format!("its key slots: {slots}"));
        return Err(LoadError::Locked { refused });
    };
    Ok(Barrier::new(header.store_id(), &unsealed.keyring))
}

impl Backend for StoreLink {
    fn scheme(&self) -> &'static str {
        "store"
    }

    fn describe(&self) -> String {
        "store".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        store_capabilities()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            match self.backend() {
                Some(backend) => backend.get_many(lookups).await,
                None => lookups.iter().map(|_| Ok(None)).collect(),
            }
        })
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("write here"))))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move {
            match self.backend() {
                Some(backend) => backend.list().await,
                None => Ok(Vec::new()),
            }
        })
    }
}
