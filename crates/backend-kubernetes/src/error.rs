//! What the library says, as kinds, causes and fixes. Its own texts are not passed on where they
//! could quote an answer's body, a kubeconfig or the output of a credential program.

use std::error::Error as _;

use kube::client::AuthError;
use kube::core::Status;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;

/// Longest text of the server that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// How a request failed, as far as the code branches.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such Secret.
    Absent,
    /// Somebody else was there first.
    Conflict,
    /// The place in a listing is too old.
    Expired,
    /// Trying again may help.
    Busy(BackendError),
    /// Anything else.
    Final(BackendError),
}

impl Failure {
    pub(crate) fn of(error: &kube::Error, backend: &str) -> Self {
        let fail = |kind, message: &str| BackendError::new(kind, backend, message);
        match error {
            kube::Error::Api(status) => of_status(status, backend),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Final(
                fail(
                    BackendErrorKind::Malformed,
                    "the answer is not what an API server sends",
                )
                .with_hint("check the server's address: kubectl cluster-info"),
            ),
            error => Self::Final(of_transport(error, backend)),
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
        match self {
            Self::Busy(error) | Self::Final(error) => error,
            Self::Conflict => conflict(backend, "the Secret was changed by somebody else"),
            Self::Expired => conflict(backend, "the listing took too long and was given up")
                .with_hint("list again"),
            Self::Absent => conflict(backend, "the Secret was removed meanwhile"),
        }
    }
}

pub(crate) fn conflict(backend: &str, message: &str) -> BackendError {
    BackendError::new(BackendErrorKind::Conflict, backend, message)
        .with_hint("read it again, then write")
}

fn of_status(status: &Status, backend: &str) -> Failure {
    let kind = status
        .details
        .as_ref()
        .map_or("", |details| details.kind.as_str());
    let fail = |kind, message: String| BackendError::new(kind, backend, message);
    match (status.code, status.reason.as_str()) {
        (404, "NotFound") if kind == "secrets" => Failure::Absent,
        (404, "NotFound") if kind == "namespaces" => Failure::Final(
            fail(
                BackendErrorKind::Misconfigured,
                "there is no such namespace".into(),
            )
            .with_hint("kubectl get namespaces lists them"),
        ),
        (404, _) => Failure::Final(
            fail(
                BackendErrorKind::Malformed,
                "the server does not know Secrets (404): it is no Kubernetes API server".into(),
            )
            .with_hint("check the server's address: kubectl cluster-info"),
        ),
        (409, _) => Failure::Conflict,
        (410, _) => Failure::Expired,
        (401, _) => Failure::Final(
            fail(
                BackendErrorKind::Denied,
                "the API server does not know who asks".into(),
            )
            .with_hint("renew the context's credentials; kubectl auth whoami tests them"),
        ),
        (403, _) => Failure::Final(
            fail(BackendErrorKind::Denied, printable(&status.message))
                .with_hint("a Role must allow this; kubectl auth can-i --list shows what is"),
        ),
        (429, _) => Failure::Busy(
            fail(
                BackendErrorKind::Throttled,
                "the API server asks for fewer requests".into(),
            )
            .with_hint("try again later"),
        ),
        (code @ 500.., _) => Failure::Busy(
            fail(
                BackendErrorKind::Unreachable,
                format!("the API server answered {code}"),
            )
            .with_hint("try again; kubectl get --raw /readyz shows its state"),
        ),
        (code, reason) => Failure::Final(refused(status, code, reason, backend)),
    }
}

/// 400, 413, 422: names the fields, not the texts, which may quote what was sent.
fn refused(status: &Status, code: u16, reason: &str, backend: &str) -> BackendError {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<String> = causes.map(|cause| printable(&cause.field)).collect();
    let of_fields = match fields.is_empty() {
        true => String::new(),
        false => format!(" of {}", fields.join(", ")),
    };
    let is_word = reason.len() < 40 && reason.chars().all(|c| c.is_ascii_alphanumeric());
    let reason = if is_word { reason } else { "" };
    let message = format!("the API server refuses the Secret because{of_fields} ({code} {reason})");
    BackendError::new(BackendErrorKind::Invalid, backend, message).with_hint(
        "it may be immutable, need certain keys for its type, or exceed 1 MiB with its other keys",
    )
}

fn of_transport(error: &kube::Error, backend: &str) -> BackendError {
    let mut source = error.source();
    let mut cause = String::from("the connection broke");
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<AuthError>() {
            return of_credentials(error, backend);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            cause = printable(&error.to_string());
        }
        source = error.source();
    }
    let message = format!("cannot reach the API server: {cause}");
    BackendError::new(BackendErrorKind::Unreachable, backend, message)
        .with_hint("check network and context: kubectl cluster-info")
}

/// Their texts would quote what a credential program printed.
fn of_credentials(error: &AuthError, backend: &str) -> BackendError {
    let what = match error {
        AuthError::AuthExecStart(error) => {
            format!(
                "the kubeconfig's credential program does not start: {}",
                error.kind()
            )
        }
        AuthError::ReadTokenFile(error, path) => {
            format!(
                "cannot read the token in {}: {}",
                path.display(),
                error.kind()
            )
        }
        _ => "the kubeconfig's credential program or token gave no credentials".into(),
    };
    BackendError::new(BackendErrorKind::Denied, backend, what)
        .with_hint("kubectl auth whoami shows what is wrong; sign in again")
}

/// A text of the server's on one line and not without end.
fn printable(text: &str) -> String {
    let plain = text.chars().take(MESSAGE_CHARS_MAX);
    plain
        .map(|c| match strongroom_core::path::is_forbidden(c) {
            true => ' ',
            false => c,
        })
        .collect()
}
