//! The database's errors in our words.

use std::error::Error as _;
use std::io;

use deadpool_postgres::PoolError;
use deadpool_postgres::TimeoutType;
use strongroom_core::port::StorageError;
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

/// What to do about an error of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// The transaction is lost and may be tried again at once.
    Again,
    /// The connection is gone, or of no use: another one.
    Reconnect,
    /// Trying again does not help.
    Give,
}

pub(crate) fn course(error: &Error) -> Course {
    let Some(code) = error.code() else {
        let is_io = error
            .source()
            .is_some_and(|source| source.downcast_ref::<io::Error>().is_some());
        // An error of the driver without a source is a closed connection, or a timeout.
        return match error.is_closed() || is_io || error.source().is_none() {
            true => Course::Reconnect,
            false => Course::Give,
        };
    };
    match code.code() {
        // Serialisation failures, deadlocks.
        code if code.starts_with("40") => Course::Again,
        // Shutdown, crash of a neighbour, starting, too many connections, connection failures,
        // a standby, a transaction that was idle for too long.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25006" | "25P03" | "25P02" => {
            Course::Reconnect
        }
        code if code.starts_with("08") => Course::Reconnect,
        _ => Course::Give,
    }
}

/// Words for an error. Messages of the database name tables and constraints; a DETAIL could quote
/// a row, and is left out.
pub(crate) fn words(error: &Error) -> String {
    if let Some(refused) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", refused.message(), refused.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
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
        &SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN => StorageError::Damaged {
            detail: "a table is missing".into(),
        },
        &SqlState::INSUFFICIENT_PRIVILEGE => StorageError::ReadOnly { detail },
        _ if course(error) != Course::Give => StorageError::Unavailable { detail },
        _ => StorageError::Io { detail },
    }
}

/// Why no connection was to be had, and whether waiting may help.
pub(crate) fn no_connection(error: &PoolError, connections: usize) -> (StorageError, Course) {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => {
            let detail = format!("all {connections} connections to it are in use");
            (StorageError::Unavailable { detail }, Course::Give)
        }
        PoolError::Timeout(_) => {
            let detail = "connecting took too long".to_owned();
            (StorageError::Unavailable { detail }, Course::Reconnect)
        }
        PoolError::Backend(error) => {
            let detail = words(error);
            (StorageError::Unavailable { detail }, course(error))
        }
        PoolError::PostCreateHook(error) => {
            let detail = format!("setting up a connection: {error}");
            (StorageError::Unavailable { detail }, Course::Reconnect)
        }
        PoolError::Closed | PoolError::NoRuntimeSpecified => {
            let detail = "the connections to it were closed".to_owned();
            (StorageError::Unavailable { detail }, Course::Give)
        }
    }
}

/// Why connecting for the first time failed.
pub(crate) fn not_opened(error: &Error, place: String, user: &str) -> OpenDatabaseError {
    let detail = words(error);
    if let Some(code) = error.code() {
        return match code.code() {
            "57P03" | "53300" => OpenDatabaseError::Unreachable { place, detail },
            _ => OpenDatabaseError::Refused {
                place,
                user: user.to_owned(),
                detail,
            },
        };
    }
    match error.to_string().as_str() {
        "error performing TLS handshake" => OpenDatabaseError::Untrusted { place, detail },
        "authentication error" | "invalid configuration" => OpenDatabaseError::Refused {
            place,
            user: user.to_owned(),
            detail,
        },
        _ => OpenDatabaseError::Unreachable { place, detail },
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
