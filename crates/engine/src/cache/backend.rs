//! A backend of a chain, with its answers kept.

use std::sync::Arc;
use std::sync::OnceLock;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use super::Cache;
use super::Identity;
use super::Kept;

type Answer = Result<Option<Fetched>, BackendError>;

/// Opens the backend, when it has to be asked: opening alone may ask it something.
pub type Open =
    Box<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Backend>, BackendError>> + Send + Sync>;

/// When a kept answer is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One that is not older than this; otherwise the backend is asked, and its answer kept.
    MaxAge(Span),
    /// Always, if it is not older than this; the backend is never asked.
    Offline(Option<Span>),
    /// Never: the backend is asked, and its answer kept.
    Refresh,
}

/// A backend whose answers are kept. Only what a chain asks is; it is not for work by address.
pub struct CachedBackend {
    /// Its kind.
    pub scheme: &'static str,
    /// As it stands in the chain, without options.
    pub label: String,
    /// Whose answers these are.
    pub identity: Identity,
    /// When they are used.
    pub manner: Manner,
    /// Where they are kept.
    pub cache: Arc<Cache>,
    /// The time.
    pub now: Timestamp,
    /// The backend itself.
    pub open: Open,
    /// Filled when it is opened.
    pub opened: OnceLock<Box<dyn Backend>>,
}

impl CachedBackend {
    async fn inner(&self) -> Result<&dyn Backend, BackendError> {
        if let Some(backend) = self.opened.get() {
            return Ok(&**backend);
        }
        let backend = (self.open)().await?;
        Ok(&**self.opened.get_or_init(|| backend))
    }

    /// The kept answer, if it may be used without asking.
    fn kept(&self, lookup: &Lookup) -> Option<Kept> {
        let kept = || self.cache.look(self.cache.id(&self.identity, lookup));
        let is_fresh = |kept: &Kept, age: Span| kept.is_within(age, self.now);
        match self.manner {
            Manner::Refresh => None,
            Manner::Offline(None) => kept(),
            Manner::Offline(Some(age)) => kept().filter(|kept| is_fresh(kept, age)),
            // What was not there is asked for again: it may have been set meanwhile.
            Manner::MaxAge(age) => {
                kept().filter(|kept| is_fresh(kept, age) && self.is_usable(kept))
            }
        }
    }

    fn is_usable(&self, kept: &Kept) -> bool {
        kept.found.as_ref().is_some_and(|found| {
            let is_expired = found.expires_at.is_some_and(|at| at <= self.now);
            !found.value.is_empty() && !is_expired
        })
    }

    fn use_kept(&self, kept: Kept) -> Answer {
        self.cache.note_use(&kept);
        Ok(kept.found)
    }

    fn not_kept(&self, lookup: &Lookup) -> BackendError {
        let kept = self.cache.look(self.cache.id(&self.identity, lookup));
        let name = &lookup.name;
        let message = match kept {
            Some(_) => {
                format!("what the cache has of {name} is too old, and --offline asks nobody")
            }
            None => format!("the cache has no answer about {name}, and --offline asks nobody"),
        };
        self.error(message)
            .with_hint("fill the cache while online: strongroom check --max-age 1h")
    }

    fn error(&self, message: impl Into<String>) -> BackendError {
        BackendError::new(BackendErrorKind::Unreachable, self.label.clone(), message)
    }

    /// Keeps an answer of the backend, and says what it counts for.
    fn take(&self, lookup: &Lookup, answer: Answer) -> Answer {
        let id = self.cache.id(&self.identity, lookup);
        match answer {
            Ok(found) => {
                let kept = Kept {
                    name: lookup.name.clone(),
                    source: self.label.clone(),
                    fetched: self.now,
                    found,
                };
                self.cache.put(id, &kept);
                Ok(kept.found)
            }
            // Who may not read it any more does not read it from a file either.
            Err(error) if error.kind == BackendErrorKind::Denied => {
                self.cache.forget(id, self.now);
                Err(error)
            }
            Err(error) => self.instead_of(lookup, error),
        }
    }

    /// For a backend that cannot be reached, a "not found" of allowed age stands. No value is
    /// here: one of allowed age is used without asking.
    fn instead_of(&self, lookup: &Lookup, error: BackendError) -> Answer {
        let is_away = matches!(
            error.kind,
            BackendErrorKind::Unreachable | BackendErrorKind::Throttled
        );
        let Manner::MaxAge(age) = self.manner else {
            return Err(error);
        };
        let kept = self.cache.look(self.cache.id(&self.identity, lookup));
        match kept.filter(|kept| kept.found.is_none() && kept.is_within(age, self.now)) {
            Some(kept) if is_away => self.use_kept(kept),
            _ => Err(error),
        }
    }

    async fn ask(&self, lookups: &[Lookup]) -> Vec<Answer> {
        if let Manner::Offline(_) = self.manner {
            let error = |lookup| Err(self.not_kept(lookup));
            return lookups.iter().map(error).collect();
        }
        let answers = match self.inner().await {
            Ok(inner) => inner.get_many(lookups).await,
            Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
        };
        let answers = lookups.iter().zip(answers);
        answers
            .map(|(lookup, answer)| self.take(lookup, answer))
            .collect()
    }
}

impl Backend for CachedBackend {
    fn scheme(&self) -> &'static str {
        self.scheme
    }

    fn describe(&self) -> String {
        self.label.clone()
    }

    fn capabilities(&self) -> Capabilities {
        match self.opened.get() {
            Some(backend) => backend.capabilities(),
            // Not asked yet: a value that would be generated there is refused by `set`, and goes
            // nowhere else.
            None => Capabilities {
                write: true,
                ..Capabilities::default()
            },
        }
    }

    fn get_many<'a>(&'a self, lookups: &'a [Lookup]) -> BoxFuture<'a, Vec<Answer>> {
        Box::pin(async move {
            let kept = lookups.iter().map(|lookup| self.kept(lookup));
            let kept: Vec<Option<Answer>> = kept
                .map(|kept| kept.map(|kept| self.use_kept(kept)))
                .collect();
            let open: Vec<Lookup> = lookups
                .iter()
                .zip(&kept)
                .filter(|(_, kept)| kept.is_none())
                .map(|(lookup, _)| lookup.clone())
                .collect();
            let mut asked = match open.is_empty() {
                true => Vec::new(),
                false => self.ask(&open).await,
            }
            .into_iter();
            let unanswered = || Err(self.error("it gave fewer answers than it was asked for"));
            kept.into_iter()
                .map(|kept| kept.unwrap_or_else(|| asked.next().unwrap_or_else(unanswered)))
                .collect()
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            if let Manner::Offline(_) = self.manner {
                let message = format!("{} cannot be written, --offline asks nobody", lookup.name);
                return Err(self.error(message));
            }
            self.cache
                .forget(self.cache.id(&self.identity, lookup), self.now);
            self.inner().await?.set(lookup, value).await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move {
            match self.manner {
                Manner::Offline(_) => Err(self.error("--offline asks nobody")),
                _ => self.inner().await?.list().await,
            }
        })
    }
}
