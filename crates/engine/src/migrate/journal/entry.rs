//! A secret of a migration, and how it stands with it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::secret::Payload;
use strongroom_core::time::Timestamp;

/// How it stands with one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nothing was done yet.
    Planned,
    /// It is about to be written, or was, and nobody has looked since.
    Writing,
    /// Written and read back.
    Verified,
    /// The target held this value already.
    Unchanged,
    /// Left out; why.
    Skipped(String),
    /// It failed; why. It is tried again when the migration is resumed.
    Failed(String),
    /// Put back as it was.
    Restored,
    /// Not put back, since somebody changed it; what was found.
    Kept(String),
}

impl State {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Writing => "writing",
            Self::Verified => "migrated",
            Self::Unchanged => "unchanged",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
            Self::Restored => "restored",
            Self::Kept(_) => "kept",
        }
    }

    /// Why, where there is something to say.
    #[must_use]
    pub fn remark(&self) -> Option<&str> {
        match self {
            Self::Skipped(why) | Self::Failed(why) | Self::Kept(why) => Some(why),
            _ => None,
        }
    }

    /// True when the target holds what the source held.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Verified | Self::Unchanged)
    }
}

/// What a target held before.
#[derive(Clone, Debug)]
pub struct Before {
    /// The value.
    pub payload: Payload,
    /// Its version.
    pub version: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The version's stages.
    pub stages: Vec<String>,
    /// When it was to expire.
    pub expires_at: Option<Timestamp>,
}

/// A version that is to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::migrate) struct Todo {
    /// The source's name for it; `None` for the current one.
    pub(in crate::migrate) version: Option<String>,
    /// Of its value.
    pub(in crate::migrate) fingerprint: [u8; 16],
}

/// One secret of a migration.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its address in the source.
    pub from: String,
    /// Its address in the target.
    pub to: String,
    /// How it stands with it.
    pub state: State,
    /// It was taken out of the source.
    pub is_cleaned: bool,
    /// Of the value that is in the target now.
    pub fingerprint: Option<[u8; 16]>,
    /// What the target held before; nothing if it held none, or none was written yet.
    pub before: Option<Before>,
    pub(in crate::migrate) todo: Vec<Todo>,
    pub(in crate::migrate) done: u32,
    /// The target's name of the version that the next write comes after.
    pub(in crate::migrate) last: Option<String>,
    /// Fingerprints of everything that was written, or may have been.
    pub(in crate::migrate) made: Vec<[u8; 16]>,
}

impl Entry {
    /// A secret that is to be moved.
    #[must_use]
    pub fn new(from: String, to: String, state: State) -> Self {
        Self {
            from,
            to,
            state,
            is_cleaned: false,
            fingerprint: None,
            before: None,
            todo: Vec::new(),
            done: 0,
            last: None,
            made: Vec::new(),
        }
    }

    /// True when nothing more is done with it by copying.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        !matches!(
            self.state,
            State::Planned | State::Writing | State::Failed(_)
        )
    }

    /// The target held the value, and it is none of ours: a rollback leaves it.
    pub(in crate::migrate) fn was_there(&mut self, fingerprint: [u8; 16]) {
        self.state = State::Unchanged;
        self.fingerprint = Some(fingerprint);
        self.todo.clear();
        self.made.clear();
    }

    /// True when the target may hold something that this migration wrote.
    #[must_use]
    pub fn may_have_written(&self) -> bool {
        !self.made.is_empty()
    }
}
