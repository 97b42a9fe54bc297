//! Signatures of requests (AWS Signature Version 4): in the `Authorization` header, or in the
//! query of an address that was signed in advance.
//!
//! What is signed: method, path, query, the named headers and the body. The server asks for more
//! than the scheme does: `host` and every `x-amz-` header that came have to be among the named
//! ones, so that nobody on the way can put one in or change it.

use std::fmt::Write;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use http::Method;
use http::header;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::request;
use strongroom_crypto::request::Scope;
use strongroom_crypto::request::SigningKey;

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far clocks may be apart.
const SKEW: Span = Span::from_seconds(5 * 60);
/// An address that was signed in advance holds at most so long.
const PRESIGNED_SECONDS_MAX: i64 = 7 * 24 * 3600;
/// Longest field of a signature that is looked at.
const FIELD_BYTES_MAX: usize = 4096;
/// Most headers that are signed.
const SIGNED_MAX: usize = 100;
/// Most fields of a query.
const QUERY_MAX: usize = 256;

/// A request, as far as it is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    /// The query as it came.
    pub(super) query: Option<&'a str>,
    /// The host in the request line, where there is one.
    pub(super) authority: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none.
    Missing,
    /// It is not complete, or not of this form.
    Incomplete(String),
    /// It is for something else, or not for this time.
    Unfit(String),
    /// It does not fit the request.
    Wrong,
}

/// What a request claims by its signature, before that is verified.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) key_id: String,
    pub(super) region: String,
    pub(super) service: String,
    /// Of a session.
    pub(super) session_token: Option<SecretValue>,
    form: Form,
    /// The time as it is written, and which that is.
    stamp: String,
    at: Timestamp,
    signed: Vec<String>,
    signature: [u8; 32],
}

/// The key that requests of a secret were last signed with: it is the same for a day, a region
/// and a service.
#[derive(Default)]
pub(super) struct SigningKeys(ArcSwapOption<(String, SigningKey)>);

impl SigningKeys {
    fn of(&self, secret: &SecretValue, scope: &Scope<'_>) -> Arc<(String, SigningKey)> {
        let name = format!("{}/{}/{}", scope.date, scope.region, scope.service);
        if let Some(known) = self.0.load_full().filter(|known| known.0 == name) {
            return known;
        }
        let key = Arc::new((name, SigningKey::new(secret, scope)));
        self.0.store(Some(Arc::clone(&key)));
        key
    }
}

/// The verification of signatures alone, with one key: for measuring it.
pub struct Verifier {
    secret: SecretValue,
    service: String,
    keys: SigningKeys,
}

impl Verifier {
    /// For requests to a service that are signed with this key.
    #[must_use]
    pub fn new(secret: SecretValue, service: &str) -> Self {
        Self {
            secret,
            service: service.to_owned(),
            keys: SigningKeys::default(),
        }
    }

    /// Whether a request is signed for this moment, exactly as the server decides it.
    #[must_use]
    pub fn fits(&self, parts: &http::request::Parts, body: &[u8], now: Timestamp) -> bool {
        let signed = Signed {
            method: &parts.method,
            query: parts.uri.query(),
            authority: parts.uri.authority().map(http::uri::Authority::as_str),
            headers: &parts.headers,
            body,
        };
        let checked = Claim::read(&signed).and_then(|claim| {
            claim.check(&self.service, now)?;
            claim.verify(&signed, &self.secret, &self.keys)
        });
        checked.is_ok()
    }
}

/// Where the signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Header,
    /// In the query; how long it holds.
    Query {
        seconds: i64,
    },
}

impl Claim {
    /// Reads what is claimed.
    pub(super) fn read(request: &Signed<'_>) -> Result<Self, Refusal> {
        let query = pairs(request.query)?;
        let in_query = query.iter().any(|(name, _)| name == "X-Amz-Algorithm");
        match (request.headers.get(header::AUTHORIZATION), in_query) {
            (Some(_), true) => Err(incomplete(
                "the request has a signature in its header and one in its query",
            )),
            (Some(value), false) => Self::of_header(request.headers, value.as_bytes()),
            (None, true) => Self::of_query(&query),
            (None, false) => Err(Refusal::Missing),
        }
    }

    fn of_header(headers: &HeaderMap, value: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(value).ok();
        let text = text.filter(|text| text.len() <= FIELD_BYTES_MAX);
        let Some((algorithm, fields)) = text.and_then(|text| text.split_once(' ')) else {
            return Err(incomplete(
                "Authorization header requires 'Credential' parameter.",
            ));
        };
        if algorithm != ALGORITHM {
            return Err(incomplete("Unsupported AWS 'algorithm'."));
        }
        let field = |name: &str| {
            let mut fields = fields.split(',').map(str::trim);
            let found = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| {
                incomplete(&format!(
                    "Authorization header requires '{name}' parameter."
                ))
            })
        };
        let stamp = text_of(headers, "x-amz-date").ok_or_else(|| {
            incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
        })?;
        let session = headers.get("x-amz-security-token");
        let session = session.map(|token| SecretValue::copy_from(token.as_bytes()));
        let parts = Parts {
            credential: field("Credential")?,
            signed: field("SignedHeaders")?,
            signature: field("Signature")?,
            stamp,
        };
        parts.claim(Form::Header, session)
    }

    fn of_query(query: &[(String, String)]) -> Result<Self, Refusal> {
        let field = |name: &str| {
            let mut values = query.iter().filter(|(known, _)| known == name);
            let found = values.next().map(|(_, value)| value.as_str());
            match values.next() {
                None => found.ok_or_else(|| {
                    incomplete(&format!(
                        "AWS query-string parameters must include '{name}'."
                    ))
                }),
                Some(_) => Err(incomplete(&format!("'{name}' stands there twice."))),
            }
        };
        if field("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete("Unsupported AWS 'algorithm'."));
        }
        let seconds = field("X-Amz-Expires")?.parse::<i64>().ok();
        let seconds = seconds.filter(|seconds| (1..=PRESIGNED_SECONDS_MAX).contains(seconds));
        let seconds = seconds
            .ok_or_else(|| incomplete("X-Amz-Expires has to be between 1 and 604800 seconds."))?;
        let session = field("X-Amz-Security-Token").ok();
        let session = session.map(|token| SecretValue::copy_from(token.as_bytes()));
        let parts = Parts {
            credential: field("X-Amz-Credential")?,
            signed: field("X-Amz-SignedHeaders")?,
            signature: field("X-Amz-Signature")?,
            stamp: field("X-Amz-Date")?,
        };
        parts.claim(Form::Query { seconds }, session)
    }

    /// Whether it is for this service and this time. Nothing of it is verified yet.
    pub(super) fn check(&self, service: &str, now: Timestamp) -> Result<(), Refusal> {
        if self.service != service {
            return Err(Refusal::Unfit(format!(
                "Credential should be scoped to correct service: '{service}'. "
            )));
        }
        let (end, span) = match self.form {
            Form::Header => (self.at.plus(SKEW), SKEW),
            Form::Query { seconds } => {
                let span = Span::from_seconds(seconds);
                (self.at.plus(span), span)
            }
        };
        if now > end {
            return Err(Refusal::Unfit(format!(
                "Signature expired: {} is now earlier than {} ({} - {} min.)",
                self.stamp,
                stamp_of(now.plus(Span::from_seconds(-span.as_seconds()))),
                stamp_of(now),
                (span.as_seconds() + 59) / 60,
            )));
        }
        if self.at > now.plus(SKEW) {
            return Err(Refusal::Unfit(format!(
                "Signature not yet current: {} is still later than {} ({} + 5 min.)",
                self.stamp,
                stamp_of(now.plus(SKEW)),
                stamp_of(now),
            )));
        }
        Ok(())
    }

    /// Verifies the signature, in constant time.
    pub(super) fn verify(
        &self,
        request: &Signed<'_>,
        secret: &SecretValue,
        keys: &SigningKeys,
    ) -> Result<(), Refusal> {
        let canonical = self.canonical(request)?;
        let date = self.stamp.get(..8).unwrap_or_default();
        let mut text = format!(
            "{ALGORITHM}\n{}\n{date}/{}/{}/aws4_request\n",
            self.stamp, self.region, self.service
        );
        push_hex(&mut text, &request::sha256(&canonical));
        let scope = Scope {
            date,
            region: &self.region,
            service: &self.service,
        };
        let key = keys.of(secret, &scope);
        match key.1.verifies(text.as_bytes(), &self.signature) {
            true => Ok(()),
            false => Err(Refusal::Wrong),
        }
    }

    /// The request as it is signed.
    fn canonical(&self, request: &Signed<'_>) -> Result<Vec<u8>, Refusal> {
        let mut text = Vec::with_capacity(1024);
        text.extend_from_slice(request.method.as_str().as_bytes());
        // Nothing but the root is served here.
        text.extend_from_slice(b"\n/\n");
        text.extend_from_slice(canonical_query(&pairs(request.query)?).as_bytes());
        text.push(b'\n');
        for name in &self.signed {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            push_values(&mut text, request, name)?;
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(self.signed.join(";").as_bytes());
        text.push(b'\n');
        let mut sum = String::with_capacity(64);
        push_hex(&mut sum, &request::sha256(request.body));
        let claimed = request.headers.get("x-amz-content-sha256");
        if claimed.is_some_and(|claimed| claimed.as_bytes() != sum.as_bytes()) {
            return Err(Refusal::Wrong);
        }
        text.extend_from_slice(sum.as_bytes());
        self.check_headers(request)?;
        Ok(text)
    }

    /// Refuses headers that should have been signed.
    fn check_headers(&self, request: &Signed<'_>) -> Result<(), Refusal> {
        let is_signed = |name: &str| self.signed.iter().any(|signed| signed == name);
        if !is_signed("host") {
            return Err(Refusal::Unfit(
                "'Host' must be a 'SignedHeader' in the AWS Authorization.".into(),
            ));
        }
        for name in request.headers.keys() {
            let name = name.as_str();
            if name.starts_with("x-amz-") && !is_signed(name) {
                return Err(Refusal::Unfit(format!(
                    "'{name}' must be a 'SignedHeader' in the AWS Authorization."
                )));
            }
        }
        Ok(())
    }
}

/// The fields of a signature as they are written.
struct Parts<'a> {
    credential: &'a str,
    signed: &'a str,
    signature: &'a str,
    stamp: &'a str,
}

impl Parts<'_> {
    fn claim(self, form: Form, session_token: Option<SecretValue>) -> Result<Claim, Refusal> {
        let mut scope = self.credential.rsplitn(5, '/');
        let mut next = || scope.next().filter(|part| !part.is_empty());
        let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(key_id)) =
            (next(), next(), next(), next(), next())
        else {
            return Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/term",
            ));
        };
        let is_word = |text: &str| {
            text.len() <= 128
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !is_word(region) || !is_word(service) || !is_word(key_id) {
            return Err(incomplete("the credential is malformed"));
        }
        let at = parse_stamp(self.stamp)
            .ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format'."))?;
        if self.stamp.get(..8) != Some(date) {
            return Err(Refusal::Unfit(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP"
                    .into(),
            ));
        }
        let signed: Vec<String> = self.signed.split(';').map(str::to_owned).collect();
        let is_name = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|byte| {
                    byte.is_ascii_lowercase()
                        || byte.is_ascii_digit()
                        || byte == b'-'
                        || byte == b'_'
                })
        };
        let is_sorted = signed.is_sorted_by(|a, b| a < b);
        if signed.len() > SIGNED_MAX || !is_sorted || !signed.iter().all(is_name) {
            return Err(incomplete("the list of signed headers is malformed"));
        }
        let mut signature = [0; 32];
        let decoded = data_encoding::HEXLOWER
            .decode(self.signature.as_bytes())
            .ok();
        match decoded.as_deref().map(<[u8; 32]>::try_from) {
            Some(Ok(bytes)) => signature = bytes,
            // Some length or letter of it is wrong: it is no signature of anything.
            _ => signature.fill(0),
        }
        Ok(Claim {
            key_id: key_id.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            session_token,
            form,
            stamp: self.stamp.to_owned(),
            at,
            signed,
            signature,
        })
    }
}

fn incomplete(text: &str) -> Refusal {
    Refusal::Incomplete(text.to_owned())
}

/// A header that stands there once.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(text)
}

/// A header's values as they are signed: without spaces round them, runs of spaces as one.
fn push_values(text: &mut Vec<u8>, request: &Signed<'_>, name: &str) -> Result<(), Refusal> {
    let mut is_first = true;
    for value in request.headers.get_all(name) {
        if !std::mem::take(&mut is_first) {
            text.push(b',');
        }
        let words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t'));
        let mut words = words.filter(|word| !word.is_empty());
        if let Some(word) = words.next() {
            text.extend_from_slice(word);
        }
        for word in words {
            text.push(b' ');
            text.extend_from_slice(word);
        }
    }
    match (is_first, name, request.authority) {
        (false, ..) => Ok(()),
        (true, "host", Some(authority)) => {
            text.extend_from_slice(authority.as_bytes());
            Ok(())
        }
        // A header that is signed and did not come.
        (true, ..) => Err(Refusal::Wrong),
    }
}

/// Names and values of a query, decoded.
fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, Refusal> {
    let fields = query.unwrap_or_default().split('&');
    let mut pairs = Vec::new();
    for field in fields.filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            return Err(incomplete("the query is malformed"));
        };
        pairs.push((name, value));
        if pairs.len() > QUERY_MAX {
            return Err(incomplete("the query has too many fields"));
        }
    }
    Ok(pairs)
}

fn canonical_query(pairs: &[(String, String)]) -> String {
    let fields = pairs.iter().filter(|(name, _)| name != "X-Amz-Signature");
    let mut fields: Vec<(String, String)> = fields
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    fields.sort_unstable();
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&name);
        text.push('=');
        text.push_str(&value);
    }
    text
}

/// Everything but the unreserved letters of RFC 3986 as `%XX`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || u8::try_from(char::from(rest.next()?).to_digit(16)?).ok();
        let (high, low) = (digit()?, digit()?);
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).ok()
}

/// `20260131T235959Z`.
fn parse_stamp(text: &str) -> Option<Timestamp> {
    let is_shaped = text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !is_shaped {
        return None;
    }
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_micros(time.timestamp().as_microsecond()))
}

fn stamp_of(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        crate::core::push_hex(text, *byte);
    }
}

#[cfg(test)]
mod tests;
