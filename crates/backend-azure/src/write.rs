//! Changes: versions, tags, removal and its undoing.

use azure_security_keyvault_secrets::models::SecretClientUpdateSecretPropertiesOptions;
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::models::UpdateSecretPropertiesParameters;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::secret::Shape;
use tokio::time::Instant;

use crate::AzureBackend;
use crate::JSON;
use crate::VALUE_BYTES_MAX;
use crate::error::Failure;
use crate::metadata;

impl AzureBackend {
    pub(crate) async fn put(
        &self,
        address: &str,
        value: &NewValue,
    ) -> Result<Stored, BackendError> {
        if value.expected != Expected::Any {
            return Err(self.unsupported("write under a condition"));
        }
        let name = self.secret_name(address)?;
        // EXPOSE: into the body of a request to the vault.
        let Some(text) = value.payload.value.expose_secret_text() else {
            return Err(self.invalid("a key vault keeps text only", "encode the bytes as base64"));
        };
        if text.len() > VALUE_BYTES_MAX {
            let hint = "keep the file elsewhere and its key here";
            return Err(self.invalid("a key vault keeps at most 25 KiB", hint));
        }
        let deadline = self.deadline();
        // Tags and content type belong to a version: the new one gets those of the last.
        let last = self.find(&name, None, deadline).await?.unwrap_or_default();
        let mut tags = last.tags.unwrap_or_default();
        metadata::annotate(&mut tags, &value.annotation);
        let content_type = match value.payload.shape {
            Shape::Fields => Some(JSON.to_owned()),
            _ => last.content_type.filter(|kind| kind != JSON),
        };
        let request = async || {
            let parameters = SetSecretParameters {
                value: Some(text.to_owned()),
                tags: Some(tags.clone()).filter(|tags| !tags.is_empty()),
                content_type: content_type.clone(),
                ..SetSecretParameters::default()
            };
            let set = self
                .client
                .set_secret(&name, parameters.try_into()?, None)
                .await?;
            set.into_model()
        };
        let set = self.call(deadline, request).await;
        let set = set.map_err(|failure| failure.into_error(&self.name))?;
        Ok(Stored {
            version: metadata::version(set.id.as_deref()).map(str::to_owned),
            is_new: true,
        })
    }

    pub(crate) async fn annotate_address(
        &self,
        address: &str,
        annotation: &Annotation,
    ) -> Result<(), BackendError> {
        let name = self.secret_name(address)?;
        let deadline = self.deadline();
        let Some(secret) = self.find(&name, None, deadline).await? else {
            return Err(Failure::Absent.into_error(&self.name));
        };
        let version = metadata::version(secret.id.as_deref()).map(str::to_owned);
        let mut tags = secret.tags.unwrap_or_default();
        metadata::annotate(&mut tags, annotation);
        let request = async || {
            let parameters = UpdateSecretPropertiesParameters {
                tags: Some(tags.clone()),
                ..UpdateSecretPropertiesParameters::default()
            };
            let options = SecretClientUpdateSecretPropertiesOptions {
                secret_version: version.clone(),
                ..SecretClientUpdateSecretPropertiesOptions::default()
            };
            let parameters = parameters.try_into()?;
            self.client
                .update_secret_properties(&name, parameters, Some(options))
                .await
        };
        let updated = self.call(deadline, request).await;
        updated
            .map(drop)
            .map_err(|failure| failure.into_error(&self.name))
    }

    /// Deletes, and for good if wanted. The vault takes some seconds for either; this waits.
    pub(crate) async fn remove_address(
        &self,
        address: &str,
        removal: Removal,
    ) -> Result<bool, BackendError> {
        let name = self.secret_name(address)?;
        let deadline = self.deadline();
        let request = async || {
            let deleted = self.client.delete_secret(&name, None).await?;
            deleted.into_model()
        };
        let was_there = match self.call(deadline, request).await {
            // A vault without soft delete names no place to bring it back from.
            Ok(deleted) if deleted.recovery_id.is_none() => return Ok(true),
            Ok(_) => true,
            Err(Failure::Absent) => false,
            Err(failure) => return Err(failure.into_error(&self.name)),
        };
        if was_there {
            self.until(deadline, || self.is_deleted(&name, deadline))
                .await?;
        } else if removal == Removal::Recoverable || !self.is_deleted(&name, deadline).await? {
            return Ok(false);
        }
        if removal == Removal::Final {
            self.purge(&name, deadline).await?;
        }
        Ok(true)
    }

    async fn purge(&self, name: &str, deadline: Instant) -> Result<(), BackendError> {
        let request = async || self.client.purge_deleted_secret(name, None).await;
        match self.call(deadline, request).await {
            Ok(_) | Err(Failure::Absent) => {}
            Err(failure) => {
                let error = failure.into_error(&self.name);
                if error.kind == BackendErrorKind::Denied {
                    return Err(error.with_hint(
                        "it is deleted but not purged: the vault may be protected from that, or \
                         the role lacks it; it goes by itself when its retention ends",
                    ));
                }
                return Err(error);
            }
        }
        self.until(deadline, async || {
            Ok(!self.is_deleted(name, deadline).await?)
        })
        .await
    }

    pub(crate) async fn restore_address(&self, address: &str) -> Result<bool, BackendError> {
        let name = self.secret_name(address)?;
        let deadline = self.deadline();
        if !self.is_deleted(&name, deadline).await? {
            return Ok(false);
        }
        let request = async || self.client.recover_deleted_secret(&name, None).await;
        match self.call(deadline, request).await {
            Ok(_) => {}
            Err(Failure::Absent) => return Ok(false),
            Err(failure) => return Err(failure.into_error(&self.name)),
        }
        self.until(deadline, async || {
            Ok(!self.is_deleted(&name, deadline).await?)
        })
        .await?;
        Ok(true)
    }

    async fn is_deleted(&self, name: &str, deadline: Instant) -> Result<bool, BackendError> {
        let request = async || self.client.get_deleted_secret(name, None).await;
        match self.call(deadline, request).await {
            Ok(_) => Ok(true),
            Err(Failure::Absent) => Ok(false),
            Err(failure) => Err(failure.into_error(&self.name)),
        }
    }

    fn invalid(&self, message: &str, hint: &str) -> BackendError {
        BackendError::new(BackendErrorKind::Invalid, self.name.clone(), message).with_hint(hint)
    }
}
