//! A certificate and its key as a secret keeps them.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use strongroom_core::port::RotatorError;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;
use strongroom_engine::object::Object;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::no_value;
use crate::pem;

const CERTIFICATE: &str = "certificate";
const PRIVATE_KEY: &str = "private_key";
const CA_CHAIN: &str = "ca_chain";

/// A certificate, those that lead to its authority, and its key.
pub(super) struct Pair {
    /// The certificate itself is the first one.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Pair {
    pub(super) fn read(payload: &Payload) -> Option<Self> {
        let (texts, key) = match Object::read(&payload.value) {
            Some(object) => {
                let texts = [object.text(CERTIFICATE), object.text(CA_CHAIN)];
                let texts: Vec<SecretValue> = texts.into_iter().flatten().collect();
                (texts, object.text(PRIVATE_KEY)?)
            }
            None => (vec![payload.value.clone()], payload.value.clone()),
        };
        let mut certificates = Vec::new();
        for text in texts {
            // EXPOSE: read for its certificates, which are public.
            for certificate in CertificateDer::pem_slice_iter(text.expose_secret()) {
                certificates.push(certificate.ok()?);
            }
        }
        // EXPOSE: its bytes become the key.
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret()).ok()?;
        (!certificates.is_empty()).then_some(Self { certificates, key })
    }

    /// The certificate, read.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        Certificate::from_der(self.certificates.first()?).ok()
    }

    pub(super) fn expires(&self) -> Option<Timestamp> {
        let validity = self.certificate()?.tbs_certificate.validity;
        let micros = validity.not_after.to_unix_duration().as_micros();
        i64::try_from(micros).ok().map(Timestamp::from_micros)
    }
}

/// A private key (PKCS #8) of ours.
pub(super) fn key_of(private: &SecretValue) -> PrivateKeyDer<'_> {
    // EXPOSE: becomes a key of the library.
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(private.expose_secret()))
}

/// The new value, in the form of the current one.
pub(super) fn write(
    current: Option<&Payload>,
    certificate: &[u8],
    chain: &[CertificateDer<'static>],
    private: &SecretValue,
) -> Result<Payload, RotatorError> {
    let certificate = pem::block("CERTIFICATE", certificate);
    let mut authorities = Vec::new();
    for der in chain {
        // EXPOSE: certificates are public.
        authorities.extend_from_slice(pem::block("CERTIFICATE", der).expose_secret());
    }
    let private = pem::private_key(private);
    let is_text = current
        .is_some_and(|current| current.shape == Shape::Text && Pair::read(current).is_some());
    if is_text {
        // EXPOSE: go into the new secret, one behind the other.
        let (public, private) = (certificate.expose_secret(), private.expose_secret());
        return Ok(Payload {
            value: SecretValue::new([public, &authorities, private].concat()),
            shape: Shape::Text,
        });
    }
    // What else stands in the secret stays.
    let object = current.and_then(|current| Object::read(&current.value));
    let mut object = object.unwrap_or_default();
    let mut is_set = object.set(CERTIFICATE, &certificate) && object.set(PRIVATE_KEY, &private);
    match authorities.is_empty() {
        true => object.remove(CA_CHAIN),
        false => is_set &= object.set(CA_CHAIN, &SecretValue::new(authorities)),
    }
    match is_set {
        true => Ok(object.payload()),
        false => Err(no_value("the certificate cannot be written")),
    }
}
