//! The store as a backend of a chain.

use strongroom_core::metadata::VERSIONS_KEPT_DEFAULT;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Expected;
use strongroom_core::port::Fetched;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Page;
use strongroom_core::port::Removal;
use strongroom_core::port::StorageError;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionChange;
use strongroom_core::port::VersionDetails;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;

use crate::context::OpContext;
use crate::error::Error;
use crate::secrets::Engine;
use crate::secrets::MetadataPatch;
use crate::secrets::Secret;
use crate::secrets::VALUE_BYTES_MAX;
use crate::secrets::Versions;
use crate::secrets::WriteOptions;
use crate::secrets::Written;

/// `store` in a chain: an engine, and on whose behalf it is asked.
pub struct StoreBackend {
    engine: Engine,
    context: OpContext,
    folder: String,
    provenance: Provenance,
}

impl StoreBackend {
    /// Over an engine; `folder` is the project's and profile's place in it.
    #[must_use]
    pub fn new(engine: Engine, context: OpContext, folder: String) -> Self {
        Self {
            engine,
            context,
            folder,
            provenance: Provenance::Set,
        }
    }

    /// What is written by address is kept as imported from there.
    #[must_use]
    pub fn importing_from(self, from: &str) -> Self {
        Self {
            provenance: Provenance::Imported(from.to_owned()),
            ..self
        }
    }
}

/// What the store can do as a backend.
#[must_use]
pub fn store_capabilities() -> Capabilities {
    Capabilities {
        write: true,
        versions: true,
        versions_max: Some(VERSIONS_KEPT_DEFAULT as usize),
        stages: true,
        list: true,
        delete: true,
        restore: true,
        single_versions: true,
        cas: true,
        names_by_token: false,
        description: true,
        tags: true,
        expiry: true,
        binary: true,
        rotate: false,
        value_bytes_max: Some(VALUE_BYTES_MAX),
    }
}

/// What to do about a record of a later form.
const NEWER_HINT: &str = "use the newer program; nothing was changed";

fn backend_error(error: &Error) -> BackendError {
    let kind = match error {
        Error::Damaged { .. } | Error::Storage(StorageError::Damaged { .. }) => {
            BackendErrorKind::Damaged
        }
        Error::Newer { .. } => BackendErrorKind::Newer,
        Error::Storage(_) | Error::Contended { .. } | Error::LaterKey { .. } => {
            BackendErrorKind::Unreachable
        }
        Error::VersionMismatch { .. } | Error::AlreadyExists { .. } | Error::NotFound { .. } => {
            BackendErrorKind::Conflict
        }
        Error::Invalid { .. } | Error::LimitExceeded { .. } => BackendErrorKind::Invalid,
        _ => BackendErrorKind::Malformed,
    };
    let failed = BackendError::new(kind, "store", error.to_string());
    match kind {
        BackendErrorKind::Newer => failed.with_hint(NEWER_HINT),
        _ => failed,
    }
}

fn path_of(address: &str) -> Result<SecretPath, BackendError> {
    address.parse().map_err(|error| {
        let message = format!("the address is no path: {error}");
        BackendError::new(BackendErrorKind::Invalid, "store", message)
    })
}

fn item_of(secret: Secret) -> Item {
    Item {
        payload: secret.payload,
        version: Some(secret.version.number.to_string()),
        stages: secret.version.stages,
        created: Some(secret.version.created),
        expires_at: secret.metadata.expires_at,
    }
}

fn patch_of(annotation: &Annotation) -> MetadataPatch {
    MetadataPatch {
        description: annotation.description.clone(),
        tags: annotation.tags.clone(),
        expires_at: annotation.expires_at,
        ..MetadataPatch::default()
    }
}

/// What is there, where nothing that can be read is the same as nothing.
fn if_there<T>(result: Result<T, Error>) -> Result<Option<T>, BackendError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. } | Error::Gone { .. }) => Ok(None),
        Err(error) => Err(backend_error(&error)),
    }
}

impl StoreBackend {
    /// The version a reference means; `None` when there is none such.
    async fn number_of(
        &self,
        path: &SecretPath,
        version: &VersionRef,
    ) -> Result<Option<Option<u64>>, BackendError> {
        match version {
            VersionRef::Current => Ok(Some(None)),
            VersionRef::Id(id) => Ok(id.parse().ok().map(Some)),
            VersionRef::Stage(stage) => {
                let described = if_there(self.engine.describe(path).await)?;
                let versions = described.map(|described| described.versions);
                let mut versions = versions.unwrap_or_default().into_iter();
                let found = versions.find(|version| version.stages.contains(stage));
                Ok(found.map(|version| Some(version.number)))
            }
        }
    }

    /// The version that must be current for a write to happen, as the engine counts it.
    async fn cas_of(
        &self,
        path: &SecretPath,
        expected: &Expected,
    ) -> Result<Option<u64>, BackendError> {
        let conflict = |message: &str| {
            let message = format!("{path} {message}");
            Err(BackendError::new(
                BackendErrorKind::Conflict,
                "store",
                message,
            ))
        };
        match expected {
            Expected::Any => Ok(None),
            Expected::Version(id) => match id.parse() {
                Ok(number) if number > 0 => Ok(Some(number)),
                _ => conflict("has no such version"),
            },
            Expected::Absent => {
                let described = if_there(self.engine.describe(path).await)?;
                match described.and_then(|mut described| described.versions.pop()) {
                    None => Ok(Some(0)),
                    Some(newest) if newest.state == VersionState::Live => {
                        conflict("is in the store already")
                    }
                    Some(newest) => Ok(Some(newest.number)),
                }
            }
        }
    }
}

fn stored(written: &Written) -> Stored {
    Stored {
        version: Some(written.version.to_string()),
        is_new: written.is_new,
    }
}

fn version_details(info: VersionInfo) -> VersionDetails {
    VersionDetails {
        id: info.number.to_string(),
        stages: info.stages,
        created: Some(info.created),
        state: info.state,
    }
}

fn removed_at(newest: Option<&VersionInfo>) -> Option<Timestamp> {
    match newest?.state {
        VersionState::Deleted { at } => Some(at),
        _ => None,
    }
}

impl Backend for StoreBackend {
    fn scheme(&self) -> &'static str {
        "store"
    }

    fn describe(&self) -> String {
        "store".into()
    }

    fn capabilities(&self) -> Capabilities {
        store_capabilities()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let paths: Vec<SecretPath> =
                lookups.iter().map(|lookup| lookup.place.clone()).collect();
            match self.engine.read_many(&self.context, &paths).await {
                Ok(found) => found
                    .into_iter()
                    .map(|result| match result {
                        Ok(secret) => Ok(secret.map(|secret| Fetched {
                            value: secret.payload.value,
                            version: Some(secret.version.number.to_string()),
                            expires_at: secret.metadata.expires_at,
                        })),
                        Err(error) => Err(backend_error(&error)),
                    })
                    .collect(),
                Err(error) => lookups.iter().map(|_| Err(backend_error(&error))).collect(),
            }
        })
    }

    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let payload = Payload::detect(value.clone());
            let options = WriteOptions::new(Provenance::Set);
            let written = self
                .engine
                .write(&self.context, &lookup.place, &payload, &options)
                .await;
            written
                .map(|written| stored(&written))
                .map_err(|error| backend_error(&error))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move {
            let entries = self
                .engine
                .list_recursive(&self.context, &self.folder)
                .await
                .map_err(|error| backend_error(&error))?;
            let below = format!("{}/", self.folder);
            let names = entries.into_iter().map(|entry| {
                entry
                    .path
                    .strip_prefix(&below)
                    .map_or(entry.path.clone(), str::to_owned)
            });
            Ok(names.collect())
        })
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let Some(number) = self.number_of(&path, version).await? else {
                return Ok(None);
            };
            let read = self.engine.read(&self.context, &path, number).await;
            Ok(if_there(read)?.map(item_of))
        })
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(async move {
            let parsed: Vec<_> = addresses.iter().map(|address| path_of(address)).collect();
            let paths: Vec<SecretPath> = parsed.iter().flatten().cloned().collect();
            let found = match self.engine.read_many(&self.context, &paths).await {
                Ok(found) => found,
                Err(error) => {
                    let failed = addresses.iter().map(|_| Err(backend_error(&error)));
                    return failed.collect();
                }
            };
            let mut found = found.into_iter();
            let results = parsed.into_iter().map(|path| {
                path?;
                match found.next() {
                    Some(Ok(secret)) => Ok(secret.map(item_of)),
                    Some(Err(error)) => Err(backend_error(&error)),
                    None => Ok(None),
                }
            });
            results.collect()
        })
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let mut options = WriteOptions::new(self.provenance.clone());
            options.cas = self.cas_of(&path, &value.expected).await?;
            options.metadata = patch_of(&value.annotation);
            options.stages.clone_from(&value.stages);
            let written = self
                .engine
                .write(&self.context, &path, &value.payload, &options)
                .await;
            written
                .map(|written| stored(&written))
                .map_err(|error| backend_error(&error))
        })
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(async move {
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            let entries = self
                .engine
                .list_recursive(&self.context, folder)
                .await
                .map_err(|error| backend_error(&error))?;
            let is_wanted =
                |path: &str| path.starts_with(prefix) && after.is_none_or(|after| path > after);
            let mut addresses = entries
                .into_iter()
                .filter(|entry| entry.is_live && is_wanted(&entry.path))
                .map(|entry| entry.path);
            let page: Vec<String> = addresses.by_ref().take(limit).collect();
            let next = addresses.next().and_then(|_| page.last().cloned());
            Ok(Page {
                addresses: page,
                next,
            })
        })
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let described = if_there(self.engine.describe(&path).await)?;
            Ok(described.map(|described| Details {
                description: described.metadata.description,
                tags: described.metadata.tags,
                created: Some(described.metadata.created),
                updated: Some(described.metadata.updated),
                removed: removed_at(described.versions.last()),
                versions: described
                    .versions
                    .into_iter()
                    .map(version_details)
                    .collect(),
                rotates_at: None,
                bound: described.bound,
            }))
        })
    }

    fn annotate<'a>(
        &'a self,
        address: &'a str,
        annotation: &'a Annotation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            self.engine
                .tag(&self.context, &path, &patch_of(annotation))
                .await
                .map_err(|error| backend_error(&error))
        })
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let removed = match removal {
                Removal::Final => {
                    let removed = self.engine.remove(&self.context, &path).await;
                    if_there(removed)?.is_some()
                }
                Removal::Recoverable => {
                    let newest = Versions::Newest;
                    let deleted = self.engine.delete(&self.context, &path, &newest).await;
                    if_there(deleted)?.is_some_and(|numbers| !numbers.is_empty())
                }
            };
            Ok(removed)
        })
    }

    fn restore<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let newest = Versions::Newest;
            let restored = self.engine.undelete(&self.context, &path, &newest).await;
            Ok(if_there(restored)?.is_some_and(|numbers| !numbers.is_empty()))
        })
    }
    fn change_versions<'a>(
        &'a self,
        address: &'a str,
        versions: &'a [String],
        change: VersionChange,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let numbers = versions.iter().filter_map(|id| id.parse().ok());
            let (engine, context) = (&self.engine, &self.context);
            let some = Versions::Some(numbers.collect());
            let changed = match change {
                VersionChange::Delete => engine.delete(context, &path, &some).await,
                VersionChange::Undelete => engine.undelete(context, &path, &some).await,
                VersionChange::Destroy => engine.destroy(context, &path, &some).await,
            };
            changed.map(drop).map_err(|error| backend_error(&error))
        })
    }
}
