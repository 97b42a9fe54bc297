//! The store as a backend of a chain.

use strongroom_core::path::SecretPath;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::StorageError;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::Provenance;

use crate::context::OpContext;
use crate::error::Error;
use crate::secrets::Engine;
use crate::secrets::WriteOptions;

/// `store` in a chain: an engine, and on whose behalf it is asked.
pub struct StoreBackend {
    engine: Engine,
    context: OpContext,
    folder: String,
}

impl StoreBackend {
    /// Over an engine; `folder` is the project's and profile's place in it.
    #[must_use]
    pub fn new(engine: Engine, context: OpContext, folder: String) -> Self {
        Self {
            engine,
            context,
            folder,
        }
    }
}

fn backend_error(error: &Error) -> BackendError {
    let kind = match error {
        Error::Damaged { .. } | Error::Storage(StorageError::Damaged { .. }) => {
            BackendErrorKind::Damaged
        }
        Error::Storage(_) | Error::Contended { .. } => BackendErrorKind::Unreachable,
        _ => BackendErrorKind::Malformed,
    };
    BackendError::new(kind, "store", error.to_string())
}

impl Backend for StoreBackend {
    fn scheme(&self) -> &'static str {
        "store"
    }

    fn describe(&self) -> String {
        "store".into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            versions: true,
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
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let payload = Payload::detect(value.clone());
            let options = WriteOptions::new(Provenance::Set);
            self.engine
                .write(&self.context, &lookup.place, &payload, &options)
                .await
                .map(|_| ())
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
}
