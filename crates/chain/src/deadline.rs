//! One deadline for the questions of a chain: a backend that does not answer in time is
//! unreachable, whatever it waits for.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Page;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionChange;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;

/// Something was written, changed or removed over a network: kept answers may be wrong now.
static HAS_WRITTEN: AtomicBool = AtomicBool::new(false);

/// True when this process has changed something in a backend over a network, or has tried to.
pub(crate) fn has_written() -> bool {
    HAS_WRITTEN.load(Ordering::Relaxed)
}

fn note_write() {
    HAS_WRITTEN.store(true, Ordering::Relaxed);
}

/// A backend with a deadline. Bulk work by address (migration, backup) takes as long as it
/// takes: there every request has its backend's own limit.
pub(crate) struct Deadline {
    inner: Box<dyn Backend>,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn new(inner: Box<dyn Backend>, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, BackendError> {
        tokio::time::timeout(self.limit, work).await.map_err(|_| {
            let seconds = self.limit.as_secs();
            let message = format!("it did not answer within {seconds} s");
            BackendError::new(
                BackendErrorKind::Unreachable,
                self.inner.describe(),
                message,
            )
            .with_hint("STRONGROOM_TIMEOUT sets another number of seconds")
        })
    }
}

impl Backend for Deadline {
    fn scheme(&self) -> &'static str {
        self.inner.scheme()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self, lookup: &Lookup) -> String {
        self.inner.address(lookup)
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            match self.within(self.inner.get_many(lookups)).await {
                Ok(found) => found,
                Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
            }
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        note_write();
        Box::pin(async move { self.within(self.inner.set(lookup, value)).await? })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        self.inner.list()
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move { self.within(self.inner.health()).await? })
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        self.inner.read(address, version)
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        self.inner.read_many(addresses)
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        note_write();
        self.inner.write(address, value)
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        self.inner.page(prefix, after, limit)
    }

    fn listed<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Result<Option<BTreeSet<String>>, BackendError>> {
        self.inner.listed(addresses)
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        self.inner.details(address)
    }

    fn annotate<'a>(
        &'a self,
        address: &'a str,
        annotation: &'a Annotation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        self.inner.annotate(address, annotation)
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        note_write();
        self.inner.remove(address, removal)
    }

    fn change_versions<'a>(
        &'a self,
        address: &'a str,
        versions: &'a [String],
        change: VersionChange,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        note_write();
        self.inner.change_versions(address, versions, change)
    }

    fn restore<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<bool, BackendError>> {
        note_write();
        self.inner.restore(address)
    }

    fn rotate<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, BackendError>> {
        note_write();
        self.inner.rotate(address)
    }
}
