//! Users of a real Redis.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod tls;
