//! Reading: values, addresses, facts.

use azure_core::http::Url;
use azure_core::http::pager::PagerContinuation;
use azure_core::http::pager::PagerOptions;
use azure_security_keyvault_secrets::models::ListSecretPropertiesResult;
use azure_security_keyvault_secrets::models::Secret;
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::models::SecretClientListSecretPropertiesOptions;
use azure_security_keyvault_secrets::models::SecretClientListSecretPropertiesVersionsOptions;
use azure_security_keyvault_secrets::models::SecretProperties;
use futures_util::StreamExt;
use futures_util::stream;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Details;
use strongroom_core::port::Item;
use strongroom_core::port::Page;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use tokio::time::Instant;

use crate::AzureBackend;
use crate::JSON;
use crate::NAMES;
use crate::call::IN_FLIGHT_MAX;
use crate::error::Failure;
use crate::metadata;
use crate::metadata::stamp;

/// Most secrets in one answer; Key Vault's bound.
const PAGE_MAX: usize = 25;

impl AzureBackend {
    pub(crate) async fn read_one(
        &self,
        address: &str,
        version: &VersionRef,
    ) -> Result<Option<Item>, BackendError> {
        let name = self.secret_name(address)?;
        let version = match version {
            VersionRef::Current => None,
            VersionRef::Id(id) if is_version(id) => Some(id.clone()),
            VersionRef::Id(_) => return Ok(None),
            VersionRef::Stage(_) => return Err(self.unsupported("read by stage")),
        };
        let found = self.find(&name, version, self.deadline()).await?;
        found.map(|secret| self.item(secret)).transpose()
    }

    fn item(&self, secret: Secret) -> Result<Item, BackendError> {
        let value = secret.value.ok_or_else(|| {
            let message = "the secret came without its value";
            BackendError::new(BackendErrorKind::Malformed, self.name.clone(), message)
                .with_hint("check the vault's host, and proxies on the way")
        })?;
        let attributes = secret.attributes.as_ref();
        let is_object = secret.content_type.as_deref() == Some(JSON) && value.starts_with('{');
        let mut payload = Payload::detect(SecretValue::from_text(value));
        if is_object && payload.shape == Shape::Text {
            payload.shape = Shape::Fields;
        }
        Ok(Item {
            payload,
            version: metadata::version(secret.id.as_deref()).map(str::to_owned),
            stages: Vec::new(),
            created: metadata::created(attributes),
            expires_at: stamp!(attributes.and_then(|attributes| attributes.expires)),
        })
    }

    /// A secret with its value; `None` when there is none.
    pub(crate) async fn find(
        &self,
        name: &str,
        version: Option<String>,
        deadline: Instant,
    ) -> Result<Option<Secret>, BackendError> {
        let request = async || {
            let options = SecretClientGetSecretOptions {
                secret_version: version.clone(),
                ..SecretClientGetSecretOptions::default()
            };
            let found = self.client.get_secret(name, Some(options)).await?;
            found.into_model()
        };
        match self.call(deadline, request).await {
            Ok(secret) => Ok(Some(secret)),
            Err(Failure::Absent) => Ok(None),
            Err(failure) => Err(failure.into_error(&self.name)),
        }
    }

    pub(crate) async fn read_all(
        &self,
        addresses: &[String],
    ) -> Vec<Result<Option<Item>, BackendError>> {
        let mut requests = Vec::with_capacity(addresses.len());
        for address in addresses {
            requests.push(self.read_one(address, &VersionRef::Current));
        }
        stream::iter(requests)
            .buffered(IN_FLIGHT_MAX)
            .collect()
            .await
    }

    /// From the versions, which need no leave to read the value.
    pub(crate) async fn details_of(&self, address: &str) -> Result<Option<Details>, BackendError> {
        let name = self.secret_name(address)?;
        let deadline = self.deadline();
        let mut versions = self.versions(&name, deadline).await?;
        versions.sort_by_key(|version| metadata::created(version.attributes.as_ref()));
        let (Some(first), Some(last)) = (versions.first(), versions.last()) else {
            return self.removed(&name, deadline).await;
        };
        let mut tags = last.tags.clone().unwrap_or_default();
        let attributes = last.attributes.as_ref();
        Ok(Some(Details {
            description: tags.remove(metadata::DESCRIPTION),
            tags: tags.into_iter().collect(),
            created: metadata::created(first.attributes.as_ref()),
            updated: stamp!(attributes.and_then(|attributes| attributes.updated)),
            versions: versions.iter().map(metadata::details).collect(),
            ..Details::default()
        }))
    }

    /// What is known of a secret that can be brought back.
    async fn removed(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Details>, BackendError> {
        let request = async || {
            let found = self.client.get_deleted_secret(name, None).await?;
            found.into_model()
        };
        let found = match self.call(deadline, request).await {
            Ok(found) => found,
            Err(Failure::Absent) => return Ok(None),
            Err(failure) => return Err(failure.into_error(&self.name)),
        };
        let mut tags = found.tags.unwrap_or_default();
        Ok(Some(Details {
            description: tags.remove(metadata::DESCRIPTION),
            tags: tags.into_iter().collect(),
            created: metadata::created(found.attributes.as_ref()),
            removed: stamp!(found.deleted_date),
            ..Details::default()
        }))
    }

    async fn versions(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Vec<SecretProperties>, BackendError> {
        let mut versions = Vec::new();
        let mut next: Option<Url> = None;
        loop {
            let request = async || {
                let options = SecretClientListSecretPropertiesVersionsOptions {
                    method_options: from(next.as_ref()),
                    ..SecretClientListSecretPropertiesVersionsOptions::default()
                };
                let pages = self
                    .client
                    .list_secret_properties_versions(name, Some(options))?;
                first_page(pages.into_pages().next().await)
            };
            let page = match self.call(deadline, request).await {
                Ok(page) => page,
                Err(Failure::Absent) => return Ok(Vec::new()),
                Err(failure) => return Err(failure.into_error(&self.name)),
            };
            versions.extend(page.value);
            next = self.link(page.next_link.as_deref())?;
            if next.is_none() {
                return Ok(versions);
            }
        }
    }

    pub(crate) async fn page_of(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let after = self.link(after)?;
        let limit = i32::try_from(limit.clamp(1, PAGE_MAX)).ok();
        let request = async || {
            let options = SecretClientListSecretPropertiesOptions {
                maxresults: limit,
                method_options: from(after.as_ref()),
            };
            let pages = self.client.list_secret_properties(Some(options))?;
            first_page(pages.into_pages().next().await)
        };
        let found = self.call(self.deadline(), request).await;
        let found = found.map_err(|failure| failure.into_error(&self.name))?;
        let addresses = found
            .value
            .iter()
            .filter_map(|secret| metadata::name(secret.id.as_deref()))
            .map(|name| NAMES.decode(name))
            .filter(|address| address.starts_with(prefix));
        Ok(Page {
            addresses: addresses.collect(),
            next: self.link(found.next_link.as_deref())?.map(String::from),
        })
    }

    /// A link to what follows: to this vault and nowhere else, for a token goes with it.
    fn link(&self, link: Option<&str>) -> Result<Option<Url>, BackendError> {
        let Some(link) = link.filter(|link| !link.is_empty()) else {
            return Ok(None);
        };
        let endpoint = self.client.endpoint();
        let url = Url::parse(link)
            .ok()
            .filter(|url| url.origin() == endpoint.origin());
        if url.is_none() {
            let message = "the link to the rest of the listing leads elsewhere";
            let kind = BackendErrorKind::Malformed;
            return Err(BackendError::new(kind, self.name.clone(), message)
                .with_hint("list from the beginning"));
        }
        Ok(url)
    }
}

fn from(link: Option<&Url>) -> PagerOptions<'static> {
    PagerOptions {
        continuation: link.cloned().map(PagerContinuation::Link),
        ..PagerOptions::default()
    }
}

type Answer = azure_core::http::Response<ListSecretPropertiesResult>;

fn first_page(
    page: Option<azure_core::Result<Answer>>,
) -> azure_core::Result<ListSecretPropertiesResult> {
    match page {
        Some(page) => page?.into_model(),
        None => Ok(ListSecretPropertiesResult::default()),
    }
}

/// Versions are named by hexadecimal digits.
fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}
