//! The declaration of a generator, as written in a manifest.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;

/// Longest generated value, in characters (of `bytes`: before encoding).
pub const LENGTH_CHARS_MAX: u16 = 4_096;
/// Fewest distinct characters of a literal alphabet, unless a shorter one is allowed.
const ALPHABET_CHARS_MIN: usize = 10;
/// Length when none is given, in characters.
const LENGTH_DEFAULT: u16 = 32;
/// Words of a passphrase when no number is given: 128 bits.
const WORDS_DEFAULT: u16 = 8;
/// Most words of a passphrase.
const WORDS_MAX: u16 = 64;
/// Symbols in a password when none are given: none that a shell or URL reads differently.
const SYMBOLS_DEFAULT: &str = "-_.!*+=,:@%^~";

/// How a value is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "RawGenerator", into = "RawGenerator")]
#[non_exhaustive]
pub enum GeneratorSpec {
    /// Characters of a set, each drawn by itself.
    Random {
        /// How many characters.
        length: u16,
        /// From which set.
        charset: Charset,
    },
    /// A UUID of version 4.
    Uuid,
    /// Random bytes in standard base64, padded.
    Base64 {
        /// How many bytes.
        bytes: u16,
    },
    /// Random bytes in URL-safe base64.
    Base64url {
        /// How many bytes.
        bytes: u16,
        /// Whether `=` pads the end.
        padding: bool,
    },
    /// Hexadecimal digits, lower case.
    Hex {
        /// How many digits.
        length: u16,
    },
    /// The present time (RFC 3339, whole seconds, UTC). Not a secret.
    Timestamp,
    /// Characters of several classes, at least one of each.
    Password {
        /// How many characters.
        length: u16,
        /// Which classes.
        classes: BTreeSet<CharClass>,
        /// The characters of the class of symbols.
        symbols: String,
    },
    /// Pronounceable made-up words of five letters, 16 bits each.
    Passphrase {
        /// How many words.
        words: u16,
        /// What stands between them.
        separator: String,
    },
}

impl Default for GeneratorSpec {
    fn default() -> Self {
        Self::Random {
            length: LENGTH_DEFAULT,
            charset: Charset::Alnum,
        }
    }
}

/// A set of characters to draw from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Charset {
    /// a-z, A-Z, 0-9.
    Alnum,
    /// a-z, A-Z.
    Alpha,
    /// a-z.
    Lower,
    /// A-Z.
    Upper,
    /// 0-9.
    Digits,
    /// 0-9, a-f.
    Hex,
    /// The base64 alphabet, with `+` and `/`.
    Base64,
    /// The URL-safe base64 alphabet, with `-` and `_`.
    Base64url,
    /// All printable ASCII characters but the space.
    Ascii,
    /// The characters themselves.
    Literal(String),
}

/// Names of character sets.
const CHARSETS: [(&str, Charset); 11] = [
    ("alnum", Charset::Alnum),
    ("alphanumeric", Charset::Alnum),
    ("alpha", Charset::Alpha),
    ("lower", Charset::Lower),
    ("upper", Charset::Upper),
    ("digits", Charset::Digits),
    ("numeric", Charset::Digits),
    ("hex", Charset::Hex),
    ("base64", Charset::Base64),
    ("base64url", Charset::Base64url),
    ("ascii", Charset::Ascii),
];

impl Charset {
    fn parse(text: &str, allow_short: bool) -> Result<Self, ParseGeneratorError> {
        if let Some((_, known)) = CHARSETS.into_iter().find(|(name, _)| *name == text) {
            return Ok(known);
        }
        let distinct: BTreeSet<char> = text.chars().collect();
        if distinct.len() < 2 || (distinct.len() < ALPHABET_CHARS_MIN && !allow_short) {
            return Err(ParseGeneratorError::ShortCharset {
                distinct: distinct.len(),
            });
        }
        if distinct.iter().any(|c| c.is_control()) {
            return Err(ParseGeneratorError::ControlCharacter);
        }
        Ok(Self::Literal(distinct.into_iter().collect()))
    }

    fn name(&self) -> &str {
        match self {
            Self::Literal(alphabet) => alphabet,
            known => CHARSETS
                .iter()
                .find(|(_, set)| set == known)
                .map_or("alnum", |(name, _)| name),
        }
    }

    /// The distinct characters, in order.
    #[must_use]
    pub fn chars(&self) -> Vec<char> {
        let of = |ranges: &[(char, char)], extra: &str| -> Vec<char> {
            ranges
                .iter()
                .flat_map(|(first, last)| *first..=*last)
                .chain(extra.chars())
                .collect()
        };
        let alnum = [('A', 'Z'), ('a', 'z'), ('0', '9')];
        match self {
            Self::Alnum => of(&alnum, ""),
            Self::Alpha => of(&alnum[..2], ""),
            Self::Lower => of(&alnum[1..2], ""),
            Self::Upper => of(&alnum[..1], ""),
            Self::Digits => of(&alnum[2..], ""),
            Self::Hex => of(&[('0', '9'), ('a', 'f')], ""),
            Self::Base64 => of(&alnum, "+/"),
            Self::Base64url => of(&alnum, "-_"),
            Self::Ascii => of(&[('!', '~')], ""),
            Self::Literal(alphabet) => alphabet.chars().collect(),
        }
    }
}

/// A class of characters in a password.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CharClass {
    /// a-z.
    Lower,
    /// A-Z.
    Upper,
    /// 0-9.
    Digits,
    /// Symbols.
    Symbols,
}

/// A generator with its keys as written: `{ type = "random", length = 64, charset = "alnum" }`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGenerator {
    /// random (the default), uuid, base64, base64url, hex, timestamp, password or passphrase.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Characters of the value, 1 to 4096; 32 when absent.
    #[serde(
        default,
        deserialize_with = "whole",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "whole_schema")]
    pub length: Option<u16>,
    /// For base64, base64url and hex: random bytes before encoding, instead of `length`.
    #[serde(
        default,
        deserialize_with = "whole",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "whole_schema")]
    pub bytes: Option<u16>,
    /// For random: alnum, alpha, lower, upper, digits, hex, base64, base64url, ascii, or the
    /// characters themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Allows a literal charset of fewer than ten distinct characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_short_charset: Option<bool>,
    /// For base64url: pads the end with `=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<bool>,
    /// For password: lower, upper, digits, symbols; the first three when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<BTreeSet<CharClass>>,
    /// For password: which symbols; turns the class of symbols on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<String>,
    /// For passphrase: how many words, 8 when absent.
    #[serde(
        default,
        deserialize_with = "whole",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "whole_schema")]
    pub words: Option<u16>,
    /// For passphrase: what stands between words, `-` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
}

impl TryFrom<RawGenerator> for GeneratorSpec {
    type Error = ParseGeneratorError;

    fn try_from(raw: RawGenerator) -> Result<Self, ParseGeneratorError> {
        let kind = raw.kind.clone().unwrap_or_else(|| "random".to_owned());
        let length = raw.length.unwrap_or(LENGTH_DEFAULT);
        let allowed: &[&str] = match kind.as_str() {
            "random" => &["length", "charset", "allow_short_charset"],
            "hex" | "base64" => &["length", "bytes"],
            "base64url" => &["length", "bytes", "padding"],
            "password" => &["length", "classes", "symbols"],
            "passphrase" => &["words", "separator"],
            "uuid" | "timestamp" => &[],
            _ => return Err(ParseGeneratorError::UnknownType { kind }),
        };
        if let Some(key) = raw.keys().find(|key| !allowed.contains(key)) {
            return Err(ParseGeneratorError::NotForType { key, kind });
        }
        if raw.length.is_some() && raw.bytes.is_some() {
            return Err(ParseGeneratorError::LengthAndBytes);
        }
        Ok(match kind.as_str() {
            "uuid" => Self::Uuid,
            "timestamp" => Self::Timestamp,
            "hex" => match raw.bytes {
                Some(bytes) if bytes > LENGTH_CHARS_MAX / 2 => {
                    return Err(ParseGeneratorError::TooLong {
                        bytes: LENGTH_CHARS_MAX / 2,
                    });
                }
                Some(bytes) => Self::Hex { length: bytes * 2 },
                None => Self::Hex { length },
            },
            "base64" => Self::Base64 {
                bytes: base64_bytes(raw.bytes, length, true)?,
            },
            "base64url" => {
                let padding = raw.padding.unwrap_or(false);
                Self::Base64url {
                    bytes: base64_bytes(raw.bytes, length, padding)?,
                    padding,
                }
            }
            "password" => password(raw, length)?,
            "passphrase" => {
                let words = raw.words.unwrap_or(WORDS_DEFAULT);
                let separator = raw.separator.unwrap_or_else(|| "-".to_owned());
                if words > WORDS_MAX {
                    return Err(ParseGeneratorError::TooManyWords);
                }
                if separator.chars().count() > 8 || separator.chars().any(char::is_control) {
                    return Err(ParseGeneratorError::ControlCharacter);
                }
                Self::Passphrase { words, separator }
            }
            _ => {
                let charset = raw.charset.as_deref().unwrap_or("alnum");
                let allow_short = raw.allow_short_charset.unwrap_or(false);
                Self::Random {
                    length,
                    charset: Charset::parse(charset, allow_short)?,
                }
            }
        })
    }
}

/// Bytes whose base64 is as long as asked.
fn base64_bytes(
    bytes: Option<u16>,
    length: u16,
    padding: bool,
) -> Result<u16, ParseGeneratorError> {
    let bytes_max = LENGTH_CHARS_MAX / 4 * 3;
    match bytes {
        Some(bytes) if bytes > bytes_max => Err(ParseGeneratorError::TooLong { bytes: bytes_max }),
        Some(bytes) => Ok(bytes),
        None if length.is_multiple_of(4) => Ok(length / 4 * 3),
        None if padding || length % 4 == 1 => Err(ParseGeneratorError::NotBase64Length { length }),
        None => Ok(length / 4 * 3 + length % 4 - 1),
    }
}

fn password(raw: RawGenerator, length: u16) -> Result<GeneratorSpec, ParseGeneratorError> {
    let usual = [CharClass::Lower, CharClass::Upper, CharClass::Digits];
    let mut classes = raw.classes.unwrap_or_else(|| usual.into());
    if raw.symbols.is_some() {
        classes.insert(CharClass::Symbols);
    }
    let symbols = raw.symbols.unwrap_or_else(|| SYMBOLS_DEFAULT.to_owned());
    let distinct: BTreeSet<char> = symbols.chars().collect();
    let is_symbol = |c: &char| !c.is_ascii_alphanumeric() && !c.is_control();
    if distinct.is_empty() || !distinct.iter().all(is_symbol) {
        return Err(ParseGeneratorError::Symbols);
    }
    if classes.is_empty() || usize::from(length) < classes.len() {
        return Err(ParseGeneratorError::TooShortForClasses {
            classes: classes.len(),
        });
    }
    Ok(GeneratorSpec::Password {
        length,
        classes,
        symbols: distinct.into_iter().collect(),
    })
}

impl RawGenerator {
    /// The keys that are written, but for `type`.
    fn keys(&self) -> impl Iterator<Item = &'static str> {
        [
            ("length", self.length.is_some()),
            ("bytes", self.bytes.is_some()),
            ("charset", self.charset.is_some()),
            ("allow_short_charset", self.allow_short_charset.is_some()),
            ("padding", self.padding.is_some()),
            ("classes", self.classes.is_some()),
            ("symbols", self.symbols.is_some()),
            ("words", self.words.is_some()),
            ("separator", self.separator.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, written)| written.then_some(key))
    }
}

impl From<GeneratorSpec> for RawGenerator {
    fn from(spec: GeneratorSpec) -> Self {
        let of = |kind: &str| Self {
            kind: Some(kind.to_owned()),
            ..Self::default()
        };
        match spec {
            GeneratorSpec::Random { length, charset } => {
                let short = matches!(&charset, Charset::Literal(alphabet)
                    if alphabet.chars().count() < ALPHABET_CHARS_MIN);
                Self {
                    length: Some(length),
                    charset: Some(charset.name().to_owned()),
                    allow_short_charset: short.then_some(true),
                    ..of("random")
                }
            }
            GeneratorSpec::Uuid => of("uuid"),
            GeneratorSpec::Base64 { bytes } => Self {
                bytes: Some(bytes),
                ..of("base64")
            },
            GeneratorSpec::Base64url { bytes, padding } => Self {
                bytes: Some(bytes),
                padding: Some(padding),
                ..of("base64url")
            },
            GeneratorSpec::Hex { length } => Self {
                length: Some(length),
                ..of("hex")
            },
            GeneratorSpec::Timestamp => of("timestamp"),
            GeneratorSpec::Password {
                length,
                classes,
                symbols,
            } => Self {
                length: Some(length),
                symbols: classes.contains(&CharClass::Symbols).then_some(symbols),
                classes: Some(classes),
                ..of("password")
            },
            GeneratorSpec::Passphrase { words, separator } => Self {
                words: Some(words),
                separator: Some(separator),
                ..of("passphrase")
            },
        }
    }
}

impl JsonSchema for GeneratorSpec {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Generator")
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        RawGenerator::json_schema(generator)
    }
}

/// A whole number from 1 to 4096, or the same as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Whole {
    Number(i64),
    Text(String),
    Fraction(f64),
    Other(serde::de::IgnoredAny),
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let number = match Whole::deserialize(deserializer)? {
        Whole::Number(number) => number,
        Whole::Text(text) => match text.parse::<i64>() {
            Ok(number) => number,
            Err(_) => return Err(D::Error::custom("expected a whole number")),
        },
        Whole::Fraction(number) => {
            return Err(D::Error::custom(format!(
                "expected a whole number, not {number}"
            )));
        }
        Whole::Other(_) => return Err(D::Error::custom("expected a whole number")),
    };
    match u16::try_from(number) {
        Ok(length @ 1..=LENGTH_CHARS_MAX) => Ok(Some(length)),
        _ => Err(D::Error::custom(format!(
            "expected a number from 1 to {LENGTH_CHARS_MAX}, not {number}"
        ))),
    }
}

fn whole_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": LENGTH_CHARS_MAX },
            { "type": "string", "pattern": "^[0-9]{1,4}$" }
        ]
    })
}

/// Why a declaration is no generator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseGeneratorError {
    /// No generator has this name.
    #[error(
        "unknown generator type `{kind}`; known are random, uuid, base64, base64url, hex, \
         timestamp, password and passphrase"
    )]
    UnknownType {
        /// The name.
        kind: String,
    },
    /// The key belongs to another type of generator.
    #[error("`{key}` means nothing for the generator type {kind}")]
    NotForType {
        /// The key.
        key: &'static str,
        /// The type.
        kind: String,
    },
    /// Both are given.
    #[error("give either `length` (characters) or `bytes`, not both")]
    LengthAndBytes,
    /// No base64 text has this length.
    #[error("no base64 text has {length} characters; use a multiple of 4, or give `bytes`")]
    NotBase64Length {
        /// The length.
        length: u16,
    },
    /// The encoded value would be longer than allowed.
    #[error("at most {bytes} bytes can be generated here")]
    TooLong {
        /// How many can.
        bytes: u16,
    },
    /// More words than allowed.
    #[error("a passphrase has at most {WORDS_MAX} words")]
    TooManyWords,
    /// A literal alphabet that is probably a misspelt name.
    #[error(
        "the charset is no known name, and as an alphabet it has only {distinct} distinct \
         characters; ten are needed, or two with allow_short_charset = true"
    )]
    ShortCharset {
        /// How many it has.
        distinct: usize,
    },
    /// Control characters in a charset or separator.
    #[error("the charset or separator holds control characters or is too long")]
    ControlCharacter,
    /// Symbols that are none.
    #[error("`symbols` must hold characters that are neither letters nor digits")]
    Symbols,
    /// Not every class would have a place.
    #[error("the password is too short to hold one character of each of {classes} classes")]
    TooShortForClasses {
        /// How many classes.
        classes: usize,
    },
}
