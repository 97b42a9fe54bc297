//! Where a store may lie: no links, no network file systems, nobody else can write.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;
use rustix::fs::Stat;
use rustix::io::Errno;

use super::OpenStoreError;

/// Magic numbers of file systems whose locks cannot be trusted.
const NETWORK_FILE_SYSTEMS: [(u64, &str); 7] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
];

/// First bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A place where no store may lie.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsafePlace {
    /// A link, a pipe, a device.
    #[error("{} is not a regular file", .path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// It has a second name.
    #[error("{} has more than one hard link", .path.display())]
    HardLinked {
        /// Which.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to another user", .path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// Others could put files there.
    #[error("others can write to the folder {}", .path.display())]
    SharedFolder {
        /// Which.
        path: PathBuf,
    },
    /// Locks do not hold there.
    #[error("{} lies on a network file system ({name})", .path.display())]
    Network {
        /// Which.
        path: PathBuf,
        /// What kind.
        name: &'static str,
    },
}

/// The path with its folder resolved; the last part is kept, so that a link there is seen.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, OpenStoreError> {
    let resolved = resolve_new(path)?;
    match rustix::fs::statat(rustix::fs::CWD, &resolved, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Err(OpenStoreError::Missing { path: resolved }),
        _ => Ok(resolved),
    }
}

pub(super) fn resolve_new(path: &Path) -> Result<PathBuf, OpenStoreError> {
    let missing = || OpenStoreError::Missing { path: path.into() };
    let name = path.file_name().ok_or_else(missing)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => OpenStoreError::Io {
            path: path.into(),
            detail: error.to_string(),
        },
    })?;
    Ok(folder.join(name))
}

/// Makes the folder of a new store, mode 0700.
pub(super) fn make_folder(path: &Path) -> Result<(), OpenStoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| OpenStoreError::Io {
            path: folder.into(),
            detail: error.to_string(),
        })
}

/// Checks an existing store and the files beside it; a mode that is too wide is mended and
/// reported.
pub(super) fn check_files(path: &Path, beside: &[PathBuf]) -> Result<Vec<String>, OpenStoreError> {
    check_folder(path)?;
    let mut warnings = Vec::new();
    warnings.extend(check_file(path)?);
    for path in beside {
        warnings.extend(check_file(path)?);
    }
    Ok(warnings)
}

fn check_file(path: &Path) -> Result<Option<String>, OpenStoreError> {
    let stat = match rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        // What has to be there is missed by who opens it.
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io(path, error)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(UnsafePlace::NotAFile { path: path.into() }.into());
    }
    if stat.st_nlink > 1 {
        return Err(UnsafePlace::HardLinked { path: path.into() }.into());
    }
    if !is_own(&stat) {
        return Err(UnsafePlace::Foreign { path: path.into() }.into());
    }
    if stat.st_mode & 0o077 == 0 {
        return Ok(None);
    }
    let file = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| io(path, error))?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(|error| io(path, error))?;
    Ok(Some(format!(
        "{} could be read by others (mode {:03o}); it is 600 now",
        path.display(),
        stat.st_mode & 0o777
    )))
}

/// Whether the file begins as SQLite's files do.
pub(super) fn has_magic(path: &Path) -> Result<bool, OpenStoreError> {
    let mut start = [0; MAGIC.len()];
    let length = File::open(path)
        .and_then(|file| file.read_at(&mut start, 0))
        .map_err(|error| OpenStoreError::Io {
            path: path.into(),
            detail: error.to_string(),
        })?;
    Ok(start[..length] == *MAGIC)
}

fn check_folder(path: &Path) -> Result<(), OpenStoreError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let stat = rustix::fs::stat(folder).map_err(|error| io(folder, error))?;
    // Root can write everywhere anyway.
    let is_foreign = stat.st_uid != 0 && !is_own(&stat);
    if stat.st_mode & 0o022 != 0 || is_foreign {
        return Err(UnsafePlace::SharedFolder {
            path: folder.into(),
        }
        .into());
    }
    let system = rustix::fs::statfs(folder).map_err(|error| io(folder, error))?;
    #[expect(
        clippy::cast_sign_loss,
        reason = "magic numbers are compared bit by bit"
    )]
    let kind = system.f_type as u64 & 0xffff_ffff;
    match NETWORK_FILE_SYSTEMS
        .iter()
        .find(|(magic, _)| *magic == kind)
    {
        Some((_, name)) => Err(UnsafePlace::Network {
            path: path.into(),
            name,
        }
        .into()),
        None => Ok(()),
    }
}

fn is_own(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Held while a store is made, so that two processes do not make it at once.
pub(super) fn lock_folder(path: &Path) -> Result<File, OpenStoreError> {
    check_folder(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let file = rustix::fs::open(
        folder,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| io(folder, error))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|error| io(folder, error))?;
    Ok(File::from(file))
}

/// A new store under a temporary name; removed unless it is published.
pub(super) struct Draft {
    draft: PathBuf,
    path: PathBuf,
}

/// Tells the drafts of one process from each other.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

impl Draft {
    pub(super) fn new(path: &Path) -> Result<Self, OpenStoreError> {
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".new-{}-{number}", std::process::id()));
        let draft = path.with_file_name(name);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        // A left-over of a killed process with our number.
        let _ = std::fs::remove_file(&draft);
        rustix::fs::open(&draft, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| io(&draft, error))?;
        Ok(Self {
            draft,
            path: path.into(),
        })
    }

    pub(super) fn draft_path(&self) -> &Path {
        &self.draft
    }

    /// Gives the store its name, unless there is one by now.
    pub(super) fn publish(self) -> Result<(), OpenStoreError> {
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, &self.draft, cwd, &self.path, RenameFlags::NOREPLACE)
            .map_err(|error| match error {
                Errno::EXIST => OpenStoreError::Exists {
                    path: self.path.clone(),
                },
                _ => io(&self.path, error),
            })?;
        sync_folder(&self.path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = self.draft.clone().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
    }
}

pub(super) fn sync_folder(path: &Path) -> Result<(), OpenStoreError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| OpenStoreError::Io {
            path: folder.into(),
            detail: error.to_string(),
        })
}

pub(super) fn io(path: &Path, error: Errno) -> OpenStoreError {
    OpenStoreError::Io {
        path: path.into(),
        detail: error.to_string(),
    }
}
