//! The store before it is made: it holds nothing, and is named in reports all the same.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::Page;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;

/// `store` in a chain when there is no store yet and the command makes none.
pub(crate) struct AbsentStore;

impl Backend for AbsentStore {
    fn scheme(&self) -> &'static str {
        "store"
    }

    fn describe(&self) -> String {
        "store".into()
    }

    /// Those of the store that the first write makes.
    fn capabilities(&self) -> Capabilities {
        strongroom_engine::backend::store_capabilities()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async { lookups.iter().map(|_| Ok(None)).collect() })
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async {
            Err(BackendError::new(
                BackendErrorKind::Unsupported,
                self.describe(),
                "there is no store yet",
            ))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn read<'a>(
        &'a self,
        _address: &'a str,
        _version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn page<'a>(
        &'a self,
        _prefix: &'a str,
        _after: Option<&'a str>,
        _limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(std::future::ready(Ok(Page::default())))
    }

    fn details<'a>(
        &'a self,
        _address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
