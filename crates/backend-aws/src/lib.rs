//! AWS Secrets Manager and SSM Parameter Store behind the port
//! [`Backend`](strongroom_core::port::Backend).
//!
//! Over the vendor's SDK, because its chain of credentials (environment, profiles, SSO, processes,
//! web identity, containers, instance metadata) is the hard part. The SDK reads the process
//! environment and `~/.aws` for that chain itself; what is handed in as
//! [`Variables`](strongroom_core::port::Variables) comes before it.
//!
//! Needs a tokio runtime with time and IO. Nothing here spawns. No error quotes a message of the
//! service: AWS repeats the refused value in some of them.

mod connection;
mod credentials;
mod failure;
mod gate;
mod parameters;
mod payload;
mod secrets;
mod settings;

pub use credentials::credentials_resolve;
pub use parameters::SsmBackend;
pub use secrets::AwsBackend;
pub use settings::OPTIONS_PARAMETERS;
pub use settings::OPTIONS_SECRETS;
