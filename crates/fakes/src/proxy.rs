//! A line to a server that can be cut, as often as a test likes: below TLS and HTTP, so that it
//! suits every server.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Most bytes that are passed at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What happens on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Everything passes.
    Whole,
    /// Everything passes, this much later.
    Late(Duration),
    /// What is sent is taken, and nothing comes back.
    BlackHole,
    /// Who sends something is cut off.
    Reset,
    /// Half of the first piece of an answer passes, then the line ends.
    Half,
}

/// A line, of which the server's end stays and the other may be asked through.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    line: Mutex<Line>,
    asked: AtomicUsize,
    open: AtomicUsize,
    open_most: AtomicUsize,
}

impl Proxy {
    /// To a port of this machine.
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            line: Mutex::new(Line::Whole),
            asked: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            open_most: AtomicUsize::new(0),
        });
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&of_task);
                tokio::spawn(async move { shared.carry(stream, server).await });
            }
        });
        Self { port, shared, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, on connections that are open, too.
    pub fn set(&self, line: Line) {
        *self.shared.line.lock().unwrap() = line;
    }

    /// How often something was asked while the line was not whole.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// How many of these were without an answer at the same time.
    pub fn open_most(&self) -> usize {
        self.shared.open_most.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn carry(&self, mut client: TcpStream, server: u16) {
        // A server that is away closes the line at once.
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
            return;
        };
        let mut asked = vec![0; PIECE_BYTES];
        let mut answer = vec![0; PIECE_BYTES];
        loop {
            tokio::select! {
                read = client.read(&mut asked) => match read {
                    Ok(bytes @ 1..) => {
                        let sent = &asked[..bytes];
                        if self.send(&mut client, sent, &mut server).await.is_none() {
                            return;
                        }
                    }
                    _ => return,
                },
                read = server.read(&mut answer) => match read {
                    Ok(bytes @ 1..) if client.write_all(&answer[..bytes]).await.is_ok() => {}
                    _ => return,
                },
            }
        }
    }

    /// Sends on what was asked; `None` when that was all on this line.
    async fn send(
        &self,
        client: &mut TcpStream,
        asked: &[u8],
        server: &mut TcpStream,
    ) -> Option<()> {
        let line = *self.line.lock().unwrap();
        if line == Line::Whole {
            return server.write_all(asked).await.ok();
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.open_most.fetch_max(open, Ordering::SeqCst);
        let sent = match line {
            Line::Whole => Some(()),
            Line::Late(by) => {
                sleep(by).await;
                server.write_all(asked).await.ok()
            }
            Line::BlackHole => drain(client).await,
            Line::Reset => client.set_zero_linger().ok().and(None),
            Line::Half => half(client, asked, server).await,
        };
        self.open.fetch_sub(1, Ordering::SeqCst);
        sent
    }
}

async fn half(client: &mut TcpStream, asked: &[u8], server: &mut TcpStream) -> Option<()> {
    let mut answer = vec![0; PIECE_BYTES];
    server.write_all(asked).await.ok()?;
    let (mut from_server, mut to_server) = server.split();
    let (mut from_client, mut to_client) = client.split();
    let bytes = tokio::select! {
        read = from_server.read(&mut answer) => read.ok()?,
        _ = tokio::io::copy(&mut from_client, &mut to_server) => return None,
    };
    to_client.write_all(&answer[..bytes / 2]).await.ok()?;
    to_client.shutdown().await.ok()?;
    drain(client).await
}

/// Until the other side closes: what is not read would reset the connection.
async fn drain(client: &mut TcpStream) -> Option<()> {
    let mut rest = vec![0; PIECE_BYTES];
    while client.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
    None
}
