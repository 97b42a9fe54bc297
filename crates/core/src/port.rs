//! The ports: everything the domain needs from outside is one of these traits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::time::Timestamp;

mod backend;
pub mod circuit;
mod database;
mod rotator;
mod variables;

pub use backend::Annotation;
pub use backend::Backend;
pub use backend::BackendError;
pub use backend::BackendErrorKind;
pub use backend::Bound;
pub use backend::Capabilities;
pub use backend::Details;
pub use backend::Expected;
pub use backend::Fetched;
pub use backend::Item;
pub use backend::Lookup;
pub use backend::NewValue;
pub use backend::Page;
pub use backend::Removal;
pub use backend::Stored;
pub use backend::VersionChange;
pub use backend::VersionDetails;
pub use backend::VersionRef;
pub use backend::every_address;
pub use database::DatabaseUsers;
pub use database::NewUser;
pub use database::UserError;
pub use rotator::Ending;
pub use rotator::Rotator;
pub use rotator::RotatorError;
pub use rotator::Step;
pub use rotator::StepCall;
pub use rotator::Writer;
pub use variables::Variables;

/// A future that a port returns: boxed, so that ports stay usable as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// What the machine's clock shows. It is another time than now where that was set since.
    fn wall(&self) -> Timestamp {
        self.now()
    }
}

/// Draws randomness fit for keys.
pub trait Rng: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// Identifies a record in storage: a keyed hash, so that it tells nothing about the name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub [u8; 16]);

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// One stored record. `name` and `value` are ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: RecordId,
    /// The folder it is listed under.
    pub parent: RecordId,
    /// Sealed name and what a listing shows.
    pub name: Vec<u8>,
    /// Sealed value.
    pub value: Vec<u8>,
    /// When background work has to look at it, in microseconds since the epoch.
    pub due_at: Option<i64>,
    /// The store's revision when it was last written.
    pub revision: u64,
}

/// What must hold for a batch to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    Any,
    /// There is no such record.
    Absent,
    /// There is one, whatever its revision.
    Exists,
    /// The record was last written at this revision.
    Revision(u64),
}

/// Computes a record's new value from the one stored, inside the commit.
///
/// Needed where many writers change one record (a folder's count): a precondition would make
/// all but one of them fail. Called with the sealed value, returns the new sealed value.
pub type MergeFn = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, MergeFailed> + Send + Sync>;

/// Why a merge gives no new value; nothing of its batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeFailed {
    /// What is stored could not be read: the record is damaged.
    #[error("a stored record could not be read while it was being changed")]
    Unreadable,
    /// What the batch was planned on holds no more: it is refused as a conflict, to be planned
    /// again.
    #[error("the record was changed by somebody else")]
    Outdated,
}

impl MergeFailed {
    /// What a storage answers for a batch whose merge of the record `id` failed.
    #[must_use]
    pub fn refusal(self, id: RecordId) -> StorageError {
        match self {
            Self::Unreadable => StorageError::Damaged {
                detail: self.to_string(),
            },
            Self::Outdated => StorageError::Conflict { id },
        }
    }
}

/// One change of a batch.
#[derive(Clone)]
pub enum Change {
    /// Only the precondition is looked at.
    Check,
    /// Write the record (the revision is given by the storage).
    Put {
        /// The folder it is listed under.
        parent: RecordId,
        /// Sealed name.
        name: Vec<u8>,
        /// Sealed value.
        value: Vec<u8>,
        /// When background work has to look at it.
        due_at: Option<i64>,
    },
    /// Change the value of a record that exists.
    Merge(MergeFn),
    /// Remove the record.
    Delete,
}

/// A change of one record, with its precondition.
#[derive(Clone)]
pub struct BatchItem {
    /// Which record.
    pub id: RecordId,
    /// What must hold.
    pub precondition: Precondition,
    /// What to do.
    pub change: Change,
}

/// When a commit may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the disk has it.
    Durable,
    /// At once: lost at a power cut, never torn.
    Relaxed,
}

/// A change that others can see: which record, at which revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which record.
    pub id: RecordId,
    /// At which revision.
    pub revision: u64,
    /// False when it was deleted.
    pub exists: bool,
}

/// Where sealed records live. A batch is atomic; revisions only grow.
pub trait Storage: Send + Sync {
    /// One record.
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>>;
    /// Many records at once, in the order asked.
    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>>;
    /// The records under `parent` with an id after `after`, in id order, at most `limit`.
    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>>;
    /// The records due before a time, earliest first.
    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>>;
    /// Applies a batch if all its preconditions hold; the new revision.
    fn commit(
        &self,
        batch: Vec<BatchItem>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>>;
    /// What changed after a revision, oldest first, at most `limit`.
    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>>;
    /// The store's present revision.
    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>>;
    /// A cheap sign of change: as long as it is the same, nobody has committed anything. `None`
    /// where only `revision` can tell.
    fn sign(&self) -> Option<u64> {
        None
    }
}

/// Why storage failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A precondition did not hold; nothing was written.
    #[error("the record was changed by somebody else")]
    Conflict {
        /// Which record.
        id: RecordId,
    },
    /// The bytes on disk are not what was written.
    #[error("the store is damaged: {detail}")]
    Damaged {
        /// What was found, without values.
        detail: String,
    },
    /// No room left.
    #[error("the disk is full")]
    Full,
    /// Another process held the store too long.
    #[error("another process is holding the store")]
    Busy,
    /// The database cannot be reached or has no time now; nothing was written.
    #[error("the database cannot be used now: {detail}")]
    Unavailable {
        /// What the database or the system said, without values.
        detail: String,
    },
    /// A record or a batch is over the storage's bound; nothing was written.
    #[error("{bytes} bytes are too much to be stored at once; at most {bytes_max}")]
    TooLarge {
        /// How many there are.
        bytes: u64,
        /// How many there may be.
        bytes_max: u64,
    },
    /// A write or sync failed; the store is read-only until it is opened again.
    #[error("the store cannot be written: {detail}")]
    ReadOnly {
        /// What the system said.
        detail: String,
    },
    /// Anything else the system refused.
    #[error("the store cannot be read: {detail}")]
    Io {
        /// What the system said.
        detail: String,
    },
}
