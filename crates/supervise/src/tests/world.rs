//! A machine for one test: a bundle, an application's folder, a client of the control API.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Dialogue;
use crate::Manifest;
use crate::Options;
use crate::SuperviseError;
use crate::Supervisor;

/// Longest that something is waited for: the machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// A machine.
pub(crate) struct World {
    pub(crate) home: tempfile::TempDir,
    pub(crate) manifest: Value,
    pub(crate) is_dry_run: bool,
    pub(crate) fetched: std::collections::BTreeMap<String, Result<String, String>>,
}

/// A running application.
pub(crate) struct Running {
    pub(crate) port: u16,
    pub(crate) token: String,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<Vec<String>>,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) text: String,
    headers: http::HeaderMap,
}

impl Answered {
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

/// A service that runs a script.
pub(crate) fn service(id: &str, more: Value) -> Value {
    let mut service = json!({
        "id": id,
        "type": "worker",
        "binaries": { "linux-x64": { "path": format!("bin/{id}") },
                      "linux-arm64": { "path": format!("bin/{id}") } },
        "health": { "type": "command", "command": ["true"], "interval_ms": 20 },
        "readiness": { "type": "dependencies_ready" },
        "log_dir": format!("logs/{id}.log"),
    });
    for (key, value) in more.as_object().unwrap() {
        service[key] = value.clone();
    }
    service
}

impl World {
    pub(crate) fn new(secrets: Value, services: Vec<Value>) -> Self {
        let manifest = json!({
            "schema_version": "v0.1",
            "target": "desktop",
            "app": { "name": "Try It", "version": "1.0.0" },
            "ipc": { "mode": "loopback-http", "host": "127.0.0.1", "port": 47_999,
                     "auth_token_path": "runtime/auth-token" },
            "telemetry": { "file": "telemetry/events.jsonl" },
            // Others may use the usual ports at the same time.
            "ports": { "default_range": { "min": 20_000, "max": 32_000 } },
            "secrets": secrets,
            "services": services,
        });
        Self {
            home: tempfile::tempdir().unwrap(),
            manifest,
            is_dry_run: false,
            fetched: std::collections::BTreeMap::new(),
        }
    }

    pub(crate) fn dry(secrets: Value) -> Self {
        let mut world = Self::new(secrets, vec![service("api", json!({}))]);
        world.is_dry_run = true;
        world
    }

    pub(crate) fn app_data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A file of the application's folder.
    pub(crate) fn read(&self, relative: &str) -> String {
        let path = self.app_data().join(relative);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    /// The program of a service.
    pub(crate) fn script(&self, id: &str, text: &str) {
        self.program(&format!("bin/{id}"), text);
    }

    pub(crate) fn program(&self, relative: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.home.path().join("bundle").join(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub(crate) async fn start(&self) -> Result<Supervisor, SuperviseError> {
        let manifest = self.read_manifest()?;
        Supervisor::start(manifest, self.options()).await
    }

    pub(crate) async fn dialogue(&self) -> Result<Dialogue, SuperviseError> {
        let manifest = self.read_manifest()?;
        Dialogue::open(manifest, self.options()).await
    }

    fn read_manifest(&self) -> Result<Manifest, SuperviseError> {
        let bundle = self.home.path().join("bundle");
        std::fs::create_dir_all(&bundle).unwrap();
        let file = bundle.join("bundle.json");
        std::fs::write(&file, self.manifest.to_string()).unwrap();
        Manifest::read(&file)
    }

    fn options(&self) -> Options {
        let fetched = self.fetched.iter();
        let fetched = fetched.map(|(id, result)| {
            let value = result.clone().map(SecretValue::from_text);
            (id.clone(), value)
        });
        Options {
            app_data: self.app_data(),
            bundle_root: self.home.path().join("bundle"),
            is_dry_run: self.is_dry_run,
            key_file: self.home.path().join("keys/store.key"),
            passphrase: None,
            actor: "tester".to_owned(),
            environment: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("USUAL".into(), "kept".into()),
            ],
            origins: vec!["http://allowed.example".to_owned()],
            fetched: fetched.collect(),
            tell: None,
        }
    }

    pub(crate) async fn run(&self) -> Running {
        let supervisor = self.start().await.unwrap_or_else(|error| panic!("{error}"));
        let port = supervisor.address().port();
        let token = self.read("runtime/auth-token");
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(supervisor.run(async {
            let _ = ended.await;
        }));
        Running {
            port,
            token,
            end: Some(end),
            task,
        }
    }

    /// Names of the events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.read("telemetry/events.jsonl");
        let lines = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["event"].as_str().unwrap().to_owned()
        });
        lines.collect()
    }

    /// Every file below the application's folder that holds a text.
    pub(crate) fn files_with(&self, needle: &str) -> Vec<PathBuf> {
        fn walk(folder: &Path, needle: &[u8], found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&path, needle, found),
                    false => {
                        let bytes = std::fs::read(&path).unwrap_or_default();
                        if bytes.windows(needle.len()).any(|part| part == needle) {
                            found.push(path);
                        }
                    }
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.app_data(), needle.as_bytes(), &mut found);
        found
    }
}

impl Running {
    /// Asks with the token.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &str) -> Answered {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        self.send(method, path, &headers, body.to_owned()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, "").await.json()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answered {
        self.ask(Method::POST, path, &body.to_string()).await
    }

    /// Asks with exactly these headers; a host is added where none is.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answered {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", format!("127.0.0.1:{}", self.port));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        drop(sender);
        let _ = connection.await;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answered {
            status,
            text,
            headers,
        }
    }

    /// Waits until a service's status is as wanted.
    pub(crate) async fn until(&self, service: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let status = self.get("/readyz").await["details"][service].clone();
                if is_wanted(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(status) => status,
            Err(_) => panic!("{service}: {}", self.get("/readyz").await),
        }
    }

    pub(crate) async fn until_ready(&self, service: &str) {
        self.until(service, |status| status["ready"] == json!(true))
            .await;
    }

    /// Ends the application; what went wrong in the end.
    pub(crate) async fn end(mut self) -> Vec<String> {
        let _ = self.end.take().map(|end| end.send(()));
        self.ended().await
    }

    /// Waits for an end that somebody asked for.
    pub(crate) async fn ended(self) -> Vec<String> {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
    }
}

/// Waits until a file of the application's folder is there.
pub(crate) async fn until_file(world: &World, relative: &str) -> String {
    let path = world.app_data().join(relative);
    let waiting = async {
        while !std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    world.read(relative)
}
