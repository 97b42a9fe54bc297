//! The port.

use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Page;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::port::every_address;

use crate::GcpBackend;
use crate::VALUE_BYTES_MAX;

impl Backend for GcpBackend {
    fn scheme(&self) -> &'static str {
        "gcp"
    }

    fn describe(&self) -> String {
        self.name.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            versions: true,
            list: true,
            delete: true,
            description: true,
            tags: true,
            binary: true,
            value_bytes_max: Some(VALUE_BYTES_MAX),
            ..Capabilities::default()
        }
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move {
            match self.prefix.as_str() {
                "" => every_address(self, "").await,
                prefix => every_address(self, &format!("{prefix}/")).await,
            }
        })
    }

    fn address(&self, lookup: &Lookup) -> String {
        self.template.address(lookup)
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move {
            match self.page_of("", None, 1).await {
                Ok(_) => Ok(format!("Secret Manager, project {}", self.project)),
                // Who may read single secrets is often not allowed to list them.
                Err(error) if error.kind == BackendErrorKind::Denied => {
                    Err(error.with_hint("listing is not allowed; single secrets may still be"))
                }
                Err(error) => Err(error),
            }
        })
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(self.read_one(address, version))
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(self.read_all(addresses))
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(self.put(address, value))
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(self.page_of(prefix, after, limit))
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        Box::pin(self.details_of(address))
    }

    fn annotate<'a>(
        &'a self,
        address: &'a str,
        annotation: &'a Annotation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.annotate_address(address, annotation))
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        _removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.remove_address(address))
    }
}
