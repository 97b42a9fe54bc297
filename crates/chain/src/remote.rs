//! Backends that are reached over a network: one line each.

#[cfg(feature = "kubernetes")]
use std::collections::BTreeMap;
#[cfg(feature = "remote")]
use std::time::Duration;

#[cfg(feature = "remote")]
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
#[cfg(feature = "kubernetes")]
use strongroom_core::secret::SecretValue;
#[cfg(feature = "remote")]
use strongroom_core::uri::BackendUri;
use strongroom_engine::cache::Open;

#[cfg(feature = "remote")]
use crate::deadline::Deadline;
use crate::entry::Entry;
use crate::entry::PERHAPS_REMOTE;
use crate::entry::unknown_scheme;
use crate::error::ChainError;

/// Schemes of this build.
pub const SCHEMES: &[&str] = &[
    #[cfg(feature = "aws")]
    "aws",
    #[cfg(feature = "aws")]
    "ssm",
    #[cfg(feature = "azure")]
    "azure",
    #[cfg(feature = "gcp")]
    "gcp",
    #[cfg(feature = "kubernetes")]
    "k8s",
    #[cfg(feature = "vault")]
    "server",
    #[cfg(feature = "vault")]
    "vault",
];
/// Schemes of the program when everything is built in.
pub const PLANNED: [&str; 7] = ["aws", "ssm", "vault", "server", "gcp", "azure", "k8s"];

/// How long a backend may take for one question, unless `STRONGROOM_TIMEOUT` says otherwise.
#[cfg(feature = "remote")]
const DEADLINE_SECONDS: u64 = 10;
/// Longest deadline that can be set.
#[cfg(feature = "remote")]
const DEADLINE_SECONDS_MAX: u64 = 3600;

/// A scheme as backends name it; it is one of this program's.
#[must_use]
pub fn scheme_of(entry: &Entry) -> &'static str {
    let known = PLANNED.iter().chain(&PERHAPS_REMOTE);
    let mut known = known.filter(|known| **known == entry.scheme());
    known.next().copied().unwrap_or("remote")
}

#[cfg(feature = "remote")]
async fn connect(
    uri: &BackendUri,
    variables: &Variables,
) -> Result<Box<dyn Backend>, BackendError> {
    Ok(match uri.scheme() {
        #[cfg(feature = "aws")]
        "aws" => Box::new(strongroom_backend_aws::AwsBackend::open(uri, variables).await?),
        #[cfg(feature = "aws")]
        "ssm" => Box::new(strongroom_backend_aws::SsmBackend::open(uri, variables).await?),
        #[cfg(feature = "azure")]
        "azure" => Box::new(strongroom_backend_azure::AzureBackend::open(uri, variables).await?),
        #[cfg(feature = "gcp")]
        "gcp" => Box::new(strongroom_backend_gcp::GcpBackend::open(uri, variables).await?),
        #[cfg(feature = "kubernetes")]
        "k8s" => {
            Box::new(strongroom_backend_kubernetes::KubernetesBackend::open(uri, variables).await?)
        }
        #[cfg(feature = "vault")]
        "vault" | "server" => {
            Box::new(strongroom_backend_vault::VaultBackend::open(uri, variables).await?)
        }
        scheme => {
            let message = "this program was built without it";
            let kind = BackendErrorKind::Misconfigured;
            return Err(BackendError::new(kind, scheme, message));
        }
    })
}

/// Writes many values into one Kubernetes Secret, `k8s:NAMESPACE/NAME`, in one request; keys that
/// are not named stay. Must be called inside a tokio runtime.
///
/// # Errors
/// When the address names no object, or the cluster cannot be reached or refuses.
#[cfg(feature = "kubernetes")]
pub async fn apply_to_kubernetes(
    uri: &BackendUri,
    variables: &Variables,
    values: &BTreeMap<String, SecretValue>,
) -> Result<(), BackendError> {
    let object = uri.path().and_then(|path| path.split_once('/'));
    let Some((_, object)) = object.filter(|_| uri.scheme() == "k8s") else {
        let kind = BackendErrorKind::Misconfigured;
        let message = "this names no Kubernetes Secret";
        return Err(
            BackendError::new(kind, uri.scheme(), message).with_hint("write k8s:NAMESPACE/NAME")
        );
    };
    let backend = strongroom_backend_kubernetes::KubernetesBackend::open(uri, variables).await?;
    backend.apply(object, values).await
}

/// Where AWS credentials come from, or why there are none; `None` where AWS is not built in. Must
/// be called inside a tokio runtime.
pub async fn aws_credentials(
    region: &str,
    variables: &Variables,
) -> Option<Result<String, String>> {
    #[cfg(feature = "aws")]
    {
        if tokio::runtime::Handle::try_current().is_err() {
            return Some(Err(
                "there is no runtime to look for credentials in".to_owned()
            ));
        }
        let profile = variables.text("AWS_PROFILE");
        let asked = strongroom_backend_aws::credentials_resolve(Some(region), profile, variables);
        Some(asked.await.map_err(|error| error.message))
    }
    #[cfg(not(feature = "aws"))]
    {
        let _ = (region, variables);
        None
    }
}

#[cfg(feature = "remote")]
fn deadline(variables: &Variables) -> Result<Duration, ChainError> {
    const VARIABLE: &str = "STRONGROOM_TIMEOUT";
    let Some(text) = variables.text(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(Duration::from_secs(DEADLINE_SECONDS));
    };
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1..=DEADLINE_SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        ChainError::usage(format!(
            "{VARIABLE} is no number of seconds from 1 to {DEADLINE_SECONDS_MAX}"
        ))
    })
}

/// How to open the remote backend of an entry. What it gives must be called inside a tokio runtime.
///
/// # Errors
/// When its scheme is not built in, or the deadline makes no sense.
#[cfg(feature = "remote")]
pub fn opener_of(variables: &Variables, entry: &Entry) -> Result<Open, ChainError> {
    if !SCHEMES.contains(&entry.scheme()) {
        return Err(unknown_scheme(&entry.text, entry.scheme()));
    }
    let deadline = deadline(variables)?;
    let variables = variables.clone();
    let uri = entry.uri.clone();
    Ok(Box::new(move || {
        let (uri, variables) = (uri.clone(), variables.clone());
        Box::pin(async move {
            let backend = connect(&uri, &variables).await?;
            let limited: Box<dyn Backend> = Box::new(Deadline::new(backend, deadline));
            Ok(limited)
        })
    }))
}

/// Nothing remote is built in.
///
/// # Errors
/// Always.
#[cfg(not(feature = "remote"))]
pub fn opener_of(_variables: &Variables, entry: &Entry) -> Result<Open, ChainError> {
    Err(unknown_scheme(&entry.text, entry.scheme()))
}

/// For a backend that nobody asks.
#[must_use]
pub fn never_opened() -> Open {
    Box::new(|| {
        let error = BackendError::new(BackendErrorKind::Unreachable, "offline", "nobody is asked");
        Box::pin(std::future::ready(Err(error)))
    })
}

/// True when this process has changed something in a backend over a network, or has tried to.
#[must_use]
pub fn has_written() -> bool {
    #[cfg(feature = "remote")]
    {
        crate::deadline::has_written()
    }
    #[cfg(not(feature = "remote"))]
    {
        false
    }
}
