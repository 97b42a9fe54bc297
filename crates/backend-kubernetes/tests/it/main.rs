//! Against a fake API server, which the vendor's Python client and kubectl find true.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod behaviour;
mod clients;
mod contract;
mod faults;
mod world;
