//! Backends that are reached over a network: one line each.

#[cfg(feature = "remote")]
use std::time::Duration;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
#[cfg(feature = "remote")]
use strongroom_core::uri::BackendUri;
use strongroom_engine::cache::Open;

use super::Entry;
#[cfg(feature = "remote")]
use super::deadline::Deadline;
use super::unknown_scheme;
use crate::app::App;
use crate::error::CommandError;

/// Schemes of this build.
pub(super) const SCHEMES: &[&str] = &[
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
    "vault",
];
/// Schemes of the program when everything is built in.
pub(super) const PLANNED: [&str; 6] = ["aws", "ssm", "vault", "gcp", "azure", "k8s"];

/// How long a backend may take for one question, unless `STRONGROOM_TIMEOUT` says otherwise.
#[cfg(feature = "remote")]
const DEADLINE_SECONDS: u64 = 10;
/// Longest deadline that can be set.
#[cfg(feature = "remote")]
const DEADLINE_SECONDS_MAX: u64 = 3600;

#[cfg(not(feature = "remote"))]
pub(super) fn open(_app: &App, entry: &Entry) -> Result<Box<dyn Backend>, CommandError> {
    Err(unknown_scheme(&entry.text, entry.scheme()))
}

/// Opens a remote backend; starts the runtime.
#[cfg(feature = "remote")]
pub(super) fn open(app: &App, entry: &Entry) -> Result<Box<dyn Backend>, CommandError> {
    if !SCHEMES.contains(&entry.scheme()) {
        return Err(unknown_scheme(&entry.text, entry.scheme()));
    }
    let open = opener_of(app, entry)?;
    Ok(crate::runtime::wait(open())?)
}

/// Opens a remote backend later, if at all; starts the runtime.
#[cfg(feature = "remote")]
pub(crate) fn opener_of(app: &App, entry: &Entry) -> Result<Open, CommandError> {
    crate::runtime::start()?;
    let deadline = deadline(app)?;
    let variables = app.environment.for_backends();
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

#[cfg(not(feature = "remote"))]
pub(crate) fn opener_of(_app: &App, entry: &Entry) -> Result<Open, CommandError> {
    Err(unknown_scheme(&entry.text, entry.scheme()))
}

/// For a backend that nobody asks.
pub(crate) fn never_opened() -> Open {
    Box::new(|| {
        let error = BackendError::new(BackendErrorKind::Unreachable, "offline", "nobody is asked");
        Box::pin(std::future::ready(Err(error)))
    })
}

/// True when something was written over a network.
pub(crate) fn has_written() -> bool {
    #[cfg(feature = "remote")]
    {
        super::deadline::has_written()
    }
    #[cfg(not(feature = "remote"))]
    {
        false
    }
}

/// A scheme as backends name it; it is one of this program's.
pub(crate) fn scheme_of(entry: &Entry) -> &'static str {
    let known = PLANNED.iter().chain(&super::PERHAPS_REMOTE);
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
        "vault" => Box::new(strongroom_backend_vault::VaultBackend::open(uri, variables).await?),
        scheme => {
            let message = "this program was built without it";
            let kind = BackendErrorKind::Misconfigured;
            return Err(BackendError::new(kind, scheme, message));
        }
    })
}

/// Where AWS credentials come from, or why there are none; `None` where AWS is not built in.
pub(crate) fn aws_credentials(
    region: &str,
    variables: &Variables,
) -> Option<Result<String, String>> {
    #[cfg(feature = "aws")]
    {
        if let Err(error) = crate::runtime::start() {
            return Some(Err(error.message));
        }
        let profile = variables.text("AWS_PROFILE");
        let asked = strongroom_backend_aws::credentials_resolve(Some(region), profile, variables);
        Some(crate::runtime::wait(asked).map_err(|error| error.message))
    }
    #[cfg(not(feature = "aws"))]
    {
        let _ = (region, variables);
        None
    }
}

#[cfg(feature = "remote")]
fn deadline(app: &App) -> Result<Duration, CommandError> {
    const VARIABLE: &str = "STRONGROOM_TIMEOUT";
    let Some(text) = app.environment.text(VARIABLE) else {
        return Ok(Duration::from_secs(DEADLINE_SECONDS));
    };
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1..=DEADLINE_SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        CommandError::usage(format!(
            "{VARIABLE} is no number of seconds from 1 to {DEADLINE_SECONDS_MAX}"
        ))
    })
}
