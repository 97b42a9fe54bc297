//! What a store keeps about a secret beside its versions.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::registry::Class;
use crate::time::Span;
use crate::time::Timestamp;

/// Versions kept of a secret unless it says otherwise; older ones are destroyed.
pub const VERSIONS_KEPT_DEFAULT: u32 = 10;
/// Most tags of one secret.
pub const TAGS_MAX: usize = 50;
/// Longest tag key, in characters.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// Longest tag value, in characters.
pub const TAG_VALUE_CHARS_MAX: usize = 256;

/// Facts about a secret that are not its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// What it is for.
    pub description: Option<String>,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Vault's user-kept map.
    pub custom: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its class, where it was declared.
    pub class: Option<Class>,
    /// When it stops being valid.
    pub expires_at: Option<Timestamp>,
    /// How often it should change.
    pub rotate_every: Option<Span>,
    /// Versions kept.
    pub max_versions: u32,
    /// Versions are deleted when so old.
    pub delete_version_after: Option<Span>,
    /// When the secret was made.
    pub created: Timestamp,
    /// When its value or metadata last changed.
    pub updated: Timestamp,
    /// A write has to name the current version.
    pub cas_required: bool,
    /// How often what is known beside the value was written by a client that counts.
    pub edits: u64,
}

impl Metadata {
    /// Of a secret made now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            description: None,
            tags: BTreeMap::new(),
            custom: BTreeMap::new(),
            owner: None,
            class: None,
            expires_at: None,
            rotate_every: None,
            max_versions: VERSIONS_KEPT_DEFAULT,
            delete_version_after: None,
            created: now,
            updated: now,
            cas_required: false,
            edits: 0,
        }
    }
}
