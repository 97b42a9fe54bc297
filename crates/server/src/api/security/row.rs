//! A weak place: a secret that stands in a file.

use serde_json::Value;
use serde_json::json;

use super::OPEN;

/// How bad it is; the order is that of the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Severity {
    Critical,
    High,
    Medium,
    Low,
}

impl Severity {
    pub(in super::super) const ALL: [Self; 4] =
        [Self::Critical, Self::High, Self::Medium, Self::Low];

    pub(in super::super) fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    pub(super) fn of_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|severity| severity.word().eq_ignore_ascii_case(word))
    }

    /// What one adds to the risk.
    pub(super) fn weight(self) -> usize {
        match self {
            Self::Critical => 25,
            Self::High => 15,
            Self::Medium => 8,
            Self::Low => 3,
        }
    }

    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Critical => "replace these values now: whoever has the file can use them",
            Self::High => "replace these values, and take them out of the files",
            Self::Medium => "look whether these are secrets, and move those that are to the store",
            Self::Low => "move these to the store when you come by",
        }
    }
}

/// One weak place, as it is kept.
#[derive(Clone, Debug)]
pub(in super::super) struct Row {
    pub(super) id: String,
    /// The scanner's rule.
    pub(super) kind: String,
    pub(super) title: String,
    pub(in super::super) severity: Severity,
    pub(super) path: String,
    pub(super) line: u64,
    column: u64,
    /// Under a key of the store of whoever scanned.
    pub(super) fingerprint: Option<String>,
    pub(super) status: String,
    pub(super) assigned_to: Option<String>,
    first_observed: String,
    pub(super) last_observed: String,
    pub(super) resolved: Option<String>,
}

impl Row {
    /// One that nobody has seen before.
    pub(super) fn fresh(
        id: String,
        (kind, title, severity): (&str, &str, Severity),
        (path, line, column): (&str, u64, u64),
        fingerprint: Option<String>,
        now: &str,
    ) -> Self {
        Self {
            id,
            kind: kind.to_owned(),
            title: title.to_owned(),
            severity,
            path: path.to_owned(),
            line,
            column,
            fingerprint,
            status: "open".to_owned(),
            assigned_to: None,
            first_observed: now.to_owned(),
            last_observed: now.to_owned(),
            resolved: None,
        }
    }

    pub(super) fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Some(Self {
            id: text("id")?,
            kind: text("type")?,
            title: text("title")?,
            severity: Severity::of_word(value["severity"].as_str()?)?,
            path: text("file")?,
            line: value["line"].as_u64()?,
            column: value["column"].as_u64()?,
            fingerprint: text("fingerprint"),
            status: text("status")?,
            assigned_to: text("assigned_to"),
            first_observed: text("first_observed_at")?,
            last_observed: text("last_observed_at")?,
            resolved: text("resolved_at"),
        })
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "severity": self.severity.word(),
            "type": self.kind,
            "title": self.title,
            "file": self.path,
            "line": self.line,
            "column": self.column,
            "fingerprint": self.fingerprint,
            "status": self.status,
            "assigned_to": self.assigned_to,
            "first_observed_at": self.first_observed,
            "last_observed_at": self.last_observed,
            "resolved_at": self.resolved,
        })
    }

    pub(in super::super) fn is_open(&self) -> bool {
        OPEN.contains(&self.status.as_str())
    }

    pub(super) fn set_status(&mut self, status: &str, now: &str) {
        status.clone_into(&mut self.status);
        self.resolved = (status == "resolved").then(|| now.to_owned());
    }

    /// It is there again: where it stands now counts.
    pub(super) fn see(&mut self, seen: &Self) {
        self.severity = seen.severity;
        self.title.clone_from(&seen.title);
        (self.line, self.column) = (seen.line, seen.column);
        self.last_observed.clone_from(&seen.last_observed);
        if self.status == "resolved" {
            self.set_status("regressed", &seen.last_observed);
        }
    }
}
