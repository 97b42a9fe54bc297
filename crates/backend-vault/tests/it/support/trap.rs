//! A server on the loopback that answers, delays, breaks or forwards as a test says, and keeps
//! what it was sent.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::runtime;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method and path.
    pub(crate) line: String,
    /// Lines of the head, the first excepted.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
    raw: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What to do with a request.
pub(crate) enum Action {
    /// Status, more header lines, body.
    Reply(u16, &'static str, String),
    /// Read and say nothing, until the client goes.
    Silence,
    /// Break the connection with a reset.
    Reset,
    /// A head that promises more than comes.
    Half,
    /// A body that does not end.
    Endless,
    /// Ask the server at this port.
    Forward(u16),
}

/// The server; it stops on drop.
pub(crate) struct Trap {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<Open>,
    task: JoinHandle<()>,
}

/// Requests that are unanswered, and the most there were.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Trap {
    /// `decide` gets each request and the number of those before it.
    pub(crate) async fn start(
        decide: impl Fn(&Seen, usize) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let open: Arc<Open> = Arc::default();
        let counts = Arc::clone(&open);
        let decide = Arc::new(decide);
        let log = Arc::clone(&seen);
        let task = runtime().spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, decide) = (Arc::clone(&log), Arc::clone(&decide));
                let counts = Arc::clone(&counts);
                tasks.spawn(async move {
                    serve(stream, &log, &counts, &*decide).await;
                });
            }
        });
        Self {
            port,
            seen,
            open,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests, all of them forwarded, were unanswered at once.
    pub(crate) fn most_open(&self) -> usize {
        self.open.most.load(Ordering::SeqCst)
    }

    /// How many requests began with this line.
    pub(crate) fn count(&self, line: &str) -> usize {
        let seen = self.seen();
        seen.iter()
            .filter(|seen| seen.line.starts_with(line))
            .count()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    open: &Open,
    decide: &(dyn Fn(&Seen, usize) -> Action + Send + Sync),
) {
    while let Some(seen) = receive(&mut stream).await {
        let now = open.now.fetch_add(1, Ordering::SeqCst) + 1;
        open.most.fetch_max(now, Ordering::SeqCst);
        let before = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            log.len() - 1
        };
        match decide(&seen, before) {
            Action::Reply(status, headers, body) => {
                let head = format!(
                    "HTTP/1.1 {status} x\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
            }
            Action::Silence => {
                // Until the client closes.
                while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                return;
            }
            Action::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Action::Half => {
                let half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"data\":{\"da";
                _ = stream.write_all(half).await;
                return;
            }
            Action::Endless => {
                _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
                    .await;
                while stream.write_all(&[b' '; 65536]).await.is_ok() {}
                return;
            }
            Action::Forward(port) => {
                let Ok(mut real) = TcpStream::connect(("127.0.0.1", port)).await else {
                    return;
                };
                let raw = with_close(&seen.raw);
                let mut reply = Vec::new();
                if real.write_all(&raw).await.is_ok() {
                    _ = real.read_to_end(&mut reply).await;
                }
                // Before the answer goes: the next request may come at once after it.
                open.now.fetch_sub(1, Ordering::SeqCst);
                _ = stream.write_all(&reply).await;
                return;
            }
        }
    }
}

fn with_close(raw: &[u8]) -> Vec<u8> {
    let end = raw.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    [&raw[..end], b"Connection: close\r\n", &raw[end..]].concat()
}

async fn receive(stream: &mut TcpStream) -> Option<Seen> {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = head.lines().map(str::to_owned);
    let first = lines.next()?;
    let line = first.rsplit_once(' ')?.0.to_owned();
    let mut seen = Seen {
        line,
        headers: lines.filter(|line| !line.is_empty()).collect(),
        body: String::new(),
        raw: Vec::new(),
    };
    let length: usize = seen
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while raw.len() < end + length {
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = String::from_utf8_lossy(&raw[end..]).into_owned();
    seen.raw = raw;
    Some(seen)
}
