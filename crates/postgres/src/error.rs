//! The database's errors in our words.

use std::error::Error as _;
use std::io;

use deadpool_postgres::PoolError;
use deadpool_postgres::TimeoutType;
use tokio_postgres::Error;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
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
    /// No runtime.
    #[error("the threads that talk to the database cannot be started: {detail}")]
    Threads {
        /// What the system said.
        detail: String,
    },
}

/// What to do about an error of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The transaction is lost and may be tried again at once.
    Again,
    /// The connection is gone, or of no use: another one.
    Reconnect,
    /// Trying again does not help.
    Give,
}

/// What to do about an error.
#[must_use]
pub fn course(error: &Error) -> Course {
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
#[must_use]
pub fn words(error: &Error) -> String {
    if let Some(refused) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", refused.message(), refused.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Words for a pool that gives no connection.
#[must_use]
pub fn pool_words(error: &PoolError, connections: usize) -> String {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => {
            format!("all {connections} connections to it are in use")
        }
        PoolError::Timeout(_) => "connecting took too long".to_owned(),
        PoolError::Backend(error) => words(error),
        PoolError::PostCreateHook(error) => format!("setting up a connection: {error}"),
        PoolError::Closed | PoolError::NoRuntimeSpecified => {
            "the connections to it were closed".to_owned()
        }
    }
}

/// Why connecting for the first time failed.
#[must_use]
pub fn not_opened(error: &Error, place: String, user: &str) -> ConnectError {
    let detail = words(error);
    if let Some(code) = error.code() {
        return match code.code() {
            "57P03" | "53300" => ConnectError::Unreachable { place, detail },
            _ => ConnectError::Refused {
                place,
                user: user.to_owned(),
                detail,
            },
        };
    }
    match error.to_string().as_str() {
        "error performing TLS handshake" => ConnectError::Untrusted { place, detail },
        "authentication error" | "invalid configuration" => ConnectError::Refused {
            place,
            user: user.to_owned(),
            detail,
        },
        _ => ConnectError::Unreachable { place, detail },
    }
}
