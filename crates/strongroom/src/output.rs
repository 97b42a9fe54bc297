//! Files that hold secrets: new ones only, for their owner only, whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::error::CommandError;
use crate::error::Kind;

/// The hint of commands that have `--force`.
pub(crate) const FORCE_REPLACES: &str = "--force replaces it";
/// The hint of commands that have none.
pub(crate) const CHOOSE_ANOTHER: &str = "name another file, or move this one away";

/// What to do when the file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Leave it, and fail with this hint.
    Keep(&'static str),
    /// Put the new one in its place.
    Replace,
}

/// Writes a file with a mode; never through a link.
pub(crate) fn write(
    path: &Path,
    bytes: &[u8],
    mode: Mode,
    existing: Existing,
) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::failed(format!("{} cannot be written: {error}", path.display()))
    };
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".new-{}", std::process::id()));
    let draft = Path::new(&draft);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(draft, flags, mode).map_err(|error| failed(error.into()))?;
    let mut file = File::from(file);
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| {
        let how = match existing {
            Existing::Keep(_) => RenameFlags::NOREPLACE,
            Existing::Replace => RenameFlags::empty(),
        };
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, draft, cwd, path, how).map_err(Into::into)
    });
    if let Err(error) = renamed {
        let _ = std::fs::remove_file(draft);
        let is_there = error.raw_os_error() == Some(Errno::EXIST.raw_os_error());
        if let (true, Existing::Keep(hint)) = (is_there, existing) {
            return Err(is_there_already(path, hint));
        }
        return Err(failed(error));
    }
    Ok(())
}

/// Says before long work what `write` would say after it; for commands with `--force`.
pub(crate) fn check_free(path: &Path) -> Result<(), CommandError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(is_there_already(path, FORCE_REPLACES)),
        Err(_) => Ok(()),
    }
}

fn is_there_already(path: &Path, hint: &'static str) -> CommandError {
    let message = format!("{} is there already", path.display());
    CommandError::new(Kind::Conflict, "file.exists", message).hint(hint)
}
