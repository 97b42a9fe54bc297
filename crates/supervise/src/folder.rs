//! The application's folder: files below it, through no link, and one process that runs it.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::SuperviseError;

/// The application's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, for its owner only, unless it is there.
    pub(crate) fn make(path: &Path) -> Result<Self, SuperviseError> {
        let failed = |error: io::Error| unusable(path, &error);
        let path = std::path::absolute(path).map_err(failed)?;
        (std::fs::DirBuilder::new().recursive(true).mode(0o700))
            .create(&path)
            .map_err(failed)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something below the folder.
    pub(crate) fn below(&self, relative: &str) -> PathBuf {
        self.path.join(relative)
    }

    /// Writes a file for its owner only: all of it or none of it, in the place of what is there.
    /// Folders on the way are made; none of them may be a link.
    pub(crate) fn write_private(
        &self,
        relative: &str,
        bytes: &[u8],
        own_folder: OwnFolder,
    ) -> Result<(), SuperviseError> {
        let path = self.below(relative);
        let failed = |error: Errno| unusable(&path, &error.into());
        let (folder, name) = self.open_parent(relative).map_err(failed)?;
        if own_folder == OwnFolder::Close && relative.contains('/') {
            rustix::fs::fchmod(&folder, Mode::RWXU).map_err(failed)?;
        }
        let draft = format!(".{name}.new-{}", std::process::id());
        let _ = rustix::fs::unlinkat(&folder, &draft, AtFlags::empty());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&folder, &draft, flags, mode).map_err(failed)?;
        let mut file = File::from(file);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let moved = written.and_then(|()| {
            rustix::fs::renameat(&folder, &draft, &folder, name)?;
            Ok(rustix::fs::fsync(&folder)?)
        });
        moved.map_err(|error| {
            let _ = rustix::fs::unlinkat(&folder, &draft, AtFlags::empty());
            unusable(&path, &error)
        })
    }

    /// Opens a file to write at its end, for its owner only; folders on the way are made.
    pub(crate) fn open_append(&self, relative: &str) -> Result<File, SuperviseError> {
        let failed = |error: Errno| unusable(&self.below(relative), &error.into());
        let (folder, name) = self.open_parent(relative).map_err(failed)?;
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&folder, name, flags, mode).map_err(failed)?;
        Ok(File::from(file))
    }

    /// Removes a file; one that is not there is no error.
    pub(crate) fn remove(&self, relative: &str) -> Result<(), SuperviseError> {
        let failed = |error: Errno| unusable(&self.below(relative), &error.into());
        let (folder, name) = self.open_parent(relative).map_err(failed)?;
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes a folder below, for its owner only.
    pub(crate) fn make_below(&self, relative: &str) -> Result<(), SuperviseError> {
        let inside = format!("{}/.", relative.trim_end_matches('/'));
        let made = self.open_parent(&inside).map(drop);
        made.map_err(|error| unusable(&self.below(relative), &error.into()))
    }

    /// The folder that a path lies in, and the path's last name.
    fn open_parent<'p>(&self, relative: &'p str) -> Result<(OwnedFd, &'p str), Errno> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let (parents, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        for part in parents.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err(Errno::INVAL);
            }
            match rustix::fs::mkdirat(&folder, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            let flags = flags | OFlags::NOFOLLOW;
            folder = rustix::fs::openat(&folder, part, flags, Mode::empty())?;
        }
        match name {
            "" | ".." => Err(Errno::INVAL),
            name => Ok((folder, name)),
        }
    }
}

/// What becomes of the folder in which a private file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnFolder {
    /// Nobody else may look into it from now on.
    Close,
    /// It stays as it is.
    Leave,
}

/// A file or folder of the application that cannot be used.
pub(crate) fn unusable(path: &Path, error: &io::Error) -> SuperviseError {
    SuperviseError::Folder {
        path: path.into(),
        why: error.to_string(),
    }
}

/// Held by the one process that runs the application; the system lets go of it when it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// Where the lock lies.
const LOCK: &str = "runtime/lock";
/// Longest content of the lock that is read.
const LOCK_BYTES_MAX: u64 = 64;

impl Lock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(folder: &Folder) -> Result<Self, SuperviseError> {
        let path = folder.below(LOCK);
        let failed = |error: Errno| unusable(&path, &error.into());
        let (parent, name) = folder.open_parent(LOCK).map_err(failed)?;
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&parent, name, flags, mode).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = File::from(file)
                    .take(LOCK_BYTES_MAX)
                    .read_to_string(&mut text);
                let mut words = read.map_or("", |_| text.as_str()).split_whitespace();
                return Err(SuperviseError::Running {
                    pid: words.next().and_then(|word| word.parse().ok()),
                    port: words.next().and_then(|word| word.parse().ok()),
                });
            }
            Err(error) => return Err(failed(error)),
        }
        let mut lock = Self {
            file: File::from(file),
        };
        lock.note(None);
        Ok(lock)
    }

    /// Notes who holds it, for whoever comes second.
    pub(crate) fn note(&mut self, port: Option<u16>) {
        let port = port.map(|port| format!(" {port}")).unwrap_or_default();
        let text = format!("{}{port}\n", std::process::id());
        // Only a courtesy: the lock holds without it.
        let _ = self.file.set_len(0);
        let _ = self.file.rewind();
        let _ = self.file.write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn private_files_are_written_below_through_no_link() {
        let outside = tempfile::tempdir().unwrap();
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(&home.path().join("app")).unwrap();
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        folder
            .write_private("runtime/deep/key", b"one\n", OwnFolder::Close)
            .unwrap();
        folder
            .write_private("runtime/deep/key", b"two\n", OwnFolder::Close)
            .unwrap();
        assert_eq!(
            std::fs::read(folder.below("runtime/deep/key")).unwrap(),
            b"two\n"
        );
        assert_eq!(mode(folder.below("runtime/deep/key")), 0o600);
        assert_eq!(mode(folder.below("runtime/deep")), 0o700);

        std::os::unix::fs::symlink(outside.path(), folder.below("away")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("x"), folder.below("link")).unwrap();
        for relative in ["away/key", "../key", "runtime/../../key", "..", ""] {
            let refused = folder.write_private(relative, b"x", OwnFolder::Leave);
            assert!(refused.is_err(), "{relative}");
        }
        // What is a link is replaced, not followed.
        folder
            .write_private("link", b"x", OwnFolder::Leave)
            .unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(home.path()).unwrap();
        let mut first = Lock::take(&folder).unwrap();
        first.note(Some(47_710));
        let second = Lock::take(&folder).unwrap_err().to_string();
        let pid = std::process::id();
        let expected =
            format!("the application runs already as process {pid}, its control API on port 47710");
        assert_eq!(second, expected);
        drop(first);
        Lock::take(&folder).unwrap();
    }
}
