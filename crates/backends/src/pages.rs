//! Pages of addresses that are all at hand.

use strongroom_core::port::Page;

/// The addresses that begin with `prefix` and come after `after`, `limit` of them (but one at
/// least). `sorted` is in order and holds each address once.
pub(crate) fn page(sorted: &[String], prefix: &str, after: Option<&str>, limit: usize) -> Page {
    let is_wanted = |address: &&String| {
        address.starts_with(prefix) && after.is_none_or(|after| address.as_str() > after)
    };
    let mut wanted = sorted.iter().filter(is_wanted);
    let addresses: Vec<String> = wanted.by_ref().take(limit.max(1)).cloned().collect();
    let next = match wanted.next() {
        Some(_) => addresses.last().cloned(),
        None => None,
    };
    Page { addresses, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, after: Option<&str>, limit: usize, expected: &[&str], next: bool) {
        let sorted = ["a", "b/1", "b/2", "b/3", "c"].map(str::to_owned);
        let page = page(&sorted, prefix, after, limit);
        assert_eq!(page.addresses, expected);
        let last = expected.last().map(|last| (*last).to_owned());
        assert_eq!(page.next, last.filter(|_| next));
    }

    #[test]
    fn pages_end_where_the_addresses_do() {
        check("", None, 5, &["a", "b/1", "b/2", "b/3", "c"], false);
        check("", None, 4, &["a", "b/1", "b/2", "b/3"], true);
        check("b/", None, 2, &["b/1", "b/2"], true);
        check("b/", Some("b/2"), 2, &["b/3"], false);
        check("b/", Some("b/3"), 2, &[], false);
        check("x", None, 2, &[], false);
        check("", None, 0, &["a"], true);
    }
}
