//! Which vault, how secrets are named, whom to trust.

use std::time::Duration;

use reqwest::Certificate;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::time::Span;
use strongroom_core::uri::BackendUri;
use strongroom_core::uri::Template;

use crate::credential::Choice;

const OPTIONS: &[&str] = &["name", "credential", "ca", "timeout"];
const TIMEOUT_SECONDS: i64 = 10;
const TIMEOUT_SECONDS_MAX: i64 = 600;
const DOMAIN: &str = "vault.azure.net";

/// Everything that is known before the first request.
pub(crate) struct Settings {
    pub(crate) vault: String,
    pub(crate) endpoint: String,
    pub(crate) is_here: bool,
    pub(crate) prefix: String,
    pub(crate) template: Template,
    pub(crate) credential: Choice,
    pub(crate) timeout: Duration,
    pub(crate) http: reqwest::Client,
}

impl Settings {
    pub(crate) fn load(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        if let Some(option) = uri.unknown_option(OPTIONS) {
            return Err(misconfigured(format!("there is no option `{option}`"))
                .with_hint("azure: knows name, credential, ca and timeout"));
        }
        let path = uri.path().unwrap_or_default();
        let (vault, host, prefix) = match uri.authority() {
            Some(host) => (host.to_owned(), host.to_owned(), path),
            None => {
                let (vault, prefix) = path.split_once('/').unwrap_or((path, ""));
                (vault.to_owned(), format!("{vault}.{DOMAIN}"), prefix)
            }
        };
        let is_vault = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_host = |c: char| is_vault(c) || matches!(c, '.' | ':');
        let is_fine = match uri.authority() {
            Some(host) => !host.is_empty() && host.chars().all(is_host),
            None => !vault.is_empty() && vault.chars().all(is_vault),
        };
        if !is_fine {
            return Err(misconfigured("no vault is named")
                .with_hint("write azure:VAULT, or azure://HOST; az keyvault list shows them"));
        }
        let name = host.split(':').next().unwrap_or_default();
        let is_here = matches!(name, "localhost" | "127.0.0.1");
        let prefix = prefix.trim_matches('/').to_owned();
        let template = match uri.option("name") {
            Some(text) => {
                Template::parse(text).map_err(|error| misconfigured(error.to_string()))?
            }
            None if prefix.is_empty() => Template::default(),
            None => Template::below(&prefix),
        };
        let timeout = timeout(uri)?;
        Ok(Self {
            endpoint: format!("https://{host}"),
            vault,
            is_here,
            prefix,
            template,
            credential: Choice::of(uri, variables)?,
            timeout,
            http: http(uri, timeout)?,
        })
    }
}

/// The connections: TLS always, no redirects, the system's authorities or those of a file.
fn http(uri: &BackendUri, timeout: Duration) -> Result<reqwest::Client, BackendError> {
    let mut builder = reqwest::Client::builder()
        .https_only(true)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(path) = uri.option("ca") {
        let text = std::fs::read(path).map_err(|error| {
            misconfigured(format!("cannot read {path}: {}", error.kind()))
                .with_hint("ca= names a file of certificates in PEM form")
        })?;
        let certificates = Certificate::from_pem_bundle(&text).unwrap_or_default();
        if certificates.is_empty() {
            return Err(misconfigured(format!("{path} holds no certificate"))
                .with_hint("ca= names a file of certificates in PEM form"));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder
        .build()
        .map_err(|_| misconfigured("TLS cannot be set up with the certificates there are"))
}

fn timeout(uri: &BackendUri) -> Result<Duration, BackendError> {
    let Some(text) = uri.option("timeout") else {
        return Ok(Duration::from_secs(TIMEOUT_SECONDS.unsigned_abs()));
    };
    let seconds = text.parse::<Span>().ok().map(Span::as_seconds);
    match seconds {
        Some(seconds @ 1..=TIMEOUT_SECONDS_MAX) => Ok(Duration::from_secs(seconds.unsigned_abs())),
        _ => {
            Err(misconfigured("timeout is a span between 1s and 10m").with_hint("e.g. timeout=30s"))
        }
    }
}

pub(crate) fn misconfigured(message: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Misconfigured, "azure", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str) -> Result<Settings, BackendError> {
        Settings::load(&BackendUri::parse(line).unwrap(), &Variables::default())
    }

    #[test]
    fn a_line_is_taken_apart() {
        let settings = load("azure:shop/team/a?timeout=3s").unwrap();
        assert_eq!(settings.endpoint, "https://shop.vault.azure.net");
        assert_eq!(settings.prefix, "team/a");
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert!(!settings.is_here);
        let settings = load("azure://shop.vault.azure.cn/team").unwrap();
        assert_eq!(settings.endpoint, "https://shop.vault.azure.cn");
        assert_eq!(settings.prefix, "team");
        assert!(load("azure://127.0.0.1:8443").unwrap().is_here);
        assert!(!load("azure://127.0.0.1.evil").unwrap().is_here);
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        for line in [
            "azure:",
            "azure:a.b",
            "azure:a@b",
            "azure://",
            "azure://a@b",
            "azure:v?x=1",
            "azure:v?timeout=0s",
            "azure:v?name=x",
            "azure:v?credential=magic",
            "azure:v?ca=/no/such/file",
        ] {
            let error = load(line).map(|_| ()).unwrap_err();
            assert_eq!(error.kind, BackendErrorKind::Misconfigured, "{line}");
        }
    }
}
