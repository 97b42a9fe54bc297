//! What an attacker sends, continued: ways round a policy, tokens that outlive what they should,
//! and requests that take memory or connections before anybody is asked who he is.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use crate::served::DEADLINE;
use crate::served::Served;

/// A connection on which nothing comes, or a part of what HTTP/2 begins with, is closed as well:
/// else as many of them as the server takes keep all others out.
#[test]
fn silent_connections_are_dropped() {
    let served = Served::dev();
    for start in ["", "PRI * HT"] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            let reset = std::io::ErrorKind::ConnectionReset;
            assert_eq!(error.kind(), reset, "after {start:?}: {error}");
        }
    }
}
