//! A server that is slow, gone, or stops in the middle: every call ends, as unreachable.

use std::time::Duration;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::VersionRef;
use strongroom_fakes::google::Fake;
use strongroom_fakes::wait;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::world::open;
use crate::world::read;
use crate::world::value;

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                      content-length: 500\r\n\r\n{\"payload\":{\"data\":\"Y2FuYXJ5LTEx";

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
    /// Not even an HTTP server.
    Noise,
}

async fn misbehave(mut stream: TcpStream, fault: Fault) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    match fault {
        Fault::Reset => return stream.set_zero_linger().unwrap(),
        Fault::BlackHole => std::future::pending::<()>().await,
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
        Fault::Noise => stream.write_all(b"SSH-2.0-canary-11\r\n").await.unwrap(),
    }
    // Closed in order: what is not read would reset the connection.
    let _ = stream.shutdown().await;
    while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
}

async fn check(fault: Fault, kind: BackendErrorKind) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(misbehave(stream, fault));
        }
    });
    let backend = open("shop", port, "&timeout=1s").await;
    let write = value("canary-11");
    let calls = async {
        let many: Vec<String> = (0..40).map(|number| format!("s{number}/a")).collect();
        let mut errors: Vec<_> = backend.read_many(&many).await;
        errors.push(backend.read("a/b", &VersionRef::Current).await);
        let mut errors: Vec<_> = errors.into_iter().map(|found| found.unwrap_err()).collect();
        errors.push(backend.write("a/b", &write).await.unwrap_err());
        errors.push(backend.page("", None, 5).await.unwrap_err());
        errors.push(backend.details("a/b").await.unwrap_err());
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

#[test]
fn noise() {
    wait(check(Fault::Noise, BackendErrorKind::Unreachable));
}

#[test]
fn nobody_listens() {
    wait(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let backend = open("shop", port, "").await;
        let error = backend.read("a", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unreachable);
        assert!(error.message.contains("refused"), "{error}");
    });
}

#[test]
fn a_busy_server_is_asked_again() {
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "").await;
        fake.fail_next(&[503, 429]);
        backend.write("a/b", &value("x")).await.unwrap();
        fake.fail_next(&[500, 502, 504]);
        assert_eq!(read(&backend, "a/b").await.unwrap(), "x");
        let hasty = open("shop", fake.port(), "&timeout=1s").await;
        fake.fail_next(&[429; 50]);
        let error = hasty.read("a/b", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Throttled);
    });
}
