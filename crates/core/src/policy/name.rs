//! Names of policies.

use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// The name of a policy: trimmed and in lower case, whatever was typed, so that there is one
/// spelling of each and `root` has no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Box<str>);

impl PolicyName {
    /// The policy that may do everything and has no text.
    #[must_use]
    pub fn root() -> Self {
        Self("root".into())
    }

    /// The policy that every token has unless it is told not to.
    #[must_use]
    pub fn default_policy() -> Self {
        Self("default".into())
    }

    /// The policy of wrapping tokens.
    #[must_use]
    pub fn response_wrapping() -> Self {
        Self("response-wrapping".into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `root`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "root"
    }

    /// True if a policy of this name can be neither written nor deleted.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(&*self.0, "root" | "response-wrapping")
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PolicyName {
    type Err = ParsePolicyNameError;

    fn from_str(text: &str) -> Result<Self, ParsePolicyNameError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(ParsePolicyNameError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ParsePolicyNameError::Control);
        }
        // Trimmed last as well: lower case is what is compared from here on.
        let name = text.trim().to_lowercase();
        let name = name.trim();
        if name.is_empty() {
            return Err(ParsePolicyNameError::Empty);
        }
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(ParsePolicyNameError::Path);
        }
        Ok(Self(name.into()))
    }
}

/// Why a text is no name of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePolicyNameError {
    /// Nothing in it.
    #[error("the name of the policy is empty")]
    Empty,
    /// Over 256 bytes.
    #[error("the name of the policy is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A control character.
    #[error("the name of the policy holds a control character")]
    Control,
    /// An empty part, `.` or `..`.
    #[error("the name of the policy has a part that is empty, `.` or `..`")]
    Path,
}
