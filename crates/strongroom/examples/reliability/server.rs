//! Attacks on a running `strongroom serve`, over loopback.

pub(crate) mod backends;
pub(crate) mod client;
pub(crate) mod connections;
pub(crate) mod guesses;
pub(crate) mod histories;
pub(crate) mod leases;
pub(crate) mod node;
pub(crate) mod policies;
pub(crate) mod requests;
pub(crate) mod rotation;
pub(crate) mod shares;
pub(crate) mod sinks;
pub(crate) mod soak;
pub(crate) mod timing;
