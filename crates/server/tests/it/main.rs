//! The server on a real network: what only shows there.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod network;
mod rust_client;
mod secure;
mod support;
