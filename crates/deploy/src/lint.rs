//! What is wrong with a bundle manifest: as its schema v0.1 says, or strictly, with everything that
//! the schema lets pass and that fails on somebody's computer.

mod meaning;
mod shape;
mod variables;

use serde_json::Value;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The bundle must not be shipped like this.
    Error,
    /// Somebody should look at it.
    Warning,
}

impl Severity {
    /// Its word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code.
    pub code: &'static str,
    /// Where, as in `$.secrets[2].format`.
    pub path: String,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// Everything that is wrong, by a strict reading.
#[must_use]
pub fn strict(manifest: &Value) -> Vec<Finding> {
    let mut findings = shape::check(manifest, shape::Reading::Strict);
    findings.extend(meaning::check(manifest));
    findings.extend(variables::check(manifest));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// What the schema v0.1 refuses, and nothing else.
#[must_use]
pub fn compat(manifest: &Value) -> Vec<Finding> {
    shape::check(manifest, shape::Reading::Schema)
}

#[cfg(test)]
mod tests;
