//! What is asked.

use std::net::SocketAddr;

use reqwest::Method;
use reqwest::Url;
use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::settings::Settings;
use crate::value::wipe;

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    /// `GET` with `list=true`: the verb LIST does not pass every proxy.
    List,
    Post,
    /// A JSON merge patch.
    Patch,
    Delete,
}

/// One request of the API.
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// Below `/v1/`, not escaped.
    pub(crate) path: String,
    query: Option<String>,
    body: Option<Zeroizing<Vec<u8>>>,
    /// Texts in the body: an answer that repeats one of them is not quoted.
    conceal: Vec<Zeroizing<String>>,
}

impl Request {
    pub(crate) fn new(verb: Verb, path: impl Into<String>) -> Self {
        Self {
            verb,
            path: path.into(),
            query: None,
            body: None,
            conceal: Vec::new(),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Verb::Get, path)
    }

    pub(crate) fn with_query(self, query: String) -> Self {
        Self {
            query: Some(query),
            ..self
        }
    }

    /// With a JSON body, which is wiped here.
    pub(crate) fn with_json(self, mut json: Value) -> Self {
        let mut conceal = Vec::new();
        collect(&json, &mut conceal);
        let length = json_bytes(&json, Vec::new()).len();
        let body = json_bytes(&json, Vec::with_capacity(length));
        wipe(&mut json);
        Self {
            body: Some(body),
            conceal,
            ..self
        }
    }

    /// With a JSON body that holds no secret: an answer may repeat any of it.
    pub(crate) fn with_open_json(self, json: Value) -> Self {
        Self {
            conceal: Vec::new(),
            ..self.with_json(json)
        }
    }

    /// A request that only reads can be sent again whatever became of the first.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.verb, Verb::Get | Verb::List)
    }

    /// A request that changes a secret.
    pub(super) fn is_write(&self) -> bool {
        let is_about_us = self.path.starts_with("auth/") || self.path.starts_with("sys/");
        !self.is_read() && !is_about_us
    }

    /// Asked of the server itself, not of a namespace in it.
    pub(super) fn is_of_the_server(&self) -> bool {
        matches!(&*self.path, "sys/seal-status" | "sys/health")
    }

    pub(super) fn method(&self) -> Method {
        self.verb.into()
    }

    pub(super) fn url(&self, settings: &Settings) -> Url {
        let mut url = settings.api.clone();
        if let Some(name) = &settings.tls.server_name {
            // A name that cannot be a host leaves the real one, which fails at the certificate.
            _ = url.set_host(Some(name));
        }
        let path = format!("{}{}", url.path(), crate::address::escape(&self.path));
        url.set_path(&path);
        url.set_query(match self.verb {
            Verb::List => Some("list=true"),
            _ => self.query.as_deref(),
        });
        url
    }

    pub(super) fn body(&self) -> Option<(&'static str, Zeroizing<Vec<u8>>)> {
        let kind = match self.verb {
            Verb::Patch => "application/merge-patch+json",
            _ => "application/json",
        };
        self.body.clone().map(|body| (kind, body))
    }

    /// Whether a text repeats something that was sent in the body.
    pub(crate) fn is_quoted_in(&self, text: &str) -> bool {
        self.conceal.iter().any(|secret| text.contains(&**secret))
    }
}

/// Texts that are long enough to tell something.
fn collect(json: &Value, found: &mut Vec<Zeroizing<String>>) {
    match json {
        Value::String(text) if text.len() > 3 => found.push(Zeroizing::new(text.clone())),
        Value::Number(number) => {
            let text = number.to_string();
            if text.len() > 3 {
                found.push(Zeroizing::new(text));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        _ => {}
    }
}

fn json_bytes(json: &Value, buffer: Vec<u8>) -> Zeroizing<Vec<u8>> {
    let mut buffer = Zeroizing::new(buffer);
    // A `Value` has text keys only, and a buffer takes everything: this cannot fail.
    _ = serde_json::to_writer(&mut *buffer, json);
    buffer
}

/// Host and port as they stand in the header `Host`.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Finds the real host under the name that its certificate has.
pub(super) struct Renamed {
    name: String,
    host: String,
    port: u16,
}

impl Renamed {
    pub(super) fn new(name: &str, url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        Self {
            name: name.to_ascii_lowercase(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
        }
    }
}

impl Resolve for Renamed {
    fn resolve(&self, name: Name) -> Resolving {
        let is_ours = name.as_str().eq_ignore_ascii_case(&self.name);
        let host = if is_ours { &self.host } else { name.as_str() };
        let place = (host.to_owned(), self.port);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host(place).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
