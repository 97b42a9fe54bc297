//! Azure Key Vault secrets as a backend.
//!
//! `azure:VAULT[/PREFIX]` or `azure://HOST[/PREFIX]`, with
//! `?name=…&credential=…&ca=…&timeout=…`. Names there are letters, digits and `-`, so addresses,
//! which are paths, are spelt as [`strongroom_core::flat`] says: `jwt/secret_key` is
//! `jwt--secret-x5f-key`. Values are texts. A version is set without a condition, so there is no
//! check-and-set.

mod backend;
mod call;
mod credential;
mod error;
mod metadata;
mod read;
mod settings;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::ClientOptions;
use azure_core::http::RetryOptions;
use azure_core::http::Transport;
use azure_security_keyvault_secrets::SecretClient;
use azure_security_keyvault_secrets::SecretClientOptions;
use strongroom_core::flat::FlatNames;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Variables;
use strongroom_core::port::circuit::Circuit;
use strongroom_core::uri::BackendUri;
use strongroom_core::uri::Template;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::call::IN_FLIGHT_MAX;
use crate::settings::Settings;

/// Longest value, in bytes; Key Vault's bound.
pub const VALUE_BYTES_MAX: usize = 25 * 1024;

/// The content type of values that are JSON objects.
const JSON: &str = "application/json";

/// How Key Vault spells names.
const NAMES: FlatNames = FlatNames {
    mark: '-',
    punctuation: "",
    bytes_max: 127,
};

/// The secrets of one vault.
pub struct AzureBackend {
    client: SecretClient,
    prefix: String,
    template: Template,
    timeout: Duration,
    turns: Semaphore,
    circuit: Circuit<Instant>,
    name: String,
}

impl AzureBackend {
    /// Reads the settings and chooses credentials; nothing is asked of the vault yet.
    ///
    /// Has to run on a tokio runtime, as everything that the backend does.
    ///
    /// # Errors
    /// When the address makes no sense or the credentials are not complete.
    pub fn open<'a>(
        uri: &'a BackendUri,
        variables: &'a Variables,
    ) -> BoxFuture<'a, Result<Self, BackendError>> {
        // Boxed here, so that the futures of the library are compiled with this crate.
        Box::pin(Self::connect(uri, variables))
    }

    async fn connect(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        let settings = Settings::load(uri, variables)?;
        let name = match settings.prefix.as_str() {
            "" => format!("azure:{}", settings.vault),
            prefix => format!("azure:{}/{prefix}", settings.vault),
        };
        let options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(settings.http))),
            ..ClientOptions::default()
        };
        let credential = credential::choose(settings.credential, variables, &options)?;
        let client_options = SecretClientOptions {
            client_options: options,
            // A token for another service must not go to a vault that asks for it. On this
            // machine there is no domain to compare.
            verify_challenge_resource: Some(!settings.is_here),
            ..SecretClientOptions::default()
        };
        let client = SecretClient::new(&settings.endpoint, credential, Some(client_options));
        let client = client.map_err(|_| {
            let kind = BackendErrorKind::Misconfigured;
            BackendError::new(kind, name.clone(), "this is no address of a vault")
                .with_hint("write azure:VAULT, or azure://HOST")
        })?;
        Ok(Self {
            client,
            prefix: settings.prefix,
            template: settings.template,
            timeout: settings.timeout,
            turns: Semaphore::new(IN_FLIGHT_MAX),
            circuit: Circuit::default(),
            name,
        })
    }

    /// The vault's name of an address.
    fn secret_name(&self, address: &str) -> Result<String, BackendError> {
        NAMES.encode(address).map_err(|error| {
            let kind = BackendErrorKind::Invalid;
            BackendError::new(kind, self.name.clone(), error.to_string())
                .with_hint("shorten the path, or give names of your own with name=")
        })
    }
}

impl fmt::Debug for AzureBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AzureBackend({})", self.name)
    }
}
