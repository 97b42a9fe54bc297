//! Users of Redis and of what speaks as it does (Valkey): their rules, their passwords.
//!
//! - [`RedisUrl`] says where it is; it may hold a password and cannot be printed.
//! - [`Session`] is a connection; it changes users.
//! - [`Users`] makes users for a time.
//!
//! Redis is given the SHA-256 of a password wherever it would keep that itself.

mod address;
mod session;
mod users;

pub use address::RedisUrl;
pub use address::Roots;
pub use address::UrlError;
pub use session::Lasting;
pub use session::Session;
pub use session::check_login;
pub use users::Users;
