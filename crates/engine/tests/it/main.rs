//! The engine over storage in memory.

mod access;
mod contention;
mod faults;
mod model;
mod secrets;
mod support;
mod verify;
