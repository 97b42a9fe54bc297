//! The audit event: who did what to which secret, and how it ended. Never a value.

use serde::Deserialize;
use serde::Serialize;

use crate::time::Timestamp;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A value was read.
    Read,
    /// A value was written.
    Write,
    /// Versions were deleted.
    Delete,
    /// Versions were undeleted.
    Undelete,
    /// Versions were destroyed.
    Destroy,
    /// Names were listed.
    List,
    /// Metadata was changed.
    Tag,
    /// A secret was moved.
    Move,
    /// A secret was copied.
    Copy,
    /// Key slots or data keys were changed.
    Keys,
}

impl Action {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Destroy => "destroy",
            Self::List => "list",
            Self::Tag => "tag",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Keys => "keys",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was refused.
    Denied,
    /// It was allowed and did not work.
    Failed,
}

/// One audit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who: the user of the operating system, or a token's accessor.
    pub actor: String,
    /// Through which door and command, e.g. `cli run`.
    pub door: String,
    /// What was done.
    pub action: Action,
    /// To which secrets.
    pub paths: Vec<String>,
    /// Which version, where one was meant.
    pub version: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Joins the records of one request.
    pub request_id: String,
}
