//! The port.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Deref;

use futures_util::StreamExt;
use futures_util::stream;
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReviewSpec;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Item;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Page;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::port::every_address;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use tokio::time::Instant;
use zeroize::Zeroize;

use crate::KubernetesBackend;
use crate::SECRET_BYTES_MAX;
use crate::about::About;
use crate::call::IN_FLIGHT_MAX;
use crate::call::Repeat;
use crate::error::Failure;
use crate::layout::Place;

impl Backend for KubernetesBackend {
    fn scheme(&self) -> &'static str {
        "k8s"
    }

    fn describe(&self) -> String {
        self.name.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            list: true,
            delete: true,
            cas: true,
            description: true,
            tags: true,
            binary: true,
            value_bytes_max: Some(SECRET_BYTES_MAX),
            ..Capabilities::default()
        }
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(every_address(self, ""))
    }

    fn address(&self, lookup: &Lookup) -> String {
        self.layout.declared(lookup)
    }

    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(self.ask_health())
    }

    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        Box::pin(async move {
            if *version != VersionRef::Current {
                return Err(self.unsupported("read earlier versions"));
            }
            let place = self.layout.place(address, &self.name)?;
            let found = self.fetch(&place.object, self.deadline()).await?;
            Ok(found.and_then(|secret| item(&secret, &place.key)))
        })
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(self.read_all(addresses))
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(self.put(address, value))
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(self.page_of(prefix, after, limit))
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        Box::pin(async move {
            let place = self.layout.place(address, &self.name)?;
            let found = self.fetch(&place.object, self.deadline()).await?;
            let found = found.filter(|secret| has(secret, &place.key));
            found
                .map(|secret| details(&secret, &place, &self.name))
                .transpose()
        })
    }

    fn annotate<'a>(
        &'a self,
        address: &'a str,
        annotation: &'a Annotation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.annotate_key(address, annotation))
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        _removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.remove_key(address))
    }
}

impl KubernetesBackend {
    /// One object; `None` when there is none.
    pub(crate) async fn fetch(
        &self,
        object: &str,
        deadline: Instant,
    ) -> Result<Option<Held>, BackendError> {
        let request = || self.api.get(object);
        match self.call(deadline, Repeat::Harmless, request).await {
            Ok(secret) => Ok(Some(Held(secret))),
            Err(Failure::Absent) => Ok(None),
            Err(failure) => Err(failure.into_error(&self.name)),
        }
    }

    /// Reads each object once, whatever the number of its keys that are asked for.
    async fn read_all(&self, addresses: &[String]) -> Vec<Result<Option<Item>, BackendError>> {
        let places: Vec<Result<Place, BackendError>> = addresses
            .iter()
            .map(|address| self.layout.place(address, &self.name))
            .collect();
        let objects: BTreeSet<&String> = places
            .iter()
            .filter_map(|place| place.as_ref().ok())
            .map(|place| &place.object)
            .collect();
        let deadline = self.deadline();
        let mut requests = Vec::with_capacity(objects.len());
        for object in objects {
            requests.push(async move { (object, self.fetch(object, deadline).await) });
        }
        let found: BTreeMap<&String, Result<Option<Held>, BackendError>> = stream::iter(requests)
            .buffer_unordered(IN_FLIGHT_MAX)
            .collect()
            .await;
        let items = places.iter().map(|place| {
            let place = place.as_ref().map_err(Clone::clone)?;
            match found.get(&place.object) {
                Some(Ok(Some(secret))) => Ok(item(secret, &place.key)),
                Some(Err(error)) => Err(error.clone()),
                Some(Ok(None)) | None => Ok(None),
            }
        });
        items.collect()
    }

    async fn ask_health(&self) -> Result<String, BackendError> {
        let deadline = self.deadline();
        let fail = |failure: Failure| failure.into_error(&self.name);
        let version = self
            .call(deadline, Repeat::Harmless, || {
                self.client.apiserver_version()
            })
            .await
            .map_err(fail)?;
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    name: self.layout.object().map(str::to_owned),
                    resource: Some("secrets".into()),
                    verb: Some("get".into()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let review = self
            .call(deadline, Repeat::Harmless, || {
                reviews.create(&params, &review)
            })
            .await
            .map_err(fail)?;
        if review.status.is_some_and(|status| status.allowed) {
            let version = version.git_version;
            return Ok(format!(
                "Kubernetes {version}, may read Secrets of {}",
                self.namespace
            ));
        }
        let message = format!(
            "no leave to read Secrets of the namespace {}",
            self.namespace
        );
        Err(
            BackendError::new(BackendErrorKind::Denied, self.name.clone(), message)
                .with_hint("a Role must allow `get` on secrets; kubectl auth can-i get secrets"),
        )
    }
}

/// An object from the server; its values are wiped when it goes.
pub(crate) struct Held(pub(crate) Secret);

impl Deref for Held {
    type Target = Secret;

    fn deref(&self) -> &Secret {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for ByteString(bytes) in self.0.data.iter_mut().flat_map(BTreeMap::values_mut) {
            bytes.zeroize();
        }
    }
}

pub(crate) fn has(secret: &Secret, key: &str) -> bool {
    secret
        .data
        .as_ref()
        .is_some_and(|data| data.contains_key(key))
}

/// The value of a key, copied once: the object may be asked for it again.
fn item(secret: &Secret, key: &str) -> Option<Item> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    Some(Item {
        payload: Payload::detect(SecretValue::copy_from(bytes)),
        version: secret.metadata.resource_version.clone(),
        stages: Vec::new(),
        created: None,
        expires_at: None,
    })
}

fn details(secret: &Secret, place: &Place, backend: &str) -> Result<Details, BackendError> {
    let about = About::of(secret, backend)?.key(&place.key);
    let metadata = &secret.metadata;
    let stamp = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| {
        Timestamp::from_micros(time.0.as_microsecond())
    };
    let changes = metadata.managed_fields.iter().flatten();
    Ok(Details {
        description: about.description,
        tags: about.tags,
        created: metadata.creation_timestamp.as_ref().map(stamp),
        updated: changes
            .filter_map(|change| change.time.as_ref())
            .map(stamp)
            .max(),
        ..Details::default()
    })
}
