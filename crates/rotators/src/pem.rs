//! Keys and certificates as texts (RFC 7468).

use data_encoding::BASE64;
use data_encoding::Encoding;
use strongroom_core::secret::SecretValue;

/// Characters of a line.
const COLUMNS: usize = 64;

/// A private key (PKCS #8).
pub(crate) fn private_key(der: &SecretValue) -> SecretValue {
    // EXPOSE: written in another form into the new secret.
    block("PRIVATE KEY", der.expose_secret())
}

/// A block with a label.
pub(crate) fn block(label: &str, der: &[u8]) -> SecretValue {
    let text = encoded(der, &BASE64);
    let mut pem = Vec::with_capacity(text.len_bytes() + text.len_bytes() / COLUMNS + 80);
    pem.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    // EXPOSE: goes into the new secret, line by line.
    for line in text.expose_secret().chunks(COLUMNS) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    SecretValue::new(pem)
}

pub(crate) fn encoded(bytes: &[u8], encoding: &Encoding) -> SecretValue {
    let mut text = vec![0; encoding.encode_len(bytes.len())];
    encoding.encode_mut(bytes, &mut text);
    SecretValue::new(text)
}
