//! Making, renewing and using tokens.

use std::collections::BTreeMap;

use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Field;

use super::Accessor;
use super::PREFIX_BATCH;
use super::PREFIX_SERVICE;
use super::Token;
use super::TokenKind;
use super::owner_of;
use crate::error::Error;
use crate::record;
use crate::state;
use crate::state::Found;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;

/// Characters of a token behind its prefix: 142 bits.
const TOKEN_CHARS: usize = 24;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// A change that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 64;

/// What a new token is to be; all decisions about policies and lifetimes have been made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Stored or not.
    pub kind: TokenKind,
    /// The token itself, where its maker chose it.
    pub plain: Option<SecretValue>,
    /// Its maker, with the revision it was read at; `None` for an orphan.
    pub parent: Option<(RecordId, u64)>,
    /// What it may do.
    pub policies: Vec<String>,
    /// The path it is made by.
    pub path: String,
    /// The mount it is made by.
    pub mount: [u8; 16],
    /// What its maker notes.
    pub meta: Option<BTreeMap<String, String>>,
    /// For people.
    pub display_name: String,
    /// Uses; 0 for any number.
    pub num_uses: i64,
    /// The role it is made by.
    pub role: String,
    /// From where it may be used.
    pub bound_cidrs: Vec<String>,
    /// Who it belongs to.
    pub entity_id: String,
    /// Whether its life can be prolonged.
    pub is_renewable: bool,
    /// Lifetime in seconds; 0 for no end.
    pub ttl: i64,
    /// Longest life in seconds; 0 for none of its own.
    pub explicit_max_ttl: i64,
    /// Lifetime at each renewal; 0 for none.
    pub period: i64,
}

impl NewToken {
    /// An orphan that can be renewed, with nothing else set.
    #[must_use]
    pub fn orphan(policies: Vec<String>, path: &str, mount: [u8; 16]) -> Self {
        Self {
            kind: TokenKind::Service,
            plain: None,
            parent: None,
            policies,
            path: path.into(),
            mount,
            meta: None,
            display_name: String::new(),
            num_uses: 0,
            role: String::new(),
            bound_cidrs: Vec::new(),
            entity_id: String::new(),
            is_renewable: true,
            ttl: 0,
            explicit_max_ttl: 0,
            period: 0,
        }
    }
}

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token itself: it is shown once.
    pub plain: SecretValue,
    /// Its record's id; of a batch token, one that nothing is stored under.
    pub id: RecordId,
    /// What it is.
    pub token: Token,
}

impl State {
    /// Makes a token; further changes go into the same commit.
    ///
    /// # Errors
    /// `Contended` when its parent has changed meanwhile, `AlreadyExists` for a chosen one,
    /// storage errors.
    pub async fn issue(
        &self,
        new: NewToken,
        now: Timestamp,
        mut batch: Vec<strongroom_core::port::BatchItem>,
    ) -> Result<Issued, Error> {
        let is_chosen = new.plain.is_some();
        let rng = self.barrier().rng();
        let accessor = match new.kind {
            TokenKind::Service => random_text(rng, TOKEN_CHARS),
            TokenKind::Batch => String::new(),
        };
        let token = Token {
            kind: new.kind,
            accessor,
            parent: new.parent.map(|(id, _)| id.0),
            policies: new.policies,
            path: new.path,
            mount: new.mount,
            meta: new.meta,
            display_name: new.display_name,
            num_uses: new.num_uses,
            role: new.role,
            bound_cidrs: new.bound_cidrs,
            entity_id: new.entity_id,
            is_renewable: new.is_renewable && new.ttl > 0,
            created: now,
            creation_ttl: new.ttl,
            explicit_max_ttl: new.explicit_max_ttl,
            period: new.period,
            last_renewal: None,
            expires: (new.ttl > 0).then(|| now.plus(Span::from_seconds(new.ttl))),
            is_doomed: false,
        };
        if token.kind == TokenKind::Batch {
            self.write(batch).await?;
            let plain = self.seal_batch_token(&token);
            let id = self.token_id(&plain);
            return Ok(Issued { plain, id, token });
        }
        let plain = new.plain.unwrap_or_else(|| service_token(rng));
        let id = self.token_id(&plain);
        batch.push(self.put_token(id, &token, Precondition::Absent));
        let accessor = Accessor { token: id.0 };
        batch.push(self.put(&Put::named(&token.accessor, Shelf::Kind), &accessor));
        if let Some((parent, revision)) = new.parent {
            batch.push(state::check(parent, Precondition::Revision(revision)));
        }
        if self.commit(batch).await? {
            return Ok(Issued { plain, id, token });
        }
        if is_chosen && self.token(id).await?.is_some() {
            return Err(Error::AlreadyExists {
                path: "a token with that id".into(),
            });
        }
        Err(state::contended())
    }

    fn seal_batch_token(&self, token: &Token) -> SecretValue {
        let plain = record::encode(token, None);
        let sealed = self
            .barrier()
            .seal(self.batch_place(), Field::Value, &plain);
        let mut text = String::with_capacity(PREFIX_BATCH.len() + sealed.len() * 4 / 3 + 4);
        text.push_str(PREFIX_BATCH);
        text.push_str(&to_base64url(&sealed));
        SecretValue::from_text(text)
    }

    /// The change that writes a token.
    pub(super) fn put_token(
        &self,
        id: RecordId,
        token: &Token,
        precondition: Precondition,
    ) -> strongroom_core::port::BatchItem {
        let parent = token.parent.map(|parent| owner_of(RecordId(parent)));
        let shelf = parent.as_deref().map_or(Shelf::Kind, Shelf::Of);
        let due_at = match token.is_doomed || token.num_uses < 0 {
            true => Some(token.created),
            false => token.expires,
        };
        let put = Put {
            due_at,
            ..Put::named(&token.accessor, shelf).when(precondition)
        };
        self.put_by_id(id, &put, token)
    }

    /// Prolongs a token's life; `end` is asked for every attempt.
    ///
    /// # Errors
    /// `NotFound` when it is dead, `Invalid` when its life cannot be prolonged.
    pub async fn renew(
        &self,
        id: RecordId,
        now: Timestamp,
        increment: i64,
        max_ttl: i64,
    ) -> Result<Token, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let mut found = self.living(id, now).await?;
            let token = &mut found.value;
            if !token.is_renewable {
                return Err(Error::Invalid {
                    message: "lease is not renewable".into(),
                });
            }
            let end = token.renewed_until(now, increment, max_ttl);
            if end.is_some_and(|end| end <= now) {
                return Err(Error::Invalid {
                    message: "past the max TTL, cannot renew".into(),
                });
            }
            token.expires = end;
            token.last_renewal = Some(now);
            let put = self.put_token(id, token, Precondition::Revision(found.revision));
            if self.commit(vec![put]).await? {
                return Ok(found.value);
            }
        }
        Err(state::contended())
    }

    /// Takes one of a token's limited uses; the token as it is for this use.
    ///
    /// # Errors
    /// `NotFound` when it is dead or used up.
    pub async fn take_use(&self, id: RecordId, now: Timestamp) -> Result<Token, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let mut found = self.living(id, now).await?;
            let token = &mut found.value;
            if token.num_uses == 0 {
                return Ok(found.value);
            }
            token.num_uses = match token.num_uses {
                1 => -1,
                left => left - 1,
            };
            let put = self.put_token(id, token, Precondition::Revision(found.revision));
            if self.commit(vec![put]).await? {
                return Ok(found.value);
            }
        }
        Err(state::contended())
    }

    async fn living(&self, id: RecordId, now: Timestamp) -> Result<Found<Token>, Error> {
        let found = self.token(id).await?;
        found
            .filter(|found| found.value.is_alive(now))
            .ok_or_else(|| Error::NotFound {
                what: "the token".into(),
            })
    }
}

/// A new token of the stored kind.
fn service_token(rng: &dyn Rng) -> SecretValue {
    let mut text = String::with_capacity(PREFIX_SERVICE.len() + TOKEN_CHARS);
    text.push_str(PREFIX_SERVICE);
    push_random(rng, TOKEN_CHARS, &mut text);
    SecretValue::from_text(text)
}

/// Letters and digits, evenly drawn.
#[must_use]
pub fn random_text(rng: &dyn Rng, chars: usize) -> String {
    let mut text = String::with_capacity(chars);
    push_random(rng, chars, &mut text);
    text
}

fn push_random(rng: &dyn Rng, chars: usize, text: &mut String) {
    // Four times the alphabet fits a byte: what lies above is drawn again, so that no letter
    // comes more often than others.
    let limit = ALPHABET.len() * 4;
    let mut left = chars;
    while left > 0 {
        let mut bytes = [0; 32];
        rng.fill(&mut bytes);
        for byte in bytes {
            let at = usize::from(byte);
            if left > 0 && at < limit {
                text.push(char::from(ALPHABET[at % ALPHABET.len()]));
                left -= 1;
            }
        }
        zeroize::Zeroize::zeroize(&mut bytes);
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn to_base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for at in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * at)) & 63;
            text.push(char::from(BASE64URL[index as usize]));
        }
    }
    text
}

pub(super) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            let value = BASE64URL.iter().position(|known| known == letter)?;
            bits = (bits << 6) | u32::try_from(value).ok()?;
        }
        match chunk.len() {
            4 => bytes.extend_from_slice(&bits.to_be_bytes()[1..]),
            // Bits that say nothing have to be zero: one token has one spelling.
            3 if bits & 3 == 0 => bytes.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 if bits & 15 == 0 => bytes.extend_from_slice(&(bits >> 4).to_be_bytes()[3..]),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_spelling() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(37)).collect();
            let text = to_base64url(&bytes);
            assert_eq!(from_base64url(&text), Some(bytes));
        }
        assert_eq!(to_base64url(b"\xff\xfe\xfd\xfc"), "__79_A");
        for wrong in ["A", "AB", "__79_B", "AAAA=", "A A"] {
            assert_eq!(from_base64url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn letters_are_evenly_drawn() {
        let text = random_text(&strongroom_crypto::SystemRng, 62_000);
        let mut counts = [0_u32; 128];
        for byte in text.bytes() {
            counts[usize::from(byte)] += 1;
        }
        for letter in ALPHABET {
            let count = counts[usize::from(*letter)];
            assert!((800..1200).contains(&count), "{letter} {count}");
        }
    }
}
