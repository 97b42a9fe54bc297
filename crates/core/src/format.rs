//! What a value must look like: declared types and patterns.
//!
//! A problem is worded so that it follows the name of the secret ("`PORT` is not a port
//! number") and never holds any part of the value.

mod json;
mod pattern;
mod types;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

pub use pattern::Lint;
pub use pattern::LintKind;
pub use pattern::PATTERN_CHARS_MAX;
pub use pattern::PATTERN_INPUT_BYTES_MAX;
pub use pattern::PATTERN_SIZE_BYTES_MAX;
pub use pattern::ParsePatternError;
pub use pattern::Pattern;
pub use pattern::PatternSet;
pub(crate) use pattern::Verdict;
pub(crate) use types::split_url;
pub use types::url_password;

/// A declared type of value.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ValueType {
    /// Any UTF-8 text that is not empty.
    Text,
    /// A URL of any scheme, with `://`.
    Url,
    /// A URL with scheme `https`.
    HttpsUrl,
    /// A URL with scheme `postgres` or `postgresql`.
    PostgresUrl,
    /// A URL with scheme `mysql` or `mariadb`.
    MysqlUrl,
    /// A URL with scheme `mongodb` or `mongodb+srv`.
    MongodbUrl,
    /// A URL with scheme `redis` or `rediss`.
    RedisUrl,
    /// A URL with scheme `amqp` or `amqps`.
    AmqpUrl,
    /// A mail address.
    Email,
    /// A host name or IP address.
    Hostname,
    /// A TCP port, 1 to 65535.
    Port,
    /// A whole number of 64 bits.
    Integer,
    /// true, false, 1, 0, yes, no, on or off, in any case.
    Boolean,
    /// Hexadecimal digits, with or without `0x`.
    Hex,
    /// Standard base64, with or without padding.
    Base64,
    /// URL-safe base64, with or without padding.
    Base64url,
    /// A UUID with hyphens.
    Uuid,
    /// A signed JSON web token.
    Jwt,
    /// One or more PEM blocks.
    Pem,
    /// A private key as SSH keeps it.
    SshPrivateKey,
    /// A JSON text.
    Json,
}

/// Every type with its name, in the order of the enum.
const NAMES: [(ValueType, &str); 21] = [
    (ValueType::Text, "text"),
    (ValueType::Url, "url"),
    (ValueType::HttpsUrl, "https-url"),
    (ValueType::PostgresUrl, "postgres-url"),
    (ValueType::MysqlUrl, "mysql-url"),
    (ValueType::MongodbUrl, "mongodb-url"),
    (ValueType::RedisUrl, "redis-url"),
    (ValueType::AmqpUrl, "amqp-url"),
    (ValueType::Email, "email"),
    (ValueType::Hostname, "hostname"),
    (ValueType::Port, "port"),
    (ValueType::Integer, "integer"),
    (ValueType::Boolean, "boolean"),
    (ValueType::Hex, "hex"),
    (ValueType::Base64, "base64"),
    (ValueType::Base64url, "base64url"),
    (ValueType::Uuid, "uuid"),
    (ValueType::Jwt, "jwt"),
    (ValueType::Pem, "pem"),
    (ValueType::SshPrivateKey, "ssh-private-key"),
    (ValueType::Json, "json"),
];

impl ValueType {
    /// Every type, in the order a reference lists them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(value_type, _)| value_type)
    }

    /// The name in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES
            .into_iter()
            .find(|(known, _)| *known == self)
            .map_or("text", |(_, name)| name)
    }

    /// Checks that a value is of this type.
    ///
    /// # Errors
    /// What is wrong with it, without any part of the value.
    pub fn check(self, value: &[u8]) -> Result<(), FormatProblem> {
        types::check(self, value)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ValueType {
    type Err = ParseValueTypeError;

    fn from_str(text: &str) -> Result<Self, ParseValueTypeError> {
        NAMES
            .into_iter()
            .find(|(_, name)| *name == text)
            .map(|(value_type, _)| value_type)
            .ok_or(ParseValueTypeError)
    }
}

/// There is no type of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such type; known are text, url, postgres-url, email, port, hex, base64, uuid, pem …")]
pub struct ParseValueTypeError;

/// Why a value is not what was declared: a phrase that follows the secret's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatProblem(Cow<'static, str>);

impl FormatProblem {
    const fn new(phrase: &'static str) -> Self {
        Self(Cow::Borrowed(phrase))
    }
}

/// Reads a boolean: true, false, 1, 0, yes, no, on or off, in any case.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if ["true", "1", "yes", "on"].iter().any(is) {
        return Some(true);
    }
    ["false", "0", "no", "off"].iter().any(is).then_some(false)
}

/// Checks that a value has at least `chars` characters (bytes, when it is not text).
///
/// # Errors
/// When it is shorter.
pub fn check_min_length(value: &[u8], chars: usize) -> Result<(), FormatProblem> {
    let length = std::str::from_utf8(value).map_or(value.len(), |text| text.chars().count());
    if length >= chars {
        return Ok(());
    }
    Err(FormatProblem(Cow::Owned(format!(
        "is shorter than {chars} characters"
    ))))
}

/// Checks that a value holds at least about `bits` of entropy.
///
/// # Errors
/// When the estimate is lower.
pub fn check_min_entropy(value: &[u8], bits: f64) -> Result<(), FormatProblem> {
    if entropy_bits_estimate(value) >= bits {
        return Ok(());
    }
    Err(FormatProblem(Cow::Owned(format!(
        "is easier to guess than {bits:.0} random bits"
    ))))
}

/// An upper estimate of the entropy of a value in bits.
///
/// The lower of two bounds: the Shannon entropy of its bytes times its length, corrected for
/// how few bytes it is taken from (Miller and Madow), and its length times the bits of the
/// smallest usual character set that holds it. A random value of 32 hexadecimal digits comes
/// out near 128; a repeated or very short one near nothing. It knows no words: see
/// [`crate::placeholder`] for those.
#[must_use]
pub fn entropy_bits_estimate(value: &[u8]) -> f64 {
    if value.is_empty() {
        return 0.0;
    }
    let mut counts = [0_u32; 256];
    for &byte in value {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = as_f64(value.len());
    let mut shannon = 0.0;
    let mut distinct = 0_usize;
    for count in counts.into_iter().filter(|count| *count > 0) {
        let share = f64::from(count) / length;
        shannon -= share * share.log2();
        distinct += 1;
    }
    if distinct == 1 {
        return 0.0;
    }
    let correction = as_f64(distinct - 1) / (2.0 * length) * std::f64::consts::LOG2_E;
    let per_byte = (shannon + correction).min(charset_bits(value));
    per_byte * length
}

/// Bits a character of the smallest usual character set that holds all bytes of a value.
fn charset_bits(value: &[u8]) -> f64 {
    let all = |test: fn(&u8) -> bool| value.iter().all(test);
    let lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let upper_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    let size: f64 = if all(u8::is_ascii_digit) {
        10.0
    } else if all(lower_hex) || all(upper_hex) {
        16.0
    } else if all(u8::is_ascii_hexdigit) {
        22.0
    } else if all(u8::is_ascii_lowercase) || all(u8::is_ascii_uppercase) {
        26.0
    } else if all(u8::is_ascii_alphanumeric) {
        62.0
    } else if all(u8::is_ascii_graphic) {
        94.0
    } else {
        256.0
    };
    size.log2()
}

/// A length as a float; lengths here are far below where that loses anything.
fn as_f64(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests;
