//! Ports for servers of other people, which cannot say which one they took.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixListener;

/// Below those that the kernel gives to connections, and to whoever asks for any port.
const RANGE: Range<u16> = 20_000..32_000;

/// A port of this machine's loopback at which nobody listens yet. No other test gets it as long
/// as this is held: two servers that start at once never find each other at their port.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// A name in the kernel, gone with the process that bound it.
    _claim: UnixListener,
}

impl Port {
    /// The next one that is free.
    ///
    /// # Panics
    /// When none is.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without a port")]
    pub fn claim() -> Self {
        let ports = u64::try_from(RANGE.len()).unwrap_or(1);
        let offset = RandomState::new().hash_one(()) % ports;
        let offset = usize::try_from(offset).unwrap_or_default();
        let mut candidates = RANGE.cycle().skip(offset).take(RANGE.len());
        candidates
            .find_map(Self::try_claim)
            .expect("a port below 32000 is free")
    }

    fn try_claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("strongroom-test-port-{number}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self {
            number,
            _claim: claim,
        })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_held_is_not_given_again() {
        let held: Vec<Port> = (0..500).map(|_| Port::claim()).collect();
        let numbers: BTreeSet<u16> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
        assert!(numbers.iter().all(|number| RANGE.contains(number)));
        assert!(Port::try_claim(held[0].number()).is_none());
        drop(held);
        // Another process may have taken one of them meanwhile.
        assert!(
            numbers
                .into_iter()
                .any(|free| Port::try_claim(free).is_some())
        );
    }

    #[test]
    fn where_somebody_listens_is_not_free() {
        let port = Port::claim();
        let number = port.number();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        drop(port);
        assert!(Port::try_claim(number).is_none());
    }
}
