//! Migration: secrets move from one backend to another, in a journal that survives crashes.
//!
//! A migration is planned ([`plan()`]), written down ([`Journal::create`]), copied ([`copy()`]),
//! and can be checked ([`drift()`]) and undone ([`undo()`]) later. Every step is idempotent: what a
//! killed process left is compared with what the journal says was about to happen, so that
//! nothing is written twice and nothing is lost.
//!
//! The journal lies in the user's store as sealed records. What a target held before is kept in
//! it until the migration is forgotten; nothing of it is ever in clear.

mod copy;
mod drift;
mod journal;
mod plan;
mod undo;

use strongroom_core::port::BackendError;
use strongroom_core::port::StorageError;

use crate::error::Error;

pub use copy::copy;
pub use drift::Drift;
pub use drift::drift;
pub use journal::Before;
pub use journal::Entry;
pub use journal::Header;
pub use journal::Journal;
pub use journal::Stage;
pub use journal::State;
pub(crate) use journal::open_all;
pub(crate) use journal::parents;
pub use plan::Options;
pub use plan::Planned;
pub use plan::Step;
pub use plan::Wish;
pub use plan::plan;
pub use undo::undo;

/// Why a migration did not go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The store that holds the journal failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// Source or target failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is no such migration.
    #[error("there is no migration {id}")]
    NotFound {
        /// What was asked for.
        id: String,
    },
    /// More than one begins so.
    #[error("more than one migration begins with {id}")]
    Ambiguous {
        /// What was asked for.
        id: String,
    },
    /// Another process works on it now.
    #[error("another process has taken this migration over")]
    TakenOver,
}

impl From<StorageError> for MigrateError {
    fn from(error: StorageError) -> Self {
        Self::Store(Error::Storage(error))
    }
}
