//! Beginning, confirming, renewing and ending leases.

use std::sync::Arc;

use strongroom_core::lease::Lease;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::MergeFailed;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Field;

use super::ATTEMPTS_SHOWN;
use super::Bereft;
use super::LeaseCount;
use super::Leased;
use super::Stage;
use super::TokenLease;
use super::Trouble;
use super::of_role;
use super::owner;
use super::retry_after;
use crate::error::Error;
use crate::record;
use crate::state;
use crate::state::Found;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::tokens::owner_of;

/// A change that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 32;
/// Longest error that is kept.
const ERROR_CHARS_MAX: usize = 500;

/// What a lease is to be.
#[derive(Clone, Debug)]
pub struct NewLease {
    /// The path it is read at.
    pub path: String,
    /// The mount that gives it.
    pub mount: [u8; 16],
    /// The role there.
    pub role: String,
    /// What the user is made in.
    pub connection: String,
    /// Who is made.
    pub username: String,
    /// The token that it ends with.
    pub token: Option<RecordId>,
    /// Its times.
    pub times: Lease,
    /// How it is removed.
    pub revocation: Vec<String>,
    /// Until when it may be renewed at most.
    pub ends_by: Option<Timestamp>,
    /// Leases that the role may have.
    pub leases_max: u64,
}

impl State {
    /// The id of the record of a lease.
    #[must_use]
    pub fn leased_id(&self, mount: [u8; 16], tail: &str) -> RecordId {
        self.id_of::<Leased>(&of_role(mount, tail))
    }

    /// Notes that something is about to be made. `checks` have to hold in the same commit.
    ///
    /// # Errors
    /// `LimitExceeded`, `NotFound` when the token is gone, `Contended`, storage errors.
    pub async fn begin_lease(
        &self,
        new: NewLease,
        checks: &[BatchItem],
    ) -> Result<Found<Leased>, Error> {
        let tail = self.lease_tail(new.mount, &new.username);
        let id = self.leased_id(new.mount, &tail);
        let counted = of_role(new.mount, &new.role);
        let leased = Leased {
            lease_id: format!("{}/{tail}", new.path),
            mount: new.mount,
            role: new.role,
            connection: new.connection,
            username: new.username,
            token: new.token.map(|token| token.0),
            times: new.times,
            is_renewed: false,
            stage: Stage::Begun,
            attempts: 0,
            revocation: new.revocation,
            ends_by: new.ends_by,
        };
        for _ in 0..ATTEMPTS_MAX {
            let count = self.load::<LeaseCount>(&counted).await?;
            let has = count.as_ref().map_or(0, |found| found.value.count);
            if has >= new.leases_max {
                return Err(Error::LimitExceeded {
                    what: format!("the number of leases of the role {}", leased.role),
                    limit: new.leases_max.to_string(),
                });
            }
            let mut batch = vec![self.put_lease(id, &leased, Precondition::Absent, leased.due())];
            batch.push(match count {
                None => self.put_count(leased.mount, &leased.role, 1),
                Some(_) => self.counted(&counted, 1, new.leases_max),
            });
            if let Some(token) = new.token {
                batch.push(self.put_token_lease(token, id));
                batch.push(state::check(token, Precondition::Exists));
            }
            batch.extend_from_slice(checks);
            let committed = self.storage().commit(batch, Durability::Durable).await;
            match committed {
                Ok(revision) => {
                    return Ok(Found {
                        value: leased,
                        id,
                        revision,
                    });
                }
                Err(StorageError::Conflict { id }) if Some(id) == new.token => {
                    return Err(Error::NotFound {
                        what: "the token".into(),
                    });
                }
                Err(StorageError::Conflict { id }) if checks.iter().any(|item| item.id == id) => {
                    return Err(state::contended());
                }
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(state::contended())
    }

    /// Notes that it is there, and what else is written in the same commit. False when it must not
    /// be any more: its token is gone, or somebody has begun to remove it.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn confirm_lease(
        &self,
        found: &mut Found<Leased>,
        noted: Vec<BatchItem>,
    ) -> Result<bool, Error> {
        let mut live = found.value.clone();
        live.stage = Stage::Live;
        self.change_lease(found, live, noted).await
    }

    /// Notes that it was renewed. False when somebody else has changed it meanwhile.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn renew_lease(
        &self,
        found: &mut Found<Leased>,
        times: Lease,
    ) -> Result<bool, Error> {
        let mut renewed = found.value.clone();
        renewed.times = times;
        renewed.is_renewed = true;
        self.change_lease(found, renewed, Vec::new()).await
    }

    async fn change_lease(
        &self,
        found: &mut Found<Leased>,
        new: Leased,
        mut batch: Vec<BatchItem>,
    ) -> Result<bool, Error> {
        batch.push(self.put_lease(found.id, &new, found.unchanged(), new.due()));
        if let Some(token) = new.token {
            batch.push(state::check(RecordId(token), Precondition::Exists));
        }
        match self.storage().commit(batch, Durability::Durable).await {
            Ok(revision) => {
                found.value = new;
                found.revision = revision;
                Ok(true)
            }
            Err(StorageError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Has leases removed by background work, from `due` on; nobody can renew them any more.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn doom_leases(&self, leases: &[Found<Leased>], due: Timestamp) -> Result<(), Error> {
        let all = leases.iter().flat_map(|found| self.leaving(found, due));
        if self.commit(all.collect()).await? {
            return Ok(());
        }
        for lease in leases {
            for _ in 0..ATTEMPTS_MAX {
                let Some(found) = self.load_by_id::<Leased>(lease.id).await? else {
                    break;
                };
                if self.commit(self.leaving(&found, due)).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn leaving(&self, found: &Found<Leased>, due: Timestamp) -> Vec<BatchItem> {
        let leaving = Leased {
            stage: Stage::Leaving,
            ..found.value.clone()
        };
        let mut batch = vec![self.put_lease(found.id, &leaving, found.unchanged(), due)];
        batch.extend(self.off_token(found));
        batch
    }

    /// Notes that it could not be removed, and why; when it is tried again.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn fail_lease(
        &self,
        found: &Found<Leased>,
        now: Timestamp,
        error: &str,
    ) -> Result<Timestamp, Error> {
        let mut leaving = found.value.clone();
        leaving.stage = Stage::Leaving;
        leaving.attempts = leaving.attempts.saturating_add(1);
        let wait = retry_after(leaving.attempts, found.id);
        let due = now.plus(Span::from_seconds(wait));
        let mut batch = vec![self.put_lease(found.id, &leaving, found.unchanged(), due)];
        batch.extend(self.off_token(found));
        if leaving.attempts >= ATTEMPTS_SHOWN {
            let trouble = Trouble {
                lease: found.id.0,
                lease_id: leaving.lease_id.clone(),
                mount: leaving.mount,
                error: error.chars().take(ERROR_CHARS_MAX).collect(),
                attempts: leaving.attempts,
            };
            let name = owner_of(found.id);
            batch.push(self.put(&Put::named(&name, Shelf::Kind), &trouble));
        }
        // Somebody else has changed it: whoever did says when it is next looked at.
        self.commit(batch).await?;
        Ok(due)
    }

    /// Looks at leases again at a time, without having tried anything.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn postpone_leases(
        &self,
        leases: &[Found<Leased>],
        due: Timestamp,
    ) -> Result<(), Error> {
        for chunk in leases.chunks(ATTEMPTS_MAX) {
            self.doom_leases(chunk, due).await?;
        }
        Ok(())
    }

    /// Notes that it is gone. This does not wait for the disk: a lease that a power cut brings back
    /// is of a user that is gone, and is removed again.
    ///
    /// # Errors
    /// `Contended`, storage errors.
    pub async fn end_lease(&self, found: &Found<Leased>) -> Result<(), Error> {
        let counted = of_role(found.value.mount, &found.value.role);
        for _ in 0..ATTEMPTS_MAX {
            let mut batch = vec![state::delete(found.id, Precondition::Exists)];
            batch.push(self.counted(&counted, -1, u64::MAX));
            batch.extend(self.off_token(found));
            let trouble = self.id_of::<Trouble>(&owner_of(found.id));
            batch.push(state::delete(trouble, Precondition::Any));
            match self.storage().commit(batch, Durability::Relaxed).await {
                Ok(_) => return Ok(()),
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if self.load_by_id::<Leased>(found.id).await?.is_none() {
                return Ok(());
            }
        }
        Err(state::contended())
    }

    fn put_lease(
        &self,
        id: RecordId,
        leased: &Leased,
        precondition: Precondition,
        due: Timestamp,
    ) -> BatchItem {
        let shelf = of_role(leased.mount, &leased.role);
        let put = Put {
            due_at: Some(due),
            ..Put::named(leased.tail(), Shelf::Of(&shelf)).when(precondition)
        };
        self.put_by_id(id, &put, leased)
    }

    fn token_lease_name(lease: RecordId) -> String {
        owner_of(lease)
    }

    fn put_token_lease(&self, token: RecordId, lease: RecordId) -> BatchItem {
        let (name, shelf) = (Self::token_lease_name(lease), owner_of(token));
        let put = Put::named(&name, Shelf::Of(&shelf));
        self.put(&put, &TokenLease { lease: lease.0 })
    }

    fn off_token(&self, found: &Found<Leased>) -> Option<BatchItem> {
        found.value.token?;
        let id = self.id_of::<TokenLease>(&Self::token_lease_name(found.id));
        Some(state::delete(id, Precondition::Any))
    }

    fn put_count(&self, mount: [u8; 16], role: &str, count: u64) -> BatchItem {
        let (name, shelf) = (of_role(mount, role), owner(mount));
        let put = Put {
            shown: role,
            ..Put::named(&name, Shelf::Of(&shelf)).when(Precondition::Absent)
        };
        self.put(&put, &LeaseCount { count })
    }

    /// The change of a count, inside the commit; refused when it would pass the limit.
    fn counted(&self, name: &str, by: i64, max: u64) -> BatchItem {
        let id = self.id_of::<LeaseCount>(name);
        let barrier = self.barrier().clone();
        let merge = move |sealed: &[u8]| -> Result<Vec<u8>, MergeFailed> {
            let plain = barrier.open(id, Field::Value, sealed);
            let plain = plain.map_err(|_| MergeFailed::Unreadable)?;
            let (mut count, _) =
                record::decode::<LeaseCount>(&plain).ok_or(MergeFailed::Unreadable)?;
            count.count = count.count.saturating_add_signed(by);
            if by > 0 && count.count > max {
                return Err(MergeFailed::Outdated);
            }
            Ok(barrier.seal(id, Field::Value, &record::encode(&count, None)))
        };
        BatchItem {
            id,
            precondition: Precondition::Exists,
            change: Change::Merge(Arc::new(merge)),
        }
    }

    /// The change that has the leases of a token removed; none where it has none.
    ///
    /// # Errors
    /// Storage errors.
    pub(crate) async fn bereave(&self, token: RecordId) -> Result<Option<BatchItem>, Error> {
        let shelf = self.shelf_of::<TokenLease>(Shelf::Of(&owner_of(token)));
        if self.storage().list(shelf, None, 1).await?.is_empty() {
            return Ok(None);
        }
        let name = owner_of(token);
        let put = Put {
            due_at: Some(Timestamp::from_micros(0)),
            ..Put::named(&name, Shelf::Kind)
        };
        Ok(Some(self.put(&put, &Bereft { token: token.0 })))
    }
}
