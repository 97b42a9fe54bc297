//! Secrets as files: in memory, private, gone when the command ends.

use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process;

use rustix::fs::AtFlags;
use rustix::fs::FlockOperation;
use rustix::fs::MemfdFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::io::FdFlags;
use rustix::process::geteuid;

use super::ChildError;
use super::SecretFile;

/// The secret files of one run. Dropping it removes them.
///
/// They are in a folder of mode 0700 on a tmpfs. We hold a lock on that folder for as long as we
/// live, and the kernel lets go of it however we end: a folder without a locker is stale.
#[derive(Debug, Default)]
pub(crate) struct SecretFiles {
    folder: Option<Folder>,
    /// Where there is no tmpfs: anonymous memory, named by the descriptor the command inherits.
    anonymous: Vec<(String, OwnedFd)>,
    variables: Vec<(String, OsString)>,
}

impl SecretFiles {
    /// Writes `files` into the first of `private_dirs` that will do, else into anonymous memory.
    pub(crate) fn create(
        files: &[SecretFile],
        private_dirs: &[PathBuf],
    ) -> Result<Self, ChildError> {
        let mut made = Self::default();
        if files.is_empty() {
            return Ok(made);
        }
        made.folder = private_dirs.iter().find_map(|base| Folder::create_in(base));
        for file in files {
            let name = &file.name;
            if !is_plain_name(name) {
                return Err(ChildError::FileName { name: name.clone() });
            }
            let path = match &made.folder {
                Some(folder) => folder.write(file),
                None => write_anonymous(file, &mut made.anonymous),
            };
            let path = path.map_err(|source| ChildError::FileWrite {
                name: name.clone(),
                source,
            })?;
            if let Some(variable) = &file.env {
                made.variables
                    .push((variable.clone(), path.into_os_string()));
            }
        }
        Ok(made)
    }

    /// The variables that tell the command where the files are.
    pub(crate) fn variables(&self) -> &[(String, OsString)] {
        &self.variables
    }

    /// Lets the next command inherit the anonymous files; called again with `false` after it.
    pub(crate) fn set_inheritable(&self, is_inheritable: bool) -> io::Result<()> {
        let flags = if is_inheritable {
            FdFlags::empty()
        } else {
            FdFlags::CLOEXEC
        };
        for (_, fd) in &self.anonymous {
            rustix::io::fcntl_setfd(fd, flags)?;
        }
        Ok(())
    }

    /// Puts new contents into files of the running command: in one step each, where they are in a
    /// folder. Those that it was not started with are left out.
    pub(crate) fn rewrite(&self, files: &[SecretFile]) -> Result<(), ChildError> {
        for file in files {
            let anonymous = self.anonymous.iter().find(|(name, _)| *name == file.name);
            let written = match (&self.folder, anonymous) {
                (Some(folder), _) => folder.replace(file),
                (None, Some((_, fd))) => replace_anonymous(fd, file),
                (None, None) => Ok(()),
            };
            written.map_err(|source| ChildError::FileWrite {
                name: file.name.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Removes the files now, to be able to tell when that fails.
    pub(crate) fn remove(mut self) -> Result<(), (PathBuf, io::Error)> {
        self.folder
            .take()
            .map_or(Ok(()), |mut folder| folder.remove())
    }
}

/// Removes what earlier runs left in `private_dirs` when they were killed outright.
pub(crate) fn sweep(private_dirs: &[PathBuf]) {
    for base in private_dirs.iter().filter(|base| is_private_memory(base)) {
        let entries = fs::read_dir(base).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(FOLDER_PREFIX.as_bytes())
        });
        for entry in ours.take(SWEPT_FOLDERS_MAX) {
            remove_if_stale(&entry.path());
        }
    }
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    fd: OwnedFd,
    is_removed: bool,
}

impl Folder {
    fn create_in(base: &Path) -> Option<Self> {
        if !is_private_memory(base) {
            return None;
        }
        (0..FOLDER_TRIES_MAX).find_map(|_| Self::try_create_in(base))
    }

    fn try_create_in(base: &Path) -> Option<Self> {
        let random = RandomState::new().hash_one(process::id());
        let path = base.join(format!("{FOLDER_PREFIX}{}.{random:016x}", process::id()));
        rustix::fs::mkdir(&path, Mode::RWXU).ok()?;
        let fd = open_folder(&path).ok()?;
        let folder = Self {
            path,
            fd,
            is_removed: false,
        };
        rustix::fs::flock(&folder.fd, FlockOperation::NonBlockingLockExclusive).ok()?;
        // A sweep may have come between the two calls above: then it is gone, and we try again.
        let stat = rustix::fs::fstat(&folder.fd).ok()?;
        (stat.st_nlink > 0).then_some(folder)
    }

    fn write(&self, file: &SecretFile) -> io::Result<PathBuf> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = rustix::fs::openat(&self.fd, &*file.name, flags, Mode::RUSR | Mode::WUSR)?;
        fill(&mut File::from(created), file)?;
        Ok(self.path.join(&file.name))
    }

    fn replace(&self, file: &SecretFile) -> io::Result<()> {
        if !self.path.join(&file.name).exists() {
            return Ok(());
        }
        // What an earlier try has left is ours.
        let _ = rustix::fs::unlinkat(&self.fd, DRAFT_NAME, AtFlags::empty());
        let draft = SecretFile {
            name: DRAFT_NAME.to_owned(),
            ..file.clone()
        };
        self.write(&draft)?;
        rustix::fs::renameat(&self.fd, DRAFT_NAME, &self.fd, &*file.name)?;
        Ok(())
    }

    fn remove(&mut self) -> Result<(), (PathBuf, io::Error)> {
        if self.is_removed {
            return Ok(());
        }
        self.is_removed = true;
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err((self.path.clone(), error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Told by `SecretFiles::remove` on the ordinary way out; here something else has failed.
        let _ = self.remove();
    }
}

fn write_anonymous(
    file: &SecretFile,
    anonymous: &mut Vec<(String, OwnedFd)>,
) -> io::Result<PathBuf> {
    let fd = rustix::fs::memfd_create("strongroom", MemfdFlags::CLOEXEC)?;
    let mut memory = File::from(fd);
    fill(&mut memory, file)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    anonymous.push((file.name.clone(), OwnedFd::from(memory)));
    Ok(path)
}

/// Not in one step: a reader at the same moment may see a part of each.
fn replace_anonymous(fd: &OwnedFd, file: &SecretFile) -> io::Result<()> {
    // EXPOSE: it replaces the contents of a file in memory that holds a secret already.
    let mut rest = file.value.expose_secret();
    let mut at = 0;
    while !rest.is_empty() {
        let written = rustix::io::pwrite(fd, rest, at)?;
        at += written as u64;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(rustix::fs::ftruncate(fd, at)?)
}

fn fill(into: &mut File, file: &SecretFile) -> io::Result<()> {
    // EXPOSE: the user asked for this secret as a file; it goes to one in memory, mode 0600.
    into.write_all(file.value.expose_secret())?;
    rustix::fs::fchmod(&*into, Mode::from_raw_mode(file.mode & 0o777))?;
    Ok(())
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// True for a folder on a tmpfs (or ramfs) in which nobody else can move our entries: our own,
/// or a sticky one like `/dev/shm`.
fn is_private_memory(base: &Path) -> bool {
    let Ok(fd) = open_folder(base) else {
        return false;
    };
    let is_memory = rustix::fs::fstatfs(&fd).is_ok_and(|stat| {
        let magic = i128::from(stat.f_type);
        magic == TMPFS_MAGIC || magic == RAMFS_MAGIC
    });
    is_memory
        && rustix::fs::fstat(&fd).is_ok_and(|stat| {
            let is_owner_trusted = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
            let is_safe_to_share = stat.st_mode & 0o1000 != 0 || stat.st_mode & 0o022 == 0;
            base.is_absolute() && is_owner_trusted && is_safe_to_share
        })
}

fn remove_if_stale(path: &Path) {
    let Ok(fd) = open_folder(path) else { return };
    let is_ours = rustix::fs::fstat(&fd).is_ok_and(|stat| stat.st_uid == geteuid().as_raw());
    let is_unlocked = || rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok();
    if is_ours && is_unlocked() {
        // The next start tries again.
        let _ = fs::remove_dir_all(path);
    }
}

fn is_plain_name(name: &str) -> bool {
    let is_special = matches!(name, "" | "." | "..");
    !is_special && name.len() <= NAME_BYTES_MAX && !name.contains(['/', '\0'])
}

const FOLDER_PREFIX: &str = "strongroom-run.";
/// The name of a file until it replaces another.
const DRAFT_NAME: &str = ".strongroom.new";
const FOLDER_TRIES_MAX: usize = 8;
const SWEPT_FOLDERS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 255;
const TMPFS_MAGIC: i128 = 0x0102_1994;
const RAMFS_MAGIC: i128 = 0x8584_58f6;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use strongroom_core::secret::SecretValue;

    use super::*;

    fn file(name: &str, value: &[u8]) -> SecretFile {
        SecretFile {
            name: name.to_owned(),
            value: SecretValue::copy_from(value),
            mode: 0o400,
            env: Some("WHERE".to_owned()),
        }
    }

    fn memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn a_file_is_exact_private_and_removed() {
        let base = memory();
        let dirs = [base.path().to_owned()];
        let files = SecretFiles::create(&[file("key.pem", b"\0\xff\n")], &dirs).unwrap();
        let path = PathBuf::from(&files.variables()[0].1);
        assert_eq!(fs::read(&path).unwrap(), b"\0\xff\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777,
            0o700
        );
        files.remove().unwrap();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_gets_new_contents_in_its_place() {
        let base = memory();
        for dirs in [vec![base.path().to_owned()], vec![PathBuf::from("/proc")]] {
            let files = SecretFiles::create(&[file("a", b"the first")], &dirs).unwrap();
            let path = &files.variables()[0].1;
            files
                .rewrite(&[file("a", b"second"), file("other", b"x")])
                .unwrap();
            assert_eq!(fs::read(path).unwrap(), b"second");
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o400);
        }
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let base = memory();
        let dirs = [base.path().to_owned()];
        let files = SecretFiles::create(&[file("a", b"x")], &dirs).unwrap();
        let stale = base.path().join(format!("{FOLDER_PREFIX}1.00"));
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("left"), "behind").unwrap();
        fs::create_dir(base.path().join("foreign")).unwrap();
        sweep(&dirs);
        assert!(!stale.exists());
        assert!(Path::new(&files.variables()[0].1).exists());
        assert!(base.path().join("foreign").exists());
    }

    #[test]
    fn names_are_single_components() {
        let base = memory();
        for name in ["", ".", "..", "a/b", "/etc/x", "a\0b"] {
            let made = SecretFiles::create(&[file(name, b"x")], &[base.path().to_owned()]);
            assert!(matches!(made, Err(ChildError::FileName { .. })), "{name:?}");
        }
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_same_name_twice_is_refused() {
        let base = memory();
        let twice = [file("a", b"x"), file("a", b"y")];
        let made = SecretFiles::create(&twice, &[base.path().to_owned()]);
        assert!(matches!(made, Err(ChildError::FileWrite { .. })));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_a_tmpfs_the_file_is_anonymous() {
        let on_disk = [PathBuf::from("/proc"), PathBuf::from("nowhere")];
        let files = SecretFiles::create(&[file("a", b"anon")], &on_disk).unwrap();
        let path = &files.variables()[0].1;
        assert!(path.to_str().unwrap().starts_with("/proc/self/fd/"));
        assert_eq!(fs::read(path).unwrap(), b"anon");
    }
}
