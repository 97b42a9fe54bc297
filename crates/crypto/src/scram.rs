//! What PostgreSQL keeps of a password (RFC 5803 and 7677): SCRAM-SHA-256 with 4096 rounds.
//!
//! The rounds are most of what making a user costs: they are aws-lc's, which is more than twice as
//! fast at them as the driver.

use std::num::NonZeroU32;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use data_encoding::BASE64;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

const ROUNDS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};
const SALT_BYTES: usize = 16;

/// The verifier of a password, with a new salt. `None` for a password with anything but ASCII that
/// can be printed: others have to be normalised first (SASLprep).
#[must_use]
pub fn verifier(password: &SecretValue, rng: &dyn Rng) -> Option<String> {
    let mut salt = [0; SALT_BYTES];
    rng.fill(&mut salt);
    // EXPOSE: hashed with a salt; what comes out opens no session.
    salted(password.expose_secret(), salt)
}

fn salted(password: &[u8], salt: [u8; SALT_BYTES]) -> Option<String> {
    let is_printed = |byte: &u8| (b' '..=b'~').contains(byte);
    if !password.iter().all(is_printed) {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        &salt,
        password,
        &mut *key,
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*key);
    let client = hmac::sign(&key, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    let server = hmac::sign(&key, b"Server Key");
    Some(format!(
        "SCRAM-SHA-256${ROUNDS}:{}${}:{}",
        BASE64.encode(&salt),
        BASE64.encode(stored.as_ref()),
        BASE64.encode(server.as_ref())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password and the salt of RFC 7677, section 3; the proof that the client sends there is
    /// the stored key's, the server's signature the server key's.
    #[test]
    fn the_example_of_the_rfc_is_verified() {
        let salt: [u8; 16] = BASE64
            .decode(b"W22ZaJ0SNY7soEsUEjb6gQ==")
            .unwrap()
            .try_into()
            .unwrap();
        let verifier = salted(b"pencil", salt).unwrap();
        let (head, keys) = verifier.rsplit_once('$').unwrap();
        assert_eq!(head, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==");
        let (stored, server) = keys.split_once(':').unwrap();
        let bytes = |text: &str| BASE64.decode(text.as_bytes()).unwrap();
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server = hmac::Key::new(hmac::HMAC_SHA256, &bytes(server));
        let signature = hmac::sign(&server, message);
        assert_eq!(
            BASE64.encode(signature.as_ref()),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        let stored_key = hmac::Key::new(hmac::HMAC_SHA256, &bytes(stored));
        let signature = hmac::sign(&stored_key, message);
        let proof = bytes("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let client: Vec<u8> = proof
            .iter()
            .zip(signature.as_ref())
            .map(|(one, other)| one ^ other)
            .collect();
        let digest = digest::digest(&digest::SHA256, &client);
        assert_eq!(digest.as_ref(), bytes(stored));
    }

    #[test]
    fn what_would_have_to_be_normalised_is_left_to_others() {
        for password in ["p\u{e4}ssword", "soft\u{ad}hyphen", "tab\t", "\0", "\x7f"] {
            assert_eq!(salted(password.as_bytes(), [1; 16]), None, "{password:?}");
        }
        assert!(salted(b" ~", [1; 16]).is_some());
    }
}
