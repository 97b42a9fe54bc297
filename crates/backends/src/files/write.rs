//! Writing secret files.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Stored;

use super::FOLDER_DEPTH_MAX;
use super::FilesBackend;
use super::Index;
use super::SECRET_FILE_BYTES_MAX;
use crate::file;
use crate::file::Stamp;
use crate::file::WriteFileError;

impl FilesBackend {
    /// Writes the file at an address, with the folders on the way to it.
    pub(super) fn write_at(
        &self,
        index: &Index,
        address: &str,
        new: &NewValue,
    ) -> Result<Stored, BackendError> {
        let path = self.writable_path(address)?;
        let bytes_max = usize::try_from(SECRET_FILE_BYTES_MAX).unwrap_or(usize::MAX);
        if new.payload.value.len_bytes() > bytes_max {
            let message = format!("{address}: the value is larger than {bytes_max} bytes");
            return Err(self.error(BackendErrorKind::Invalid, message));
        }
        // Taken before the value is looked at, so that a change meanwhile is noticed.
        let before = match fs::symlink_metadata(&path) {
            Ok(metadata) => Some(Stamp::of(&metadata)),
            Err(error) if is_absent(&error) => None,
            Err(error) => {
                let message = format!("{address}: it cannot be looked at ({})", error.kind());
                return Err(self.error(BackendErrorKind::Invalid, message));
            }
        };
        let found = match before {
            Some(_) => self.get_at(index, address)?,
            None => None,
        };
        let conflict = match (&new.expected, &before) {
            (Expected::Any, _) | (Expected::Absent, None) => None,
            (Expected::Absent, Some(_)) => Some("it is there already"),
            (Expected::Version(_), _) => Some("files keep no versions to expect"),
        };
        if let Some(conflict) = conflict {
            let message = format!("{address}: {conflict}");
            return Err(self.error(BackendErrorKind::Conflict, message));
        }
        let is_new = found.is_none_or(|item| !item.payload.value.ct_eq(&new.payload.value));
        if is_new {
            self.make_folders(address)?;
            // EXPOSE: written to the private file of the secret, which is what was asked for.
            let bytes = new.payload.value.expose_secret();
            file::replace(&path, bytes, before.as_ref())
                .map_err(|error| self.not_written(address, error))?;
        }
        Ok(Stored {
            version: None,
            is_new,
        })
    }

    /// Removes the file at an address; says whether there was one.
    pub(super) fn remove_at(&self, index: &Index, address: &str) -> Result<bool, BackendError> {
        let path = self.writable_path(address)?;
        if index.at(address).is_none() {
            return Ok(false);
        }
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::PermissionDenied => BackendErrorKind::Denied,
                    _ => BackendErrorKind::Unreachable,
                };
                let message = format!("{address}: it cannot be removed ({})", error.kind());
                Err(self.error(kind, message))
            }
        }
    }

    /// Where an address lies, when it is one that reading would find and that may be written.
    fn writable_path(&self, address: &str) -> Result<PathBuf, BackendError> {
        if !self.is_writable {
            return Err(self.unsupported("be written").with_hint(
                "it is written by who mounts it; say 'write=true' for one of your own",
            ));
        }
        let parts: Vec<&str> = address.split('/').collect();
        let is_name = |part: &&str| !part.is_empty() && !part.starts_with('.');
        let is_path = parts.len() <= FOLDER_DEPTH_MAX && parts.iter().all(is_name);
        if !is_path || address.contains(char::is_control) || address.len() > ADDRESS_BYTES_MAX {
            let message = "this cannot be a secret file's path: names that do not start with a \
                           dot, '/' between them";
            return Err(self.error(BackendErrorKind::Invalid, message.to_owned()));
        }
        if fs::symlink_metadata(self.folder.join("..data")).is_ok() {
            return Err(self.unsupported("write what Kubernetes mounted"));
        }
        let mut path = self.folder.clone();
        for part in parts {
            path.push(part);
            let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
            if is_link {
                let message = format!("{address}: a symbolic link is on the way");
                return Err(self.error(BackendErrorKind::Denied, message));
            }
        }
        Ok(path)
    }

    fn make_folders(&self, address: &str) -> Result<(), BackendError> {
        let path = self.folder.join(address);
        let folder = path.parent().unwrap_or(Path::new("."));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied => BackendErrorKind::Denied,
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                    BackendErrorKind::Invalid
                }
                _ => BackendErrorKind::Unreachable,
            };
            let message = format!("{address}: its folder cannot be made ({})", error.kind());
            self.error(kind, message)
        })
    }

    fn not_written(&self, address: &str, error: WriteFileError) -> BackendError {
        let kind = match error {
            WriteFileError::Denied { .. } | WriteFileError::Symlink => BackendErrorKind::Denied,
            WriteFileError::Changed => BackendErrorKind::Conflict,
            WriteFileError::Io { .. } => BackendErrorKind::Unreachable,
        };
        self.error(kind, format!("{address}: {error}"))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Longest address of a file, in bytes.
const ADDRESS_BYTES_MAX: usize = 1024;
