//! Users of a database: made for a time, or there to stay with a password that changes.

use super::BoxFuture;
use crate::secret::SecretValue;

/// Why a user was not made, changed or removed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// All connections are in use.
    #[error("{detail}")]
    Busy {
        /// How many there are.
        detail: String,
    },
    /// Nobody answers: nothing was done.
    #[error("the database cannot be reached: {detail}")]
    Unreachable {
        /// What the system said.
        detail: String,
    },
    /// The connection was lost meanwhile: it may have been done or not.
    #[error("the connection to the database was lost: {detail}")]
    Lost {
        /// What the system said.
        detail: String,
    },
    /// The database refused.
    #[error("failed to execute query: {detail}")]
    Refused {
        /// What it said.
        detail: String,
    },
}

impl UserError {
    /// The database refused.
    #[must_use]
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::Refused {
            detail: detail.into(),
        }
    }
}

/// A user that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it logs in with.
    pub password: &'a SecretValue,
    /// Until when the database itself lets it in, where it can be told.
    pub until: &'a str,
    /// How it is made, in the database's own words.
    pub statements: &'a [String],
    /// What takes back the first of these when a later one fails, where they are no transaction.
    pub rollback: &'a [String],
}

/// The users of one database, seen by who administers it. Each call may be cut off.
pub trait DatabaseUsers: Send + Sync {
    /// Looks whether the database lets the administrator in.
    fn connect(&self) -> BoxFuture<'_, Result<(), UserError>>;

    /// How long the name of a user may be there, in characters; a database that takes more than
    /// any name has need not be asked.
    fn name_chars_max(&self) -> BoxFuture<'_, Result<usize, UserError>> {
        Box::pin(std::future::ready(Ok(usize::MAX)))
    }

    /// What there is to say about how users are to be made; an error where they cannot be made so.
    ///
    /// # Errors
    /// In words for who wrote the statements.
    fn review(&self, statements: &[String]) -> Result<Vec<String>, String>;

    /// Makes a user, as a whole or not at all.
    fn create<'a>(&'a self, new: NewUser<'a>) -> BoxFuture<'a, Result<(), UserError>>;

    /// Lets a user in for longer.
    fn renew<'a>(
        &'a self,
        name: &'a str,
        until: &'a str,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>>;

    /// Gives a user that is there another password, in place of all it has.
    fn set_password<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>>;

    /// Whether the database does not say that a password is wrong.
    fn accepts<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
    ) -> BoxFuture<'a, Result<bool, UserError>>;

    /// Removes a user; one that is not there is removed.
    fn remove<'a>(
        &'a self,
        name: &'a str,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>>;

    /// Lets a user in no more.
    fn lock<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), UserError>>;

    /// Whether there is a user of that name; `Some(true)` when it may log in.
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<bool>, UserError>>;

    /// The users whose name begins so, and that may log in.
    fn named<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>, UserError>>;
}
