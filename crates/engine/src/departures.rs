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
use crate::record;
use crate::state;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// A note that others disturb is written again so often.
const ATTEMPTS_MAX: usize = 16;

/// The days a secret and its versions were last read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accessed {
    /// When the secret was made: one of the same name that is made later was not read.
    pub created: Timestamp,
    /// The beginning of the day on which any version was read.
    pub day: Timestamp,
    /// The same for each version by its number, in order.
    pub versions: Vec<(u64, Timestamp)>,
}

/// What was written before versions had days of their own. A program of that time reads this
/// much of today's form.
#[derive(Deserialize)]
struct FirstAccessed {
    created: Timestamp,
    day: Timestamp,
}

impl Stored for Accessed {
    const KIND: Kind = Kind::Accessed;

    fn earlier(plain: &[u8]) -> Option<Self> {
        let (first, _) = record::decode::<FirstAccessed>(plain)?;
        Some(Self {
            created: first.created,
            day: first.day,
            versions: Vec::new(),
        })
    }
}

/// That a version of a secret was read on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The id of the secret's record.
    pub secret: RecordId,
    /// When the secret was made.
    pub created: Timestamp,
    /// The version's number.
    pub version: u64,
    /// The beginning of the day.
    pub day: Timestamp,
}

impl Accessed {
    /// Nothing but when the secret was made.
    fn of(reading: &Reading) -> Self {
        Self {
            created: reading.created,
            day: reading.day,
            versions: Vec::new(),
        }
    }

    /// The day a version was last read.
    #[must_use]
    pub fn of_version(&self, number: u64) -> Option<Timestamp> {
        let found = self.versions.iter().find(|(known, _)| *known == number);
        found.map(|(_, day)| *day)
    }

    /// Takes a reading in; false when it says nothing new.
    fn add(&mut self, reading: &Reading) -> bool {
        match self
            .versions
            .binary_search_by_key(&reading.version, |(number, _)| *number)
        {
            Ok(at) if self.versions[at].1 >= reading.day => return false,
            Ok(at) => self.versions[at].1 = reading.day,
            Err(at) => self.versions.insert(at, (reading.version, reading.day)),
        }
        self.day = self.day.max(reading.day);
        true
    }
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

    /// Notes the day a version was read, without waiting for the disk. Of versions, only those
    /// that `is_kept` knows stay noted.
    ///
    /// # Errors
    /// `Contended`, `Damaged`, storage errors.
    pub async fn note_accessed(
        &self,
        reading: &Reading,
        is_kept: impl Fn(u64) -> bool,
    ) -> Result<(), Error> {
        let name = format!("{:?}", reading.secret);
        for _ in 0..ATTEMPTS_MAX {
            let found = self.load::<Accessed>(&name).await?;
            let unchanged = found.as_ref().map(state::Found::unchanged);
            let own = found.filter(|found| found.value.created == reading.created);
            let mut accessed = own.map_or_else(|| Accessed::of(reading), |found| found.value);
            if !accessed.add(reading) {
                return Ok(());
            }
            accessed.versions.retain(|(number, _)| is_kept(*number));
            let put = Put::named(&name, Shelf::Kind);
            let put = put.when(unchanged.unwrap_or(Precondition::Absent));
            let item = self.put(&put, &accessed);
            let committed = self.storage().commit(vec![item], Durability::Relaxed);
            match committed.await {
                Ok(_) => return Ok(()),
                // Another version was noted meanwhile.
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(state::contended())
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
