//! Passwords of roles: changed so that the database never sees them in clear, and tried.
//!
//! The database is given a verifier (SCRAM-SHA-256), which it would have computed itself: whoever
//! reads its logs, or who watches statements, learns no password. A verifier opens no session.

use std::future::Future;
use std::pin::pin;

use futures_util::future::Either;
use futures_util::future::select;
use postgres_protocol::escape::escape_identifier;
use postgres_protocol::escape::escape_literal;
use postgres_protocol::password::scram_sha_256;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::scram;
use tokio_postgres::Client;
use tokio_postgres::Config;

use crate::address::DatabaseUrl;
use crate::error::ConnectError;
use crate::error::not_opened;
use crate::error::words;
use crate::session::connector;

/// Longest name of a role, in bytes: PostgreSQL cuts off what is over it, and would change another
/// role's password.
pub const ROLE_BYTES_MAX: usize = 63;

/// Why a role was not changed. Names the role, never a password.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// No name of a role.
    #[error("the name of a role has 1 to 63 bytes, none of them 0")]
    Name,
    /// The database takes no empty password, and none with a zero byte.
    #[error("the password is empty, or holds a zero byte")]
    Password,
    /// The database refused.
    #[error("the role {role} was not changed: {detail}")]
    Refused {
        /// Which role.
        role: String,
        /// What it said.
        detail: String,
    },
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// What PostgreSQL keeps of a password (SCRAM-SHA-256, 4096 rounds, a new salt each time), in place
/// of it: only letters, digits and `$:+/=-`.
#[must_use]
pub fn scram_verifier(password: &SecretValue) -> String {
    scram::verifier(password, &SystemRng).unwrap_or_else(|| {
        // EXPOSE: hashed with a salt; what comes out opens no session.
        scram_sha_256(password.expose_secret())
    })
}

/// A name as it stands in SQL, quoted.
///
/// # Errors
/// `Name`.
pub fn quoted(name: &str) -> Result<String, RoleError> {
    let is_name = (1..=ROLE_BYTES_MAX).contains(&name.len()) && !name.contains('\0');
    is_name
        .then(|| escape_identifier(name))
        .ok_or(RoleError::Name)
}

/// Gives a role a new password. Sessions that are open stay open.
///
/// # Errors
/// `Name`, `Password`, `Refused`.
pub async fn set_password(
    client: &Client,
    role: &str,
    password: &SecretValue,
) -> Result<(), RoleError> {
    let verifier = escape_literal(&verifier_of(password)?);
    let sql = format!("ALTER ROLE {} PASSWORD {verifier}", quoted(role)?);
    let done = client.batch_execute(&sql).await;
    done.map_err(|error| RoleError::Refused {
        role: role.to_owned(),
        detail: words(&error),
    })
}

/// The verifier of a password that the database takes.
///
/// # Errors
/// `Password`.
pub fn verifier_of(password: &SecretValue) -> Result<String, RoleError> {
    // EXPOSE: looked at for a byte, and not kept.
    let has_zero = password.expose_secret().contains(&0);
    match password.is_empty() || has_zero {
        true => Err(RoleError::Password),
        false => Ok(scram_verifier(password)),
    }
}

/// Opens a session as a role and closes it again: whether its password works, there and now.
///
/// # Errors
/// `Refused` when it does not, and why nobody answers.
pub async fn check_login(
    address: &DatabaseUrl,
    role: &str,
    password: &SecretValue,
) -> Result<(), ConnectError> {
    let mut config = address.config().clone();
    config.user(role);
    // EXPOSE: the driver proves to the database that we know it; nobody else gets it.
    config.password(password.expose_secret());
    let asked = async |client: Client| client.simple_query("SELECT 1").await.map(drop);
    let done = with_session(address, &config, asked).await?;
    done.map_err(|error| not_opened(&error, address.place(), role))
}

/// Connects as the address says, does something, and closes the session.
///
/// # Errors
/// Why there is no connection.
pub async fn session<T>(
    address: &DatabaseUrl,
    work: impl AsyncFnOnce(Client) -> T,
) -> Result<T, ConnectError> {
    with_session(address, address.config(), work).await
}

/// The same as another role than the address names.
///
/// # Errors
/// Why there is no connection.
pub async fn session_as<T>(
    address: &DatabaseUrl,
    role: &str,
    work: impl AsyncFnOnce(Client) -> T,
) -> Result<T, ConnectError> {
    let mut config = address.config().clone();
    config.user(role);
    with_session(address, &config, work).await
}

async fn with_session<T>(
    address: &DatabaseUrl,
    config: &Config,
    work: impl AsyncFnOnce(Client) -> T,
) -> Result<T, ConnectError> {
    let opened = config.connect(connector(address)?).await;
    let user = config.get_user().unwrap_or_default();
    let opened = opened.map_err(|error| not_opened(&error, address.place(), user));
    let (client, connection) = opened?;
    Ok(driven(connection, work(client)).await)
}

/// Does the work while the connection is looked after; where that ends first, the work is told by
/// its own calls.
async fn driven<T>(connection: impl Future, work: impl Future<Output = T>) -> T {
    match select(pin!(work), pin!(connection)).await {
        Either::Left((done, _)) => done,
        Either::Right((_, work)) => work.await,
    }
}
