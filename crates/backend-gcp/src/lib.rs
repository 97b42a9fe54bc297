//! Google Secret Manager as a backend.
//!
//! `gcp:[PROJECT][/PREFIX][?endpoint=…&name=…&timeout=…]`. Names there are letters, digits, `_`
//! and `-`, so addresses, which are paths, are spelt as [`strongroom_core::flat`] says:
//! `jwt/secret_key` is `jwt__secret_key`. Labels are tags, an annotation is the description,
//! aliases are stages that can be read. A version is added without a condition, so there is no
//! check-and-set.

mod backend;
mod call;
mod checksum;
mod error;
mod metadata;
mod read;
mod settings;
mod write;

use std::fmt;
use std::time::Duration;

use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_secretmanager_v1::client::SecretManagerService;
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
use crate::settings::Endpoint;
use crate::settings::Settings;

/// Longest value, in bytes; Secret Manager's bound.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// How Secret Manager spells names.
const NAMES: FlatNames = FlatNames {
    mark: '_',
    punctuation: "-",
    bytes_max: 255,
};

/// The secrets of one project.
pub struct GcpBackend {
    client: SecretManagerService,
    project: String,
    prefix: String,
    template: Template,
    timeout: Duration,
    turns: Semaphore,
    circuit: Circuit<Instant>,
    name: String,
}

impl GcpBackend {
    /// Reads the settings and finds credentials, as the library finds them: the file that
    /// `GOOGLE_APPLICATION_CREDENTIALS` names, `gcloud auth application-default login`, or the
    /// machine's service account. An endpoint without TLS gets none.
    ///
    /// Has to run on a tokio runtime, as everything that the backend does.
    ///
    /// # Errors
    /// When the address makes no sense or there are no credentials.
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
            "" => format!("gcp:{}", settings.project),
            prefix => format!("gcp:{}/{prefix}", settings.project),
        };
        let mut builder = SecretManagerService::builder().with_retry_policy(NeverRetry);
        builder = match settings.endpoint {
            Endpoint::Default => builder,
            Endpoint::Secure(url) => builder.with_endpoint(url),
            Endpoint::Plain(url) => builder
                .with_endpoint(url)
                .with_credentials(anonymous::Builder::new().build()),
        };
        let client = builder.build().await.map_err(|error| {
            let fail = |kind, message| BackendError::new(kind, name.clone(), message);
            if error.is_default_credentials() {
                return fail(
                    BackendErrorKind::Denied,
                    "there are no credentials for Google Cloud",
                )
                .with_hint("gcloud auth application-default login");
            }
            fail(
                BackendErrorKind::Misconfigured,
                "the client of Secret Manager cannot be made",
            )
            .with_hint("check endpoint= in the address and the credentials' file")
        })?;
        Ok(Self {
            client,
            project: settings.project,
            prefix: settings.prefix,
            template: settings.template,
            timeout: settings.timeout,
            turns: Semaphore::new(IN_FLIGHT_MAX),
            circuit: Circuit::default(),
            name,
        })
    }

    /// The resource name of an address.
    fn resource(&self, address: &str) -> Result<String, BackendError> {
        let name = NAMES.encode(address).map_err(|error| {
            let kind = BackendErrorKind::Invalid;
            BackendError::new(kind, self.name.clone(), error.to_string())
                .with_hint("shorten the path, or give names of your own with name=")
        })?;
        Ok(format!("projects/{}/secrets/{name}", self.project))
    }
}

impl fmt::Debug for GcpBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcpBackend({})", self.name)
    }
}
