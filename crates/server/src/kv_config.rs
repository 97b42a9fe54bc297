//! The settings of one mount of versioned secrets.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::metadata::VERSIONS_KEPT_DEFAULT;
use strongroom_core::time::Span;
use strongroom_engine::Error;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Stored;

use crate::core::Core;
use crate::core::Live;

/// As they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kv2Config {
    /// Versions kept; 0 for the usual number.
    pub(crate) max_versions: u32,
    /// Every write has to name the current version.
    pub(crate) cas_required: bool,
    /// Versions are deleted after so many seconds; 0 for never.
    pub(crate) delete_version_after: i64,
    /// Kept for clients that set it.
    pub(crate) metadata_cas_required: bool,
}

impl Stored for Kv2Config {
    const KIND: Kind = Kind::MountConfig;
}

impl Kv2Config {
    /// Versions kept of a secret that does not say itself.
    pub(crate) fn kept(&self) -> u32 {
        match self.max_versions {
            0 => VERSIONS_KEPT_DEFAULT,
            own => own,
        }
    }

    pub(crate) fn delete_after(&self) -> Option<Span> {
        (self.delete_version_after > 0).then(|| Span::from_seconds(self.delete_version_after))
    }
}

impl Live {
    /// The mount's settings.
    pub(crate) async fn kv2(&self, core: &Core) -> Result<Kv2Config, Error> {
        if let Some(config) = &**self.config.load() {
            return Ok(config.clone());
        }
        let found = core.state.load::<Kv2Config>(&self.owner).await?;
        let config = found.map(|found| found.value).unwrap_or_default();
        Ok(config)
    }
}
