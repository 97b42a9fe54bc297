//! What the server's refusals mean, in words that name cause and cure.

use std::fmt::Write;

use strongroom_core::path::is_forbidden;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;

use crate::client::Client;
use crate::client::Reply;
use crate::client::Request;
use crate::client::Verb;
use crate::settings::OWN_ADDRESS;

/// Longest quotation of a server's words, in characters.
const QUOTE_CHARS_MAX: usize = 200;

/// The server's own words as `: words`, unless they repeat what was sent.
pub(crate) fn quote(request: &Request, reply: &Reply) -> String {
    let mut quoted = String::new();
    for text in reply.errors() {
        if request.is_quoted_in(&text) || reply.has_token_in(&text) {
            continue;
        }
        let plain: String = text
            .chars()
            .map(|c| if is_forbidden(c) { ' ' } else { c })
            .collect();
        let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        let plain = plain.trim_start_matches("1 error occurred: * ");
        let short: String = plain.chars().take(QUOTE_CHARS_MAX).collect();
        // Writing to a String cannot fail.
        _ = write!(quoted, ": {short}");
    }
    quoted
}

/// Nothing is there, or there is nothing that could hold it: a 404 says either.
pub(crate) fn absent(
    client: &Client,
    request: &Request,
    reply: &Reply,
) -> Result<(), BackendError> {
    let settings = client.settings();
    let Some(answer) = reply
        .json()
        .filter(|answer| answer.has("errors") || answer.has("data"))
    else {
        let message = format!("{} answered 404, and not as Vault does", settings.server);
        let hint = format!("does {} name a Vault server?", settings.server_from);
        return Err(client
            .error(BackendErrorKind::Misconfigured, message)
            .with_hint(hint));
    };
    let warned = answer.texts("warnings");
    if warned.iter().any(|text| text.contains("versioned K/V")) {
        let message = format!("`{}` is not a path of KV version 1", request.path);
        return Err(client
            .error(BackendErrorKind::Misconfigured, message)
            .with_hint("the mount is KV version 2: take kv=1 out of the address"));
    }
    let errors = reply.errors();
    if errors.is_empty() {
        return Ok(());
    }
    if errors
        .iter()
        .any(|text| text.contains("namespace not found"))
    {
        let namespace = settings.namespace.as_deref().unwrap_or_default();
        return Err(client
            .error(
                BackendErrorKind::Misconfigured,
                format!("there is no namespace `{namespace}` on {}", settings.server),
            )
            .with_hint(settings.named("see namespace= in the address and VAULT_NAMESPACE")));
    }
    let message = format!("`{}`{}", request.path, quote(request, reply));
    let hint = match settings.server_from {
        OWN_ADDRESS => "no secrets engine is mounted there, or the path leads nowhere",
        _ => {
            "no secrets engine is mounted there: `bao secrets list` (or `vault secrets list`) \
             shows those that are"
        }
    };
    Err(client
        .error(BackendErrorKind::Misconfigured, message)
        .with_hint(hint))
}

/// A status that the request should not get.
pub(crate) fn unexpected(client: &Client, request: &Request, reply: &Reply) -> BackendError {
    let settings = client.settings();
    let status = reply.status.as_u16();
    let said = quote(request, reply);
    if said.contains("HTTP request to an HTTPS server") || is_plain_http(reply) {
        let message = format!("{} speaks TLS only", settings.server);
        return client
            .error(BackendErrorKind::Unreachable, message)
            .with_hint("write its URL with https://, or take tls=false out of the address");
    }
    let path = &request.path;
    match status {
        400 | 413 | 415 | 422 => {
            let message = format!("the server refuses `{path}` ({status}{said})");
            client.error(BackendErrorKind::Invalid, message)
        }
        405 => {
            let message = format!("the server cannot do that at `{path}` (405{said})");
            client.error(BackendErrorKind::Unsupported, message)
        }
        _ => {
            let message = format!("{} answered {status} for `{path}`{said}", settings.server);
            let hint = format!("does {} name a Vault server?", settings.server_from);
            client
                .error(BackendErrorKind::Malformed, message)
                .with_hint(hint)
        }
    }
}

fn is_plain_http(reply: &Reply) -> bool {
    reply.is(400) && reply.body_has("HTTP request to an HTTPS server")
}

/// An answer that is not what the API answers.
pub(crate) fn malformed(client: &Client, request: &Request) -> BackendError {
    let settings = client.settings();
    let message = format!(
        "the answer of {} for `{}` is not what Vault answers",
        settings.server, request.path
    );
    let hint = format!("does {} name a Vault server?", settings.server_from);
    client
        .error(BackendErrorKind::Malformed, message)
        .with_hint(hint)
}

/// The capability that a policy has to give for a request.
pub(crate) fn capability(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "read",
        Verb::List => "list",
        Verb::Post => "create and update",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
    }
}
