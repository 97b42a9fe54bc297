//! The database's errors in our words.

use deadpool_postgres::PoolError;
use deadpool_postgres::TimeoutType;
use strongroom_core::port::StorageError;
use strongroom_postgres::ConnectError;
pub(crate) use strongroom_postgres::Course;
use strongroom_postgres::course;
use strongroom_postgres::pool_words;
pub(crate) use strongroom_postgres::words;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why a database cannot be used as a store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenDatabaseError {
    /// Nobody answers, or not in time.
    #[error("{place} cannot be reached: {detail}")]
    Unreachable {
        /// Which database.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// It does not let us in.
    #[error("{place} refuses the user {user}: {detail}")]
    Refused {
        /// Which database.
        place: String,
        /// As whom.
        user: String,
        /// What it said.
        detail: String,
    },
    /// It is not who it says it is, or speaks no TLS.
    #[error("{place} does not prove who it is: {detail}")]
    Untrusted {
        /// Which database.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// Certificates that cannot be read.
    #[error("{}: {detail}", .path.display())]
    Roots {
        /// Which file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The tables are of a later program that this one cannot work beside.
    #[error(
        "the tables in {place} have version {found}, which takes programs that know version \
         {needed}; this one knows {known}"
    )]
    Newer {
        /// Which database.
        place: String,
        /// Its version.
        found: i32,
        /// What a program has to know.
        needed: i32,
        /// What this one knows.
        known: i32,
    },
    /// The tables are older, and cannot be brought up to date.
    #[error(
        "the tables in {place} have version {found} and cannot be brought to {known}: {detail}"
    )]
    Older {
        /// Which database.
        place: String,
        /// Its version.
        found: i32,
        /// What this program needs.
        known: i32,
        /// What the database said.
        detail: String,
    },
    /// Somebody has changed a migration that was applied.
    #[error("the tables in {place} were not made by this program: migration {version} differs")]
    Foreign {
        /// Which database.
        place: String,
        /// Which one.
        version: i32,
    },
    /// A move into it was begun and is not finished.
    #[error("a store is being moved to {place}, and not all of it is there")]
    Unfinished {
        /// Which database.
        place: String,
    },
    /// There is a store already.
    #[error("there is a store in {place} already")]
    Exists {
        /// Which database.
        place: String,
    },
    /// There is no store.
    #[error("there is no store in {place}")]
    Missing {
        /// Which database.
        place: String,
    },
    /// No runtime.
    #[error("the threads that talk to the database cannot be started: {detail}")]
    Threads {
        /// What the system said.
        detail: String,
    },
    /// Anything else that the storage refused.
    #[error("{place}: {error}")]
    Storage {
        /// Which database.
        place: String,
        /// What went wrong.
        error: StorageError,
    },
}

/// The storage's error for one of the database that is not to be tried again.
pub(crate) fn failed(error: &Error) -> StorageError {
    let detail = words(error);
    let Some(code) = error.code() else {
        return match course(error) {
            Course::Give => StorageError::Io { detail },
            Course::Again | Course::Reconnect => StorageError::Unavailable { detail },
        };
    };
    match code {
        &SqlState::DISK_FULL => StorageError::Full,
        &SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE => {
            StorageError::Unavailable { detail }
        }
        &SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED => StorageError::Damaged { detail },
        &SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN => StorageError::Unavailable {
            detail: "a table is missing, or is not as this program knows it".into(),
        },
        &SqlState::INSUFFICIENT_PRIVILEGE => StorageError::ReadOnly { detail },
        _ if course(error) != Course::Give => StorageError::Unavailable { detail },
        _ => StorageError::Io { detail },
    }
}

/// Why no connection was to be had, and whether waiting may help.
pub(crate) fn no_connection(error: &PoolError, connections: usize) -> (StorageError, Course) {
    let detail = pool_words(error, connections);
    let course = match error {
        PoolError::Timeout(TimeoutType::Wait) => Course::Give,
        PoolError::Timeout(_) | PoolError::PostCreateHook(_) => Course::Reconnect,
        PoolError::Backend(error) => course(error),
        PoolError::Closed | PoolError::NoRuntimeSpecified => Course::Give,
    };
    (StorageError::Unavailable { detail }, course)
}

impl From<ConnectError> for OpenDatabaseError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable { place, detail } => Self::Unreachable { place, detail },
            ConnectError::Refused {
                place,
                user,
                detail,
            } => Self::Refused {
                place,
                user,
                detail,
            },
            ConnectError::Untrusted { place, detail } => Self::Untrusted { place, detail },
            ConnectError::Roots { path, detail } => Self::Roots { path, detail },
            ConnectError::Threads { detail } => Self::Threads { detail },
            // The other crate may know more one day.
            other => Self::Threads {
                detail: other.to_string(),
            },
        }
    }
}

/// The text for batches of which nobody knows whether they were written.
pub(crate) fn unknown_outcome(detail: &str) -> StorageError {
    StorageError::Io {
        detail: format!(
            "the database went away while it committed, and was not back in time to tell whether \
             it did ({detail}): look before you write again"
        ),
    }
}

/// What a piece of work on a connection ends with when it does not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database's, or the driver's.
    Driver(Error),
    /// What is stored, or a rule of ours.
    Stored(StorageError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl Failure {
    pub(crate) fn damaged(what: &str) -> Self {
        Self::Stored(StorageError::Damaged {
            detail: format!("{what} does not have the expected form"),
        })
    }

    /// The tables are not what they were: a later program may have changed them.
    pub(crate) fn is_of_tables(&self) -> bool {
        let Self::Driver(error) = self else {
            return false;
        };
        let ours = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN];
        error.code().is_some_and(|code| ours.contains(code))
    }

    pub(crate) fn course(&self) -> Course {
        match self {
            Self::Driver(error) => course(error),
            Self::Stored(_) => Course::Give,
        }
    }

    pub(crate) fn into_storage(self) -> StorageError {
        match self {
            Self::Driver(error) => failed(&error),
            Self::Stored(error) => error,
        }
    }
}
