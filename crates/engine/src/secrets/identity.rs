//! What AWS clients know a secret and its versions by.

use strongroom_core::aws::AwsFacts;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Bound;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::VersionInfo;

use super::Engine;
use super::Snapshot;
use crate::record::Head;

impl Snapshot {
    /// What only AWS clients know of the secret.
    #[must_use]
    pub fn aws(&self) -> Option<&AwsFacts> {
        self.head.aws.as_deref()
    }

    /// The stages of a version: the last one is the current one, whoever wrote it.
    #[must_use]
    pub fn stages(&self, info: &VersionInfo) -> Vec<String> {
        stages_of(&self.head, info)
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &SecretPath {
        &self.head.path
    }
}

impl Engine {
    /// The id of a version; one that was written through another door has one that follows from
    /// the secret and its number.
    #[must_use]
    pub fn version_id(&self, snapshot: &Snapshot, info: &VersionInfo) -> String {
        self.id_in(&snapshot.head, info)
    }

    /// Six letters that tell a secret from an earlier one of the same name.
    #[must_use]
    pub fn name_suffix(&self, snapshot: &Snapshot) -> String {
        const LETTERS: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let created = snapshot.head.metadata.created.as_micros().to_be_bytes();
        let path = snapshot.head.path.as_str().as_bytes();
        let parts: [&[u8]; 3] = [path, &[0], &created];
        let hash = self.barrier.keyed_hash_of("aws name suffix", &parts);
        let letters = hash.iter().take(6);
        letters
            .map(|byte| char::from(LETTERS[usize::from(byte % 62)]))
            .collect()
    }

    pub(super) fn id_in(&self, head: &Head, info: &VersionInfo) -> String {
        use std::fmt::Write;
        if let Some(id) = &info.version_id {
            return id.clone();
        }
        let created = head.metadata.created.as_micros().to_be_bytes();
        let number = info.number.to_be_bytes();
        let path = head.path.as_str().as_bytes();
        let parts: [&[u8]; 4] = [path, &[0], &created, &number];
        let mut hash = self.barrier.keyed_hash_of("aws version id", &parts);
        // A UUID of the kind whose bits are for everybody to choose.
        hash[6] = hash[6] & 0x0f | 0x80;
        hash[8] = hash[8] & 0x3f | 0x80;
        let mut id = String::with_capacity(36);
        for (at, byte) in hash.iter().take(16).enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                id.push('-');
            }
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    pub(super) fn place_of(&self, head: &Head, id: &str) -> Option<usize> {
        let mut versions = head.versions.iter();
        versions.position(|info| match &info.version_id {
            Some(own) => own == id,
            None => self.id_in(head, info) == id,
        })
    }
}

pub(super) fn stages_of(head: &Head, info: &VersionInfo) -> Vec<String> {
    let is_current = head
        .newest()
        .is_some_and(|newest| newest.number == info.number);
    let mut stages: Vec<String> = info.stages.clone();
    stages.retain(|stage| stage != STAGE_CURRENT);
    if is_current {
        stages.insert(0, STAGE_CURRENT.into());
    }
    stages
}

/// What a secret has that stays with this store.
pub(super) fn bound(head: &Head) -> Vec<Bound> {
    let facts = head.aws.as_deref();
    let policy = facts.is_some_and(|facts| facts.policy.is_some());
    let replicas = facts.is_some_and(|facts| !facts.replicas.is_empty());
    let policy = policy.then_some(Bound::ResourcePolicy);
    let replicas = replicas.then_some(Bound::Replicas);
    policy.into_iter().chain(replicas).collect()
}
