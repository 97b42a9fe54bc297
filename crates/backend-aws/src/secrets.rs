//! AWS Secrets Manager: `aws:[REGION][/PREFIX]`.
//!
//! An address is the secret's full AWS name; reads also take its ARN. A prefix is part of the
//! names that declared secrets get, and the bound of listings.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
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
use strongroom_core::port::Variables;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;

use crate::connection::Connection;
use crate::connection::Service;
use crate::connection::Site;
use crate::connection::TooManyRequests;
use crate::credentials;
use crate::failure::Call;
use crate::payload;
use crate::settings::OPTIONS_SECRETS;
use crate::settings::Settings;

mod describe;
mod read;
mod write;

/// Secrets Manager of one account and region.
pub struct AwsBackend {
    client: Client,
    connection: Connection,
    settings: Settings,
    /// `BatchGetSecretValue` was refused: it is not asked again.
    is_batch_refused: AtomicBool,
}

impl AwsBackend {
    /// Reads the address and finds region and credentials; the service is not asked yet.
    ///
    /// # Errors
    /// Of kind `Misconfigured` at an unknown option, without a region, or with an endpoint that
    /// cannot be used.
    pub fn open<'a>(
        uri: &'a BackendUri,
        variables: &'a Variables,
    ) -> BoxFuture<'a, Result<Self, BackendError>> {
        // Boxed here, so that the futures of the library are compiled with this crate.
        Box::pin(Self::connect(uri, variables))
    }

    async fn connect(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        let settings = Settings::parse(uri, OPTIONS_SECRETS)?;
        let connection = Connection::open(Service::Secrets, &settings, variables).await?;
        let mut config = Builder::from(&connection.config).retry_classifier(TooManyRequests);
        config.set_endpoint_url(connection.endpoint.clone());
        Ok(Self {
            client: Client::from_conf(config.build()),
            connection,
            settings,
            is_batch_refused: AtomicBool::new(false),
        })
    }

    fn site(&self) -> &Site {
        &self.connection.site
    }

    /// The value of a declared secret: all of what was found, or one of its fields.
    fn fetched(&self, address: &str, item: Item) -> Result<Option<Fetched>, BackendError> {
        let value = match &self.settings.field {
            None => Some(item.payload.value),
            Some(key) => payload::field(&item.payload, key).map_err(|_| {
                let message = format!("`{address}` is no JSON object, so that it has no `{key}`");
                self.site()
                    .error(BackendErrorKind::Malformed, message)
                    .with_hint("take `field` out of the backend's address to read it as a whole")
            })?,
        };
        Ok(value.map(|value| Fetched {
            value,
            version: item.version,
            expires_at: item.expires_at,
        }))
    }

    async fn ask_health(&self) -> Result<String, BackendError> {
        let call = Call {
            action: "secretsmanager:ListSecrets",
            address: "",
        };
        let request = self.client.list_secrets().max_results(1);
        let asked = self.site().ask(call, request.send()).await;
        let who = match credentials::describe(&self.connection.config).await {
            Ok(who) => format!(", with {who}"),
            Err(_) => String::new(),
        };
        let region = &self.site().region;
        match asked {
            Ok(_) => Ok(format!("AWS Secrets Manager in {region}{who}")),
            Err(failure) if failure.is_operation_refused() => Ok(format!(
                "AWS Secrets Manager in {region}{who}; listing is not allowed"
            )),
            Err(failure) => Err(failure.error),
        }
    }
}

impl Backend for AwsBackend {
    fn scheme(&self) -> &'static str {
        "aws"
    }

    fn describe(&self) -> String {
        self.settings.address.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            versions: true,
            stages: true,
            list: true,
            delete: true,
            restore: true,
            cas: true,
            names_by_token: true,
            description: true,
            tags: true,
            binary: true,
            rotate: true,
            value_bytes_max: Some(write::VALUE_BYTES_MAX),
            ..Capabilities::default()
        }
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let addresses: Vec<String> = lookups.iter().map(|l| self.address(l)).collect();
            let found = self.read_all(&addresses).await;
            let found = addresses.iter().zip(found).map(|(address, found)| {
                let Some(item) = found? else {
                    return Ok(None);
                };
                self.fetched(address, item)
            });
            found.collect()
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let address = self.address(lookup);
            self.site().within(self.set_value(&address, value)).await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(self.site().within(self.list_all()))
    }

    fn address(&self, lookup: &Lookup) -> String {
        self.settings.template.address(lookup)
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(self.site().within(self.ask_health()))
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(self.site().within(self.read_one(address, version)))
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
        Box::pin(self.site().within(self.write_value(address, value)))
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(self.site().within(self.list_page(prefix, after, limit)))
    }

    fn listed<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Result<Option<BTreeSet<String>>, BackendError>> {
        // A few pages, and every one with its own limit.
        Box::pin(self.listed_of(addresses))
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        Box::pin(self.site().within(self.describe_all(address)))
    }

    fn annotate<'a>(
        &'a self,
        address: &'a str,
        annotation: &'a Annotation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(
            self.site()
                .within(self.write_annotation(address, annotation)),
        )
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.site().within(self.delete(address, removal)))
    }

    fn restore<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.site().within(self.undelete(address)))
    }

    fn rotate<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, BackendError>> {
        Box::pin(self.site().within(self.rotate_now(address)))
    }
}
