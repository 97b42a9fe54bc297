//! Who asks: where credentials come from, without ever showing them.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Variables;

use crate::connection;

/// Asks whether credentials resolve, within a second, and says from where: `environment
/// variables (key …MPLE)`. For deciding whether AWS is meant at all; no service is called.
///
/// # Errors
/// When none resolve in time, with the reason and what to do.
pub fn credentials_resolve<'a>(
    region: Option<&'a str>,
    profile: Option<&'a str>,
    variables: &'a Variables,
) -> BoxFuture<'a, Result<String, BackendError>> {
    Box::pin(resolve(region, profile, variables))
}

async fn resolve(
    region: Option<&str>,
    profile: Option<&str>,
    variables: &Variables,
) -> Result<String, BackendError> {
    let looked = async {
        let config = connection::load(region, profile, variables, TIMEOUT).await;
        describe(&config).await
    };
    match tokio::time::timeout(TIMEOUT, looked).await {
        Ok(Ok(phrase)) => Ok(phrase),
        Ok(Err(error)) => {
            let profile = profile.or(variables.text("AWS_PROFILE"));
            Err(explain(&error, "aws", profile))
        }
        Err(_) => Err(BackendError::new(
            BackendErrorKind::Denied,
            "aws",
            "no AWS credentials within a second",
        )
        .with_hint(HINT_NONE)),
    }
}

/// Where the credentials of a configuration come from.
pub(crate) async fn describe(config: &SdkConfig) -> Result<String, CredentialsError> {
    let Some(provider) = config.credentials_provider() else {
        return Err(CredentialsError::not_loaded_no_source());
    };
    let credentials = provider.provide_credentials().await?;
    let source = source(&credentials);
    Ok(format!(
        "{source} (key …{})",
        key_end(credentials.access_key_id())
    ))
}

/// Credentials of the variables that were handed in.
pub(crate) fn of_variables(variables: &Variables) -> Option<Credentials> {
    let id = variables.text("AWS_ACCESS_KEY_ID")?;
    let secret = variables.secret("AWS_SECRET_ACCESS_KEY")?;
    let token = variables.secret("AWS_SESSION_TOKEN");
    // EXPOSE: handed to the SDK, which signs requests with it and wipes it.
    let text = |secret: &strongroom_core::secret::SecretValue| {
        secret.expose_secret_text().map(str::to_owned)
    };
    let secret = text(&secret)?;
    let token = token.as_ref().and_then(text);
    Some(Credentials::new(id, secret, token, None, VARIABLES))
}

/// A failure to get credentials, in words of ours: the SDK's may hold output of programs.
pub(crate) fn explain(
    error: &CredentialsError,
    backend: &str,
    profile: Option<&str>,
) -> BackendError {
    let whose = match profile {
        Some(profile) => format!(" of profile `{profile}`"),
        None => String::new(),
    };
    let (kind, message, hint) = match error {
        CredentialsError::CredentialsNotLoaded(_) => (
            BackendErrorKind::Denied,
            format!("no AWS credentials{whose} were found"),
            HINT_NONE.to_owned(),
        ),
        CredentialsError::ProviderTimedOut(_) => (
            BackendErrorKind::Unreachable,
            format!("the source of the AWS credentials{whose} did not answer in time"),
            HINT_CHECK.to_owned(),
        ),
        CredentialsError::InvalidConfiguration(_) => (
            BackendErrorKind::Denied,
            format!("the AWS settings{whose} name no usable credentials"),
            "look at ~/.aws/config, or sign in with `aws configure` or `aws sso login`; \
             AWS_PROFILE or `?profile=` chooses another profile"
                .to_owned(),
        ),
        _ => (
            BackendErrorKind::Denied,
            format!(
                "the AWS credentials{whose} could not be fetched: the sign-in may have expired"
            ),
            match profile {
                Some(profile) => format!("run `aws sso login --profile {profile}`; {HINT_CHECK}"),
                None => format!("run `aws sso login`; {HINT_CHECK}"),
            },
        ),
    };
    BackendError::new(kind, backend, message).with_hint(hint)
}

fn source(credentials: &Credentials) -> &'static str {
    use AwsCredentialFeature as F;
    let features = credentials.get_property::<Vec<AwsCredentialFeature>>();
    let named = features.into_iter().flatten().find_map(|feature| {
        Some(match feature {
            F::CredentialsImds => "instance metadata",
            F::CredentialsHttp => "the container's role",
            F::CredentialsSso | F::CredentialsProfileSso => "AWS SSO",
            F::CredentialsProcess | F::CredentialsProfileProcess => "a credential process",
            F::CredentialsEnvVarsStsWebIdToken
            | F::CredentialsStsAssumeRoleWebId
            | F::CredentialsProfileStsWebIdToken => "web identity",
            F::CredentialsStsAssumeRole | F::CredentialsProfileSourceProfile => "an assumed role",
            F::CredentialsProfile | F::CredentialsProfileNamedProvider => "a profile",
            F::CredentialsEnvVars => "environment variables",
            _ => return None,
        })
    });
    named.unwrap_or("environment variables")
}

/// The last four characters, which tell keys apart and open nothing.
pub(crate) fn key_end(id: &str) -> &str {
    match id.char_indices().rev().nth(3) {
        Some((start, _)) if id.len() >= KEY_ID_BYTES_MIN => id.get(start..).unwrap_or_default(),
        _ => "",
    }
}

/// AWS's own are 20; what is shorter would show too much of itself.
const KEY_ID_BYTES_MIN: usize = 16;
const VARIABLES: &str = "variables";
const TIMEOUT: Duration = Duration::from_secs(1);
pub(crate) const HINT_CHECK: &str = "`aws sts get-caller-identity` shows whether AWS knows you";
const HINT_NONE: &str = "sign in with `aws configure` or `aws sso login`, choose a profile with \
                         AWS_PROFILE or `?profile=`, or set AWS_ACCESS_KEY_ID and \
                         AWS_SECRET_ACCESS_KEY; `aws sts get-caller-identity` shows whether AWS \
                         knows you";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_id_only_the_end_is_shown() {
        assert_eq!(key_end("AKIAIOSFODNN7EXAMPLE"), "MPLE");
        assert_eq!(key_end("short"), "");
        assert_eq!(key_end(""), "");
    }
}
