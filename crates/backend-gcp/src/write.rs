//! Changes: versions, labels, removal.

use std::time::Duration;

use bytes::Bytes;
use google_cloud_secretmanager_v1::model::Replication;
use google_cloud_secretmanager_v1::model::Secret;
use google_cloud_secretmanager_v1::model::SecretPayload;
use google_cloud_secretmanager_v1::model::replication::Automatic;
use google_cloud_wkt::FieldMask;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Stored;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::GcpBackend;
use crate::VALUE_BYTES_MAX;
use crate::checksum::crc32c;
use crate::error::Failure;
use crate::metadata;

/// Pauses between attempts to change what others change too.
const PAUSE_MILLIS: u64 = 10;
const PAUSE_MILLIS_MAX: u64 = 500;

impl GcpBackend {
    pub(crate) async fn put(
        &self,
        address: &str,
        value: &NewValue,
    ) -> Result<Stored, BackendError> {
        if value.expected != Expected::Any {
            return Err(self.unsupported("write under a condition"));
        }
        let name = self.resource(address)?;
        if value.payload.value.len_bytes() > VALUE_BYTES_MAX {
            let message = "Secret Manager keeps at most 64 KiB";
            let error = BackendError::new(BackendErrorKind::Invalid, self.name.clone(), message);
            return Err(error.with_hint("keep the file elsewhere and its key here"));
        }
        let deadline = self.deadline();
        let annotation = metadata::with_labels_only(&value.annotation);
        let added = match self.add(&name, value, deadline).await {
            Err(Failure::Absent) => {
                self.create(&name, &annotation, deadline).await?;
                self.add(&name, value, deadline).await
            }
            Ok(version) if !annotation.is_empty() => {
                self.annotate_resource(&name, &annotation, deadline).await?;
                Ok(version)
            }
            added => added,
        };
        let version = added.map_err(|failure| failure.into_error(&self.name))?;
        Ok(Stored {
            version: Some(version),
            is_new: true,
        })
    }

    async fn add(
        &self,
        name: &str,
        value: &NewValue,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let request = || {
            // EXPOSE: into the body of a request to Secret Manager.
            let bytes = value.payload.value.expose_secret();
            let payload = SecretPayload::new()
                .set_data(Bytes::copy_from_slice(bytes))
                .set_data_crc32c(crc32c(bytes));
            let request = self.client.add_secret_version().set_parent(name);
            request.set_payload(payload).send()
        };
        let added = self.call(deadline, request).await?;
        Ok(metadata::leaf(&added.name).to_owned())
    }

    /// An empty secret; that it was made by somebody else meanwhile is as good.
    async fn create(
        &self,
        name: &str,
        annotation: &Annotation,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let parent = format!("projects/{}", self.project);
        let mut secret =
            Secret::new().set_replication(Replication::new().set_automatic(Automatic::new()));
        metadata::annotate(&mut secret, annotation);
        let request = || {
            let request = self.client.create_secret().set_parent(&parent);
            request
                .set_secret_id(metadata::leaf(name))
                .set_secret(secret.clone())
                .send()
        };
        match self.call(deadline, request).await {
            Ok(_) | Err(Failure::Present) => Ok(()),
            Err(Failure::Absent) => {
                let message = "there is no such project";
                let kind = BackendErrorKind::Misconfigured;
                Err(BackendError::new(kind, self.name.clone(), message)
                    .with_hint("gcloud projects list shows them"))
            }
            Err(failure) => Err(failure.into_error(&self.name)),
        }
    }

    pub(crate) async fn annotate_address(
        &self,
        address: &str,
        annotation: &Annotation,
    ) -> Result<(), BackendError> {
        metadata::check_labels(annotation, &self.name)?;
        let name = self.resource(address)?;
        let deadline = self.deadline();
        self.annotate_resource(&name, annotation, deadline).await
    }

    /// Reads, changes, writes if nothing has changed meanwhile; else again.
    async fn annotate_resource(
        &self,
        name: &str,
        annotation: &Annotation,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let mut pause = PAUSE_MILLIS;
        loop {
            let Some(mut secret) = self.find(name, deadline).await? else {
                return Err(Failure::Absent.into_error(&self.name));
            };
            metadata::annotate(&mut secret, annotation);
            let mask = FieldMask::default().set_paths(["labels", "annotations"]);
            let request = || {
                let request = self.client.update_secret().set_secret(secret.clone());
                request.set_update_mask(mask.clone()).send()
            };
            match self.call(deadline, request).await {
                Ok(_) => return Ok(()),
                Err(Failure::Conflict | Failure::NotReadable)
                    if Instant::now() + Duration::from_millis(pause) < deadline => {}
                Err(failure) => return Err(failure.into_error(&self.name)),
            }
            sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(PAUSE_MILLIS_MAX);
        }
    }

    pub(crate) async fn remove_address(&self, address: &str) -> Result<bool, BackendError> {
        let name = self.resource(address)?;
        let request = || self.client.delete_secret().set_name(&name).send();
        match self.call(self.deadline(), request).await {
            Ok(()) => Ok(true),
            Err(Failure::Absent) => Ok(false),
            Err(failure) => Err(failure.into_error(&self.name)),
        }
    }
}
