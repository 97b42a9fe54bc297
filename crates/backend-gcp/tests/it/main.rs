//! Against a fake of Secret Manager, which the vendor's Python client finds true.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod behaviour;
mod clients;
mod contract;
mod faults;
mod world;
