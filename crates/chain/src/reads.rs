//! Notes of reads that lie beside a store until they are in it.
//!
//! Who reads very often notes each read here first: one write to a file, which the kernel has when
//! it returns, as a server's audit line. Some time later all are written into the store in one
//! commit. A process that is killed leaves its files behind, and who opens the store next finds
//! them. The notes are sealed by whoever makes them: this module knows bytes.
//!
//! Each process has two files of its own, which it holds locked while it lives: one takes notes
//! while those of the other are written into the store.

use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use strongroom_core::port::Rng;
use strongroom_engine::Engine;

/// Between the store's name and what tells one process from another.
const MARK: &str = ".reads-";
/// Before each note: its length.
const LENGTH_BYTES: usize = 4;
/// Longer files are not read whole; no process lets one of its own become as long.
const LEFT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Notes in one commit.
pub const PIECE: usize = 1024;
/// Names that are tried for files of one's own.
const NAMES_MAX: usize = 16;

/// The notes of this process. Its files are removed on drop, unless there is something in them.
pub struct ReadNotes {
    paths: [PathBuf; 2],
    inner: Mutex<Inner>,
}

struct Inner {
    files: [File; 2],
    /// Which one takes notes.
    active: usize,
    /// How long each is, without what was written in part.
    lengths: [u64; 2],
    waiting: Vec<Vec<u8>>,
    /// Set where a part of a note could not be cut off: nothing after it would be found.
    is_torn: bool,
    buffer: Vec<u8>,
}

impl ReadNotes {
    /// Makes the files beside a store.
    ///
    /// # Errors
    /// When they cannot be made or locked.
    pub fn open(store: &Path, rng: &dyn Rng) -> io::Result<Self> {
        let prefix = prefix(store);
        for _ in 0..NAMES_MAX {
            let mut id = [0; 8];
            rng.fill(&mut id);
            let id = HEXLOWER.encode(&id);
            let paths = [0, 1].map(|number| store.with_file_name(format!("{prefix}{id}-{number}")));
            let (Some(first), Some(second)) = (make(&paths[0])?, make(&paths[1])?) else {
                continue;
            };
            let inner = Inner {
                files: [first, second],
                active: 0,
                lengths: [0; 2],
                waiting: Vec::new(),
                is_torn: false,
                buffer: Vec::new(),
            };
            return Ok(Self {
                paths,
                inner: Mutex::new(inner),
            });
        }
        Err(io::Error::other("no name is free"))
    }

    /// Takes a note: the kernel has it when this returns. How many wait to be written into the
    /// store.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&self, note: Vec<u8>) -> io::Result<usize> {
        let mut inner = self.inner();
        inner.write(&note)?;
        inner.waiting.push(note);
        Ok(inner.waiting.len())
    }

    /// What waits. From now on the other file takes notes, until the next call.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut inner = self.inner();
        inner.active = 1 - inner.active;
        std::mem::take(&mut inner.waiting)
    }

    /// What was taken is in the store, and not needed here any more.
    ///
    /// # Errors
    /// When a file cannot be emptied: what is in it is written into the store once more later.
    pub fn forget(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let other = 1 - inner.active;
        if inner.lengths[other] > 0 {
            inner.files[other].set_len(0)?;
            inner.lengths[other] = 0;
        }
        Ok(())
    }

    /// What was taken could not be written: it waits on, before what came since.
    pub fn give_back(&self, mut notes: Vec<Vec<u8>>) {
        let mut inner = self.inner();
        notes.append(&mut inner.waiting);
        inner.waiting = notes;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, note: &[u8]) -> io::Result<()> {
        if self.is_torn {
            return Err(io::Error::other("the file of notes is damaged"));
        }
        let length = u32::try_from(note.len()).map_err(io::Error::other)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(note);
        let (active, end) = (self.active, self.lengths[self.active]);
        match (&self.files[active]).write_all(&self.buffer) {
            Ok(()) => {
                self.lengths[active] = end + self.buffer.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A part of it may be there.
                self.is_torn = self.files[active].set_len(end).is_err();
                Err(error)
            }
        }
    }
}

impl Drop for ReadNotes {
    fn drop(&mut self) {
        let inner = self.inner();
        for (path, length) in self.paths.iter().zip(inner.lengths) {
            if length == 0 {
                // One that stays is empty: who finds it removes it.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Notes that a process has left behind, which nobody else takes meanwhile.
pub struct Left {
    path: PathBuf,
    /// Locked.
    _file: File,
    notes: Vec<Vec<u8>>,
}

impl Left {
    /// The notes, oldest first.
    #[must_use]
    pub fn notes(&self) -> &[Vec<u8>] {
        &self.notes
    }

    /// They are in the store.
    ///
    /// # Errors
    /// When the file cannot be removed: they are found again.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// What processes that have ended left beside a store.
///
/// # Errors
/// When the folder or a file in it cannot be read.
pub fn left_behind(store: &Path) -> io::Result<Vec<Left>> {
    let prefix = prefix(store);
    let folder = store.parent().unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&prefix)) {
            found.extend(take_over(entry.path())?);
        }
    }
    Ok(found)
}

/// Writes what processes that have ended left beside a store into it; how many notes there were.
/// Bytes that are no notes of this store are dropped.
///
/// # Errors
/// When a file cannot be read or removed, or the store cannot be written.
pub async fn collect(store: &Path, engine: &Engine) -> Result<usize, CollectError> {
    let failed = |source| CollectError::Io {
        folder: store.parent().unwrap_or(store).to_owned(),
        source,
    };
    let mut count = 0;
    for left in left_behind(store).map_err(failed)? {
        let notes = left.notes().iter();
        let notes: Vec<Vec<u8>> = notes.filter(|note| engine.is_note(note)).cloned().collect();
        for piece in notes.chunks(PIECE) {
            engine.put_notes(piece).await?;
        }
        count += notes.len();
        left.remove().map_err(failed)?;
    }
    Ok(count)
}

/// What was left beside a store cannot be taken into it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The files.
    #[error("the notes of reads in {} cannot be taken up: {source}", folder.display())]
    Io {
        /// The store's folder.
        folder: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] strongroom_engine::Error),
}

/// `None` where its process lives, or another one was faster.
fn take_over(path: PathBuf) -> io::Result<Option<Left>> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !lock(&file)? {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    (&file).take(LEFT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(Left {
        path,
        notes: parse(&bytes),
        _file: file,
    }))
}

/// The notes in a file, up to one that was not written to its end: its read was not answered.
fn parse(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut notes = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((note, after)) = after.split_at_checked(length) else {
            break;
        };
        notes.push(note.to_vec());
        rest = after;
    }
    notes
}

/// A new file, locked; `None` where the name is taken, or somebody removed it as left behind.
fn make(path: &Path) -> io::Result<Option<File>> {
    let made = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(file) => Ok(lock(&file)?.then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks a file. False where somebody has it, or has removed it meanwhile.
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn prefix(store: &Path) -> String {
    let stem = store.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}{MARK}")
}

#[cfg(test)]
mod tests {
    use strongroom_crypto::SystemRng;

    use super::*;

    fn texts(notes: &[Vec<u8>]) -> Vec<&str> {
        let texts = notes.iter().map(|note| std::str::from_utf8(note).unwrap());
        texts.collect()
    }

    fn files(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    #[test]
    fn who_lives_keeps_its_notes_and_who_died_leaves_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let notes = ReadNotes::open(&store, &SystemRng).unwrap();
        for (at, text) in ["one", "two", "three"].into_iter().enumerate() {
            assert_eq!(notes.add(text.into()).unwrap(), at + 1);
        }
        assert!(left_behind(&store).unwrap().is_empty());
        let elsewhere = folder.path().join("other.db");
        drop(notes);
        assert!(left_behind(&elsewhere).unwrap().is_empty());
        let left = left_behind(&store).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(texts(left[0].notes()), ["one", "two", "three"]);
        // Whoever has them has them alone, and they stay until they are removed.
        assert!(left_behind(&store).unwrap().is_empty());
        drop(left);
        for left in left_behind(&store).unwrap() {
            left.remove().unwrap();
        }
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn what_is_in_the_store_is_forgotten_and_what_is_not_waits_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let notes = ReadNotes::open(&store, &SystemRng).unwrap();
        notes.add("one".into()).unwrap();
        let taken = notes.take();
        notes.add("two".into()).unwrap();
        notes.give_back(taken);
        let taken = notes.take();
        assert_eq!(texts(&taken), ["one", "two"]);
        notes.add("three".into()).unwrap();
        notes.forget().unwrap();
        assert_eq!(texts(&notes.take()), ["three"]);
        notes.forget().unwrap();
        drop(notes);
        assert_eq!(files(folder.path()), 0, "empty files are removed");
    }

    #[test]
    fn a_note_that_was_written_in_part_ends_the_file() {
        let bytes = [
            &3_u32.to_le_bytes()[..],
            b"one",
            &9_u32.to_le_bytes(),
            b"tw",
        ]
        .concat();
        for end in 0..bytes.len() {
            let expected: &[&str] = if end < 7 { &[] } else { &["one"] };
            assert_eq!(texts(&parse(&bytes[..end])), expected, "{end}");
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let target = folder.path().join("target");
        std::fs::write(&target, b"").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join("store.reads-0-0")).unwrap();
        assert!(left_behind(&store).is_err());
    }
}
