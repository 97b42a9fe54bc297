//! The cache's file: one for each store, `remote-<store id>.cache` in the user's cache folder.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::cache::CACHE_BYTES_MAX;
use strongroom_engine::cache::Cache;

use crate::app::App;
use crate::error::CommandError;
use crate::output;
use crate::output::Existing;

const PREFIX: &str = "remote-";
const SUFFIX: &str = ".cache";
const LOCK: &str = "cache.lock";

fn folder(app: &App) -> Result<PathBuf, CommandError> {
    app.environment.cache_folder().ok_or_else(|| {
        CommandError::usage("HOME is not set, so there is no folder for the cache")
            .hint("set HOME or XDG_CACHE_HOME")
    })
}

/// Where the answers of a store are kept.
pub(crate) fn path_of(app: &App, store_id: &[u8; 16]) -> Result<PathBuf, CommandError> {
    let id = HEXLOWER.encode(store_id);
    Ok(folder(app)?.join(format!("{PREFIX}{id}{SUFFIX}")))
}

/// Reads the cache; one that is damaged counts as empty, and is told.
pub(super) fn load(app: &App, barrier: &Barrier, path: &Path) -> Cache {
    let told = |why: &dyn std::fmt::Display| {
        app.ui.warn(&format!(
            "warning: the cache {} counts as empty: {why}",
            path.display()
        ));
        Cache::new(barrier)
    };
    match read(path) {
        Ok(None) => Cache::new(barrier),
        Ok(Some(bytes)) => Cache::parse(barrier, &bytes).unwrap_or_else(|error| told(&error)),
        Err(error) => told(&error),
    }
}

/// Its bytes; `None` when there is none. Links are not followed.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than a cache can have is refused when it is parsed.
    file.take(CACHE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes what has changed; a failure is told.
pub(super) fn save(app: &App, cache: &Cache, path: &Path) {
    if !cache.is_changed() {
        return;
    }
    if let Err(error) = try_save(cache, path) {
        app.ui.warn(&format!(
            "warning: the cache was not written: {}",
            error.message
        ));
    }
}

fn try_save(cache: &Cache, path: &Path) -> Result<(), CommandError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = |error: io::Error| {
        CommandError::failed(format!("{} cannot be used: {error}", folder.display()))
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let _lock = lock(folder).map_err(failed)?;
    sweep(folder);
    let on_disk = read(path).unwrap_or(None);
    match cache.merged(on_disk.as_deref()) {
        Some(bytes) => output::write(path, &bytes, Mode::RUSR | Mode::WUSR, Existing::Replace),
        None => Ok(()),
    }
}

/// Held while the file is read, merged and replaced.
fn lock(folder: &Path) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::open(folder.join(LOCK), flags, mode)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(File::from(file))
}

/// Removes drafts of processes that were killed; nobody else writes one while the lock is held.
fn sweep(folder: &Path) {
    for (path, name) in ours(folder) {
        if !name.ends_with(SUFFIX) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes the kept answers of all stores; how many files there were.
pub(crate) fn clear(app: &App) -> Result<usize, CommandError> {
    let folder = folder(app)?;
    if !folder.is_dir() {
        return Ok(0);
    }
    let failed = |path: &Path, error: io::Error| {
        CommandError::failed(format!("{} cannot be removed: {error}", path.display()))
    };
    let _lock = lock(&folder).map_err(|error| failed(&folder, error))?;
    let mut removed = 0;
    for (path, _) in ours(&folder) {
        std::fs::remove_file(&path).map_err(|error| failed(&path, error))?;
        removed += 1;
    }
    Ok(removed)
}

fn ours(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_ours = name.starts_with(PREFIX) && name.contains(SUFFIX);
        is_ours.then(|| (entry.path(), name))
    })
}
