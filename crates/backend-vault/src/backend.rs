//! The port.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
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
use strongroom_core::port::Variables;
use strongroom_core::port::VersionChange;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::uri::BackendUri;
use tokio::time::Instant;

mod metadata;
mod tree;
mod write;

use crate::address;
use crate::client::Client;
use crate::client::IN_FLIGHT_MAX;
use crate::client::Request;
use crate::explain;
use crate::kv::Found;
use crate::kv::Live;
use crate::mounts::Engine;
use crate::mounts::Layout;
use crate::mounts::Mounts;
use crate::mounts::Route;
use crate::session::Session;
use crate::settings::KvVersion;
use crate::settings::Settings;
use crate::value;

/// Secrets that a bulk call reads for each timeout it may take.
const BULK: usize = 200;

/// A Vault or OpenBao server, a mount in it and a prefix.
pub struct VaultBackend {
    session: Session,
    settings: Arc<Settings>,
    mounts: Mounts,
}

impl VaultBackend {
    /// Reads the URI, the variables and the files they name. Nothing is asked of the server
    /// before the first request.
    ///
    /// # Errors
    /// When a setting makes no sense, or a file cannot be read.
    pub fn open<'a>(
        uri: &'a BackendUri,
        variables: &'a Variables,
    ) -> BoxFuture<'a, Result<Self, BackendError>> {
        // All backends of servers are opened alike.
        Box::pin(std::future::ready(Self::connect(uri, variables)))
    }

    fn connect(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        let settings = Arc::new(Settings::read(uri, variables)?);
        Ok(Self {
            session: Session::new(Client::new(Arc::clone(&settings))?),
            settings,
            mounts: Mounts::default(),
        })
    }

    /// Logs in and asks what is mounted, so that the capabilities are those of the mount.
    ///
    /// # Errors
    /// When the server cannot be asked, or says no.
    pub async fn prepare(&self) -> Result<(), BackendError> {
        let deadline = self.session.client.deadline();
        self.mounts.layout(&self.session, deadline).await.map(drop)
    }

    async fn route(&self, address: &str, deadline: Instant) -> Result<Route<'_>, BackendError> {
        address::check(address).map_err(|reason| {
            let message = format!("the address {reason}");
            self.session
                .client
                .error(BackendErrorKind::Invalid, message)
        })?;
        let layout = self.mounts.layout(&self.session, deadline).await?;
        Ok(layout.route(address))
    }

    async fn read_one(
        &self,
        address: &str,
        version: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<Item>, BackendError> {
        let route = self.route(address, deadline).await?;
        if version.is_some() && !route.is_v2() {
            return Err(self.unsupported("read earlier versions"));
        }
        match self.session.fetch(&route, version, deadline).await? {
            Found::Live(live) => Ok(self.item(live)),
            Found::Removed(_) | Found::Absent => Ok(None),
        }
    }

    fn item(&self, mut live: Live) -> Option<Item> {
        let object = live.object.take();
        let payload: Payload = match &self.settings.field {
            Some(field) => value::pick(object, field)?,
            None => value::to_payload(object)?,
        };
        Some(Item {
            payload,
            version: live.version.map(|version| version.to_string()),
            stages: Vec::new(),
            created: live.created,
            expires_at: live.expires_at,
        })
    }

    /// When a call for so many secrets has to be over.
    fn bulk_deadline(&self, count: usize) -> Instant {
        let more = u32::try_from(count / BULK).unwrap_or(u32::MAX);
        let more = self.settings.timeout.saturating_mul(more);
        self.session.client.deadline() + more.min(Duration::from_secs(24 * 3600))
    }

    async fn read_all(&self, addresses: Vec<String>) -> Vec<Result<Option<Item>, BackendError>> {
        let end = self.bulk_deadline(addresses.len());
        let first = self.session.client.deadline().min(end);
        if let Err(error) = self.mounts.layout(&self.session, first).await {
            return addresses.iter().map(|_| Err(error.clone())).collect();
        }
        let reads = addresses.into_iter().map(|address| async move {
            let deadline = self.session.client.deadline().min(end);
            self.read_one(&address, None, deadline).await
        });
        stream::iter(reads).buffered(IN_FLIGHT_MAX).collect().await
    }

    fn engine(&self) -> Engine {
        match self.mounts.known() {
            Some(layout) => layout.home().engine.clone(),
            None => Engine::Kv(self.settings.kv.unwrap_or(KvVersion::V2)),
        }
    }

    fn has_field(&self) -> bool {
        self.settings.field.is_some()
    }

    /// Refuses what would touch more than the one field that the URI is about.
    fn without_field(&self, what: &str) -> Result<(), BackendError> {
        if self.has_field() {
            return Err(self
                .unsupported(what)
                .with_hint("the address picks one field of each secret; take field= out of it"));
        }
        Ok(())
    }

    async fn ask_health(&self) -> Result<String, BackendError> {
        let client = &self.session.client;
        let deadline = client.deadline();
        let request = Request::get("sys/seal-status");
        let reply = client.send(&request, None, deadline).await?;
        let answer = reply.json().filter(|answer| answer.has("sealed"));
        let Some(answer) = answer else {
            return Err(if reply.is_success() {
                explain::malformed(client, &request)
            } else if reply.is(404) {
                match explain::absent(client, &request, &reply) {
                    Err(error) => error,
                    Ok(()) => explain::malformed(client, &request),
                }
            } else {
                explain::unexpected(client, &request, &reply)
            });
        };
        let is = |key: &str| answer.get(key).and_then(serde_json::Value::as_bool);
        let server = &self.settings.server;
        if is("initialized") == Some(false) {
            let message = format!("{server} is not initialised");
            return Err(client
                .error(BackendErrorKind::Sealed, message)
                .with_hint("its operators have to run `bao operator init`"));
        }
        if is("sealed") != Some(false) {
            let message = format!("{server} is sealed");
            return Err(client
                .error(BackendErrorKind::Sealed, message)
                .with_hint("its operators have to unseal it: `bao operator unseal`"));
        }
        self.session.check(deadline).await?;
        let layout: &Layout = self.mounts.layout(&self.session, deadline).await?;
        let home = layout.home();
        let version = answer.text("/version").unwrap_or("of unknown version");
        let version: String = version
            .chars()
            .filter(char::is_ascii_graphic)
            .take(32)
            .collect();
        Ok(format!(
            "server {version}, unsealed, `{}/` is {}",
            home.path,
            home.engine.phrase()
        ))
    }
}

impl Backend for VaultBackend {
    fn scheme(&self) -> &'static str {
        "vault"
    }

    fn describe(&self) -> String {
        self.settings.label.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.engine().capabilities(self.has_field())
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(self.every_address())
    }

    fn address(&self, lookup: &Lookup) -> String {
        self.settings.template.address(lookup)
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
            let version = match version {
                VersionRef::Current => None,
                VersionRef::Id(id) => match id.parse::<u64>() {
                    Ok(number) if number > 0 => Some(number),
                    // Versions are numbers from 1: nothing has another name.
                    _ => return Ok(None),
                },
                VersionRef::Stage(_) => return Err(self.unsupported("read by stage")),
            };
            let deadline = self.session.client.deadline();
            self.read_one(address, version, deadline).await
        })
    }

    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(self.read_all(addresses.to_vec()))
    }

    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(self.write_one(address, value))
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        Box::pin(self.one_page(prefix, after, limit))
    }

    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        Box::pin(self.describe_one(address))
    }

    fn annotate<'a>(
        &'a self,
        address: &'a str,
        annotation: &'a Annotation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.annotate_one(address, annotation))
    }

    fn remove<'a>(
        &'a self,
        address: &'a str,
        removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.remove_one(address, removal))
    }

    fn restore<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.restore_one(address))
    }
    fn change_versions<'a>(
        &'a self,
        address: &'a str,
        versions: &'a [String],
        change: VersionChange,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.change_some(address, versions, change))
    }
}
