//! Who may ask: the application's own shell, which reads the token of this start from a file.

use std::net::IpAddr;

use http::HeaderName;
use http::StatusCode;
use http::header;
use http::request::Parts;
use strongroom_core::secret::SecretValue;

use super::answer::Answer;
use crate::supervisor::State;

/// Refuses what a page of somebody else makes a browser send: another host's name that was led to
/// this address, and origins that nobody allowed.
pub(crate) fn check_origin(state: &State, parts: &Parts) -> Result<(), Answer> {
    let refused = |text: &'static str| Answer::text(StatusCode::FORBIDDEN, text);
    let host = match only(parts, &header::HOST) {
        Ok(Some(host)) => Some(host.to_owned()),
        Ok(None) => parts.uri.authority().map(|host| host.as_str().to_owned()),
        Err(()) => None,
    };
    let Some(host) = host.filter(|host| is_loopback(host)) else {
        return Err(refused("host not allowed\n"));
    };
    let own = format!("http://{host}");
    let is_own = |origin: &str| origin == own && parts.uri.path().starts_with("/setup/");
    match only(parts, &header::ORIGIN) {
        Ok(None) => Ok(()),
        Ok(Some(origin)) if is_own(origin) => Ok(()),
        Ok(Some(origin)) if state.origins.iter().any(|allowed| allowed == origin) => Ok(()),
        _ => Err(refused("origin not allowed\n")),
    }
}

/// The one value of a header, if it is there once.
fn only<'p>(parts: &'p Parts, name: &HeaderName) -> Result<Option<&'p str>, ()> {
    let mut values = parts.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

fn is_loopback(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = without_port.strip_prefix('[');
    let bare = bare.and_then(|name| name.strip_suffix(']'));
    let name = bare.unwrap_or(without_port);
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Refuses who does not know the token.
pub(crate) fn check_token(state: &State, parts: &Parts) -> Result<(), Answer> {
    let refused = |text: &'static str| Answer::text(StatusCode::UNAUTHORIZED, text);
    match bearer(parts) {
        None => Err(refused("missing auth\n")),
        Some(given) if given.ct_eq(&state.token) => Ok(()),
        Some(_) => Err(refused("invalid auth\n")),
    }
}

/// What follows `Bearer` in a request.
pub(crate) fn bearer(parts: &Parts) -> Option<SecretValue> {
    let header = parts.headers.get(header::AUTHORIZATION)?;
    let given = header.as_bytes().strip_prefix(b"Bearer ")?;
    Some(SecretValue::copy_from(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for (host, is_ours) in [
            ("127.0.0.1:47710", true),
            ("127.0.0.1", true),
            ("localhost:1", true),
            ("LOCALHOST", true),
            ("[::1]:47710", true),
            ("[::1]", true),
            ("evil.example:47710", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:80", false),
            ("192.168.0.1:47710", false),
            ("0.0.0.0:47710", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), is_ours, "{host}");
        }
    }
}
