//! The tables, and how they come to be what this program needs.
//!
//! A migration is one transaction that first writes its own row in `strongroom_migration`: of two
//! servers that start at once, the second waits there and then finds it done. Every migration says
//! what a program has to know to work with its outcome, so that servers of two versions can run
//! side by side: one that only adds (expand) names an older version, one that takes away (contract)
//! its own.

use std::fmt::Write;

use aws_lc_rs::digest;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::error::SqlState;

use crate::error::OpenDatabaseError;
use crate::error::words;

/// The version of the tables that this program makes.
pub const SCHEMA: i32 = 1;

/// A step from one version of the tables to the next.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version it leads to.
    pub version: i32,
    /// What a program has to know to work with that version.
    pub needs: i32,
    /// What is done.
    pub sql: &'static str,
}

/// All of them, in order.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    needs: 1,
    sql: "
CREATE TABLE strongroom_store (
    one smallint PRIMARY KEY CHECK (one = 1),
    revision bigint NOT NULL,
    seals bigint NOT NULL,
    generation bigint
);
INSERT INTO strongroom_store (one, revision, seals) VALUES (1, 0, 0);
CREATE TABLE strongroom_header (
    one smallint PRIMARY KEY CHECK (one = 1),
    body bytea NOT NULL
);
CREATE TABLE strongroom_record (
    id bytea PRIMARY KEY,
    parent bytea NOT NULL,
    name bytea NOT NULL,
    value bytea NOT NULL,
    due_at bigint,
    revision bigint NOT NULL
);
CREATE INDEX strongroom_record_parent ON strongroom_record (parent, id);
CREATE INDEX strongroom_record_due ON strongroom_record (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX strongroom_record_revision ON strongroom_record (revision, id);
CREATE TABLE strongroom_deleted (
    id bytea PRIMARY KEY,
    revision bigint NOT NULL
);
CREATE INDEX strongroom_deleted_revision ON strongroom_deleted (revision, id);
CREATE TABLE strongroom_node (
    id bytea PRIMARY KEY,
    last_group bigint NOT NULL,
    revision bigint NOT NULL,
    seen timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE strongroom_move (
    one smallint PRIMARY KEY CHECK (one = 1),
    source bytea NOT NULL,
    revision bigint NOT NULL
);
",
}];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS strongroom_migration (
    version integer PRIMARY KEY,
    needs integer NOT NULL,
    checksum text NOT NULL,
    applied timestamptz NOT NULL DEFAULT now()
)";
/// Servers of earlier runs that will not ask again what came of their last commit.
const FORGET_NODES: &str = "DELETE FROM strongroom_node WHERE seen < now() - interval '1 day'";

/// What is in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Applied {
    version: i32,
    needs: i32,
    checksum: String,
}

/// Brings the tables to what `migrations` lead to, or says why not.
pub(crate) async fn migrate(
    client: &ClientWrapper,
    place: &str,
    migrations: &[Migration],
) -> Result<(), OpenDatabaseError> {
    // Two that make the table at once: one of them is told that its type is there already.
    let mut applied = read(client, place).await?;
    if applied.is_none() {
        if let Err(error) = client.batch_execute(TABLE).await
            && !is_duplicate(&error)
        {
            return Err(older(place, 0, migrations, &error));
        }
        applied = read(client, place).await?;
    }
    let mut applied = applied.unwrap_or_default();
    for migration in migrations {
        if let Some(found) = applied.iter().find(|row| row.version == migration.version) {
            check(found, migration, place)?;
            continue;
        }
        let before = migration.version - 1;
        apply(client, migration)
            .await
            .map_err(|error| older(place, before, migrations, &error))?;
        applied = read(client, place).await?.unwrap_or_default();
        if let Some(found) = applied.iter().find(|row| row.version == migration.version) {
            check(found, migration, place)?;
        }
    }
    let known = migrations.last().map_or(0, |last| last.version);
    let needed = applied.iter().map(|row| row.needs).max().unwrap_or(0);
    if needed > known {
        return Err(OpenDatabaseError::Newer {
            place: place.to_owned(),
            found: applied.iter().map(|row| row.version).max().unwrap_or(0),
            needed,
            known,
        });
    }
    // Only tidying up.
    let _ = client.batch_execute(FORGET_NODES).await;
    Ok(())
}

fn check(found: &Applied, migration: &Migration, place: &str) -> Result<(), OpenDatabaseError> {
    if found.checksum == checksum(migration) {
        return Ok(());
    }
    Err(OpenDatabaseError::Foreign {
        place: place.to_owned(),
        version: migration.version,
    })
}

/// What was applied; `None` where there is no table that says so.
async fn read(
    client: &ClientWrapper,
    place: &str,
) -> Result<Option<Vec<Applied>>, OpenDatabaseError> {
    let sql = "SELECT version, needs, checksum FROM strongroom_migration ORDER BY version";
    let rows = match client.query(sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(None),
        Err(error) => {
            return Err(OpenDatabaseError::Unreachable {
                place: place.to_owned(),
                detail: words(&error),
            });
        }
    };
    let applied = |row: &tokio_postgres::Row| {
        Ok(Applied {
            version: row.try_get(0)?,
            needs: row.try_get(1)?,
            checksum: row.try_get(2)?,
        })
    };
    let read: Result<Vec<Applied>, tokio_postgres::Error> = rows.iter().map(applied).collect();
    read.map(Some).map_err(|_| OpenDatabaseError::Foreign {
        place: place.to_owned(),
        version: 0,
    })
}

async fn apply(client: &ClientWrapper, migration: &Migration) -> Result<(), tokio_postgres::Error> {
    let claim = "INSERT INTO strongroom_migration (version, needs, checksum) VALUES ($1, $2, $3)";
    client.batch_execute("BEGIN").await?;
    let checksum = checksum(migration);
    let done = async {
        client
            .execute(claim, &[&migration.version, &migration.needs, &checksum])
            .await?;
        client.batch_execute(migration.sql).await?;
        client.batch_execute("COMMIT").await
    };
    let done = done.await;
    if done.is_err() {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    match done {
        Err(error) if is_duplicate(&error) => Ok(()),
        other => other,
    }
}

/// Somebody else has made it meanwhile.
fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(
            &SqlState::UNIQUE_VIOLATION | &SqlState::DUPLICATE_TABLE | &SqlState::DUPLICATE_OBJECT
        )
    )
}

fn older(
    place: &str,
    found: i32,
    migrations: &[Migration],
    error: &tokio_postgres::Error,
) -> OpenDatabaseError {
    OpenDatabaseError::Older {
        place: place.to_owned(),
        found,
        known: migrations.last().map_or(0, |last| last.version),
        detail: words(error),
    }
}

fn checksum(migration: &Migration) -> String {
    let mut text = String::new();
    for byte in digest::digest(&digest::SHA256, migration.sql.as_bytes()).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was released stays as it is: a database remembers it.
    #[test]
    fn migrations_are_never_rewritten() {
        let sums: Vec<(i32, String)> = MIGRATIONS
            .iter()
            .map(|migration| (migration.version, checksum(migration)))
            .collect();
        let first = "f07a57a191431d31e955176859ea0eea024615243f0307e9f1b54614275bc01c";
        assert_eq!(sums, [(1, first.to_owned())]);
        assert_eq!(sums.last().map(|(version, _)| *version), Some(SCHEMA));
    }
}
