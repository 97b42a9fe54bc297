//! Storage on PostgreSQL against its contract, and against what happens to databases.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod access;
mod contract;
mod loss;
mod many;
mod moving;
mod schema;
mod support;
mod unanswered;
