//! Connections to PostgreSQL, for all that talks to one.
//!
//! - [`DatabaseUrl`] says where it is; it holds a password and cannot be printed.
//! - [`connector`] and [`pool`] connect: rustls, checked in full for what leaves the machine.
//! - [`course`] and [`words`] say what an error means and what to do about it; [`ConnectError`]
//!   why nobody answers.
//! - [`role`] changes the passwords of roles, and tries them.

mod address;
mod error;
pub mod role;
mod session;

pub use address::DatabaseUrl;
pub use address::Tls;
pub use address::UrlError;
pub use error::ConnectError;
pub use error::Course;
pub use error::course;
pub use error::not_opened;
pub use error::pool_words;
pub use error::words;
pub use session::connector;
pub use session::pool;
