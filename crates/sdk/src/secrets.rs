use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strongroom_core::manifest;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Profile;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Fallback;
use strongroom_engine::resolve::Generate;
use strongroom_engine::resolve::Link;
use strongroom_engine::resolve::Request;
use strongroom_engine::resolve::Resolution;
use strongroom_engine::resolve::Severity;

use crate::builder::Builder;
use crate::builder::OnError;
use crate::cache::Cache;
use crate::environment::Environment;
use crate::error::GetError;
use crate::error::LoadError;
use crate::notes::Notes;

/// The declared secrets of one project and profile. Cheap to clone; clones share what is in
/// memory.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

struct Inner {
    manifest: Manifest,
    profile: Profile,
    links: Vec<Link>,
    environment: Environment,
    cache: Cache,
    on_error: OnError,
    /// `None` where there is no store to keep a ledger.
    notes: Option<Notes>,
    #[cfg(feature = "userkeys")]
    users: crate::users::Users,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("project", &self.inner.manifest.project)
            .field("profile", &self.inner.profile.name)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// Everything as the command line finds it: see [`Builder`]. No secret is fetched yet.
    ///
    /// # Errors
    /// As [`Builder::load`].
    pub async fn load() -> Result<Self, LoadError> {
        Self::builder().load().await
    }

    /// To say which manifest, profile, chain or store.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(
        (manifest, profile): (Manifest, Profile),
        links: Vec<Link>,
        environment: Environment,
        ttl: Duration,
        on_error: OnError,
        notes: Option<Notes>,
        #[cfg(feature = "userkeys")] users: crate::users::Users,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                manifest,
                profile,
                links,
                environment,
                cache: Cache::new(ttl),
                on_error,
                notes,
                #[cfg(feature = "userkeys")]
                users,
            }),
        }
    }

    /// The keys of one user of the application: the user's own first, then the system's.
    ///
    /// # Errors
    /// When `user` cannot be a user's id.
    #[cfg(feature = "userkeys")]
    pub fn for_user(&self, user: &str) -> Result<crate::ForUser, crate::UserKeyError> {
        crate::ForUser::new(self.clone(), user)
    }

    #[cfg(feature = "userkeys")]
    pub(crate) fn users(&self) -> &crate::users::Users {
        &self.inner.users
    }

    /// The declared name of a name or a path.
    #[cfg(feature = "userkeys")]
    pub(crate) fn declared(&self, text: &str) -> Option<&str> {
        let mut declared = self.inner.manifest.declarations().iter();
        let found = declared.find(|it| it.name.as_str() == text || it.path.as_str() == text);
        found.map(|declaration| declaration.name.as_str())
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.inner.profile.name
    }

    /// The declared names, in the manifest's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let declared = self.inner.manifest.declarations().iter();
        declared.map(|declaration| declaration.name.as_str())
    }

    /// The value of a declared secret: from memory, or through the chain when it is too old.
    ///
    /// # Errors
    /// [`GetError::NotFound`] only when every backend of the chain said so.
    pub async fn get(&self, name: &str) -> Result<SecretValue, GetError> {
        self.inner.check_declared(name)?;
        let fetch = || self.inner.fetch(name);
        self.inner.cache.get(name, fetch).await
    }

    /// The value of a declared secret, fetched now.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn refresh(&self, name: &str) -> Result<SecretValue, GetError> {
        self.inner.check_declared(name)?;
        self.inner.cache.forget(name).await;
        self.get(name).await
    }

    /// The value of a declared secret; where it is not found, that of an environment variable,
    /// unless that is empty. A backend's failure is an error, whatever the variable holds, unless
    /// [`Builder::on_error`] says that it goes on.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_or_env(&self, name: &str, variable: &str) -> Result<SecretValue, GetError> {
        let error = match self.get(name).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let goes_on = match &error {
            GetError::NotFound { .. } => true,
            GetError::Backend(_) => self.inner.on_error == OnError::GoOn,
            _ => false,
        };
        let value = self.inner.environment.variables.secret(variable);
        match value.filter(|value| goes_on && !value.is_empty()) {
            Some(value) => Ok(value),
            None => Err(error),
        }
    }
}

impl Secrets {
    /// How long the value before the current one of a declared secret is good.
    pub(crate) fn overlap(&self, name: &str) -> Option<Duration> {
        let declaration = self.inner.manifest.declaration(name)?;
        let text = declaration.rotation.as_ref()?.overlap.as_ref()?;
        // The manifest was checked when it was read.
        let seconds = text.parse::<Span>().ok()?.as_seconds();
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }

    /// Whether the value in memory was fetched longer ago than this.
    pub(crate) async fn is_older(&self, name: &str, age: Duration) -> bool {
        self.inner.cache.is_older(name, age).await
    }
}

impl Inner {
    fn check_declared(&self, name: &str) -> Result<(), GetError> {
        if self.manifest.declaration(name).is_some() {
            return Ok(());
        }
        let known = self.manifest.declarations().iter();
        let known = known.map(|declaration| declaration.name.as_str());
        Err(GetError::Undeclared {
            name: name.to_owned(),
            near: manifest::did_you_mean(name, known).map(Into::into),
        })
    }

    async fn fetch(&self, name: &str) -> Result<SecretValue, GetError> {
        let only = BTreeSet::from([name.to_owned()]);
        let request = Request {
            manifest: &self.manifest,
            profile: &self.profile,
            only: Some(&only),
            allow_placeholders: &[],
            generate: Generate::Never,
            fallback: match self.on_error {
                OnError::Fail => Fallback::NotFound,
                OnError::GoOn => Fallback::OnError,
            },
            elsewhere: None,
            rng: &SystemRng,
            now: now(),
        };
        let resolution = resolve::resolve(&request, &self.links).await;
        if let (Some(notes), Some(resolved)) = (&self.notes, resolution.secrets.last()) {
            let of = (&self.manifest, self.profile.name.as_str());
            notes.note(of, resolved).await;
        }
        self.answer(name, resolution)
    }

    fn answer(&self, name: &str, mut resolution: Resolution<'_>) -> Result<SecretValue, GetError> {
        if let Some(failure) = resolution.failures.pop() {
            return Err(GetError::Backend(failure));
        }
        let value = resolution.secrets.pop().and_then(|secret| secret.value);
        let Some(value) = value else {
            let looked_in = self.links.iter().map(|link| link.backend.describe());
            return Err(GetError::NotFound {
                name: name.to_owned(),
                looked_in: looked_in.collect(),
                fix: format!("strongroom set {name} --profile {}", self.profile.name),
            });
        };
        let errors = resolution.problems.into_iter();
        let errors = errors.filter(|problem| problem.severity == Severity::Error);
        let problems: Vec<String> = errors.map(|problem| problem.message).collect();
        if problems.is_empty() {
            return Ok(value);
        }
        Err(GetError::Rejected {
            name: name.to_owned(),
            problems,
        })
    }
}

/// The time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
