//! One engine behind every door: the command line, the servers and the console call these
//! functions with an [`context::OpContext`]; no door has rules of its own.
//!
//! Async without a runtime: nothing here spawns, sleeps, reads a clock or does IO but through
//! the ports of `strongroom_core::port`.

pub mod access_keys;
pub mod audit;
pub mod backend;
pub mod cache;
pub mod context;
pub mod cubbyhole;
pub mod departures;
pub mod duty;
pub mod error;
mod folder;
pub mod leases;
pub mod ledger;
pub mod migrate;
pub mod mounts;
pub mod object;
pub mod policies;
mod record;
pub mod resolve;
pub mod rotation;
pub mod secrets;
pub mod spaces;
pub mod state;
pub mod sync;
pub mod tokens;
pub mod transfer;
pub mod verify;

pub use error::Error;
pub use secrets::Engine;
