//! What only AWS clients say of a secret. It is kept with the secret, and goes with it.

use serde::Deserialize;
use serde::Serialize;

use crate::time::Timestamp;

/// The facts about one secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsFacts {
    /// The key it is said to be encrypted with: an attribute, nothing more.
    pub kms_key_id: Option<String>,
    /// What kind of secret it is said to be.
    pub kind: Option<String>,
    /// It is to be removed.
    pub deletion: Option<Deletion>,
    /// Who may do what with it: JSON of IAM, as it was written.
    pub policy: Option<String>,
    /// How it is rotated.
    pub rotation: Option<Rotation>,
    /// The region it is at home in, once there are others.
    pub primary_region: Option<String>,
    /// It had tags once: then it has a list of them, which may be empty.
    pub had_tags: bool,
    /// Where else it can be read.
    pub replicas: Vec<Replica>,
}

/// A deletion that can still be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When it was asked for. A version that can be read takes it back, whoever writes it.
    pub asked: Timestamp,
    /// When the secret goes.
    pub due: Timestamp,
}

/// How a secret is rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// What rotates it.
    pub rotator: String,
    /// Whether it is rotated by itself.
    pub is_enabled: bool,
    /// Every so many days.
    pub days: Option<u32>,
    /// When exactly: `rate(…)` or `cron(…)`.
    pub schedule: Option<String>,
    /// How long the window is, e.g. `3h`.
    pub duration: Option<String>,
    /// When it was last rotated.
    pub last: Option<Timestamp>,
    /// When it is rotated next.
    pub next: Option<Timestamp>,
    /// The version that is being rotated in and has no value yet.
    pub pending: Option<String>,
}

/// Another region that a secret can be read in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Which.
    pub region: String,
    /// The key it is said to be encrypted with there.
    pub kms_key_id: Option<String>,
}
