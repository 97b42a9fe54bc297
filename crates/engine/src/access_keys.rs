//! Access keys: an id and a secret that requests are signed with, as AWS clients do.
//!
//! A signature can only be checked by whoever has the secret, so it is kept, sealed like all else.
//! A key has policies as a token has; it is bound to none and lives until it is revoked.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use crate::error::Error;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;
use crate::tokens::random_text;

/// Beginning of the id of a key that lives on.
pub const PREFIX_KEY: &str = "AKIA";
/// Beginning of the id of a key of a session.
pub const PREFIX_SESSION: &str = "ASIA";
/// Characters of an id.
pub const ID_CHARS: usize = 20;
/// Characters of a secret: 238 bits.
const SECRET_CHARS: usize = 40;
/// Characters of a session's token.
const SESSION_CHARS: usize = 64;
/// The letters of an id behind its prefix.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What the token of a session is hashed for.
const SESSION_PURPOSE: &str = "aws session token";
/// A change that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 64;

/// An access key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessKey {
    /// What requests are signed with.
    #[serde(with = "kept")]
    pub secret: SecretValue,
    /// What it may do; sorted.
    pub policies: Vec<String>,
    /// For people.
    pub name: String,
    /// Who made it: an accessor, or the id of another key.
    pub maker: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops; `None` for never.
    pub expires: Option<Timestamp>,
    /// The key that has taken its place.
    pub successor: Option<String>,
    /// Set for a session.
    pub session: Option<Session>,
}

/// What a key of a session has beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Keyed hash of its token.
    pub token_hash: [u8; 32],
    /// The key it was made with: the session ends with it.
    pub parent: String,
    /// The role that was taken on.
    pub role: String,
    /// What the session is called.
    pub name: String,
}

impl Stored for AccessKey {
    const KIND: Kind = Kind::AccessKey;
}

impl AccessKey {
    /// Whether it opens anything at a time.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it may do.
    pub policies: Vec<String>,
    /// For people.
    pub name: String,
    /// Who makes it.
    pub maker: String,
    /// How long it lives; `None` for ever.
    pub ttl: Option<Span>,
}

/// A key that was just made.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// Its id.
    pub id: String,
    /// What it is, with its secret.
    pub key: AccessKey,
    /// The token of a session: it is shown once.
    pub session_token: Option<SecretValue>,
}

impl State {
    /// The id of the record of an access key.
    #[must_use]
    pub fn access_key_id(&self, id: &str) -> RecordId {
        self.id_of::<AccessKey>(id)
    }

    /// An access key, alive or not.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn access_key(&self, id: &str) -> Result<Option<Found<AccessKey>>, Error> {
        self.load(id).await
    }

    /// All keys but those of sessions, sorted by id.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn access_keys(&self) -> Result<Vec<(String, Found<AccessKey>)>, Error> {
        self.all(Shelf::Kind).await
    }

    /// Makes an access key.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn issue_key(&self, new: NewKey, now: Timestamp) -> Result<IssuedKey, Error> {
        let (id, key) = self.draw_key(PREFIX_KEY, new, now);
        let put = Put::named(&id, Shelf::Kind).when(Precondition::Absent);
        let put = Put {
            due_at: key.expires,
            ..put
        };
        self.write(vec![self.put(&put, &key)]).await?;
        Ok(IssuedKey {
            id,
            key,
            session_token: None,
        })
    }

    /// Makes the key of a session that ends with the key it was made with.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn issue_session(
        &self,
        new: NewKey,
        parent: &str,
        role: &str,
        now: Timestamp,
    ) -> Result<IssuedKey, Error> {
        let name = new.name.clone();
        let (id, mut key) = self.draw_key(PREFIX_SESSION, new, now);
        let token = SecretValue::from_text(random_text(self.barrier().rng(), SESSION_CHARS));
        key.session = Some(Session {
            token_hash: self.session_hash(&token),
            parent: parent.into(),
            role: role.into(),
            name,
        });
        let put = Put {
            due_at: key.expires,
            ..Put::named(&id, Shelf::Of(parent)).when(Precondition::Absent)
        };
        self.write(vec![self.put(&put, &key)]).await?;
        Ok(IssuedKey {
            id,
            key,
            session_token: Some(token),
        })
    }

    /// Makes a key like another one, which ends after `overlap`; `None` when there is no such key,
    /// or it has a successor already.
    ///
    /// # Errors
    /// `Contended`, storage errors.
    pub async fn rotate_key(
        &self,
        id: &str,
        maker: &str,
        overlap: Span,
        now: Timestamp,
    ) -> Result<Option<IssuedKey>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.access_key(id).await?;
            let Some(found) = found.filter(|found| {
                let old = &found.value;
                old.session.is_none() && old.successor.is_none() && old.is_alive(now)
            }) else {
                return Ok(None);
            };
            let unchanged = found.unchanged();
            let mut old = found.value;
            let new = NewKey {
                policies: old.policies.clone(),
                name: old.name.clone(),
                maker: maker.into(),
                ttl: None,
            };
            let (new_id, mut key) = self.draw_key(PREFIX_KEY, new, now);
            key.expires = old.expires;
            let end = now.plus(overlap);
            old.expires = Some(old.expires.map_or(end, |own| own.min(end)));
            old.successor = Some(new_id.clone());
            let due = |at| Put {
                due_at: at,
                ..Put::named("", Shelf::Kind)
            };
            let new_put = Put {
                name: &new_id,
                shown: &new_id,
                precondition: Precondition::Absent,
                ..due(key.expires)
            };
            let old_put = Put {
                name: id,
                shown: id,
                precondition: unchanged,
                ..due(old.expires)
            };
            let batch = vec![self.put(&new_put, &key), self.put(&old_put, &old)];
            if self.commit(batch).await? {
                return Ok(Some(IssuedKey {
                    id: new_id,
                    key,
                    session_token: None,
                }));
            }
        }
        Err(state::contended())
    }

    /// Ends a key and its sessions; false when there was none.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn revoke_key(&self, id: &str) -> Result<bool, Error> {
        let was_there = self.access_key(id).await?.is_some();
        let mut batch = vec![state::delete(self.access_key_id(id), Precondition::Any)];
        // One that is made just now has no parent any more: it opens nothing, and ends by itself.
        for session in self.ids::<AccessKey>(Shelf::Of(id)).await? {
            batch.push(state::delete(session, Precondition::Any));
        }
        self.write(batch).await?;
        Ok(was_there)
    }

    /// Whether there are keys whose time is over.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn has_due_keys(&self, now: Timestamp) -> Result<bool, Error> {
        Ok(!self.due(Kind::AccessKey, now).await?.is_empty())
    }

    /// Removes keys whose time is over; how many.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn clear_keys(&self, now: Timestamp) -> Result<usize, Error> {
        let due = self.due(Kind::AccessKey, now).await?;
        let over = due.len();
        for (record, id) in due {
            let unchanged = Precondition::Revision(record.revision);
            let mut batch = vec![state::delete(record.id, unchanged)];
            for session in self.ids::<AccessKey>(Shelf::Of(&id)).await? {
                batch.push(state::delete(session, Precondition::Any));
            }
            // One that was changed meanwhile is looked at again by the next round.
            self.commit(batch).await?;
        }
        Ok(over)
    }

    /// Keyed hash of a session's token.
    #[must_use]
    pub fn session_hash(&self, token: &SecretValue) -> [u8; 32] {
        // EXPOSE: the token goes through a keyed one-way function.
        let bytes = token.expose_secret();
        self.barrier().keyed_hash(SESSION_PURPOSE, bytes)
    }

    fn draw_key(&self, prefix: &str, new: NewKey, now: Timestamp) -> (String, AccessKey) {
        let rng = self.barrier().rng();
        let mut policies = new.policies;
        policies.sort_unstable();
        policies.dedup();
        let key = AccessKey {
            secret: SecretValue::from_text(random_text(rng, SECRET_CHARS)),
            policies,
            name: new.name,
            maker: new.maker,
            created: now,
            expires: new.ttl.map(|ttl| now.plus(ttl)),
            successor: None,
            session: None,
        };
        (draw_id(rng, prefix), key)
    }
}

fn draw_id(rng: &dyn Rng, prefix: &str) -> String {
    let mut bytes = [0; ID_CHARS];
    rng.fill(&mut bytes);
    let mut id = String::with_capacity(ID_CHARS);
    id.push_str(prefix);
    for byte in bytes.iter().take(ID_CHARS - prefix.len()) {
        id.push(char::from(ID_ALPHABET[usize::from(byte % 32)]));
    }
    id
}

/// A secret within a record that the barrier seals.
/// How secrets stand in records.
pub mod kept {
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;
    use strongroom_core::secret::SecretValue;

    /// Into a record.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(
        secret: &SecretValue,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // EXPOSE: goes into a record, in a buffer that is wiped and sealed by the barrier.
        serializer.serialize_bytes(secret.expose_secret())
    }

    /// Out of a record.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SecretValue, D::Error> {
        // Borrowed from the opened record, which is wiped: no copy is left behind.
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Ok(SecretValue::copy_from(bytes))
    }
}
