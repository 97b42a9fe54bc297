//! Servers that are broken: slow, gone, or stopping in the middle.

use axum::serve::Listener;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;

use crate::tls::Authority;
use crate::tls::TlsListener;

/// How a server is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Takes the request and says nothing.
    BlackHole,
    /// Resets the connection.
    Reset,
    /// Begins an answer and closes.
    Half,
    /// Begins an answer and stays silent.
    HalfThenSilent,
    /// Something else answers: a page that is not there.
    Page,
    /// Not even an HTTP server.
    Noise,
}

/// A running server that is broken.
pub struct Broken {
    port: u16,
    server: JoinHandle<()>,
}

impl Broken {
    /// Serves on a free port of this machine; `half` is what a good answer's body begins with.
    pub async fn start(fault: Fault, half: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::serve(listener, port, fault, half)
    }

    /// As `start`, with TLS.
    pub async fn start_with_tls(fault: Fault, half: &'static str, authority: &Authority) -> Self {
        let listener = TlsListener::bind(authority).await;
        let port = listener.port();
        Self::serve(listener, port, fault, half)
    }

    fn serve<L>(mut listener: L, port: u16, fault: Fault, half: &'static str) -> Self
    where
        L: Listener,
        L::Io: Connection,
    {
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await;
                tokio::spawn(misbehave(stream, fault, half));
            }
        });
        Self { port, server }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A connection that can be reset.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn tcp(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn misbehave(mut stream: impl Connection, fault: Fault, half: &str) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n";
    let answer = match fault {
        Fault::Reset => return stream.tcp().set_zero_linger().unwrap(),
        Fault::BlackHole => String::new(),
        Fault::Half | Fault::HalfThenSilent => format!("{head}{half}"),
        Fault::Page => "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 9\r\n\r\n\
                        canary-11"
            .into(),
        Fault::Noise => "SSH-2.0-canary-11\r\n".into(),
    };
    stream.write_all(answer.as_bytes()).await.unwrap();
    if matches!(fault, Fault::BlackHole | Fault::HalfThenSilent) {
        std::future::pending::<()>().await;
    }
    // Closed in order: what is not read would reset the connection.
    let _ = stream.shutdown().await;
    while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
}

/// One test for each way to be broken, of a function that takes a [`Fault`].
#[macro_export]
macro_rules! broken_servers {
    ($check:path) => {
        $crate::broken_servers!(@cases $check;
            a_black_hole: BlackHole
            a_reset: Reset
            half_an_answer: Half
            half_an_answer_and_silence: HalfThenSilent
            a_page_that_is_not_there_is_not_a_secret_that_is_not_there: Page
            noise: Noise
        );
    };
    (@cases $check:path; $($case:ident: $fault:ident)+) => {
        $(
            #[test]
            fn $case() {
                $crate::wait($check($crate::faults::Fault::$fault));
            }
        )+
    };
}
