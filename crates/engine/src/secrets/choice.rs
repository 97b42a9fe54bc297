//! Which versions of a secret are meant.

use std::collections::BTreeSet;

use strongroom_core::version::VersionState;

use crate::record::Head;

/// Versions to delete, undelete or destroy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The newest.
    Newest,
    /// These.
    Some(BTreeSet<u64>),
    /// All there are.
    All,
}

impl Versions {
    fn contains(&self, number: u64, newest: u64) -> bool {
        match self {
            Self::Newest => number == newest,
            Self::Some(numbers) => numbers.contains(&number),
            Self::All => true,
        }
    }
}

/// Gives the versions that are meant another state, where there is a next one; their numbers.
pub(super) fn set_state(
    head: &mut Head,
    versions: &Versions,
    next: impl Fn(VersionState) -> Option<VersionState>,
) -> Vec<u64> {
    let newest = head.newest().map_or(0, |version| version.number);
    let mut changed = Vec::new();
    for version in &mut head.versions {
        if !versions.contains(version.number, newest) {
            continue;
        }
        if let Some(state) = next(version.state) {
            version.state = state;
            changed.push(version.number);
        }
    }
    changed
}
