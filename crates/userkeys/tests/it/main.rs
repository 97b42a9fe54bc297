//! Users' keys in a real PostgreSQL with a real pgcrypto.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod keys;
mod pass;
mod pgcrypto;
mod rollback;
mod secrecy;
mod support;
mod table;
