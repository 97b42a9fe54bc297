//! Reading: values with their checksums, addresses, facts.

use futures_util::StreamExt;
use futures_util::stream;
use google_cloud_secretmanager_v1::model::Secret;
use google_cloud_secretmanager_v1::model::SecretVersion;
use google_cloud_secretmanager_v1::model::secret_version::State;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Details;
use strongroom_core::port::Item;
use strongroom_core::port::Page;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use tokio::time::Instant;

use crate::GcpBackend;
use crate::NAMES;
use crate::call::IN_FLIGHT_MAX;
use crate::checksum::crc32c;
use crate::error::Failure;
use crate::metadata;

/// Most secrets or versions in one answer.
const PAGE_MAX: usize = 1_000;

impl GcpBackend {
    pub(crate) async fn read_one(
        &self,
        address: &str,
        version: &VersionRef,
    ) -> Result<Option<Item>, BackendError> {
        let secret = self.resource(address)?;
        let version = match version {
            VersionRef::Current => "latest",
            VersionRef::Id(version) if version.parse::<u64>().is_ok() => version,
            VersionRef::Stage(alias) if is_alias(alias) => alias,
            VersionRef::Id(_) | VersionRef::Stage(_) => return Ok(None),
        };
        let name = format!("{secret}/versions/{version}");
        let deadline = self.deadline();
        let request = || {
            let request = self.client.access_secret_version().set_name(&name);
            request.send()
        };
        let found = match self.call(deadline, request).await {
            Ok(found) => found,
            Err(Failure::Absent) => return Ok(None),
            Err(Failure::NotReadable) => return self.explain(&name, deadline).await,
            Err(failure) => return Err(failure.into_error(&self.name)),
        };
        let payload = found
            .payload
            .ok_or_else(|| self.damaged("without its value"))?;
        if let Some(sent) = payload.data_crc32c
            && sent != crc32c(&payload.data)
        {
            return Err(self.damaged("with a value that its checksum does not fit"));
        }
        Ok(Some(Item {
            payload: Payload::detect(SecretValue::copy_from(&payload.data)),
            version: Some(metadata::leaf(&found.name).to_owned()),
            stages: Vec::new(),
            created: None,
            expires_at: None,
        }))
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

    /// A version that is there but not read: destroyed is gone, disabled is not "not found".
    async fn explain(
        &self,
        version: &str,
        deadline: Instant,
    ) -> Result<Option<Item>, BackendError> {
        let request = || {
            let request = self.client.get_secret_version().set_name(version);
            request.send()
        };
        match self.call(deadline, request).await {
            Ok(found) if found.state == State::Destroyed => Ok(None),
            Err(Failure::Absent) => Ok(None),
            Ok(found) => {
                let number = metadata::leaf(&found.name);
                let message = format!("version {number} of the secret is disabled");
                let hint = format!("gcloud secrets versions enable {number} --secret NAME");
                let kind = BackendErrorKind::Denied;
                Err(BackendError::new(kind, self.name.clone(), message).with_hint(hint))
            }
            Err(failure) => Err(failure.into_error(&self.name)),
        }
    }

    fn damaged(&self, how: &str) -> BackendError {
        let message = format!("the secret came {how}");
        BackendError::new(BackendErrorKind::Damaged, self.name.clone(), message)
            .with_hint("read it again; if it stays so, look at what lies between")
    }

    /// A secret without its value; `None` when there is none.
    pub(crate) async fn find(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Secret>, BackendError> {
        let request = || self.client.get_secret().set_name(name).send();
        match self.call(deadline, request).await {
            Ok(secret) => Ok(Some(secret)),
            Err(Failure::Absent) => Ok(None),
            Err(failure) => Err(failure.into_error(&self.name)),
        }
    }

    pub(crate) async fn details_of(&self, address: &str) -> Result<Option<Details>, BackendError> {
        let name = self.resource(address)?;
        let deadline = self.deadline();
        let Some(mut secret) = self.find(&name, deadline).await? else {
            return Ok(None);
        };
        let mut versions = self.versions(&name, deadline).await?;
        versions.sort_by_key(|version| metadata::leaf(&version.name).parse::<u64>().ok());
        let aliases = &secret.version_aliases;
        let versions: Vec<_> = versions
            .iter()
            .map(|version| metadata::version(version, aliases))
            .collect();
        Ok(Some(Details {
            description: secret.annotations.remove(metadata::DESCRIPTION),
            tags: secret.labels.into_iter().collect(),
            created: secret.create_time.as_ref().map(metadata::timestamp),
            updated: versions.iter().filter_map(|version| version.created).max(),
            versions,
            ..Details::default()
        }))
    }

    async fn versions(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Vec<SecretVersion>, BackendError> {
        let mut versions = Vec::new();
        let mut token = String::new();
        loop {
            let request = || {
                let request = self.client.list_secret_versions().set_parent(name);
                request
                    .set_page_size(size(PAGE_MAX))
                    .set_page_token(&token)
                    .send()
            };
            let page = self.call(deadline, request).await;
            let page = page.map_err(|failure| failure.into_error(&self.name))?;
            versions.extend(page.versions);
            token = page.next_page_token;
            if token.is_empty() {
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
        let parent = format!("projects/{}", self.project);
        // The filter finds the text anywhere in a name: what it finds is looked at again.
        let start = NAMES.prefix(prefix);
        let filter = match start.is_empty() {
            true => String::new(),
            false => format!("name:{start}"),
        };
        let request = || {
            let request = self.client.list_secrets().set_parent(&parent);
            request
                .set_page_size(size(limit))
                .set_page_token(after.unwrap_or_default())
                .set_filter(&filter)
                .send()
        };
        let found = self.call(self.deadline(), request).await;
        let found = found.map_err(|failure| failure.into_error(&self.name))?;
        let addresses = found
            .secrets
            .iter()
            .map(|secret| NAMES.decode(metadata::leaf(&secret.name)))
            .filter(|address| address.starts_with(prefix));
        Ok(Page {
            addresses: addresses.collect(),
            next: Some(found.next_page_token).filter(|token| !token.is_empty()),
        })
    }
}

fn size(limit: usize) -> i32 {
    i32::try_from(limit.clamp(1, PAGE_MAX)).unwrap_or(i32::MAX)
}

/// A name that Secret Manager could take for an alias; `latest` is the current version.
fn is_alias(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 63
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
