//! Paths of requests, in the one form that is decided on.

use std::fmt;
use std::str::FromStr;

/// Longest path of a request, in bytes, after decoding.
pub const REQUEST_PATH_BYTES_MAX: usize = 2_048;

/// The path of a request after `/v1/`, decoded once: `secret/data/app/db`, `secret/metadata/`.
///
/// No leading `/`, no empty segment but the last, no `.` or `..`, no `\`, no control character.
/// What a policy decides on is therefore what is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestPath(Box<str>);

impl RequestPath {
    /// Decodes a path as it stands in a request line (`%2F` is `/`), once.
    ///
    /// # Errors
    /// When an escape is malformed, the bytes are no UTF-8, or the path is not canonical.
    pub fn decode(raw: &str) -> Result<Self, ParseRequestPathError> {
        if raw.len() > REQUEST_PATH_BYTES_MAX * 3 {
            return Err(ParseRequestPathError::TooLong);
        }
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let mut digit = || {
                let digit = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(digit).ok()
            };
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(ParseRequestPathError::Escape);
            };
            bytes.push(high << 4 | low);
        }
        String::from_utf8(bytes)
            .map_err(|_| ParseRequestPathError::Utf8)?
            .parse()
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RequestPath {
    type Err = ParseRequestPathError;

    /// From text that needs no decoding.
    fn from_str(text: &str) -> Result<Self, ParseRequestPathError> {
        if text.len() > REQUEST_PATH_BYTES_MAX {
            return Err(ParseRequestPathError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ParseRequestPathError::Control);
        }
        if text.contains('\\') {
            return Err(ParseRequestPathError::Backslash);
        }
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(ParseRequestPathError::EmptySegment);
            }
            // Some servers cut a segment at `;`, so that `..;` is `..` to them.
            let name = segment.split(';').next().unwrap_or(segment);
            if matches!(name, "." | "..") {
                return Err(ParseRequestPathError::Relative);
            }
        }
        Ok(Self(text.into()))
    }
}

/// Why a text is no path of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseRequestPathError {
    /// Over the limit.
    #[error("the path is longer than {REQUEST_PATH_BYTES_MAX} bytes")]
    TooLong,
    /// A `%` without two hexadecimal digits.
    #[error("the path has a malformed % escape")]
    Escape,
    /// No UTF-8.
    #[error("the path is not UTF-8")]
    Utf8,
    /// A control character.
    #[error("the path holds a control character")]
    Control,
    /// A backslash.
    #[error("the path holds a backslash")]
    Backslash,
    /// `//`, or a `/` at the start.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("relative paths not supported")]
    Relative,
}
