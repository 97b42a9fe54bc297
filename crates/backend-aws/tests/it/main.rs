//! The AWS backends against moto's server, and against servers that misbehave.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod bulk;
mod contract;
mod faults;
mod parameters;
mod secrets;
mod settings;
mod support;
