//! Changes: single keys, several at once, and manifests for those who apply them otherwise.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::api::Patch;
use kube::api::PatchParams;
use kube::api::PostParams;
use kube::api::Preconditions;
use strongroom_core::port::Annotation;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use tokio::time::Instant;

use crate::KubernetesBackend;
use crate::SECRET_BYTES_MAX;
use crate::about::ANNOTATION;
use crate::about::About;
use crate::backend::Held;
use crate::backend::has;
use crate::call::Repeat;
use crate::error::Failure;
use crate::error::conflict;
use crate::layout::Layout;
use crate::layout::Place;
use crate::patch::SecretPatch;
use crate::patch::Sent;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const FIELD_MANAGER: &str = "strongroom";

impl KubernetesBackend {
    /// Writes many keys of one object in one request; keys that are not named stay.
    ///
    /// # Errors
    /// When a path has no key, the values exceed the bound, or the server refuses.
    pub async fn apply(
        &self,
        object: &str,
        values: &BTreeMap<String, SecretValue>,
    ) -> Result<(), BackendError> {
        let keys = self.keys(object, values)?;
        let (deadline, mut tries) = (self.deadline(), 0);
        loop {
            let patch = SecretPatch {
                data: sent(&keys),
                ..SecretPatch::default()
            };
            match self.upsert(object, patch, &keys, deadline).await {
                Ok(_) => return Ok(()),
                Err(Failure::Conflict | Failure::Absent) => {}
                Err(failure) => return Err(failure.into_error(&self.name)),
            }
            self.give_way(&mut tries, deadline).await?;
        }
    }

    /// A manifest of these values for `kubectl apply`, as JSON (which is YAML too).
    ///
    /// # Errors
    /// When a path has no key or the values exceed the bound.
    pub fn manifest(
        &self,
        object: &str,
        values: &BTreeMap<String, SecretValue>,
    ) -> Result<SecretValue, BackendError> {
        let keys = self.keys(object, values)?;
        let bytes: usize = keys.values().map(SecretValue::len_bytes).sum();
        // Room for everything from the start, so that no copy is left behind.
        let mut text = String::with_capacity(bytes * 4 / 3 + keys.len() * 300 + 1_024);
        text.push_str(&format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"name\":\"{object}\",\
             \"namespace\":\"{}\",\"labels\":{{\"{MANAGED_BY}\":\"strongroom\"}}}},\
             \"type\":\"Opaque\",\"data\":{{",
            self.namespace
        ));
        for (index, (key, value)) in keys.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            text.push_str(&format!("{comma}\"{key}\":\""));
            // EXPOSE: into the manifest, which is a secret value itself.
            BASE64.encode_append(value.expose_secret(), &mut text);
            text.push('"');
        }
        text.push_str("}}\n");
        Ok(SecretValue::from_text(text))
    }

    /// Values by key, within the bound of an object.
    fn keys(
        &self,
        object: &str,
        values: &BTreeMap<String, SecretValue>,
    ) -> Result<BTreeMap<String, SecretValue>, BackendError> {
        let mut keys = BTreeMap::new();
        for (path, value) in values {
            let place = Layout::place_in(object, path, &self.name)?;
            keys.insert(place.key, value.clone());
        }
        self.check_bound(keys.values().map(SecretValue::len_bytes).sum())?;
        Ok(keys)
    }

    pub(crate) async fn put(
        &self,
        address: &str,
        value: &NewValue,
    ) -> Result<Stored, BackendError> {
        let place = self.layout.place(address, &self.name)?;
        self.check_bound(value.payload.value.len_bytes())?;
        let (deadline, mut tries) = (self.deadline(), 0);
        loop {
            let attempt = match value {
                NewValue {
                    expected: Expected::Any,
                    annotation,
                    ..
                } if annotation.is_empty() => self.put_blindly(&place, value, deadline).await,
                _ => self.put_onto(&place, value, deadline).await,
            };
            match attempt {
                Ok(version) => {
                    return Ok(Stored {
                        version,
                        is_new: true,
                    });
                }
                Err(Failure::Conflict | Failure::Absent) => {}
                Err(failure) => return Err(failure.into_error(&self.name)),
            }
            self.give_way(&mut tries, deadline).await?;
        }
    }

    async fn put_blindly(
        &self,
        place: &Place,
        value: &NewValue,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        let keys = [(place.key.clone(), value.payload.value.clone())].into();
        let patch = SecretPatch::of_key(&place.key, Some(&value.payload.value));
        self.upsert(&place.object, patch, &keys, deadline).await
    }

    /// Looks first, then writes only if nothing has changed since.
    async fn put_onto(
        &self,
        place: &Place,
        value: &NewValue,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        let found = self
            .fetch(&place.object, deadline)
            .await
            .map_err(Failure::Final)?;
        self.check_expected(found.as_deref(), place, &value.expected)
            .map_err(Failure::Final)?;
        let new = &value.payload.value;
        let about = match &found {
            Some(secret) => About::of(secret, &self.name).map_err(Failure::Final)?,
            None => About::default(),
        };
        let about = match value.annotation.is_empty() {
            true => None,
            false => Some(about.annotated(&place.key, &value.annotation).text()),
        };
        let Some(secret) = found else {
            let keys = [(place.key.clone(), new.clone())].into();
            return self
                .create(&place.object, &keys, about.flatten(), deadline)
                .await;
        };
        let mut patch = SecretPatch::of_key(&place.key, Some(new))
            .if_unchanged(secret.metadata.resource_version.clone());
        if let Some(text) = about {
            patch = patch.annotated(ANNOTATION, text);
        }
        self.patch(&place.object, &patch, Repeat::OnlyIfRefused, deadline)
            .await
    }

    fn check_expected(
        &self,
        found: Option<&Secret>,
        place: &Place,
        expected: &Expected,
    ) -> Result<(), BackendError> {
        let found = found.filter(|secret| has(secret, &place.key));
        match (expected, found) {
            (Expected::Any, _) | (Expected::Absent, None) => Ok(()),
            (Expected::Absent, Some(_)) => Err(conflict(&self.name, "the key is there already")),
            (Expected::Version(_), None) => Err(conflict(&self.name, "the key is not there")),
            (Expected::Version(version), Some(secret)) => {
                match secret.metadata.resource_version.as_ref() == Some(version) {
                    true => Ok(()),
                    false => Err(conflict(&self.name, "the Secret was changed meanwhile")),
                }
            }
        }
    }

    pub(crate) async fn annotate_key(
        &self,
        address: &str,
        annotation: &Annotation,
    ) -> Result<(), BackendError> {
        let place = self.layout.place(address, &self.name)?;
        let (deadline, mut tries) = (self.deadline(), 0);
        loop {
            let found = self.fetch(&place.object, deadline).await?;
            let Some(secret) = found.filter(|secret| has(secret, &place.key)) else {
                return Err(conflict(&self.name, "there is no such key to describe"));
            };
            let about = About::of(&secret, &self.name)?.annotated(&place.key, annotation);
            let patch = SecretPatch::default()
                .if_unchanged(secret.metadata.resource_version.clone())
                .annotated(ANNOTATION, about.text());
            let repeat = Repeat::OnlyIfRefused;
            match self.patch(&place.object, &patch, repeat, deadline).await {
                Ok(_) => return Ok(()),
                Err(Failure::Conflict | Failure::Absent) => {}
                Err(failure) => return Err(failure.into_error(&self.name)),
            }
            self.give_way(&mut tries, deadline).await?;
        }
    }

    /// Takes a key away; with the last one of an object of ours, the object.
    pub(crate) async fn remove_key(&self, address: &str) -> Result<bool, BackendError> {
        let place = self.layout.place(address, &self.name)?;
        let (deadline, mut tries) = (self.deadline(), 0);
        loop {
            let found = self.fetch(&place.object, deadline).await?;
            let Some(secret) = found.filter(|secret| has(secret, &place.key)) else {
                return Ok(false);
            };
            let is_last = secret.data.as_ref().is_some_and(|data| data.len() == 1);
            let attempt = match is_last && is_ours(&secret) {
                true => self.delete(&place.object, &secret, deadline).await,
                false => {
                    let about = About::of(&secret, &self.name)?.without(&place.key);
                    let patch = SecretPatch::of_key(&place.key, None)
                        .if_unchanged(secret.metadata.resource_version.clone())
                        .annotated(ANNOTATION, about.text());
                    let repeat = Repeat::OnlyIfRefused;
                    let patched = self.patch(&place.object, &patch, repeat, deadline).await;
                    patched.map(drop)
                }
            };
            match attempt {
                Ok(()) => return Ok(true),
                Err(Failure::Conflict | Failure::Absent) => {}
                Err(failure) => return Err(failure.into_error(&self.name)),
            }
            self.give_way(&mut tries, deadline).await?;
        }
    }

    /// Patches an object, or makes it when there is none.
    async fn upsert(
        &self,
        object: &str,
        patch: SecretPatch,
        keys: &BTreeMap<String, SecretValue>,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        match self.patch(object, &patch, Repeat::Harmless, deadline).await {
            Err(Failure::Absent) => self.create(object, keys, None, deadline).await,
            result => result,
        }
    }

    async fn patch(
        &self,
        object: &str,
        patch: &SecretPatch,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let request = || self.api.patch_metadata(object, &params, &patch);
        let written = self.call(deadline, repeat, request).await?;
        Ok(written.metadata.resource_version)
    }

    async fn create(
        &self,
        object: &str,
        keys: &BTreeMap<String, SecretValue>,
        about: Option<String>,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        let mut secret = Secret::default();
        secret.metadata.name = Some(object.to_owned());
        secret.metadata.labels = Some([(MANAGED_BY.into(), "strongroom".into())].into());
        secret.metadata.annotations = about.map(|text| [(ANNOTATION.into(), text)].into());
        secret.type_ = Some("Opaque".into());
        // EXPOSE: into the body of a request to the API server.
        let bytes = |value: &SecretValue| ByteString(value.expose_secret().to_vec());
        let data = keys.iter().map(|(key, value)| (key.clone(), bytes(value)));
        secret.data = Some(data.collect());
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        let secret = Held(secret);
        let request = || self.api.create(&params, &*secret);
        let written = self.call(deadline, Repeat::OnlyIfRefused, request).await?;
        Ok(Held(written).metadata.resource_version.clone())
    }

    async fn delete(
        &self,
        object: &str,
        secret: &Secret,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: secret.metadata.uid.clone(),
                resource_version: secret.metadata.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let request = || self.api.delete(object, &params);
        self.call(deadline, Repeat::OnlyIfRefused, request)
            .await
            .map(drop)
    }

    fn check_bound(&self, bytes: usize) -> Result<(), BackendError> {
        if bytes <= SECRET_BYTES_MAX {
            return Ok(());
        }
        let message = "a Secret holds at most 1 MiB";
        let error = BackendError::new(BackendErrorKind::Invalid, self.name.clone(), message);
        Err(error.with_hint("keep the file elsewhere and its key here"))
    }
}

impl fmt::Debug for KubernetesBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KubernetesBackend({})", self.name)
    }
}

fn sent(keys: &BTreeMap<String, SecretValue>) -> BTreeMap<String, Option<Sent>> {
    let keys = keys.iter();
    keys.map(|(key, value)| (key.clone(), Some(Sent(value.clone()))))
        .collect()
}

fn is_ours(secret: &Secret) -> bool {
    let labels = secret.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.get(MANAGED_BY).is_some_and(|by| by == "strongroom"))
}
