//! A real OpenBao for a test, and a server that does what a test says.

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use strongroom_backend_vault::VaultBackend;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::Lookup;
use strongroom_core::port::Variables;
use strongroom_core::port::VersionRef;
use strongroom_core::uri::BackendUri;
use strongroom_testkit::openbao::program;
use strongroom_testkit::port::Port;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio::time::sleep;

mod trap;

pub(crate) use trap::Action;
pub(crate) use trap::Seen;
pub(crate) use trap::Trap;

/// How long a test waits for what has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// A development server in memory, with its root token `root`. Killed on drop, and (by setpriv)
/// when the test dies without dropping it.
pub(crate) struct OpenBao {
    process: Child,
    port: Port,
    http: reqwest::Client,
    _home: TempDir,
    pub(crate) certificates: PathBuf,
}

impl OpenBao {
    pub(crate) fn start() -> Self {
        wait(Self::start_with(&[]))
    }

    pub(crate) fn start_tls() -> Self {
        wait(Self::start_with(&["-dev-tls"]))
    }

    /// From inside the runtime.
    pub(crate) async fn start_here() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(options: &[&str]) -> Self {
        for _ in 0..5 {
            if let Some(server) = Self::try_start(options).await {
                return server;
            }
        }
        panic!("OpenBao does not start");
    }

    async fn try_start(options: &[&str]) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let port = Port::claim();
        let number = port.number();
        let certificates = home.path().join("tls");
        fs::create_dir(&certificates).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program())
            .args(["server", "-dev", "-dev-root-token-id=root"])
            .args(["-dev-no-store-token", "-log-level=error"])
            .arg(format!("-dev-listen-address=127.0.0.1:{number}"))
            .args(options);
        if options.contains(&"-dev-tls") {
            let folder = certificates.display();
            command.arg(format!("-dev-tls-cert-dir={folder}"));
        }
        command
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = spawn(command);
        let mut server = Self {
            process,
            port,
            http: reqwest::Client::builder()
                .no_proxy()
                .tls_danger_accept_invalid_certs(true)
                .build()
                .unwrap(),
            _home: home,
            certificates,
        };
        let is_tls = options.contains(&"-dev-tls");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            let scheme = if is_tls { "https" } else { "http" };
            let url = format!("{scheme}://127.0.0.1:{number}/v1/secret/config");
            let asked = server.http.get(url).header("X-Vault-Token", "root").send();
            if asked.await.is_ok_and(|reply| reply.status().is_success()) {
                return Some(server);
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("OpenBao does not answer");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// A call with the root token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.call_as("root", method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, Value) {
        let url = format!("{}/v1/{path}", self.url());
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self
            .http
            .request(method, url)
            .header("X-Vault-Token", token)
            .body(body.to_owned());
        let reply = request.send().await.unwrap();
        let status = reply.status().as_u16();
        let bytes = reply.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// A call that has to succeed.
    pub(crate) async fn must(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// A token with one policy, written in HCL.
    pub(crate) async fn token(&self, policy: &str, options: &str) -> String {
        let body = serde_json::json!({ "policy": policy }).to_string();
        self.must("POST", "sys/policies/acl/test", &body).await;
        let body = format!(r#"{{"policies":["test"]{options}}}"#);
        let answer = self.must("POST", "auth/token/create", &body).await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn open(&self, rest: &str) -> VaultBackend {
        self.open_as("root", rest).await
    }

    pub(crate) async fn open_as(&self, token: &str, rest: &str) -> VaultBackend {
        let url = self.url();
        open(rest, &[("VAULT_ADDR", &url), ("VAULT_TOKEN", token)])
            .await
            .unwrap()
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Started from a thread that lives as long as the test's process: the signal of setpriv comes
/// when the thread that started the program ends.
fn spawn(command: Command) -> Child {
    use std::sync::mpsc;
    use std::thread;

    type Order = (Command, mpsc::Sender<Child>);
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (send, receive) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in receive {
                reply.send(command.spawn().unwrap()).unwrap();
            }
        });
        send
    });
    let (send, receive) = mpsc::channel();
    orders.send((command, send)).unwrap();
    receive.recv().unwrap()
}

pub(crate) async fn open(
    uri: &str,
    variables: &[(&str, &str)],
) -> Result<VaultBackend, BackendError> {
    let uri = BackendUri::parse(uri).unwrap();
    let variables = Variables::new(variables.iter().copied());
    VaultBackend::open(&uri, &variables).await
}

/// What is at an address, as text.
pub(crate) async fn read(
    backend: &VaultBackend,
    address: &str,
) -> Result<Option<String>, BackendError> {
    let item = backend.read(address, &VersionRef::Current).await?;
    // EXPOSE: a test compares what came back.
    let text = |item: strongroom_core::port::Item| {
        item.payload.value.expose_secret_text().unwrap().to_owned()
    };
    Ok(item.map(text))
}

pub(crate) fn lookup(name: &str, path: &str) -> Lookup {
    Lookup {
        name: name.to_owned(),
        path: path.to_owned(),
        place: format!("storefront/production/{path}").parse().unwrap(),
    }
}

/// Everything an error shows.
pub(crate) fn shown(error: &BackendError) -> String {
    format!("{error} {error:?} {}", error.hint.as_deref().unwrap_or(""))
}
