//! Users that are made for a time: by the statements of whoever administers the database.
//!
//! The statements of one call go to the database in one message, and are done as a whole or not
//! at all. Where a statement says `PASSWORD '{{password}}'`, the database is given a verifier
//! ([`crate::role`]) in place of the password.

mod port;
mod statement;

use deadpool_postgres::Object;
use deadpool_postgres::Pool;
use deadpool_postgres::PoolError;
use deadpool_postgres::TimeoutType;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use tokio_postgres::Error;
use tokio_postgres::SimpleQueryMessage;

use crate::address::DatabaseUrl;
use crate::error::ConnectError;
use crate::error::Course;
use crate::error::course;
use crate::error::pool_words;
use crate::error::words;
use crate::role::quoted;
use crate::session::connector;
use crate::session::pool;

pub use statement::Passwords;

/// Said on each connection: what hangs is given up, and quotes mean what they mean by default.
const SESSION: &str = "SET statement_timeout = '20s'; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '20s'; SET standard_conforming_strings = on";
/// What another session's change of the same row has undone is tried again so often.
const ATTEMPTS_MAX: usize = 8;
/// Users that are looked at, at most.
const USERS_MAX: usize = 1_000_000;

/// The users of one database.
pub struct Users {
    address: DatabaseUrl,
    passwords: Passwords,
    pool: Pool,
    connections: usize,
}

impl Users {
    /// Users of a database, over so many connections at most. None is opened yet.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub fn new(
        address: DatabaseUrl,
        connections: usize,
        passwords: Passwords,
    ) -> Result<Self, ConnectError> {
        let pool = pool(&address, connector(&address)?, connections, SESSION)?;
        Ok(Self {
            address,
            passwords,
            pool,
            connections,
        })
    }

    /// Runs statements as a whole. Where the connection is lost meanwhile, it is not known whether
    /// they were done.
    async fn run(&self, sql: &SecretValue, hidden: &[&SecretValue]) -> Result<(), UserError> {
        // EXPOSE: SQL with a verifier in it, or with a password where a role wants that.
        let text = sql.expose_secret_text().unwrap_or_default();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let session = self.session().await?;
            let error = match session.batch_execute(text).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempts < ATTEMPTS_MAX && is_passing(&error) {
                continue;
            }
            return Err(refused(&error, hidden));
        }
    }

    async fn find_user(&self, name: &str) -> Result<Option<bool>, UserError> {
        let session = self.session().await?;
        let asked = "SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = $1";
        let found = session.query_opt(asked, &[&name]).await;
        let found = found.map_err(|error| refused(&error, &[]))?;
        Ok(found.and_then(|row| row.try_get(0).ok()))
    }

    async fn users_named(&self, prefix: &str) -> Result<Vec<String>, UserError> {
        let session = self.session().await?;
        let asked = "SELECT rolname::text FROM pg_catalog.pg_roles \
            WHERE rolcanlogin AND starts_with(rolname::text, $1) ORDER BY 1 LIMIT $2";
        let most = i64::try_from(USERS_MAX).unwrap_or(i64::MAX);
        let rows = session.query(asked, &[&prefix, &most]).await;
        let rows = rows.map_err(|error| refused(&error, &[]))?;
        let names = rows.iter().map(|row| row.try_get(0));
        names
            .collect::<Result<_, _>>()
            .map_err(|error| refused(&error, &[]))
    }

    /// Removes a user with the rights it was given in this database. What it owns is left alone:
    /// then it cannot be removed.
    async fn drop_user(&self, name: &str) -> Result<(), UserError> {
        let role = quoted(name).map_err(|error| UserError::Refused {
            detail: error.to_string(),
        })?;
        let drop = format!("DROP ROLE IF EXISTS {role}");
        let mut attempts = 0;
        loop {
            attempts += 1;
            let session = self.session().await?;
            let error = match session.batch_execute(&drop).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let has_rights = error.code().is_some_and(|code| code.code() == "2BP01");
            let error = match has_rights {
                true => match revoke_rights(&session, name, &drop).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                false => error,
            };
            if attempts < ATTEMPTS_MAX && is_passing(&error) {
                continue;
            }
            return Err(refused(&error, &[]));
        }
    }

    async fn session(&self) -> Result<Object, UserError> {
        let got = self.pool.get().await;
        got.map_err(|error| {
            let detail = pool_words(&error, self.connections);
            match error {
                PoolError::Timeout(TimeoutType::Wait) => UserError::Busy { detail },
                PoolError::Backend(error) if is_refusal(&error) => UserError::Refused { detail },
                _ => UserError::Unreachable { detail },
            }
        })
    }
}

/// What a user was given in this database and on shared objects, as the statements that take it
/// away.
const RIGHTS: &str = "\
WITH given AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_shdepend d
  JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
  WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'a'
    AND r.rolname = 'ROLE'
    AND d.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
)
SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass::text
  FROM given g JOIN pg_catalog.pg_class c ON c.oid = g.objid
  WHERE g.classid = 'pg_catalog.pg_class'::regclass
UNION SELECT 'ROUTINE ' || p.oid::regprocedure::text
  FROM given g JOIN pg_catalog.pg_proc p ON p.oid = g.objid
  WHERE g.classid = 'pg_catalog.pg_proc'::regclass
UNION SELECT 'SCHEMA ' || quote_ident(n.nspname)
  FROM given g JOIN pg_catalog.pg_namespace n ON n.oid = g.objid
  WHERE g.classid = 'pg_catalog.pg_namespace'::regclass
UNION SELECT 'DATABASE ' || quote_ident(b.datname)
  FROM given g JOIN pg_catalog.pg_database b ON b.oid = g.objid
  WHERE g.classid = 'pg_catalog.pg_database'::regclass
UNION SELECT 'TYPE ' || t.oid::regtype::text
  FROM given g JOIN pg_catalog.pg_type t ON t.oid = g.objid
  WHERE g.classid = 'pg_catalog.pg_type'::regclass
UNION SELECT 'LANGUAGE ' || quote_ident(l.lanname)
  FROM given g JOIN pg_catalog.pg_language l ON l.oid = g.objid
  WHERE g.classid = 'pg_catalog.pg_language'::regclass";

/// Takes rights away and removes the user, as a whole.
async fn revoke_rights(session: &Object, name: &str, drop: &str) -> Result<(), Error> {
    let role = quoted(name).unwrap_or_default();
    // The placeholder stands between quotes: what is put in is a literal without its own.
    let literal = name.replace('\'', "''");
    let rows = session
        .simple_query(&RIGHTS.replace("ROLE'", &format!("{literal}'")))
        .await?;
    let mut sql = String::new();
    for row in rows {
        if let SimpleQueryMessage::Row(row) = row
            && let Some(on) = row.get(0)
        {
            sql.push_str(&format!("REVOKE ALL ON {on} FROM {role}; "));
        }
    }
    sql.push_str(drop);
    session.batch_execute(&sql).await
}

/// Two sessions that change the rights of one object disturb each other; nothing was done.
fn is_passing(error: &Error) -> bool {
    let is_disturbed = error.code().is_some_and(|code| code.code() == "XX000");
    is_disturbed || course(error) == Course::Again
}

/// Whether the database has answered, and does not let us in.
fn is_refusal(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code().starts_with("28") || code.code() == "3D000")
}

fn refused(error: &Error, hidden: &[&SecretValue]) -> UserError {
    let detail = statement::hide(&words(error), hidden);
    match course(error) {
        Course::Reconnect => UserError::Lost { detail },
        Course::Again | Course::Give => UserError::Refused { detail },
    }
}
