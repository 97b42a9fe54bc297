//! Listing, and what is known of a secret besides its values.

use std::collections::BTreeSet;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::Filter;
use aws_sdk_secretsmanager::types::FilterNameStringType;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Bound;
use strongroom_core::port::Details;
use strongroom_core::port::Page;
use strongroom_core::port::VersionDetails;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PENDING;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionState;

use super::AwsBackend;
use super::read::BATCH;
use crate::failure::Call;
use crate::payload::timestamp;

impl AwsBackend {
    /// What AWS says of a secret; `None` when there is none. One that waits for its deletion is
    /// still described.
    pub(super) async fn describe_one(
        &self,
        address: &str,
    ) -> Result<Option<DescribeSecretOutput>, BackendError> {
        let call = Call {
            action: "secretsmanager:DescribeSecret",
            address,
        };
        let request = self.client.describe_secret().secret_id(address);
        match self.site().ask(call, request.send()).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// Everything known of a secret but its values.
    pub(super) async fn describe_all(
        &self,
        address: &str,
    ) -> Result<Option<Details>, BackendError> {
        self.check_address(address)?;
        let Some(known) = self.describe_one(address).await? else {
            return Ok(None);
        };
        let tags = known.tags().iter();
        let tags = tags.filter_map(|tag| Some((tag.key()?.into(), tag.value()?.into())));
        Ok(Some(Details {
            description: known.description().map(str::to_owned),
            tags: tags.collect(),
            created: timestamp(known.created_date()),
            updated: timestamp(known.last_changed_date()),
            removed: timestamp(known.deleted_date()),
            versions: self.versions(address, &known).await?,
            rotates_at: timestamp(known.next_rotation_date()),
            bound: match known.replication_status() {
                [] => Vec::new(),
                _ => vec![Bound::Replicas],
            },
        }))
    }

    /// All versions, oldest first.
    async fn versions(
        &self,
        address: &str,
        known: &DescribeSecretOutput,
    ) -> Result<Vec<VersionDetails>, BackendError> {
        let call = Call {
            action: "secretsmanager:ListSecretVersionIds",
            address,
        };
        let mut versions = Vec::new();
        let mut next = None;
        loop {
            let request = self
                .client
                .list_secret_version_ids()
                .secret_id(address)
                .include_deprecated(true)
                .max_results(PAGE_MAX)
                .set_next_token(next);
            let answer = match self.site().ask(call, request.send()).await {
                Ok(answer) => answer,
                Err(failure) if failure.is_marked_deleted() => {
                    // The description knows the ids, not their dates.
                    versions = of_description(known);
                    break;
                }
                Err(failure) => return Err(failure.error),
            };
            versions.extend(answer.versions().iter().map(|version| VersionDetails {
                id: version.version_id().unwrap_or_default().to_owned(),
                stages: version.version_stages().to_vec(),
                created: timestamp(version.created_date()),
                state: VersionState::Live,
            }));
            next = answer.next_token().and_then(token);
            if next.is_none() {
                break;
            }
        }
        versions.sort_by_key(|version| (version.created, rank(&version.stages)));
        Ok(versions)
    }

    /// The names below the prefix, sorted; relative to it where it is what names begin with.
    pub(super) async fn list_all(&self) -> Result<Vec<String>, BackendError> {
        let mut names = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.list_page("", after.as_deref(), 100).await?;
            names.extend(page.addresses);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if self.settings.is_below_prefix && !self.settings.prefix.is_empty() {
            let below = format!("{}/", self.settings.prefix);
            for name in &mut names {
                if let Some(relative) = name.strip_prefix(&below) {
                    *name = relative.to_owned();
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// One page of the names that begin with `prefix` and lie below the backend's own prefix.
    pub(super) async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let own = match self.settings.prefix.as_str() {
            "" => String::new(),
            own => format!("{own}/"),
        };
        let narrower = if prefix.starts_with(&own) {
            prefix
        } else if own.starts_with(prefix) {
            &own
        } else {
            return Ok(Page::default());
        };
        self.page_of(narrower, after, limit).await
    }

    /// Of these those that a listing shows, if it takes fewer requests than reading them all.
    pub(super) async fn listed_of(
        &self,
        addresses: &[String],
    ) -> Result<Option<BTreeSet<String>>, BackendError> {
        let prefix = common_prefix(addresses);
        if !is_filter(prefix) {
            return Ok(None);
        }
        // What can be no name is for the reading to refuse.
        let is_wrong = |address: &&String| self.check_address(address).is_err();
        let wrong = addresses.iter().filter(is_wrong).cloned().collect();
        let wanted: BTreeSet<&str> = addresses.iter().map(String::as_str).collect();
        let mut listed: BTreeSet<String> = wrong;
        let mut after = None;
        for _ in 0..addresses.len() / BATCH {
            let page = self.page_of(prefix, after.as_deref(), PAGE_SIZE);
            let page = self.site().within(page).await?;
            let named = page.addresses.into_iter();
            listed.extend(named.filter(|name| wanted.contains(name.as_str())));
            after = page.next;
            if after.is_none() {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    }

    /// One page of the names that begin with `narrower`.
    async fn page_of(
        &self,
        narrower: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let max = i32::try_from(limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let mut request = self
            .client
            .list_secrets()
            .max_results(max)
            .set_next_token(after.map(str::to_owned));
        if is_filter(narrower) {
            let filter = Filter::builder()
                .key(FilterNameStringType::Name)
                .values(narrower);
            request = request.filters(filter.build());
        }
        let call = Call {
            action: "secretsmanager:ListSecrets",
            address: narrower,
        };
        let answer = self.site().ask(call, request.send()).await?;
        let mut addresses = Vec::new();
        for secret in answer.secret_list() {
            let Some(name) = secret.name() else {
                let message = "the answer lists a secret without a name";
                return Err(self.site().error(BackendErrorKind::Malformed, message));
            };
            // AWS's filter also finds words within names.
            if name.starts_with(narrower) && secret.deleted_date().is_none() {
                addresses.push(name.to_owned());
            }
        }
        Ok(Page {
            addresses,
            next: answer.next_token().and_then(token),
        })
    }
}

/// What all of them begin with.
fn common_prefix(addresses: &[String]) -> &str {
    let Some((first, others)) = addresses.split_first() else {
        return "";
    };
    let same = |other: &String| {
        let pairs = first.char_indices().zip(other.chars());
        let end = pairs.take_while(|((_, a), b)| a == b).last();
        end.map_or(0, |((at, c), _)| at + c.len_utf8())
    };
    let end = others.iter().map(same).min().unwrap_or(first.len());
    first.get(..end).unwrap_or_default()
}

/// A token to go on with; some servers write an empty one at the end.
fn token(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether AWS takes the text as a name filter; a leading `!` would turn it round.
fn is_filter(prefix: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"/_+=.@-".contains(&c);
    (1..=512).contains(&prefix.len()) && prefix.bytes().all(is_plain)
}

fn of_description(known: &DescribeSecretOutput) -> Vec<VersionDetails> {
    let versions = known.version_ids_to_stages().into_iter().flatten();
    let versions = versions.map(|(id, stages)| VersionDetails {
        id: id.clone(),
        stages: stages.clone(),
        created: None,
        state: VersionState::Live,
    });
    versions.collect()
}

/// Order of versions that were made at the same time.
fn rank(stages: &[String]) -> u8 {
    let has = |name: &str| stages.iter().any(|stage| stage == name);
    if has(STAGE_PENDING) {
        3
    } else if has(STAGE_CURRENT) {
        2
    } else {
        u8::from(has(STAGE_PREVIOUS))
    }
}

const PAGE_MAX: i32 = 100;
const PAGE_SIZE: usize = PAGE_MAX as usize;
