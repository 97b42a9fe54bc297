//! A door before a real OpenBao, and what is put into it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use strongroom_testkit::openbao::OpenBao;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// Puts a value into OpenBao's `secret/`.
pub(crate) fn put(bao: &OpenBao, path: &str, value: &str) {
    let body = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
    let answer = bao.ask("POST", &format!("secret/data/{path}"), &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Passes connections on, and keeps what clients send.
pub(crate) struct Door {
    port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
    is_shut: Arc<AtomicBool>,
}

impl Door {
    pub(crate) async fn open(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent: Arc<Mutex<Vec<u8>>> = Arc::default();
        let is_shut: Arc<AtomicBool> = Arc::default();
        let (log, shut) = (Arc::clone(&sent), Arc::clone(&is_shut));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shut.load(Ordering::SeqCst) {
                    tokio::spawn(pass(client, to, Arc::clone(&log), Arc::clone(&shut)));
                }
            }
        });
        Self {
            port,
            sent,
            is_shut,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on every connection is closed at once.
    pub(crate) fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    /// How often something was sent.
    pub(crate) fn count(&self, text: &str) -> usize {
        let sent = self.sent.lock().unwrap();
        String::from_utf8_lossy(&sent).matches(text).count()
    }
}

async fn pass(client: TcpStream, to: u16, log: Arc<Mutex<Vec<u8>>>, shut: Arc<AtomicBool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            if shut.load(Ordering::SeqCst) {
                return;
            }
            let chunk = buffer.get(..count).unwrap();
            log.lock().unwrap().extend_from_slice(chunk);
            if to_server.write_all(chunk).await.is_err() {
                return;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}
