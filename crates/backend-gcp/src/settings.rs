//! Which project, where, how secrets are named.

use std::time::Duration;

use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::time::Span;
use strongroom_core::uri::BackendUri;
use strongroom_core::uri::Template;

const OPTIONS: &[&str] = &["endpoint", "name", "timeout"];
const PROJECT_VARIABLES: &[&str] = &[
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "CLOUDSDK_CORE_PROJECT",
];
const TIMEOUT_SECONDS: i64 = 10;
const TIMEOUT_SECONDS_MAX: i64 = 600;

/// Everything that is known before the first request.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) project: String,
    pub(crate) prefix: String,
    pub(crate) template: Template,
    pub(crate) endpoint: Endpoint,
    pub(crate) timeout: Duration,
}

/// Where requests go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// To Google.
    Default,
    /// Somewhere else, with credentials.
    Secure(String),
    /// To this machine, without TLS and without credentials.
    Plain(String),
}

impl Settings {
    pub(crate) fn load(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        if let Some(option) = uri.unknown_option(OPTIONS) {
            return Err(misconfigured(format!("there is no option `{option}`"))
                .with_hint("gcp: knows endpoint, name and timeout"));
        }
        if uri.authority().is_some() {
            return Err(misconfigured("an endpoint is an option, not a host")
                .with_hint("write gcp:PROJECT?endpoint=https://…"));
        }
        let path = uri.path().unwrap_or_default();
        let (project, prefix) = path.split_once('/').unwrap_or((path, ""));
        let project = Some(project)
            .filter(|project| !project.is_empty())
            .or_else(|| {
                variables
                    .first(PROJECT_VARIABLES)
                    .map(|(_, project)| project)
            });
        let project = project.ok_or_else(|| {
            misconfigured("no project is named")
                .with_hint("write gcp:PROJECT, or set GOOGLE_CLOUD_PROJECT")
        })?;
        if !is_project(project) {
            return Err(misconfigured("this is no id or number of a project")
                .with_hint("gcloud projects list shows them"));
        }
        let prefix = prefix.trim_matches('/').to_owned();
        let template = match uri.option("name") {
            Some(text) => {
                Template::parse(text).map_err(|error| misconfigured(error.to_string()))?
            }
            None if prefix.is_empty() => Template::default(),
            None => Template::below(&prefix),
        };
        Ok(Self {
            project: project.to_owned(),
            prefix,
            template,
            endpoint: endpoint(uri)?,
            timeout: timeout(uri)?,
        })
    }
}

fn endpoint(uri: &BackendUri) -> Result<Endpoint, BackendError> {
    let Some(url) = uri.option("endpoint") else {
        return Ok(Endpoint::Default);
    };
    if url.starts_with("https://") {
        return Ok(Endpoint::Secure(url.to_owned()));
    }
    let host = url.strip_prefix("http://").unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    match name {
        "localhost" | "127.0.0.1" | "[::1]" => Ok(Endpoint::Plain(url.to_owned())),
        _ => Err(misconfigured("an endpoint elsewhere needs TLS")
            .with_hint("write endpoint=https://…; http:// is for 127.0.0.1 only")),
    }
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

/// Ids (some with a domain, `example.com:shop`) and numbers.
fn is_project(text: &str) -> bool {
    let is_taken =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':');
    text.len() <= 100 && text.chars().all(is_taken)
}

fn misconfigured(message: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Misconfigured, "gcp", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str) -> Result<Settings, BackendError> {
        let variables = Variables::new([("CLOUDSDK_CORE_PROJECT", "from-gcloud")]);
        Settings::load(&BackendUri::parse(line).unwrap(), &variables)
    }

    #[test]
    fn a_line_is_taken_apart() {
        let settings = load("gcp:shop-1/team/a?timeout=3s").unwrap();
        assert_eq!(settings.project, "shop-1");
        assert_eq!(settings.prefix, "team/a");
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert_eq!(load("gcp:").unwrap().project, "from-gcloud");
        assert_eq!(load("gcp:/team").unwrap().prefix, "team");
    }

    #[test]
    fn credentials_never_travel_in_the_open() {
        let endpoint = |url: &str| load(&format!("gcp:p?endpoint={url}")).map(|s| s.endpoint);
        for url in [
            "http://127.0.0.1:80",
            "http://localhost",
            "http://[::1]:80/",
        ] {
            assert_eq!(endpoint(url).unwrap(), Endpoint::Plain(url.into()));
        }
        assert!(matches!(endpoint("https://x"), Ok(Endpoint::Secure(_))));
        for url in [
            "http://10.0.0.1",
            "http://localhost.evil",
            "x",
            "http://127.0.0.1@evil",
        ] {
            assert!(endpoint(url).is_err(), "{url}");
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        for line in [
            "gcp:A",
            "gcp:p?x=1",
            "gcp://h/p",
            "gcp:p?timeout=0s",
            "gcp:p?name=x",
        ] {
            let error = load(line).unwrap_err();
            assert_eq!(error.kind, BackendErrorKind::Misconfigured, "{line}");
        }
        let none = Variables::default();
        assert!(Settings::load(&BackendUri::parse("gcp:").unwrap(), &none).is_err());
    }
}
