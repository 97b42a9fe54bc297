//! What the library says, as kinds, causes and fixes.

use azure_core::Error;
use azure_core::error::ErrorKind;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;

/// Longest text of a connection's failure that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 300;
/// Longest error code, in bytes.
const CODE_BYTES_MAX: usize = 60;

/// How a request failed, as far as the code branches.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such secret or version.
    Absent,
    /// It was deleted, and its name is kept for it.
    Deleted,
    /// Trying again may help.
    Busy(BackendError),
    /// Anything else.
    Final(BackendError),
}

/// The body of a refusal; its messages are not read, for they may quote.
#[derive(serde::Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(serde::Deserialize)]
struct RefusalError {
    code: String,
    #[serde(default)]
    innererror: Option<Box<RefusalError>>,
}

impl Failure {
    pub(crate) fn of(error: &Error, backend: &str) -> Self {
        match error.kind() {
            ErrorKind::HttpResponse {
                status,
                raw_response,
                ..
            } => {
                let body = raw_response
                    .as_ref()
                    .map(|response| response.body().as_ref());
                let refusal = body.and_then(|body| serde_json::from_slice::<Refusal>(body).ok());
                let code = refusal.map(|refusal| innermost(refusal.error));
                of_status(u16::from(*status), code.as_deref(), backend)
            }
            ErrorKind::Credential => Self::Final(of_credential(error, backend)),
            ErrorKind::DataConversion => Self::Final(malformed(backend)),
            _ => Self::Final(of_connection(error, backend)),
        }
    }

    /// The error, where nothing is left to branch on.
    pub(crate) fn error(&self) -> Option<&BackendError> {
        match self {
            Self::Busy(error) | Self::Final(error) => Some(error),
            _ => None,
        }
    }

    /// The error that a caller sees when nothing is left to branch on.
    pub(crate) fn into_error(self, backend: &str) -> BackendError {
        let conflict = |message| BackendError::new(BackendErrorKind::Conflict, backend, message);
        match self {
            Self::Busy(error) | Self::Final(error) => error,
            Self::Absent => {
                conflict("the secret is not there (any more)").with_hint("read it again")
            }
            Self::Deleted => conflict("the secret was deleted, and the vault keeps its name")
                .with_hint("bring it back: az keyvault secret recover; or purge it"),
        }
    }
}

/// The most exact code, if it is a word.
fn innermost(error: RefusalError) -> String {
    let mut code = error.code;
    let mut inner = error.innererror;
    while let Some(error) = inner {
        code = error.code;
        inner = error.innererror;
    }
    let is_word = code.len() <= CODE_BYTES_MAX && code.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word { code } else { String::new() }
}

fn of_status(status: u16, code: Option<&str>, backend: &str) -> Failure {
    let fail = |kind, message: String| BackendError::new(kind, backend, message);
    match (status, code) {
        (404, Some("SecretNotFound")) => Failure::Absent,
        (409, Some("ObjectIsDeletedButRecoverable")) => Failure::Deleted,
        (409, Some(_)) => Failure::Busy(
            fail(
                BackendErrorKind::Conflict,
                "the secret is being deleted or brought back at this moment".into(),
            )
            .with_hint("try again shortly"),
        ),
        (401, _) => Failure::Final(
            fail(
                BackendErrorKind::Denied,
                "the vault does not accept the credentials".into(),
            )
            .with_hint("az account show tells who you are; sign in again"),
        ),
        (403, Some("SecretDisabled")) => Failure::Final(
            fail(BackendErrorKind::Denied, "the secret is disabled".into())
                .with_hint("az keyvault secret set-attributes --enabled true"),
        ),
        (403, code) => {
            let code = code.unwrap_or("Forbidden");
            Failure::Final(
                fail(
                    BackendErrorKind::Denied,
                    format!("the vault refuses this ({code})"),
                )
                .with_hint(
                    "a role such as Key Vault Secrets Officer, or the vault's firewall, must \
                         allow it",
                ),
            )
        }
        (400 | 413, Some(code)) => Failure::Final(
            fail(
                BackendErrorKind::Invalid,
                format!("the vault refuses this name, value or tag ({code})"),
            )
            .with_hint("values: up to 25 KiB; tags: up to 15, with up to 256 characters"),
        ),
        (429, _) => Failure::Busy(
            fail(
                BackendErrorKind::Throttled,
                "the vault asks for fewer requests".into(),
            )
            .with_hint("try again later"),
        ),
        (500.., _) => Failure::Busy(
            fail(
                BackendErrorKind::Unreachable,
                format!("the vault answered {status}"),
            )
            .with_hint("try again; https://status.azure.com shows the service's state"),
        ),
        _ => Failure::Final(malformed(backend)),
    }
}

fn malformed(backend: &str) -> BackendError {
    let message = "the answer is not what a key vault sends";
    BackendError::new(BackendErrorKind::Malformed, backend, message)
        .with_hint("check the vault's host, and proxies on the way")
}

/// No token: because nobody answers, or because who asks is not known.
fn of_credential(error: &Error, backend: &str) -> BackendError {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(inner) = inner.downcast_ref::<Error>()
            && matches!(inner.kind(), ErrorKind::Connection | ErrorKind::Io)
        {
            return of_connection(inner, backend);
        }
        source = inner.source();
    }
    BackendError::new(BackendErrorKind::Denied, backend, "Entra ID gave no token").with_hint(
        "az login; or check AZURE_TENANT_ID, AZURE_CLIENT_ID and what proves the identity",
    )
}

/// The innermost cause that speaks of the connection; other texts could quote an answer.
fn of_connection(error: &Error, backend: &str) -> BackendError {
    let mut cause = String::from("the connection broke");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(inner) = inner.downcast_ref::<std::io::Error>() {
            cause = printable(&inner.to_string());
        }
        source = inner.source();
    }
    if matches!(error.kind(), ErrorKind::Other) {
        let message = "the vault asks for a token of another service, and does not get it";
        return BackendError::new(BackendErrorKind::Denied, backend, message)
            .with_hint("check the vault's host in the address");
    }
    let message = format!("cannot reach the vault: {cause}");
    BackendError::new(BackendErrorKind::Unreachable, backend, message)
        .with_hint("check the network and the vault's name")
}

fn printable(text: &str) -> String {
    let plain = text.chars().take(MESSAGE_CHARS_MAX);
    plain
        .map(|c| match strongroom_core::path::is_forbidden(c) {
            true => ' ',
            false => c,
        })
        .collect()
}
