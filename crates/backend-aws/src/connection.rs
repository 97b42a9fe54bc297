//! From settings and variables to a configured SDK: region, credentials, endpoint, time limits.

use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::ConfigLoader;
use aws_config::Region;
use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::interceptors::InterceptorContext;
use aws_sdk_secretsmanager::config::retry::ClassifyRetry;
use aws_sdk_secretsmanager::config::retry::RetryAction;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::retry::RetrySpec;
use strongroom_core::host::is_near;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;

use crate::credentials;
use crate::gate::Gate;
use crate::settings::Settings;

/// A configured SDK and what messages say about it. Not `Debug`: it holds credentials.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) config: SdkConfig,
    /// Overrides the service's own address.
    pub(crate) endpoint: Option<String>,
    pub(crate) site: Site,
}

/// Where a request goes and on whose behalf, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// As [`strongroom_core::port::Backend::describe`] says.
    pub(crate) backend: String,
    /// Host and port.
    pub(crate) host: String,
    pub(crate) region: String,
    pub(crate) profile: Option<String>,
    /// Of one request with its repetitions.
    pub(crate) timeout: Duration,
    /// How requests get there.
    pub(crate) gate: Arc<Gate>,
}

/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Secrets,
    Parameters,
}

impl Service {
    fn host(self) -> &'static str {
        match self {
            Self::Secrets => "secretsmanager",
            Self::Parameters => "ssm",
        }
    }

    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::Secrets => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            Self::Parameters => "AWS_ENDPOINT_URL_SSM",
        }
    }
}

impl Connection {
    /// Finds region, credentials and endpoint. Sends nothing to the service.
    ///
    /// # Errors
    /// Of kind `Misconfigured` without a region or with an endpoint that cannot be used.
    pub(crate) async fn open(
        service: Service,
        settings: &Settings,
        variables: &Variables,
    ) -> Result<Self, BackendError> {
        let wrong = |message: String| {
            let backend = settings.address.clone();
            BackendError::new(BackendErrorKind::Misconfigured, backend, message)
        };
        let profile = settings
            .profile
            .as_deref()
            .or(variables.text("AWS_PROFILE"));
        let config = load(
            settings.region.as_deref(),
            settings.profile.as_deref(),
            variables,
            settings.timeout,
        )
        .await;
        let region = config.region().map(ToString::to_string);
        let Some(region) = region.filter(|region| !region.is_empty()) else {
            return Err(wrong("no AWS region is set".into()).with_hint(format!(
                "write it in the address, e.g. `{}:eu-central-1/`, or set AWS_REGION",
                settings.address.split(':').next().unwrap_or("aws")
            )));
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !region.chars().all(is_plain) {
            return Err(wrong("what is set as AWS region is none".into())
                .with_hint("a region is called e.g. eu-central-1; see AWS_REGION"));
        }
        let endpoint = endpoint(service, settings, variables);
        let known = endpoint.as_deref().or(config.endpoint_url());
        let host = match known {
            None => default_host(service, &region),
            Some(url) => host(url, settings.plaintext)
                .map_err(|problem| wrong(problem.0.into()).with_hint(problem.1))?,
        };
        let site = Site {
            backend: settings.address.clone(),
            host,
            region,
            profile: profile.map(str::to_owned),
            timeout: settings.timeout,
            gate: Arc::default(),
        };
        Ok(Self {
            config,
            endpoint,
            site,
        })
    }
}

/// The SDK's configuration. An explicit profile comes before keys in variables, and these before
/// the SDK's own chain.
pub(crate) async fn load(
    region: Option<&str>,
    profile: Option<&str>,
    variables: &Variables,
    timeout: Duration,
) -> SdkConfig {
    let attempt = timeout.min(ATTEMPT_TIMEOUT);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(attempt.min(CONNECT_TIMEOUT))
        .operation_attempt_timeout(attempt)
        .operation_timeout(timeout)
        .build();
    let cache = IdentityCache::lazy()
        .load_timeout(attempt.min(CREDENTIALS_TIMEOUT))
        .build();
    let mut loader: ConfigLoader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .identity_cache(cache);
    let chosen = profile.or(variables.text("AWS_PROFILE"));
    if let Some(profile) = chosen {
        loader = loader.profile_name(profile);
    }
    let region = match region.or_else(|| of_variables(variables)) {
        Some(region) => Some(Region::new(region.to_owned())),
        None => region_by_chain(chosen).await,
    };
    if let Some(profile) = profile {
        let settings = ProviderConfig::default().with_region(region.clone());
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&settings)
            .profile_name(profile)
            .build();
        loader = loader.credentials_provider(provider);
    } else if let Some(found) = credentials::of_variables(variables) {
        loader = loader.credentials_provider(found);
    }
    with_short_pauses(loader.region(region).load().await)
}

/// What the service fails at for itself is tried again after 50 ms, not after up to a second;
/// what it refuses as too much still waits for that long. AWS's libraries are going to do so by
/// themselves, this one if `AWS_NEW_RETRIES_2026` says so. Attempts and mode stay the user's.
fn with_short_pauses(config: SdkConfig) -> SdkConfig {
    let retries = config.retry_config().cloned();
    let retries = retries.unwrap_or_else(RetryConfig::standard);
    let retries = retries.with_retry_spec(RetrySpec::v2_1());
    config.into_builder().retry_config(retries).build()
}

fn of_variables(variables: &Variables) -> Option<&str> {
    let found = variables.first(&["AWS_REGION", "AWS_DEFAULT_REGION"])?;
    Some(found.1)
}

/// Environment, profile, instance metadata; the last is not there on most machines, so that all
/// of it has a time limit.
async fn region_by_chain(profile: Option<&str>) -> Option<Region> {
    let chain = async {
        if let Some(profile) = profile {
            let provider = ProfileFileRegionProvider::builder().profile_name(profile);
            if let Some(region) = provider.build().region().await {
                return Some(region);
            }
        }
        let provider = aws_config::default_provider::region::default_provider();
        provider.region().await
    };
    tokio::time::timeout(REGION_TIMEOUT, chain)
        .await
        .ok()
        .flatten()
}

fn endpoint(service: Service, settings: &Settings, variables: &Variables) -> Option<String> {
    if let Some(endpoint) = &settings.endpoint {
        return Some(endpoint.clone());
    }
    if variables.text("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") == Some("true") {
        return None;
    }
    let names = [service.endpoint_variable(), "AWS_ENDPOINT_URL"];
    variables.first(&names).map(|(_, url)| url.to_owned())
}

fn default_host(service: Service, region: &str) -> String {
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    format!("{}.{region}.{domain}:443", service.host())
}

/// Host and port of an endpoint that may be used; otherwise what is wrong and what to do. The
/// endpoint itself is not quoted: somebody may have put a password into it.
fn host(url: &str, plaintext: bool) -> Result<String, (&'static str, &'static str)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => {
            return Err((
                "the endpoint is no http or https address",
                "write it in full, e.g. `endpoint=https://secrets.example.com`",
            ));
        }
    };
    if authority.is_empty() || authority.contains('@') {
        return Err((
            "the endpoint has no host, or a user name or password in it",
            "write host and port only; credentials come from the AWS settings",
        ));
    }
    let (name, has_port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, true)
        }
        _ => (authority, false),
    };
    if scheme == "http" && !is_near(name) && !plaintext {
        return Err((
            "the endpoint would get and give values in clear over the network",
            "use https, or add `plaintext=true` in a network that you trust",
        ));
    }
    Ok(if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:{port}")
    })
}

/// Has the SDK try again where only the status asks for fewer requests, as proxies do; by itself
/// it looks at AWS's codes alone.
#[derive(Debug)]
pub(crate) struct TooManyRequests;

impl ClassifyRetry for TooManyRequests {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let status = context.response().map(|answer| answer.status().as_u16());
        if status == Some(429) {
            return RetryAction::throttling_error();
        }
        RetryAction::NoActionIndicated
    }

    fn name(&self) -> &'static str {
        "status 429"
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);
const REGION_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use aws_smithy_types::retry::RetryMode;

    use super::*;

    #[test]
    fn endpoints_are_checked_before_they_are_used() {
        assert_eq!(host("https://a.example/x", false).unwrap(), "a.example:443");
        assert_eq!(
            host("http://127.0.0.1:5000", false).unwrap(),
            "127.0.0.1:5000"
        );
        assert_eq!(host("http://[::1]", false).unwrap(), "[::1]:80");
        assert_eq!(host("http://moto:5000", true).unwrap(), "moto:5000");
        for wrong in [
            "http://moto:5000",
            "moto:5000",
            "ftp://x",
            "https://",
            "https://u:p@host/",
            "http://127.0.0.1.evil.example@x",
        ] {
            let (message, _) = host(wrong, false).unwrap_err();
            assert!(!message.contains("u:p"));
        }
    }

    #[test]
    fn pauses_are_short_and_attempts_the_users() {
        let retries = RetryConfig::adaptive().with_max_attempts(7);
        let config = SdkConfig::builder().retry_config(retries).build();
        let config = with_short_pauses(config);
        let retries = config.retry_config().unwrap();
        assert_eq!(retries.max_attempts(), 7);
        assert_eq!(retries.mode(), RetryMode::Adaptive);
        let pause = retries.retry_spec().unwrap();
        assert_eq!(
            pause.non_throttling_initial_backoff(),
            Duration::from_millis(50)
        );
        assert_eq!(retries.initial_backoff(), Duration::from_secs(1));
    }

    #[test]
    fn a_host_that_begins_like_loopback_is_not_loopback() {
        assert!(host("http://127.0.0.1.example.com", false).is_err());
    }
}
