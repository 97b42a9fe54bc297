//! Why a request fails, and what Vault clients are told: the only place that chooses statuses.

use http::StatusCode;
use strongroom_core::port::StorageError;
use strongroom_engine::Error;
use strongroom_engine::error::ErrorKind;
use strongroom_userkeys::UserKeysError;

use crate::audit::AuditFailed;
use crate::keeper::KeeperError;
use crate::node::StartError;

/// A request that fails.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What was asked makes no sense; the text goes to the client.
    Invalid(String),
    /// No token, or none that is alive.
    NoToken,
    /// The token may not do this, whether or not there is anything.
    Denied,
    /// Refused with words of its own.
    Refused(String),
    /// There is nothing.
    NotFound,
    /// There is nothing, with a hint.
    NotFoundWith(Vec<String>),
    /// Nothing is mounted there.
    NoRoute(String),
    /// What is mounted there knows no such path.
    UnsupportedPath,
    /// It knows the path, but not the verb.
    UnsupportedOperation,
    /// A patch of an unknown kind.
    UnsupportedPatch(String),
    /// The body is over the limit.
    TooLarge,
    /// The body is over the limit for those without a token.
    TooLargeForAnybody,
    /// The body did not come in time.
    TooSlow,
    /// Over a rate; seconds to wait.
    TooMany(i64),
    /// Too much of this is under way.
    Busy,
    /// There is no store yet.
    Uninitialised,
    /// Nobody has unsealed it.
    Sealed,
    /// The audit log cannot be written: nothing was done.
    Audit,
    /// The audit log could not be written after something was done.
    AuditAfterwards,
    /// What credentials are made in refused or failed; the text goes to the client.
    Backend(String),
    /// The engine refused or failed.
    Engine(Error),
    /// A bug, or something that must not happen; the text goes to the log.
    Internal(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<AuditFailed> for Fault {
    fn from(AuditFailed: AuditFailed) -> Self {
        Self::Audit
    }
}

impl From<KeeperError> for Fault {
    fn from(error: KeeperError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Engine(error) => Self::Engine(error),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<UserKeysError> for Fault {
    fn from(error: UserKeysError) -> Self {
        match error {
            UserKeysError::BadName { .. }
            | UserKeysError::TooLarge { .. }
            | UserKeysError::Empty => Self::Invalid(error.to_string()),
            UserKeysError::Leaving { .. } => Self::Invalid(error.to_string()),
            UserKeysError::Connect(_) | UserKeysError::Unavailable { .. } => {
                Self::Engine(Error::Storage(StorageError::Unavailable {
                    detail: error.to_string(),
                }))
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

/// Shown for what is no client's business.
const INTERNAL: &str = "internal error";

impl Fault {
    /// Something that the client did wrong.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// The status, and the texts for the client.
    pub(crate) fn answer(&self) -> (StatusCode, Vec<String>) {
        let one = |text: &str| vec![text.to_owned()];
        let nested = |text: &str| vec![format!("1 error occurred:\n\t* {text}\n\n")];
        match self {
            Self::Invalid(text) => (StatusCode::BAD_REQUEST, one(text)),
            Self::NoToken => (StatusCode::FORBIDDEN, one("permission denied")),
            Self::Denied => (StatusCode::FORBIDDEN, nested("permission denied")),
            Self::Refused(text) => (StatusCode::FORBIDDEN, one(text)),
            Self::NotFound => (StatusCode::NOT_FOUND, Vec::new()),
            Self::NotFoundWith(texts) => (StatusCode::NOT_FOUND, texts.clone()),
            Self::NoRoute(path) => {
                let text = format!("no handler for route \"{path}\". route entry not found.");
                (StatusCode::NOT_FOUND, vec![text])
            }
            Self::UnsupportedPath => (StatusCode::NOT_FOUND, nested("unsupported path")),
            Self::UnsupportedOperation => (
                StatusCode::METHOD_NOT_ALLOWED,
                nested("unsupported operation"),
            ),
            Self::UnsupportedPatch(kind) => {
                let text = format!(
                    "PATCH requires Content-Type of application/merge-patch+json, provided {kind}"
                );
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, vec![text])
            }
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                one("the body is over the limit of 32 MiB"),
            ),
            Self::TooLargeForAnybody => (
                StatusCode::PAYLOAD_TOO_LARGE,
                one("without a token, a body is at most 64 KiB"),
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                one("the body did not come in time"),
            ),
            Self::TooMany(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                one("request path: rate limit quota exceeded"),
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                one("the server has too many such requests under way: try again"),
            ),
            Self::Uninitialised => (StatusCode::BAD_REQUEST, one("Vault is not initialized")),
            Self::Sealed => (StatusCode::SERVICE_UNAVAILABLE, one("Vault is sealed")),
            Self::Audit => (
                StatusCode::SERVICE_UNAVAILABLE,
                one("the audit log cannot be written"),
            ),
            // Not 503: a client that tries again would do it twice.
            Self::AuditAfterwards => (
                StatusCode::INTERNAL_SERVER_ERROR,
                one("the audit log cannot be written: look whether the change was made"),
            ),
            Self::Backend(text) => (StatusCode::INTERNAL_SERVER_ERROR, nested(text)),
            Self::Engine(error) => of_engine(error),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, one(INTERNAL)),
        }
    }

    /// What the operators' log says, where there is more to say than the client is told.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Internal(text) | Self::Backend(text) => Some(text.clone()),
            Self::Engine(error @ (Error::Damaged { .. } | Error::Storage(_))) => {
                Some(error.to_string())
            }
            Self::Audit => Some("the audit log cannot be written: requests are refused".into()),
            Self::AuditAfterwards => {
                Some("the audit log cannot be written: a change has no line for its answer".into())
            }
            Self::Invalid(_)
            | Self::NoToken
            | Self::Denied
            | Self::Refused(_)
            | Self::NotFound
            | Self::NotFoundWith(_)
            | Self::NoRoute(_)
            | Self::UnsupportedPath
            | Self::UnsupportedOperation
            | Self::UnsupportedPatch(_)
            | Self::TooLarge
            | Self::TooLargeForAnybody
            | Self::TooSlow
            | Self::TooMany(_)
            | Self::Busy
            | Self::Uninitialised
            | Self::Sealed
            | Self::Engine(_) => None,
        }
    }
}

fn of_engine(error: &Error) -> (StatusCode, Vec<String>) {
    let one = |text: &str| vec![text.to_owned()];
    match error.kind() {
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, Vec::new()),
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, vec![error.to_string()]),
        ErrorKind::VersionMismatch => (
            StatusCode::BAD_REQUEST,
            one("check-and-set parameter did not match the current version"),
        ),
        ErrorKind::CasRequired => (
            StatusCode::BAD_REQUEST,
            one("check-and-set parameter required for this call"),
        ),
        ErrorKind::Contended => (
            StatusCode::SERVICE_UNAVAILABLE,
            one("others keep changing the same records: try again"),
        ),
        ErrorKind::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            one("the server's database is out of reach, and nothing was changed: try again"),
        ),
        ErrorKind::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            one("the server's disk is full: nothing was written"),
        ),
        ErrorKind::ReadOnly => (
            StatusCode::SERVICE_UNAVAILABLE,
            one("the store cannot be written"),
        ),
        ErrorKind::Damaged | ErrorKind::Newer | ErrorKind::Io => {
            (StatusCode::INTERNAL_SERVER_ERROR, one(INTERNAL))
        }
    }
}
