//! Signatures of requests as AWS makes them (Signature Version 4): HMAC-SHA256 under a key that is
//! derived from a secret, a day, a region and a service.

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

/// What the key of a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The day, as `20260131`.
    pub date: &'a str,
    /// The region.
    pub region: &'a str,
    /// The service.
    pub service: &'a str,
}

/// SHA-256 of the bytes of a request.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

/// Signs a text.
#[must_use]
pub fn sign(secret: &SecretValue, scope: &Scope<'_>, text: &[u8]) -> [u8; 32] {
    tag(&key(secret, scope), text)
}

/// Whether `signature` is that of the text, in constant time.
#[must_use]
pub fn verify(secret: &SecretValue, scope: &Scope<'_>, text: &[u8], signature: &[u8]) -> bool {
    SigningKey::new(secret, scope).verifies(text, signature)
}

/// The key of one scope, ready for use: most requests of a day have the same.
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Derives it.
    #[must_use]
    pub fn new(secret: &SecretValue, scope: &Scope<'_>) -> Self {
        Self(key(secret, scope))
    }

    /// Whether `signature` is that of the text, in constant time.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, text, signature).is_ok()
    }
}

/// HMAC-SHA256 of a text under a secret: what an endpoint knows our requests by.
#[must_use]
pub fn mac(secret: &SecretValue, text: &[u8]) -> [u8; 32] {
    // EXPOSE: is the key of a keyed one-way function.
    tag(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret()),
        text,
    )
}

fn key(secret: &SecretValue, scope: &Scope<'_>) -> hmac::Key {
    // EXPOSE: goes through a keyed one-way function, in a buffer of exact size that is wiped.
    let bytes = secret.expose_secret();
    let mut first = Zeroizing::new(Vec::with_capacity(4 + bytes.len()));
    first.extend_from_slice(b"AWS4");
    first.extend_from_slice(bytes);
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
    for part in [scope.date, scope.region, scope.service, "aws4_request"] {
        let next = Zeroizing::new(tag(&key, part.as_bytes()));
        key = hmac::Key::new(hmac::HMAC_SHA256, &*next);
    }
    key
}

fn tag(key: &hmac::Key, bytes: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(key, bytes).as_ref());
    tag
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Test case 2 of RFC 4231.
    #[test]
    fn the_published_code_comes_out() {
        let code = mac(
            &SecretValue::copy_from(b"Jefe"),
            b"what do ya want for nothing?",
        );
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(HEXLOWER.encode(&code), expected);
    }

    /// The worked example of AWS's documentation: `ListUsers` of IAM on 2015-08-30.
    #[test]
    fn the_documented_example_comes_out() {
        let secret = SecretValue::copy_from(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let scope = Scope {
            date: "20150830",
            region: "us-east-1",
            service: "iam",
        };
        let text = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                    f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let signature = sign(&secret, &scope, text.as_bytes());
        let expected = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert_eq!(HEXLOWER.encode(&signature), expected);
        assert!(verify(&secret, &scope, text.as_bytes(), &signature));
        for bit in 0..256 {
            let mut forged = signature;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&secret, &scope, text.as_bytes(), &forged));
        }
        assert!(!verify(&secret, &scope, text.as_bytes(), &signature[..31]));
        assert!(!verify(&secret, &scope, text.as_bytes(), b""));
    }
}
