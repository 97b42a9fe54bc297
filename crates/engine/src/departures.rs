//! What is kept beside secrets for AWS clients: when one was last read, and when one is to go.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use strongroom_core::time::Timestamp;

use crate::error::Error;
use crate::state;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// The day a secret was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accessed {
    /// When the secret was made: one of the same name that is made later was not read.
    pub created: Timestamp,
    /// The day's beginning.
    pub day: Timestamp,
}

impl Stored for Accessed {
    const KIND: Kind = Kind::Accessed;
}

/// A secret that is to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The mount it is in.
    pub mount: [u8; 16],
    /// Its path there.
    pub path: String,
}

impl Stored for Departure {
    const KIND: Kind = Kind::Departure;
}

/// What is due to be removed.
#[derive(Clone, Debug)]
pub struct Due {
    /// What, and where.
    pub departure: Departure,
    id: RecordId,
    revision: u64,
}

impl State {
    /// When a secret was last read, by the id of its record.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn accessed(&self, secret: RecordId) -> Result<Option<Accessed>, Error> {
        let found = self.load(&format!("{secret:?}")).await?;
        Ok(found.map(|found| found.value))
    }

    /// Notes the day a secret was read, without waiting for the disk.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn note_accessed(&self, secret: RecordId, accessed: Accessed) -> Result<(), Error> {
        let name = format!("{secret:?}");
        let item = self.put(&Put::named(&name, Shelf::Kind), &accessed);
        let committed = self.storage().commit(vec![item], Durability::Relaxed);
        match committed.await {
            // Somebody else noted the same.
            Ok(_) | Err(StorageError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets when a secret was read that is not there any more.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn forget_accessed(&self, secret: RecordId) -> Result<(), Error> {
        let id = self.id_of::<Accessed>(&format!("{secret:?}"));
        self.write(vec![state::delete(id, Precondition::Any)]).await
    }

    /// The change that notes when a secret is to go.
    #[must_use]
    pub fn put_departure(&self, departure: &Departure, due: Timestamp) -> BatchItem {
        let name = format!(
            "{}/{}",
            crate::tokens::owner_of(RecordId(departure.mount)),
            departure.path
        );
        let put = Put {
            due_at: Some(due),
            ..Put::named(&name, Shelf::Kind)
        };
        self.put(&put, departure)
    }

    /// What is due to be removed.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn due_departures(&self, now: Timestamp) -> Result<Vec<Due>, Error> {
        let mut found = Vec::new();
        for (record, _) in self.due(Kind::Departure, now).await? {
            let opened = self.open::<Departure>(&record)?;
            found.push(Due {
                departure: opened.value,
                id: record.id,
                revision: record.revision,
            });
        }
        Ok(found)
    }

    /// Forgets that something was to be removed, unless it was noted anew meanwhile.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn clear_departure(&self, due: &Due) -> Result<(), Error> {
        let unchanged = Precondition::Revision(due.revision);
        self.commit(vec![state::delete(due.id, unchanged)]).await?;
        Ok(())
    }
}

impl Departure {
    /// The path, where it is one.
    #[must_use]
    pub fn secret(&self) -> Option<SecretPath> {
        self.path.parse().ok()
    }
}
