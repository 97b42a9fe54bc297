//! Percent signs in addresses.

/// Bytes with what percent signs stand for in their place. What stands for nothing stays.
#[must_use]
pub fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_nothing_stays() {
        for (text, expected) in [
            ("p%40ss%zz", &b"p@ss%zz"[..]),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%+1", b"%+1"),
            ("%FFx", b"\xffx"),
            ("ä%C3%A4", "ää".as_bytes()),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}
