//! The calls of the KV engines (and plain reads of others), by route.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::VersionChange;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use tokio::time::Instant;

use crate::client::Answer;
use crate::client::Reply;
use crate::client::Request;
use crate::client::Verb;
use crate::explain;
use crate::mounts::Engine;
use crate::mounts::Route;
use crate::session::Session;
use crate::settings::KvVersion;
use crate::value::wipe;

/// What is at a path.
pub(crate) enum Found {
    /// A value.
    Live(Live),
    /// A version that was deleted or destroyed.
    Removed(Removed),
    /// Nothing.
    Absent,
}

/// A value with what is known of its version.
pub(crate) struct Live {
    pub(crate) object: Value,
    pub(crate) version: Option<u64>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// A version without its value.
pub(crate) struct Removed {
    pub(crate) version: u64,
    pub(crate) is_destroyed: bool,
}

/// How a write went.
pub(crate) enum Written {
    /// It is there; its version, where there are versions.
    Stored(Option<u64>),
    /// The version that it was to follow is not the current one.
    Mismatch,
    /// The mount takes writes only that name the version they follow.
    CasRequired,
}

impl Route<'_> {
    pub(crate) fn is_v2(&self) -> bool {
        self.mount.engine == Engine::Kv(KvVersion::V2)
    }

    fn data(&self) -> String {
        self.below("data")
    }

    pub(crate) fn metadata(&self) -> String {
        self.below("metadata")
    }

    /// The path under one of the KV v2 engine's words; without it elsewhere.
    pub(crate) fn below(&self, word: &str) -> String {
        let (mount, path) = (&self.mount.path, &self.path);
        if self.is_v2() {
            format!("{mount}/{word}/{path}")
        } else {
            format!("{mount}/{path}")
        }
    }
}

impl Session {
    /// Reads one version, or the current one.
    pub(crate) async fn fetch(
        &self,
        route: &Route<'_>,
        version: Option<u64>,
        deadline: Instant,
    ) -> Result<Found, BackendError> {
        let mut request = Request::get(route.data());
        if let Some(version) = version {
            request = request.with_query(format!("version={version}"));
        }
        let reply = self.send(&request, deadline).await?;
        if !reply.is_success() && !reply.is(404) {
            return Err(self.refused(&request, &reply, deadline).await);
        }
        let Some(mut answer) = reply.json() else {
            if reply.is(404) {
                explain::absent(&self.client, &request, &reply)?;
            }
            return Err(explain::malformed(&self.client, &request));
        };
        let meta = "/data/metadata";
        if reply.is(404) {
            if route.is_v2()
                && let Some(version) = answer.number(&format!("{meta}/version"))
            {
                let destroyed = answer.at(&format!("{meta}/destroyed"));
                return Ok(Found::Removed(Removed {
                    version,
                    is_destroyed: destroyed.and_then(Value::as_bool) == Some(true),
                }));
            }
            explain::absent(&self.client, &request, &reply)?;
            return Ok(Found::Absent);
        }
        let live = if route.is_v2() {
            Live {
                version: answer.number(&format!("{meta}/version")),
                created: answer.time(&format!("{meta}/created_time")),
                expires_at: answer.time(&format!("{meta}/deletion_time")),
                object: answer.take("/data/data"),
            }
        } else {
            Live {
                version: None,
                created: None,
                expires_at: lease_end(&answer, &reply),
                object: answer.take("/data"),
            }
        };
        if !live.object.is_object() {
            return Err(explain::malformed(&self.client, &request));
        }
        Ok(Found::Live(live))
    }

    /// Writes an object, after a given version where one is named (0: after none).
    pub(crate) async fn put(
        &self,
        route: &Route<'_>,
        object: &Map<String, Value>,
        cas: Option<u64>,
        deadline: Instant,
    ) -> Result<Written, BackendError> {
        let mut object = Value::Object(object.clone());
        let body = match (route.is_v2(), cas) {
            (false, _) => object.take(),
            (true, None) => json!({ "data": object.take() }),
            (true, Some(cas)) => json!({ "data": object.take(), "options": { "cas": cas } }),
        };
        let request = Request::new(Verb::Post, route.data()).with_json(body);
        let reply = self.send(&request, deadline).await?;
        if reply.is_success() {
            let answer = reply.json();
            let version = answer.and_then(|answer| answer.number("/data/version"));
            if route.is_v2() && version.is_none() {
                return Err(explain::malformed(&self.client, &request));
            }
            return Ok(Written::Stored(version));
        }
        let said = reply.errors().join(" ");
        if reply.is(400) && said.contains("check-and-set parameter did not match") {
            return Ok(Written::Mismatch);
        }
        if reply.is(400) && said.contains("check-and-set parameter required") {
            return Ok(Written::CasRequired);
        }
        Err(self.refused(&request, &reply, deadline).await)
    }

    /// Deletes what is at a path of the API.
    pub(crate) async fn delete(&self, path: String, deadline: Instant) -> Result<(), BackendError> {
        self.done(Request::new(Verb::Delete, path), deadline).await
    }

    /// Deletes, brings back or destroys versions.
    pub(crate) async fn change(
        &self,
        route: &Route<'_>,
        versions: &[u64],
        change: VersionChange,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let word = match change {
            VersionChange::Delete => "delete",
            VersionChange::Undelete => "undelete",
            VersionChange::Destroy => "destroy",
        };
        let request =
            Request::new(Verb::Post, route.below(word)).with_json(json!({ "versions": versions }));
        self.done(request, deadline).await
    }

    /// Deletes the current version, or everything.
    pub(crate) async fn delete_data(
        &self,
        route: &Route<'_>,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        self.delete(route.data(), deadline).await
    }

    /// A request whose answer says nothing but that it was done.
    pub(crate) async fn done(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let reply = self.send(&request, deadline).await?;
        if reply.is_success() {
            return Ok(());
        }
        if reply.is(404) {
            explain::absent(&self.client, &request, &reply)?;
        }
        Err(self.refused(&request, &reply, deadline).await)
    }

    /// The metadata of a KV v2 secret.
    pub(crate) async fn metadata(
        &self,
        route: &Route<'_>,
        deadline: Instant,
    ) -> Result<Option<(Answer, Option<Timestamp>)>, BackendError> {
        let request = Request::get(route.metadata());
        let reply = self.send(&request, deadline).await?;
        if reply.is(404) {
            explain::absent(&self.client, &request, &reply)?;
            return Ok(None);
        }
        if !reply.is_success() {
            return Err(self.refused(&request, &reply, deadline).await);
        }
        let answer = reply.json().filter(|answer| answer.at("/data").is_some());
        match answer {
            Some(answer) => Ok(Some((answer, reply.date))),
            None => Err(explain::malformed(&self.client, &request)),
        }
    }

    /// The names in a folder (with `/` at its end, or empty); folders have a `/` at their end.
    pub(crate) async fn names(
        &self,
        route: &Route<'_>,
        deadline: Instant,
    ) -> Result<Vec<String>, BackendError> {
        let request = Request::new(Verb::List, route.metadata());
        let reply = self.send(&request, deadline).await?;
        if reply.is(404) {
            explain::absent(&self.client, &request, &reply)?;
            return Ok(Vec::new());
        }
        if !reply.is_success() {
            return Err(self.refused(&request, &reply, deadline).await);
        }
        let answer = reply.json();
        let keys = answer
            .as_ref()
            .and_then(|answer| answer.at("/data/keys")?.as_array());
        let Some(keys) = keys else {
            return Err(explain::malformed(&self.client, &request));
        };
        let names = keys.iter().filter_map(Value::as_str).map(str::to_owned);
        Ok(names.collect())
    }

    /// The error for a status that is no success.
    pub(crate) async fn refused(
        &self,
        request: &Request,
        reply: &Reply,
        deadline: Instant,
    ) -> BackendError {
        match reply.status.as_u16() {
            401 | 403 => self.denied(request, reply, deadline).await,
            404 => {
                let message = format!("there is nothing at `{}`", request.path);
                self.client.error(BackendErrorKind::Conflict, message)
            }
            _ => explain::unexpected(&self.client, request, reply),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        wipe(&mut self.object);
    }
}

/// When a leased credential ends, by the server's own clock.
fn lease_end(answer: &Answer, reply: &Reply) -> Option<Timestamp> {
    answer.text("/lease_id")?;
    let seconds = answer
        .number("/lease_duration")
        .filter(|seconds| *seconds > 0)?;
    let span = Span::from_seconds(i64::try_from(seconds).ok()?);
    Some(reply.date?.plus(span))
}
