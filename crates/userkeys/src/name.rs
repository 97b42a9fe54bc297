//! Whose key it is, and what it is called.

use std::fmt;

use crate::error::UserKeysError;

/// Longest id of a user, in bytes.
pub(crate) const USER_BYTES_MAX: usize = 256;
/// Longest name of a key, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// A user of the application, as its table has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(String);

/// What a key is called: `anthropic/api_key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl UserId {
    /// Reads one.
    ///
    /// # Errors
    /// When it is empty, too long or holds control characters.
    pub fn parse(text: &str) -> Result<Self, UserKeysError> {
        check("the user's id", text, USER_BYTES_MAX)?;
        Ok(Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyName {
    /// Reads one.
    ///
    /// # Errors
    /// When it is empty, too long or holds control characters.
    pub fn parse(text: &str) -> Result<Self, UserKeysError> {
        check("the key's name", text, NAME_BYTES_MAX)?;
        Ok(Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a table has it whose names are flat: `anthropic_api_key`.
    pub(crate) fn in_column(&self, is_flat: bool) -> String {
        match is_flat {
            true => self.0.replace('/', "_"),
            false => self.0.clone(),
        }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(what: &'static str, text: &str, bytes_max: usize) -> Result<(), UserKeysError> {
    let problem = match text {
        "" => "is empty".to_owned(),
        text if text.len() > bytes_max => format!("is longer than {bytes_max} bytes"),
        text if text.chars().any(char::is_control) => "holds control characters".to_owned(),
        _ => return Ok(()),
    };
    Err(UserKeysError::BadName { what, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_bounds() {
        assert!(UserId::parse(&"u".repeat(USER_BYTES_MAX)).is_ok());
        assert!(UserId::parse(&"u".repeat(USER_BYTES_MAX + 1)).is_err());
        assert!(KeyName::parse(&"k".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(KeyName::parse(&"k".repeat(NAME_BYTES_MAX + 1)).is_err());
        for bad in ["", "a\0b", "a\nb"] {
            assert!(UserId::parse(bad).is_err(), "{bad:?}");
            assert!(KeyName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
