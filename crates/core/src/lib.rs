//! The domain of Strongroom: what a secret is, what an application declares, and the ports
//! through which the rest of the program reaches the outside.
//!
//! Nothing here does IO, reads a clock or the environment, or draws ambient randomness.

pub mod audit;
pub mod aws;
pub mod flat;
pub mod format;
pub mod generate;
pub mod glob;
pub mod host;
pub mod lease;
pub mod manifest;
pub mod metadata;
pub mod path;
pub mod percent;
pub mod placeholder;
pub mod policy;
pub mod port;
pub mod redact;
pub mod registry;
pub mod rotator;
pub mod secret;
pub mod statement;
pub mod time;
pub mod uri;
pub mod version;
