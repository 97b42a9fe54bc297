//! The embedded store: one SQLite file in WAL mode, with group commit.

mod arrival;
mod backup;
mod guard;
mod head;
mod log_index;
mod sqlite;
mod writer;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use rusqlite::Connection;
use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Changed;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;

pub use arrival::Arrival;
pub use backup::Backup;
pub use guard::UnsafePlace;
use head::Head;
use head::HeadFile;
use log_index::LogIndex;
use sqlite::Mode;
use writer::Group;
use writer::Writer;

/// Newest format this program reads and writes.
pub const FORMAT: u32 = 2;

/// A log longer than this is emptied when there is time: a cold start reads it through.
const LOG_BYTES_AT_REST: u64 = 256 * 1024;

/// Who writes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// On the calling thread: one short process, few writes.
    Inline,
    /// On a thread that joins waiting writes into one commit.
    Grouped,
}

/// What to do about a store that is older than its head file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// Refuse it.
    Refuse,
    /// The user says the older state is wanted: accept it from now on.
    Accept,
}

/// A store file whose keys are not known yet.
pub struct StoreFile {
    path: PathBuf,
    connection: Connection,
    header: Header,
    warnings: Vec<String>,
}

/// Why a store cannot be opened or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// There is none.
    #[error("there is no store at {}", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is a store at {} already", .path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A file of an earlier store lies there, and would become part of a new one.
    #[error("{} is left of an earlier store: move it away, or put its store back", .path.display())]
    LeftOver {
        /// Which file.
        path: PathBuf,
    },
    /// The place is not safe for a store.
    #[error(transparent)]
    Unsafe(#[from] UnsafePlace),
    /// Written by a newer program.
    #[error("{} has format {found}; this program knows formats up to {FORMAT}", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Not what was written.
    #[error("{} is damaged: {detail}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// An older state than the one last written.
    #[error(
        "{} is older than its head file says: revision {found}, last written {expected}",
        .path.display()
    )]
    RolledBack {
        /// Which file.
        path: PathBuf,
        /// Its revision.
        found: u64,
        /// The revision that was written last.
        expected: u64,
    },
    /// The head file is missing or unreadable.
    #[error("{} {problem}, so nobody can tell whether the store is the latest", .path.display())]
    Head {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The system refused something.
    #[error("{}: {detail}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
}

impl StoreFile {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    /// When there is none, it is damaged, newer, or lies in an unsafe place.
    pub fn open(path: &Path) -> Result<Self, OpenStoreError> {
        let path = guard::resolve(path)?;
        let beside = [
            head::path_of(&path),
            with_suffix(&path, "-wal"),
            with_suffix(&path, "-shm"),
        ];
        let warnings = guard::check_files(&path, &beside)?;
        // SQLite takes a file that is cut off for a new database, and deletes the log beside it.
        if !guard::has_magic(&path)? {
            return Err(damaged(&path, "it does not begin as a store does"));
        }
        let mut connection =
            sqlite::connect(&path, Mode::Existing).map_err(|error| open_error(&path, error))?;
        let meta = sqlite::read_meta(&connection).map_err(|error| open_error(&path, error))?;
        if meta.format > FORMAT {
            return Err(OpenStoreError::Newer {
                path,
                found: meta.format,
            });
        }
        let header = sqlite::decode_header(&meta.header)
            .ok_or_else(|| damaged(&path, "its header cannot be read"))?;
        if meta.format < FORMAT {
            sqlite::upgrade(&mut connection).map_err(|error| open_error(&path, error))?;
        }
        Ok(Self {
            path,
            connection,
            header,
            warnings,
        })
    }

    /// Makes a new store with its first records. Nothing is left behind on failure.
    ///
    /// # Errors
    /// When there is one already or the place is not safe.
    pub fn create(
        path: &Path,
        header: &Header,
        barrier: &Barrier,
        first: Vec<BatchItem>,
    ) -> Result<Self, OpenStoreError> {
        guard::make_folder(path)?;
        let path = guard::resolve_new(path)?;
        let _lock = guard::lock_folder(&path)?;
        if std::fs::symlink_metadata(&path).is_ok() {
            return Err(OpenStoreError::Exists { path });
        }
        // SQLite knows a log by its name only, and would play it into the new store.
        let log = with_suffix(&path, "-wal");
        if std::fs::symlink_metadata(&log).is_ok() {
            return Err(OpenStoreError::LeftOver { path: log });
        }
        let draft = guard::Draft::new(&path)?;
        let mut connection = sqlite::connect(draft.draft_path(), Mode::New)
            .map_err(|error| open_error(&path, error))?;
        sqlite::create_schema(&connection, header).map_err(|error| open_error(&path, error))?;
        let results = writer::apply_group(
            &mut connection,
            vec![Group::new(first, Durability::Durable)],
        );
        for result in results {
            result.map_err(|error| open_error(&path, error))?;
        }
        sqlite::settle(connection).map_err(|error| open_error(&path, error))?;
        let head = Head {
            revision: 0,
            header_generation: header.generation(),
        };
        HeadFile::create(&path, barrier, head)?;
        draft.publish()?;
        Self::open(&path)
    }

    /// What the store says about its keys.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was mended on opening, such as a file mode that was too wide.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Opens the store with its keys; refuses one that is older than its head file says.
    ///
    /// # Errors
    /// When the store was rolled back, or the head file is gone.
    pub fn unlock(
        self,
        barrier: &Barrier,
        writes: Writes,
        rollback: Rollback,
    ) -> Result<EmbeddedStorage, OpenStoreError> {
        let Self {
            path, connection, ..
        } = self;
        // The head first: the store can only be ahead of it then. The header may have been
        // replaced by others since the file was opened.
        let head_file = HeadFile::open(&path, barrier, rollback)?;
        let found = sqlite::read_head(&connection).map_err(|error| open_error(&path, error))?;
        let expected = head_file.read();
        let is_behind = found.revision < expected.revision
            || found.header_generation < expected.header_generation;
        match rollback {
            // Also where the head file was missing, so that it is there from now on.
            Rollback::Accept => head_file.reset(found),
            Rollback::Refuse if is_behind => {
                return Err(OpenStoreError::RolledBack {
                    path,
                    found: found.revision,
                    expected: expected.revision,
                });
            }
            Rollback::Refuse => {}
        }
        sqlite::use_log(&connection).map_err(|error| open_error(&path, error))?;
        let shared = Arc::new(Shared {
            log_index: LogIndex::of(&path),
            path,
            head_file,
            pool: Mutex::new(vec![connection]),
            broken: OnceLock::new(),
        });
        Ok(EmbeddedStorage {
            shared,
            writes,
            writer: OnceLock::new(),
        })
    }
}

/// An open store.
pub struct EmbeddedStorage {
    shared: Arc<Shared>,
    writes: Writes,
    writer: OnceLock<Writer>,
}

struct Shared {
    path: PathBuf,
    head_file: HeadFile,
    log_index: LogIndex,
    pool: Mutex<Vec<Connection>>,
    /// Set when a commit failed for a reason of the disk: nothing is written any more.
    broken: OnceLock<StorageError>,
}

impl Shared {
    /// Lends a connection; a new one is made when all are out.
    fn with_connection<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let pooled = self
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => sqlite::connect(&self.path, Mode::Existing)?,
        };
        let result = work(&mut connection);
        self.pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        result
    }

    /// Runs groups in one transaction and notes the new revision in the head file.
    fn commit_groups(
        &self,
        connection: &mut Connection,
        groups: Vec<Group>,
    ) -> Vec<Result<u64, StorageError>> {
        if let Some(error) = self.broken.get() {
            return vec![Err(error.clone()); groups.len()];
        }
        let is_durable = groups.iter().any(Group::is_durable);
        let results = writer::apply_group(connection, groups);
        if let Some(Err(error @ StorageError::ReadOnly { .. })) = results.first() {
            let _ = self.broken.set(error.clone());
        }
        let last = results
            .iter()
            .filter_map(|result| result.as_ref().ok())
            .max();
        if let (Some(revision), true) = (last, is_durable) {
            self.head_file.advance(*revision);
        }
        results
    }
}

impl EmbeddedStorage {
    /// Where the store lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Replaces the header, if it is still the generation it was read at.
    ///
    /// # Errors
    /// `Conflict` when somebody else has changed it.
    pub fn replace_header(&self, read_at: u64, header: &Header) -> Result<(), StorageError> {
        self.shared
            .with_connection(|connection| sqlite::replace_header(connection, read_at, header))?;
        self.shared.head_file.note_header(header.generation());
        Ok(())
    }

    /// The header as it is stored now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_header(&self) -> Result<Header, StorageError> {
        self.shared.with_connection(|connection| {
            let meta = sqlite::read_meta(connection)?;
            sqlite::decode_header(&meta.header).ok_or_else(|| StorageError::Damaged {
                detail: "its header cannot be read".into(),
            })
        })
    }

    /// Seals made so far in this store's life.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn seals(&self) -> Result<u64, StorageError> {
        self.shared
            .with_connection(|connection| sqlite::read_seals(connection))
    }

    /// How many records there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn count(&self) -> Result<u64, StorageError> {
        self.shared
            .with_connection(|connection| sqlite::count(connection))
    }

    /// Folds a long log back into the store, so that the next process starts sooner. For the end
    /// of a command, when nobody waits; does nothing while others use the store.
    pub fn shorten_log(&self) {
        let log = with_suffix(&self.shared.path, "-wal");
        let is_long = std::fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES_AT_REST);
        if is_long {
            let _ = self.shared.with_connection(|connection| {
                sqlite::empty_log(connection);
                Ok(())
            });
        }
    }

    /// What SQLite itself finds wrong with the file; empty when it is sound.
    ///
    /// # Errors
    /// When the file cannot be read at all.
    pub fn integrity(&self) -> Result<Vec<String>, StorageError> {
        self.shared
            .with_connection(|connection| sqlite::integrity(connection))
    }

    /// Copies the store beside itself if the last copy is older than a day.
    ///
    /// # Errors
    /// When the copy cannot be written; the old copy is kept.
    pub fn back_up_daily(&self, now_micros: i64) -> Result<Option<Backup>, StorageError> {
        if !backup::is_due(&self.shared.path, now_micros) {
            return Ok(None);
        }
        self.back_up().map(Some)
    }

    /// Copies the store beside itself now.
    ///
    /// # Errors
    /// When the copy cannot be written; the old copy is kept.
    pub fn back_up(&self) -> Result<Backup, StorageError> {
        self.shared
            .with_connection(|connection| backup::copy(connection, &self.shared.path))
    }

    /// The daily copy, if there is one.
    #[must_use]
    pub fn last_backup(&self) -> Option<Backup> {
        backup::find(&self.shared.path)
    }
}

/// The daily copy beside a store that may itself not open.
#[must_use]
pub fn find_backup(store: &Path) -> Option<Backup> {
    backup::find(store)
}

/// Puts the daily copy in the place of a store; the store is kept beside it.
///
/// # Errors
/// When there is no copy or the files cannot be moved.
pub fn restore_backup(store: &Path) -> Result<PathBuf, OpenStoreError> {
    let path = guard::resolve_new(store)?;
    let _lock = guard::lock_folder(&path)?;
    backup::restore(&path)
}

impl Storage for EmbeddedStorage {
    fn get(&self, id: RecordId) -> BoxFuture<'_, Result<Option<Record>, StorageError>> {
        let found = self
            .shared
            .with_connection(|connection| sqlite::get(connection, id));
        Box::pin(std::future::ready(found))
    }

    fn get_many<'a>(
        &'a self,
        ids: &'a [RecordId],
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, StorageError>> {
        let found = self
            .shared
            .with_connection(|connection| sqlite::get_many(connection, ids));
        Box::pin(std::future::ready(found))
    }

    fn list(
        &self,
        parent: RecordId,
        after: Option<RecordId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        let found = self
            .shared
            .with_connection(|connection| sqlite::list(connection, parent, after, limit));
        Box::pin(std::future::ready(found))
    }

    fn due(&self, before: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        let found = self
            .shared
            .with_connection(|connection| sqlite::due(connection, before, limit));
        Box::pin(std::future::ready(found))
    }

    fn commit(
        &self,
        batch: Vec<BatchItem>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<u64, StorageError>> {
        let group = Group::new(batch, durability);
        if self.writes == Writes::Grouped {
            let writer = self
                .writer
                .get_or_init(|| Writer::start(Arc::clone(&self.shared)));
            return Box::pin(writer.submit(group));
        }
        let mut results = self
            .shared
            .with_connection(|connection| Ok(self.shared.commit_groups(connection, vec![group])));
        let result = match &mut results {
            Ok(results) => results.pop().unwrap_or(Err(StorageError::Busy)),
            Err(error) => Err(error.clone()),
        };
        Box::pin(std::future::ready(result))
    }

    fn watch(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Changed>, StorageError>> {
        let found = self
            .shared
            .with_connection(|connection| sqlite::watch(connection, after, limit));
        Box::pin(std::future::ready(found))
    }

    fn revision(&self) -> BoxFuture<'_, Result<u64, StorageError>> {
        let found = self
            .shared
            .with_connection(|connection| sqlite::read_revision(connection));
        Box::pin(std::future::ready(found))
    }

    fn sign(&self) -> Option<u64> {
        self.shared.log_index.sign()
    }
}

fn with_suffix(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_os_string();
    name.push(suffix);
    store.with_file_name(name)
}

fn damaged(path: &Path, detail: &str) -> OpenStoreError {
    OpenStoreError::Damaged {
        path: path.into(),
        detail: detail.into(),
    }
}

fn open_error(path: &Path, error: StorageError) -> OpenStoreError {
    match error {
        StorageError::Damaged { detail } => OpenStoreError::Damaged {
            path: path.into(),
            detail,
        },
        other => OpenStoreError::Io {
            path: path.into(),
            detail: other.to_string(),
        },
    }
}
