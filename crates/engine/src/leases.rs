//! Leases: credentials that were made for somebody elsewhere, and are removed there in time.
//!
//! A record says what was made, by whom it may be used and until when. It is written before
//! anything is made ([`Stage::Begun`]), again when it is there ([`Stage::Live`]), and goes when it
//! is removed: whatever is cut off in between is found when it is due. Nothing is held in memory:
//! what is due is asked of the storage, which keeps an index of it, so that a start reads no lease.
//!
//! A lease is listed under its role; a second record lists it under its token, whose end is its
//! end. How many a role has is counted in the same commit, so that a limit is never passed.

mod change;
mod find;
mod name;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::lease::Lease;
use strongroom_core::port::RecordId;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use crate::state::Kind;
use crate::state::Stored;

pub use change::NewLease;
pub use find::Departed;
pub use find::LeasePage;
pub use name::NameForm;

/// Leases that one role may have at once, unless it says otherwise.
pub const ROLE_LEASES_MAX: u64 = 100_000;
/// What was begun and is not there after so long is removed again.
pub const BEGUN_SECONDS: i64 = 30;
/// After so many failures a lease is shown as one that cannot be revoked; it is still tried.
pub const ATTEMPTS_SHOWN: u32 = 6;
/// Longest time between two attempts to revoke, in seconds.
const RETRY_SECONDS_MAX: i64 = 30;

/// How far a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It may be there or not: what makes it was told to.
    Begun,
    /// It is there, and was given to somebody.
    Live,
    /// It is to be removed, and nobody may renew it.
    Leaving,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// What clients name it by: the path it was read at and a text that nobody guesses.
    pub lease_id: String,
    /// The mount that gave it.
    pub mount: [u8; 16],
    /// The role there.
    pub role: String,
    /// What the role's users are made in.
    pub connection: String,
    /// Who was made.
    pub username: String,
    /// The token that it ends with.
    pub token: Option<[u8; 16]>,
    /// Its times.
    pub times: Lease,
    /// Whether it was ever renewed.
    pub is_renewed: bool,
    /// How far it is.
    pub stage: Stage,
    /// How often its removal failed.
    pub attempts: u32,
    /// How it is removed, as the role said when it was made; empty for what is usual.
    pub revocation: Vec<String>,
    /// It is renewed no further than this: when a token ends that has no record of its own.
    pub ends_by: Option<Timestamp>,
}

impl Stored for Leased {
    const KIND: Kind = Kind::Lease;
}

impl Leased {
    /// The path it was read at.
    #[must_use]
    pub fn path(&self) -> &str {
        let (path, _) = self.lease_id.rsplit_once('/').unwrap_or_default();
        path
    }

    /// Its own name behind the path.
    #[must_use]
    pub fn tail(&self) -> &str {
        let (_, tail) = self.lease_id.rsplit_once('/').unwrap_or_default();
        tail
    }

    /// Whether it is there for whoever has it.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.stage == Stage::Live && !self.times.is_expired(now)
    }

    /// When background work looks at it.
    fn due(&self) -> Timestamp {
        match self.stage {
            Stage::Live => self.times.expires_at,
            Stage::Begun => self.times.issued_at.plus(Span::from_seconds(BEGUN_SECONDS)),
            Stage::Leaving => self.times.issued_at,
        }
    }
}

/// How long to wait after so many failures, in seconds: longer each time, and not the same for all.
#[must_use]
pub fn retry_after(attempts: u32, id: RecordId) -> i64 {
    let doubled = 1_i64 << attempts.min(5);
    let spread = i64::from(id.0[0]) * doubled / 512;
    (doubled / 2 + spread).clamp(1, RETRY_SECONDS_MAX)
}

/// A lease of a token, on the token's shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TokenLease {
    lease: [u8; 16],
}

impl Stored for TokenLease {
    const KIND: Kind = Kind::TokenLease;
}

/// How many leases a role has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseCount {
    count: u64,
}

impl Stored for LeaseCount {
    const KIND: Kind = Kind::LeaseCount;
}

/// Why a lease cannot be revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The lease's record.
    pub lease: [u8; 16],
    /// Its id, as clients name it.
    pub lease_id: String,
    /// The mount that gave it.
    pub mount: [u8; 16],
    /// What the last attempt was answered.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
}

impl Stored for Trouble {
    const KIND: Kind = Kind::LeaseTrouble;
}

/// A token that is gone while leases of it are not yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bereft {
    token: [u8; 16],
}

impl Stored for Bereft {
    const KIND: Kind = Kind::LeaseOwner;
}

/// A mount's owner's name, as [`crate::mounts::Mount::owner`] has it.
fn owner(mount: [u8; 16]) -> String {
    crate::tokens::owner_of(RecordId(mount))
}

/// The shelf of a role's leases, and the name of its count.
fn of_role(mount: [u8; 16], role: &str) -> String {
    format!("{}\0{role}", owner(mount))
}
