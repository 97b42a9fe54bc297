//! A vault that is slow, gone, or stops in the middle: every call ends, as unreachable.

use std::time::Duration;

use axum::serve::Listener;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::VersionRef;
use strongroom_fakes::azure::CLIENT_SECRET;
use strongroom_fakes::tls::Authority;
use strongroom_fakes::tls::TlsListener;
use strongroom_fakes::wait;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::world::open;
use crate::world::value;

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                      content-length: 500\r\n\r\n{\"value\":\"canary-11";

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Takes the request and says nothing.
    BlackHole,
    /// Resets the connection.
    Reset,
    /// Begins an answer and closes.
    Half,
    /// Begins an answer and stays silent.
    HalfThenSilent,
    /// Something else answers.
    Page,
}

async fn misbehave(mut stream: TlsStream<TcpStream>, fault: Fault) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    match fault {
        Fault::BlackHole => std::future::pending::<()>().await,
        Fault::Reset => return stream.get_ref().0.set_zero_linger().unwrap(),
        Fault::Half => stream.write_all(HALF).await.unwrap(),
        Fault::HalfThenSilent => {
            stream.write_all(HALF).await.unwrap();
            std::future::pending::<()>().await;
        }
        Fault::Page => {
            let page = b"HTTP/1.1 404 Not Found\r\nconnection: close\r\n\
                         content-length: 9\r\n\r\ncanary-11";
            stream.write_all(page).await.unwrap();
        }
    }
    // Closed in order: what is not read would reset the connection.
    let _ = stream.shutdown().await;
    while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
}

async fn check(fault: Fault, kind: BackendErrorKind) {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
    let mut listener = TlsListener::bind(&authority).await;
    let port = listener.port();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await;
            tokio::spawn(misbehave(stream, fault));
        }
    });
    let backend = open(port, folder.path(), "", "&timeout=1s", CLIENT_SECRET).await;
    let write = value("canary-11");
    let calls = async {
        let many: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
        let found = backend.read_many(&many).await;
        let mut errors: Vec<_> = found.into_iter().map(|found| found.unwrap_err()).collect();
        errors.push(backend.read("a", &VersionRef::Current).await.unwrap_err());
        errors.push(backend.write("a", &write).await.unwrap_err());
        errors.push(backend.page("", None, 5).await.unwrap_err());
        errors.push(backend.details("a").await.unwrap_err());
        errors.push(backend.health().await.unwrap_err());
        errors
    };
    // Far beyond all deadlines together: it only tells an end from none.
    let errors = tokio::time::timeout(Duration::from_secs(90), calls)
        .await
        .unwrap();
    server.abort();
    for error in errors {
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        assert!(error.hint.is_some());
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn a_black_hole() {
    wait(check(Fault::BlackHole, BackendErrorKind::Unreachable));
}

#[test]
fn a_reset() {
    wait(check(Fault::Reset, BackendErrorKind::Unreachable));
}

#[test]
fn half_an_answer() {
    wait(check(Fault::Half, BackendErrorKind::Unreachable));
}

#[test]
fn half_an_answer_and_silence() {
    wait(check(Fault::HalfThenSilent, BackendErrorKind::Unreachable));
}

#[test]
fn a_page_that_is_not_there_is_not_a_secret_that_is_not_there() {
    wait(check(Fault::Page, BackendErrorKind::Malformed));
}
