//! What the SDK's errors mean: by code and kind, in words of ours.
//!
//! AWS repeats refused input in some of its messages (`Value '…' at 'secretString' failed …`), so
//! none is quoted. Two things are taken out of them: the action and the resource that a policy
//! does not allow, and whether a secret is scheduled for deletion, for which there is no code.

use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_sdk_secretsmanager::error::SdkError;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;

use crate::connection::Site;
use crate::credentials;

/// An operation of many requests may take so many times the limit of one.
const REQUESTS_PATIENCE: u32 = 3;

/// A failed call: what code branches on, and what a person reads.
#[derive(Debug)]
pub(crate) struct Failure {
    code: String,
    status: u16,
    is_marked_deleted: bool,
    /// What is reported unless a caller knows better.
    pub(crate) error: BackendError,
}

impl Failure {
    /// No answer, or none that can be read.
    pub(crate) fn unanswered(error: BackendError) -> Self {
        Self {
            code: String::new(),
            status: 0,
            is_marked_deleted: false,
            error,
        }
    }

    /// Neither the secret nor the version that was asked for is there.
    pub(crate) fn is_not_found(&self) -> bool {
        ["ResourceNotFoundException", "ParameterNotFound"].contains(&self.code.as_str())
    }

    /// The secret waits for its deletion: no operation but a restore is allowed.
    pub(crate) fn is_marked_deleted(&self) -> bool {
        self.is_marked_deleted
    }

    pub(crate) fn is_existing(&self) -> bool {
        self.code == "ResourceExistsException"
    }

    pub(crate) fn is_invalid_parameter(&self) -> bool {
        self.code == "InvalidParameterException"
    }

    /// The operation is not allowed, or the endpoint does not know it.
    pub(crate) fn is_operation_refused(&self) -> bool {
        self.error.kind == BackendErrorKind::Unsupported || DENIED.contains(&self.code.as_str())
    }

    /// The request as a whole was refused, perhaps for one of its items.
    pub(crate) fn is_request_refused(&self) -> bool {
        self.status != 0 && INVALID.contains(&self.code.as_str())
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// What was being done, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// The IAM action, e.g. `secretsmanager:GetSecretValue`.
    pub(crate) action: &'static str,
    /// The secret or parameter.
    pub(crate) address: &'a str,
}

impl Site {
    /// An error of this backend.
    pub(crate) fn error(&self, kind: BackendErrorKind, message: impl Into<String>) -> BackendError {
        BackendError::new(kind, self.backend.clone(), message)
    }

    /// How long an operation may take that is made of many requests: a listing, a bulk read.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout * REQUESTS_PATIENCE
    }

    /// Ends what takes longer than an operation may.
    pub(crate) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        match tokio::time::timeout(self.patience(), work).await {
            Ok(result) => result,
            Err(_) => Err(self.late()),
        }
    }

    /// The time of an operation is over.
    pub(crate) fn late(&self) -> BackendError {
        self.silent(self.patience())
    }

    fn silent(&self, time: Duration) -> BackendError {
        let message = format!("{} gave no answer in {time:?}", self.host);
        self.error(BackendErrorKind::Unreachable, message)
            .with_hint("see whether the address can be reached from here; `?timeout=` waits longer")
    }

    /// What an SDK error means.
    pub(crate) fn failure<E>(&self, call: Call<'_>, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        if let Some(cause) = cause::<CredentialsError>(error) {
            let profile = self.profile.as_deref();
            return Failure::unanswered(credentials::explain(cause, &self.backend, profile));
        }
        match error {
            SdkError::ServiceError(service) => {
                let meta = service.err().meta();
                self.answered(
                    call,
                    meta.code().unwrap_or_default(),
                    meta.message().unwrap_or_default(),
                    service.raw().status().as_u16(),
                )
            }
            SdkError::TimeoutError(_) => Failure::unanswered(self.silent(self.timeout)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                Failure::unanswered(self.silent(self.timeout))
            }
            SdkError::DispatchFailure(failure) if failure.is_user() => Failure::unanswered(
                self.error(
                    BackendErrorKind::Misconfigured,
                    format!("a request to {} cannot be made", self.host),
                )
                .with_hint("check region and endpoint"),
            ),
            SdkError::DispatchFailure(_) => Failure::unanswered(self.not_connected(error)),
            SdkError::ResponseError(response) if response.raw().status().as_u16() >= 500 => {
                Failure::unanswered(self.troubled(response.raw().status().as_u16()))
            }
            SdkError::ResponseError(response) if response.raw().body().bytes().is_none() => {
                let message = format!("{} ended its answer half-way", self.host);
                Failure::unanswered(
                    self.error(BackendErrorKind::Unreachable, message)
                        .with_hint("check network and proxies, and try again"),
                )
            }
            SdkError::ResponseError(_) => Failure::unanswered(self.unreadable()),
            _ => Failure::unanswered(
                self.error(
                    BackendErrorKind::Misconfigured,
                    format!("a request for {} cannot be made", call.action),
                )
                .with_hint("check region and endpoint"),
            ),
        }
    }

    /// What an error means that came as an answer, or as the answer for one item of many.
    pub(crate) fn answered(
        &self,
        call: Call<'_>,
        code: &str,
        message: &str,
        status: u16,
    ) -> Failure {
        // Some services write `namespace#Code`.
        let code = code.rsplit('#').next().unwrap_or_default();
        let is_marked_deleted = code == "InvalidRequestException" && says_deleted(message);
        let error = if is_marked_deleted {
            self.marked_deleted(call)
        } else {
            self.by_code(call, code, message, status)
        };
        Failure {
            code: code.to_owned(),
            status,
            is_marked_deleted,
            error,
        }
    }

    fn by_code(&self, call: Call<'_>, code: &str, message: &str, status: u16) -> BackendError {
        use BackendErrorKind as Kind;
        let Call { action, address } = call;
        match code {
            "DecryptionFailure" | "EncryptionFailure" | "InvalidKeyId" => self
                .error(
                    Kind::Denied,
                    format!("the KMS key of `{address}` cannot be used"),
                )
                .with_hint(
                    "let the role use that key (kms:Decrypt to read, kms:GenerateDataKey to \
                     write), and see that the key is enabled",
                ),
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => self
                .error(Kind::Denied, "the AWS credentials have expired")
                .with_hint(self.sign_in()),
            "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => self
                .error(Kind::Denied, "AWS does not accept the signature")
                .with_hint(
                    "the secret access key does not fit its key id, or this machine's clock is \
                     wrong",
                ),
            _ if UNKNOWN_KEY.contains(&code) => self
                .error(Kind::Denied, "AWS does not know these credentials")
                .with_hint(self.sign_in()),
            _ if DENIED.contains(&code) => self.denied(call, message),
            _ if THROTTLED.contains(&code) || status == 429 => self
                .error(
                    Kind::Throttled,
                    format!("AWS asks for fewer {action} requests; trying again did not help"),
                )
                .with_hint("try later, or ask AWS to raise the account's rate"),
            "ResourceNotFoundException" | "ParameterNotFound" => {
                self.error(Kind::Conflict, format!("there is no `{address}`"))
            }
            "ResourceExistsException" => {
                self.error(Kind::Conflict, format!("`{address}` is there already"))
            }
            "LimitExceededException" => self
                .error(
                    Kind::Invalid,
                    format!("a quota of AWS is reached at `{address}`"),
                )
                .with_hint("see the quotas of Secrets Manager in the AWS console"),
            _ if UNKNOWN_OPERATION.contains(&code) || status == 501 => self.error(
                Kind::Unsupported,
                format!("{} does not know {action}", self.host),
            ),
            _ if status >= 500 => self.troubled(status),
            "" => self.unreadable(),
            _ => self.error(
                Kind::Invalid,
                format!("AWS refuses {action} for `{address}`: {}", word(code)),
            ),
        }
    }

    fn denied(&self, call: Call<'_>, message: &str) -> BackendError {
        let (action, resource) = not_authorized(message);
        let action = action.unwrap_or(call.action);
        let resource = resource.unwrap_or(call.address);
        let on = if resource.is_empty() {
            String::new()
        } else {
            format!(" on `{resource}`")
        };
        let text = format!("{action}{on} is not allowed");
        let hint = format!(
            "add `{action}` to the policy of the role or user; `aws sts get-caller-identity` \
             shows who that is"
        );
        self.error(BackendErrorKind::Denied, text).with_hint(hint)
    }

    /// The error for writes: reads take it as "not found".
    fn marked_deleted(&self, call: Call<'_>) -> BackendError {
        let Call { address, .. } = call;
        let message = format!("`{address}` is scheduled for deletion, so that its name is taken");
        let hint = format!(
            "restore it first: `aws secretsmanager restore-secret --region {} --secret-id \
             {address}`",
            self.region
        );
        self.error(BackendErrorKind::Conflict, message)
            .with_hint(hint)
    }

    fn troubled(&self, status: u16) -> BackendError {
        let message = format!("{} is in trouble: it answers {status}", self.host);
        self.error(BackendErrorKind::Unreachable, message)
            .with_hint("try again later; https://health.aws.amazon.com shows outages")
    }

    fn unreadable(&self) -> BackendError {
        let message = format!("the answer of {} is none that AWS gives", self.host);
        self.error(BackendErrorKind::Malformed, message)
            .with_hint("check the endpoint, and proxies on the way to it")
    }

    fn not_connected(&self, error: &(dyn Error + 'static)) -> BackendError {
        let reason = match cause::<io::Error>(error).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => "it refuses the connection",
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                "the connection was cut"
            }
            Some(io::ErrorKind::UnexpectedEof) => "the connection ended too early",
            Some(io::ErrorKind::InvalidData) => "TLS failed: its certificate is not accepted",
            Some(io::ErrorKind::TimedOut) => "no answer",
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                "there is no way to it"
            }
            _ => "the connection failed, or its name is not known",
        };
        let message = format!("{} cannot be reached: {reason}", self.host);
        self.error(BackendErrorKind::Unreachable, message)
            .with_hint("check region, endpoint, network and proxies")
    }

    fn sign_in(&self) -> String {
        match &self.profile {
            Some(profile) => format!(
                "sign in again (`aws sso login --profile {profile}`, `aws configure --profile \
                 {profile}`); {}",
                credentials::HINT_CHECK
            ),
            None => format!(
                "sign in again (`aws sso login`, `aws configure`), or choose a profile with \
                 AWS_PROFILE; {}",
                credentials::HINT_CHECK
            ),
        }
    }
}

/// The first error of a kind in a chain.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// There is no code for it: AWS says `marked for deletion` and `scheduled for deletion`, its
/// documentation `currently marked deleted`.
fn says_deleted(message: &str) -> bool {
    [
        "marked for deletion",
        "scheduled for deletion",
        "marked deleted",
    ]
    .iter()
    .any(|phrase| message.contains(phrase))
}

/// Action and resource of `… is not authorized to perform: ACTION on resource: ARN because …`.
fn not_authorized(message: &str) -> (Option<&str>, Option<&str>) {
    let after = |mark: &str| {
        let (_, rest) = message.split_once(mark)?;
        let found = rest.split([' ', ',']).next()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ":/_+=.@-*".contains(c);
        (!found.is_empty() && found.len() <= 600 && found.chars().all(is_plain)).then_some(found)
    };
    (after("to perform: "), after("on resource: "))
}

/// A code as it may be shown.
fn word(code: &str) -> &str {
    let is_word = code.len() <= 80 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_word { code } else { "an unknown error" }
}

const DENIED: &[&str] = &[
    "AccessDeniedException",
    "AccessDenied",
    "NotAuthorized",
    "UnauthorizedOperation",
];
const UNKNOWN_KEY: &[&str] = &[
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "AuthFailure",
    "OptInRequired",
];
const THROTTLED: &[&str] = &[
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
];
const UNKNOWN_OPERATION: &[&str] = &[
    "UnknownOperationException",
    "InvalidAction",
    "NotImplemented",
    "NotImplementedException",
    "UnsupportedOperation",
    "UnsupportedOperationException",
];
const INVALID: &[&str] = &[
    "ValidationException",
    "InvalidParameterException",
    "InvalidRequestException",
    "ResourceNotFoundException",
];

#[cfg(test)]
mod tests;
