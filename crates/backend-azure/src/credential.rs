//! Who we are to Entra ID. The library for Rust has no chain that decides, so this does: what the
//! environment names, the machine's identity, the developer's sign-in.

use std::path::PathBuf;
use std::sync::Arc;

use azure_core::cloud::CloudConfiguration;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::Secret;
use azure_core::credentials::TokenCredential;
use azure_core::http::ClientOptions;
use azure_identity::ClientAssertionCredentialOptions;
use azure_identity::ClientSecretCredential;
use azure_identity::ClientSecretCredentialOptions;
use azure_identity::DeveloperToolsCredential;
use azure_identity::ManagedIdentityCredential;
use azure_identity::ManagedIdentityCredentialOptions;
use azure_identity::UserAssignedId;
use azure_identity::WorkloadIdentityCredential;
use azure_identity::WorkloadIdentityCredentialOptions;
use strongroom_core::port::BackendError;
use strongroom_core::port::Variables;
use strongroom_core::uri::BackendUri;

use crate::settings::misconfigured;

/// The kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// An application with a secret of its own.
    Secret,
    /// A token that a cluster projects into a file.
    Workload,
    /// The identity that Azure gives the machine.
    Managed,
    /// Who has signed in with `az` or `azd`.
    Developer,
}

impl Choice {
    /// As the line says, else as the environment looks.
    pub(crate) fn of(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        match uri.option("credential") {
            Some("secret") => Ok(Self::Secret),
            Some("workload") => Ok(Self::Workload),
            Some("managed") => Ok(Self::Managed),
            Some("developer") => Ok(Self::Developer),
            Some(_) => Err(misconfigured("there is no such kind of credential")
                .with_hint("credential= is secret, workload, managed or developer")),
            None if variables.text("AZURE_CLIENT_SECRET").is_some() => Ok(Self::Secret),
            None if variables.text("AZURE_FEDERATED_TOKEN_FILE").is_some() => Ok(Self::Workload),
            None if variables.text("IDENTITY_ENDPOINT").is_some() => Ok(Self::Managed),
            None => Ok(Self::Developer),
        }
    }
}

/// The credential, with the same connections as the vault's.
pub(crate) fn choose(
    choice: Choice,
    variables: &Variables,
    options: &ClientOptions,
) -> Result<Arc<dyn TokenCredential>, BackendError> {
    let mut client_options = options.clone();
    if let Some(host) = variables.text("AZURE_AUTHORITY_HOST") {
        let mut cloud = CustomConfiguration::default();
        host.clone_into(&mut cloud.authority_host);
        client_options.cloud = Some(Arc::new(CloudConfiguration::Custom(cloud)));
    }
    let needed = |name: &str| {
        variables.text(name).ok_or_else(|| {
            misconfigured(format!("{name} is not set"))
                .with_hint("set it, or choose with credential=managed or developer")
        })
    };
    let made: azure_core::Result<Arc<dyn TokenCredential>> = match choice {
        Choice::Secret => {
            let options = ClientSecretCredentialOptions { client_options };
            let tenant = needed("AZURE_TENANT_ID")?;
            let client = needed("AZURE_CLIENT_ID")?.to_owned();
            let secret = Secret::new(needed("AZURE_CLIENT_SECRET")?.to_owned());
            ClientSecretCredential::new(tenant, client, secret, Some(options))
                .map(|credential| credential as Arc<dyn TokenCredential>)
        }
        Choice::Workload => {
            let options = WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions { client_options },
                client_id: Some(needed("AZURE_CLIENT_ID")?.to_owned()),
                tenant_id: Some(needed("AZURE_TENANT_ID")?.to_owned()),
                token_file_path: Some(PathBuf::from(needed("AZURE_FEDERATED_TOKEN_FILE")?)),
            };
            WorkloadIdentityCredential::new(Some(options))
                .map(|credential| credential as Arc<dyn TokenCredential>)
        }
        Choice::Managed => {
            // Answered on this machine and without TLS, so not over the vault's connections.
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: variables
                    .text("AZURE_CLIENT_ID")
                    .map(|id| UserAssignedId::ClientId(id.to_owned())),
                ..ManagedIdentityCredentialOptions::default()
            };
            ManagedIdentityCredential::new(Some(options))
                .map(|credential| credential as Arc<dyn TokenCredential>)
        }
        Choice::Developer => DeveloperToolsCredential::new(None)
            .map(|credential| credential as Arc<dyn TokenCredential>),
    };
    made.map_err(|_| {
        misconfigured("the variables AZURE_… make no credential")
            .with_hint("check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_AUTHORITY_HOST")
    })
}
