//! moto's server, and a loopback server that answers as a test wants.

use std::future::Future;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_backend_aws::AwsBackend;
use strongroom_backend_aws::SsmBackend;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Variables;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;

/// Runs a future on a runtime of its own; nothing here may take minutes.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), future)
            .await
            .unwrap()
    })
}

pub(crate) fn variables() -> Variables {
    Variables::new([
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret-key-5d1f"),
    ])
}

/// A backend at an endpoint; `more` is appended to the address, `&key=value`.
pub(crate) fn open_at(place: &str, endpoint: SocketAddr, more: &str) -> AwsBackend {
    wait(connect(place, endpoint, more))
}

/// The same from inside a runtime.
pub(crate) async fn connect(place: &str, endpoint: SocketAddr, more: &str) -> AwsBackend {
    let text = format!("aws:us-east-1{place}?endpoint=http://{endpoint}{more}");
    let uri = BackendUri::parse(&text).unwrap();
    AwsBackend::open(&uri, &variables()).await.unwrap()
}

pub(crate) fn open_parameters(place: &str, endpoint: SocketAddr, more: &str) -> SsmBackend {
    wait(connect_parameters(place, endpoint, more))
}

pub(crate) async fn connect_parameters(
    place: &str,
    endpoint: SocketAddr,
    more: &str,
) -> SsmBackend {
    let text = format!("ssm:us-east-1{place}?endpoint=http://{endpoint}{more}");
    let uri = BackendUri::parse(&text).unwrap();
    SsmBackend::open(&uri, &variables()).await.unwrap()
}

pub(crate) fn text(value: &str) -> NewValue {
    NewValue::new(Payload::detect(SecretValue::copy_from(value.as_bytes())))
}

pub(crate) fn shown(value: &SecretValue) -> String {
    value.expose_secret_text().unwrap().to_owned()
}

pub(crate) fn lookup(path: &str) -> Lookup {
    Lookup {
        name: path.replace('/', "_").to_uppercase(),
        path: path.to_owned(),
        place: format!("shop/production/{path}").parse().unwrap(),
    }
}

/// The current text at an address.
pub(crate) async fn current(backend: &dyn Backend, address: &str) -> Option<String> {
    let version = strongroom_core::port::VersionRef::Current;
    let item = backend.read(address, &version).await.unwrap();
    item.map(|item| shown(&item.payload.value))
}

/// Message and hint, which must not hold the credentials.
pub(crate) fn said(error: &BackendError) -> String {
    let text = format!("{error}; {}", error.hint.clone().unwrap_or_default());
    assert!(!format!("{text} {error:?}").contains("canary"), "{text}");
    assert!(!text.contains("AKIAIOSFODNN7EXAMPLE"), "{text}");
    text
}

/// moto's server, killed on drop.
pub(crate) struct Moto {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let installed = root.join(".peers/venv/bin/moto_server");
        let program = if installed.is_file() {
            installed
        } else {
            "moto_server".into()
        };
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("no moto_server ({error}): run cargo xtask peers"));
        let mut moto = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let mut log = BufReader::new(moto.process.stderr.take().unwrap());
        let mut line = String::new();
        while moto.address.port() == 0 {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "moto ended at start");
            if let Some((_, address)) = line.trim_end().split_once("Running on http://") {
                moto.address = address.parse().unwrap();
            }
        }
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        moto
    }

    /// One call in AWS's JSON protocol, without the SDK and unsigned, as another client's.
    pub(crate) fn call(&self, target: &str, body: &str) -> String {
        call(self.address, target, body)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends one request and returns the body of the answer.
pub(crate) fn call(address: SocketAddr, target: &str, body: &str) -> String {
    let service = target.split('.').next().unwrap().to_lowercase();
    let service = if service == "amazonssm" {
        "ssm"
    } else {
        "secretsmanager"
    };
    let credential = format!("AKIDEXAMPLE/20260101/us-east-1/{service}/aws4_request");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: {target}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={credential}, \
         SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(address, request.as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// A request as the trap saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The operation, e.g. `GetSecretValue`.
    pub(crate) operation: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// As it is sent on to moto.
    fn to_bytes(&self) -> Vec<u8> {
        let mut head = String::new();
        for line in self.head.lines() {
            if !line.to_lowercase().starts_with("connection:") && !line.is_empty() {
                head.push_str(line);
                head.push_str("\r\n");
            }
        }
        format!("{head}Connection: close\r\n\r\n{}", self.body).into_bytes()
    }
}

/// What the trap does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Keeps the connection open and says nothing.
    Silence,
    /// Resets the connection.
    Reset,
    /// Promises more than it sends, then closes.
    Half,
    /// Promises more than it sends, and leaves the connection open.
    Stall,
    /// An answer.
    Json(u16, String),
    /// What the server behind it says.
    Forward(SocketAddr),
}

/// An error as AWS writes it.
pub(crate) fn refusal(status: u16, code: &str) -> Reply {
    Reply::Json(
        status,
        format!("{{\"__type\":\"{code}\",\"Message\":\"canary text of the service\"}}"),
    )
}

type Judge = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// A loopback server that answers as a closure says, which gets the request and its number from 0.
pub(crate) struct Trap {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    judge: Box<Judge>,
    seen: Mutex<Vec<Request>>,
    held: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl Trap {
    pub(crate) fn new(judge: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            judge: Box::new(judge),
            seen: Mutex::default(),
            held: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || shared.serve(stream.unwrap()));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often an operation was asked for.
    pub(crate) fn count(&self, operation: &str) -> usize {
        let seen = self.seen();
        seen.iter().filter(|r| r.operation == operation).count()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let Some(request) = read_request(&stream) else {
            return;
        };
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        match (self.judge)(number, &request) {
            Reply::Silence => self.held.lock().unwrap().push(stream),
            Reply::Reset => {
                let linger = Some(Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&stream, linger).unwrap();
            }
            Reply::Half => {
                let _ = stream.write_all(HALF);
            }
            Reply::Stall => {
                let _ = stream.write_all(HALF);
                self.held.lock().unwrap().push(stream);
            }
            Reply::Json(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Answer\r\nContent-Type: application/x-amz-json-1.1\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
            }
            Reply::Forward(address) => {
                let _ = stream.write_all(&exchange(address, &request.to_bytes()));
            }
        }
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let header = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let target = header("x-amz-target").unwrap_or_default();
    Some(Request {
        operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
        body: String::from_utf8(body).unwrap(),
        head,
    })
}

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n\
                      Content-Length: 900\r\n\r\n{\"Name\":";
