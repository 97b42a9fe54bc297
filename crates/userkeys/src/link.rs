//! A user's own keys as the first link of a chain: before the system's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use strongroom_postgres::ConnectError;

use crate::error::UserKeysError;
use crate::keys::UserKeys;
use crate::name::KeyName;
use crate::name::UserId;

/// Where it is noted that a key was read.
pub trait Trail: Send + Sync {
    /// Notes it; what cannot be noted is not handed out.
    fn note<'a>(
        &'a self,
        user: &'a UserId,
        name: &'a KeyName,
        is_found: bool,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// One user's keys, for the paths that a manifest declares.
pub struct UserLink {
    keys: UserKeys,
    user: UserId,
    trail: Arc<dyn Trail>,
    /// Of a link that is asked again and again: what each key last was, and at which version.
    known: Option<Mutex<BTreeMap<String, Known>>>,
}

/// `None` for a version: there was no key.
struct Known {
    version: Option<String>,
    fetched: Option<Fetched>,
}

const SCHEME: &str = "userkeys";

impl UserLink {
    /// The keys of a user.
    #[must_use]
    pub fn new(keys: UserKeys, user: UserId, trail: Arc<dyn Trail>) -> Self {
        Self {
            keys,
            user,
            trail,
            known: None,
        }
    }

    /// For whoever asks again and again: a key is read, and noted, only when its row is another one
    /// than before.
    #[must_use]
    pub fn watching(self) -> Self {
        Self {
            known: Some(Mutex::default()),
            ..self
        }
    }

    async fn get(&self, lookup: &Lookup) -> Result<Option<Fetched>, BackendError> {
        // A path that cannot be a key's name is nobody's key.
        let Ok(name) = KeyName::parse(&lookup.path) else {
            return Ok(None);
        };
        let Some(known) = &self.known else {
            return self.read(&name).await;
        };
        let version = self.keys.version(&self.user, &name).await;
        let version = version.map_err(|error| error.in_chain())?;
        {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let same = known.get(name.as_str()).filter(|it| it.version == version);
            if let Some(same) = same {
                return Ok(same.fetched.clone());
            }
        }
        // What is read may be newer than this version: then it is read once more.
        let fetched = self.read(&name).await?;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Known {
            version,
            fetched: fetched.clone(),
        };
        known.insert(name.to_string(), now);
        Ok(fetched)
    }

    async fn read(&self, name: &KeyName) -> Result<Option<Fetched>, BackendError> {
        let found = self.keys.get(&self.user, name).await;
        let is_found = matches!(found, Ok(Some(_)));
        let noted = self.trail.note(&self.user, name, is_found).await;
        noted.map_err(|detail| {
            let message = format!("the read of a user's key cannot be noted: {detail}");
            BackendError::new(BackendErrorKind::Unreachable, SCHEME, message)
        })?;
        let found = found.map_err(|error| error.in_chain())?;
        Ok(found.map(|found| Fetched {
            value: found.value,
            version: None,
            expires_at: None,
        }))
    }
}

impl UserKeysError {
    /// The same for a chain.
    #[must_use]
    pub fn in_chain(&self) -> BackendError {
        let kind = match self {
            Self::Connect(ConnectError::Refused { .. } | ConnectError::Untrusted { .. })
            | Self::Denied { .. } => BackendErrorKind::Denied,
            Self::Connect(_) | Self::Unavailable { .. } => BackendErrorKind::Unreachable,
            Self::Damaged { .. } | Self::UnknownForm { .. } => BackendErrorKind::Damaged,
            Self::UnknownKey { .. } => BackendErrorKind::Newer,
            Self::Pgcrypto { .. } => BackendErrorKind::Malformed,
            Self::BadName { .. } => BackendErrorKind::Invalid,
            _ => BackendErrorKind::Misconfigured,
        };
        let error = BackendError::new(kind, SCHEME, self.to_string());
        match self.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl Backend for UserLink {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn describe(&self) -> String {
        format!("the keys of user {}", self.user)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(lookups.len());
            for lookup in lookups {
                found.push(self.get(lookup).await);
            }
            found
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
            let listed = self.keys.list(&self.user).await;
            let listed = listed.map_err(|error| error.in_chain())?;
            Ok(listed.into_iter().map(|key| key.name).collect())
        })
    }
}
