//! The forms of the secrets: their bytes, and how they compare with the stream.

use zeroize::Zeroize;

use crate::secret::SecretValue;

use super::encode::Coding;

/// Forms longer than this are compared with the shared value, encoded on the fly.
pub(super) const STORED_BYTES_MAX: usize = 64 * 1024;

/// So many earlier forms of the same secret are looked at for an equal one.
const RECENT_FORMS: usize = 24;

/// All forms of all secrets.
#[derive(Default)]
pub(super) struct Forms {
    names: Vec<Box<str>>,
    values: Vec<SecretValue>,
    arena: WipedBytes,
    forms: Vec<Form>,
}

/// One byte string to look for.
pub(super) struct Form {
    body: Body,
    len: usize,
    secret: u32,
    edge: Edge,
}

#[derive(Clone, Copy)]
enum Body {
    /// In the arena, from this offset on.
    Stored(usize),
    /// Encoded from the first `len` bytes of a value when compared.
    Coded {
        value: usize,
        len: usize,
        coding: Coding,
    },
}

/// What is asked of the bytes next to a form.
#[derive(Clone, Copy)]
pub(super) enum Edge {
    /// Nothing.
    Open,
    /// No letter, digit or `_` on either side.
    Token,
    /// Base64 characters that share bits with the value are hidden along with it.
    Base64 {
        left: Option<Partial>,
        right: Option<Partial>,
        pads: usize,
    },
}

/// A base64 character of which only the bits under `mask` are known.
#[derive(Clone, Copy)]
pub(super) struct Partial {
    pub(super) mask: u8,
    pub(super) bits: u8,
}

/// A hidden piece of the stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) end: std::cmp::Reverse<usize>,
    pub(super) secret: u32,
}

/// What the bytes after a form's own say.
pub(super) enum Verdict {
    No,
    Undecided,
    Yes(Match),
}

impl Forms {
    pub(super) fn add_secret(&mut self, name: &str) -> u32 {
        self.names.push(name.into());
        u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds `bytes` as a form, unless the secret has one just like it.
    pub(super) fn add_bytes(&mut self, secret: u32, bytes: &[u8], edge: Edge) {
        let is_known = self.forms.iter().rev().take(RECENT_FORMS).any(|form| {
            form.secret == secret && form.len == bytes.len() && self.agrees(form, 0, bytes)
        });
        if is_known {
            return;
        }
        let start = self.arena.as_slice().len();
        self.arena.extend(bytes);
        self.forms.push(Form {
            body: Body::Stored(start),
            len: bytes.len(),
            secret,
            edge,
        });
    }

    /// Adds a long form of the first `value_len` bytes of `value`, without a copy of it.
    pub(super) fn add_coded(
        &mut self,
        secret: u32,
        value: &SecretValue,
        value_len: usize,
        coding: Coding,
        edge: Edge,
    ) {
        // EXPOSE: to find the last shared value again by its address; nothing is kept.
        let address = value.expose_secret().as_ptr();
        // EXPOSE: as above.
        let is_last = |last: &SecretValue| last.expose_secret().as_ptr() == address;
        if !self.values.last().is_some_and(is_last) {
            self.values.push(value.clone());
        }
        let len = coding.len(value_len);
        let body = Body::Coded {
            value: self.values.len() - 1,
            len: value_len,
            coding,
        };
        self.forms.push(Form {
            body,
            len,
            secret,
            edge,
        });
    }

    pub(super) fn count(&self) -> usize {
        self.forms.len()
    }

    pub(super) fn form(&self, id: u32) -> Option<&Form> {
        self.forms.get(id as usize)
    }

    pub(super) fn name(&self, secret: u32) -> &str {
        self.names.get(secret as usize).map_or("", |name| name)
    }

    /// True when the form has `bytes` at offset `from`.
    pub(super) fn agrees(&self, form: &Form, from: usize, bytes: &[u8]) -> bool {
        if from + bytes.len() > form.len {
            return false;
        }
        match form.body {
            Body::Stored(start) => {
                let start = start + from;
                self.arena.as_slice().get(start..start + bytes.len()) == Some(bytes)
            }
            Body::Coded { value, len, coding } => {
                let Some(value) = self.shared(value, len) else {
                    return false;
                };
                bytes
                    .iter()
                    .enumerate()
                    .all(|(i, &byte)| coding.byte(value, from + i) == byte)
            }
        }
    }

    /// Copies the first bytes of the form into `buffer`, and returns how many there were.
    pub(super) fn head(&self, form: &Form, buffer: &mut [u8]) -> usize {
        let count = form.len.min(buffer.len());
        match form.body {
            Body::Stored(start) => {
                let bytes = self
                    .arena
                    .as_slice()
                    .get(start..start + count)
                    .unwrap_or_default();
                buffer[..bytes.len()].copy_from_slice(bytes);
            }
            Body::Coded { value, len, coding } => {
                let value = self.shared(value, len).unwrap_or_default();
                for (i, byte) in buffer.iter_mut().take(count).enumerate() {
                    *byte = coding.byte(value, i);
                }
            }
        }
        count
    }

    /// A number that equal forms share.
    pub(super) fn fingerprint(&self, form: &Form) -> u64 {
        let Body::Stored(start) = form.body else {
            return form.len as u64;
        };
        let bytes = self
            .arena
            .as_slice()
            .get(start..start + form.len)
            .unwrap_or_default();
        let (words, rest) = bytes.as_chunks::<8>();
        let mix = |hash: u64, word: u64| {
            (hash ^ word)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        };
        let hash = words
            .iter()
            .fold(0, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        rest.iter().fold(hash, |hash, &byte| mix(hash, byte.into()))
    }

    /// True when both forms have the same bytes. Forms that are not stored count as different.
    pub(super) fn is_same(&self, a: &Form, b: &Form) -> bool {
        let Body::Stored(start) = a.body else {
            return false;
        };
        let bytes = self
            .arena
            .as_slice()
            .get(start..start + a.len)
            .unwrap_or_default();
        a.len == b.len && self.agrees(b, 0, bytes)
    }

    pub(super) fn table_bytes(&self) -> usize {
        self.arena.bytes.capacity() + self.forms.capacity() * size_of::<Form>()
    }

    fn shared(&self, value: usize, len: usize) -> Option<&[u8]> {
        // EXPOSE: to compare it with the stream; it stays in this module.
        self.values.get(value)?.expose_secret().get(..len)
    }
}

impl Form {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The most bytes the form hides.
    pub(super) fn len_max(&self) -> usize {
        match self.edge {
            Edge::Open => self.len,
            // The byte after a token is waited for.
            Edge::Token => self.len + 1,
            Edge::Base64 { left, right, pads } => {
                self.len + usize::from(left.is_some()) + usize::from(right.is_some()) + pads
            }
        }
    }

    pub(super) fn is_token(&self) -> bool {
        matches!(self.edge, Edge::Token)
    }

    /// The character on the left that would be hidden too.
    pub(super) fn left(&self) -> Option<Partial> {
        match self.edge {
            Edge::Base64 { left, .. } => left,
            Edge::Open | Edge::Token => None,
        }
    }

    /// True when the form may stand at `at`, as far as the byte before it says.
    pub(super) fn may_start(&self, data: &[u8], at: usize) -> bool {
        !self.is_token() || !byte_before(data, at).is_some_and(is_word)
    }

    /// Where the hidden piece starts when the form stands at `at`.
    pub(super) fn start(&self, data: &[u8], at: usize) -> usize {
        let takes_left = self
            .left()
            .is_some_and(|left| byte_before(data, at).is_some_and(|byte| left.admits(byte)));
        at - usize::from(takes_left)
    }

    /// Decides about the form whose bytes were found at `at`. With `is_end`, nothing follows.
    pub(super) fn settle(&self, data: &[u8], at: usize, is_end: bool) -> Verdict {
        let end = at + self.len;
        let rest = data.get(end..).unwrap_or_default();
        let end = match self.edge {
            Edge::Open => end,
            Edge::Token => match rest.first() {
                Some(&byte) if is_word(byte) => return Verdict::No,
                None if !is_end => return Verdict::Undecided,
                _ => end,
            },
            Edge::Base64 { right: None, .. } => end,
            Edge::Base64 {
                right: Some(right),
                pads,
                ..
            } => {
                let taken = right.taken(rest, pads);
                if taken == rest.len() && taken <= pads && !is_end {
                    return Verdict::Undecided;
                }
                end + taken
            }
        };
        Verdict::Yes(Match {
            start: self.start(data, at),
            end: std::cmp::Reverse(end),
            secret: self.secret,
        })
    }
}

impl Partial {
    /// True when the character has the known bits.
    pub(super) fn admits(self, byte: u8) -> bool {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        digit & self.mask == self.bits
    }

    /// How many bytes of `rest` belong to the last quantum: this character, then padding.
    fn taken(self, rest: &[u8], pads: usize) -> usize {
        match rest.split_first() {
            Some((&first, rest)) if self.admits(first) => {
                1 + rest
                    .iter()
                    .take(pads)
                    .take_while(|&&byte| byte == b'=')
                    .count()
            }
            _ => 0,
        }
    }
}

/// Bytes of a secret in a buffer that may grow: what it leaves behind is wiped.
#[derive(Default)]
pub(super) struct WipedBytes {
    bytes: Vec<u8>,
}

impl WipedBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn push(&mut self, byte: u8) {
        if self.bytes.len() == self.bytes.capacity() {
            self.reserve(1);
        }
        self.bytes.push(byte);
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for `count` more bytes.
    pub(super) fn reserve(&mut self, count: usize) {
        let needed = self.bytes.len() + count;
        if needed > self.bytes.capacity() {
            let mut grown = Vec::with_capacity(needed.max(self.bytes.capacity() * 2).max(64));
            grown.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = grown;
        }
    }

    /// Drops the first `count` bytes.
    pub(super) fn cut(&mut self, count: usize) {
        self.bytes.copy_within(count.., 0);
        self.bytes.truncate(self.bytes.len() - count);
    }
}

impl Drop for WipedBytes {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

fn byte_before(data: &[u8], at: usize) -> Option<u8> {
    data.get(at.checked_sub(1)?).copied()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
