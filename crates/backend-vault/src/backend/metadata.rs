//! Descriptions, tags and what is known of versions: KV v2's metadata.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Details;
use strongroom_core::port::VersionDetails;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionState;
use tokio::time::Instant;

use super::VaultBackend;
use crate::client::Answer;
use crate::client::Request;
use crate::client::Verb;
use crate::explain;
use crate::kv::Found;
use crate::mounts::Engine;
use crate::mounts::Route;

/// The key of custom metadata that holds a description.
const DESCRIPTION: &str = "description";
/// Vault's bounds for custom metadata, in bytes.
const KEY_BYTES_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 512;

impl VaultBackend {
    pub(super) async fn describe_one(
        &self,
        address: &str,
    ) -> Result<Option<Details>, BackendError> {
        let deadline = self.session.client.deadline();
        let route = self.route(address, deadline).await?;
        match &route.mount.engine {
            Engine::Kv(_) if route.is_v2() => {}
            Engine::Kv(_) => {
                let found = self.session.fetch(&route, None, deadline).await?;
                return Ok(match found {
                    Found::Live(_) => Some(Details::default()),
                    Found::Removed(_) | Found::Absent => None,
                });
            }
            // Reading would make a new credential.
            Engine::Other(_) => return Err(self.unsupported("describe")),
        }
        let metadata = self.session.metadata(&route, deadline).await?;
        Ok(metadata.and_then(|(answer, now)| details(&answer, now)))
    }

    pub(super) async fn annotate_one(
        &self,
        address: &str,
        annotation: &Annotation,
    ) -> Result<(), BackendError> {
        self.without_field("keep metadata")?;
        let deadline = self.session.client.deadline();
        let route = self.route(address, deadline).await?;
        if !route.is_v2() {
            return Err(self.unsupported("keep metadata"));
        }
        if annotation.tags.contains_key(DESCRIPTION) {
            return Err(self.invalid("a tag cannot be called `description` here"));
        }
        let changes = changes(annotation);
        for (key, text) in &changes {
            fits(key, text.as_deref())
                .map_err(|reason| self.invalid(&format!("`{key}` {reason}")))?;
        }
        self.annotate_route(address, &route, &changes, deadline)
            .await
    }

    /// What comes with a value; what Vault cannot hold is left out.
    pub(super) async fn annotate_written(
        &self,
        address: &str,
        route: &Route<'_>,
        annotation: &Annotation,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let mut changes = changes(annotation);
        changes.retain(|key, text| fits(key, text.as_deref()).is_ok());
        let annotated = self
            .annotate_route(address, route, &changes, deadline)
            .await;
        annotated.map_err(|mut error| {
            error
                .message
                .insert_str(0, "the value was written, its metadata was not: ");
            error
        })
    }

    async fn annotate_route(
        &self,
        address: &str,
        route: &Route<'_>,
        changes: &BTreeMap<String, Option<String>>,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        if changes.is_empty() {
            return Ok(());
        }
        let request = Request::new(Verb::Patch, route.metadata())
            .with_json(json!({ "custom_metadata": changes }));
        let reply = self.session.send(&request, deadline).await?;
        match reply.status.as_u16() {
            200..300 => Ok(()),
            404 => {
                if !reply.is_empty() {
                    explain::absent(&self.session.client, &request, &reply)?;
                }
                Err(self.nothing_there(address))
            }
            // A server from before PATCH, or a policy from before.
            403 | 405 | 415 => {
                let whole = self.annotate_whole(address, route, changes, deadline).await;
                match whole {
                    Err(error) if error.kind == BackendErrorKind::Denied => {
                        Err(self.session.refused(&request, &reply, deadline).await)
                    }
                    other => other,
                }
            }
            _ => Err(self.session.refused(&request, &reply, deadline).await),
        }
    }

    /// Reads the custom metadata, changes it and writes all of it.
    async fn annotate_whole(
        &self,
        address: &str,
        route: &Route<'_>,
        changes: &BTreeMap<String, Option<String>>,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let Some((answer, _)) = self.session.metadata(route, deadline).await? else {
            return Err(self.nothing_there(address));
        };
        let custom = answer
            .at("/data/custom_metadata")
            .and_then(Value::as_object);
        let mut custom: Map<String, Value> = custom.cloned().unwrap_or_default();
        for (key, text) in changes {
            match text {
                Some(text) => custom.insert(key.clone(), Value::from(text.as_str())),
                None => custom.shift_remove(key),
            };
        }
        let request = Request::new(Verb::Post, route.metadata())
            .with_json(json!({ "custom_metadata": custom }));
        self.session.done(request, deadline).await
    }

    fn nothing_there(&self, address: &str) -> BackendError {
        let message = format!("there is no `{address}` to describe");
        self.session
            .client
            .error(BackendErrorKind::Conflict, message)
    }

    fn invalid(&self, message: &str) -> BackendError {
        self.session
            .client
            .error(BackendErrorKind::Invalid, message)
    }
}

/// Custom metadata to set or (with `None`) to take away. An empty description is none, and a tag
/// that is called as descriptions are is left out.
fn changes(annotation: &Annotation) -> BTreeMap<String, Option<String>> {
    let mut changes = annotation.tags.clone();
    changes.remove(DESCRIPTION);
    if let Some(description) = &annotation.description {
        let text = (!description.is_empty()).then(|| description.clone());
        changes.insert(DESCRIPTION.to_owned(), text);
    }
    changes
}

fn fits(key: &str, text: Option<&str>) -> Result<(), String> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(format!("is no name of 1 to {KEY_BYTES_MAX} bytes"));
    }
    match text {
        Some("") => Err("is empty, which Vault does not hold".into()),
        Some(text) if text.len() > TEXT_BYTES_MAX => Err(format!(
            "has over {TEXT_BYTES_MAX} bytes, which Vault does not hold"
        )),
        _ => Ok(()),
    }
}

fn details(answer: &Answer, now: Option<Timestamp>) -> Option<Details> {
    let current = answer.number("/data/current_version").unwrap_or_default();
    if current == 0 {
        return None;
    }
    let mut tags = texts(answer.at("/data/custom_metadata"));
    let mut numbers: Vec<u64> = answer
        .at("/data/versions")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .filter_map(|key| key.parse().ok())
        .collect();
    numbers.sort_unstable();
    let mut removed = None;
    let mut versions = Vec::with_capacity(numbers.len());
    for number in numbers {
        let state = state(answer, number, now);
        if number == current
            && let VersionState::Deleted { at } = state
        {
            removed = Some(at);
        }
        versions.push(VersionDetails {
            id: number.to_string(),
            stages: Vec::new(),
            created: answer.time(&format!("/data/versions/{number}/created_time")),
            state,
        });
    }
    Some(Details {
        description: tags.remove(DESCRIPTION),
        tags,
        created: answer.time("/data/created_time"),
        updated: answer.time("/data/updated_time"),
        removed,
        versions,
        ..Details::default()
    })
}

/// Whether metadata is of a secret whose current version can be read.
pub(super) fn is_live(answer: &Answer, now: Option<Timestamp>) -> bool {
    let current = answer.number("/data/current_version").unwrap_or_default();
    current > 0 && state(answer, current, now) == VersionState::Live
}

fn state(answer: &Answer, number: u64, now: Option<Timestamp>) -> VersionState {
    let at = |key: &str| format!("/data/versions/{number}/{key}");
    if answer.at(&at("destroyed")).and_then(Value::as_bool) == Some(true) {
        return VersionState::Destroyed;
    }
    match answer.time(&at("deletion_time")) {
        // A deletion in the future is a version's end that is known beforehand.
        Some(deleted) if now.is_none_or(|now| deleted.seconds_since(now) <= 1) => {
            VersionState::Deleted { at: deleted }
        }
        _ => VersionState::Live,
    }
}

fn texts(object: Option<&Value>) -> BTreeMap<String, String> {
    let fields = object.and_then(Value::as_object).into_iter().flatten();
    fields
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
