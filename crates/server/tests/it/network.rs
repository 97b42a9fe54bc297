use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::support::PATIENCE;
use crate::support::ROOT;
use crate::support::Running;
use crate::support::read_answer;
use crate::support::request;

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_over_a_connection_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let put = request("PUT /v1/secret/data/x", r#"{"data":{"a":"b"}}"#);
    assert_eq!(status(&server.exchange(&put).await), "200");
    // Several requests on one connection.
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(&request("GET /v1/secret/data/x", ""))
            .await
            .unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.contains(r#"{"a":"b"}"#), "{answer}");
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }
    drop(stream);
    assert!(
        server
            .exchange(&request("GET /healthz", ""))
            .await
            .ends_with("ok")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let head = format!("POST /v1/secret/data/smuggled HTTP/1.1\r\nX-Vault-Token: {ROOT}\r\n");
    let body = "{\"data\":{\"a\":1}}";
    let length = body.len();
    for headers in [
        format!("Host: a\r\nContent-Length: {length}\r\nContent-Length: 5\r\n"),
        format!("Host: a\r\nContent-Length: {length}, 5\r\n"),
        format!("Host: a\r\nContent-Length: +{length}\r\n"),
        format!("Host: a\r\nContent-Length: -{length}\r\n"),
        "Host: a\r\nContent-Length: 0x10\r\n".into(),
        "Host: a\r\nTransfer-Encoding: xchunked\r\n".into(),
        "Host: a\r\nTransfer-Encoding: chunked, identity\r\n".into(),
        "Host: a\r\nTransfer-Encoding : chunked\r\n".into(),
        "Host: a\r\nTransfer-Encoding:\x0bchunked\r\n".into(),
        format!("Host: a\r\nX: a\r\n folded\r\nContent-Length: {length}\r\n"),
        format!("Host: a\r\nX: a\nY: b\0\r\nContent-Length: {length}\r\n"),
        format!("Host: a\r\nX y: b\r\nContent-Length: {length}\r\n"),
        format!("Host: a\r\nHost: b\r\nContent-Length: {length}\r\n"),
    ] {
        let answer = server
            .exchange(format!("{head}{headers}\r\n{body}").as_bytes())
            .await;
        assert!(
            matches!(status(&answer), "400" | "closed"),
            "{headers:?} {answer}"
        );
    }
    // Both lengths at once: the chunks count, and what follows is no second request.
    let both = format!(
        "{head}Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /v1/sys/mounts HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {ROOT}\r\n\r\n"
    );
    let answer = server.exchange(both.as_bytes()).await;
    assert!(!answer.contains("cubbyhole"), "{answer}");
    let read = server
        .exchange(&request("GET /v1/secret/data/smuggled", ""))
        .await;
    assert_eq!(status(&read), "404");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let length = 33 * 1024 * 1024;
    let announced = format!(
        "PUT /v1/secret/data/x HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {ROOT}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    assert_eq!(status(&server.exchange(announced.as_bytes()).await), "413");
    let many = "X-Y: z\r\n".repeat(200);
    let headers = format!("GET /v1/sys/health HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    assert_eq!(status(&server.exchange(headers.as_bytes()).await), "431");
    let long = "x".repeat(256 * 1024);
    let headers = format!("GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX-Y: {long}\r\n\r\n");
    assert!(matches!(
        status(&server.exchange(headers.as_bytes()).await),
        "431" | "closed"
    ));
    let path = format!("GET /v1/{} HTTP/1.1\r\nHost: a\r\n\r\n", "a/".repeat(4000));
    assert!(matches!(
        status(&server.exchange(path.as_bytes()).await),
        "400" | "414"
    ));
    let health = server.exchange(&request("GET /v1/sys/health", "")).await;
    assert_eq!(status(&health), "200");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_whole_request_is_dropped_and_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let mut slow = Vec::new();
    for at in 0..200 {
        let mut stream = server.connect().await;
        if at % 2 == 0 {
            stream
                .write_all(b"GET /v1/sys/health HTTP/1.1\r\nHo")
                .await
                .unwrap();
        }
        slow.push(stream);
    }
    let health = server.exchange(&request("GET /v1/sys/health", "")).await;
    assert_eq!(status(&health), "200");
    for mut stream in slow {
        let mut left = Vec::new();
        let dropped = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut left)).await;
        assert!(dropped.is_ok(), "a silent connection is still open");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_gets_its_answer_or_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(&request("GET /v1/sys/health", ""))
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!(matches!(status(&answer), "200" | "closed"), "{answer}");
    // A body that ends too early is no request.
    let mut stream = server.connect().await;
    let cut = format!(
        "PUT /v1/secret/data/cut HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {ROOT}\r\n\
         Content-Length: 100\r\n\r\n{{\"data\":"
    );
    stream.write_all(cut.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!(matches!(status(&answer), "400" | "closed"), "{answer}");
    let read = server
        .exchange(&request("GET /v1/secret/data/cut", ""))
        .await;
    assert_eq!(status(&read), "404");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_has_begun_ends_before_the_server_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let body = r#"{"data":{"a":"b"}}"#;
    let whole = request("PUT /v1/secret/data/late", body);
    let (first, rest) = whole.split_at(whole.len() - 5);
    let mut stream = server.connect().await;
    stream.write_all(first).await.unwrap();
    // It has been seen once another one on a later connection was answered.
    server.exchange(&request("GET /v1/sys/health", "")).await;
    let stopping = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    stream.write_all(rest).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!(status(&answer), "200", "{answer}");
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_cannot_send_a_large_body() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(None, folder.path()).await;
    let length = 64 * 1024 + 1;
    let head = |line: &str, token: &str| {
        format!("{line} HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\n")
    };
    // The announcement is enough: nothing of the body is waited for.
    let announced = format!("Content-Length: {length}\r\n\r\n");
    let denied = head("PUT /v1/secret/data/x", "hvs.nobody") + &announced;
    let answer = server.exchange(denied.as_bytes()).await;
    assert_eq!(status(&answer), "403", "{answer}");
    for line in [
        "PUT /v1/auth/userpass/login/ann",
        "PUT /v1/sys/wrapping/unwrap",
    ] {
        let answer = server
            .exchange((head(line, "") + &announced).as_bytes())
            .await;
        assert!(matches!(status(&answer), "413" | "403"), "{line} {answer}");
    }
    let unseal = head("PUT /v1/sys/unseal", "") + &announced;
    let answer = server.exchange(unseal.as_bytes()).await;
    assert_eq!(status(&answer), "413", "{answer}");
    // Without a length it is noticed when so much has come.
    let chunk = "x".repeat(length);
    let chunked = head("PUT /v1/secret/data/x", "hvs.nobody")
        + &format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{chunk}\r\n");
    let answer = server.exchange(chunked.as_bytes()).await;
    assert!(matches!(status(&answer), "403" | "closed"), "{answer}");
    // At the bound it is read, and with a token beyond it.
    let body = |size: usize| format!(r#"{{"data":{{"a":"{}"}}}}"#, "x".repeat(size - 18));
    let with = |token: &str, size: usize| {
        let body = body(size);
        assert_eq!(body.len() + 1, size);
        let length = body.len();
        head("PUT /v1/secret/data/x", token) + &format!("Content-Length: {length}\r\n\r\n{body}")
    };
    let answer = server.exchange(with(ROOT, length + 1).as_bytes()).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let answer = server.exchange(with("hvs.nobody", length).as_bytes()).await;
    assert_eq!(status(&answer), "403", "{answer}");
    // The refusals are in the log.
    let log = std::fs::read_to_string(folder.path().join("audit.log")).unwrap();
    assert!(log.matches("permission denied").count() >= 3, "{log}");
    server.stop().await;
}
