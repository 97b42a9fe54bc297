//! Requests that got no useful answer: what happened, and what to do about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::Url;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::circuit::Outage;

use super::Reply;
use super::Request;
use crate::explain::quote;
use crate::settings::Settings;

/// A failure on its way to an error.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: BackendErrorKind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// Sending it again is safe and may help.
    pub(super) is_retriable: bool,
    /// The server is not of use now; counted by the circuit.
    pub(super) is_outage: bool,
}

impl Failure {
    fn new(kind: BackendErrorKind, message: String, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message,
            hint: Some(hint.into()),
            retry_after: None,
            is_retriable: false,
            is_outage: false,
        }
    }

    fn outage(settings: &Settings, message: String) -> Self {
        let hint = format!(
            "is {} right, and is the server up? {} asks it",
            settings.server_from,
            settings.command("status")
        );
        Self {
            is_outage: true,
            ..Self::new(BackendErrorKind::Unreachable, message, hint)
        }
    }

    pub(super) fn timeout(settings: &Settings, request: &Request) -> Self {
        let (server, limit) = (&settings.server, settings.timeout);
        let message = format!("{server} did not answer within {limit:?}");
        Self::outage(settings, message).after_write(request)
    }

    /// As the circuit keeps it.
    pub(super) fn to_outage(&self) -> Outage {
        Outage {
            kind: self.kind,
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }

    /// Says that a write may have happened, where that is so.
    fn after_write(mut self, request: &Request) -> Self {
        if request.is_write() {
            self.message
                .push_str("; what was to be written may have been written");
        }
        self
    }

    pub(super) fn transport(
        settings: &Settings,
        request: &Request,
        error: &reqwest::Error,
    ) -> Self {
        let server = &settings.server;
        let causes = Causes::of(error);
        if causes.has("certificate") {
            let message = format!("the certificate of {server} is not trusted{}", causes.tls());
            return Self::new(
                BackendErrorKind::Unreachable,
                message,
                settings.named(
                    "name its authority with VAULT_CACERT=FILE or ca_file=FILE; if it is made for \
                     another name, set VAULT_TLS_SERVER_NAME",
                ),
            );
        }
        if causes.has("InvalidContentType") {
            let message = format!("{server} does not speak TLS");
            let hint = "write its URL with http://, or add tls=false to the address";
            return Self::new(BackendErrorKind::Unreachable, message, hint);
        }
        if error.is_connect() {
            let reason = match causes.io {
                _ if causes.has("dns error") => ": its name is not known".to_owned(),
                Some(io::ErrorKind::ConnectionRefused) => ": connection refused".to_owned(),
                Some(kind) => format!(": {kind}"),
                None if error.is_timeout() => ": no answer in time".to_owned(),
                None => String::new(),
            };
            let failure = Self::outage(settings, format!("cannot connect to {server}{reason}"));
            return Self {
                is_retriable: !causes.has("dns error"),
                ..failure
            };
        }
        let message = format!("{server} broke off in the middle of an answer");
        let failure = Self::outage(settings, message).after_write(request);
        Self {
            is_retriable: request.is_read(),
            ..failure
        }
    }

    pub(super) fn throttled(
        settings: &Settings,
        status: StatusCode,
        retry_after: Option<&str>,
    ) -> Self {
        let server = &settings.server;
        let message = match status.as_u16() {
            412 => format!("{server} has not caught up with the active node yet (412)"),
            _ => format!("{server} asks for fewer requests (429)"),
        };
        let hint = "try again later, or ask its operator for a higher rate limit";
        let seconds = retry_after.and_then(|text| text.trim().parse().ok());
        Self {
            retry_after: seconds.map(Duration::from_secs),
            is_retriable: true,
            ..Self::new(BackendErrorKind::Throttled, message, hint)
        }
    }

    pub(super) fn sealed(settings: &Settings) -> Self {
        let message = format!("{} is sealed", settings.server);
        let hint = format!(
            "its operators have to unseal it ({}); {} shows how far they are",
            settings.command("operator unseal"),
            settings.command("status")
        );
        Self::new(BackendErrorKind::Sealed, message, hint)
    }

    pub(super) fn not_initialised(settings: &Settings) -> Self {
        let message = format!("{} is not initialised", settings.server);
        let hint = format!(
            "its operators have to run {}, or this is the wrong server",
            settings.command("operator init")
        );
        Self::new(BackendErrorKind::Sealed, message, hint)
    }

    pub(super) fn server(settings: &Settings, request: &Request, reply: &Reply) -> Self {
        let status = reply.status.as_u16();
        let message = format!(
            "{} failed ({status}{})",
            settings.server,
            quote(request, reply)
        );
        // Only 503 is sure to have done nothing.
        let is_retriable = request.is_read() || status == 503;
        let failure = Self::outage(settings, message);
        let failure = if is_retriable {
            failure
        } else {
            failure.after_write(request)
        };
        Self {
            hint: Some("look into the server's log".into()),
            is_retriable,
            ..failure
        }
    }

    pub(super) fn too_long(settings: &Settings) -> Self {
        let message = format!("{} sent an answer of over 32 MiB", settings.server);
        let hint = format!("does {} name a Vault server?", settings.server_from);
        Self::new(BackendErrorKind::Malformed, message, hint)
    }

    pub(super) fn bad_token(settings: &Settings) -> Self {
        let message = "the token has a character that no token has".to_owned();
        Self::new(
            BackendErrorKind::Misconfigured,
            message,
            settings.named("set VAULT_TOKEN to the token alone, without quotes or line ends"),
        )
    }

    pub(super) fn redirect_loop(settings: &Settings) -> Self {
        let message = format!("{} redirects without end", settings.server);
        let hint = format!("does {} name a Vault server?", settings.server_from);
        Self::new(BackendErrorKind::Misconfigured, message, hint)
    }

    pub(super) fn redirect_elsewhere(settings: &Settings, to: &Url) -> Self {
        let host = to.host_str().unwrap_or("another host");
        let message = format!(
            "{} sends to another server (`{host}`), and a token is not taken there",
            settings.server
        );
        let hint = format!(
            "set {} to the active node, or to a load balancer that knows it",
            settings.server_from
        );
        Self::new(BackendErrorKind::Misconfigured, message, hint)
    }
}

/// What lies under an error of the HTTP library, without its texts where they may quote a URL.
struct Causes {
    texts: Vec<String>,
    io: Option<io::ErrorKind>,
}

impl Causes {
    fn of(error: &reqwest::Error) -> Self {
        let mut texts = Vec::new();
        let mut kind = None;
        let mut cause = error.source();
        while let Some(error) = cause {
            texts.push(error.to_string());
            if let Some(error) = error.downcast_ref::<io::Error>() {
                kind = Some(error.kind());
                // An error that an `io::Error` wraps is no source of it, but its own words.
                texts.extend(error.get_ref().map(ToString::to_string));
            }
            cause = error.source();
        }
        Self { texts, io: kind }
    }

    fn has(&self, word: &str) -> bool {
        self.texts.iter().any(|text| text.contains(word))
    }

    /// What the TLS library says of the certificate.
    fn tls(&self) -> String {
        let said = self.texts.iter().rev().find_map(|text| {
            let (_, reason) = text.split_once("invalid peer certificate: ")?;
            Some(reason.chars().take(200).collect::<String>())
        });
        said.map(|reason| format!(" ({reason})"))
            .unwrap_or_default()
    }
}
