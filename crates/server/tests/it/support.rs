//! A server in this process, on a port of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom_core::port::Clock;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_server::FirstMount;
use strongroom_server::Node;
use strongroom_server::Settings;
use strongroom_server::Tls;
use strongroom_server::TlsFiles;
use strongroom_server::keeper::MemoryKeeper;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const ROOT: &str = "root-of-tests";
/// What is waited for takes so long at most, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap();
        Timestamp::from_micros(i64::try_from(elapsed.as_micros()).unwrap())
    }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(tls: Option<TlsFiles>, audit: &Path) -> Self {
        let settings = Settings {
            audit_folder: Some(audit.into()),
            syslog_socket: audit.join("log.socket"),
            audit_from_start: true,
            first_mount: FirstMount::OwnSpace,
            may_drop_own_space: true,
            version: "0.0.0".into(),
            aws: strongroom_server::AwsNames::default(),
        };
        let (clock, rng) = (Arc::new(WallClock), Arc::new(SystemRng));
        let node = Node::new(Box::<MemoryKeeper>::default(), clock, rng, settings);
        let token = SecretValue::copy_from(ROOT.as_bytes());
        node.start_dev(Some(token)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            let hang_ups = strongroom_server::HangUps::begin();
            let tls = tls.map(|files| Tls::load(files).unwrap());
            strongroom_server::run(Arc::new(node), listener, tls, hang_ups, Box::pin(stopped))
                .await;
        });
        Self {
            address,
            stop,
            serving,
        }
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.serving)
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes or has nothing more to say.
    pub(crate) async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may have been refused before all of it was sent.
        let _ = stream.write_all(request).await;
        read_answer(&mut stream).await
    }
}

/// Reads to the end of the connection, or to the end of the first answer's body.
pub(crate) async fn read_answer<S: AsyncReadExt + Unpin>(stream: &mut S) -> String {
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
            }
            if is_whole(&answer) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    length.is_some_and(|length: usize| body.len() >= length)
}

/// A plain request with the root token.
pub(crate) fn request(line: &str, body: &str) -> Vec<u8> {
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {ROOT}\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )
    .into_bytes()
}
