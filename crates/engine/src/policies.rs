//! Policies as they are stored: their text, as it was written.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::time::Timestamp;

use crate::error::Error;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// Longest text of a policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 512 * 1024;
/// A change that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 64;

/// A policy's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    /// As it was written.
    pub text: String,
    /// When it was last written.
    pub modified: Timestamp,
    /// Counted from 1.
    pub version: u64,
}

impl Stored for PolicyText {
    const KIND: Kind = Kind::Policy;
}

/// Grows with every change, so that others learn of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch(u64);

impl Stored for Epoch {
    const KIND: Kind = Kind::PolicyEpoch;
}

const EPOCH: &str = "epoch";

impl State {
    /// The id of the record that changes with every policy.
    #[must_use]
    pub fn policy_epoch_id(&self) -> strongroom_core::port::RecordId {
        self.id_of::<Epoch>(EPOCH)
    }

    /// All policies, sorted by name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn policies(&self) -> Result<Vec<(String, Found<PolicyText>)>, Error> {
        self.all(Shelf::Kind).await
    }

    /// A policy's text.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn policy(&self, name: &str) -> Result<Option<PolicyText>, Error> {
        Ok(self.load(name).await?.map(|found| found.value))
    }

    /// Writes a policy; `text` has been parsed before. `cas` is the version it must have.
    ///
    /// # Errors
    /// `VersionMismatch`, `Contended`, storage errors.
    pub async fn put_policy(
        &self,
        name: &str,
        text: &str,
        now: Timestamp,
        cas: Option<u64>,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.load::<PolicyText>(name).await?;
            let version = found.as_ref().map_or(0, |found| found.value.version);
            if let Some(expected) = cas.filter(|expected| *expected != version) {
                return Err(Error::VersionMismatch {
                    path: name.into(),
                    expected,
                    found: version,
                });
            }
            let precondition = found.map_or(Precondition::Absent, |found| found.unchanged());
            let policy = PolicyText {
                text: text.into(),
                modified: now,
                version: version + 1,
            };
            let put = self.put(&Put::named(name, Shelf::Kind).when(precondition), &policy);
            if self.commit(vec![put, self.next_epoch(now)]).await? {
                return Ok(());
            }
        }
        Err(state::contended())
    }

    /// Removes a policy; nothing happens when there is none.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn delete_policy(&self, name: &str, now: Timestamp) -> Result<(), Error> {
        let id = self.id_of::<PolicyText>(name);
        let batch = vec![state::delete(id, Precondition::Any), self.next_epoch(now)];
        self.write(batch).await
    }

    fn next_epoch(&self, now: Timestamp) -> strongroom_core::port::BatchItem {
        let epoch = Epoch(now.as_micros().unsigned_abs());
        self.put(&Put::named(EPOCH, Shelf::Kind), &epoch)
    }
}
