//! Writing values and what stands beside them.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::types::Tag;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::version::STAGE_CURRENT;

use super::AwsBackend;
use crate::failure::Call;
use crate::failure::Failure;

impl AwsBackend {
    /// Writes a declared secret. Most are there already, so that a new version is tried first.
    pub(super) async fn set_value(
        &self,
        address: &str,
        value: &SecretValue,
    ) -> Result<Stored, BackendError> {
        if let Some(field) = &self.settings.field {
            let message = format!("one field (`{field}`) of a JSON secret cannot be written");
            return Err(self
                .site()
                .error(BackendErrorKind::Unsupported, message)
                .with_hint("write the whole object, with a backend address without `field`"));
        }
        let value = NewValue::new(Payload::detect(value.clone()));
        self.check_write(address, &value)?;
        match self.put(address, &value, None).await {
            Ok(version) => Ok(Stored {
                version,
                is_new: true,
            }),
            Err(failure) if failure.is_not_found() => self.write_value(address, &value).await,
            Err(failure) => Err(failure.error),
        }
    }

    /// Writes a value. A migration writes mostly new names: creating is tried first.
    pub(super) async fn write_value(
        &self,
        address: &str,
        value: &NewValue,
    ) -> Result<Stored, BackendError> {
        self.check_write(address, value)?;
        let version = match &value.expected {
            Expected::Version(expected) => self.exchange(address, value, expected).await?,
            Expected::Absent => self.create(address, value).await?,
            Expected::Any => match self.create(address, value).await {
                Ok(version) => version,
                Err(failure) if failure.is_existing() => {
                    let stages = [&[STAGE_CURRENT.to_owned()], value.stages.as_slice()].concat();
                    let stages = (stages.len() > 1).then_some(stages);
                    let version = self.put(address, value, stages).await?;
                    self.annotate_all(address, &value.annotation).await?;
                    version
                }
                Err(failure) => return Err(failure.error),
            },
        };
        Ok(Stored {
            version,
            is_new: true,
        })
    }

    async fn create(&self, address: &str, value: &NewValue) -> Result<Option<String>, Failure> {
        let (text, binary) = plain(&value.payload);
        let tags = value.annotation.tags.iter();
        let tags: Vec<Tag> = tags
            .filter_map(|(key, text)| Some(tag(key, text.as_ref()?)))
            .collect();
        let request = self
            .client
            .create_secret()
            .name(address)
            .set_secret_string(text)
            .set_secret_binary(binary)
            .set_client_request_token(value.token.clone())
            .set_description(value.annotation.description.clone())
            .set_tags((!tags.is_empty()).then_some(tags))
            .set_kms_key_id(self.settings.kms_key.clone());
        let call = Call {
            action: "secretsmanager:CreateSecret",
            address,
        };
        let created = self.site().ask(call, request.send()).await?;
        if let Some(version) = &created.version_id {
            for stage in &value.stages {
                self.move_stage(address, stage, None, Some(version)).await?;
            }
        }
        Ok(created.version_id)
    }

    /// A new version; without `stages` it becomes the current one.
    async fn put(
        &self,
        address: &str,
        value: &NewValue,
        stages: Option<Vec<String>>,
    ) -> Result<Option<String>, Failure> {
        let (text, binary) = plain(&value.payload);
        let request = self
            .client
            .put_secret_value()
            .secret_id(address)
            .set_secret_string(text)
            .set_secret_binary(binary)
            .set_client_request_token(value.token.clone())
            .set_version_stages(stages);
        let call = Call {
            action: "secretsmanager:PutSecretValue",
            address,
        };
        let stored = self.site().ask(call, request.send()).await?;
        Ok(stored.version_id)
    }

    /// Replaces one version and no other. The new one is stored under a stage of ours, then
    /// `AWSCURRENT` is moved from the expected version: AWS refuses that when it is no longer
    /// there, so that nobody's write in between is lost.
    async fn exchange(
        &self,
        address: &str,
        value: &NewValue,
        expected: &str,
    ) -> Result<Option<String>, BackendError> {
        let conflict = || {
            let message = format!("version {expected} of `{address}` is not the current one");
            self.site()
                .error(BackendErrorKind::Conflict, message)
                .with_hint("read it again, and write with the version that was read")
        };
        let known = self.describe_one(address).await?.ok_or_else(conflict)?;
        if holder_of(&known, STAGE_CURRENT) != Some(expected) {
            return Err(conflict());
        }
        let stages = Some(vec![STAGE_OURS.to_owned()]);
        let version = self.put(address, value, stages).await?;
        let Some(new) = version.as_deref() else {
            return Err(conflict());
        };
        let moved = self
            .move_stage(address, STAGE_CURRENT, Some(expected), Some(new))
            .await;
        // Another writer may have taken the stage meanwhile; then there is nothing to tidy.
        let tidied = self.move_stage(address, STAGE_OURS, Some(new), None).await;
        match moved {
            Ok(()) => {}
            Err(failure) if failure.is_invalid_parameter() => return Err(conflict()),
            Err(failure) => return Err(failure.error),
        }
        if let Err(failure) = tidied
            && !failure.is_invalid_parameter()
        {
            return Err(failure.error);
        }
        for stage in &value.stages {
            // AWS wants to be told from where a stage is moved.
            let holder = holder_of(&known, stage);
            self.move_stage(address, stage, holder, Some(new)).await?;
        }
        self.annotate_all(address, &value.annotation).await?;
        Ok(version)
    }

    async fn move_stage(
        &self,
        address: &str,
        stage: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<(), Failure> {
        let request = self
            .client
            .update_secret_version_stage()
            .secret_id(address)
            .version_stage(stage)
            .set_remove_from_version_id(from.map(str::to_owned))
            .set_move_to_version_id(to.map(str::to_owned));
        let call = Call {
            action: "secretsmanager:UpdateSecretVersionStage",
            address,
        };
        self.site().ask(call, request.send()).await.map(drop)
    }

    /// Changes description and tags.
    pub(super) async fn write_annotation(
        &self,
        address: &str,
        annotation: &Annotation,
    ) -> Result<(), BackendError> {
        self.check_address(address)?;
        self.check_annotation(annotation)?;
        self.annotate_all(address, annotation).await
    }

    async fn annotate_all(
        &self,
        address: &str,
        annotation: &Annotation,
    ) -> Result<(), BackendError> {
        if let Some(description) = &annotation.description {
            let request = self.client.update_secret().secret_id(address);
            let request = request.description(description);
            let call = Call {
                action: "secretsmanager:UpdateSecret",
                address,
            };
            self.site().ask(call, request.send()).await?;
        }
        let (set, unset) = split(&annotation.tags);
        if !set.is_empty() {
            let request = self.client.tag_resource().secret_id(address);
            let call = Call {
                action: "secretsmanager:TagResource",
                address,
            };
            let request = request.set_tags(Some(set));
            self.site().ask(call, request.send()).await?;
        }
        if !unset.is_empty() {
            let request = self.client.untag_resource().secret_id(address);
            let call = Call {
                action: "secretsmanager:UntagResource",
                address,
            };
            let request = request.set_tag_keys(Some(unset));
            self.site().ask(call, request.send()).await?;
        }
        Ok(())
    }

    /// Deletes with a recovery window, or for good. AWS says of a missing secret that it was
    /// deleted for good, so that it is looked at first.
    pub(super) async fn delete(
        &self,
        address: &str,
        removal: Removal,
    ) -> Result<bool, BackendError> {
        self.check_address(address)?;
        let request = self.client.delete_secret().secret_id(address);
        let request = match removal {
            Removal::Recoverable => {
                request.set_recovery_window_in_days(self.settings.recovery_days)
            }
            Removal::Final if self.describe_one(address).await?.is_none() => return Ok(false),
            Removal::Final => request.force_delete_without_recovery(true),
        };
        let call = Call {
            action: "secretsmanager:DeleteSecret",
            address,
        };
        match self.site().ask(call, request.send()).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_not_found() || failure.is_marked_deleted() => Ok(false),
            Err(failure) => Err(failure.error),
        }
    }

    /// Takes a deletion back that has not happened yet.
    pub(super) async fn undelete(&self, address: &str) -> Result<bool, BackendError> {
        self.check_address(address)?;
        let known = self.describe_one(address).await?;
        if known.and_then(|known| known.deleted_date).is_none() {
            return Ok(false);
        }
        let call = Call {
            action: "secretsmanager:RestoreSecret",
            address,
        };
        let request = self.client.restore_secret().secret_id(address);
        match self.site().ask(call, request.send()).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_not_found() => Ok(false),
            Err(failure) => Err(failure.error),
        }
    }

    /// Has AWS call the secret's rotation function now. Without one nothing is asked for: there
    /// are servers that then make a version without a value.
    pub(super) async fn rotate_now(&self, address: &str) -> Result<Option<String>, BackendError> {
        self.check_address(address)?;
        let known = self.describe_one(address).await?.ok_or_else(|| {
            let message = format!("there is no `{address}`");
            self.site().error(BackendErrorKind::Conflict, message)
        })?;
        let is_rotated = known
            .rotation_lambda_arn()
            .is_some_and(|arn| !arn.is_empty())
            || known.rotation_enabled() == Some(true)
            || known.owning_service().is_some();
        if !is_rotated {
            let message = format!("`{address}` has no rotation function in AWS");
            let hint = format!(
                "give it one: `aws secretsmanager rotate-secret --region {} --secret-id {address} \
                 --rotation-lambda-arn …`",
                self.site().region
            );
            let error = self.site().error(BackendErrorKind::Misconfigured, message);
            return Err(error.with_hint(hint));
        }
        let call = Call {
            action: "secretsmanager:RotateSecret",
            address,
        };
        let request = self.client.rotate_secret().secret_id(address);
        let rotated = self.site().ask(call, request.send()).await?;
        Ok(rotated.version_id)
    }

    /// Refuses before anything is sent what AWS would refuse, or keep differently.
    fn check_write(&self, address: &str, value: &NewValue) -> Result<(), BackendError> {
        self.check_address(address)?;
        let invalid = |message: String| self.site().error(BackendErrorKind::Invalid, message);
        if address.starts_with("arn:") {
            return Err(invalid(
                "a secret is written by its name, not its ARN".into(),
            ));
        }
        let bytes = value.payload.value.len_bytes();
        if bytes == 0 {
            return Err(invalid(format!(
                "AWS keeps no empty value, as `{address}` has"
            )));
        }
        if bytes > VALUE_BYTES_MAX {
            return Err(invalid(format!(
                "the value for `{address}` is longer than the {VALUE_BYTES_MAX} bytes that AWS \
                 keeps"
            )));
        }
        let tokens = value.token.iter();
        if let Some(token) = tokens.into_iter().find(|t| !TOKEN_BYTES.contains(&t.len())) {
            return Err(invalid(format!(
                "a write token of AWS has 32 to 64 characters, not {}",
                token.len()
            )));
        }
        self.check_annotation(&value.annotation)
    }

    fn check_annotation(&self, annotation: &Annotation) -> Result<(), BackendError> {
        let invalid = |message: String| Err(self.site().error(BackendErrorKind::Invalid, message));
        let description = annotation.description.as_deref().unwrap_or_default();
        if description.len() > DESCRIPTION_BYTES_MAX {
            return invalid(format!(
                "a description of AWS has at most {DESCRIPTION_BYTES_MAX} bytes"
            ));
        }
        if annotation.tags.values().flatten().count() > TAGS_MAX {
            return invalid(format!("{} keeps at most {TAGS_MAX} tags", self.scheme()));
        }
        for (key, value) in &annotation.tags {
            let value = value.as_deref().unwrap_or_default();
            let is_short = (1..=TAG_KEY_MAX).contains(&key.chars().count())
                && value.chars().count() <= TAG_VALUE_MAX;
            if !is_short || key.starts_with("aws:") {
                return invalid(format!(
                    "a tag of AWS has a key of 1 to {TAG_KEY_MAX} characters that does not begin \
                     with `aws:`, and a value of at most {TAG_VALUE_MAX}"
                ));
            }
        }
        Ok(())
    }
}

/// The version that has a stage.
fn holder_of<'d>(known: &'d DescribeSecretOutput, stage: &str) -> Option<&'d str> {
    let versions = known.version_ids_to_stages().into_iter().flatten();
    let mut holders = versions.filter(|(_, stages)| stages.iter().any(|it| it == stage));
    holders.next().map(|(version, _)| version.as_str())
}

/// A payload as AWS takes it: text, or bytes.
fn plain(payload: &Payload) -> (Option<String>, Option<Blob>) {
    if payload.shape != Shape::Binary {
        // EXPOSE: handed to the SDK, which sends it to AWS over TLS.
        if let Some(text) = payload.value.expose_secret_text() {
            return (Some(text.to_owned()), None);
        }
    }
    // EXPOSE: handed to the SDK, which sends it to AWS over TLS.
    let bytes = payload.value.expose_secret().to_vec();
    (None, Some(Blob::new(bytes)))
}

fn split(tags: &BTreeMap<String, Option<String>>) -> (Vec<Tag>, Vec<String>) {
    let mut set = Vec::new();
    let mut unset = Vec::new();
    for (key, value) in tags {
        match value {
            Some(value) => set.push(tag(key, value)),
            None => unset.push(key.clone()),
        }
    }
    (set, unset)
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// Longest value, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = 65_536;
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 32..=64;
const DESCRIPTION_BYTES_MAX: usize = 2048;
const TAGS_MAX: usize = 50;
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;
/// Holds a new version until it becomes the current one. Only one version has it at a time, so
/// that writers that died leave at most one behind.
const STAGE_OURS: &str = "STRONGROOM_NEXT";
