//! Several servers over one store in PostgreSQL, as processes, and stores that are moved there.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod background;
mod leases;
mod moving;
mod node;
mod rolling;
mod start;
mod together;
