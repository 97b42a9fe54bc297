//! Storage engines below the barrier: an embedded SQLite file, and memory.
//!
//! Everything that arrives here is ciphertext already.

pub mod embedded;
pub mod memory;
