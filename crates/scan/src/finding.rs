//! What was found, without the value.

use std::cmp::Ordering;

use crate::rule::Severity;

/// The rule of values that the store has.
pub const STORED: &str = "stored-secret";
/// What its findings are called.
pub const STORED_TITLE: &str = "Value of a secret in the store";

/// A secret in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// What the rule finds.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it is told.
    pub path: String,
    /// One-based line where the value begins.
    pub line: usize,
    /// One-based column in it, in characters.
    pub column: usize,
    /// The line it ends in.
    pub end_line: usize,
    /// The column behind it.
    pub end_column: usize,
    /// What stands before the value, and a mask.
    pub preview: String,
    /// The value's fingerprint under a key of the store, where there is a store.
    pub fingerprint: Option<[u8; 16]>,
    /// The secret whose value it is, where the store knows it.
    pub secret: Option<String>,
}

impl Finding {
    /// The worst first, then by place.
    #[must_use]
    pub fn by_rank(&self, other: &Self) -> Ordering {
        let key = |one: &Self| (one.severity, one.path.clone(), one.line, one.column);
        key(self).cmp(&key(other)).then(self.rule.cmp(other.rule))
    }
}
