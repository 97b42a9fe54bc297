//! Writing, removing, bringing back.

use serde_json::Map;
use serde_json::Value;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionChange;
use strongroom_core::secret::Payload;
use tokio::time::Instant;

use super::VaultBackend;
use crate::kv::Found;
use crate::kv::Written;
use crate::mounts::Engine;
use crate::mounts::Route;
use crate::value;
use crate::value::ValueError;
use crate::value::wipe;

/// How often a write that has to follow the current version is planned again.
const PLANS_MAX: u32 = 5;

impl VaultBackend {
    pub(super) async fn write_one(
        &self,
        address: &str,
        new: &NewValue,
    ) -> Result<Stored, BackendError> {
        let deadline = self.session.client.deadline();
        let route = self.route(address, deadline).await?;
        if !matches!(route.mount.engine, Engine::Kv(_)) {
            return Err(self.unsupported_engine("write", &route));
        }
        if new.expected != Expected::Any && (!route.is_v2() || self.has_field()) {
            return Err(self.unsupported("write depending on what is there"));
        }
        let version = match &self.settings.field {
            Some(field) => {
                self.write_field(address, &route, field, &new.payload, deadline)
                    .await?
            }
            None => {
                let fields = Fields(self.object(&new.payload)?);
                let version = match &new.expected {
                    Expected::Any => self.write_any(&route, &fields, deadline).await?,
                    Expected::Absent => self.write_absent(&route, &fields, deadline).await?,
                    Expected::Version(id) => {
                        self.write_after(&route, id, &fields, deadline).await?
                    }
                };
                version.ok_or_else(|| self.conflict(address, &new.expected))?
            }
        };
        if route.is_v2() && !self.has_field() {
            self.annotate_written(address, &route, &new.annotation, deadline)
                .await?;
        }
        Ok(Stored {
            version: version.0.map(|version| version.to_string()),
            is_new: true,
        })
    }

    fn object(&self, payload: &Payload) -> Result<Map<String, Value>, BackendError> {
        value::to_object(payload).map_err(|error| {
            let client = &self.session.client;
            let refused = client.error(BackendErrorKind::Invalid, error.to_string());
            match error {
                ValueError::Binary => refused.with_hint("write it as base64 text"),
                ValueError::NoObject => refused,
            }
        })
    }

    /// Whatever is there. A mount may demand to be told what that is.
    async fn write_any(
        &self,
        route: &Route<'_>,
        fields: &Fields,
        deadline: Instant,
    ) -> Result<Option<Version>, BackendError> {
        let mut cas = None;
        for _ in 0..PLANS_MAX {
            match self.session.put(route, &fields.0, cas, deadline).await? {
                Written::Stored(version) => return Ok(Some(Version(version))),
                Written::CasRequired | Written::Mismatch => {
                    cas = Some(self.current(route, deadline).await?.0);
                }
            }
        }
        Ok(None)
    }

    /// Where nothing is, or only what was deleted.
    async fn write_absent(
        &self,
        route: &Route<'_>,
        fields: &Fields,
        deadline: Instant,
    ) -> Result<Option<Version>, BackendError> {
        let first = self
            .session
            .put(route, &fields.0, Some(0), deadline)
            .await?;
        if let Written::Stored(version) = first {
            return Ok(Some(Version(version)));
        }
        let (current, is_live) = self.current(route, deadline).await?;
        if is_live {
            return Ok(None);
        }
        let second = self
            .session
            .put(route, &fields.0, Some(current), deadline)
            .await?;
        match second {
            Written::Stored(version) => Ok(Some(Version(version))),
            Written::Mismatch | Written::CasRequired => Ok(None),
        }
    }

    async fn write_after(
        &self,
        route: &Route<'_>,
        id: &str,
        fields: &Fields,
        deadline: Instant,
    ) -> Result<Option<Version>, BackendError> {
        let Some(cas) = id.parse::<u64>().ok().filter(|number| *number > 0) else {
            return Ok(None);
        };
        let written = self
            .session
            .put(route, &fields.0, Some(cas), deadline)
            .await?;
        match written {
            Written::Stored(version) => Ok(Some(Version(version))),
            Written::Mismatch | Written::CasRequired => Ok(None),
        }
    }

    /// One field, the others as they are.
    async fn write_field(
        &self,
        address: &str,
        route: &Route<'_>,
        field: &str,
        payload: &Payload,
        deadline: Instant,
    ) -> Result<Version, BackendError> {
        if !route.is_v2() {
            return Err(self.unsupported("write one field of a secret of KV version 1"));
        }
        for _ in 0..PLANS_MAX {
            let (cas, object) = match self.session.fetch(route, None, deadline).await? {
                Found::Live(mut live) => (live.version.unwrap_or_default(), live.object.take()),
                Found::Removed(removed) => (removed.version, Value::Null),
                Found::Absent => (0, Value::Null),
            };
            let mut fields = match object {
                Value::Object(fields) => Fields(fields),
                _ => Fields(Map::new()),
            };
            let mut plain = Fields(self.object(&Payload {
                shape: strongroom_core::secret::Shape::Text,
                ..payload.clone()
            })?);
            let text = plain.0.get_mut(value::VALUE).map(Value::take);
            fields.0.insert(field.to_owned(), text.unwrap_or_default());
            let written = self.session.put(route, &fields.0, Some(cas), deadline);
            if let Written::Stored(version) = written.await? {
                return Ok(Version(version));
            }
        }
        Err(self.conflict(address, &Expected::Any))
    }

    /// The number of the current version (0: none), and whether it can be read.
    async fn current(
        &self,
        route: &Route<'_>,
        deadline: Instant,
    ) -> Result<(u64, bool), BackendError> {
        Ok(match self.session.fetch(route, None, deadline).await? {
            Found::Live(live) => (live.version.unwrap_or_default(), true),
            Found::Removed(removed) => (removed.version, false),
            Found::Absent => (0, false),
        })
    }

    fn conflict(&self, address: &str, expected: &Expected) -> BackendError {
        let message = match expected {
            Expected::Any => format!("`{address}` is being changed by others all the time"),
            Expected::Absent => format!("`{address}` is there already"),
            Expected::Version(id) => format!("version {id} of `{address}` is not the current one"),
        };
        self.session
            .client
            .error(BackendErrorKind::Conflict, message)
    }

    fn unsupported_engine(&self, what: &str, route: &Route<'_>) -> BackendError {
        let (mount, engine) = (&route.mount.path, route.mount.engine.phrase());
        let message = format!("`{mount}/` is {engine}: it cannot {what}");
        self.session
            .client
            .error(BackendErrorKind::Unsupported, message)
    }

    pub(super) async fn remove_one(
        &self,
        address: &str,
        removal: Removal,
    ) -> Result<bool, BackendError> {
        self.without_field("remove")?;
        let deadline = self.session.client.deadline();
        let route = self.route(address, deadline).await?;
        if !matches!(route.mount.engine, Engine::Kv(_)) {
            return Err(self.unsupported_engine("remove", &route));
        }
        let found = self.session.fetch(&route, None, deadline).await?;
        let is_final = removal == Removal::Final;
        match found {
            Found::Absent => Ok(false),
            Found::Removed(_) if !is_final => Ok(false),
            _ if is_final && route.is_v2() => {
                let path = route.metadata();
                self.session.delete(path, deadline).await.map(|()| true)
            }
            _ => self
                .session
                .delete_data(&route, deadline)
                .await
                .map(|()| true),
        }
    }

    pub(super) async fn restore_one(&self, address: &str) -> Result<bool, BackendError> {
        self.without_field("restore")?;
        let deadline = self.session.client.deadline();
        let route = self.route(address, deadline).await?;
        if !route.is_v2() {
            return Err(self.unsupported_engine("restore", &route));
        }
        match self.session.fetch(&route, None, deadline).await? {
            Found::Removed(removed) if !removed.is_destroyed => {
                let versions = [removed.version];
                let change = VersionChange::Undelete;
                let changed = self.session.change(&route, &versions, change, deadline);
                changed.await.map(|()| true)
            }
            _ => Ok(false),
        }
    }

    pub(super) async fn change_some(
        &self,
        address: &str,
        versions: &[String],
        change: VersionChange,
    ) -> Result<(), BackendError> {
        self.without_field("change single versions")?;
        let deadline = self.session.client.deadline();
        let route = self.route(address, deadline).await?;
        if !route.is_v2() {
            return Err(self.unsupported_engine("change single versions", &route));
        }
        // Versions are numbers: nothing has another name.
        let numbers: Vec<u64> = versions.iter().filter_map(|id| id.parse().ok()).collect();
        self.session
            .change(&route, &numbers, change, deadline)
            .await
    }
}

/// The number of the version that a write made.
struct Version(Option<u64>);

/// Fields to be written, wiped on drop.
struct Fields(Map<String, Value>);

impl Drop for Fields {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}
