//! The end user's machine: an application that was installed with a bundle manifest is started
//! with its own secrets and no others, and can be asked how it is.
//!
//! [`Supervisor::start`] reads the manifest, opens the installation's encrypted store, draws what
//! is to be drawn once and listens on the control API; [`Supervisor::run`] starts the services as
//! soon as no secret is missing, and stops them in the end. No value of a secret leaves by the
//! API, the log or telemetry: statuses do.
//!
//! [`Dialogue`] sets the secrets of an installation in a terminal.
//!
//! It reads no environment and prints nothing: both are handed in.

mod api;
mod board;
mod dialogue;
mod error;
mod folder;
mod gpu;
mod import;
mod json;
mod keep;
mod leftovers;
mod manifest;
mod masks;
mod platform;
mod ports;
mod restarts;
mod secrets;
mod service;
mod supervisor;
mod telemetry;
mod template;
#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "what `json!` makes is handed over as it is written"
)]
mod tests;
mod validate;

use strongroom_core::time::Timestamp;

pub use dialogue::Dialogue;
pub use dialogue::Question;
pub use error::SuperviseError;
pub use manifest::Manifest;
pub use manifest::Remote;
pub use supervisor::Options;
pub use supervisor::Supervisor;
pub use supervisor::Told;

/// Now, by the system's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
