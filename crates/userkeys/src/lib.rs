//! Users' own keys, sealed in the table of the application's own PostgreSQL.
//!
//! - [`inspect`] looks at a table, [`attach`] takes over its encryption, [`rollback`](UserKeys)
//!   gives it back.
//! - [`UserKeys`] reads and writes one user's keys. What lies in clear, or was encrypted by
//!   pgcrypto, is sealed when it is first read.
//! - [`Pass`] does the same for all rows, piece by piece; whoever drives it decides how fast.
//!
//! A value is sealed by the store's barrier, bound to its table, user and name. No plaintext and
//! no key is ever a parameter of a statement: what goes into the plain column again is copied
//! (`COPY`), which no server logs.
//!
//! A value in the plain column is always the newest: an application that still writes there
//! replaces what is sealed.

mod books;
mod database;
mod error;
mod inspect;
mod keys;
mod link;
mod name;
mod pass;
mod person;
pub mod pgcrypto;
mod rollback;
mod seal;
mod status;
mod table;

pub use books::attach;
pub use database::Database;
pub use error::UserKeysError;
pub use inspect::Inspection;
pub use inspect::inspect;
pub use keys::Found;
pub use keys::UserKeys;
pub use keys::VALUE_BYTES_MAX;
pub use link::Trail;
pub use link::UserLink;
pub use name::KeyName;
pub use name::UserId;
pub use pass::PIECE_ROWS;
pub use pass::Pass;
pub use pass::Step;
pub use pass::Trouble;
pub use pass::Work;
pub use person::Listed;
pub use rollback::RolledBack;
pub use seal::Form;
pub use status::Status;
pub use strongroom_postgres::ConnectError;
pub use strongroom_postgres::DatabaseUrl;
pub use strongroom_postgres::UrlError;
pub use table::Attachment;
pub use table::Columns;
pub use table::Settings;
pub use table::TableName;
