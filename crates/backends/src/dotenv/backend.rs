//! A `.env` file in a chain.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::OFlags;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::secret::SecretValue;

use super::DOTENV_BYTES_MAX;
use super::DotenvFile;
use crate::file;
use crate::file::ReadFileError;
use crate::file::Stamp;
use crate::file::WriteFileError;
use crate::names;

/// Looks secrets up in one `.env` file, and writes them there.
///
/// A secret is found under its declared name, else under its path in capitals (`jwt/secret_key` as
/// `JWT_SECRET_KEY`). A file that is not there holds nothing: every lookup is "not found", because
/// a chain such as `store, dotenv:.env, env` has to work where nobody has made the file. An empty
/// value (`NAME=`) is "not found" too, as it is for the environment. A file that is there and
/// cannot be read, or not be parsed, is an error.
///
/// The file is read once, at the first lookup. Writing reads it again, so that what others changed
/// is kept.
pub struct DotenvBackend {
    path: PathBuf,
    label: String,
    cached: Mutex<Option<Arc<DotenvFile>>>,
}

impl DotenvBackend {
    /// A backend for the file at `path`, which reports call `dotenv:<label>`.
    #[must_use]
    pub fn new(path: PathBuf, label: impl Into<String>) -> Self {
        Self {
            path,
            label: label.into(),
            cached: Mutex::new(None),
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes a name from the file; says whether it was there.
    ///
    /// # Errors
    /// When the file cannot be read, parsed or written.
    pub fn remove(&self, name: &str) -> Result<bool, BackendError> {
        self.change(|file| {
            file.remove(name).map_err(|error| {
                self.error(
                    BackendErrorKind::Unsupported,
                    format!("{}: {name}: {error}", self.label),
                )
            })
        })
    }

    /// The file as it was at the first lookup.
    ///
    /// # Errors
    /// When the file is there and cannot be read or parsed.
    pub fn file(&self) -> Result<Arc<DotenvFile>, BackendError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*cached {
            return Ok(Arc::clone(file));
        }
        let (file, _) = self.read()?;
        let file = Arc::new(file);
        *cached = Some(Arc::clone(&file));
        Ok(file)
    }

    fn read(&self) -> Result<(DotenvFile, Option<Stamp>), BackendError> {
        let bytes_max = u64::try_from(DOTENV_BYTES_MAX).unwrap_or(u64::MAX);
        let read = file::read_with_metadata(&self.path, bytes_max, OFlags::empty());
        let (bytes, stamp) = match read {
            Ok((bytes, metadata)) => (bytes, Some(Stamp::of(&metadata))),
            Err(ReadFileError::NotFound) => (zeroize::Zeroizing::default(), None),
            Err(error) => {
                let kind = match error {
                    ReadFileError::Denied => BackendErrorKind::Denied,
                    ReadFileError::TooLarge { .. } | ReadFileError::NotRegular => {
                        BackendErrorKind::Malformed
                    }
                    _ => BackendErrorKind::Unreachable,
                };
                return Err(self.error(kind, format!("{}: {error}", self.label)));
            }
        };
        let file = DotenvFile::parse(&bytes).map_err(|error| {
            self.error(
                BackendErrorKind::Malformed,
                format!("{}:{error}", self.label),
            )
        })?;
        Ok((file, stamp))
    }

    fn change<T>(
        &self,
        edit: impl FnOnce(&mut DotenvFile) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut file, stamp) = self.read()?;
        let result = edit(&mut file)?;
        file::replace(&self.path, &file.to_bytes(), stamp.as_ref()).map_err(|error| {
            let kind = match error {
                WriteFileError::Denied { .. } => BackendErrorKind::Denied,
                WriteFileError::Symlink => BackendErrorKind::Unsupported,
                WriteFileError::Changed | WriteFileError::Io { .. } => {
                    BackendErrorKind::Unreachable
                }
            };
            self.error(kind, format!("{}: {error}", self.label))
        })?;
        *cached = Some(Arc::new(file));
        Ok(result)
    }

    fn error(&self, kind: BackendErrorKind, message: String) -> BackendError {
        BackendError::new(kind, self.describe(), message)
    }
}

impl Backend for DotenvBackend {
    fn scheme(&self) -> &'static str {
        "dotenv"
    }

    fn describe(&self) -> String {
        format!("dotenv:{}", self.label)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            versions: false,
            list: true,
            delete: true,
            ..Capabilities::default()
        }
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let file = match self.file() {
                Ok(file) => file,
                Err(error) => return lookups.iter().map(|_| Err(error.clone())).collect(),
            };
            lookups
                .iter()
                .map(|lookup| Ok(find(&file, lookup)))
                .collect()
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.change(|file| {
                let by_path = names::upper_snake(&lookup.path);
                let is_under_path =
                    file.get(&lookup.name).is_none() && file.get(&by_path).is_some();
                let name = if is_under_path {
                    by_path.as_str()
                } else {
                    &lookup.name
                };
                file.set(name, value).map_err(|error| {
                    let message = format!("{}: {name}: {error}", self.label);
                    self.error(BackendErrorKind::Unsupported, message)
                })
            })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move {
            let file = self.file()?;
            let mut names: Vec<String> = file
                .entries()
                .iter()
                .map(|entry| entry.name.clone())
                .collect();
            names.sort_unstable();
            names.dedup();
            Ok(names)
        })
    }
}

fn find(file: &DotenvFile, lookup: &Lookup) -> Option<Fetched> {
    let present = |name: &str| file.get(name).filter(|value| !value.is_empty());
    let value = present(&lookup.name).or_else(|| present(&names::upper_snake(&lookup.path)))?;
    Some(Fetched {
        value: value.clone(),
        version: None,
        expires_at: None,
    })
}
