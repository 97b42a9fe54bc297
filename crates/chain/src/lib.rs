//! What the command line and the library for applications share: from the lines of a chain to
//! open backends ([`entry`], [`remote`], [`fresh`]), which chain it is where none is written
//! ([`detect`]), where a manifest and a store are ([`manifest`], [`places`]), and how a store is
//! opened without asking a person ([`unlock`], [`passphrase`]).
//!
//! It starts no runtime, reads no environment variable and no clock: all that is handed in.

#[cfg(feature = "remote")]
mod deadline;
pub mod detect;
pub mod entry;
mod error;
pub mod fresh;
pub mod keyfile;
pub mod manifest;
pub mod oskeyring;
pub mod passphrase;
pub mod places;
pub mod reads;
pub mod remote;
#[cfg(feature = "vault")]
pub mod server;
pub mod unlock;
#[cfg(feature = "vault")]
pub mod users;

pub use error::ChainError;
pub use error::ChainErrorKind;
