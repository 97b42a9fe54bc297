//! Making a certificate (RFC 5280) and signing it.

use std::sync::Arc;
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;
use strongroom_core::port::RotatorError;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::request::sha256;
use x509_cert::Certificate;
use x509_cert::TbsCertificate;
use x509_cert::Version;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der;
use x509_cert::der::Decode;
use x509_cert::der::Encode;
use x509_cert::der::asn1::Any;
use x509_cert::der::asn1::BitString;
use x509_cert::der::asn1::GeneralizedTime;
use x509_cert::der::asn1::Ia5String;
use x509_cert::der::asn1::OctetString;
use x509_cert::der::asn1::SetOfVec;
use x509_cert::der::asn1::UtcTime;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::oid::db::rfc5280::ID_KP_SERVER_AUTH;
use x509_cert::ext::AsExtension;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::ext::pkix::ExtendedKeyUsage;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::name::RdnSequence;
use x509_cert::name::RelativeDistinguishedName;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;
use x509_cert::time::Validity;

use super::Wanted;
use super::no_value;
use super::pair::Pair;

/// Clocks of clients may be behind.
const BEFORE: Span = Span::from_seconds(-300);
/// Bytes of the id of a key (RFC 7093).
const KEY_ID_BYTES: usize = 20;

/// A certificate that is asked for.
pub(super) struct Asked<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) key: PrivateKeyDer<'a>,
    pub(super) serial: [u8; 16],
    pub(super) now: Timestamp,
}

/// Who signs.
struct Signer {
    name: Name,
    key: Arc<dyn SigningKey>,
    key_id: OctetString,
}

/// How signatures are made, by their name in TLS, and their OID.
const WAYS: [(SignatureScheme, &str); 5] = [
    (
        SignatureScheme::ECDSA_NISTP256_SHA256,
        "1.2.840.10045.4.3.2",
    ),
    (
        SignatureScheme::ECDSA_NISTP384_SHA384,
        "1.2.840.10045.4.3.3",
    ),
    (
        SignatureScheme::ECDSA_NISTP521_SHA512,
        "1.2.840.10045.4.3.4",
    ),
    (SignatureScheme::ED25519, "1.3.101.112"),
    (SignatureScheme::RSA_PKCS1_SHA256, "1.2.840.113549.1.1.11"),
];

/// Makes a certificate, in DER.
pub(super) fn issue(asked: &Asked<'_>, issuer: Option<&Pair>) -> Result<Vec<u8>, RotatorError> {
    let subject = name_of(&asked.wanted.common_name).map_err(of_der)?;
    let key = key_of(&asked.key).ok_or_else(|| no_value("the new key cannot be used"))?;
    let public = public_of(&*key).map_err(of_der)?;
    let key_id = id_of(&public).map_err(of_der)?;
    let validity = validity(asked).map_err(of_der)?;
    let signer = match issuer {
        Some(issuer) => authority(issuer, &validity, asked.now)?,
        None => Signer {
            name: subject.clone(),
            key,
            key_id: key_id.clone(),
        },
    };
    let (scheme, signature) = way_of(&*signer.key)?;
    let extensions = extensions(asked.wanted, &subject, key_id, &signer);
    let body = TbsCertificate {
        version: Version::V3,
        serial_number: serial(asked.serial).map_err(of_der)?,
        signature: signature.clone(),
        issuer: signer.name.clone(),
        validity,
        subject,
        subject_public_key_info: public,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions.map_err(of_der)?),
    };
    let message = body.to_der().map_err(of_der)?;
    let signing = signer.key.choose_scheme(&[scheme]);
    let signing = signing.ok_or_else(|| no_value("the issuer's key does not sign"))?;
    let signed = signing.sign(&message);
    let signed = signed.map_err(|_| no_value("the issuer's key does not sign"))?;
    let certificate = Certificate {
        tbs_certificate: body,
        signature_algorithm: signature,
        signature: BitString::from_bytes(&signed).map_err(of_der)?,
    };
    certificate.to_der().map_err(of_der)
}

/// An authority, which has to be one for as long as the certificate lives.
fn authority(issuer: &Pair, wanted: &Validity, now: Timestamp) -> Result<Signer, RotatorError> {
    let refused = |why: &str| RotatorError::new("rotator.no_issuer", why);
    let certificate = issuer.certificate();
    let certificate = certificate.ok_or_else(|| refused("the issuer's certificate is none"))?;
    let body = certificate.tbs_certificate;
    let key = key_of(&issuer.key).ok_or_else(|| refused("the issuer's key cannot be used"))?;
    let public = public_of(&*key).map_err(of_der)?;
    if public != body.subject_public_key_info {
        return Err(refused("the issuer's key is not that of its certificate"));
    }
    let constraints = body.get::<BasicConstraints>().map_err(of_der)?;
    let usage = body.get::<KeyUsage>().map_err(of_der)?;
    let may_sign = usage.is_none_or(|(_, usage)| usage.key_cert_sign());
    if !constraints.is_some_and(|(_, constraints)| constraints.ca) || !may_sign {
        return Err(refused(
            "the issuer's certificate is not that of an authority (CA)",
        ));
    }
    let ends = body.validity.not_after.to_unix_duration();
    if ends < wanted.not_after.to_unix_duration() {
        let why = match ends < since_1970(now) {
            true => "the issuer's certificate has expired",
            false => {
                "the issuer's certificate expires before the new one would: renew it, or have a \
                 shorter `validity`"
            }
        };
        return Err(RotatorError::new("rotator.issuer_expires", why));
    }
    let known = body.get::<SubjectKeyIdentifier>().map_err(of_der)?;
    let key_id = match known {
        Some((_, SubjectKeyIdentifier(id))) => id,
        None => id_of(&public).map_err(of_der)?,
    };
    Ok(Signer {
        name: body.subject,
        key,
        key_id,
    })
}

fn key_of(der: &PrivateKeyDer<'_>) -> Option<Arc<dyn SigningKey>> {
    any_supported_type(der).ok()
}

fn public_of(key: &dyn SigningKey) -> der::Result<SubjectPublicKeyInfoOwned> {
    let public = key.public_key();
    SubjectPublicKeyInfoOwned::from_der(public.as_deref().unwrap_or_default())
}

fn id_of(public: &SubjectPublicKeyInfoOwned) -> der::Result<OctetString> {
    let digest = sha256(public.subject_public_key.raw_bytes());
    OctetString::new(digest.get(..KEY_ID_BYTES).unwrap_or(&digest))
}

/// How a key signs.
fn way_of(
    key: &dyn SigningKey,
) -> Result<(SignatureScheme, AlgorithmIdentifierOwned), RotatorError> {
    let known = WAYS.iter();
    let mut known = known.filter(|(scheme, _)| key.choose_scheme(&[*scheme]).is_some());
    let (scheme, oid) = known.next().ok_or_else(|| {
        let why = "the issuer's key is of a kind that signs no certificates here";
        RotatorError::new("rotator.no_issuer", why)
    })?;
    let is_rsa = *scheme == SignatureScheme::RSA_PKCS1_SHA256;
    let algorithm = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap(oid),
        parameters: is_rsa.then(Any::null),
    };
    Ok((*scheme, algorithm))
}

fn name_of(common_name: &str) -> der::Result<Name> {
    let attribute = AttributeTypeAndValue {
        oid: COMMON_NAME,
        value: Any::from(Utf8StringRef::new(common_name)?),
    };
    let set = SetOfVec::try_from(vec![attribute])?;
    Ok(RdnSequence(vec![RelativeDistinguishedName(set)]))
}

/// 126 random bits, and never zero.
fn serial(mut bytes: [u8; 16]) -> der::Result<SerialNumber> {
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    SerialNumber::new(&bytes)
}

fn validity(asked: &Asked<'_>) -> der::Result<Validity> {
    Ok(Validity {
        not_before: time(asked.now.plus(BEFORE))?,
        not_after: time(asked.now.plus(asked.wanted.validity))?,
    })
}

fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_micros() / 1_000_000).unwrap_or_default())
}

fn time(at: Timestamp) -> der::Result<Time> {
    let at = since_1970(at);
    match UtcTime::from_unix_duration(at) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => GeneralizedTime::from_unix_duration(at).map(Time::GeneralTime),
    }
}

fn extensions(
    wanted: &Wanted,
    subject: &Name,
    key_id: OctetString,
    signer: &Signer,
) -> der::Result<Vec<Extension>> {
    let mut names = Vec::with_capacity(wanted.dns_names.len() + wanted.ips.len());
    for name in &wanted.dns_names {
        names.push(GeneralName::DnsName(Ia5String::new(name)?));
    }
    names.extend(wanted.ips.iter().map(|ip| GeneralName::from(*ip)));
    let constraints = BasicConstraints {
        ca: false,
        path_len_constraint: None,
    };
    let authority = AuthorityKeyIdentifier {
        key_identifier: Some(signer.key_id.clone()),
        ..AuthorityKeyIdentifier::default()
    };
    Ok(vec![
        constraints.to_extension(subject, &[])?,
        KeyUsage(KeyUsages::DigitalSignature.into()).to_extension(subject, &[])?,
        ExtendedKeyUsage(vec![ID_KP_SERVER_AUTH]).to_extension(subject, &[])?,
        SubjectKeyIdentifier(key_id).to_extension(subject, &[])?,
        authority.to_extension(subject, &[])?,
        SubjectAltName(names).to_extension(subject, &[])?,
    ])
}

fn of_der(error: der::Error) -> RotatorError {
    // It says which kind of thing was wrong where, and quotes no bytes.
    no_value(format!("the certificate cannot be made: {error}"))
}
