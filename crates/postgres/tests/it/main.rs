//! Roles in a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod role;
