//! Files read with a bound, and replaced whole or not at all.

use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use zeroize::Zeroizing;

/// Reads a whole regular file of at most `bytes_max` bytes.
///
/// The size is looked at before anything is read, and reading stops at the bound even when the
/// file grows meanwhile. Pipes, devices and folders are refused without waiting on them.
///
/// # Errors
/// When the file is missing, not readable, not a regular file or too large.
pub fn read_capped(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, ReadFileError> {
    read_with_metadata(path, bytes_max, OFlags::empty()).map(|(bytes, _)| bytes)
}

/// Like [`read_capped`], with what the system says of the file and further flags to open it with.
pub(crate) fn read_with_metadata(
    path: &Path,
    bytes_max: u64,
    flags: OFlags,
) -> Result<(Zeroizing<Vec<u8>>, Metadata), ReadFileError> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| ReadFileError::new(&error))?;
    let metadata = file
        .metadata()
        .map_err(|error| ReadFileError::new(&error))?;
    if !metadata.is_file() {
        return Err(ReadFileError::NotRegular);
    }
    let too_large = ReadFileError::TooLarge { bytes_max };
    if metadata.len() > bytes_max {
        return Err(too_large);
    }
    let size = usize::try_from(metadata.len()).map_err(|_| too_large)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| ReadFileError::new(&error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= bytes_max) {
        return Ok((bytes, metadata));
    }
    Err(too_large)
}

/// Why a file could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadFileError {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// The system does not allow it.
    #[error("reading it is not allowed")]
    Denied,
    /// A folder, pipe, device or socket.
    #[error("it is not a regular file")]
    NotRegular,
    /// Over the bound.
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The system failed in another way.
    #[error("it cannot be read ({kind})")]
    Io {
        /// What the system said.
        kind: io::ErrorKind,
    },
}

impl ReadFileError {
    pub(crate) fn new(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Denied,
            kind => Self::Io { kind },
        }
    }
}

/// What a file was when it was read, to notice that somebody else wrote it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    mode: u32,
    owner: (u32, u32),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
        }
    }
}

/// Replaces a file by `bytes`: either the old or the new content is there, also after a crash.
///
/// `before` is the file as it was read, `None` when there was none. A new file gets mode 0600; an
/// existing one keeps its mode and owner. A symbolic link is refused, and so is a file that is no
/// longer what was read.
pub(crate) fn replace(
    path: &Path,
    bytes: &[u8],
    before: Option<&Stamp>,
) -> Result<(), WriteFileError> {
    check_unchanged(path, before)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sweep(path, folder);
    let (temporary, file) = create_temporary(path, folder)?;
    let written = write_out(&file, bytes, before)
        .and_then(|()| check_unchanged(path, before))
        .and_then(|()| {
            fs::rename(&temporary, path)
                .map_err(|error| WriteFileError::new("renaming the new file into place", &error))
        });
    if written.is_err() {
        // The first error is the one to report; a leftover has mode 0600.
        drop(fs::remove_file(&temporary));
        return written;
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| WriteFileError::new("making the folder's entry durable", &error))
}

fn check_unchanged(path: &Path, before: Option<&Stamp>) -> Result<(), WriteFileError> {
    let now = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_symlink() => return Err(WriteFileError::Symlink),
        Ok(metadata) => Some(Stamp::of(&metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(WriteFileError::new("looking at the file", &error)),
    };
    if now.as_ref() == before {
        Ok(())
    } else {
        Err(WriteFileError::Changed)
    }
}

/// Removes what processes that were killed have left of the same file: it may hold its values.
fn sweep(path: &Path, folder: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let rest = found.strip_prefix(&prefix);
        let rest = rest.and_then(|rest| rest.strip_suffix(".tmp"));
        let process = rest.and_then(|rest| rest.split_once('-'));
        let process = process.and_then(|(process, _)| process.parse().ok());
        let Some(process) = process.and_then(Pid::from_raw) else {
            continue;
        };
        if rustix::process::test_kill_process(process) == Err(Errno::SRCH) {
            // Who cannot remove it leaves a file of mode 0600.
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn create_temporary(path: &Path, folder: &Path) -> Result<(PathBuf, File), WriteFileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut attempt = 0;
    loop {
        let process = std::process::id();
        let temporary = folder.join(format!(".{name}.{process}-{attempt}.tmp"));
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(&temporary);
        match created {
            Ok(file) => return Ok((temporary, file)),
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && attempt < TEMPORARY_ATTEMPTS_MAX =>
            {
                attempt += 1;
            }
            Err(error) => return Err(WriteFileError::new("creating a file beside it", &error)),
        }
    }
}

fn write_out(mut file: &File, bytes: &[u8], before: Option<&Stamp>) -> Result<(), WriteFileError> {
    file.write_all(bytes)
        .map_err(|error| WriteFileError::new("writing the new file", &error))?;
    if let Some(before) = before {
        let own = file
            .metadata()
            .map_err(|error| WriteFileError::new("looking at the new file", &error))?;
        if (own.uid(), own.gid()) != before.owner {
            let (user, group) = before.owner;
            std::os::unix::fs::fchown(file, Some(user), Some(group))
                .map_err(|error| WriteFileError::new("keeping the file's owner", &error))?;
        }
        file.set_permissions(fs::Permissions::from_mode(before.mode))
            .map_err(|error| WriteFileError::new("keeping the file's mode", &error))?;
    }
    file.sync_all()
        .map_err(|error| WriteFileError::new("making the new file durable", &error))
}

/// How many names are tried for the file that is renamed into place.
const TEMPORARY_ATTEMPTS_MAX: u32 = 16;

/// Why a file could not be written. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFileError {
    /// The name is a symbolic link.
    #[error("it is a symbolic link: name the file that it leads to")]
    Symlink,
    /// Somebody else wrote the file since it was read.
    #[error("it was changed by somebody else meanwhile: try again")]
    Changed,
    /// The system does not allow it.
    #[error("{doing} is not allowed")]
    Denied {
        /// What was being done.
        doing: &'static str,
    },
    /// The system failed in another way.
    #[error("{doing} failed ({kind})")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        kind: io::ErrorKind,
    },
}

impl WriteFileError {
    fn new(doing: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { doing },
            kind => Self::Io { doing, kind },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_inclusive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_capped(&path, 5).unwrap().as_slice(), b"12345");
        assert_eq!(
            read_capped(&path, 4).unwrap_err(),
            ReadFileError::TooLarge { bytes_max: 4 }
        );
        assert_eq!(
            read_capped(folder.path(), 5).unwrap_err(),
            ReadFileError::NotRegular
        );
        assert_eq!(
            read_capped(&folder.path().join("b"), 5).unwrap_err(),
            ReadFileError::NotFound
        );
        assert_eq!(
            read_capped(&path.join("c"), 5).unwrap_err(),
            ReadFileError::NotFound
        );
    }

    #[test]
    fn a_huge_file_is_refused_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(100 << 30).unwrap();
        let bytes_max = 4 << 20;
        assert_eq!(
            read_capped(&path, bytes_max).unwrap_err(),
            ReadFileError::TooLarge { bytes_max }
        );
    }

    #[test]
    fn a_pipe_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(
            read_capped(&path, 5).unwrap_err(),
            ReadFileError::NotRegular
        );
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_file_is_private_and_an_old_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        replace(&path, b"1", None).unwrap();
        assert_eq!(
            (fs::read(&path).unwrap().as_slice(), mode_of(&path)),
            (&b"1"[..], 0o600)
        );
        for mode in [0o600, 0o640, 0o644, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let before = Stamp::of(&fs::metadata(&path).unwrap());
            replace(&path, b"2", Some(&before)).unwrap();
            assert_eq!(mode_of(&path), mode);
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        // No process has the greatest number that there can be.
        let dead = folder.path().join(format!("..env.{}-0.tmp", i32::MAX));
        let living = folder
            .path()
            .join(format!("..env.{}-7.tmp", std::process::id()));
        let other = folder.path().join("..env.notes.tmp");
        for left in [&dead, &living, &other] {
            fs::write(left, b"old").unwrap();
        }
        replace(&path, b"new", None).unwrap();
        assert!(!dead.exists() && living.exists() && other.exists());
    }

    #[test]
    fn links_and_files_changed_meanwhile_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&path, b"1").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let before = Stamp::of(&fs::metadata(&link).unwrap());
        assert_eq!(
            replace(&link, b"2", Some(&before)),
            Err(WriteFileError::Symlink)
        );
        fs::write(&path, b"longer").unwrap();
        assert_eq!(
            replace(&path, b"2", Some(&before)),
            Err(WriteFileError::Changed)
        );
        assert_eq!(replace(&path, b"2", None), Err(WriteFileError::Changed));
        assert_eq!(fs::read(&path).unwrap(), b"longer");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left behind"
        );
    }
}
