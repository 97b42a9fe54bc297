//! Folders with a file per secret: `/run/secrets` of Docker, a mounted Kubernetes secret.

use std::fs;
use std::path::PathBuf;

use rustix::fs::OFlags;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Page;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;

use crate::file;
use crate::file::ReadFileError;
use crate::pages;
use index::Index;
use index::IndexError;

mod index;
mod write;

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
///
/// By address, which is a file's path in the folder, only the exact path is found. A folder is
/// read only unless it is [`Self::writable`]: `/run/secrets` belongs to who mounts it, and `set`
/// writes to the first entry of a chain that takes it.
pub struct FilesBackend {
    folder: PathBuf,
    scheme: &'static str,
    is_writable: bool,
}

impl FilesBackend {
    /// A backend for the files of a folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            scheme: "files",
            is_writable: false,
        }
    }

    /// A backend for the credentials that systemd gave this service (`LoadCredential=` and the
    /// like), in the folder that `CREDENTIALS_DIRECTORY` names.
    #[must_use]
    pub fn systemd(credentials_directory: impl Into<PathBuf>) -> Self {
        Self {
            scheme: "systemd",
            ..Self::new(credentials_directory)
        }
    }

    /// For a folder of the user's own: secrets are also written and removed, as private files that
    /// are replaced whole. A folder that Kubernetes manages is still refused.
    #[must_use]
    pub fn writable(self) -> Self {
        Self {
            is_writable: true,
            ..self
        }
    }

    fn get_one(&self, index: &Index, lookup: &Lookup) -> Result<Option<Fetched>, BackendError> {
        let Some(found) = self.find(index, lookup)? else {
            return Ok(None);
        };
        let fetched = |value| Fetched {
            value,
            version: None,
            expires_at: None,
        };
        Ok(Some(fetched(self.read_found(index, found)?)))
    }

    fn find<'i>(&self, index: &'i Index, lookup: &Lookup) -> Result<Option<&'i str>, BackendError> {
        index.find(lookup).map_err(|(one, other)| {
            let message = format!("{} fits both '{one}' and '{other}'", lookup.name);
            self.error(BackendErrorKind::Malformed, message)
        })
    }

    fn get_at(&self, index: &Index, address: &str) -> Result<Option<Item>, BackendError> {
        let Some(found) = index.at(address) else {
            return Ok(None);
        };
        Ok(Some(Item {
            payload: Payload::detect(self.read_found(index, found)?),
            version: None,
            stages: Vec::new(),
            created: None,
            expires_at: None,
        }))
    }

    fn read_found(&self, index: &Index, name: &str) -> Result<SecretValue, BackendError> {
        let read = match self.read_file(index, name) {
            // Replaced while we looked: Kubernetes swaps the folder that the links lead to.
            Err((BackendErrorKind::Unreachable, _)) => self.read_file(index, name),
            read => read,
        };
        read.map_err(|(kind, message)| self.error(kind, message))
    }

    fn read_file(
        &self,
        index: &Index,
        name: &str,
    ) -> Result<SecretValue, (BackendErrorKind, String)> {
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
        self.scheme
    }

    fn describe(&self) -> String {
        format!("{}:{}", self.scheme, self.folder.display())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: true,
            binary: true,
            write: self.is_writable,
            delete: self.is_writable,
            cas: self.is_writable,
            value_bytes_max: usize::try_from(SECRET_FILE_BYTES_MAX).ok(),
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

    /// The file that is there already, whatever its spelling; else one called as the secret.
    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let index = self.index()?;
            let found = self.find(&index, lookup)?.unwrap_or(&lookup.name);
            let value = NewValue::new(Payload::detect(value.clone()));
            self.write_at(&index, found, &value)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move { Ok(self.index()?.names) })
    }

    fn address(&self, lookup: &Lookup) -> String {
        let found = |index: &Index| self.find(index, lookup).ok().flatten().map(str::to_owned);
        let found = self.index().ok().as_ref().and_then(found);
        found.unwrap_or_else(|| lookup.name.clone())
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move {
            if !self.folder.exists() {
                return Ok("there is no such folder yet".to_owned());
            }
            Ok(format!("{} files", self.index()?.names.len()))
        })
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(async move {
            if *version != VersionRef::Current {
                return Err(self.unsupported("keep versions"));
            }
            self.get_at(&self.index()?, address)
        })
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(async move {
            match self.index() {
                Ok(index) => addresses
                    .iter()
                    .map(|address| self.get_at(&index, address))
                    .collect(),
                Err(error) => addresses.iter().map(|_| Err(error.clone())).collect(),
            }
        })
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move { self.write_at(&self.index()?, address, value) })
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(async move { Ok(pages::page(&self.index()?.names, prefix, after, limit)) })
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        _removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move { self.remove_at(&self.index()?, address) })
    }
}

#[cfg(test)]
mod tests;
