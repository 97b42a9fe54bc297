//! Addresses: paths below the mount (and prefix), and how they stand in a URL.

use std::fmt::Write;

use strongroom_core::path::is_forbidden;

/// Longest address, in bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 2048;

/// Refuses what Vault would refuse, or worse, read as another path.
pub(crate) fn check(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("is empty".into());
    }
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(format!("has over {ADDRESS_BYTES_MAX} bytes"));
    }
    address.split('/').try_for_each(check_segment)
}

/// Refuses what is no single segment of a path.
pub(crate) fn check_segment(segment: &str) -> Result<(), String> {
    match segment {
        "" => return Err("has an empty segment (no leading, trailing or double '/')".into()),
        "." | ".." => return Err("has a '.' or '..' segment".into()),
        _ => {}
    }
    if segment.contains('/') {
        return Err("has a '/'".into());
    }
    if segment.chars().any(is_forbidden) {
        return Err("has a control or invisible character".into());
    }
    Ok(())
}

/// The path with everything escaped that means something in a URL; slashes stay.
pub(crate) fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                escaped.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => _ = write!(escaped, "%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_would_read_otherwise_is_escaped() {
        assert_eq!(escape("a/b c?d#e%f+g"), "a/b%20c%3Fd%23e%25f%2Bg");
        assert_eq!(escape("ключ"), "%D0%BA%D0%BB%D1%8E%D1%87");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for address in ["", "/a", "a/", "a//b", "a/../b", ".", "a\nb", "a\u{202e}b"] {
            assert!(check(address).is_err(), "{address:?}");
        }
        for address in ["a", "jwt/secret_key", "a b/c?d", "...", "a.b"] {
            assert!(check(address).is_ok(), "{address:?}");
        }
        assert!(check(&"x".repeat(ADDRESS_BYTES_MAX)).is_ok());
        assert!(check(&"x".repeat(ADDRESS_BYTES_MAX + 1)).is_err());
    }
}
