//! The storages against their contract, and the embedded one against what happens to files.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod concurrent;
mod contract;
mod damage;
mod disk;
mod place;
mod rows;
mod support;
mod vault;
