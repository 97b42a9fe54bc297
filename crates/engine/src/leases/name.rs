//! Names of users: of the form that clients know, and to be told from all others by whoever has
//! the store's keys.

use strongroom_core::time::Timestamp;

use crate::state::State;
use crate::tokens::random_text;

/// Random letters in a name: 71 bits.
const RANDOM_CHARS: usize = 12;
/// Letters that are computed of the others: 47 bits.
const MARK_CHARS: usize = 8;
/// Letters of a token's display name and of a role's name.
const WORD_CHARS: usize = 8;
/// Letters behind a lease's path: 142 bits.
const TAIL_CHARS: usize = 24;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl State {
    /// A new name: `v-token-readonly-…-1795308580`.
    #[must_use]
    pub fn new_username(
        &self,
        mount: [u8; 16],
        display_name: &str,
        role: &str,
        now: Timestamp,
    ) -> String {
        let random = random_text(self.barrier().rng(), RANDOM_CHARS);
        let seconds = (now.as_micros() / 1_000_000).to_string();
        let mark = self.mark(mount, &random, &seconds);
        let (who, role) = (word(display_name), word(role));
        format!("v-{who}-{role}-{random}{mark}-{seconds}")
    }

    /// When a name was made, if it was made here for this mount.
    #[must_use]
    pub fn own_username(&self, mount: [u8; 16], name: &str) -> Option<Timestamp> {
        let (head, seconds) = name.strip_prefix("v-")?.rsplit_once('-')?;
        let (_, drawn) = head.rsplit_once('-')?;
        let (random, mark) = drawn.split_at_checked(RANDOM_CHARS)?;
        let is_own = self.mark(mount, random, seconds) == mark;
        let micros = seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        is_own.then(|| Timestamp::from_micros(micros))
    }

    fn mark(&self, mount: [u8; 16], random: &str, seconds: &str) -> String {
        let parts = [&mount[..], random.as_bytes(), seconds.as_bytes()];
        let hash = self.barrier().keyed_hash_of("username", &parts);
        letters(&hash, MARK_CHARS)
    }

    /// A lease's own name: of its user's, so that one leads to the other.
    #[must_use]
    pub fn lease_tail(&self, mount: [u8; 16], username: &str) -> String {
        let parts = [&mount[..], username.as_bytes()];
        let hash = self.barrier().keyed_hash_of("lease", &parts);
        letters(&hash, TAIL_CHARS)
    }
}

fn letters(hash: &[u8; 32], count: usize) -> String {
    let bytes = hash.iter().take(count);
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    bytes.map(letter).collect()
}

/// The beginning of a text, with nothing in it that SQL could take for more than a letter.
fn word(text: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '@' | '-' => c,
        _ => '-',
    };
    text.chars().take(WORD_CHARS).map(plain).collect()
}
