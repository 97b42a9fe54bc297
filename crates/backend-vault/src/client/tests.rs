use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

/// What is left of a raw answer under a bound.
async fn collected(answer: &'static str, bytes_max: usize) -> Option<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (reply, ()) = tokio::join!(http.get(url).send(), serve);
    let body = collect(&mut reply.unwrap(), bytes_max).await.unwrap();
    body.map(|body| body.to_vec())
}

#[test]
fn a_body_is_read_up_to_its_bound_and_no_further() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n\
             0\r\n\r\n",
        ] {
            assert_eq!(collected(answer, 10).await.unwrap(), b"0123456789");
            assert_eq!(collected(answer, 9).await, None);
        }
    });
}
