//! Raw primitives, all from aws-lc. Private: everything else goes through `barrier` and `slot`.

use aws_lc_rs::aead;
use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;
use rustix::rand::getrandom;
use strongroom_core::port::Rng;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::key::Key;

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of an authentication tag.
pub(crate) const TAG_BYTES: usize = 16;

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    #[expect(
        clippy::expect_used,
        reason = "without randomness no key may be made; there is no way on"
    )]
    fn fill(&self, buffer: &mut [u8]) {
        // Straight from the kernel: aws-lc's own generator gathers timing jitter first, which
        // takes a process 50 ms before its first byte.
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match getrandom(rest, GetRandomFlags::empty()) {
                Err(Errno::INTR) => {}
                result => filled += result.expect("the system gives randomness"),
            }
        }
    }
}

/// AES-256-GCM-SIV under one key.
pub(crate) struct Aead(aead::LessSafeKey);

/// Opening failed: wrong key, wrong place or changed bytes. Which one cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open")]
pub struct OpenFailed;

impl Aead {
    #[expect(clippy::expect_used, reason = "the key has 32 bytes by its type")]
    pub(crate) fn new(key: &Key) -> Self {
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM_SIV, key.bytes())
            .expect("AES-256-GCM-SIV takes 32-byte keys");
        Self(aead::LessSafeKey::new(unbound))
    }

    /// Appends nonce, ciphertext and tag to `out`.
    #[expect(clippy::expect_used, reason = "sealing fails only over 64 GiB")]
    pub(crate) fn seal(&self, rng: &dyn Rng, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(aad),
                &mut out[start..],
            )
            .expect("the plaintext is under 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens nonce, ciphertext and tag. On failure the buffer is wiped and nothing comes out.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        let (nonce, body) = sealed.split_at_checked(NONCE_BYTES).ok_or(OpenFailed)?;
        if body.len() < TAG_BYTES {
            return Err(OpenFailed);
        }
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenFailed)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        match self
            .0
            .open_in_place(nonce, aead::Aad::from(aad), &mut buffer)
        {
            Ok(plaintext) => {
                let length = plaintext.len();
                buffer.truncate(length);
                Ok(buffer)
            }
            Err(_) => {
                buffer.zeroize();
                Err(OpenFailed)
            }
        }
    }
}

/// HMAC-SHA256 under one key.
pub(crate) struct Mac(hmac::Key);

impl Mac {
    pub(crate) fn new(key: &Key) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.bytes()))
    }

    /// The first 16 bytes of the MAC over the parts, each with a separator that no part holds.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut tag = [0; 16];
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        tag.copy_from_slice(&context.sign().as_ref()[..16]);
        tag
    }

    /// The whole MAC over a purpose, a NUL and the parts.
    pub(crate) fn full(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        for part in parts {
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

/// A key derived from key material by HKDF-SHA256.
pub(crate) fn derive_key(material: &[u8], salt: &[u8], purpose: &str) -> Key {
    struct KeyLength;
    impl hkdf::KeyType for KeyLength {
        fn len(&self) -> usize {
            Key::BYTES
        }
    }
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(material);
    let info = [purpose.as_bytes()];
    Key::fill_with(|bytes| {
        let okm = prk.expand(&info, KeyLength);
        // 32 bytes are far below HKDF's limit of 255 blocks, so neither call can fail.
        if okm.and_then(|okm| okm.fill(bytes)).is_err() {
            unreachable!("HKDF-SHA256 gives 32 bytes")
        }
    })
}

/// SHA-256, for checksums of public bytes only.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_anywhere_does_not_open() {
        let aead = Aead::new(&Key::generate(&SystemRng));
        let mut sealed = Vec::new();
        aead.seal(&SystemRng, b"place", b"value", &mut sealed);
        assert_eq!(aead.open(b"place", &sealed).unwrap().as_slice(), b"value");
        assert_eq!(aead.open(b"elsewhere", &sealed), Err(OpenFailed));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(aead.open(b"place", &damaged), Err(OpenFailed), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(
                aead.open(b"place", &sealed[..length]),
                Err(OpenFailed),
                "length {length}"
            );
        }
    }

    #[test]
    fn equal_values_give_different_bytes() {
        let aead = Aead::new(&Key::generate(&SystemRng));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        aead.seal(&SystemRng, b"", b"value", &mut one);
        aead.seal(&SystemRng, b"", b"value", &mut two);
        assert_ne!(one, two);
    }
}
