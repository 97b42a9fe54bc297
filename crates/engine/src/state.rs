//! The state of a server as sealed records: tokens, mounts, policies, roles and the like.
//!
//! A record's id is a keyed hash of its kind and name; what it is called is sealed in its name
//! field, so that a listing can show it. A type says its kind and where it is listed.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;

use crate::error::Error;
use crate::folder::PAGE;
use crate::record;

/// Records that background work looks at in one go.
const DUE_MAX: usize = 4096;

/// What a state record is: part of what its id is the hash of. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// The table of mounts.
    Mounts = 1,
    /// A token.
    Token = 2,
    /// From an accessor to its token.
    Accessor = 3,
    /// A role that tokens are made by.
    TokenRole = 4,
    /// A policy.
    Policy = 5,
    /// Grows with every change of a policy.
    PolicyEpoch = 6,
    /// A value in a token's cubbyhole.
    Cubbyhole = 7,
    /// A user of a userpass method.
    User = 8,
    /// A role of an approle method.
    AppRole = 9,
    /// From a role id to its role.
    RoleId = 10,
    /// A secret id of a role.
    SecretId = 11,
    /// From a secret id's accessor to it.
    SecretIdAccessor = 12,
    /// A limit of rates.
    Quota = 13,
    /// A space whose records are to be removed.
    Doomed = 14,
    /// The server's own settings.
    Node = 15,
    /// An audit device.
    AuditDevice = 16,
    /// Failed logins of a name.
    Lockout = 17,
    /// Settings of one mount.
    MountConfig = 18,
    /// A lease.
    Lease = 19,
    /// How far an audit file goes.
    AuditHead = 20,
    /// An audit device that is no file.
    AuditSink = 21,
    /// An access key.
    AccessKey = 22,
    /// When a secret was last read.
    Accessed = 23,
    /// A secret that is to be removed at a time.
    Departure = 24,
    /// How a secret is rotated, and how far that is.
    Rotation = 25,
    /// What rotates secrets.
    Rotator = 26,
    /// Who does a piece of background work.
    Duty = 27,
    /// How far the chain of an audit file goes.
    AuditChain = 28,
    /// A delivery of secrets.
    Delivery = 64,
    /// A version of a secret that was delivered, to whom and where.
    Exposure = 65,
    /// From a person to what that person was given.
    Sight = 66,
    /// A secret whose value has to be replaced.
    Mark = 67,
    /// What is known of resources, applications and how they are shipped.
    Document = 68,
    /// From a token to a lease of it.
    TokenLease = 40,
    /// How many leases a role has.
    LeaseCount = 41,
    /// Why a lease cannot be revoked.
    LeaseTrouble = 42,
    /// A token that is gone while leases of it are not yet.
    LeaseOwner = 43,
    /// A database that users are made in.
    DatabaseConnection = 44,
    /// What users of a database are like.
    DatabaseRole = 45,
    /// A user of a database whose password is changed from time to time.
    DatabaseStaticRole = 46,
    /// Which secrets are rotated by what and when.
    RotationPolicy = 47,
    /// What somebody is to be told.
    Notice = 48,
    /// Where notices are sent.
    Webhook = 49,
    /// Who gets notices by mail.
    MailTarget = 56,
    /// How passwords of databases are drawn.
    PasswordPolicy = 57,
}

/// A type that is stored.
pub trait Stored: Serialize + DeserializeOwned {
    /// What it is.
    const KIND: Kind;

    /// Reads a form that was written before.
    #[must_use]
    fn earlier(_plain: &[u8]) -> Option<Self> {
        None
    }
}

/// Reads what was stored as a type; for [`Stored::earlier`].
#[must_use]
pub fn decode<T: DeserializeOwned>(plain: &[u8]) -> Option<T> {
    record::decode::<T>(plain).map(|(value, _)| value)
}

/// A stored value with what is needed to change it.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// The record's id.
    pub id: RecordId,
    /// The revision it was last changed at.
    pub revision: u64,
}

impl<T> Found<T> {
    /// Holds while nobody has changed the record.
    #[must_use]
    pub fn unchanged(&self) -> Precondition {
        Precondition::Revision(self.revision)
    }
}

/// Where a record is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf<'a> {
    /// With the others of its kind.
    Kind,
    /// With the others of its kind that belong to something, e.g. a mount.
    Of(&'a str),
}

/// How a record is written.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// What its id is the hash of: a name, or a token.
    pub name: &'a str,
    /// What a listing shows.
    pub shown: &'a str,
    /// Where it is listed.
    pub shelf: Shelf<'a>,
    /// When background work has to look at it.
    pub due_at: Option<Timestamp>,
    /// What must hold.
    pub precondition: Precondition,
}

impl<'a> Put<'a> {
    /// A record listed under its own name.
    #[must_use]
    pub fn named(name: &'a str, shelf: Shelf<'a>) -> Self {
        Self {
            name,
            shown: name,
            shelf,
            due_at: None,
            precondition: Precondition::Any,
        }
    }

    /// With a condition.
    #[must_use]
    pub fn when(self, precondition: Precondition) -> Self {
        Self {
            precondition,
            ..self
        }
    }
}

/// The state records of one unsealed store.
#[derive(Clone)]
pub struct State {
    storage: Arc<dyn Storage>,
    barrier: Barrier,
}

impl State {
    /// State over a storage and the barrier that seals it.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, barrier: Barrier) -> Self {
        Self { storage, barrier }
    }

    /// The barrier, for ids, hashes and randomness.
    #[must_use]
    pub fn barrier(&self) -> &Barrier {
        &self.barrier
    }

    /// The storage below.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The id of the record of a type for a name.
    #[must_use]
    pub fn id_of<T: Stored>(&self, name: &str) -> RecordId {
        let name = format!("{}\0{name}", T::KIND as u8);
        record::id_of(&self.barrier, record::Kind::State, &name)
    }

    /// The id that the records of a shelf have as their parent.
    #[must_use]
    pub fn shelf_of<T: Stored>(&self, shelf: Shelf<'_>) -> RecordId {
        let name = match shelf {
            Shelf::Kind => format!("{}\0\0", T::KIND as u8),
            Shelf::Of(owner) => format!("{}\0\0{owner}", T::KIND as u8),
        };
        record::id_of(&self.barrier, record::Kind::State, &name)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn load<T: Stored>(&self, name: &str) -> Result<Option<Found<T>>, Error> {
        self.load_by_id(self.id_of::<T>(name)).await
    }

    /// Reads a value whose id is known.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn load_by_id<T: Stored>(&self, id: RecordId) -> Result<Option<Found<T>>, Error> {
        match self.storage.get(id).await? {
            Some(record) => self.open(&record).map(Some),
            None => Ok(None),
        }
    }

    /// Opens a record as a type.
    ///
    /// # Errors
    /// `Damaged` when it is not one.
    pub fn open<T: Stored>(&self, record: &Record) -> Result<Found<T>, Error> {
        let plain = self.barrier.open(record.id, Field::Value, &record.value);
        let plain = plain.map_err(|_| match self.barrier.is_under_later_key(&record.value) {
            true => later_key(T::KIND),
            false => damaged(T::KIND),
        })?;
        let decoded = record::decode::<T>(&plain).map(|(value, _)| value);
        let value = decoded
            .or_else(|| T::earlier(&plain))
            .ok_or_else(|| match plain.first() {
                Some(format) if *format > record::FORMAT => newer(T::KIND),
                _ => damaged(T::KIND),
            })?;
        Ok(Found {
            value,
            id: record.id,
            revision: record.revision,
        })
    }

    /// What a record is and is called; `None` when it is no state record.
    #[must_use]
    pub fn label(&self, record: &Record) -> Option<(Kind, String)> {
        let plain = self.barrier.open(record.id, Field::Name, &record.name);
        let (label, _) = record::decode::<(Kind, String)>(&plain.ok()?)?;
        Some(label)
    }

    /// The change that writes a value.
    #[must_use]
    pub fn put<T: Stored>(&self, put: &Put<'_>, value: &T) -> BatchItem {
        let id = self.id_of::<T>(put.name);
        self.put_by_id(id, put, value)
    }

    /// The change that writes a value whose id is known; `put.name` is not looked at.
    #[must_use]
    pub fn put_by_id<T: Stored>(&self, id: RecordId, put: &Put<'_>, value: &T) -> BatchItem {
        let name = record::encode(&(T::KIND, put.shown), None);
        let plain = record::encode(value, None);
        BatchItem {
            id,
            precondition: put.precondition,
            change: Change::Put {
                parent: self.shelf_of::<T>(put.shelf),
                name: self.barrier.seal(id, Field::Name, &name),
                value: self.barrier.seal(id, Field::Value, &plain),
                due_at: put.due_at.map(Timestamp::as_micros),
            },
        }
    }

    /// The names on a shelf, sorted.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn names<T: Stored>(&self, shelf: Shelf<'_>) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let mut pages = Pages::new(self.shelf_of::<T>(shelf));
        while let Some(page) = pages.next(&*self.storage).await? {
            for record in &page {
                let (_, name) = self.label(record).ok_or_else(|| damaged(T::KIND))?;
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// All values on a shelf, sorted by name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn all<T: Stored>(&self, shelf: Shelf<'_>) -> Result<Vec<(String, Found<T>)>, Error> {
        let mut found = Vec::new();
        let mut pages = Pages::new(self.shelf_of::<T>(shelf));
        while let Some(page) = pages.next(&*self.storage).await? {
            for record in &page {
                let (_, name) = self.label(record).ok_or_else(|| damaged(T::KIND))?;
                found.push((name, self.open(record)?));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// The ids of all records on a shelf.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn ids<T: Stored>(&self, shelf: Shelf<'_>) -> Result<Vec<RecordId>, Error> {
        let mut found = Vec::new();
        let mut pages = Pages::new(self.shelf_of::<T>(shelf));
        while let Some(page) = pages.next(&*self.storage).await? {
            found.extend(page.iter().map(|record| record.id));
        }
        Ok(found)
    }

    /// The records of a kind that are due, with what they are called; oldest first.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn due(&self, kind: Kind, now: Timestamp) -> Result<Vec<(Record, String)>, Error> {
        let mut limit = DUE_MAX;
        loop {
            let before = now.as_micros().saturating_add(1);
            let due = self.storage.due(before, limit).await?;
            let is_all = due.len() < limit;
            let named = due.into_iter().filter_map(|record| {
                let (found, name) = self.label(&record)?;
                (found == kind).then_some((record, name))
            });
            let named: Vec<(Record, String)> = named.collect();
            // Others may be due as well, and stand before all of this kind.
            if is_all || !named.is_empty() {
                return Ok(named);
            }
            limit = limit.saturating_mul(4);
        }
    }

    /// Commits a batch; false when others were faster.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn commit(&self, batch: Vec<BatchItem>) -> Result<bool, Error> {
        if batch.is_empty() {
            return Ok(true);
        }
        match self.storage.commit(batch, Durability::Durable).await {
            Ok(_) => Ok(true),
            Err(StorageError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Commits a batch without preconditions that others could break.
    ///
    /// # Errors
    /// `Contended`, storage errors.
    pub async fn write(&self, batch: Vec<BatchItem>) -> Result<(), Error> {
        if self.commit(batch).await? {
            Ok(())
        } else {
            Err(contended())
        }
    }
}

/// The change that removes a record.
#[must_use]
pub fn delete(id: RecordId, precondition: Precondition) -> BatchItem {
    BatchItem {
        id,
        precondition,
        change: Change::Delete,
    }
}

/// Only looks at the precondition.
#[must_use]
pub fn check(id: RecordId, precondition: Precondition) -> BatchItem {
    BatchItem {
        id,
        precondition,
        change: Change::Check,
    }
}

/// Goes through a shelf page by page.
pub(crate) struct Pages {
    parent: RecordId,
    after: Option<RecordId>,
    is_done: bool,
}

impl Pages {
    pub(crate) fn new(parent: RecordId) -> Self {
        Self {
            parent,
            after: None,
            is_done: false,
        }
    }

    pub(crate) async fn next(
        &mut self,
        storage: &dyn Storage,
    ) -> Result<Option<Vec<Record>>, StorageError> {
        if self.is_done {
            return Ok(None);
        }
        let page = storage.list(self.parent, self.after, PAGE).await?;
        self.is_done = page.len() < PAGE;
        self.after = page.last().map(|record| record.id);
        Ok((!page.is_empty()).then_some(page))
    }
}

pub(crate) fn contended() -> Error {
    Error::Contended {
        path: "the server's state".into(),
    }
}

fn newer(kind: Kind) -> Error {
    Error::Newer {
        what: format!("a record of the server's state ({kind:?})"),
    }
}

fn later_key(kind: Kind) -> Error {
    Error::LaterKey {
        what: format!("a record of the server's state ({kind:?})"),
    }
}

fn damaged(kind: Kind) -> Error {
    Error::Damaged {
        what: format!("a record of the server's state ({kind:?})"),
        detail: "it does not open as what it should be".into(),
    }
}
