//! What can go wrong in the engine, by what a caller does about it.

use strongroom_core::port::StorageError;

/// A failed operation.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such secret, or no such version of it.
    #[error("{what} is not in the store")]
    NotFound {
        /// The path, with the version where one was asked for.
        what: String,
    },
    /// There is one already.
    #[error("{path} is in the store already")]
    AlreadyExists {
        /// Its path.
        path: String,
    },
    /// The version is deleted or destroyed.
    #[error("version {version} of {path} is {state}")]
    Gone {
        /// Whose.
        path: String,
        /// Which.
        version: u64,
        /// `deleted` or `destroyed`.
        state: &'static str,
    },
    /// The check-and-set version is not the current one.
    #[error("{path} is at version {found}, not {expected}")]
    VersionMismatch {
        /// Whose.
        path: String,
        /// What the caller expected.
        expected: u64,
        /// What is there; 0 for nothing.
        found: u64,
    },
    /// A write has to name the current version, and did not.
    #[error("a write to {path} has to name its current version")]
    CasRequired {
        /// Whose.
        path: String,
    },
    /// Others kept changing the same records.
    #[error("others keep changing {path}")]
    Contended {
        /// Which secret.
        path: String,
    },
    /// What was asked makes no sense.
    #[error("{message}")]
    Invalid {
        /// Why.
        message: String,
    },
    /// Over a bound.
    #[error("{what} is over the limit of {limit}")]
    LimitExceeded {
        /// What.
        what: String,
        /// The bound, with its unit.
        limit: String,
    },
    /// What is stored is not what was written.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// Which secret or folder.
        what: String,
        /// What was found.
        detail: String,
    },
    /// What is stored has a form that only a later program knows.
    #[error("{what} was written by a newer strongroom")]
    Newer {
        /// Which secret, folder or record.
        what: String,
    },
    /// Somebody has made a new data key since the store was opened.
    #[error("{what} is under a data key that was made after the store was opened")]
    LaterKey {
        /// Which secret, folder or record.
        what: String,
    },
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a door tells apart. Every door matches it in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is nothing, or nothing any more.
    NotFound,
    /// What was asked makes no sense, or is over a bound: the message says why.
    Invalid,
    /// The check-and-set version does not fit.
    VersionMismatch,
    /// There has to be one.
    CasRequired,
    /// Others were faster: try again.
    Contended,
    /// The storage is out of reach now, and nothing was changed: try again.
    Unavailable,
    /// What is stored is not what was written.
    Damaged,
    /// What is stored has a form that only a later program knows.
    Newer,
    /// No room left.
    Full,
    /// The store cannot be written.
    ReadOnly,
    /// The system refused something.
    Io,
}

impl Error {
    /// What a door tells apart.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::Gone { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } | Self::Invalid { .. } | Self::LimitExceeded { .. } => {
                ErrorKind::Invalid
            }
            Self::VersionMismatch { .. } => ErrorKind::VersionMismatch,
            Self::CasRequired { .. } => ErrorKind::CasRequired,
            Self::Contended { .. } => ErrorKind::Contended,
            Self::Damaged { .. } => ErrorKind::Damaged,
            Self::Newer { .. } => ErrorKind::Newer,
            Self::LaterKey { .. } => ErrorKind::Contended,
            Self::Storage(error) => match error {
                StorageError::Conflict { .. } | StorageError::Busy => ErrorKind::Contended,
                StorageError::Unavailable { .. } => ErrorKind::Unavailable,
                StorageError::TooLarge { .. } => ErrorKind::Invalid,
                StorageError::Damaged { .. } => ErrorKind::Damaged,
                StorageError::Full => ErrorKind::Full,
                StorageError::ReadOnly { .. } => ErrorKind::ReadOnly,
                _ => ErrorKind::Io,
            },
        }
    }

    /// The stable code that scripts can rely on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "secret.not_found",
            Self::AlreadyExists { .. } => "secret.exists",
            Self::Gone { .. } => "secret.gone",
            Self::VersionMismatch { .. } => "secret.version_mismatch",
            Self::CasRequired { .. } => "secret.cas_required",
            Self::Contended { .. } => "secret.contended",
            Self::Invalid { .. } => "request.invalid",
            Self::LimitExceeded { .. } => "request.limit",
            Self::Damaged { .. } => "store.damaged",
            Self::Newer { .. } => "store.newer",
            Self::LaterKey { .. } => "store.later_key",
            Self::Storage(error) => match error {
                StorageError::Conflict { .. } => "secret.contended",
                StorageError::Unavailable { .. } => "store.unavailable",
                StorageError::TooLarge { .. } => "request.limit",
                StorageError::Damaged { .. } => "store.damaged",
                StorageError::Full => "store.full",
                StorageError::Busy => "store.busy",
                StorageError::ReadOnly { .. } => "store.read_only",
                _ => "store.io",
            },
        }
    }
}
