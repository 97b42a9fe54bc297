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

/// How long a name may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameForm {
    /// `v-token-readonly-…-1795308580`, at most 60 letters.
    #[default]
    Usual,
    /// `v-token-readonl-…`, at most 32 letters, the time among the last.
    Short,
    /// `v-…`, 16 letters.
    Shortest,
}

/// Letters of the names that are short: of the token's and the role's, those that are random, those
/// that are computed of the others, and those of the time.
const SHORT: [usize; 4] = [5, 7, 5, 5];
const SHORTEST: [usize; 4] = [0, 0, 4, 4];
const TIME_CHARS: usize = 6;

impl State {
    /// A new name in a form.
    #[must_use]
    pub fn new_username_in(
        &self,
        form: NameForm,
        mount: [u8; 16],
        display_name: &str,
        role: &str,
        now: Timestamp,
    ) -> String {
        let [who_chars, role_chars, random_chars, mark_chars] = match form {
            NameForm::Usual => return self.new_username(mount, display_name, role, now),
            NameForm::Short => SHORT,
            NameForm::Shortest => SHORTEST,
        };
        let random = random_text(self.barrier().rng(), random_chars);
        let seconds = now.as_micros() / 1_000_000;
        let mut mark = self.mark(mount, &random, &seconds.to_string());
        mark.truncate(mark_chars);
        let tail = format!("{random}{mark}{}", digits(seconds));
        let cut = |text: &str, chars: usize| word(text).chars().take(chars).collect::<String>();
        match form {
            NameForm::Shortest => format!("v-{tail}"),
            NameForm::Short | NameForm::Usual => {
                let (who, role) = (cut(display_name, who_chars), cut(role, role_chars));
                format!("v-{who}-{role}-{tail}")
            }
        }
    }

    /// When a name in one of the short forms was made, if it was made here for this mount.
    fn own_short_username(&self, mount: [u8; 16], name: &str) -> Option<Timestamp> {
        let rest = name.strip_prefix("v-")?;
        let (tail, [.., random_chars, mark_chars]) = match rest.rsplit_once('-') {
            Some((_, tail)) => (tail, SHORT),
            None => (rest, SHORTEST),
        };
        let (random, rest) = tail.split_at_checked(random_chars)?;
        let (mark, time) = rest.split_at_checked(mark_chars)?;
        let seconds = seconds_of(time)?;
        let expected = self.mark(mount, random, &seconds.to_string());
        let micros = seconds.checked_mul(1_000_000)?;
        (expected.get(..mark_chars) == Some(mark)).then(|| Timestamp::from_micros(micros))
    }

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
        let usual = self.own_usual_username(mount, name);
        usual.or_else(|| self.own_short_username(mount, name))
    }

    fn own_usual_username(&self, mount: [u8; 16], name: &str) -> Option<Timestamp> {
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

/// Seconds in six letters, which are enough for 1800 years.
fn digits(seconds: i64) -> String {
    let base = ALPHABET.len() as u64;
    let mut rest = u64::try_from(seconds).unwrap_or_default();
    let mut text = [ALPHABET[0]; TIME_CHARS];
    for digit in text.iter_mut().rev() {
        *digit = ALPHABET[usize::try_from(rest % base).unwrap_or_default()];
        rest /= base;
    }
    text.map(char::from).iter().collect()
}

fn seconds_of(text: &str) -> Option<i64> {
    if text.len() != TIME_CHARS {
        return None;
    }
    text.bytes().try_fold(0_i64, |seconds, byte| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        Some(seconds * ALPHABET.len() as i64 + i64::try_from(digit).ok()?)
    })
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
