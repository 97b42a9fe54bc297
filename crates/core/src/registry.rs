//! The registry of declarations: what an application needs.

use serde::Deserialize;
use serde::Serialize;

/// Where a secret's value comes from, and who may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The server's own: never leaves it.
    Infrastructure,
    /// Drawn by a generator, once for each installation.
    PerInstallGenerated,
    /// Typed in by a person.
    UserPrompt,
    /// Fetched from another secrets manager.
    #[serde(alias = "delegate", alias = "fetch")]
    RemoteFetch,
}

impl Class {
    /// The word in manifests and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::PerInstallGenerated => "per_install_generated",
            Self::UserPrompt => "user_prompt",
            Self::RemoteFetch => "remote_fetch",
        }
    }
}
