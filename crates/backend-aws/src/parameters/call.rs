//! The three calls of Parameter Store that are read with.
//!
//! The vendor's crate for the service has 150 operations and takes as long to compile as all its
//! other crates together. Here the same machinery (credentials, signing, retries, time limits)
//! runs operations of ours.

use std::fmt;

use aws_config::BehaviorVersion;
use aws_config::SdkConfig;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4;
use aws_runtime::auth::sigv4::SigV4AuthScheme;
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::ServiceClockSkewClassifier;
use aws_runtime::service_clock_skew::ServiceClockSkewInterceptor;
use aws_runtime::user_agent::ApiMetadata;
use aws_runtime::user_agent::UserAgentInterceptor;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::ErrorMetadata;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_sdk_secretsmanager::error::SdkError;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::HttpStatusCodeClassifier;
use aws_smithy_runtime::client::retries::classifiers::TransientErrorClassifier;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::SharedAuthScheme;
use aws_smithy_runtime_api::client::auth::SharedAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use aws_types::service_config::ServiceConfigKey;
use serde::de::DeserializeOwned;
use serde_json::Value;
use strongroom_core::secret::SecretValue;

use crate::connection::Connection;
use crate::connection::TooManyRequests;

/// One of the service's operations.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// `GetParameters`: those of the given names.
    Named,
    /// `GetParametersByPath`: those below a folder.
    Below,
    /// `GetParameterHistory`: all versions of one.
    History,
}

impl Action {
    fn target(self) -> &'static str {
        match self {
            Self::Named => "AmazonSSM.GetParameters",
            Self::Below => "AmazonSSM.GetParametersByPath",
            Self::History => "AmazonSSM.GetParameterHistory",
        }
    }
}

#[derive(Clone, Debug)]
struct Request {
    action: Action,
    body: Value,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: SecretValue,
}

/// The service refuses.
#[derive(Debug)]
pub(super) struct Refusal(ErrorMetadata);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameter Store refuses")
    }
}

impl std::error::Error for Refusal {}

impl ProvideErrorMetadata for Refusal {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

/// Why a call failed.
pub(super) type CallError = SdkError<Refusal, HttpResponse>;

/// Calls the service on somebody's behalf.
pub(super) struct Caller {
    operation: Operation<Request, Answer, Refusal>,
}

impl Caller {
    pub(super) fn new(connection: &Connection) -> Self {
        let config = &connection.config;
        let url = connection.endpoint.clone();
        let url = url.or_else(|| configured_endpoint(config));
        let url = url.unwrap_or_else(|| default_endpoint(config, &connection.site.region));
        let mut operation = Operation::builder()
            .service_name("SSM")
            .operation_name("Parameters")
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&url)
            .with_connection_poisoning()
            .retry_classifier(TransientErrorClassifier::<Refusal>::new())
            .retry_classifier(AwsErrorCodeClassifier::<Refusal>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(TooManyRequests)
            .retry_classifier(ServiceClockSkewClassifier::<Refusal>::new())
            .interceptor(ServiceClockSkewInterceptor::new())
            .interceptor(UserAgentInterceptor::new())
            .runtime_plugin(signed_by(config, &connection.site.region));
        if let Some(client) = config.http_client() {
            operation = operation.http_client(client);
        }
        if let Some(retries) = config.retry_config() {
            operation = operation.standard_retry(retries);
        }
        if let Some(timeouts) = config.timeout_config() {
            operation = operation.timeout_config(timeouts.clone());
        }
        let operation = operation.serializer(write).deserializer(read).build();
        Self { operation }
    }

    /// Calls one operation and reads its answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        action: Action,
        body: Value,
    ) -> Result<T, CallError> {
        let answer = self.operation.invoke(Request { action, body }).await?;
        // EXPOSE: the answer is taken apart; its values become secret values at once.
        serde_json::from_slice(answer.body.expose_secret()).map_err(|_| {
            let nothing = HttpResponse::new(answer.status, SdkBody::empty());
            SdkError::response_error("the answer has another form", nothing)
        })
    }
}

/// Credentials, and the signature of requests.
fn signed_by(config: &SdkConfig, region: &str) -> StaticRuntimePlugin {
    let mut layer = Layer::new("parameter store");
    layer.store_put(SigV4OperationSigningConfig::default());
    layer.store_put(SigningName::from_static("ssm"));
    layer.store_put(SigningRegion::from(aws_config::Region::new(
        region.to_owned(),
    )));
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(ApiMetadata::new("ssm", env!("CARGO_PKG_VERSION")));
    if let Some(name) = config.app_name() {
        layer.store_put(name.clone());
    }
    let mut components = RuntimeComponentsBuilder::new("parameter store");
    let schemes = StaticAuthSchemeOptionResolver::new(vec![sigv4::SCHEME_ID]);
    components.set_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(schemes)));
    components.push_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()));
    if let Some(provider) = config.credentials_provider() {
        components.set_identity_resolver(sigv4::SCHEME_ID, SharedIdentityResolver::new(provider));
    }
    if let Some(cache) = config.identity_cache() {
        components.set_identity_cache(Some(cache));
    }
    components.set_sleep_impl(config.sleep_impl());
    components.set_time_source(config.time_source());
    StaticRuntimePlugin::new()
        .with_config(layer.freeze())
        .with_runtime_components(components)
}

/// What a profile says of this service alone, then of all.
fn configured_endpoint(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("SSM")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let of_service = config
        .service_config()
        .and_then(|settings| settings.load_config(key));
    of_service.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// The service's own address; see "Systems Manager endpoints and quotas" in AWS's reference.
fn default_endpoint(config: &SdkConfig, region: &str) -> String {
    let is_china = region.starts_with("cn-");
    let domain = match (config.use_dual_stack().unwrap_or(false), is_china) {
        (true, true) => "api.amazonwebservices.com.cn",
        (true, false) => "api.aws",
        (false, true) => "amazonaws.com.cn",
        (false, false) => "amazonaws.com",
    };
    let service = if config.use_fips().unwrap_or(false) {
        "ssm-fips"
    } else {
        "ssm"
    };
    format!("https://{service}.{region}.{domain}")
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn write(request: Request) -> Result<HttpRequest, BoxError> {
    let Request { action, body } = request;
    let body = serde_json::to_vec(&body)?;
    let length = body.len().to_string();
    let mut message = HttpRequest::new(SdkBody::from(body));
    message.set_method("POST")?;
    message.set_uri("/")?;
    let headers = message.headers_mut();
    headers.try_insert("content-type", "application/x-amz-json-1.1")?;
    headers.try_insert("content-length", length)?;
    headers.try_insert("x-amz-target", action.target())?;
    Ok(message)
}

/// The body of a good answer, which holds values; or the code and the message of a refusal.
fn read(response: &HttpResponse) -> Result<Answer, OrchestratorError<Refusal>> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        return Ok(Answer {
            status: response.status(),
            body: SecretValue::copy_from(body),
        });
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: &[&str]| names.iter().find_map(|name| body.get(name)?.as_str());
    let header = response.headers().get("x-amzn-errortype");
    let mut meta = ErrorMetadata::builder();
    if let Some(code) = header.or_else(|| text(&["code", "__type"])) {
        // `com.amazonaws.ssm#ParameterNotFound`, `ParameterNotFound:http://…`
        let code = code.split(':').next().unwrap_or_default();
        meta = meta.code(code.rsplit('#').next().unwrap_or_default());
    }
    if let Some(message) = text(&["message", "Message"]) {
        meta = meta.message(message);
    }
    Err(OrchestratorError::operation(Refusal(meta.build())))
}
