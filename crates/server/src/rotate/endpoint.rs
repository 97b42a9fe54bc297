//! The rotator that sends the events a rotation function of AWS gets to an HTTP endpoint.
//!
//! The event names the secret and the new version, and holds no value: the function reads and
//! writes values through a door, with an access key of its own. Requests are signed with a key
//! that only the endpoint has, so that nobody else can have it act.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::request;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// What a function's failure is told by where the status is 200.
const FUNCTION_ERROR: &str = "x-amz-function-error";

/// An endpoint.
pub(super) struct Endpoint {
    http: reqwest::Client,
    url: Url,
    key: SecretValue,
}

impl Endpoint {
    pub(super) fn new(
        url: &str,
        key: SecretValue,
        timeout_seconds: u32,
        ca: Option<&str>,
    ) -> Result<Self, RotatorError> {
        let unusable = |text: &str| RotatorError::new("rotator.unusable", text);
        let url = super::rotators::parse_url(url).map_err(unusable)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_secs(timeout_seconds.into()));
        if let Some(pem) = ca {
            let found = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
            let found = found.map_err(|_| unusable("the certificates are no PEM"))?;
            builder = builder.tls_certs_only(found);
        }
        let http = builder
            .build()
            .map_err(|_| unusable("the certificates cannot be used"))?;
        Ok(Self { http, url, key })
    }

    async fn send(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let event = serde_json::json!({
            "Step": call.step.word(),
            "SecretId": call.secret,
            "ClientRequestToken": call.token,
        });
        let what = format!("the function failed at {}", call.step);
        self.post(event.to_string(), call.now, &what).await
    }

    /// Sends an event, signed, and looks whether it was taken.
    pub(super) async fn post(
        &self,
        event: String,
        now: Timestamp,
        what: &str,
    ) -> Result<(), RotatorError> {
        let at = now.as_micros().div_euclid(1_000_000).to_string();
        let signed = format!("{at}.{event}");
        let code = request::mac(&self.key, signed.as_bytes());
        let code = data_encoding::HEXLOWER.encode(&code);
        let sent = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("x-strongroom-timestamp", at)
            .header("x-strongroom-signature", format!("v1={code}"))
            .body(Bytes::from(event))
            .send()
            .await;
        let mut response = sent.map_err(|error| self.unreached(&error))?;
        let status = response.status();
        if status.is_redirection() {
            let message = "the endpoint answered with a redirect, which is never followed";
            return Err(RotatorError::new("rotator.redirect", message));
        }
        let has_failed = response.headers().contains_key(FUNCTION_ERROR);
        if !status.is_success() || has_failed {
            // What it says is not told: a function's error may quote a value.
            let message = format!("{what} (status {}): its own log says why", status.as_u16());
            return Err(RotatorError::new("rotator.failed", message));
        }
        let mut length = 0;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.unreached(&error))?
        {
            length += chunk.len();
            if length > ANSWER_BYTES_MAX {
                let message = "the endpoint's answer is over 64 KiB";
                return Err(RotatorError::new("rotator.answer", message));
            }
        }
        Ok(())
    }

    fn unreached(&self, error: &reqwest::Error) -> RotatorError {
        let host = self.url.host_str().unwrap_or_default();
        let what = if error.is_timeout() {
            "did not answer in time"
        } else if error.is_connect() {
            "cannot be reached, or its certificate is not accepted"
        } else {
            "broke the connection"
        };
        RotatorError::new(
            "rotator.unreachable",
            format!("the endpoint at {host} {what}"),
        )
    }
}

impl Rotator for Endpoint {
    fn writer(&self) -> Writer {
        Writer::Rotator
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        Box::pin(async move { self.send(call).await.map(|()| None) })
    }
}
