//! Ranges of addresses.

use std::net::IpAddr;

/// Whether an address lies in one of the ranges; no ranges allow every address.
pub(crate) fn allows(ranges: &[String], address: IpAddr) -> bool {
    ranges.is_empty() || ranges.iter().any(|range| contains(range, address))
}

/// Whether ranges allow no more than others do; no ranges allow every address.
pub(crate) fn are_within(ranges: &[String], others: &[String]) -> bool {
    let is_within = |range: &String| others.iter().any(|other| holds(other, range));
    others.is_empty() || !ranges.is_empty() && ranges.iter().all(is_within)
}

/// Whether a range lies in another.
fn holds(outer: &str, inner: &str) -> bool {
    let (Some((_, outer_bits)), Some((first, inner_bits))) = (parse(outer), parse(inner)) else {
        return false;
    };
    inner_bits >= outer_bits && contains(outer, first)
}

/// A range as it is kept: an address alone is a range of one.
pub(crate) fn normal(text: &str) -> Option<String> {
    let (address, bits) = parse(text)?;
    Some(match text.contains('/') {
        true => format!("{address}/{bits}"),
        false => address.to_string(),
    })
}

fn parse(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.trim().parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
        None => width,
    };
    Some((address, bits))
}

fn contains(range: &str, address: IpAddr) -> bool {
    let Some((network, bits)) = parse(range) else {
        return false;
    };
    let address = address.to_canonical();
    match (network.to_canonical(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_in_ranges() {
        for (ranges, others, is_so) in [
            (&["10.1.0.0/16"][..], &["10.0.0.0/8"][..], true),
            (&["10.0.0.0/8"], &["10.0.0.0/8"], true),
            (&["10.0.0.0/7"], &["10.0.0.0/8"], false),
            (&["0.0.0.0/0"], &["10.0.0.0/8"], false),
            (&["10.1.0.0/16", "11.0.0.1"], &["10.0.0.0/8"], false),
            (
                &["10.1.0.0/16", "11.0.0.1"],
                &["10.0.0.0/8", "11.0.0.1"],
                true,
            ),
            (&["::/0"], &["10.0.0.0/8"], false),
            (&["::/0"], &["0.0.0.0/0"], false),
            (&["fd00::1"], &["fd00::/8"], true),
            (&[], &["10.0.0.0/8"], false),
            (&["10.0.0.0/8"], &[], true),
            (&[], &[], true),
        ] {
            let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
            let found = are_within(&owned(ranges), &owned(others));
            assert_eq!(found, is_so, "{ranges:?} {others:?}");
        }
    }

    #[test]
    fn ranges_hold_addresses() {
        for (range, address, holds) in [
            ("127.0.0.1/32", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "fe80::1", true),
            ("10.0.0.0/8", "fe80::1", false),
            ("nonsense", "10.0.0.1", false),
            ("10.0.0.0/33", "10.0.0.1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(allows(&[range.into()], address), holds, "{range} {address}");
        }
        assert!(allows(&[], "10.0.0.1".parse().unwrap()));
    }
}
