//! A store that is moved into a file, piece by piece, under its revisions.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::TransactionBehavior;
use rusqlite::params;
use rustix::fs::Mode as FileMode;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;

use super::OpenStoreError;
use super::guard;
use super::head::Head;
use super::head::HeadFile;
use super::open_error;
use super::sqlite;
use super::sqlite::Mode;
use super::sqlite::failed;
use super::with_suffix;

/// What a file is called until all of a store is in it.
const SUFFIX: &str = ".moving";

/// A store on its way into a file. Until it is finished the file has another name, so nobody takes
/// it for a store.
pub struct Arrival {
    path: PathBuf,
    draft: PathBuf,
    connection: Connection,
    revision: u64,
    _lock: File,
}

impl Arrival {
    /// Begins, or goes on with the move of the same store.
    ///
    /// # Errors
    /// When there is a store already, an unfinished move of another one, or the place is not safe.
    pub fn begin(path: &Path, header: &Header) -> Result<Self, OpenStoreError> {
        guard::make_folder(path)?;
        let path = guard::resolve_new(path)?;
        let lock = guard::lock_folder(&path)?;
        if std::fs::symlink_metadata(&path).is_ok() {
            return Err(OpenStoreError::Exists { path });
        }
        let log = with_suffix(&path, "-wal");
        if std::fs::symlink_metadata(&log).is_ok() {
            return Err(OpenStoreError::LeftOver { path: log });
        }
        let draft = with_suffix(&path, SUFFIX);
        let in_words = |error| open_error(&draft, error);
        let source = header.store_id();
        let begun = match std::fs::symlink_metadata(&draft) {
            Ok(_) => resume(&draft),
            Err(_) => None,
        };
        let (connection, revision) = match begun {
            Some((connection, begun, revision)) if begun == source => (connection, revision),
            Some(_) => return Err(OpenStoreError::LeftOver { path: draft }),
            None => (start(&draft, header).map_err(in_words)?, 0),
        };
        Ok(Self {
            path,
            draft,
            connection,
            revision,
            _lock: lock,
        })
    }

    /// Up to which revision everything is there.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes records as they are, and notes that everything up to a revision is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn take(
        &mut self,
        records: &[Record],
        deleted: &[(RecordId, u64)],
        up_to: u64,
    ) -> Result<(), OpenStoreError> {
        let mut take = || -> rusqlite::Result<()> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            for record in records {
                put(&transaction, record)?;
            }
            for (id, revision) in deleted {
                transaction
                    .prepare_cached("DELETE FROM record WHERE id = ?1")?
                    .execute([&id.0])?;
                transaction
                    .prepare_cached(
                        "INSERT INTO deleted (id, revision) VALUES (?1, ?2)
                         ON CONFLICT (id) DO UPDATE SET revision = excluded.revision",
                    )?
                    .execute(params![&id.0, revision])?;
            }
            sqlite::note_move(&transaction, up_to)?;
            transaction.commit()
        };
        take().map_err(|error| open_error(&self.draft, failed(&error)))?;
        self.revision = up_to;
        Ok(())
    }

    /// Some of the records that are there, in the order asked.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, OpenStoreError> {
        sqlite::get_many(&self.connection, ids).map_err(|error| open_error(&self.draft, error))
    }

    /// How many records are there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count(&self) -> Result<u64, OpenStoreError> {
        sqlite::count(&self.connection).map_err(|error| open_error(&self.draft, error))
    }

    /// Makes it a store.
    ///
    /// # Errors
    /// When there is one by now, or the file cannot be written.
    pub fn finish(
        self,
        header: &Header,
        barrier: &Barrier,
        revision: u64,
        seals: u64,
    ) -> Result<(), OpenStoreError> {
        let Self {
            path,
            draft,
            mut connection,
            _lock,
            ..
        } = self;
        let in_words = |error| open_error(&draft, error);
        let finish = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            sqlite::end_move(&transaction, header)?;
            sqlite::write_counters(&transaction, revision, seals)?;
            transaction.commit()
        };
        finish(&mut connection).map_err(|error| in_words(failed(&error)))?;
        sqlite::settle(connection).map_err(in_words)?;
        let head = Head {
            revision,
            header_generation: header.generation(),
        };
        HeadFile::create(&path, barrier, head)?;
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, &draft, cwd, &path, RenameFlags::NOREPLACE).map_err(
            |error| match error {
                Errno::EXIST => OpenStoreError::Exists { path: path.clone() },
                _ => guard::io(&path, error),
            },
        )?;
        guard::sync_folder(&path)
    }
}

/// A move that was begun: its file, of which store, and how far it is. Nothing where the file does
/// not say: it was cut off while it was made.
fn resume(draft: &Path) -> Option<(Connection, [u8; 16], u64)> {
    if !guard::has_magic(draft).ok()? {
        return None;
    }
    let connection = sqlite::connect(draft, Mode::Existing).ok()?;
    let (source, revision) = sqlite::read_move(&connection)?;
    Some((connection, source, revision))
}

fn start(draft: &Path, header: &Header) -> Result<Connection, StorageError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(with_suffix(draft, suffix));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(draft, flags, FileMode::RUSR | FileMode::WUSR).map_err(|error| {
        StorageError::Io {
            detail: error.to_string(),
        }
    })?;
    let connection = sqlite::connect(draft, Mode::New)?;
    sqlite::create_schema(&connection, header)?;
    sqlite::begin_move(&connection, header.store_id()).map_err(|error| failed(&error))?;
    Ok(connection)
}

fn put(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO record (id, parent, name, value, due_at, revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, name = excluded.name,
             value = excluded.value, due_at = excluded.due_at, revision = excluded.revision",
        )?
        .execute(params![
            &record.id.0,
            &record.parent.0,
            record.name,
            record.value,
            record.due_at,
            record.revision
        ])?;
    Ok(())
}
