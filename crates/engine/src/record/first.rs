//! The first form of a secret's head, which stores may still hold.

use std::collections::BTreeMap;

use serde::Deserialize;
use strongroom_core::metadata::Metadata;
use strongroom_core::registry::Class;
use strongroom_core::secret::Shape;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;

use super::StoredHead;

#[derive(Deserialize)]
struct FirstHead<'a> {
    path: &'a str,
    metadata: FirstMetadata,
    versions: Vec<FirstVersion>,
    has_value: bool,
}

#[derive(Deserialize)]
struct FirstMetadata {
    description: Option<String>,
    tags: BTreeMap<String, String>,
    custom: BTreeMap<String, String>,
    owner: Option<String>,
    class: Option<Class>,
    expires_at: Option<Timestamp>,
    rotate_every: Option<Span>,
    max_versions: u32,
    delete_version_after: Option<Span>,
    created: Timestamp,
    updated: Timestamp,
}

#[derive(Deserialize)]
struct FirstVersion {
    number: u64,
    created: Timestamp,
    state: VersionState,
    provenance: Provenance,
    fingerprint: [u8; 16],
    shape: Shape,
    version_id: Option<String>,
    stages: Vec<String>,
}

/// The head in today's form, and the bytes of its value.
pub(super) fn head(body: &[u8]) -> Option<(StoredHead<'_>, &[u8])> {
    let (first, rest): (FirstHead<'_>, &[u8]) = postcard::take_from_bytes(body).ok()?;
    let head = StoredHead {
        path: first.path,
        metadata: metadata(first.metadata),
        versions: first.versions.into_iter().map(version).collect(),
        has_value: first.has_value,
        aws: &[],
    };
    Some((head, rest))
}

fn metadata(first: FirstMetadata) -> Metadata {
    Metadata {
        description: first.description,
        tags: first.tags,
        custom: first.custom,
        owner: first.owner,
        class: first.class,
        expires_at: first.expires_at,
        rotate_every: first.rotate_every,
        max_versions: first.max_versions,
        delete_version_after: first.delete_version_after,
        created: first.created,
        updated: first.updated,
        cas_required: false,
        edits: 0,
    }
}

fn version(first: FirstVersion) -> VersionInfo {
    VersionInfo {
        number: first.number,
        created: first.created,
        state: first.state,
        provenance: first.provenance,
        fingerprint: first.fingerprint,
        shape: first.shape,
        version_id: first.version_id,
        stages: first.stages,
        delete_at: None,
    }
}
