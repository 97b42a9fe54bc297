//! Backends on this machine for programs that run for long.

use strongroom_backends::open::Surroundings;
use strongroom_backends::open::open;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;

/// A backend that is opened anew for each question: one that reads a file keeps what it has read.
pub struct Fresh {
    uri: BackendUri,
    around: Surroundings,
    first: Box<dyn Backend>,
}

impl Fresh {
    /// Opens it once, to see whether it can be; `None` for a scheme that is not of this machine.
    #[must_use]
    pub fn open(uri: &BackendUri, around: Surroundings) -> Option<Result<Self, BackendError>> {
        let first = match open(uri, &around)? {
            Ok(first) => first,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Self {
            uri: uri.clone(),
            around,
            first,
        }))
    }

    fn again(&self) -> Result<Box<dyn Backend>, BackendError> {
        let gone = || {
            let kind = BackendErrorKind::Misconfigured;
            Err(BackendError::new(
                kind,
                self.describe(),
                "it is not known any more",
            ))
        };
        open(&self.uri, &self.around).unwrap_or_else(gone)
    }
}

impl Backend for Fresh {
    fn scheme(&self) -> &'static str {
        self.first.scheme()
    }

    fn describe(&self) -> String {
        self.first.describe()
    }

    fn capabilities(&self) -> Capabilities {
        self.first.capabilities()
    }

    fn address(&self, lookup: &Lookup) -> String {
        self.first.address(lookup)
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            match self.again() {
                Ok(backend) => backend.get_many(lookups).await,
                Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
            }
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move { self.again()?.set(lookup, value).await })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move { self.again()?.list().await })
    }
}
