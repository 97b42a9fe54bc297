//! The door from end to end, without a network.

mod access;
mod attacks;
mod ceremonies;
mod database;
mod hostile;
mod kv;
mod leaks;
mod methods;
mod mysql;
pub(crate) mod panics;
mod redis;
mod rights;
mod settings;
mod sinks;
mod templates;
mod tokens;
mod users;

use std::sync::Arc;
use std::sync::Mutex;

use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use serde_json::Value;
use strongroom_core::port::Clock;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;

use crate::keeper::Keeper;
use crate::keeper::MemoryKeeper;
use crate::node::FirstMount;
use crate::node::Node;
use crate::node::Settings;

/// A clock that tests move.
pub(crate) struct TestClock(Mutex<i64>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(*self.0.lock().unwrap())
    }
}

/// A server in memory with a root token.
pub(crate) struct World {
    pub(crate) node: Arc<Node>,
    clock: Arc<TestClock>,
    _folder: tempfile::TempDir,
    pub(crate) audit_file: std::path::PathBuf,
}

pub(crate) const ROOT: &str = "root-of-tests";

/// An answer as a client sees it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::kept_by(Box::<MemoryKeeper>::default()).await
    }

    /// With its records where the test wants them.
    pub(crate) async fn kept_by(keeper: Box<dyn Keeper>) -> Self {
        let world = Self::made(FirstMount::OwnSpace, keeper);
        let token = strongroom_core::secret::SecretValue::copy_from(ROOT.as_bytes());
        world.node.start_dev(Some(token)).await.unwrap();
        world
    }

    pub(crate) fn sealed(first_mount: FirstMount) -> Self {
        Self::made(first_mount, Box::<MemoryKeeper>::default())
    }

    fn made(first_mount: FirstMount, keeper: Box<dyn Keeper>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(Mutex::new(1_800_000_000_000_000)));
        let settings = Settings {
            audit_folder: Some(folder.path().into()),
            syslog_socket: folder.path().join("log.socket"),
            audit_from_start: true,
            first_mount,
            may_drop_own_space: true,
            version: "0.0.0".into(),
            aws: crate::aws::Names::default(),
        };
        let rng = Arc::new(SystemRng);
        let node = Node::new(keeper, Arc::clone(&clock) as _, rng, settings);
        Self {
            node: Arc::new(node),
            clock,
            audit_file: folder.path().join("audit.log"),
            _folder: folder,
        }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        *self.clock.0.lock().unwrap() += seconds * 1_000_000;
    }

    /// Asks with the root token.
    pub(crate) async fn root(&self, line: &str, body: &str) -> Reply {
        self.ask(Some(ROOT), line, body).await
    }

    /// Asks: `POST secret/data/x`.
    pub(crate) async fn ask(&self, token: Option<&str>, line: &str, body: &str) -> Reply {
        self.ask_with(token, line, body, &[]).await
    }

    pub(crate) async fn ask_with(
        &self,
        token: Option<&str>,
        line: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        self.ask_whole(token, line, body, headers).await.1
    }

    /// Asks with headers, for those of the answer as well.
    pub(crate) async fn ask_whole(
        &self,
        token: Option<&str>,
        line: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> (http::HeaderMap, Reply) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("host", "localhost");
        if method == "PATCH" {
            request = request.header("content-type", "application/merge-patch+json");
        }
        if let Some(token) = token {
            request = request.header("x-vault-token", token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(bytes::Bytes::copy_from_slice(body.as_bytes()));
        let request = request.body(body).unwrap();
        let response = crate::listen::tests::ask(&self.node, request).await;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let reply = Reply {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            text,
        };
        (headers, reply)
    }

    /// A token with policies.
    pub(crate) async fn token(&self, policies: &[&str]) -> String {
        let body = serde_json::json!({"policies": policies, "no_default_policy": true});
        let made = self.root("POST auth/token/create", &body.to_string()).await;
        assert_eq!(made.status, 200, "{made:?}");
        made.body["auth"]["client_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn policy(&self, name: &str, text: &str) {
        let body = serde_json::json!({ "policy": text });
        let line = format!("PUT sys/policies/acl/{name}");
        let written = self.root(&line, &body.to_string()).await;
        assert_eq!(written.status, 204, "{written:?}");
    }
}

impl Reply {
    /// The status and the first error.
    pub(crate) fn error(&self) -> (u16, String) {
        let errors = self.body["errors"].as_array();
        let first = errors.and_then(|errors| errors.first());
        let text = first.and_then(Value::as_str).unwrap_or_default();
        (self.status, text.to_owned())
    }

    pub(crate) fn data(&self) -> &Value {
        &self.body["data"]
    }
}

/// What time it is in a world.
pub(crate) fn now(world: &World) -> Timestamp {
    world.clock.now()
}

pub(crate) const DENIED: &str = "1 error occurred:\n\t* permission denied\n\n";
