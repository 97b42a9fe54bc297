//! The daily copy beside the store.

use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rusqlite::Connection;
use strongroom_core::port::StorageError;

use super::OpenStoreError;
use super::guard;
use super::sqlite;
use super::with_suffix;

/// Pages copied at a time: all at once, so that writers beside us do not start it over.
const COPY_PAGES: std::ffi::c_int = std::ffi::c_int::MAX;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// A copy of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where it lies.
    pub path: PathBuf,
    /// When it was made, in microseconds since the epoch.
    pub made: i64,
}

fn path_of(store: &Path) -> PathBuf {
    with_suffix(store, ".bak")
}

pub(super) fn find(store: &Path) -> Option<Backup> {
    let path = path_of(store);
    let metadata = std::fs::symlink_metadata(&path).ok()?;
    let made = metadata.modified().ok().and_then(micros_of)?;
    metadata.is_file().then_some(Backup { path, made })
}

pub(super) fn is_due(store: &Path, now_micros: i64) -> bool {
    find(store).is_none_or(|backup| now_micros.saturating_sub(backup.made) >= DAY_MICROS)
}

/// Copies page by page while others read and write, then gives the copy its name.
pub(super) fn copy(connection: &Connection, store: &Path) -> Result<Backup, StorageError> {
    let path = path_of(store);
    let draft = guard::Draft::new(&path).map_err(|error| failed(&error))?;
    let copy = || -> rusqlite::Result<()> {
        let mut target = Connection::open(draft.draft_path())?;
        let backup = rusqlite::backup::Backup::new(connection, &mut target)?;
        backup.run_to_completion(COPY_PAGES, std::time::Duration::ZERO, None)?;
        drop(backup);
        target.pragma_update(None, "journal_mode", "DELETE")
    };
    copy().map_err(|error| sqlite::failed(&error))?;
    let finish = || -> std::io::Result<()> {
        std::fs::File::open(draft.draft_path())?.sync_all()?;
        std::fs::rename(draft.draft_path(), &path)
    };
    finish().map_err(|error| StorageError::Io {
        detail: error.to_string(),
    })?;
    guard::sync_folder(&path).map_err(|error| failed(&error))?;
    find(store).ok_or(StorageError::Io {
        detail: "the copy vanished".into(),
    })
}

/// Puts the copy in the place of the store; what was there is kept under the name returned.
pub(super) fn restore(store: &Path) -> Result<PathBuf, OpenStoreError> {
    let backup = path_of(store);
    if find(store).is_none() {
        return Err(OpenStoreError::Missing { path: backup });
    }
    let kept = (1..)
        .map(|number| with_suffix(store, &format!(".damaged-{number}")))
        .find(|path| !path.exists())
        .unwrap_or_else(|| with_suffix(store, ".damaged"));
    let io = |error: std::io::Error| OpenStoreError::Io {
        path: store.into(),
        detail: error.to_string(),
    };
    let draft = guard::Draft::new(store)?;
    std::fs::copy(&backup, draft.draft_path()).map_err(io)?;
    std::fs::File::open(draft.draft_path())
        .and_then(|file| file.sync_all())
        .map_err(io)?;
    for suffix in ["", "-wal", "-shm"] {
        let from = with_suffix(store, suffix);
        if from.exists() {
            let mut to = kept.clone().into_os_string();
            to.push(suffix);
            std::fs::rename(from, to).map_err(io)?;
        }
    }
    draft.publish()?;
    Ok(kept)
}

fn failed(error: &OpenStoreError) -> StorageError {
    StorageError::Io {
        detail: error.to_string(),
    }
}

fn micros_of(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}
