//! The second form of a secret's head, which knew nothing of AWS.

use serde::Deserialize;
use strongroom_core::metadata::Metadata;
use strongroom_core::version::VersionInfo;

use super::StoredHead;

#[derive(Deserialize)]
struct SecondHead<'a> {
    path: &'a str,
    metadata: Metadata,
    versions: Vec<VersionInfo>,
    has_value: bool,
}

/// The head in today's form, and the bytes of its value.
pub(super) fn head(body: &[u8]) -> Option<(StoredHead<'_>, &[u8])> {
    let (second, rest): (SecondHead<'_>, &[u8]) = postcard::take_from_bytes(body).ok()?;
    let head = StoredHead {
        path: second.path,
        metadata: second.metadata,
        versions: second.versions,
        has_value: second.has_value,
        aws: &[],
    };
    Some((head, rest))
}
