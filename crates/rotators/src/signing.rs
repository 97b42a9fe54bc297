//! Keys that tokens are signed with, and the key sets that others check them by.
//!
//! The secret is a JSON object: `kid`, `alg`, and `private_key` (PEM) or, for HMAC, `secret`
//! (base64url). Who signs reads the current version; who checks reads the key set, which also has
//! the key that waits and those before, until their last tokens have expired.

use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::rotator::SigningKey;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_crypto::signing::Algorithm;
use strongroom_crypto::signing::PublicKey;
use strongroom_crypto::signing::SigningError;
use strongroom_engine::object::Object;
use strongroom_engine::tokens::random_text;

use crate::Needs;
use crate::pem;
use crate::unusable;

const KEY_ID: &str = "kid";
const ALGORITHM: &str = "alg";
const PRIVATE_KEY: &str = "private_key";
const SECRET: &str = "secret";
/// How long tokens live unless somebody says.
const TOKEN_TTL: &str = "24h";
/// Characters of the id of a key that has no public half.
const ID_CHARS: usize = 22;

/// The rotator.
pub(crate) struct Signing {
    algorithm: Algorithm,
    needs: Needs,
}

/// What is wrong with a declaration.
pub(crate) fn check(spec: &SigningKey) -> Result<Algorithm, String> {
    token_ttl(spec)?;
    Algorithm::parse(&spec.algorithm)
        .ok_or_else(|| "`algorithm` is one of RS256, EdDSA and HS256".to_owned())
}

/// How long the tokens of a key live, and so its public half after it was rotated out.
///
/// # Errors
/// When it is no time.
pub fn token_ttl(spec: &SigningKey) -> Result<Span, String> {
    let text = spec.token_ttl.as_deref().unwrap_or(TOKEN_TTL);
    let parsed = text.parse::<Span>();
    parsed.map_err(|error| format!("`token_ttl`: {error}"))
}

/// The public half of a secret that this rotator has made; `None` for all others, and for keys
/// that have none.
#[must_use]
pub fn public_key(payload: &Payload) -> Option<PublicKey> {
    let (algorithm, private) = read(&Object::read(&payload.value)?)?;
    algorithm.public_of(&private).ok()?
}

impl Signing {
    pub(crate) fn new(spec: &SigningKey, needs: Needs) -> Result<Self, RotatorError> {
        let algorithm = check(spec).map_err(unusable)?;
        Ok(Self { algorithm, needs })
    }

    fn create(&self, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
        let algorithm = self.algorithm;
        let private = algorithm.generate().map_err(of_signing)?;
        let public = algorithm.public_of(&private).map_err(of_signing)?;
        let id = match &public {
            Some(public) => public.id(),
            None => random_text(&*self.needs.rng, ID_CHARS),
        };
        // What else stands in the secret stays.
        let current = call
            .current
            .and_then(|current| Object::read(&current.value));
        let mut object = current.unwrap_or_default();
        let word = SecretValue::copy_from(algorithm.word().as_bytes());
        let (name, other, written) = match public {
            Some(_) => (PRIVATE_KEY, SECRET, pem::private_key(&private)),
            None => (SECRET, PRIVATE_KEY, base64url(&private)),
        };
        object.remove(other);
        let is_set = object.set(KEY_ID, &SecretValue::from_text(id))
            && object.set(ALGORITHM, &word)
            && object.set(name, &written);
        match is_set {
            true => Ok(object.payload()),
            false => Err(of_signing(SigningError::NotMade)),
        }
    }
}

/// Signs as whoever makes tokens does, and checks it as others do: by the public half alone.
fn test(call: &StepCall<'_>) -> Result<(), RotatorError> {
    let pending = call
        .pending
        .and_then(|pending| Object::read(&pending.value));
    let key = pending.as_ref().and_then(read);
    let (algorithm, private) = key.ok_or_else(|| of_signing(SigningError::NoKey))?;
    let message = call.token.as_bytes();
    let signature = algorithm.sign(&private, message).map_err(of_signing)?;
    let is_right = match algorithm.public_of(&private).map_err(of_signing)? {
        Some(public) => public.verifies(message, &signature),
        None => Algorithm::verifies_mac(&private, message, &signature),
    };
    match is_right {
        true => Ok(()),
        false => Err(of_signing(SigningError::NoKey)),
    }
}

impl Rotator for Signing {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        let done = match call.step {
            Step::Create => self.create(call).map(Some),
            Step::Test => test(call).map(|()| None),
            // The key set has the new key from the first step on.
            Step::Set | Step::Finish => Ok(None),
        };
        Box::pin(std::future::ready(done))
    }
}

fn read(object: &Object) -> Option<(Algorithm, SecretValue)> {
    let word = object.text(ALGORITHM)?;
    // EXPOSE: the name of an algorithm is no secret.
    let algorithm = Algorithm::parse(word.expose_secret_text()?)?;
    let private = match algorithm {
        Algorithm::Hs256 => {
            let text = object.text(SECRET)?;
            // EXPOSE: its bytes become the key.
            SecretValue::new(BASE64URL_NOPAD.decode(text.expose_secret()).ok()?)
        }
        Algorithm::Rs256 | Algorithm::EdDsa => {
            let text = object.text(PRIVATE_KEY)?;
            // EXPOSE: its bytes become the key.
            let der = PrivatePkcs8KeyDer::from_pem_slice(text.expose_secret()).ok()?;
            SecretValue::copy_from(der.secret_pkcs8_der())
        }
    };
    Some((algorithm, private))
}

fn base64url(private: &SecretValue) -> SecretValue {
    // EXPOSE: written in another form into the new secret.
    pem::encoded(private.expose_secret(), &BASE64URL_NOPAD)
}

fn of_signing(error: SigningError) -> RotatorError {
    RotatorError::new("rotation.no_key", error.to_string())
}
