//! Finding leases: by their id, their role, their token, and by what is due.

use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;

use super::Bereft;
use super::LeaseCount;
use super::Leased;
use super::TokenLease;
use super::Trouble;
use super::of_role;
use super::owner;
use crate::error::Error;
use crate::folder::PAGE;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Shelf;
use crate::state::State;
use crate::tokens::owner_of;

/// Some leases of a role, and where to go on.
#[derive(Debug)]
pub struct LeasePage {
    /// The leases, in no order that means anything.
    pub leases: Vec<Found<Leased>>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<RecordId>,
}

/// A token that is gone, whose leases are to go.
#[derive(Clone, Copy, Debug)]
pub struct Departed {
    id: RecordId,
    token: RecordId,
}

impl State {
    /// A lease by its id as clients name it, whatever its stage.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn leased(
        &self,
        mount: [u8; 16],
        lease_id: &str,
    ) -> Result<Option<Found<Leased>>, Error> {
        let Some((_, tail)) = lease_id.rsplit_once('/') else {
            return Ok(None);
        };
        let found = self
            .load_by_id::<Leased>(self.leased_id(mount, tail))
            .await?;
        Ok(found.filter(|found| found.value.lease_id == lease_id))
    }

    /// The lease of a user, whatever its stage.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn lease_of_user(
        &self,
        mount: [u8; 16],
        username: &str,
    ) -> Result<Option<Found<Leased>>, Error> {
        let tail = self.lease_tail(mount, username);
        self.load_by_id(self.leased_id(mount, &tail)).await
    }

    /// The roles of a mount that have leases, with how many; sorted.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn lease_counts(&self, mount: [u8; 16]) -> Result<Vec<(String, u64)>, Error> {
        let shelf = owner(mount);
        let all = self.all::<LeaseCount>(Shelf::Of(&shelf)).await?;
        let counts = all
            .into_iter()
            .map(|(role, found)| (role, found.value.count));
        Ok(counts.filter(|(_, count)| *count > 0).collect())
    }

    /// Removes what is counted of a mount that is gone, and its leases with it.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn forget_lease_counts(&self, mount: [u8; 16]) -> Result<(), Error> {
        let ids = self.ids::<LeaseCount>(Shelf::Of(&owner(mount))).await?;
        let gone = ids
            .into_iter()
            .map(|id| state::delete(id, Precondition::Any));
        self.write(gone.collect()).await
    }

    /// Some leases of a role, those that are being removed too.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn lease_page(
        &self,
        mount: [u8; 16],
        role: &str,
        after: Option<RecordId>,
    ) -> Result<LeasePage, Error> {
        let shelf = of_role(mount, role);
        let shelf = self.shelf_of::<Leased>(Shelf::Of(&shelf));
        let records = self.storage().list(shelf, after, PAGE).await?;
        let next = (records.len() == PAGE).then(|| records.last().map(|last| last.id));
        let leases = records.iter().map(|record| self.open::<Leased>(record));
        Ok(LeasePage {
            leases: leases.collect::<Result<_, _>>()?,
            next: next.flatten(),
        })
    }

    /// The own names of a role's leases, sorted; the leases themselves are not opened.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn lease_names(&self, mount: [u8; 16], role: &str) -> Result<Vec<String>, Error> {
        self.names::<Leased>(Shelf::Of(&of_role(mount, role))).await
    }

    /// Leases that are due to be removed, oldest first.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn due_leases(&self, now: Timestamp) -> Result<Vec<Found<Leased>>, Error> {
        let due = self.due(Kind::Lease, now).await?;
        due.iter().map(|(record, _)| self.open(record)).collect()
    }

    /// Tokens that are gone while leases of them are not yet.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn due_departed(&self, now: Timestamp) -> Result<Vec<Departed>, Error> {
        let due = self.due(Kind::LeaseOwner, now).await?;
        let opened = due.iter().map(|(record, _)| {
            let found = self.open::<Bereft>(record)?;
            Ok(Departed {
                id: record.id,
                token: RecordId(found.value.token),
            })
        });
        opened.collect()
    }

    /// Has some leases of a token that is gone removed; false when there are none left.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn doom_some(&self, departed: Departed, now: Timestamp) -> Result<bool, Error> {
        let leases = self.token_leases(departed.token).await?;
        if leases.is_empty() {
            let done = state::delete(departed.id, Precondition::Any);
            self.write(vec![done]).await?;
            return Ok(false);
        }
        let ids: Vec<RecordId> = leases.iter().map(|(_, lease)| *lease).collect();
        let records = self.storage().get_many(&ids).await?;
        let mut found = Vec::new();
        for (record, (entry, _)) in records.iter().zip(&leases) {
            match record {
                Some(record) => found.push(self.open::<Leased>(record)?),
                // The lease is gone already, and only its entry was left.
                None => {
                    let stale = state::delete(*entry, Precondition::Any);
                    self.write(vec![stale]).await?;
                }
            }
        }
        self.doom_leases(&found, now).await?;
        Ok(true)
    }

    /// Some entries on a token's shelf, with the leases that they are of.
    async fn token_leases(&self, token: RecordId) -> Result<Vec<(RecordId, RecordId)>, Error> {
        let shelf = self.shelf_of::<TokenLease>(Shelf::Of(&owner_of(token)));
        let records = self.storage().list(shelf, None, PAGE).await?;
        let opened = records.iter().map(|record| {
            let found = self.open::<TokenLease>(record)?;
            Ok((record.id, RecordId(found.value.lease)))
        });
        opened.collect()
    }

    /// Leases that could not be revoked, with why.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn troubles(&self) -> Result<Vec<Trouble>, Error> {
        let all = self.all::<Trouble>(Shelf::Kind).await?;
        Ok(all.into_iter().map(|(_, found)| found.value).collect())
    }
}
