//! Storage on PostgreSQL: many servers over one store.
//!
//! - [`DatabaseUrl`] says where it is; it holds a password and cannot be printed.
//! - [`Database`] is connected to it and keeps the header; its tables are made and brought up to
//!   date on connecting ([`OpenDatabaseError`] says why not).
//! - [`PostgresStorage`] is the `Storage` port on it: reads through a pool, writes as one server's
//!   group commit.
//!
//! The order of commits is decided by one row (`strongroom_store`): whoever commits locks it first
//! and takes the next revisions from it. So a revision becomes visible only after all smaller ones,
//! and whoever watches misses none. Everything else in SQL is portable: no advisory locks, nothing
//! that only one database knows except `LISTEN`, which is a hint and may fail.

mod apply;
mod database;
mod error;
mod follower;
mod limits;
mod read;
mod schema;
mod seen;
mod session;
mod storage;
mod transfer;
mod work;
mod writer;

pub use database::Database;
pub use database::Options;
pub use error::OpenDatabaseError;
pub use follower::POLL_INTERVAL;
pub use limits::BATCH_BYTES_MAX;
pub use limits::RECORD_BYTES_MAX;
pub use schema::Migration;
pub use schema::SCHEMA;
pub use seen::STALENESS_MAX;
pub use storage::PostgresStorage;
pub use strongroom_postgres::DatabaseUrl;
pub use strongroom_postgres::UrlError;
pub use transfer::Arrival;
