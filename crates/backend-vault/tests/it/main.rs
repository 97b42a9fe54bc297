//! The backend against a real OpenBao, and against servers that misbehave.

mod auth;
mod contract;
mod faults;
mod kv;
mod refusals;
mod support;
