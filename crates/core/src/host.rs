//! Hosts, as they stand in addresses.

// Addresses alone: what opens sockets is in `std::net`.
use core::net::IpAddr;

/// Whether what is sent there stays on the machine. Brackets round an address do not matter.
#[must_use]
pub fn is_near(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_near(host), "{host}");
        }
        for host in [
            "",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "localhost.example",
            "127.0.0.1.example",
        ] {
            assert!(!is_near(host), "{host}");
        }
    }
}
