//! Users of MariaDB and MySQL: their passwords, and those that are made for a time.
//!
//! - [`MysqlUrl`] says where it is; it may hold a password and cannot be printed.
//! - [`Session`] is a connection; it changes accounts.
//! - [`Users`] makes users for a time.
//!
//! MariaDB is given the hash of a password wherever it would keep that itself; its logs show the
//! statements as they came. MySQL takes the hash of its usual method from nobody, and is given the
//! password: what its logs show of such statements it rewrites itself.

mod account;
mod address;
mod like;
mod session;
mod statement;
mod users;

pub use address::MysqlUrl;
pub use address::Roots;
pub use address::UrlError;
pub use session::Session;
pub use session::check_login;
pub use statement::Passwords;
pub use users::Users;
