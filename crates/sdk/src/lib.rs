//! An application's secrets, by the names that its `strongroom.toml` declares.
//!
//! What `strongroom run` would put into the environment, read by the application itself: the same
//! manifest, profile, chain of backends and checks. Values are kept in memory for a while
//! ([`Builder::ttl`]) and fetched anew after it, so that a rotated secret arrives without a
//! restart; callers that ask for one expired value at the same time cause one fetch.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let secrets = strongroom_sdk::Secrets::load().await?;
//! let key = secrets.get("API_KEY").await?;
//! // Its bytes are read by name, and by nothing else: it cannot be printed or compared with ==.
//! let bytes: &[u8] = key.expose_secret();
//! # let _ = bytes;
//! # Ok(())
//! # }
//! ```
//!
//! Without async, [`blocking::Secrets`] is the same. With backends over a network the async one
//! has to be used inside a tokio runtime.
//!
//! "Not found" is what every backend of the chain said; a backend that is down, closed or refuses
//! is an error of its own and never "not found": [`Secrets::get_or_env`] does not hand out an old
//! value of the environment because a server is away, unless [`Builder::on_error`] says so.
//!
//! A secret that others present to the application (an API key, a token) is a [`Rotatable`]: the
//! value before the current one is accepted for a while, and its use is counted; see
//! [`Secrets::rotatable`], and [`Secrets::rotatable_as_declared`] for as long as its declaration
//! says.
//!
//! Keys of the application's own users, sealed in the application's PostgreSQL, come before the
//! system's: `secrets.for_user("u1")?.get("anthropic/api_key")`; see [`Secrets::for_user`].
//!
//! Nothing is asked of a person and nothing is written: a store is opened by its key file, the
//! user's keyring or a passphrase that is handed in ([`Builder::passphrase`], or the file that
//! `STRONGROOM_PASSPHRASE_FILE` names), missing values are not generated.

pub mod blocking;
mod builder;
mod cache;
mod environment;
mod error;
mod notes;
mod rotatable;
mod secrets;
mod store;
#[cfg(feature = "userkeys")]
mod users;

pub use strongroom_core::port::BackendError;
pub use strongroom_core::port::BackendErrorKind;
pub use strongroom_core::secret::SecretValue;

pub use builder::Builder;
pub use builder::OnError;
pub use error::GetError;
pub use error::LoadError;
pub use rotatable::Presented;
pub use rotatable::Rotatable;
pub use secrets::Secrets;
#[cfg(feature = "userkeys")]
pub use users::ForUser;
#[cfg(feature = "userkeys")]
pub use users::UserKeyError;
