//! Every SQL statement of the embedded store.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::config::DbConfig;
use rusqlite::ffi::ErrorCode;
use rusqlite::params;
use strongroom_core::port::Changed;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use strongroom_crypto::header::Header;

use super::FORMAT;
use super::head::Head;

/// How long one attempt waits for another process's write lock.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// The WAL is folded back after so many pages: a cold start reads it through.
const CHECKPOINT_PAGES: u32 = 128;
/// The same while many write.
const CHECKPOINT_PAGES_BUSY: u32 = 4096;
/// Pages that the writer keeps, in KiB as SQLite wants it: negative.
const WRITER_CACHE_KIB: i32 = -16 * 1024;
/// Pages that others keep: enough for the upper pages of the indexes of a million secrets.
const CACHE_KIB: i32 = -8 * 1024;
/// Statements kept prepared on a connection.
const STATEMENTS_CACHED: usize = 32;
/// `SRMS` in the file's header, so that `file` and people can tell what it is.
const APPLICATION_ID: i32 = 0x5352_4d53;

pub(super) const SQL_GET: &str =
    "SELECT id, parent, name, value, due_at, revision FROM record WHERE id = ?1";

/// Rows have numbers of their own: with the id as the key of the table, whole rows would stand
/// inside its tree, and every search would read the large ones that it passes.
const SCHEMA_RECORD: &str = "
CREATE TABLE record (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    parent BLOB NOT NULL,
    name BLOB NOT NULL,
    value BLOB NOT NULL,
    due_at INTEGER,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX record_parent ON record (parent, id);
CREATE INDEX record_due ON record (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX record_revision ON record (revision);
";
const SCHEMA_REST: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE deleted (id BLOB PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE INDEX deleted_revision ON deleted (revision);
";
/// Format 1 had the id as the key of the table.
const SET_FORMAT_1_ASIDE: &str = "
DROP INDEX record_parent;
DROP INDEX record_due;
DROP INDEX record_revision;
ALTER TABLE record RENAME TO record_1;
";
const TAKE_FROM_FORMAT_1: &str = "
INSERT INTO record (id, parent, name, value, due_at, revision)
    SELECT id, parent, name, value, due_at, revision FROM record_1 ORDER BY revision;
DROP TABLE record_1;
";

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    New,
    Existing,
}

/// The rows of `meta` that are needed to open a store.
pub(super) struct Meta {
    pub(super) format: u32,
    pub(super) header: Vec<u8>,
}

pub(super) fn connect(path: &Path, mode: Mode) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    let set_up = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_WAIT)?;
        connection.set_db_config(
            DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            mode == Mode::Existing,
        )?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA cell_size_check = ON;",
        )?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
    };
    set_up().map_err(|error| failed(&error))?;
    Ok(connection)
}

/// A connection for many writes: its log may grow before it is folded back, as folding costs
/// two waits for the disk.
pub(super) fn connect_writer(path: &Path) -> Result<Connection, StorageError> {
    let connection = connect(path, Mode::Existing)?;
    let set_up = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES_BUSY)?;
        connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)
    };
    set_up().map_err(|error| failed(&error))?;
    Ok(connection)
}

/// Folds the log back as far as no reader needs it. Failing is harmless: the log stays.
pub(super) fn fold_log(connection: &Connection) {
    let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
}

/// Folds the whole log back and empties it, if nobody else is at work. Failing is harmless: the
/// log stays.
pub(super) fn empty_log(connection: &Connection) {
    let _ = connection.busy_timeout(Duration::ZERO);
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    let _ = connection.busy_timeout(BUSY_WAIT);
}

pub(super) fn create_schema(connection: &Connection, header: &Header) -> Result<(), StorageError> {
    let create = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        connection.execute_batch(SCHEMA_RECORD)?;
        connection.execute_batch(SCHEMA_REST)?;
        let mut insert = connection.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
        insert.execute(params!["header", encode_header(header)])?;
        insert.execute(params!["revision", number(0)])?;
        insert.execute(params!["seals", number(0)])?;
        Ok(())
    };
    create().map_err(|error| failed(&error))
}

/// Brings a store of an earlier format to this one, or leaves it as it is.
pub(super) fn upgrade(connection: &mut Connection) -> Result<(), StorageError> {
    let mut upgrade = || -> rusqlite::Result<()> {
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        // Another process may have been first.
        if found == 1 {
            transaction.execute_batch(SET_FORMAT_1_ASIDE)?;
            transaction.execute_batch(SCHEMA_RECORD)?;
            transaction.execute_batch(TAKE_FROM_FORMAT_1)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        transaction.commit()
    };
    upgrade().map_err(|error| failed(&error))
}

/// Closes a new store so that all of it lies in the main file.
pub(super) fn settle(connection: Connection) -> Result<(), StorageError> {
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(|error| failed(&error))?;
    connection.close().map_err(|(_, error)| failed(&error))
}

pub(super) fn read_meta(connection: &Connection) -> Result<Meta, StorageError> {
    let read = || -> rusqlite::Result<Meta> {
        let format = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let header = read_key(connection, "header")?;
        Ok(Meta { format, header })
    };
    read().map_err(|error| failed(&error))
}

pub(super) fn encode_header(header: &Header) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(postcard::to_stdvec(header).unwrap_or_default());
    bytes
}

pub(super) fn decode_header(bytes: &[u8]) -> Option<Header> {
    match bytes.split_first() {
        Some((1, body)) => postcard::from_bytes(body).ok(),
        _ => None,
    }
}

pub(super) fn replace_header(
    connection: &mut Connection,
    read_at: u64,
    header: &Header,
) -> Result<(), StorageError> {
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(|error| failed(&error))?;
    let stored = read_meta(&transaction)?;
    let stored = decode_header(&stored.header).ok_or_else(|| StorageError::Damaged {
        detail: "its header cannot be read".into(),
    })?;
    if stored.generation() != read_at {
        return Err(StorageError::Conflict {
            id: RecordId([0; 16]),
        });
    }
    write_key(&transaction, "header", &encode_header(header)).map_err(|error| failed(&error))?;
    transaction.commit().map_err(|error| failed(&error))
}

fn read_key(connection: &Connection, key: &str) -> rusqlite::Result<Vec<u8>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
}

fn write_key(connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    let changed = connection
        .prepare_cached("UPDATE meta SET value = ?2 WHERE key = ?1")?
        .execute(params![key, value])?;
    if changed == 1 {
        Ok(())
    } else {
        Err(rusqlite::Error::QueryReturnedNoRows)
    }
}

fn number(value: u64) -> [u8; 8] {
    value.to_be_bytes()
}

fn read_number(connection: &Connection, key: &str) -> Result<u64, StorageError> {
    let bytes = read_key(connection, key).map_err(|error| failed(&error))?;
    let bytes = bytes.try_into().map_err(|_| StorageError::Damaged {
        detail: format!("its {key} counter cannot be read"),
    })?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn read_revision(connection: &Connection) -> Result<u64, StorageError> {
    read_number(connection, "revision")
}

/// What the store itself says of what its head file keeps.
pub(super) fn read_head(connection: &Connection) -> Result<Head, StorageError> {
    let header = decode_header(&read_meta(connection)?.header).ok_or(StorageError::Damaged {
        detail: "its header cannot be read".into(),
    })?;
    Ok(Head {
        revision: read_revision(connection)?,
        header_generation: header.generation(),
    })
}

/// Turns the log on again for a store that was put back from a copy without one.
pub(super) fn use_log(connection: &Connection) -> Result<(), StorageError> {
    let switch = || -> rusqlite::Result<()> {
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode == "wal" {
            return Ok(());
        }
        connection.pragma_update(None, "journal_mode", "WAL")
    };
    switch().map_err(|error| failed(&error))
}

pub(super) fn read_seals(connection: &Connection) -> Result<u64, StorageError> {
    read_number(connection, "seals")
}

pub(super) fn write_counters(
    connection: &Connection,
    revision: u64,
    seals: u64,
) -> rusqlite::Result<()> {
    write_key(connection, "revision", &number(revision))?;
    write_key(connection, "seals", &number(seals))
}

pub(super) fn get(connection: &Connection, id: RecordId) -> Result<Option<Record>, StorageError> {
    let read = || -> rusqlite::Result<Option<Record>> {
        connection
            .prepare_cached(SQL_GET)?
            .query_row([&id.0], record_of)
            .optional()
    };
    read().map_err(|error| failed(&error))
}

/// Runs several statements on one state of the store. The bounds are prepared once: a read
/// transaction of the library parses its two statements each time.
fn in_reading<T>(
    connection: &Connection,
    read: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = read();
    let ended = connection.prepare_cached("COMMIT")?.execute([]);
    if ended.is_err() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    let result = result?;
    ended?;
    Ok(result)
}

pub(super) fn get_many(
    connection: &Connection,
    ids: &[RecordId],
) -> Result<Vec<Option<Record>>, StorageError> {
    let read = || -> rusqlite::Result<Vec<Option<Record>>> {
        let mut statement = connection.prepare_cached(SQL_GET)?;
        let one = |id: &RecordId| statement.query_row([&id.0], record_of).optional();
        ids.iter().map(one).collect()
    };
    in_reading(connection, read).map_err(|error| failed(&error))
}

pub(super) fn list(
    connection: &Connection,
    parent: RecordId,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<Record>, StorageError> {
    let after: &[u8] = after.as_ref().map_or(&[], |id| &id.0);
    let read = || -> rusqlite::Result<Vec<Record>> {
        connection
            .prepare_cached(
                "SELECT id, parent, name, value, due_at, revision FROM record
                 WHERE parent = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![&parent.0, after, limit_of(limit)], record_of)?
            .collect()
    };
    read().map_err(|error| failed(&error))
}

pub(super) fn due(
    connection: &Connection,
    before: i64,
    limit: usize,
) -> Result<Vec<Record>, StorageError> {
    let read = || -> rusqlite::Result<Vec<Record>> {
        connection
            .prepare_cached(
                "SELECT id, parent, name, value, due_at, revision FROM record
                 WHERE due_at < ?1 ORDER BY due_at, id LIMIT ?2",
            )?
            .query_map(params![before, limit_of(limit)], record_of)?
            .collect()
    };
    read().map_err(|error| failed(&error))
}

pub(super) fn watch(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<Changed>, StorageError> {
    let changed = |row: &Row<'_>| -> rusqlite::Result<Changed> {
        Ok(Changed {
            id: RecordId(row.get(0)?),
            revision: row.get(1)?,
            exists: row.get(2)?,
        })
    };
    let read = || -> rusqlite::Result<Vec<Changed>> {
        connection
            .prepare_cached(
                "SELECT id, revision, 1 FROM record WHERE revision > ?1
                 UNION ALL SELECT id, revision, 0 FROM deleted WHERE revision > ?1
                 AND NOT EXISTS (SELECT 1 FROM record WHERE record.id = deleted.id)
                 ORDER BY 2, 1 LIMIT ?2",
            )?
            .query_map(params![after, limit_of(limit)], changed)?
            .collect()
    };
    read().map_err(|error| failed(&error))
}

pub(super) fn count(connection: &Connection) -> Result<u64, StorageError> {
    connection
        .query_row("SELECT count(*) FROM record", [], |row| row.get(0))
        .map_err(|error| failed(&error))
}

/// Notes that a store is being moved into this file.
pub(super) fn begin_move(connection: &Connection, source: [u8; 16]) -> rusqlite::Result<()> {
    let state = [source.as_slice(), &number(0)].concat();
    connection.execute("INSERT INTO meta (key, value) VALUES ('move', ?1)", [state])?;
    Ok(())
}

/// Of which store, and up to which revision.
pub(super) fn read_move(connection: &Connection) -> Option<([u8; 16], u64)> {
    let state = read_key(connection, "move").ok()?;
    let (source, revision) = state.split_first_chunk::<16>()?;
    let revision: [u8; 8] = revision.try_into().ok()?;
    Some((*source, u64::from_be_bytes(revision)))
}

pub(super) fn note_move(connection: &Connection, revision: u64) -> rusqlite::Result<()> {
    // Joining gives text: it has to be bytes again.
    connection
        .prepare_cached(
            "UPDATE meta SET value = CAST(substr(value, 1, 16) || ?1 AS BLOB) WHERE key = 'move'",
        )?
        .execute([number(revision)])?;
    Ok(())
}

pub(super) fn end_move(connection: &Connection, header: &Header) -> rusqlite::Result<()> {
    write_key(connection, "header", &encode_header(header))?;
    connection.execute("DELETE FROM meta WHERE key = 'move'", [])?;
    Ok(())
}

pub(super) fn integrity(connection: &Connection) -> Result<Vec<String>, StorageError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let lines = read().map_err(|error| failed(&error))?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn record_of(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: RecordId(row.get(0)?),
        parent: RecordId(row.get(1)?),
        name: row.get(2)?,
        value: row.get(3)?,
        due_at: row.get(4)?,
        revision: row.get(5)?,
    })
}

/// A commit that failed: after a failed write or sync nobody can tell what the disk has, and
/// trying again may seem to work although it did not.
pub(super) fn commit_failed(error: &rusqlite::Error) -> StorageError {
    match failed(error) {
        StorageError::Io { detail } => StorageError::ReadOnly { detail },
        other => other,
    }
}

/// SQLite's errors in our words. Its messages name tables and columns, never values.
pub(super) fn failed(error: &rusqlite::Error) -> StorageError {
    let detail = || match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        _ => "a row does not have the expected form".to_owned(),
    };
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StorageError::Damaged {
                detail: "SQLite finds the file malformed".into(),
            },
            ErrorCode::DiskFull => StorageError::Full,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StorageError::Busy,
            ErrorCode::ReadOnly => StorageError::ReadOnly { detail: detail() },
            ErrorCode::Unknown if message.as_deref().is_some_and(|m| m.contains("no such")) => {
                StorageError::Damaged {
                    detail: "a table is missing".into(),
                }
            }
            _ => StorageError::Io { detail: detail() },
        },
        _ => StorageError::Damaged { detail: detail() },
    }
}
