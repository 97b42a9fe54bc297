//! Where a sink's lines go, and the connections there.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Who gets the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Host and port.
    Tcp(String),
    /// Host and port; one datagram a line.
    Udp(String),
    /// A socket of this machine.
    Unix(PathBuf),
    /// The system's log.
    Syslog {
        socket: PathBuf,
        facility: u8,
        tag: String,
    },
}

/// Severity of every line in the system's log: information.
const SEVERITY: u8 = 6;

/// The facilities of the system's log, by their numbers.
const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV",
    "FTP", "NTP", "SECURITY", "CONSOLE", "CLOCK", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4",
    "LOCAL5", "LOCAL6", "LOCAL7",
];

/// A facility's number.
pub(crate) fn facility(name: &str) -> Option<u8> {
    let at = FACILITIES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))?;
    u8::try_from(at).ok()
}

impl Target {
    /// A new connection, on which no write takes longer than `timeout`.
    ///
    /// # Errors
    /// When nobody answers in that time.
    pub(crate) fn connect(&self, timeout: Duration) -> std::io::Result<Connection> {
        let link = match self {
            Self::Tcp(address) => {
                let stream = connect_tcp(address, timeout)?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_nodelay(true)?;
                Link::Tcp(stream)
            }
            Self::Udp(address) => {
                let socket = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
                socket.connect(address)?;
                socket.set_write_timeout(Some(timeout))?;
                Link::Udp(socket)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(timeout))?;
                Link::Unix(stream)
            }
            Self::Syslog { socket, .. } => connect_log(socket, timeout)?,
        };
        let head = match self {
            Self::Syslog { facility, tag, .. } => {
                let priority = facility * 8 + SEVERITY;
                format!("<{priority}>{tag}[{}]: ", std::process::id())
            }
            Self::Tcp(_) | Self::Udp(_) | Self::Unix(_) => String::new(),
        };
        Ok(Connection { link, head })
    }
}

fn connect_tcp(address: &str, timeout: Duration) -> std::io::Result<TcpStream> {
    let mut failure = std::io::Error::other("the address names no host");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The system's log listens for datagrams; some listen for streams.
fn connect_log(path: &std::path::Path, timeout: Duration) -> std::io::Result<Link> {
    let socket = UnixDatagram::unbound()?;
    if socket.connect(path).is_ok() {
        socket.set_write_timeout(Some(timeout))?;
        return Ok(Link::Datagram(socket));
    }
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(Link::Unix(stream))
}

/// A connection to a target.
pub(crate) struct Connection {
    link: Link,
    /// Stands before every line.
    head: String,
}

enum Link {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
    Datagram(UnixDatagram),
}

impl Connection {
    /// Whether the other side still listens, as far as is known. What is written to a connection
    /// that was closed over there is lost without an error.
    pub(crate) fn is_open(&mut self) -> bool {
        match &mut self.link {
            Link::Tcp(stream) => {
                let is_set = stream.set_nonblocking(true).is_ok();
                let is_open = is_open(stream);
                is_set && is_open && stream.set_nonblocking(false).is_ok()
            }
            Link::Unix(stream) => {
                let is_set = stream.set_nonblocking(true).is_ok();
                let is_open = is_open(stream);
                is_set && is_open && stream.set_nonblocking(false).is_ok()
            }
            Link::Udp(_) | Link::Datagram(_) => true,
        }
    }

    /// Hands lines to the kernel.
    ///
    /// # Errors
    /// When it does not take all of them in time.
    pub(crate) fn write(&mut self, lines: &[String]) -> std::io::Result<()> {
        match &mut self.link {
            Link::Tcp(stream) => stream.write_all(&joined(&self.head, lines)),
            Link::Unix(stream) => stream.write_all(&joined(&self.head, lines)),
            Link::Udp(socket) => lines
                .iter()
                .try_for_each(|line| socket.send(line.as_bytes()).map(drop)),
            Link::Datagram(socket) => lines.iter().try_for_each(|line| {
                let line = format!("{}{line}", self.head);
                socket.send(line.as_bytes()).map(drop)
            }),
        }
    }
}

fn is_open(stream: &mut impl Read) -> bool {
    let mut said = [0; 256];
    loop {
        match stream.read(&mut said) {
            Ok(0) => return false,
            // Whatever it says is of no interest.
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

fn joined(head: &str, lines: &[String]) -> Vec<u8> {
    let mut all = String::new();
    for line in lines {
        for part in [head, line, "\n"] {
            all.push_str(part);
        }
    }
    all.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_their_numbers() {
        assert_eq!(facility("AUTH"), Some(4));
        assert_eq!(facility("local7"), Some(23));
        assert_eq!(facility("NOPE"), None);
    }
}
