//! An authority for one test, and a certificate of its.

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;

/// What a server with TLS needs, and what its clients trust; all in PEM.
pub struct Certificates {
    /// Signed the other one.
    pub authority: String,
    /// The server's.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Certificates {
    /// For a host of this name, or this address.
    ///
    /// # Panics
    /// When the name is none.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a test cannot go on without its certificates"
    )]
    pub fn of(host: &str) -> Self {
        let own_key = KeyPair::generate().expect("a key of the authority");
        let mut params = CertificateParams::default();
        // Without a name of its own it is taken for the certificate that it signs.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&own_key).expect("an authority");
        let issuer = Issuer::new(params, own_key);
        let key = KeyPair::generate().expect("a key of the server");
        let params = CertificateParams::new([host.to_owned()]).expect("the host's name is one");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Self {
            authority: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
