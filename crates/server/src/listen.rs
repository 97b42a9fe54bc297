//! The listener: connections within bounds, requests to their doors, an orderly end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::Resource;
use rustix::process::getrlimit;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::bodies::SMALL_BYTES;
use crate::bodies::Share;
use crate::head;
use crate::node::Node;
use crate::tls::Tls;
use crate::vault::body::BODY_BYTES_MAX;
use crate::vault::dispatch;
use crate::vault::dispatch::Incoming;
use crate::vault::dispatch::Outgoing;
use crate::vault::error::Fault;

/// Connections at once, where the process may have that many files open.
pub const CONNECTIONS_MAX: usize = 16_000;
/// Files that are kept for the store, the log and what else is not a connection.
const FILES_RESERVED: u64 = 128;
/// A client has so long to send its headers; an idle connection is kept as long.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// A client has so long to send its body.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A client has so long for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body of somebody who has no token.
pub(crate) const ANYBODYS_BYTES_MAX: usize = 64 * 1024;
/// Requests that are under way have so long to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// After the system refused a connection, the next is tried after so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Headers of one request.
const HEADERS_MAX: usize = 100;
/// Bytes of one request's headers.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Serves until `stop` says so, then lets requests end.
pub(crate) async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(places(getrlimit(Resource::Nofile).current)));
    let graceful = GracefulShutdown::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of file descriptors, most likely: others will be closed.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let watcher = graceful.watcher();
        let (node, tls) = (Arc::clone(&node), tls.clone());
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let open = &node.metrics.connections;
            open.fetch_add(1, Ordering::Relaxed);
            match tls {
                None => {
                    let begun = head::read(stream, HEADERS_TIMEOUT, HEADER_BYTES_MAX, &mut stop);
                    if let Some(stream) = begun.await {
                        // Not a part of this task's memory before there is a request.
                        Box::pin(converse(&node, stream, remote, Version::One, watcher)).await;
                    }
                }
                Some(tls) => {
                    let handshake = tls.acceptor().accept(stream);
                    let secured = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await;
                    if let Ok(Ok(stream)) = secured {
                        let agreed = stream.get_ref().1.alpn_protocol();
                        let version = match agreed {
                            Some(b"h2") => Version::Two,
                            _ => Version::One,
                        };
                        Box::pin(converse(&node, stream, remote, version, watcher)).await;
                    }
                }
            }
            node.metrics.connections.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
}

/// How many connections there may be, so that the store and the log can always open their files.
fn places(files: Option<u64>) -> usize {
    let for_connections = files.map_or(u64::MAX, |files| {
        files.saturating_sub(FILES_RESERVED).max(files / 2).max(1)
    });
    usize::try_from(for_connections)
        .unwrap_or(usize::MAX)
        .min(CONNECTIONS_MAX)
}

/// What is spoken on a connection: agreed upon by TLS, else HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

async fn converse<S>(
    node: &Arc<Node>,
    stream: S,
    remote: SocketAddr,
    version: Version,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = remote.ip();
    let service = service_fn(move |request| {
        let node = Arc::clone(node);
        async move { Ok::<_, Infallible>(respond(node, request, address).await) }
    });
    let stream = TokioIo::new(stream);
    // A connection that breaks is the client's affair.
    match version {
        Version::One => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_TIMEOUT)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(stream, service);
            let _ = watcher.watch(connection).await;
        }
        Version::Two => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(Some(HEADERS_TIMEOUT))
                .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
                .max_concurrent_streams(STREAMS_MAX)
                .serve_connection(stream, service);
            let _ = watcher.watch(connection).await;
        }
    }
}

async fn respond<B>(node: Arc<Node>, request: Request<B>, remote: IpAddr) -> Outgoing
where
    B: Body<Data = bytes::Bytes, Error: Send> + Send + Unpin + 'static,
{
    let begun = Instant::now();
    let response = match request.method().is_safe() {
        true => Caught(Box::pin(route(&node, request, remote))).await.ok(),
        // A change that has begun runs to its end, also when the client hangs up.
        false => {
            let node = Arc::clone(&node);
            let task = async move { route(&node, request, remote).await };
            tokio::spawn(task).await.ok()
        }
    };
    let response = response.unwrap_or_else(|| {
        node.metrics.panics.fetch_add(1, Ordering::Relaxed);
        dispatch::render_fault(&node, &Fault::Internal("a request hit a bug".into()))
    });
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    node.metrics.note(response.status().as_u16(), micros);
    response
}

/// A future whose panic is an error: the connection and everything else live on.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, ()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.0.as_mut();
        let polled = std::panic::AssertUnwindSafe(|| inner.poll(context));
        match std::panic::catch_unwind(polled) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

async fn route<B>(node: &Arc<Node>, request: Request<B>, remote: IpAddr) -> Outgoing
where
    B: Body<Data = bytes::Bytes> + Send + Unpin,
{
    let (parts, body) = request.into_parts();
    if parts.headers.get_all(header::HOST).iter().count() > 1 {
        let text = "400 Bad Request".into();
        let mut refusal = dispatch::respond(StatusCode::BAD_REQUEST, "text/plain", text);
        // What stands behind such a request may be a part of it to somebody else.
        let close = http::HeaderValue::from_static("close");
        refusal.headers_mut().insert(header::CONNECTION, close);
        return refusal;
    }
    if crate::aws::dispatch::is_for_aws(&parts) {
        return crate::aws::dispatch::serve(node, parts, body, remote).await;
    }
    let path = parts.uri.path();
    let own = [
        ("/api/users/", "sys/users/"),
        ("/api/jwks/", "sys/jwks/"),
        // What is neither of these.
        ("/api/", "sys/api/"),
    ];
    let own = own.iter().find_map(|(from, to)| {
        let below = path.strip_prefix(from)?;
        Some(format!("{to}{below}"))
    });
    let is_api = own
        .as_deref()
        .is_some_and(|own| own.starts_with("sys/api/"));
    let Some(path) = own.as_deref().or_else(|| path.strip_prefix("/v1/")) else {
        return elsewhere(node, path);
    };
    // Held until there is an answer: the body is in memory in one form or another.
    let mut share = Share::default();
    let body = match read_body(node, &mut share, &parts.headers, remote, body).await {
        Ok(body) => body,
        Err(fault) => return dispatch::render_fault(node, &fault),
    };
    let (body, is_body_left) = match body {
        Some(body) => (body, false),
        None => (Zeroizing::default(), true),
    };
    let incoming = Incoming {
        path: path.to_owned(),
        query: parts.uri.query().map(str::to_owned),
        method: parts.method,
        headers: parts.headers,
        body,
        is_body_left,
        remote,
    };
    match is_api {
        true => crate::api::handle(node, incoming).await,
        false => dispatch::handle(node, incoming).await,
    }
}

/// What is not below `/v1/`.
fn elsewhere(node: &Node, path: &str) -> Outgoing {
    match path {
        "/healthz" => {
            let text = if node.is_sealed() { "sealed" } else { "ok" };
            dispatch::respond(StatusCode::OK, "text/plain", text.into())
        }
        _ => dispatch::render_fault(node, &Fault::NotFound),
    }
}

/// Reads a body within its bounds, into memory that is wiped. A large one is left where it is
/// when no living token comes with it.
async fn read_body<B>(
    node: &Node,
    share: &mut Share,
    headers: &http::HeaderMap,
    remote: IpAddr,
    mut body: B,
) -> Result<Option<Zeroizing<Vec<u8>>>, Fault>
where
    B: Body<Data = bytes::Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Some(Zeroizing::default()));
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(Fault::TooLarge);
    }
    let mut may_be_large = false;
    if length.is_some_and(|length| length > ANYBODYS_BYTES_MAX) {
        may_be_large = dispatch::has_token(node, headers, remote).await;
        if !may_be_large {
            return Ok(None);
        }
    }
    let reading = async {
        // Sized after what has come, not after what is announced: that costs nothing.
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(Fault::invalid("the body broke off"));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > BODY_BYTES_MAX {
                return Err(Fault::TooLarge);
            }
            if !may_be_large && bytes.len() + data.len() > ANYBODYS_BYTES_MAX {
                may_be_large = dispatch::has_token(node, headers, remote).await;
                if !may_be_large {
                    return Ok(None);
                }
            }
            if bytes.len() + data.len() > bytes.capacity() {
                let needed = bytes.len() + data.len();
                let capacity = (bytes.capacity() * 2).max(SMALL_BYTES);
                let most = length.unwrap_or(BODY_BYTES_MAX);
                let capacity = capacity.min(most).max(needed);
                node.bodies.grow(share, capacity)?;
                let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
                larger.extend_from_slice(&bytes);
                bytes = larger;
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Some(bytes))
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(read) => read,
        Err(_) => Err(Fault::TooSlow),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use http_body_util::Full;

    use super::*;

    /// A request without a network.
    pub(crate) async fn ask(node: &Arc<Node>, request: Request<Full<bytes::Bytes>>) -> Outgoing {
        let remote = IpAddr::from([127, 0, 0, 1]);
        respond(Arc::clone(node), request, remote).await
    }

    #[test]
    fn connections_leave_files_to_others() {
        assert_eq!(places(None), CONNECTIONS_MAX);
        assert_eq!(places(Some(1 << 20)), CONNECTIONS_MAX);
        assert_eq!(places(Some(1024)), 896);
        assert_eq!(places(Some(100)), 50);
        assert_eq!(places(Some(0)), 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        std::panic::set_hook(Box::new(|_| {}));
        let panicking = async { panic!("caught") };
        let caught: Result<(), ()> = Caught(Box::pin(panicking)).await;
        let _ = std::panic::take_hook();
        assert_eq!(caught, Err(()));
        assert_eq!(Caught(Box::pin(async { 7 })).await, Ok(7));
    }
}
