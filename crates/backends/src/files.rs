//! Folders with a file per secret: `/run/secrets` of Docker, a mounted Kubernetes secret.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::OFlags;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::secret::SecretValue;

use crate::file;
use crate::file::ReadFileError;
use crate::names;

/// Largest secret file, in bytes.
pub const SECRET_FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files and folders that are looked at.
pub const SECRET_FILES_MAX: usize = 10_000;
/// Deepest nesting of folders.
pub const FOLDER_DEPTH_MAX: usize = 8;

/// Looks secrets up in a folder: the exact bytes of a file are the value, nothing trimmed.
///
/// A secret is found in the file that is called exactly as its name, else exactly as its path
/// (which may lie in folders), else as its name and then its path with case and the difference
/// between `-`, `_` and `/` left aside: `DATABASE_URL` finds `database-url`, `database_url` and
/// `database/url`. Two files that fit equally well are an error. Names that start with a dot, such
/// as Kubernetes' `..data`, are no secrets. Symbolic links are followed inside of the folder and
/// refused where they lead out of it.
///
/// The folder is read at every lookup, because mounted secrets are replaced while a program runs.
/// A folder that is not there holds nothing.
pub struct FilesBackend {
    folder: PathBuf,
}

impl FilesBackend {
    /// A backend for the files of a folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    fn get_one(&self, index: &Index, lookup: &Lookup) -> Result<Option<Fetched>, BackendError> {
        let Some(found) = index.find(lookup).map_err(|two| {
            let message = format!("{} fits both '{}' and '{}'", lookup.name, two.0, two.1);
            self.error(BackendErrorKind::Malformed, message)
        })?
        else {
            return Ok(None);
        };
        match self.read(index, found) {
            Ok(value) => Ok(Some(Fetched {
                value,
                version: None,
                expires_at: None,
            })),
            // Replaced while we looked: Kubernetes swaps the folder that the links lead to.
            Err((BackendErrorKind::Unreachable, _)) => self
                .read(index, found)
                .map(|value| {
                    Some(Fetched {
                        value,
                        version: None,
                        expires_at: None,
                    })
                })
                .map_err(|(kind, message)| self.error(kind, message)),
            Err((kind, message)) => Err(self.error(kind, message)),
        }
    }

    fn read(&self, index: &Index, name: &str) -> Result<SecretValue, (BackendErrorKind, String)> {
        let failed = |error: ReadFileError| {
            let kind = match error {
                ReadFileError::Denied => BackendErrorKind::Denied,
                ReadFileError::TooLarge { .. } | ReadFileError::NotRegular => {
                    BackendErrorKind::Malformed
                }
                _ => BackendErrorKind::Unreachable,
            };
            (kind, format!("{name}: {error}"))
        };
        let path = fs::canonicalize(self.folder.join(name))
            .map_err(|error| failed(ReadFileError::new(&error)))?;
        if !path.starts_with(&index.root) {
            let message = format!("{name}: it is a link that leads out of the folder");
            return Err((BackendErrorKind::Denied, message));
        }
        let (bytes, _) = file::read_with_metadata(&path, SECRET_FILE_BYTES_MAX, OFlags::NOFOLLOW)
            .map_err(failed)?;
        Ok(SecretValue::copy_from(&bytes))
    }

    fn index(&self) -> Result<Index, BackendError> {
        Index::read(&self.folder).map_err(|error| {
            let (kind, message) = match error {
                IndexError::Read {
                    name,
                    error: ReadFileError::Denied,
                } => (
                    BackendErrorKind::Denied,
                    format!("{name}: {}", ReadFileError::Denied),
                ),
                IndexError::Read { name, error } => {
                    (BackendErrorKind::Unreachable, format!("{name}: {error}"))
                }
                IndexError::TooMany => (
                    BackendErrorKind::Malformed,
                    format!("more than {SECRET_FILES_MAX} files"),
                ),
            };
            self.error(kind, message)
        })
    }

    fn error(&self, kind: BackendErrorKind, message: String) -> BackendError {
        BackendError::new(kind, self.describe(), message)
    }
}

impl Backend for FilesBackend {
    fn scheme(&self) -> &'static str {
        "files"
    }

    fn describe(&self) -> String {
        format!("files:{}", self.folder.display())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: true,
            ..Capabilities::default()
        }
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            match self.index() {
                Ok(index) => lookups
                    .iter()
                    .map(|lookup| self.get_one(&index, lookup))
                    .collect(),
                Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
            }
        })
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let message = "a secret folder is written by who mounts it".to_owned();
        Box::pin(async move { Err(self.error(BackendErrorKind::Unsupported, message)) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move { Ok(self.index()?.names) })
    }
}

/// The files of a folder, by their paths inside of it.
struct Index {
    root: PathBuf,
    /// Sorted. Folders that are links leading out are here too, so that asking for what is in
    /// them is refused and not "not found".
    names: Vec<String>,
}

enum IndexError {
    Read { name: String, error: ReadFileError },
    TooMany,
}

impl Index {
    fn read(folder: &Path) -> Result<Self, IndexError> {
        let root = match fs::canonicalize(folder) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    root: folder.to_owned(),
                    names: Vec::new(),
                });
            }
            Err(error) => return Err(IndexError::read(folder.display().to_string(), &error)),
        };
        let mut index = Self {
            root,
            names: Vec::new(),
        };
        let mut seen = HashSet::from([index.root.clone()]);
        let mut pending = vec![(folder.to_owned(), String::new(), 1)];
        let mut count = 0;
        while let Some((path, prefix, depth)) = pending.pop() {
            let shown = || path.display().to_string();
            let entries = fs::read_dir(&path).map_err(|error| IndexError::read(shown(), &error))?;
            for entry in entries {
                let entry = entry.map_err(|error| IndexError::read(shown(), &error))?;
                count += 1;
                if count > SECRET_FILES_MAX {
                    return Err(IndexError::TooMany);
                }
                let file_name = entry.file_name();
                let Some(own) = file_name.to_str().filter(|own| !own.starts_with('.')) else {
                    continue;
                };
                let name = format!("{prefix}{own}");
                // A link to nothing and a link out are found out when they are asked for.
                let target = fs::canonicalize(entry.path()).ok();
                let is_inside = target
                    .as_ref()
                    .is_some_and(|path| path.starts_with(&index.root));
                let is_folder = target.as_ref().is_some_and(|path| path.is_dir());
                match target {
                    Some(target) if is_inside && is_folder => {
                        if depth < FOLDER_DEPTH_MAX && seen.insert(target) {
                            pending.push((entry.path(), format!("{name}/"), depth + 1));
                        }
                    }
                    _ => index.names.push(name),
                }
            }
        }
        index.names.sort_unstable();
        Ok(index)
    }

    /// The file that fits best, or the two that fit equally well.
    fn find(&self, lookup: &Lookup) -> Result<Option<&str>, (String, String)> {
        for wanted in [&lookup.name, &lookup.path] {
            if let Some(name) = self.names.iter().find(|name| *name == wanted) {
                return Ok(Some(name));
            }
        }
        for wanted in [names::fold(&lookup.name), names::fold(&lookup.path)] {
            let mut fitting = self.names.iter().filter(|name| names::fold(name) == wanted);
            match (fitting.next(), fitting.next()) {
                (Some(name), None) => return Ok(Some(name)),
                (Some(one), Some(other)) => return Err((one.clone(), other.clone())),
                (None, _) => {}
            }
        }
        Ok(self.names.iter().map(String::as_str).find(|name| {
            lookup
                .path
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('/'))
                && fs::canonicalize(self.root.join(name)).is_ok_and(|path| path.is_dir())
        }))
    }
}

impl IndexError {
    fn read(name: String, error: &io::Error) -> Self {
        Self::Read {
            name,
            error: ReadFileError::new(error),
        }
    }
}

#[cfg(test)]
mod tests;
