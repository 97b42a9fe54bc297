//! Examples of secrets, drawn when they are needed: no file of this repository has one as it is.
//!
//! `%alnum36%` in a text stands for 36 letters and digits. The same text gives the same example.
//! The build script has this file, too.

/// An example with what is drawn put in; `None` when a placeholder in it is unknown.
pub(crate) fn expand(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut drawn = Drawn::from(text);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (inner, after) = after.split_once('%')?;
        rest = after;
        // A doubled one stands for itself.
        if inner.is_empty() {
            out.push('%');
            continue;
        }
        let at = inner.find(|c: char| c.is_ascii_digit())?;
        let (set, count) = inner.split_at(at);
        let count: usize = count.parse().ok().filter(|count| *count <= COUNT_MAX)?;
        let set = SETS.iter().find(|(name, _)| *name == set)?.1.as_bytes();
        for _ in 0..count {
            out.push(char::from(drawn.one_of(set)?));
        }
    }
    out.push_str(rest);
    Some(out)
}

const COUNT_MAX: usize = 2_000;

/// The alphabets, and how they are called.
const SETS: [(&str, &str); 8] = [
    (
        "alnum",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    ),
    ("hex", "0123456789abcdef"),
    ("digit", "0123456789"),
    ("lower", "abcdefghijklmnopqrstuvwxyz0123456789"),
    ("upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
    ("bthirtytwo", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    (
        "bsixtyfour",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    ),
    ("bech", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
];

/// A sequence that begins anew for each text.
struct Drawn(u64);

impl Drawn {
    fn from(text: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    fn one_of(&mut self, set: &[u8]) -> Option<u8> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(self.0 >> 33).ok()? % set.len();
        set.get(at).copied()
    }
}
