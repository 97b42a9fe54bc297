//! What the library says, as kinds, causes and fixes.

use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;

/// Longest text of the server that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// How a request failed, as far as the code branches.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such secret or version.
    Absent,
    /// It is there already.
    Present,
    /// Somebody else was there first.
    Conflict,
    /// The version cannot be read as it is.
    NotReadable,
    /// Trying again may help.
    Busy(BackendError),
    /// Anything else.
    Final(BackendError),
}

impl Failure {
    pub(crate) fn of(error: &Error, backend: &str) -> Self {
        let fail = |kind, message: String| BackendError::new(kind, backend, message);
        if error.is_authentication() {
            return Self::Final(
                fail(
                    BackendErrorKind::Denied,
                    "no credentials could be had".into(),
                )
                .with_hint("gcloud auth application-default login"),
            );
        }
        if let Some(status) = error.status() {
            return of_status(status.code, &status.message, backend);
        }
        match error.http_status_code() {
            Some(429) => Self::Busy(throttled(backend)),
            Some(code @ 500..) => Self::Busy(unreachable(backend, &format!("it answered {code}"))),
            Some(_) => Self::Final(malformed(backend)),
            None if error.is_deserialization() => Self::Final(malformed(backend)),
            None => Self::Final(unreachable(backend, &cause(error))),
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
        let conflict = |message: &str| {
            BackendError::new(BackendErrorKind::Conflict, backend, message)
                .with_hint("read it again, then write")
        };
        match self {
            Self::Busy(error) | Self::Final(error) => error,
            Self::Absent => conflict("the secret is not there (any more)"),
            Self::Present => conflict("the secret is there already"),
            Self::Conflict => conflict("the secret was changed by somebody else"),
            Self::NotReadable => {
                let message = "Secret Manager refuses this in the secret's present state";
                BackendError::new(BackendErrorKind::Invalid, backend, message)
                    .with_hint("gcloud secrets versions list NAME shows its versions")
            }
        }
    }
}

fn of_status(code: Code, message: &str, backend: &str) -> Failure {
    let fail = |kind, message: String| BackendError::new(kind, backend, message);
    match code {
        Code::NotFound => Failure::Absent,
        Code::AlreadyExists => Failure::Present,
        Code::Aborted => Failure::Conflict,
        Code::FailedPrecondition => Failure::NotReadable,
        Code::PermissionDenied => Failure::Final(
            fail(BackendErrorKind::Denied, printable(message))
                .with_hint("a role such as roles/secretmanager.secretAccessor must allow this"),
        ),
        Code::Unauthenticated => Failure::Final(
            fail(
                BackendErrorKind::Denied,
                "Google does not know who asks".into(),
            )
            .with_hint("gcloud auth application-default login"),
        ),
        Code::ResourceExhausted => Failure::Busy(throttled(backend)),
        Code::Internal | Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            let code = code.name();
            Failure::Busy(unreachable(backend, &format!("it answered {code}")))
        }
        // Its text may quote what was sent.
        Code::InvalidArgument | Code::OutOfRange => Failure::Final(
            fail(
                BackendErrorKind::Invalid,
                "Secret Manager refuses this name or value".into(),
            )
            .with_hint("names: letters, digits, _ and -; values: up to 64 KiB"),
        ),
        _ => Failure::Final(
            fail(
                BackendErrorKind::Malformed,
                format!("Secret Manager answered {}", code.name()),
            )
            .with_hint("check endpoint= in the address"),
        ),
    }
}

fn throttled(backend: &str) -> BackendError {
    let message = "Secret Manager asks for fewer requests";
    BackendError::new(BackendErrorKind::Throttled, backend, message)
        .with_hint("try again later, or ask for a greater quota")
}

fn unreachable(backend: &str, cause: &str) -> BackendError {
    let message = format!("cannot reach Secret Manager: {cause}");
    BackendError::new(BackendErrorKind::Unreachable, backend, message)
        .with_hint("check the network; https://status.cloud.google.com shows its state")
}

fn malformed(backend: &str) -> BackendError {
    let message = "the answer is not what Secret Manager sends";
    BackendError::new(BackendErrorKind::Malformed, backend, message)
        .with_hint("check endpoint= in the address, and proxies on the way")
}

/// The innermost cause that speaks of the connection; other texts could quote an answer.
fn cause(error: &Error) -> String {
    let mut cause = String::from("the connection broke");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            cause = printable(&error.to_string());
        }
        source = error.source();
    }
    cause
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
