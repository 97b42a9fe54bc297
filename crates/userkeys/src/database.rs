//! The application's database.

use std::time::Duration;

use deadpool_postgres::Client;
use deadpool_postgres::Pool;
use strongroom_postgres::ConnectError;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::not_opened;

use crate::error::UserKeysError;

/// Connections where nothing else is said.
const CONNECTIONS_DEFAULT: usize = 8;
/// How long the first connection is tried.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Whoever stands still in the middle of a change holds up the application no longer than that.
const SESSION_SQL: &str = "
SET statement_timeout = '30s';
SET lock_timeout = '5s';
SET idle_in_transaction_session_timeout = '30s';
SET client_min_messages = 'warning';
";

/// A database that is connected to. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    place: String,
    connections: usize,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.place).finish()
    }
}

impl Database {
    /// Connects. Inside a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be reached or trusted, or lets nobody in.
    pub async fn connect(
        url: &DatabaseUrl,
        connections: Option<usize>,
    ) -> Result<Self, UserKeysError> {
        let connector = strongroom_postgres::connector(url)?;
        let connecting = url.config().connect(connector.clone());
        match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(not_opened(&error, url.place(), url.user()).into()),
            Err(_) => {
                return Err(ConnectError::Unreachable {
                    place: url.place(),
                    detail: "it does not answer".into(),
                }
                .into());
            }
        }
        Self::lazy(url, connections)
    }

    /// Connects when something is asked for. Inside a tokio runtime.
    ///
    /// # Errors
    /// When the certificates that it is checked with cannot be read.
    pub fn lazy(url: &DatabaseUrl, connections: Option<usize>) -> Result<Self, UserKeysError> {
        let connector = strongroom_postgres::connector(url)?;
        let connections = connections.unwrap_or(CONNECTIONS_DEFAULT).max(1);
        Ok(Self {
            pool: strongroom_postgres::pool(url, connector, connections, SESSION_SQL)?,
            place: url.place(),
            connections,
        })
    }

    /// Host, port and database, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) async fn client(&self) -> Result<Client, UserKeysError> {
        let client = self.pool.get().await;
        client.map_err(|error| UserKeysError::pool(&self.place, &error, self.connections))
    }

    pub(crate) fn failed(&self, error: &tokio_postgres::Error) -> UserKeysError {
        UserKeysError::database(&self.place, error)
    }
}
