//! Secret paths: `/`-separated names that cannot be malformed.

use std::fmt;
use std::str::FromStr;

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 512;

/// A valid path of a secret in a store, e.g. `storefront/production/jwt/secret_key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPath(Box<str>);

impl SecretPath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that holds this secret: `""` at the top.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The last segment.
    #[must_use]
    pub fn leaf(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, leaf)| leaf)
    }

    /// This path below a folder.
    ///
    /// # Errors
    /// When the joined path is too long or the folder malformed.
    pub fn below(&self, folder: &str) -> Result<Self, ParsePathError> {
        if folder.is_empty() {
            return Ok(self.clone());
        }
        format!("{folder}/{}", self.0).parse()
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretPath {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, ParsePathError> {
        if text.is_empty() {
            return Err(ParsePathError::Empty);
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(ParsePathError::TooLong { bytes: text.len() });
        }
        for segment in text.split('/') {
            match segment {
                "" => return Err(ParsePathError::EmptySegment),
                "." | ".." => return Err(ParsePathError::DotSegment),
                _ => {}
            }
        }
        if let Some(position) = text.chars().position(is_forbidden) {
            return Err(ParsePathError::ForbiddenCharacter {
                position: position + 1,
            });
        }
        Ok(Self(text.into()))
    }
}

/// Control characters and the invisible ones that make two names look alike or turn text round.
#[must_use]
pub fn is_forbidden(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    );
    is_invisible || c.is_control()
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePathError {
    /// No text at all.
    #[error("the path is empty")]
    Empty,
    /// Over [`PATH_BYTES_MAX`].
    #[error("the path has {bytes} bytes, at most {PATH_BYTES_MAX} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// `//`, or a `/` at either end.
    #[error("the path has an empty segment (no leading, trailing or double '/')")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path has a '.' or '..' segment")]
    DotSegment,
    /// A control or invisible character.
    #[error("the path has a control or invisible character at position {position}")]
    ForbiddenCharacter {
        /// Counted in characters from 1.
        position: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&ParsePathError>) {
        assert_eq!(
            text.parse::<SecretPath>().err().as_ref(),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn well_formed_paths_parse() {
        for text in [
            "a",
            "a/b",
            "a_b",
            "jwt/secret_key",
            "ünïcode/ключ",
            "with space",
            "a.b/c..d",
        ] {
            check(text, None);
        }
        check(&"x".repeat(PATH_BYTES_MAX), None);
    }

    #[test]
    fn malformed_paths_are_refused() {
        check("", Some(&ParsePathError::Empty));
        check(
            &"x".repeat(513),
            Some(&ParsePathError::TooLong { bytes: 513 }),
        );
        for text in ["/a", "a/", "a//b", "/"] {
            check(text, Some(&ParsePathError::EmptySegment));
        }
        for text in ["..", "a/../b", "./a", "a/."] {
            check(text, Some(&ParsePathError::DotSegment));
        }
        for (text, position) in [("a\nb", 2), ("\u{1b}[0m", 1), ("ab\u{202e}c", 3), ("\0", 1)] {
            check(text, Some(&ParsePathError::ForbiddenCharacter { position }));
        }
    }

    #[test]
    fn folder_and_leaf() {
        let path: SecretPath = "a/b/c".parse().unwrap();
        assert_eq!((path.folder(), path.leaf()), ("a/b", "c"));
        let path: SecretPath = "c".parse().unwrap();
        assert_eq!((path.folder(), path.leaf()), ("", "c"));
    }
}
