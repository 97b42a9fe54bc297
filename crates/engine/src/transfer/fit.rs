//! What a target can hold of a secret: told before anything is written.

use strongroom_core::port::Bound;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Item;
use strongroom_core::secret::Shape;

/// Something about a secret that its target cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Its description.
    Description,
    /// Its tags.
    Tags,
    /// Its earlier versions.
    Versions,
    /// The oldest of its versions: the target keeps fewer.
    OldestVersions,
    /// Stages beside current and previous.
    Stages,
    /// When it expires.
    Expiry,
    /// What belongs to its backend.
    Bound(Bound),
}

impl Loss {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Tags => "tags",
            Self::Versions => "earlier versions",
            Self::OldestVersions => "oldest versions",
            Self::Stages => "stages",
            Self::Expiry => "expiry",
            Self::Bound(Bound::ResourcePolicy) => "resource policy",
            Self::Bound(Bound::Replicas) => "replicas",
        }
    }
}

/// What is lost of a secret in a target; `with_history` says whether its versions are wanted.
#[must_use]
pub fn losses(
    item: &Item,
    details: Option<&Details>,
    target: Capabilities,
    with_history: bool,
) -> Vec<Loss> {
    let mut lost = Vec::new();
    if item.expires_at.is_some() && !target.expiry {
        lost.push(Loss::Expiry);
    }
    let Some(details) = details else { return lost };
    if details.description.is_some() && !target.description {
        lost.push(Loss::Description);
    }
    if !details.tags.is_empty() && !target.tags {
        lost.push(Loss::Tags);
    }
    let versions = super::history(details, item.version.as_deref()).len();
    if with_history && versions > 1 && !target.versions {
        lost.push(Loss::Versions);
    }
    let is_over = target.versions_max.is_some_and(|kept| versions > kept);
    if with_history && target.versions && is_over {
        lost.push(Loss::OldestVersions);
    }
    if !target.stages && has_special(details) || !with_history && has_earlier_special(details) {
        lost.push(Loss::Stages);
    }
    lost.extend(details.bound.iter().map(|bound| Loss::Bound(*bound)));
    lost
}

fn has_special(details: &Details) -> bool {
    let mut stages = details.versions.iter().flat_map(|version| &version.stages);
    stages.any(|stage| super::is_special(stage))
}

/// Versions that stay behind have stages of their own.
fn has_earlier_special(details: &Details) -> bool {
    let current = super::special_stages(Some(details), None);
    let mut stages = details.versions.iter().flat_map(|version| &version.stages);
    stages.any(|stage| super::is_special(stage) && !current.contains(stage))
}

/// Why a target takes no such value at all.
#[must_use]
pub fn refusal(item: &Item, target: Capabilities) -> Option<String> {
    if !target.write {
        return Some("the target cannot be written".into());
    }
    if item.payload.shape == Shape::Binary && !target.binary {
        return Some("it is binary, and the target holds text only".into());
    }
    match target.value_bytes_max {
        Some(bytes_max) if item.payload.value.len_bytes() > bytes_max => Some(format!(
            "it is longer than the {bytes_max} bytes that the target holds"
        )),
        _ => None,
    }
}
