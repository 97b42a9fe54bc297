//! The backend against a real OpenBao, and against servers that misbehave.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what goes wrong in a test ends it"
)]

mod auth;
mod contract;
mod faults;
mod kv;
mod refusals;
mod support;
