//! The engine over storage in memory.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod access;
mod backend;
mod backup;
mod chain;
mod contention;
mod counting;
mod faults;
mod graph;
mod ledger;
mod listing;
mod memory;
mod migrate;
mod model;
mod overlap;
mod rotation;
mod schedules;
mod secrets;
mod support;
mod verify;
