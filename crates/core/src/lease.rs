//! How long tokens and leases live: arithmetic only. Time comes in as a parameter.
//!
//! - [`Limits`]: default and longest TTL of the system or of a mount. A mount's own limits are
//!   put on the system's with [`Limits::within`].
//! - [`Terms`]: what a role or a request asks for: TTL, max TTL, explicit max TTL, period.
//! - [`Lease::issue`] and [`Lease::renew`] answer with the lease and, where something was cut
//!   short, a [`Capped`], whose text is the warning that Vault gives.
//! - [`parse_duration`] reads what Vault reads; [`format_duration`] (`1h0m0s`) and
//!   [`format_short`] (`1h`) write what Vault writes.
//!
//! No lease ends later than its issue plus the longest TTL that applies, whenever and however
//! often it is renewed; a periodic one ends at most one period after its last renewal, and never
//! after its explicit max TTL. A lease that has ended cannot be renewed, from the very microsecond
//! of its end. A clock that steps back lengthens nothing.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::time::Span;
use crate::time::Timestamp;

/// Default and longest TTL of a system that sets none: 32 days.
pub const SYSTEM_TTL: Span = Span::from_seconds(32 * 86_400);

/// Default and longest TTL at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    default_ttl: Span,
    max_ttl: Span,
}

impl Limits {
    /// The system's limits; a span that is not positive stands for 32 days.
    #[must_use]
    pub fn system(default_ttl: Span, max_ttl: Span) -> Self {
        let max_ttl = positive(max_ttl).unwrap_or(SYSTEM_TTL);
        let default_ttl = positive(default_ttl).unwrap_or(SYSTEM_TTL).min(max_ttl);
        Self {
            default_ttl,
            max_ttl,
        }
    }

    /// A mount's limits: its own where they are set, else these.
    #[must_use]
    pub fn within(self, default_ttl: Option<Span>, max_ttl: Option<Span>) -> Self {
        let max_ttl = max_ttl.and_then(positive).unwrap_or(self.max_ttl);
        let default_ttl = default_ttl.and_then(positive).unwrap_or(self.default_ttl);
        Self {
            default_ttl: default_ttl.min(max_ttl),
            max_ttl,
        }
    }

    /// The TTL where none is asked for.
    #[must_use]
    pub fn default_ttl(self) -> Span {
        self.default_ttl
    }

    /// The longest TTL.
    #[must_use]
    pub fn max_ttl(self) -> Span {
        self.max_ttl
    }
}

/// What is asked for. A span that is not positive stands for nothing asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// From one renewal to the next, unless the renewal asks for another time.
    pub ttl: Span,
    /// A role's own longest TTL; it can only shorten the mount's.
    pub max_ttl: Span,
    /// Ends a lease whatever else is said, periodic ones too.
    pub explicit_max_ttl: Span,
    /// Makes a lease that may be renewed for ever, by this much at a time.
    pub period: Span,
}

impl Terms {
    /// Nothing asked.
    pub const NONE: Self = Self {
        ttl: Span::from_seconds(0),
        max_ttl: Span::from_seconds(0),
        explicit_max_ttl: Span::from_seconds(0),
        period: Span::from_seconds(0),
    };
}

/// A lease's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// When it was first given.
    pub issued_at: Timestamp,
    /// When it was last renewed, at first its issue.
    pub renewed_at: Timestamp,
    /// From here on it is void.
    pub expires_at: Timestamp,
}

impl Lease {
    /// A new lease.
    #[must_use]
    pub fn issue(limits: Limits, terms: Terms, now: Timestamp) -> (Self, Option<Capped>) {
        Self::until(limits, terms, now, None, now)
    }

    /// The lease after a renewal; `increment` is the time that the renewal asks for.
    ///
    /// # Errors
    /// When it has ended.
    pub fn renew(
        self,
        limits: Limits,
        terms: Terms,
        increment: Option<Span>,
        now: Timestamp,
    ) -> Result<(Self, Option<Capped>), LeaseExpired> {
        // Time has been this far already, whatever the clock says now.
        let now = now.max(self.renewed_at);
        if self.is_expired(now) {
            return Err(LeaseExpired);
        }
        Ok(Self::until(limits, terms, self.issued_at, increment, now))
    }

    fn until(
        limits: Limits,
        terms: Terms,
        issued_at: Timestamp,
        increment: Option<Span>,
        now: Timestamp,
    ) -> (Self, Option<Capped>) {
        let max_ttl = positive(terms.max_ttl).map_or(limits.max_ttl, |own| own.min(limits.max_ttl));
        let explicit_end = positive(terms.explicit_max_ttl).map(|max| issued_at.plus(max));
        let (what, asked, end) = match positive(terms.period) {
            Some(period) => (Asked::Period, period, now.plus(max_ttl)),
            None => {
                let asked = increment.and_then(positive).or_else(|| positive(terms.ttl));
                let asked = asked.unwrap_or(limits.default_ttl);
                (Asked::Ttl, asked, issued_at.plus(max_ttl))
            }
        };
        let end = explicit_end.map_or(end, |explicit| explicit.min(end));
        let capped = (now.plus(asked) > end).then(|| Capped {
            what,
            asked,
            effective_max: Span::from_seconds(end.seconds_since(now).max(0)),
        });
        let lease = Self {
            issued_at,
            renewed_at: now,
            expires_at: now.plus(asked).min(end),
        };
        (lease, capped)
    }

    /// True from its end on.
    #[must_use]
    pub fn is_expired(self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// Whole seconds that are left; none once it has ended, and never more than it was given for.
    #[must_use]
    pub fn remaining(self, now: Timestamp) -> Span {
        let now = now.max(self.renewed_at);
        Span::from_seconds(self.expires_at.seconds_since(now).max(0))
    }

    /// Whole seconds that it was last given for: Vault's `lease_duration`.
    #[must_use]
    pub fn duration(self) -> Span {
        Span::from_seconds(self.expires_at.seconds_since(self.renewed_at).max(0))
    }
}

fn positive(span: Span) -> Option<Span> {
    Some(span).filter(|span| span.as_seconds() > 0)
}

/// The lease had ended before the renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease has expired")]
pub struct LeaseExpired;

/// Less was given than was asked for. Its text is Vault's warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capped {
    what: Asked,
    asked: Span,
    effective_max: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Ttl,
    Period,
}

impl fmt::Display for Capped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Asked::Ttl => "TTL",
            Asked::Period => "period",
        };
        let asked = format_short(self.asked);
        let max = format_short(self.effective_max);
        write!(
            f,
            "{what} of \"{asked}\" exceeded the effective max_ttl of \"{max}\"; \
             {what} value is capped accordingly"
        )
    }
}

/// Reads a time as Vault does: `30m`, `1h30m`, `1.5h`, `7d`, and bare numbers as seconds; nothing
/// is no time. A part of a second counts as a whole one, so that no positive time becomes none.
///
/// # Errors
/// For any other text, for negative times and for more than 290 years.
pub fn parse_duration(text: &str) -> Result<Span, ParseDurationError> {
    if text.is_empty() {
        return Ok(Span::from_seconds(0));
    }
    if let Some(days) = text.strip_suffix('d') {
        return whole(days)?
            .checked_mul(86_400)
            .and_then(in_range)
            .ok_or(ParseDurationError::TooLong);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return in_range(whole(text)?).ok_or(ParseDurationError::TooLong);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(ParseDurationError::Negative);
    }
    if rest == "0" {
        return Ok(Span::from_seconds(0));
    }
    let mut micros: i64 = 0;
    loop {
        let (part, next) = parse_part(rest)?;
        micros = micros
            .checked_add(part)
            .ok_or(ParseDurationError::TooLong)?;
        if next.is_empty() {
            break;
        }
        rest = next;
    }
    let seconds = micros / 1_000_000 + i64::from(micros % 1_000_000 != 0);
    in_range(seconds).ok_or(ParseDurationError::TooLong)
}

/// Longest time that is read; Vault's own limit, which is 2^63 nanoseconds.
const DURATION_SECONDS_MAX: i64 = 9_223_372_036;

fn in_range(seconds: i64) -> Option<Span> {
    (seconds <= DURATION_SECONDS_MAX).then(|| Span::from_seconds(seconds))
}

fn whole(text: &str) -> Result<i64, ParseDurationError> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if text.starts_with('-') {
        return Err(ParseDurationError::Negative);
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseDurationError::Malformed);
    }
    digits.parse().map_err(|_| ParseDurationError::TooLong)
}

/// One number with its unit, in microseconds (rounded up), and what follows it.
fn parse_part(text: &str) -> Result<(i64, &str), ParseDurationError> {
    let is_digit = |c: char| c.is_ascii_digit();
    let number_end = text
        .find(|c| !is_digit(c) && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c| is_digit(c) || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let &(_, nanos) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(ParseDurationError::Malformed)?;
    let (whole_part, fraction) = number.split_once('.').unwrap_or((number, ""));
    let has_digits = !whole_part.is_empty() || !fraction.is_empty();
    if !has_digits || fraction.contains('.') {
        return Err(ParseDurationError::Malformed);
    }
    let whole_part: i128 = match whole_part {
        "" => 0,
        digits => digits.parse().map_err(|_| ParseDurationError::TooLong)?,
    };
    // More digits than these are below a nanosecond.
    let fraction = fraction.get(..FRACTION_DIGITS).unwrap_or(fraction);
    let scale = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or_default());
    let fraction: i128 = match fraction {
        "" => 0,
        digits => digits.parse().map_err(|_| ParseDurationError::Malformed)?,
    };
    let nanos = whole_part
        .checked_mul(nanos)
        .and_then(|whole| whole.checked_add((fraction * nanos).div_euclid(scale)))
        .ok_or(ParseDurationError::TooLong)?;
    let micros = nanos.div_euclid(1_000) + i128::from(nanos % 1_000 != 0);
    let micros = i64::try_from(micros).map_err(|_| ParseDurationError::TooLong)?;
    Ok((micros, rest))
}

const FRACTION_DIGITS: usize = 16;

/// Units in nanoseconds.
const UNITS: [(&str, i128); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ns", 1),
];

/// Why a text is no time that Vault would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseDurationError {
    /// Not a time.
    #[error("expected a time such as 30m, 24h, 7d or a number of seconds")]
    Malformed,
    /// Below zero.
    #[error("a time cannot be negative")]
    Negative,
    /// Out of range.
    #[error("the time is longer than 290 years")]
    TooLong,
}

/// `1h30m0s`, `30m0s`, `5s`, `0s`.
#[must_use]
pub fn format_duration(span: Span) -> String {
    let (hours, minutes, seconds) = split(span);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `1h30m`, `30m`, `5s`, `0s`: without the zeros at the end.
#[must_use]
pub fn format_short(span: Span) -> String {
    let (hours, minutes, seconds) = split(span);
    match (hours, minutes, seconds) {
        (_, 0, 0) if hours != 0 => format!("{hours}h"),
        (0, _, 0) if minutes != 0 => format!("{minutes}m"),
        (_, _, 0) if hours != 0 => format!("{hours}h{minutes}m"),
        _ => format_duration(span),
    }
}

fn split(span: Span) -> (i64, i64, i64) {
    let seconds = span.as_seconds();
    (seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests;
