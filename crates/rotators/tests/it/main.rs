//! Rotators with those that check the values, and with applications that use them meanwhile.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod certificate;
mod command;
mod manual;
mod mysql;
mod postgres;
mod redis;
mod signing;
mod support;
mod vault;
