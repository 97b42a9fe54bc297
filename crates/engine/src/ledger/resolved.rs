//! What was resolved, as the ledger names it.

use strongroom_core::manifest::Manifest;
use strongroom_crypto::barrier::Barrier;

use super::Given;
use crate::resolve;
use crate::resolve::Origin;
use crate::resolve::Resolved;

impl Given {
    /// A declared secret as it was resolved; nothing for what has no value, is no secret, or
    /// stands in the manifest.
    #[must_use]
    pub fn resolved(
        barrier: &Barrier,
        (manifest, profile): (&Manifest, &str),
        resolved: &Resolved<'_>,
    ) -> Option<Self> {
        let value = resolved.value.as_ref()?;
        if !resolved.declaration.is_sensitive {
            return None;
        }
        let place = || resolve::lookup(manifest, profile, resolved.declaration).place;
        let (secret, source) = match &resolved.origin {
            Origin::Backend(backend) | Origin::Generated(backend) => {
                (place().to_string(), backend.clone())
            }
            Origin::Fallback(path) => (path.clone(), "store".to_owned()),
            Origin::Default | Origin::ToBeGenerated | Origin::MadeForRun | Origin::Nowhere => {
                return None;
            }
        };
        Some(Self {
            secret,
            source,
            version: resolved.version.clone(),
            fingerprint: barrier.fingerprint(value),
        })
    }
}
