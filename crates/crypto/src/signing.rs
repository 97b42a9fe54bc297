//! Keys that an application signs tokens with (JWT), and the public halves that others check them
//! by (JWK, RFC 7517).
//!
//! A key's id is the thumbprint of its public half (RFC 7638), so that it is the same wherever it
//! is computed. Keys of HMAC have no public half, and a random id.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::RsaKeyPair;
use aws_lc_rs::signature::UnparsedPublicKey;
use data_encoding::BASE64URL_NOPAD;
use strongroom_core::secret::SecretValue;

use crate::request::sha256;

/// What tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA of 2048 bits, PKCS #1, SHA-256.
    Rs256,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256: whoever checks a token can make one.
    Hs256,
}

/// Why a key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The library draws none.
    #[error("no key can be made")]
    NotMade,
    /// The bytes are no key of this algorithm.
    #[error("the bytes are no private key of this algorithm")]
    NoKey,
}

/// The public half of a key: the members of its JWK, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    members: Vec<(&'static str, String)>,
    raw: Vec<u8>,
}

impl Algorithm {
    /// By its name in a token.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Rs256, Self::EdDsa, Self::Hs256]
            .into_iter()
            .find(|one| one.word() == word)
    }

    /// Its name in a token.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// A new private key (PKCS #8, DER), or for HMAC 64 random bytes.
    ///
    /// # Errors
    /// `NotMade`.
    pub fn generate(self) -> Result<SecretValue, SigningError> {
        let failed = |_| SigningError::NotMade;
        let random = SystemRandom::new();
        match self {
            Self::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                Ok(SecretValue::copy_from(der.as_ref()))
            }
            Self::EdDsa => {
                let der = Ed25519KeyPair::generate_pkcs8v1(&random).map_err(failed)?;
                Ok(SecretValue::copy_from(der.as_ref()))
            }
            Self::Hs256 => {
                let mut bytes = vec![0; 64];
                aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
                Ok(SecretValue::new(bytes))
            }
        }
    }

    /// The public half of a private key; `None` where there is none.
    ///
    /// # Errors
    /// `NoKey`.
    pub fn public_of(self, private: &SecretValue) -> Result<Option<PublicKey>, SigningError> {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let (members, raw) = match self {
            Self::Hs256 => return Ok(None),
            Self::Rs256 => {
                let pair = rsa(private)?;
                let raw = pair.public_key().as_ref();
                let public = pkcs1::RsaPublicKey::try_from(raw);
                let public = public.map_err(|_| SigningError::NoKey)?;
                let members = vec![
                    ("e", text(public.public_exponent.as_bytes())),
                    ("kty", "RSA".to_owned()),
                    ("n", text(public.modulus.as_bytes())),
                ];
                (members, raw.to_vec())
            }
            Self::EdDsa => {
                let pair = ed25519(private)?;
                let public = pair.public_key().as_ref();
                let members = vec![
                    ("crv", "Ed25519".to_owned()),
                    ("kty", "OKP".to_owned()),
                    ("x", text(public)),
                ];
                (members, public.to_vec())
            }
        };
        Ok(Some(PublicKey {
            algorithm: self,
            members,
            raw,
        }))
    }

    /// Signs a message.
    ///
    /// # Errors
    /// `NoKey`.
    pub fn sign(self, private: &SecretValue, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        match self {
            Self::Rs256 => {
                let pair = rsa(private)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                let padding = &signature::RSA_PKCS1_SHA256;
                let signed = pair.sign(padding, &random, message, &mut signature);
                signed.map_err(|_| SigningError::NoKey)?;
                Ok(signature)
            }
            Self::EdDsa => Ok(ed25519(private)?.sign(message).as_ref().to_vec()),
            Self::Hs256 => Ok(hmac::sign(&mac_key(private), message).as_ref().to_vec()),
        }
    }

    /// Whether a signature under a key of HMAC is right, in constant time.
    #[must_use]
    pub fn verifies_mac(private: &SecretValue, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&mac_key(private), message, signature).is_ok()
    }
}

/// A new private key on the curve P-256 (PKCS #8, DER), for certificates.
///
/// # Errors
/// `NotMade`.
pub fn generate_p256() -> Result<SecretValue, SigningError> {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
    let der = der.map_err(|_| SigningError::NotMade)?;
    Ok(SecretValue::copy_from(der.as_ref()))
}

impl PublicKey {
    /// The members that make the key, by their names.
    #[must_use]
    pub fn members(&self) -> &[(&'static str, String)] {
        &self.members
    }

    /// What it is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its id: the SHA-256 of its members as JSON without spaces, in base64url.
    #[must_use]
    pub fn id(&self) -> String {
        // Neither names nor values hold a letter that JSON would write otherwise.
        let members = self.members.iter();
        let members = members.map(|(name, value)| format!("\"{name}\":\"{value}\""));
        let json = format!("{{{}}}", members.collect::<Vec<String>>().join(","));
        BASE64URL_NOPAD.encode(&sha256(json.as_bytes()))
    }

    /// Whether a signature of a message is right.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let way: &'static dyn signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::EdDsa => &signature::ED25519,
            Algorithm::Hs256 => return false,
        };
        let key = UnparsedPublicKey::new(way, &self.raw);
        key.verify(message, signature).is_ok()
    }
}

fn rsa(private: &SecretValue) -> Result<RsaKeyPair, SigningError> {
    // EXPOSE: becomes a key of the library, which wipes it.
    RsaKeyPair::from_pkcs8(private.expose_secret()).map_err(|_| SigningError::NoKey)
}

fn ed25519(private: &SecretValue) -> Result<Ed25519KeyPair, SigningError> {
    // EXPOSE: becomes a key of the library, which wipes it.
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private.expose_secret());
    pair.map_err(|_| SigningError::NoKey)
}

fn mac_key(private: &SecretValue) -> hmac::Key {
    // EXPOSE: becomes a key of the library.
    hmac::Key::new(hmac::HMAC_SHA256, private.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_verified_by_the_public_half_alone() {
        for algorithm in [Algorithm::Rs256, Algorithm::EdDsa] {
            let private = algorithm.generate().unwrap();
            let public = algorithm.public_of(&private).unwrap().unwrap();
            let signature = algorithm.sign(&private, b"message").unwrap();
            assert!(public.verifies(b"message", &signature));
            assert!(!public.verifies(b"massage", &signature));
            let other = algorithm.generate().unwrap();
            let other = algorithm.public_of(&other).unwrap().unwrap();
            assert!(!other.verifies(b"message", &signature));
            assert_ne!(public.id(), other.id());
            assert_eq!(public.id().len(), 43);
        }
        let private = Algorithm::Hs256.generate().unwrap();
        assert_eq!(Algorithm::Hs256.public_of(&private), Ok(None));
        let signature = Algorithm::Hs256.sign(&private, b"message").unwrap();
        assert!(Algorithm::verifies_mac(&private, b"message", &signature));
        assert!(!Algorithm::verifies_mac(&private, b"massage", &signature));
    }

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        // RFC 8037, appendix A.3.
        let key = PublicKey {
            algorithm: Algorithm::EdDsa,
            members: vec![
                ("crv", "Ed25519".into()),
                ("kty", "OKP".into()),
                ("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into()),
            ],
            raw: Vec::new(),
        };
        assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        for algorithm in [Algorithm::Rs256, Algorithm::EdDsa] {
            let bytes = SecretValue::copy_from(b"no key");
            assert_eq!(algorithm.public_of(&bytes), Err(SigningError::NoKey));
            assert_eq!(algorithm.sign(&bytes, b""), Err(SigningError::NoKey));
        }
        let ed25519 = Algorithm::EdDsa.generate().unwrap();
        assert_eq!(
            Algorithm::Rs256.public_of(&ed25519),
            Err(SigningError::NoKey)
        );
    }
}
