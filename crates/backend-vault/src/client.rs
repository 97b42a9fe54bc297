//! One HTTP request and its answer: bounded in time, size and number, tried again where that is
//! safe, never followed to another host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::circuit::Circuit;
use strongroom_core::secret::SecretValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;
use zeroize::Zeroizing;

mod failure;
mod reply;
mod request;

use failure::Failure;
pub(crate) use reply::Answer;
pub(crate) use reply::Reply;
pub(crate) use request::Request;
pub(crate) use request::Verb;

use crate::settings::Settings;

/// Requests in flight at once; others wait for their turn.
pub(crate) const IN_FLIGHT_MAX: usize = 16;
/// Longest answer, in bytes: Vault's own bound for a request.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Redirects that are followed, on the same server only.
const REDIRECTS_MAX: u32 = 2;
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

const REQUEST_MARK: HeaderName = HeaderName::from_static("x-vault-request");
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Sends requests to one server.
pub(crate) struct Client {
    http: reqwest::Client,
    settings: Arc<Settings>,
    host: Option<HeaderValue>,
    permits: Semaphore,
    circuit: Circuit<Instant>,
}

impl Client {
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self, BackendError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT_MAX))
            .pool_max_idle_per_host(IN_FLIGHT_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT);
        let mut builder = settings.tls.apply(builder);
        let mut host = None;
        if let Some(name) = &settings.tls.server_name {
            let real = request::authority(&settings.api);
            host = HeaderValue::from_str(&real).ok();
            builder = builder.dns_resolver(request::Renamed::new(name, &settings.api));
        }
        let http = builder.build().map_err(|_| {
            let message = "the TLS settings cannot be used (certificates or keys)";
            BackendError::new(
                BackendErrorKind::Misconfigured,
                settings.label.clone(),
                message,
            )
        })?;
        Ok(Self {
            http,
            settings,
            host,
            permits: Semaphore::new(IN_FLIGHT_MAX),
            circuit: Circuit::default(),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When a call that begins now has to be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.timeout
    }

    pub(crate) fn error(&self, kind: BackendErrorKind, message: impl Into<String>) -> BackendError {
        BackendError::new(kind, self.settings.label.clone(), message)
    }

    /// Sends a request, again where that is safe and useful, until the deadline. Answers of every
    /// status come back but those that mean "later" or "broken".
    pub(crate) async fn send(
        &self,
        request: &Request,
        token: Option<&SecretValue>,
        deadline: Instant,
    ) -> Result<Reply, BackendError> {
        let mut last: Option<Failure> = None;
        let mut attempt = 0;
        loop {
            let pending = self.circuit.begin(Instant::now, self.settings.timeout);
            let pending = match (pending, last) {
                (Ok(pending), _) => pending,
                (Err(_), Some(failure)) => return Err(self.fail(failure)),
                (Err(refusal), None) => {
                    return Err(refusal.into_error(&*self.settings.label, &self.settings.server));
                }
            };
            let tried = match timeout_at(deadline, self.in_turn(request, token)).await {
                Ok(tried) => tried,
                Err(_) => Err(Failure::timeout(&self.settings, request)),
            };
            let failure = match tried {
                Ok(reply) => {
                    pending.answered();
                    return Ok(reply);
                }
                Err(failure) => failure,
            };
            match failure.is_outage {
                true => pending.failed(failure.to_outage()),
                false => pending.answered(),
            }
            let pause = failure.retry_after.unwrap_or_else(|| backoff(attempt));
            let next = Instant::now() + pause;
            let is_again = failure.is_retriable && attempt < self.settings.retries_max;
            if !is_again || next >= deadline {
                return Err(self.fail(failure));
            }
            sleep_until(next).await;
            attempt += 1;
            last = Some(failure);
        }
    }

    fn fail(&self, failure: Failure) -> BackendError {
        let error = self.error(failure.kind, failure.message);
        match failure.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    async fn in_turn(
        &self,
        request: &Request,
        token: Option<&SecretValue>,
    ) -> Result<Reply, Failure> {
        // The semaphore is never closed; if it were, the request would go without a turn.
        let _permit = self.permits.acquire().await;
        let mut url = request.url(&self.settings);
        for _ in 0..=REDIRECTS_MAX {
            let response = self.once(url.clone(), request, token).await?;
            if !response.status().is_redirection() {
                return self.answer(response, request, token).await;
            }
            url = self.redirected(&url, &response)?;
        }
        Err(Failure::redirect_loop(&self.settings))
    }

    async fn once(
        &self,
        url: Url,
        request: &Request,
        token: Option<&SecretValue>,
    ) -> Result<reqwest::Response, Failure> {
        let mut builder = self
            .http
            .request(request.method(), url)
            .header(REQUEST_MARK, HeaderValue::from_static("true"));
        if let Some(host) = &self.host {
            builder = builder.header(reqwest::header::HOST, host.clone());
        }
        if let Some(token) = token {
            // EXPOSE: goes into the request's header, marked as sensitive.
            let header = HeaderValue::from_bytes(token.expose_secret());
            let mut header = header.map_err(|_| Failure::bad_token(&self.settings))?;
            header.set_sensitive(true);
            builder = builder.header(TOKEN, header);
        }
        if let (Some(namespace), false) = (&self.settings.namespace, request.is_of_the_server()) {
            builder = builder.header(NAMESPACE, namespace);
        }
        if let Some((kind, bytes)) = request.body() {
            builder = builder
                .header(reqwest::header::CONTENT_TYPE, kind)
                .body(Bytes::from_owner(bytes));
        }
        let sent = builder.send().await;
        sent.map_err(|error| Failure::transport(&self.settings, request, &error))
    }

    async fn answer(
        &self,
        response: reqwest::Response,
        request: &Request,
        token: Option<&SecretValue>,
    ) -> Result<Reply, Failure> {
        let mut response = response;
        let status = response.status();
        let header = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let date = header(reqwest::header::DATE);
        let retry_after = header(reqwest::header::RETRY_AFTER);
        let body = match collect(&mut response, ANSWER_BYTES_MAX).await {
            Ok(Some(body)) => body,
            Ok(None) => return Err(Failure::too_long(&self.settings)),
            Err(error) => return Err(Failure::transport(&self.settings, request, &error)),
        };
        let reply = Reply::new(status, date, body, token);
        match status.as_u16() {
            412 | 429 => Err(Failure::throttled(
                &self.settings,
                status,
                retry_after.as_deref(),
            )),
            503 if reply.is_sealed() => Err(Failure::sealed(&self.settings)),
            501 => Err(Failure::not_initialised(&self.settings)),
            500.. => Err(Failure::server(&self.settings, request, &reply)),
            _ => Ok(reply),
        }
    }

    /// Where a redirect leads, if that is the same server.
    fn redirected(&self, from: &Url, response: &reqwest::Response) -> Result<Url, Failure> {
        let location = response.headers().get(reqwest::header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let Some(to) = location.and_then(|location| from.join(location).ok()) else {
            return Err(Failure::redirect_loop(&self.settings));
        };
        let keeps_method = matches!(
            response.status(),
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        );
        if to.origin() != from.origin() {
            return Err(Failure::redirect_elsewhere(&self.settings, &to));
        }
        if !keeps_method && response.status() != StatusCode::MOVED_PERMANENTLY {
            return Err(Failure::redirect_loop(&self.settings));
        }
        Ok(to)
    }
}

/// The body; `None` when it is longer than `bytes_max`, without reading on.
async fn collect(
    response: &mut reqwest::Response,
    bytes_max: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, reqwest::Error> {
    let is_over = |length: usize| length > bytes_max;
    let announced = response.content_length().map(usize::try_from);
    if announced.is_some_and(|length| length.map_or(true, is_over)) {
        return Ok(None);
    }
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await? {
        let length = body.len() + chunk.len();
        if is_over(length) {
            return Ok(None);
        }
        if body.capacity() < length {
            // A buffer that grows by itself would leave its old copy unwiped.
            let mut wider = Zeroizing::new(Vec::with_capacity(2 * length));
            wider.extend_from_slice(&body);
            body = wider;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Twice as long each time, spread so that many clients do not come back at once.
fn backoff(attempt: u32) -> Duration {
    use std::hash::BuildHasher;
    let whole = BACKOFF.saturating_mul(1 << attempt.min(8)).min(BACKOFF_MAX);
    let spread = std::hash::RandomState::new().hash_one(attempt) % 512;
    let share = u32::try_from(spread).unwrap_or_default();
    whole / 2 + (whole / 1024).saturating_mul(share)
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get | Verb::List => Self::GET,
            Verb::Post => Self::POST,
            Verb::Patch => Self::PATCH,
            Verb::Delete => Self::DELETE,
        }
    }
}

#[cfg(test)]
mod tests;
