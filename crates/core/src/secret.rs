//! Secret values: bytes that never show themselves.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;
use zeroize::Zeroizing;

/// The bytes of a secret.
///
/// Wiped on drop, shared by reference count so that a clone makes no second copy of the
/// plaintext. There is no way to print, compare with `==`, hash or serialise it by accident.
#[derive(Clone)]
pub struct SecretValue(Arc<Zeroizing<Box<[u8]>>>);

impl SecretValue {
    /// Takes over `bytes`. A buffer with spare capacity is copied into one of exact size and wiped.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(Arc::new(Zeroizing::new(bytes.into_boxed_slice())));
        }
        let exact = Box::from(bytes.as_slice());
        bytes.zeroize();
        Self(Arc::new(Zeroizing::new(exact)))
    }

    /// Copies `bytes` into a value of their own.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self(Arc::new(Zeroizing::new(Box::from(bytes))))
    }

    /// Takes over a text.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self::new(text.into_bytes())
    }

    /// The plaintext. The line above every call says `// EXPOSE: why, and where it goes`.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// The plaintext as text, when it is UTF-8. The same rule holds as for `expose_secret`.
    #[must_use]
    pub fn expose_secret_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes. Not for messages: the length of a password is a hint.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }

    /// True when there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in constant time (for values of equal length).
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([redacted])")
    }
}

/// What the bytes of a payload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// UTF-8 text, kept exactly as written.
    Text,
    /// Any bytes.
    Binary,
    /// A JSON object, kept as its exact text.
    Fields,
}

/// A secret value with its shape: exact bytes in, the same bytes out.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The bytes.
    pub value: SecretValue,
    /// What they are.
    pub shape: Shape,
}

impl Payload {
    /// Text when the bytes are UTF-8 (without NUL), binary otherwise.
    #[must_use]
    pub fn detect(value: SecretValue) -> Self {
        // EXPOSE: looked at for its encoding only.
        let is_text = value
            .expose_secret_text()
            .is_some_and(|text| !text.contains('\0'));
        let shape = if is_text { Shape::Text } else { Shape::Binary };
        Self { value, shape }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_bytes_nor_length() {
        let value = SecretValue::copy_from(b"canary-5f1d");
        assert_eq!(format!("{value:?}"), "SecretValue([redacted])");
        assert_eq!(
            format!("{:?}", Payload::detect(value)),
            "Payload { value: SecretValue([redacted]), shape: Text }"
        );
    }

    #[test]
    fn bytes_come_back_exactly() {
        for bytes in [
            &b"123456"[..],
            b"true",
            b"null",
            b"[1,2]",
            b"\"abc\"",
            b"\0\xff",
            b"",
            b"a\n",
        ] {
            let value = SecretValue::new(bytes.to_vec());
            assert_eq!(value.expose_secret(), bytes);
        }
    }

    #[test]
    fn a_buffer_with_spare_room_is_copied_to_size() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"abc");
        assert_eq!(SecretValue::new(bytes).expose_secret(), b"abc");
    }

    #[test]
    fn comparison_is_by_bytes() {
        let a = SecretValue::copy_from(b"one");
        assert!(a.ct_eq(&SecretValue::copy_from(b"one")));
        assert!(!a.ct_eq(&SecretValue::copy_from(b"two")));
        assert!(!a.ct_eq(&SecretValue::copy_from(b"ones")));
    }
}
