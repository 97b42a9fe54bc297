//! Rotators: what makes the new value of a secret, brings it to whoever checks it, and tries it.
//!
//! [`build`] makes one from its declaration. Each does the four steps of
//! [`Rotator`] so that any of them may be done again, tries the new
//! value as its users would, and puts the old one back where that fails.

mod certificate;
mod command;
mod credential;
mod manual;
mod mysql;
mod outlook;
mod pem;
mod postgres;
mod redis;
mod signing;
mod step;
mod vault;

use std::sync::Arc;

pub use certificate::expires;
pub use certificate::validity;
pub use outlook::Outlook;
pub use outlook::outlook;
pub use signing::public_key;
pub use signing::token_ttl;

use strongroom_core::port::Rng;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Variables;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;

/// What a rotator needs beside its declaration.
pub struct Needs {
    /// Where randomness comes from.
    pub rng: Arc<dyn Rng>,
    /// The secret that [`RotatorSpec::admin`] names.
    pub admin: Option<Payload>,
    /// The variables that backends take their settings and credentials from.
    pub backends: Variables,
}

/// Says what is wrong with a declaration.
///
/// # Errors
/// In words for who wrote it.
pub fn check(spec: &RotatorSpec) -> Result<(), String> {
    match spec {
        RotatorSpec::Postgres(role) => postgres::check(role).map(drop),
        RotatorSpec::Mysql(user) => mysql::check(user).map(drop),
        RotatorSpec::Redis(user) => redis::check(user).map(drop),
        RotatorSpec::SigningKey(key) => signing::check(key).map(drop),
        RotatorSpec::Certificate(of) => certificate::check(of).map(drop),
        RotatorSpec::VaultStaticRole(role) => vault::check(role).map(drop),
        RotatorSpec::Command(program) => command::check(program).map(drop),
        RotatorSpec::Manual(list) => manual::check(list),
    }
}

/// A rotator, ready for use.
///
/// # Errors
/// `rotator.unusable`.
pub fn build(spec: &RotatorSpec, needs: Needs) -> Result<Box<dyn Rotator>, RotatorError> {
    match spec {
        RotatorSpec::Postgres(role) => Ok(Box::new(postgres::Postgres::new(role, needs)?)),
        RotatorSpec::Mysql(user) => Ok(Box::new(mysql::Mysql::new(user, needs)?)),
        RotatorSpec::Redis(user) => Ok(Box::new(redis::Redis::new(user, needs)?)),
        RotatorSpec::SigningKey(key) => Ok(Box::new(signing::Signing::new(key, needs)?)),
        RotatorSpec::Certificate(of) => Ok(Box::new(certificate::Pairs::new(of, needs)?)),
        RotatorSpec::VaultStaticRole(role) => Ok(Box::new(vault::Vault::new(role, &needs)?)),
        RotatorSpec::Command(program) => Ok(Box::new(command::Own::new(program)?)),
        RotatorSpec::Manual(list) => Ok(Box::new(manual::Manual::new(list))),
    }
}

fn unusable(message: impl Into<String>) -> RotatorError {
    RotatorError::new("rotator.unusable", message)
}
