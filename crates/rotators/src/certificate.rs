//! Certificates of TLS with their keys, made by the store: signed by themselves, or by an authority
//! that is another secret.
//!
//! The secret is a JSON object with `certificate`, `private_key` and, where an authority signs,
//! `ca_chain` (PEM), or one text with all of them, where it was one before. A key is made anew
//! each time. The old certificate is good until it expires, whatever is rotated.

mod issue;
mod pair;
mod trial;

use std::net::IpAddr;

use rustls_pki_types::ServerName;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::rotator::Certificate;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::signing::Algorithm;
use strongroom_crypto::signing::SigningError;
use strongroom_crypto::signing::generate_p256;

use crate::Needs;
use crate::unusable;
use pair::Pair;

/// How long a certificate is good unless somebody says.
const VALIDITY: &str = "90d";
const VALIDITY_SECONDS_MIN: i64 = 3600;
const VALIDITY_SECONDS_MAX: i64 = 3653 * 86_400;
/// Longest common name (RFC 5280, upper bounds).
const NAME_CHARS_MAX: usize = 64;
/// Most names and addresses of one certificate.
const NAMES_MAX: usize = 100;

/// What a key is.
#[derive(Clone, Copy, Debug)]
enum KeyKind {
    P256,
    Rsa,
    Ed25519,
}

impl KeyKind {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "P-256" => Some(Self::P256),
            "RSA" => Some(Self::Rsa),
            "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }

    fn generate(self) -> Result<SecretValue, SigningError> {
        match self {
            Self::P256 => generate_p256(),
            Self::Rsa => Algorithm::Rs256.generate(),
            Self::Ed25519 => Algorithm::EdDsa.generate(),
        }
    }
}

/// Who a certificate is for, and how long.
pub(crate) struct Wanted {
    common_name: String,
    dns_names: Vec<String>,
    ips: Vec<IpAddr>,
    validity: Span,
    key: KeyKind,
}

impl Wanted {
    /// A name that a client may ask for.
    fn a_name(&self) -> Result<ServerName<'static>, String> {
        match (self.dns_names.first(), self.ips.first()) {
            (Some(name), _) => server_name(name),
            (None, Some(ip)) => Ok(ServerName::from(*ip)),
            (None, None) => Err("a certificate names somebody".into()),
        }
    }
}

/// A name as a client would ask for it: something in the place of a star.
fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let asked = match name.strip_prefix("*.") {
        Some(rest) => format!("any.{rest}"),
        None => name.to_owned(),
    };
    match ServerName::try_from(asked) {
        Ok(asked @ ServerName::DnsName(_)) => Ok(asked),
        _ => Err(format!("{name} is no name of a host")),
    }
}

/// How long a certificate is good.
///
/// # Errors
/// In words for who wrote it.
pub fn validity(spec: &Certificate) -> Result<Span, String> {
    let said = spec.validity.as_deref().unwrap_or(VALIDITY);
    let span: Span = said
        .parse()
        .map_err(|error| format!("`validity`: {error}"))?;
    match span.as_seconds() {
        VALIDITY_SECONDS_MIN..=VALIDITY_SECONDS_MAX => Ok(span),
        _ => Err("`validity` is 1h to ten years (3653d)".into()),
    }
}

/// When the certificate of a secret is no longer good; `None` where it has none.
#[must_use]
pub fn expires(payload: &Payload) -> Option<Timestamp> {
    Pair::read(payload)?.expires()
}

/// Reads a declaration; what is wrong with it.
pub(crate) fn check(spec: &Certificate) -> Result<Wanted, String> {
    let common_name = spec.common_name.trim().to_owned();
    let chars = common_name.chars();
    if common_name.is_empty()
        || common_name.chars().count() > NAME_CHARS_MAX
        || chars.into_iter().any(strongroom_core::path::is_forbidden)
    {
        return Err(format!(
            "`common_name` has 1 to {NAME_CHARS_MAX} visible characters"
        ));
    }
    let mut dns_names = spec.dns_names.clone();
    if dns_names.is_empty() && spec.ips.is_empty() {
        dns_names.push(common_name.clone());
    }
    if dns_names.len() + spec.ips.len() > NAMES_MAX {
        return Err(format!("a certificate has at most {NAMES_MAX} names"));
    }
    for name in &dns_names {
        server_name(name).map_err(|why| match spec.dns_names.is_empty() {
            true => format!("`common_name`: {why}, and there are no `dns_names` and no `ips`"),
            false => format!("`dns_names`: {why}"),
        })?;
    }
    let ips = spec.ips.iter().map(|text| text.parse::<IpAddr>());
    let ips = ips.collect::<Result<Vec<IpAddr>, _>>();
    let key = spec.key.as_deref().unwrap_or("P-256");
    Ok(Wanted {
        common_name,
        dns_names,
        ips: ips.map_err(|_| "`ips` are addresses such as 10.0.0.5 and ::1")?,
        validity: validity(spec)?,
        key: KeyKind::parse(key).ok_or("`key` is one of P-256, RSA and Ed25519")?,
    })
}

/// The rotator.
pub(crate) struct Pairs {
    wanted: Wanted,
    issuer: Option<Pair>,
    needs: Needs,
}

impl Pairs {
    pub(crate) fn new(spec: &Certificate, needs: Needs) -> Result<Self, RotatorError> {
        let wanted = check(spec).map_err(unusable)?;
        let issuer = match (&spec.issuer, &needs.admin) {
            (None, _) => None,
            (Some(name), None) => {
                let message = format!("the issuer's secret {name} has no value");
                return Err(RotatorError::new("rotator.no_admin", message));
            }
            (Some(name), Some(payload)) => Some(Pair::read(payload).ok_or_else(|| no_pair(name))?),
        };
        Ok(Self {
            wanted,
            issuer,
            needs,
        })
    }

    fn create(&self, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
        let private = self.wanted.key.generate();
        let private = private.map_err(|error| no_value(error.to_string()))?;
        let mut serial = [0; 16];
        self.needs.rng.fill(&mut serial);
        let asked = issue::Asked {
            wanted: &self.wanted,
            key: pair::key_of(&private),
            serial,
            now: call.now,
        };
        let certificate = issue::issue(&asked, self.issuer.as_ref())?;
        let chain = self.issuer.as_ref().map(|issuer| &*issuer.certificates);
        pair::write(
            call.current,
            &certificate,
            chain.unwrap_or_default(),
            &private,
        )
    }

    fn test(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = call.pending.and_then(Pair::read);
        let pending =
            pending.ok_or_else(|| no_value("the new value has no certificate and key"))?;
        let name = self.wanted.a_name().map_err(unusable)?;
        let trusted = match &self.issuer {
            Some(issuer) => issuer.certificates.last(),
            None => pending.certificates.first(),
        };
        let trusted = trusted.ok_or_else(|| no_value("nobody is trusted"))?;
        trial::shake_hands(&pending, trusted, name, call.now)
    }
}

impl Rotator for Pairs {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        let done = match call.step {
            Step::Create => self.create(call).map(Some),
            Step::Test => self.test(call).map(|()| None),
            // Clients trust the issuer already; who shows the certificate reads the secret.
            Step::Set | Step::Finish => Ok(None),
        };
        Box::pin(std::future::ready(done))
    }
}

fn no_value(message: impl Into<String>) -> RotatorError {
    RotatorError::new("rotation.no_value", message)
}

fn no_pair(name: &str) -> RotatorError {
    let message = format!(
        "the issuer's secret {name} has no certificate and key: a JSON object with the texts \
         `certificate` and `private_key`, or both as one text (PEM)"
    );
    RotatorError::new("rotator.no_issuer", message)
}
