//! The head of a connection's first request, read into no more memory than it takes.
//!
//! Most of what a connection costs are the buffers of its protocol: who never sends a whole head
//! gets none.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Bytes that are expected: grows when there are more.
const FIRST_BYTES: usize = 256;

/// A connection whose first bytes have been read already.
pub(crate) struct Begun<S> {
    start: Zeroizing<Vec<u8>>,
    /// So many of them were handed on.
    given: usize,
    stream: S,
}

/// Reads until a head is whole, too large to be one, or cut off: what stands there is judged by
/// whoever reads on. `None` when it does not come in time, or nothing came and the server stops.
pub(crate) async fn read<S>(
    mut stream: S,
    patience: Duration,
    bytes_max: usize,
    stop: &mut watch::Receiver<bool>,
) -> Option<Begun<S>>
where
    S: AsyncRead + Unpin,
{
    let mut start = Zeroizing::new(Vec::with_capacity(FIRST_BYTES));
    let reading = async {
        loop {
            if start.len() == start.capacity() {
                let mut larger = Zeroizing::new(Vec::with_capacity(start.capacity() * 2));
                larger.extend_from_slice(&start);
                start = larger;
            }
            let before = start.len();
            let count = tokio::select! {
                count = stream.read_buf(&mut *start) => count.ok()?,
                _ = stop.wait_for(|stop| *stop) => 0,
            };
            if count == 0 {
                return (!start.is_empty()).then_some(());
            }
            if start.len() >= bytes_max || has_end(&start, before) {
                return Some(());
            }
        }
    };
    tokio::time::timeout(patience, reading).await.ok()??;
    Some(Begun {
        start,
        given: 0,
        stream,
    })
}

/// Whether an empty line stands in the bytes, of which those from `new` on were not looked at.
fn has_end(bytes: &[u8], new: usize) -> bool {
    let from = new.saturating_sub(3);
    let looked_at = bytes.get(from..).unwrap_or_default();
    let mut lines = looked_at
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    lines.any(|(at, _)| {
        let rest = looked_at.get(at + 1..).unwrap_or_default();
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let left = self.start.get(self.given..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..count).unwrap_or_default());
        self.given += count;
        if self.given == self.start.len() {
            self.start = Zeroizing::default();
            self.given = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is handed on of what was sent; `None` where nothing is.
    async fn handed_on(sent: &[&[u8]]) -> Option<Vec<u8>> {
        let (mut client, server) = tokio::io::duplex(1024);
        let (_stop, mut stopped) = watch::channel(false);
        let sent: Vec<Vec<u8>> = sent.iter().map(|part| part.to_vec()).collect();
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            for part in sent {
                client.write_all(&part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let patience = Duration::from_secs(20);
        let mut begun = read(server, patience, 4096, &mut stopped).await?;
        let mut all = Vec::new();
        begun.read_to_end(&mut all).await.unwrap();
        Some(all)
    }

    #[tokio::test]
    async fn nothing_is_lost_and_nothing_is_waited_for_in_vain() {
        let long = [b'x'; 5000];
        let cases: [&[&[u8]]; 5] = [
            &[b"GET / HTTP/1.1\r\n\r\nbody"],
            &[b"GET / HTTP/1.1\r", b"\n\r", b"\nGET"],
            &[b"GET /\n", b"\nrest"],
            &[b"cut off"],
            &[&long],
        ];
        for sent in cases {
            assert_eq!(handed_on(sent).await, Some(sent.concat()));
        }
        assert_eq!(handed_on(&[]).await, None);
    }

    #[tokio::test]
    async fn who_sends_too_little_in_time_is_left() {
        let (_client, server) = tokio::io::duplex(64);
        let (stop, mut stopped) = watch::channel(false);
        let patience = Duration::from_millis(10);
        assert!(read(server, patience, 64, &mut stopped).await.is_none());
        let (_client, server) = tokio::io::duplex(64);
        stop.send(true).unwrap();
        let patience = Duration::from_secs(3600);
        assert!(read(server, patience, 64, &mut stopped).await.is_none());
    }
}
