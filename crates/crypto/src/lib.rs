//! The cryptography of Strongroom: keys, the envelope round every record, and key slots.
//!
//! Callers hold a [`barrier::Barrier`] and ids; raw primitives stay in `hazmat`.

pub mod barrier;
pub mod digest;
mod hazmat;
pub mod header;
pub mod kdf;
pub mod key;
pub mod keyring;
pub mod mysql;
pub mod password;
pub mod recovery;
pub mod request;
pub mod scram;
pub mod shamir;
pub mod signing;
pub mod slot;

pub use hazmat::SystemRng;
