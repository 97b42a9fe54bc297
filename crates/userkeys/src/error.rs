//! What goes wrong with users' keys.

use deadpool_postgres::PoolError;
use strongroom_postgres::ConnectError;
use strongroom_postgres::Course;
use strongroom_postgres::course;
use strongroom_postgres::pool_words;
use strongroom_postgres::words;
use tokio_postgres::error::SqlState;

use crate::pgcrypto::PgcryptoError;

/// A failed operation on users' keys. Names tables, users and keys; never a value.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UserKeysError {
    /// Nobody answers, lets us in, or proves who it is.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No connection, or one that broke: asking again may help.
    #[error("{place} is not available: {detail}")]
    Unavailable {
        /// Which database.
        place: String,
        /// What was said.
        detail: String,
    },
    /// The database refused a statement.
    #[error("{place} refused: {detail}")]
    Refused {
        /// Which database.
        place: String,
        /// What it said.
        detail: String,
    },
    /// The user of the database may not do that.
    #[error("{place} does not allow it: {detail}")]
    Denied {
        /// Which database.
        place: String,
        /// What it said.
        detail: String,
    },
    /// There is no such table.
    #[error("there is no table {table} in {place}")]
    NoTable {
        /// Which table.
        table: String,
        /// Where it was looked for.
        place: String,
    },
    /// The table cannot hold users' keys as it is.
    #[error("the table {table} does not fit: {}", .problems.join("; "))]
    Unfit {
        /// Which table.
        table: String,
        /// Everything that is wrong with it.
        problems: Vec<String>,
    },
    /// No table is attached, or not the one named.
    #[error("{}", match .table {
        Some(table) => format!("the table {table} in {place} is not attached"),
        None => format!("no table in {place} is attached"),
    })]
    NotAttached {
        /// The one that was named.
        table: Option<String>,
        /// Where.
        place: String,
    },
    /// Several tables are attached and none was named.
    #[error("several tables are attached: {}", .tables.join(", "))]
    Ambiguous {
        /// Which.
        tables: Vec<String>,
    },
    /// The table belongs to another store.
    #[error("the table {table} was attached with another store: this one's keys do not open it")]
    OtherStore {
        /// Which table.
        table: String,
    },
    /// It is attached with other columns.
    #[error("the table {table} is attached already, with other settings: {detail}")]
    Differs {
        /// Which table.
        table: String,
        /// What differs.
        detail: String,
    },
    /// A rollback was begun.
    #[error("the table {table} is being rolled back: nothing is sealed in it any more")]
    Leaving {
        /// Which table.
        table: String,
    },
    /// What would be destroyed is nowhere else.
    #[error("{rows} rows of {table} are sealed and have no other copy")]
    OnlyCopy {
        /// Which table.
        table: String,
        /// How many rows.
        rows: u64,
    },
    /// A user's id or a key's name that cannot be one.
    #[error("{what} {problem}")]
    BadName {
        /// `the user's id` or `the key's name`.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Too long.
    #[error("the value is longer than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// Nothing to keep.
    #[error("the value is empty")]
    Empty,
    /// It does not open: changed, or put there from another row or table.
    #[error("{name} of user {user} does not open: it was changed, or is another row's")]
    Damaged {
        /// Whose.
        user: String,
        /// Which key.
        name: String,
    },
    /// It is sealed under a data key that this process does not have.
    #[error("{name} of user {user} is sealed under data key {key}, which is not known here")]
    UnknownKey {
        /// Whose.
        user: String,
        /// Which key.
        name: String,
        /// The data key's number.
        key: u32,
    },
    /// A row of pgcrypto's that cannot be read.
    #[error("{name} of user {user} was written by pgcrypto: {error}")]
    Pgcrypto {
        /// Whose.
        user: String,
        /// Which key.
        name: String,
        /// Why not.
        error: PgcryptoError,
    },
    /// Bytes that neither Strongroom nor pgcrypto wrote.
    #[error("{name} of user {user} has a form that is not known")]
    UnknownForm {
        /// Whose.
        user: String,
        /// Which key.
        name: String,
    },
    /// It cannot stand in a text column.
    #[error("{name} of user {user} is not text: it cannot go back into the plain column")]
    NotText {
        /// Whose.
        user: String,
        /// Which key.
        name: String,
    },
}

impl UserKeysError {
    /// Stable, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(ConnectError::Unreachable { .. }) => "database.unreachable",
            Self::Connect(ConnectError::Untrusted { .. }) => "database.untrusted",
            Self::Connect(ConnectError::Roots { .. }) => "database.roots",
            Self::Connect(ConnectError::Refused { .. }) => "database.refused",
            Self::Connect(_) => "database.failed",
            Self::Unavailable { .. } => "userkeys.unavailable",
            Self::Refused { .. } => "userkeys.refused",
            Self::Denied { .. } => "userkeys.denied",
            Self::NoTable { .. } => "userkeys.no_table",
            Self::Unfit { .. } => "userkeys.unfit",
            Self::NotAttached { .. } => "userkeys.not_attached",
            Self::Ambiguous { .. } => "userkeys.ambiguous",
            Self::OtherStore { .. } => "userkeys.other_store",
            Self::Differs { .. } => "userkeys.differs",
            Self::Leaving { .. } => "userkeys.leaving",
            Self::OnlyCopy { .. } => "userkeys.only_copy",
            Self::BadName { .. } => "userkeys.bad_name",
            Self::TooLarge { .. } => "userkeys.too_large",
            Self::Empty => "userkeys.empty",
            Self::Damaged { .. } => "userkeys.damaged",
            Self::UnknownKey { .. } => "userkeys.unknown_key",
            Self::Pgcrypto { .. } => "userkeys.pgcrypto",
            Self::UnknownForm { .. } => "userkeys.unknown_form",
            Self::NotText { .. } => "userkeys.not_text",
        }
    }

    /// One thing to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Connect(ConnectError::Unreachable { .. }) => {
                "see that it runs, and listens there"
            }
            Self::Connect(ConnectError::Untrusted { .. }) => {
                "sslrootcert=FILE names an authority of yours"
            }
            Self::Unavailable { .. } => "try again",
            Self::Denied { .. } => {
                "its user needs SELECT, INSERT, UPDATE and DELETE on the table and SELECT and \
                 UPDATE on strongroom_userkeys; attach and rollback need its owner"
            }
            Self::NotAttached { .. } => "strongroom userkeys attach",
            Self::Ambiguous { .. } => "name one with --table",
            Self::OtherStore { .. } => "use the store that it was attached with (--store)",
            Self::Differs { .. } => "roll it back first, or leave the settings away",
            Self::Leaving { .. } => {
                "strongroom userkeys rollback goes on with it; attach takes the table back"
            }
            Self::OnlyCopy { .. } => {
                "rollback --to-plain writes the values back into the plain column first"
            }
            Self::UnknownKey { .. } => {
                "the data key was made after this process opened the store: open it anew"
            }
            Self::Pgcrypto {
                error: PgcryptoError::NoKey | PgcryptoError::WrongKey { .. },
                ..
            } => "put pgcrypto's key into a secret and name it: attach --pgcrypto-key PATH",
            _ => return None,
        })
    }

    pub(crate) fn database(place: &str, error: &tokio_postgres::Error) -> Self {
        let (place, detail) = (place.to_owned(), words(error));
        match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Denied { place, detail },
            Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED) => {
                Self::Unavailable { place, detail }
            }
            _ if course(error) != Course::Give => Self::Unavailable { place, detail },
            _ => Self::Refused { place, detail },
        }
    }

    pub(crate) fn pool(place: &str, error: &PoolError, connections: usize) -> Self {
        Self::Unavailable {
            place: place.to_owned(),
            detail: pool_words(error, connections),
        }
    }
}
