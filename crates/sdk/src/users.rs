//! Keys of the application's own users: their own first, then the system's.

mod notes;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use strongroom_core::path::SecretPath;
use strongroom_core::port::BackendError;
use strongroom_core::secret::SecretValue;
use strongroom_userkeys::Database;
use strongroom_userkeys::DatabaseUrl;
use strongroom_userkeys::KeyName;
use strongroom_userkeys::UserId;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;
use tokio::sync::RwLock;

use self::notes::Notes;
use crate::environment::Environment;
use crate::error::GetError;
use crate::error::LoadError;
use crate::secrets::Secrets;
use crate::store::Place;
use crate::store::StoreLink;

/// Users' keys in memory; of more, those that came first are forgotten.
const CACHED_MAX: usize = 10_000;
/// Connections of the pool.
const CONNECTIONS: usize = 16;
/// What stands in the place of a database's address where a server is meant.
#[cfg(feature = "vault")]
const SERVER: &str = "server:";

/// A key of a user cannot be had. Never quotes a value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserKeyError {
    /// Neither the user nor the system has it.
    #[error(
        "neither user {user} nor the system has a key {name}: strongroom userkeys set {user} \
         {name} sets the user's; {system}"
    )]
    NotFound {
        /// Whose.
        user: String,
        /// Which key.
        name: String,
        /// What was said about the system's.
        system: String,
    },
    /// Neither a database nor a server is named.
    #[error(
        "no database with users' keys is named (STRONGROOM_USERKEYS_DATABASE), and no server that \
         serves them (STRONGROOM_ADDR)"
    )]
    NoDatabase,
    /// The address of the database makes no sense.
    #[error("the address of the database with users' keys: {0}")]
    Address(strongroom_userkeys::UrlError),
    /// The store whose keys seal them is not there or does not open.
    #[error("the store whose keys seal users' keys: {0}")]
    Store(String),
    /// The user's key cannot be read. The system's does not take its place.
    #[error("{0}")]
    UserKeys(UserKeysError),
    /// The server that serves users' keys does not give the user's. The system's does not take its
    /// place.
    #[error("{0}")]
    Server(BackendError),
    /// The system's key cannot be read.
    #[error("{0}")]
    System(GetError),
    /// Reads cannot be noted in the store.
    #[error("reads of users' keys cannot be noted: {0}")]
    Audit(String),
}

impl UserKeyError {
    /// True when neither the user nor the system has it.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// One user's keys; the system's where the user has none.
#[derive(Clone, Debug)]
pub struct ForUser {
    secrets: Secrets,
    user: UserId,
}

impl ForUser {
    pub(crate) fn new(secrets: Secrets, user: &str) -> Result<Self, UserKeyError> {
        let user = UserId::parse(user).map_err(UserKeyError::UserKeys)?;
        Ok(Self { secrets, user })
    }

    /// The user's own key, from memory or the database; where there is none, the system's: the
    /// declared secret of that name or path.
    ///
    /// # Errors
    /// [`UserKeyError::NotFound`] only when neither is there.
    pub async fn get(&self, name: &str) -> Result<SecretValue, UserKeyError> {
        let key = KeyName::parse(name).map_err(UserKeyError::UserKeys)?;
        if let Some(value) = self.secrets.users().own(&self.user, &key).await? {
            return Ok(value);
        }
        let not_found = |system: String| UserKeyError::NotFound {
            user: self.user.to_string(),
            name: name.to_owned(),
            system,
        };
        let Some(declared) = self.secrets.declared(name) else {
            return Err(not_found(format!("the manifest declares no secret {name}")));
        };
        let system = self.secrets.get(declared).await;
        system.map_err(|error| match error {
            GetError::NotFound { .. } => not_found(error.to_string()),
            error => UserKeyError::System(error),
        })
    }

    /// Forgets this user's keys in memory: the next `get` asks the database.
    pub fn forget(&self) {
        self.secrets.users().forget(&self.user);
    }
}

/// Where users' keys are, opened by the first that asks for one.
pub(crate) struct Users {
    url: Option<SecretValue>,
    password: Option<SecretValue>,
    place: Place,
    environment: Environment,
    ttl: Duration,
    opened: RwLock<Option<Opened>>,
    cache: Mutex<Cache>,
}

#[derive(Clone)]
enum Opened {
    /// The table; reads of it are noted in the store.
    Table { keys: UserKeys, notes: Arc<Notes> },
    /// A server; it notes reads itself.
    #[cfg(feature = "vault")]
    Served(Arc<strongroom_chain::users::ServedKeys>),
}

#[derive(Default)]
struct Cache {
    /// `None`: the user has no such key.
    kept: HashMap<(UserId, KeyName), (Instant, Option<SecretValue>)>,
    order: VecDeque<(UserId, KeyName)>,
}

impl Users {
    pub(crate) fn new(
        environment: &Environment,
        url: Option<SecretValue>,
        place: Place,
        ttl: Duration,
    ) -> Self {
        let named = |name: &str| {
            let text = environment.text(name)?;
            Some(SecretValue::from_text(text.to_owned()))
        };
        Self {
            url: url.or_else(|| named("STRONGROOM_USERKEYS_DATABASE")),
            password: named("PGPASSWORD"),
            place,
            environment: Environment::of(environment.all.clone()),
            ttl,
            opened: RwLock::new(None),
            cache: Mutex::default(),
        }
    }

    /// The user's own key; `None` where there is none.
    async fn own(
        &self,
        user: &UserId,
        name: &KeyName,
    ) -> Result<Option<SecretValue>, UserKeyError> {
        let place = (user.clone(), name.clone());
        if let Some((at, value)) = self.cache().kept.get(&place)
            && at.elapsed() < self.ttl
        {
            return Ok(value.clone());
        }
        let asked = Instant::now();
        let value = self.ask(user, name).await?;
        if !self.ttl.is_zero() {
            self.cache().keep(place, asked, value.clone());
        }
        Ok(value)
    }

    /// What the table or the server has.
    async fn ask(
        &self,
        user: &UserId,
        name: &KeyName,
    ) -> Result<Option<SecretValue>, UserKeyError> {
        let mut tries = 0;
        loop {
            let (keys, notes) = match self.opened().await? {
                Opened::Table { keys, notes } => (keys, notes),
                #[cfg(feature = "vault")]
                Opened::Served(keys) => {
                    let value = keys.get(user.as_str(), name.as_str()).await;
                    return value.map_err(UserKeyError::Server);
                }
            };
            let found = keys.get(user, name).await;
            if tries == 0 && matches!(found, Err(UserKeysError::UnknownKey { .. })) {
                // Somebody has made a new data key since the store was opened.
                tries += 1;
                *self.opened.write().await = None;
                continue;
            }
            let is_found = matches!(found, Ok(Some(_)));
            notes.add(user, name, is_found).await?;
            let found = found.map_err(UserKeyError::UserKeys)?;
            return Ok(found.map(|found| found.value));
        }
    }

    fn forget(&self, user: &UserId) {
        let mut cache = self.cache();
        cache.kept.retain(|(owner, _), _| owner != user);
        cache.order.retain(|(owner, _)| owner != user);
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn opened(&self) -> Result<Opened, UserKeyError> {
        if let Some(opened) = &*self.opened.read().await {
            return Ok(opened.clone());
        }
        let mut slot = self.opened.write().await;
        if let Some(opened) = &*slot {
            return Ok(opened.clone());
        }
        let opened = self.open().await?;
        *slot = Some(opened.clone());
        Ok(opened)
    }

    async fn open(&self) -> Result<Opened, UserKeyError> {
        #[cfg(feature = "vault")]
        if let Some(served) = self.served()? {
            return Ok(Opened::Served(Arc::new(served)));
        }
        let url = self.url.as_ref().ok_or(UserKeyError::NoDatabase)?;
        // EXPOSE: an address with a password, for the one that reads it.
        let text = url.expose_secret_text().unwrap_or_default();
        let url: DatabaseUrl = text.parse().map_err(UserKeyError::Address)?;
        let url = match (&self.password, url.has_password()) {
            (Some(password), false) => url.with_password(password),
            _ => url,
        };
        let failed = |error: LoadError| UserKeyError::Store(error.to_string());
        let store = StoreLink::open(&self.environment, &self.place, String::new());
        let store = store.map_err(failed)?;
        let engine = store.engine().cloned();
        let engine = engine.ok_or_else(|| UserKeyError::Store("there is none yet".into()))?;
        let database = Database::lazy(&url, Some(CONNECTIONS)).map_err(UserKeyError::UserKeys)?;
        let keys = UserKeys::open(&database, None, engine.barrier()).await;
        let keys = keys.map_err(UserKeyError::UserKeys)?;
        let mut old = Vec::new();
        for path in &keys.attachment().settings().pgcrypto_keys {
            let Ok(path) = path.parse::<SecretPath>() else {
                continue;
            };
            // One that is not there opens no row: the row says so.
            if let Ok(secret) = engine.read(&store.context(), &path, None).await {
                old.push(secret.payload.value);
            }
        }
        let table = keys.attachment().name();
        let notes = Notes::open(store, engine, table).await?;
        Ok(Opened::Table {
            keys: keys.with_pgcrypto_keys(old),
            notes,
        })
    }

    /// The server that serves users' keys: the one that is named in the place of a database, or
    /// where no database is, the one that stands in the store's place.
    #[cfg(feature = "vault")]
    fn served(&self) -> Result<Option<strongroom_chain::users::ServedKeys>, UserKeyError> {
        use strongroom_chain::users::ServedKeys;
        let variables = &self.environment.variables;
        // EXPOSE: an address with a password, to see what it is an address of.
        let named = self.url.as_ref().and_then(SecretValue::expose_secret_text);
        let is_served = match named {
            Some(address) => address == SERVER,
            None => self.environment.text("STRONGROOM_ADDR").is_some(),
        };
        match is_served {
            true => ServedKeys::open(variables)
                .map(Some)
                .map_err(UserKeyError::Server),
            false => Ok(None),
        }
    }
}

impl Cache {
    fn keep(&mut self, place: (UserId, KeyName), at: Instant, value: Option<SecretValue>) {
        if self.kept.insert(place.clone(), (at, value)).is_none() {
            self.order.push_back(place);
        }
        while self.kept.len() > CACHED_MAX {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.kept.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_bound() {
        let mut cache = Cache::default();
        let place = |at: usize| {
            let user = UserId::parse(&format!("u{at}")).unwrap();
            (user, KeyName::parse("k").unwrap())
        };
        for at in 0..CACHED_MAX + 5 {
            cache.keep(place(at), Instant::now(), None);
            cache.keep(place(at), Instant::now(), None);
        }
        assert_eq!(
            (cache.kept.len(), cache.order.len()),
            (CACHED_MAX, CACHED_MAX)
        );
        assert!(!cache.kept.contains_key(&place(4)));
        assert!(cache.kept.contains_key(&place(5)));
    }
}
