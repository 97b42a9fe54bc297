//! A `.env` file in a chain.

use std::collections::HashMap;
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
use strongroom_core::port::Expected;
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

use super::DOTENV_BYTES_MAX;
use super::DotenvFile;
use super::DotenvSetError;
use crate::file;
use crate::file::ReadFileError;
use crate::file::Stamp;
use crate::file::WriteFileError;
use crate::names;
use crate::pages;

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
///
/// By address, which is a variable's name, the file is read afresh every time: who wrote and reads
/// back sees what is on the disk.
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
    pub fn remove_name(&self, name: &str) -> Result<bool, BackendError> {
        self.change(|file| {
            file.remove(name).map_err(|error| {
                self.error(
                    BackendErrorKind::Unsupported,
                    format!("{}: {name}: {error}", self.label),
                )
            })
        })
    }

    /// Changes the file as it is now, in one step.
    ///
    /// # Errors
    /// When the file cannot be read, parsed or written, or the change is refused.
    pub fn edit<T>(
        &self,
        edit: impl FnOnce(&mut DotenvFile) -> Result<T, DotenvSetError>,
    ) -> Result<T, BackendError> {
        self.change(|file| {
            edit(file).map_err(|error| {
                let message = format!("{}: {error}", self.label);
                self.error(BackendErrorKind::Unsupported, message)
            })
        })
    }

    /// The file as it is now; an empty one when there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read or parsed.
    pub fn now(&self) -> Result<DotenvFile, BackendError> {
        self.load().map(|(file, _)| file)
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
        let (file, _) = self.load()?;
        let file = Arc::new(file);
        *cached = Some(Arc::clone(&file));
        Ok(file)
    }

    fn load(&self) -> Result<(DotenvFile, Option<Stamp>), BackendError> {
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

    /// Edits the file as it is now, and replaces it unless the edit left every byte.
    fn change<T>(
        &self,
        edit: impl FnOnce(&mut DotenvFile) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut file, stamp) = self.load()?;
        let before = file.to_bytes();
        let result = edit(&mut file)?;
        if file.to_bytes() == before {
            *cached = Some(Arc::new(file));
            return Ok(result);
        }
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

    fn write_now(&self, name: &str, new: &NewValue) -> Result<Stored, BackendError> {
        if new.payload.value.is_empty() {
            let message = format!("{name}: an empty value counts as not set in a .env file");
            return Err(self.error(BackendErrorKind::Invalid, message));
        }
        self.change(|file| {
            let found = present(file, name);
            let conflict = match (&new.expected, found) {
                (Expected::Any, _) | (Expected::Absent, None) => None,
                (Expected::Absent, Some(_)) => Some("it is there already"),
                (Expected::Version(_), _) => Some("a .env file keeps no versions to expect"),
            };
            if let Some(conflict) = conflict {
                let message = format!("{name}: {conflict}");
                return Err(self.error(BackendErrorKind::Conflict, message));
            }
            let is_new = found.is_none_or(|value| !value.ct_eq(&new.payload.value));
            if is_new {
                file.set(name, &new.payload.value)
                    .map_err(|error| self.refused(name, error))?;
            }
            Ok(Stored {
                version: None,
                is_new,
            })
        })
    }

    fn refused(&self, name: &str, error: DotenvSetError) -> BackendError {
        let shown = if name.len() <= SHOWN_NAME_BYTES_MAX {
            name
        } else {
            "the name"
        };
        let message = format!("{}: {shown}: {error}", self.label);
        self.error(BackendErrorKind::Invalid, message)
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
            cas: true,
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
            let values = values(&file);
            lookups
                .iter()
                .map(|lookup| Ok(find(&values, lookup)))
                .collect()
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
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
                let set = file.set(name, value).map_err(|error| {
                    let message = format!("{}: {name}: {error}", self.label);
                    self.error(BackendErrorKind::Unsupported, message)
                });
                set.map(|()| Stored {
                    version: None,
                    is_new: true,
                })
            })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move { Ok(sorted_names(&*self.file()?)) })
    }

    /// The name under which a lookup finds the value, else the declared one.
    fn address(&self, lookup: &Lookup) -> String {
        let by_path = names::upper_snake(&lookup.path);
        let file = self.file();
        let has = |name: &str| {
            file.as_ref()
                .is_ok_and(|file| present(file, name).is_some())
        };
        if !has(&lookup.name) && has(&by_path) {
            return by_path;
        }
        lookup.name.clone()
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move {
            let (file, stamp) = self.load()?;
            Ok(match stamp {
                Some(_) => format!("{} variables", file.entries().len()),
                None => "there is no such file yet".to_owned(),
            })
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
            let (file, _) = self.load()?;
            Ok(present(&file, address).map(item))
        })
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(async move {
            let file = match self.load() {
                Ok((file, _)) => file,
                Err(error) => return addresses.iter().map(|_| Err(error.clone())).collect(),
            };
            let values = values(&file);
            addresses
                .iter()
                .map(|address| Ok(values.get(address.as_str()).copied().map(item)))
                .collect()
        })
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move { self.write_now(address, value) })
    }

    /// Names with an empty value too: they are in the file, though they read as "not found".
    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(async move {
            let (file, _) = self.load()?;
            Ok(pages::page(&sorted_names(&file), prefix, after, limit))
        })
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        _removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move { self.remove_name(address) })
    }
}

fn find(values: &HashMap<&str, &SecretValue>, lookup: &Lookup) -> Option<Fetched> {
    let present = |name: &str| values.get(name).copied();
    let by_path = || present(&names::upper_snake(&lookup.path));
    let value = present(&lookup.name).or_else(by_path)?;
    Some(Fetched {
        value: value.clone(),
        version: None,
        expires_at: None,
    })
}

/// The values that are not empty. Of a name that is assigned more than once, the last counts.
fn values(file: &DotenvFile) -> HashMap<&str, &SecretValue> {
    let mut values: HashMap<&str, &SecretValue> = file
        .entries()
        .iter()
        .map(|entry| (entry.name.as_str(), &entry.value))
        .collect();
    values.retain(|_, value| !value.is_empty());
    values
}

fn present<'f>(file: &'f DotenvFile, name: &str) -> Option<&'f SecretValue> {
    file.get(name).filter(|value| !value.is_empty())
}

fn item(value: &SecretValue) -> Item {
    Item {
        payload: Payload::detect(value.clone()),
        version: None,
        stages: Vec::new(),
        created: None,
        expires_at: None,
    }
}

fn sorted_names(file: &DotenvFile) -> Vec<String> {
    let mut names: Vec<String> = file
        .entries()
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Longest name that an error repeats.
const SHOWN_NAME_BYTES_MAX: usize = 200;
