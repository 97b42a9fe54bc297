//! Tokens: bearer credentials with policies, a lifetime and a family.
//!
//! Only a keyed hash of a token is stored: it is the id of its record. A token is listed on the
//! shelf of its parent, so that revoking one finds its descendants.

mod issue;
mod revoke;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::RecordId;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Field;

use crate::error::Error;
use crate::record;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

pub use issue::Issued;
pub use issue::NewToken;
pub use issue::random_text;

/// Lifetime of a token whose maker asked for none, and the longest one: 32 days.
pub const TTL_SECONDS_MAX_DEFAULT: i64 = 768 * 3600;
/// Longest text that is looked at as a token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Beginning of a token that is stored.
pub const PREFIX_SERVICE: &str = "hvs.";
/// Beginning of a token that carries itself.
pub const PREFIX_BATCH: &str = "hvb.";

/// Whether a token is stored or carries itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenKind {
    /// Stored; can be renewed and revoked, has a cubbyhole.
    Service,
    /// Not stored; lives until its time is over or its parent is revoked.
    Batch,
}

impl TokenKind {
    /// The word that clients read.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

/// A token, without itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Stored or not.
    pub kind: TokenKind,
    /// Harmless handle; empty for a batch token.
    pub accessor: String,
    /// The token that made it, unless it is an orphan.
    pub parent: Option<[u8; 16]>,
    /// What it may do; sorted.
    pub policies: Vec<String>,
    /// The path it was made by.
    pub path: String,
    /// The mount it was made by.
    pub mount: [u8; 16],
    /// What its maker noted.
    pub meta: Option<BTreeMap<String, String>>,
    /// For people.
    pub display_name: String,
    /// Uses left; 0 for any number, negative when it is used up.
    pub num_uses: i64,
    /// The role it was made by.
    pub role: String,
    /// From where it may be used; empty for anywhere.
    pub bound_cidrs: Vec<String>,
    /// Who it belongs to, where that is known.
    pub entity_id: String,
    /// Its life can be prolonged.
    pub is_renewable: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Lifetime at its making, in seconds; 0 for no end.
    pub creation_ttl: i64,
    /// Longest life, in seconds, by its maker's wish; 0 for none.
    pub explicit_max_ttl: i64,
    /// Lifetime at each renewal, in seconds, without a longest one; 0 for none.
    pub period: i64,
    /// When it was last renewed.
    pub last_renewal: Option<Timestamp>,
    /// When it dies; `None` for never.
    pub expires: Option<Timestamp>,
    /// It is being revoked with its descendants.
    pub is_doomed: bool,
}

impl Stored for Token {
    const KIND: Kind = Kind::Token;
}

impl Token {
    /// Whether it opens anything at a time.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        !self.is_doomed && self.num_uses >= 0 && self.expires.is_none_or(|end| now < end)
    }

    /// Whether it may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == ROOT)
    }

    /// Whole seconds left; 0 for a token without end.
    #[must_use]
    pub fn ttl_seconds(&self, now: Timestamp) -> i64 {
        self.expires.map_or(0, |end| end.seconds_since(now).max(0))
    }

    /// When it would die if it were renewed now for `increment` seconds (0 for its own lifetime)
    /// where the mount allows at most `max_ttl` seconds in all.
    #[must_use]
    pub fn renewed_until(&self, now: Timestamp, increment: i64, max_ttl: i64) -> Option<Timestamp> {
        let wish = match (self.period, increment) {
            (0, increment) if increment > 0 => increment,
            (0, _) if self.creation_ttl > 0 => self.creation_ttl,
            (0, _) => max_ttl,
            (period, _) => period,
        };
        let mut end = now.plus(Span::from_seconds(wish));
        if self.period == 0 {
            end = end.min(self.created.plus(Span::from_seconds(max_ttl)));
        }
        if self.explicit_max_ttl > 0 {
            let last = self.created.plus(Span::from_seconds(self.explicit_max_ttl));
            end = end.min(last);
        }
        Some(end)
    }
}

/// The policy that allows everything.
pub const ROOT: &str = "root";
/// The policy that every token has unless it was made without.
pub const DEFAULT: &str = "default";

/// From an accessor to its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accessor {
    /// The token's record.
    pub token: [u8; 16],
}

impl Stored for Accessor {
    const KIND: Kind = Kind::Accessor;
}

/// What tokens made by a role have, and may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRole {
    /// Policies a token may have; empty for those of its maker.
    pub allowed_policies: Vec<String>,
    /// The same as patterns with `*`.
    pub allowed_policies_glob: Vec<String>,
    /// Policies no token may have.
    pub disallowed_policies: Vec<String>,
    /// The same as patterns with `*`.
    pub disallowed_policies_glob: Vec<String>,
    /// Tokens have no parent.
    pub is_orphan: bool,
    /// Their period, in seconds.
    pub period: i64,
    /// Their longest life, in seconds.
    pub explicit_max_ttl: i64,
    /// They can be renewed.
    pub is_renewable: bool,
    /// What is added to the path they are known to be made by.
    pub path_suffix: String,
    /// From where they may be used.
    pub bound_cidrs: Vec<String>,
    /// Without the default policy.
    pub no_default_policy: bool,
    /// Uses of each; 0 for any number.
    pub num_uses: i64,
    /// `service`, `batch`, `default-service` or `default-batch`.
    pub token_type: String,
    /// Kept for clients that set it.
    pub allowed_entity_aliases: Vec<String>,
}

impl Stored for TokenRole {
    const KIND: Kind = Kind::TokenRole;
}

/// What is in a token's cubbyhole at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// JSON.
    pub body: Vec<u8>,
}

impl Stored for Kept {
    const KIND: Kind = Kind::Cubbyhole;
}

/// A record's id as text: the owner's name of what belongs to a token.
#[must_use]
pub fn owner_of(id: RecordId) -> String {
    format!("{id:?}")
}

impl State {
    /// The id of the record of a token.
    #[must_use]
    pub fn token_id(&self, plain: &SecretValue) -> RecordId {
        // EXPOSE: the token goes through a keyed one-way function.
        let hash = self.barrier().keyed_hash("token", plain.expose_secret());
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        RecordId(id)
    }

    /// A token by its record's id, alive or not.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn token(&self, id: RecordId) -> Result<Option<Found<Token>>, Error> {
        self.load_by_id(id).await
    }

    /// A token that carries itself; `None` when it is none of ours.
    #[must_use]
    pub fn open_batch_token(&self, plain: &SecretValue) -> Option<Token> {
        // EXPOSE: a batch token is opened by the barrier; what comes out holds no secret.
        let text = plain.expose_secret_text()?.strip_prefix(PREFIX_BATCH)?;
        let sealed = issue::from_base64url(text)?;
        let opened = self
            .barrier()
            .open(self.batch_place(), Field::Value, &sealed);
        let opened = opened.ok()?;
        let (token, rest) = record::decode::<Token>(&opened)?;
        rest.is_empty().then_some(token)
    }

    fn batch_place(&self) -> RecordId {
        self.shelf_of::<Token>(Shelf::Of("batch"))
    }

    /// The token of an accessor.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn token_of_accessor(&self, accessor: &str) -> Result<Option<Found<Token>>, Error> {
        match self.load::<Accessor>(accessor).await? {
            Some(found) => self.token(RecordId(found.value.token)).await,
            None => Ok(None),
        }
    }

    /// The accessors of all tokens, sorted.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn accessors(&self) -> Result<Vec<String>, Error> {
        self.names::<Accessor>(Shelf::Kind).await
    }
}
