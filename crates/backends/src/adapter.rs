//! What the small backends have in common: they are asked one thing at a time, may take their
//! time, and keep texts under names without versions.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Page;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;

use crate::names;
use crate::pages;

/// A backend that blocks while it is asked. [`Adapter`] asks it on threads of their own.
pub(crate) trait Blocking: Send + Sync + 'static {
    /// The name of its kind.
    fn scheme(&self) -> &'static str;

    /// What a person reads in a report.
    fn describe(&self) -> String;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The addresses at which a declared secret may be, best first.
    fn candidates(&self, lookup: &Lookup) -> Vec<String> {
        spellings(lookup)
    }

    /// Reads many addresses, in order; an error is that of all of them.
    fn read_all(&self, addresses: &[String]) -> Result<Vec<Found>, BackendError>;

    /// All addresses, sorted.
    fn addresses(&self) -> Result<Vec<String>, BackendError>;

    /// Writes one.
    fn write(&self, address: &str, value: &NewValue) -> Result<Stored, BackendError> {
        let _ = (address, value);
        Err(self.unsupported("be written"))
    }

    /// Removes one; says whether there was one.
    fn remove(&self, address: &str) -> Result<bool, BackendError> {
        let _ = address;
        Err(self.unsupported("remove"))
    }

    /// Whether it can be used.
    fn health(&self) -> Result<String, BackendError> {
        Ok(format!("{} secrets", self.addresses()?.len()))
    }

    /// An error of it.
    fn error(&self, kind: BackendErrorKind, message: impl Into<String>) -> BackendError
    where
        Self: Sized,
    {
        BackendError::new(kind, self.describe(), message)
    }

    /// The error for what it cannot do.
    fn unsupported(&self, what: &str) -> BackendError {
        let message = format!("a {} backend cannot {what}", self.scheme());
        BackendError::new(BackendErrorKind::Unsupported, self.describe(), message)
    }
}

/// What one address gave.
pub(crate) type Found = Result<Option<SecretValue>, BackendError>;

/// The name, the path, and the path as a variable.
pub(crate) fn spellings(lookup: &Lookup) -> Vec<String> {
    let mut spellings = vec![lookup.name.clone()];
    for spelling in [lookup.path.clone(), names::upper_snake(&lookup.path)] {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// Makes a [`Backend`] of what blocks.
pub(crate) struct Adapter<T>(Arc<T>);

impl<T: Blocking> Adapter<T> {
    pub(crate) fn boxed(blocking: T) -> Box<dyn Backend> {
        Box::new(Self(Arc::new(blocking)))
    }

    /// Does a job on a thread of its own. Who stops waiting leaves it to end by its own deadline.
    fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&T) -> Result<R, BackendError> + Send + 'static,
    ) -> Waiting<Result<R, BackendError>> {
        let answer = Arc::new(Slot::default());
        let (blocking, for_thread) = (Arc::clone(&self.0), Arc::clone(&answer));
        let lost = self
            .0
            .error(BackendErrorKind::Unreachable, "asking it failed half-way");
        let lost_too = lost.clone();
        let started = std::thread::Builder::new()
            .name(self.0.scheme().to_owned())
            .spawn(move || {
                // Fills the slot also when the job panics.
                let mut filler = Filler(&for_thread, Some(Err(lost)));
                filler.1 = Some(job(&blocking));
            });
        if started.is_err() {
            answer.fill(Err(lost_too));
        }
        Waiting(answer)
    }
}

struct Slot<R>(Mutex<(Option<R>, Option<Waker>)>);

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self(Mutex::new((None, None)))
    }
}

impl<R> Slot<R> {
    fn fill(&self, answer: R) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Some(answer);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

struct Filler<'a, R>(&'a Slot<R>, Option<R>);

impl<R> Drop for Filler<'_, R> {
    fn drop(&mut self) {
        if let Some(answer) = self.1.take() {
            self.0.fill(answer);
        }
    }
}

struct Waiting<R>(Arc<Slot<R>>);

impl<R> Future for Waiting<R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T: Blocking> Backend for Adapter<T> {
    fn scheme(&self) -> &'static str {
        self.0.scheme()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let candidates = lookups.iter().map(|lookup| self.0.candidates(lookup));
            let candidates: Vec<Vec<String>> = candidates.collect();
            let wanted = candidates.concat();
            let read = match self.ask(move |backend| backend.read_all(&wanted)).await {
                Ok(read) => read,
                Err(error) => return lookups.iter().map(|_| Err(error.clone())).collect(),
            };
            let mut read = read.into_iter();
            let per_lookup = candidates.iter().map(|spellings| {
                // All of them are taken, so that the next lookup gets its own.
                let found: Vec<Found> = read.by_ref().take(spellings.len()).collect();
                first(found)
            });
            per_lookup.collect()
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let candidates = self.0.candidates(lookup);
            let value = NewValue::new(Payload::detect(value.clone()));
            let written = self.ask(move |backend| {
                let found = backend.read_all(&candidates)?;
                let is_there = |found: &Found| !matches!(found, Ok(None));
                let place = found.iter().position(is_there).unwrap_or(0);
                let Some(address) = candidates.get(place) else {
                    return Err(backend.unsupported("name this secret"));
                };
                backend.write(address, &value)
            });
            written.await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(self.ask(Blocking::addresses))
    }

    fn address(&self, lookup: &Lookup) -> String {
        let first = self.0.candidates(lookup).into_iter().next();
        first.unwrap_or_else(|| lookup.name.clone())
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(self.ask(Blocking::health))
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(async move {
            if *version != VersionRef::Current {
                return Err(self.0.unsupported("keep versions"));
            }
            let wanted = [address.to_owned()];
            let mut read = self.ask(move |backend| backend.read_all(&wanted)).await?;
            Ok(read.pop().transpose()?.flatten().map(item))
        })
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(async move {
            let wanted = addresses.to_vec();
            match self.ask(move |backend| backend.read_all(&wanted)).await {
                Ok(read) => read.into_iter().map(|found| Ok(found?.map(item))).collect(),
                Err(error) => addresses.iter().map(|_| Err(error.clone())).collect(),
            }
        })
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        let (address, value) = (address.to_owned(), value.clone());
        Box::pin(self.ask(move |backend| backend.write(&address, &value)))
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(async move {
            if !self.0.capabilities().list {
                return Err(self.0.unsupported("list"));
            }
            let addresses = self.ask(Blocking::addresses).await?;
            Ok(pages::page(&addresses, prefix, after, limit))
        })
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        _removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let address = address.to_owned();
        Box::pin(self.ask(move |backend| backend.remove(&address)))
    }
}

/// The first that is there, or the failure before it.
fn first(found: Vec<Found>) -> Result<Option<Fetched>, BackendError> {
    for one in found {
        if let Some(value) = one? {
            return Ok(Some(Fetched {
                value,
                version: None,
                expires_at: None,
            }));
        }
    }
    Ok(None)
}

fn item(value: SecretValue) -> Item {
    Item {
        payload: Payload::detect(value),
        version: None,
        stages: Vec::new(),
        created: None,
        expires_at: None,
    }
}
