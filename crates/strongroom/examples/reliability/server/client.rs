//! A client that keeps its connection, and one that sends bytes as they are.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::rig::AnyResult;

/// Only a hang takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection with a token.
pub(crate) struct Client {
    stream: TcpStream,
    token: String,
    buffer: Vec<u8>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body; nothing where it is no JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    /// A new connection.
    pub(crate) fn connect(address: SocketAddr, token: &str) -> AnyResult<Self> {
        Self::over(TcpStream::connect(address)?, token)
    }

    /// A connection that is there already.
    pub(crate) fn over(stream: TcpStream, token: &str) -> AnyResult<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            token: token.to_owned(),
            buffer: Vec::new(),
        })
    }

    /// Sends another token from now on; an empty one is none.
    pub(crate) fn use_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// One request and its answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &Value) -> AnyResult<Answer> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.ask_text(method, path, &body)
    }

    /// As `ask`, with a body that need not be JSON.
    pub(crate) fn ask_text(&mut self, method: &str, path: &str, body: &str) -> AnyResult<Answer> {
        self.ask_with("", method, path, body)
    }

    /// As `ask_text`, with more lines in the head; each ends with CRLF.
    pub(crate) fn ask_with(
        &mut self,
        lines: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> AnyResult<Answer> {
        let token = match self.token.as_str() {
            "" => String::new(),
            token => format!("X-Vault-Token: {token}\r\n"),
        };
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\n{token}{lines}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // It may be refused before all of it was sent: the answer says so.
        let sent = self.stream.write_all(request.as_bytes());
        self.answer().or_else(|error| {
            sent?;
            Err(error)
        })
    }

    fn answer(&mut self) -> AnyResult<Answer> {
        self.buffer.clear();
        let mut chunk = [0; 8192];
        loop {
            if let Some((status, start, length)) = head_of(&self.buffer)
                && self.buffer.len() >= start + length
            {
                let body = self.buffer.get(start..start + length).unwrap_or_default();
                let body = body.to_vec();
                return Ok(Answer { status, body });
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err("the server closed".into()),
                count => self
                    .buffer
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// Status, where the body starts, and its length.
fn head_of(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    Some((status, end + 4, length.unwrap_or(0)))
}

/// Sends bytes and reads until the server closes. `None` when it neither answers nor closes.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> AnyResult<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(Some(answer)),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(Some(answer)),
        Err(_) => Ok(None),
    }
}
