//! Kubernetes Secrets as a backend.
//!
//! `k8s:[NAMESPACE][/SECRET][?context=…&kubeconfig=…&key=…&timeout=…]`. An address is
//! `SECRET/KEY`; with a SECRET in the line it is the key alone. Keys have no `/`, so paths are
//! spelt as [`strongroom_core::flat`] says. Several keys lie in one object, so single keys are
//! changed by merge patches: writers of other keys are never undone.

mod about;
mod apply;
mod backend;
mod call;
mod error;
mod layout;
mod page;
mod patch;
mod settings;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::Client;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Variables;
use strongroom_core::port::circuit::Circuit;
use strongroom_core::uri::BackendUri;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::call::IN_FLIGHT_MAX;
use crate::layout::Layout;
use crate::settings::Settings;

/// Most bytes that all values of one Secret may have together; the API server's bound.
pub const SECRET_BYTES_MAX: usize = 1024 * 1024;

/// The Secrets of one namespace, or the keys of one of them.
pub struct KubernetesBackend {
    client: Client,
    api: Api<Secret>,
    namespace: String,
    layout: Layout,
    timeout: Duration,
    turns: Semaphore,
    circuit: Circuit<Instant>,
    name: String,
}

impl KubernetesBackend {
    /// Reads the settings of the cluster; nothing is asked of it yet.
    ///
    /// Credentials come from the kubeconfig (`kubeconfig=`, `KUBECONFIG`, `~/.kube/config`) or, in
    /// a pod without one, from its service account.
    ///
    /// Has to run on a tokio runtime, as everything that the backend does.
    ///
    /// # Errors
    /// When the address or the kubeconfig makes no sense.
    pub fn open<'a>(
        uri: &'a BackendUri,
        variables: &'a Variables,
    ) -> BoxFuture<'a, Result<Self, BackendError>> {
        // Boxed here, so that the futures of the library are compiled with this crate.
        Box::pin(Self::connect(uri, variables))
    }

    async fn connect(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        let settings = Settings::load(uri, variables).await?;
        let Settings {
            config,
            namespace,
            layout,
            timeout,
        } = settings;
        let name = format!("k8s:{namespace}{}", layout.suffix());
        let client = Client::try_from(config).map_err(|_| {
            let message = "the kubeconfig's certificates or credentials cannot be used";
            BackendError::new(BackendErrorKind::Misconfigured, name.clone(), message)
                .with_hint("kubectl auth whoami shows what is wrong")
        })?;
        Ok(Self {
            api: Api::namespaced(client.clone(), &namespace),
            client,
            namespace,
            layout,
            timeout,
            turns: Semaphore::new(IN_FLIGHT_MAX),
            circuit: Circuit::default(),
            name,
        })
    }
}
