//! Versions of a secret: immutable, numbered from 1; stages are labels that move.

use serde::Deserialize;
use serde::Serialize;

use crate::secret::Shape;
use crate::time::Timestamp;

/// The stage of the version that is read by default.
pub const STAGE_CURRENT: &str = "AWSCURRENT";
/// The stage of the version before it.
pub const STAGE_PREVIOUS: &str = "AWSPREVIOUS";
/// The stage of a version being rotated in.
pub const STAGE_PENDING: &str = "AWSPENDING";

/// How a version came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Somebody set it.
    Set,
    /// It was drawn by a generator.
    Generated,
    /// It was imported; from where.
    Imported(String),
    /// An earlier version was made current again; which.
    RolledBack(u64),
    /// It was copied or moved; from where.
    Copied(String),
    /// It was rotated in.
    Rotated,
}

impl Provenance {
    /// A short phrase for tables.
    #[must_use]
    pub fn phrase(&self) -> String {
        match self {
            Self::Set => "set".into(),
            Self::Generated => "generated".into(),
            Self::Imported(from) => format!("imported from {from}"),
            Self::RolledBack(version) => format!("rolled back to v{version}"),
            Self::Copied(from) => format!("copied from {from}"),
            Self::Rotated => "rotated".into(),
        }
    }
}

/// Whether a version can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Readable.
    Live,
    /// Deleted, can be undeleted.
    Deleted {
        /// When.
        at: Timestamp,
    },
    /// Gone for good.
    Destroyed,
}

impl VersionState {
    /// The word that users read.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Deleted { .. } => "deleted",
            Self::Destroyed => "destroyed",
        }
    }
}

/// What is known about one version without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written.
    pub created: Timestamp,
    /// Whether it can be read.
    pub state: VersionState,
    /// How it came to be.
    pub provenance: Provenance,
    /// Keyed hash of its value.
    pub fingerprint: [u8; 16],
    /// What its bytes are.
    pub shape: Shape,
    /// The id AWS clients know it by.
    pub version_id: Option<String>,
    /// Its labels.
    pub stages: Vec<String>,
    /// When it is deleted by itself.
    pub delete_at: Option<Timestamp>,
}

impl VersionInfo {
    /// Its state at a time: past `delete_at` it is deleted, whether or not anybody noted it.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> VersionState {
        match (self.state, self.delete_at) {
            (VersionState::Live, Some(at)) if at <= now => VersionState::Deleted { at },
            (state, _) => state,
        }
    }
}
