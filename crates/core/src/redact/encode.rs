//! The forms in which programs print a value.

use crate::secret::SecretValue;

use super::VALUE_BYTES_FULL;
use super::store::Edge;
use super::store::Forms;
use super::store::Partial;
use super::store::STORED_BYTES_MAX;
use super::store::WipedBytes;

/// Up to this length a value is also looked for in base64 that is broken into lines.
const WRAPPED_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a value on one line of base64: 76 characters (MIME, `base64`), 64 (PEM, `openssl`).
const WRAPPED_LINE_BYTES: [usize; 2] = [57, 48];

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// The value without the line ends at its end.
pub(super) fn trim_line_end(value: &[u8]) -> &[u8] {
    let len = value
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
        .map_or(0, |at| at + 1);
    &value[..len]
}

/// Adds a short value, to be masked as a whole token.
pub(super) fn add_token(forms: &mut Forms, secret: u32, value: &SecretValue) {
    // EXPOSE: copied into the pattern tables, which are wiped on drop.
    forms.add_bytes(secret, trim_line_end(value.expose_secret()), Edge::Token);
}

/// Adds all forms of a value of at least `VALUE_BYTES_FULL` bytes.
pub(super) fn add_value(forms: &mut Forms, secret: u32, value: &SecretValue) {
    // EXPOSE: encoded into the pattern tables, which are wiped on drop.
    let bytes = trim_line_end(value.expose_secret());
    let mut scratch = WipedBytes::default();
    for coding in CODINGS {
        let edge = coding.edge(bytes);
        if coding.len(bytes.len()) > STORED_BYTES_MAX {
            forms.add_coded(secret, value, bytes.len(), coding, edge);
        } else {
            coding.write(bytes, &mut scratch);
            forms.add_bytes(secret, scratch.as_slice(), edge);
        }
    }
    if bytes.len() <= WRAPPED_BYTES_MAX {
        add_wrapped(forms, secret, bytes, &mut scratch);
    }
    add_texts(forms, secret, bytes, &mut scratch);
    if bytes.contains(&b'\n') {
        write_line_ends(bytes, b"\r\n", &mut scratch);
        forms.add_bytes(secret, scratch.as_slice(), Edge::Open);
        write_line_ends(bytes, b"\n", &mut scratch);
        forms.add_bytes(secret, scratch.as_slice(), Edge::Open);
        for line in bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.len() >= VALUE_BYTES_FULL && !is_armor(line) {
                forms.add_bytes(secret, line, Edge::Open);
                add_texts(forms, secret, line, &mut scratch);
            }
        }
    }
}

/// An encoding of which every byte can be told on its own.
#[derive(Clone, Copy)]
pub(super) enum Coding {
    /// The value itself.
    Raw,
    /// Two hex digits for each byte.
    Hex(&'static [u8; 16]),
    /// `%` and two hex digits for each byte.
    Percent(&'static [u8; 16]),
    /// The characters that depend on the value only, when `lead` other bytes stand before it in
    /// its first group of three.
    Base64 {
        alphabet: &'static [u8; 64],
        lead: usize,
    },
}

const CODINGS: [Coding; 11] = [
    Coding::Raw,
    Coding::Base64 {
        alphabet: BASE64,
        lead: 0,
    },
    Coding::Base64 {
        alphabet: BASE64,
        lead: 1,
    },
    Coding::Base64 {
        alphabet: BASE64,
        lead: 2,
    },
    Coding::Base64 {
        alphabet: BASE64_URL,
        lead: 0,
    },
    Coding::Base64 {
        alphabet: BASE64_URL,
        lead: 1,
    },
    Coding::Base64 {
        alphabet: BASE64_URL,
        lead: 2,
    },
    Coding::Hex(HEX_LOWER),
    Coding::Hex(HEX_UPPER),
    Coding::Percent(HEX_UPPER),
    Coding::Percent(HEX_LOWER),
];

impl Coding {
    /// Length of the form of a value of `len` bytes.
    pub(super) fn len(self, len: usize) -> usize {
        match self {
            Self::Raw => len,
            Self::Hex(_) => len * 2,
            Self::Percent(_) => len * 3,
            Self::Base64 { lead, .. } => (lead + len) * 4 / 3 - base64_first(lead),
        }
    }

    /// The byte at offset `at` of the form.
    pub(super) fn byte(self, value: &[u8], at: usize) -> u8 {
        let byte = |at: usize| value.get(at).copied().unwrap_or_default();
        let digit = |digits: &[u8; 16], byte: u8, is_low: bool| {
            let digit = if is_low { byte & 15 } else { byte >> 4 };
            digits[usize::from(digit)]
        };
        match self {
            Self::Raw => byte(at),
            Self::Hex(digits) => digit(digits, byte(at / 2), at % 2 == 1),
            Self::Percent(_) if at.is_multiple_of(3) => b'%',
            Self::Percent(digits) => digit(digits, byte(at / 3), at % 3 == 2),
            Self::Base64 { alphabet, lead } => {
                let bit = 6 * (base64_first(lead) + at) - 8 * lead;
                let pair = u16::from(byte(bit / 8)) << 8 | u16::from(byte(bit / 8 + 1));
                alphabet[usize::from(pair >> (10 - bit % 8) & 63)]
            }
        }
    }

    /// What may stand next to the form and gives bits of the value away.
    fn edge(self, value: &[u8]) -> Edge {
        let Self::Base64 { lead, .. } = self else {
            return Edge::Open;
        };
        let (Some(first), Some(last)) = (value.first(), value.last()) else {
            return Edge::Open;
        };
        let left = match lead {
            0 => None,
            1 => Some(Partial {
                mask: 0b00_1111,
                bits: first >> 4,
            }),
            _ => Some(Partial {
                mask: 0b00_0011,
                bits: first >> 6,
            }),
        };
        let (right, pads) = match (lead + value.len()) % 3 {
            0 => (None, 0),
            1 => (
                Some(Partial {
                    mask: 0b11_0000,
                    bits: (last & 3) << 4,
                }),
                2,
            ),
            _ => (
                Some(Partial {
                    mask: 0b11_1100,
                    bits: (last & 15) << 2,
                }),
                1,
            ),
        };
        Edge::Base64 { left, right, pads }
    }

    fn write(self, value: &[u8], out: &mut WipedBytes) {
        out.clear();
        match self {
            Self::Raw => out.extend(value),
            Self::Hex(digits) => {
                for &byte in value {
                    out.extend(&hex_pair(digits, byte));
                }
            }
            Self::Percent(digits) => {
                for &byte in value {
                    let [high, low] = hex_pair(digits, byte);
                    out.extend(&[b'%', high, low]);
                }
            }
            Self::Base64 { alphabet, lead } => {
                // The bits of bytes that wait to be written: none of the bytes before the value.
                let (mut bits, mut count) = (0u32, 8 * lead);
                let mut skip = base64_first(lead);
                for &byte in value {
                    bits = bits << 8 | u32::from(byte);
                    count += 8;
                    while count >= 6 {
                        count -= 6;
                        if skip > 0 {
                            skip -= 1;
                        } else {
                            out.push(alphabet[(bits >> count & 63) as usize]);
                        }
                    }
                }
            }
        }
    }
}

fn hex_pair(digits: &[u8; 16], byte: u8) -> [u8; 2] {
    [
        digits[usize::from(byte >> 4)],
        digits[usize::from(byte & 15)],
    ]
}

/// Index of the first character that depends on the value only.
fn base64_first(lead: usize) -> usize {
    (lead * 8).div_ceil(6)
}

fn add_wrapped(forms: &mut Forms, secret: u32, value: &[u8], scratch: &mut WipedBytes) {
    for line_bytes in WRAPPED_LINE_BYTES {
        if value.len() <= line_bytes {
            continue;
        }
        for piece in value
            .chunks(line_bytes)
            .filter(|piece| piece.len() >= VALUE_BYTES_FULL)
        {
            let coding = Coding::Base64 {
                alphabet: BASE64,
                lead: 0,
            };
            coding.write(piece, scratch);
            forms.add_bytes(secret, scratch.as_slice(), coding.edge(piece));
        }
    }
}

/// Adds the forms that leave ordinary characters as they are.
fn add_texts(forms: &mut Forms, secret: u32, value: &[u8], scratch: &mut WipedBytes) {
    if value
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte))
    {
        return;
    }
    let is_long = value.len() > STORED_BYTES_MAX;
    for (kept, space) in PERCENT_SETS
        .iter()
        .take(if is_long { 1 } else { PERCENT_SETS.len() })
    {
        for digits in [HEX_UPPER, HEX_LOWER]
            .into_iter()
            .take(if is_long { 1 } else { 2 })
        {
            write_percent(value, kept, *space, digits, scratch);
            forms.add_bytes(secret, scratch.as_slice(), Edge::Open);
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        for escapes in JsonEscapes::all(text, is_long) {
            escapes.write(text, scratch);
            forms.add_bytes(secret, scratch.as_slice(), Edge::Open);
        }
    }
    if value.contains(&b'\'') {
        for quote in [&br"'\''"[..], br#"'"'"'"#] {
            write_requoted(value, quote, scratch);
            forms.add_bytes(secret, scratch.as_slice(), Edge::Open);
        }
    }
    if !is_long {
        write_backslashed(value, scratch);
        forms.add_bytes(secret, scratch.as_slice(), Edge::Open);
    }
}

/// Bytes that stay as they are next to letters and digits, and what a space becomes.
static PERCENT_SETS: [([bool; 256], Option<u8>); 5] = [
    // RFC 3986: all but the unreserved.
    (letters_digits_and(b"-._~"), None),
    // encodeURIComponent
    (letters_digits_and(b"-._~!*'()"), None),
    // A path.
    (letters_digits_and(b"-._~/"), None),
    // application/x-www-form-urlencoded
    (letters_digits_and(b"-._*"), Some(b'+')),
    // encodeURI
    (letters_digits_and(b"-._~!*'();,/?:@&=+$#"), None),
];

static BACKSLASH_PLAIN: [bool; 256] = letters_digits_and(b"-._/:=@%+,");

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
}

fn write_percent(
    value: &[u8],
    kept: &[bool; 256],
    space: Option<u8>,
    digits: &[u8; 16],
    out: &mut WipedBytes,
) {
    out.clear();
    for &byte in value {
        match space {
            Some(plus) if byte == b' ' => out.push(plus),
            _ if kept[usize::from(byte)] => out.push(byte),
            _ => {
                let [high, low] = hex_pair(digits, byte);
                out.extend(&[b'%', high, low]);
            }
        }
    }
}

/// Which characters a JSON writer escapes beyond those it must.
#[derive(Clone, Copy)]
struct JsonEscapes {
    slash: bool,
    html: bool,
    non_ascii: bool,
    digits: &'static [u8; 16],
}

impl JsonEscapes {
    /// The combinations that can make a difference for `text`.
    fn all(text: &str, is_long: bool) -> impl Iterator<Item = Self> {
        let either = |matters: bool| [false, true].into_iter().take(1 + usize::from(matters));
        let has_slash = !is_long && text.contains('/');
        let has_html = !is_long && text.contains(['<', '>', '&', '\'']);
        let has_hex = !text.is_ascii() || text.contains(|c: char| c.is_ascii_control()) || has_html;
        let is_ascii = text.is_ascii();
        either(has_slash).flat_map(move |slash| {
            either(has_html).flat_map(move |html| {
                either(!is_ascii).flat_map(move |non_ascii| {
                    either(has_hex && !is_long).map(move |is_upper| {
                        let digits = if is_upper { HEX_UPPER } else { HEX_LOWER };
                        Self {
                            slash,
                            html,
                            non_ascii,
                            digits,
                        }
                    })
                })
            })
        })
    }

    fn write(self, text: &str, out: &mut WipedBytes) {
        out.clear();
        for c in text.chars() {
            match c {
                '"' => out.extend(b"\\\""),
                '\\' => out.extend(b"\\\\"),
                '\n' => out.extend(b"\\n"),
                '\r' => out.extend(b"\\r"),
                '\t' => out.extend(b"\\t"),
                '\u{8}' => out.extend(b"\\b"),
                '\u{c}' => out.extend(b"\\f"),
                '/' if self.slash => out.extend(b"\\/"),
                '<' | '>' | '&' | '\'' if self.html => self.write_units(c, out),
                '\0'..='\u{1f}' => self.write_units(c, out),
                _ if self.non_ascii && !c.is_ascii() => self.write_units(c, out),
                _ => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn write_units(self, c: char, out: &mut WipedBytes) {
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.extend(b"\\u");
            for shift in [12, 8, 4, 0] {
                out.push(self.digits[usize::from(*unit >> shift & 15)]);
            }
        }
    }
}

/// What `printf %q` prints.
fn write_backslashed(value: &[u8], out: &mut WipedBytes) {
    out.clear();
    for &byte in value {
        let is_plain = BACKSLASH_PLAIN[usize::from(byte)];
        if !is_plain && byte.is_ascii_graphic() || byte == b' ' {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Writes the value as it stands within single quotes, with `quote` for each such quote.
fn write_requoted(value: &[u8], quote: &[u8], out: &mut WipedBytes) {
    out.clear();
    for &byte in value {
        match byte {
            b'\'' => out.extend(quote),
            _ => out.push(byte),
        }
    }
}

/// Writes the value with all its line ends as `line_end`.
fn write_line_ends(value: &[u8], line_end: &[u8], out: &mut WipedBytes) {
    out.clear();
    for line in value.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                out.extend(line.strip_suffix(b"\r").unwrap_or(line));
                out.extend(line_end);
            }
            None => out.extend(line),
        }
    }
}

/// Lines such as `-----BEGIN PRIVATE KEY-----` are no secrets.
fn is_armor(line: &[u8]) -> bool {
    line.starts_with(b"-----") && line.ends_with(b"-----")
}
