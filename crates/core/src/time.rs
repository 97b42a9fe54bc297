//! Points in time and spans of it.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This point later by a span; stops at the end of time.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0.saturating_mul(1_000_000)))
    }

    /// Whole seconds from `earlier` to this point; negative when it lies later.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => f.write_str("out of range"),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(time.as_microsecond()));
        }
        if text.contains(['T', 't', ' ', ':']) {
            // A time without its zone: which moment it is cannot be told.
            return Err(ParseTimeError::Time);
        }
        let date = text
            .parse::<jiff::civil::Date>()
            .map_err(|_| ParseTimeError::Time)?;
        let zoned = date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map_err(|_| ParseTimeError::Time)?;
        Ok(Self(zoned.timestamp().as_microsecond()))
    }
}

/// A span of time in whole seconds, written `90s`, `15m`, `24h`, `30d`, `2w`, `1y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span(i64);

impl Span {
    /// A span of so many seconds.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Its length in seconds.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0
    }
}

const UNITS: [(&str, i64); 6] = [
    ("y", 365 * 86_400),
    ("w", 7 * 86_400),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
    ("s", 1),
];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days_up = [UNITS[2], UNITS[3], UNITS[4], UNITS[5]];
        for (unit, seconds) in days_up {
            if self.0 != 0 && self.0 % seconds == 0 {
                return write!(f, "{}{unit}", self.0 / seconds);
            }
        }
        write!(f, "{}s", self.0)
    }
}

impl FromStr for Span {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let digits = text.chars().take_while(char::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| ParseTimeError::Span)?;
        let (_, seconds) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or(ParseTimeError::Span)?;
        number
            .checked_mul(seconds)
            .map(Self)
            .ok_or(ParseTimeError::Span)
    }
}

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTimeError {
    /// Not a point in time.
    #[error("expected a time such as 2026-12-31 or 2026-12-31T09:00:00Z")]
    Time,
    /// Not a span.
    #[error("expected a number and a unit (s, m, h, d, w, y), such as 30d")]
    Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_parse_and_print() {
        for (text, seconds, printed) in [
            ("90s", 90, "90s"),
            ("15m", 900, "15m"),
            ("30d", 2_592_000, "30d"),
            ("2w", 1_209_600, "14d"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(
                (span.as_seconds(), span.to_string().as_str()),
                (seconds, printed)
            );
        }
        for text in [
            "",
            "d",
            "3",
            "3x",
            "-1d",
            "99999999999999999999d",
            "9223372036854775807y",
        ] {
            assert_eq!(text.parse::<Span>(), Err(ParseTimeError::Span), "{text}");
        }
    }

    #[test]
    fn times_parse_and_print() {
        let time: Timestamp = "2026-12-31".parse().unwrap();
        assert_eq!(time.to_string(), "2026-12-31T00:00:00Z");
        assert_eq!(
            "2026-12-31T09:00:00.25Z"
                .parse::<Timestamp>()
                .unwrap()
                .to_string(),
            "2026-12-31T09:00:00.25Z"
        );
        for text in ["soon", "2026-12-31T09:00:00", ""] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
