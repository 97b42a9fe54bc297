//! Rotators by their ARNs: the one that is always there, and those that were registered.

use std::sync::Arc;

use reqwest::Url;
use strongroom_core::generate::GeneratorSpec;
use strongroom_core::host::is_near;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Variables;
use strongroom_core::rotator::Checklist;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;
use strongroom_core::time::Span;
use strongroom_engine::Error;
use strongroom_engine::rotation::Generator;
use strongroom_engine::rotation::RegisteredKind;
use strongroom_rotators::Needs;

use super::endpoint::Endpoint;
use crate::core::Core;
use crate::core::Live;
use crate::node::Node;

/// The rotator that is always there: draws a value.
pub(crate) const GENERATE: &str = "strongroom-generate";
/// Another one: waits until somebody sets or brings a new value.
pub(crate) const MANUAL: &str = "strongroom-manual";
/// Longest name of a rotator.
pub(crate) const NAME_CHARS_MAX: usize = 64;
/// Longest URL.
const URL_CHARS_MAX: usize = 2048;

/// The name in an ARN: `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, perhaps with a qualifier
/// behind it. `None` when it is not one of this account.
pub(crate) fn name_in<'a>(arn: &'a str, account: &str) -> Option<&'a str> {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts.as_slice() {
        [
            "arn",
            "aws" | "aws-cn" | "aws-us-gov",
            "lambda",
            region,
            owner,
            "function",
            name,
            qualifier @ ..,
        ] if *owner == account
            && crate::aws::is_region(region)
            && qualifier.len() <= 1
            && is_name(name) =>
        {
            Some(name)
        }
        _ => None,
    }
}

/// Whether a text can be the name of a rotator.
pub(crate) fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_letter)
}

/// Whether a rotator of this ARN is there.
pub(crate) async fn is_known(node: &Node, core: &Core, arn: &str) -> Result<bool, Error> {
    match name_in(arn, &node.settings.aws.account) {
        None => Ok(false),
        Some(GENERATE | MANUAL) => Ok(true),
        Some(name) => Ok(core.state.rotator(name).await?.is_some()),
    }
}

/// The declaration of a rotator that has one.
pub(crate) async fn declared(
    node: &Node,
    core: &Core,
    arn: &str,
) -> Result<Option<RotatorSpec>, Error> {
    let Some(name) = name_in(arn, &node.settings.aws.account) else {
        return Ok(None);
    };
    let found = core.state.rotator(name).await?;
    Ok(match found.map(|found| found.value.kind) {
        Some(RegisteredKind::Declared { spec }) => serde_json::from_str(&spec).ok(),
        _ => None,
    })
}

/// Whether what a rotator makes lasts until the next rotation; what is wrong where it does not.
pub(crate) async fn outlives(
    node: &Node,
    core: &Core,
    arn: &str,
    gap: Span,
) -> Result<Result<(), String>, Error> {
    let Some(RotatorSpec::Certificate(of)) = declared(node, core, arn).await? else {
        return Ok(Ok(()));
    };
    Ok(match strongroom_rotators::validity(&of) {
        Ok(validity) if validity.as_seconds() <= gap.as_seconds() => Err(format!(
            "the certificate is good for {validity}, and would expire before the next rotation, \
             up to {gap} later: rotate it more often, or have a longer `validity`"
        )),
        _ => Ok(()),
    })
}

/// The rotator of an ARN, ready for use.
pub(crate) async fn of(
    node: &Node,
    core: &Core,
    live: &Live,
    arn: &str,
) -> Result<Box<dyn Rotator>, RotatorError> {
    let unknown = || {
        let message = format!(
            "no rotator is registered as {arn}: `strongroom rotate rotators add` registers one"
        );
        RotatorError::new("rotator.unknown", message)
    };
    let name = name_in(arn, &node.settings.aws.account).ok_or_else(unknown)?;
    let rng = Arc::clone(&node.rng);
    if name == GENERATE {
        let generator = Generator::new(GeneratorSpec::default(), None, rng);
        return Ok(Box::new(generator));
    }
    if name == MANUAL {
        let spec = RotatorSpec::Manual(Checklist {
            checklist: vec!["make a new value where it is checked".into()],
        });
        let needs = Needs {
            rng,
            admin: None,
            backends: Variables::default(),
        };
        return strongroom_rotators::build(&spec, needs);
    }
    let found = core.state.rotator(name).await;
    let found = found.map_err(of_engine)?;
    match found.ok_or_else(unknown)?.value.kind {
        RegisteredKind::Generate { spec, field } => {
            let spec = serde_json::from_str(&spec).map_err(|_| unreadable())?;
            Ok(Box::new(Generator::new(spec, field, rng)))
        }
        RegisteredKind::Declared { spec } => {
            let spec: RotatorSpec = serde_json::from_str(&spec).map_err(|_| unreadable())?;
            if let RotatorSpec::Command(program) = &spec {
                let path = program.command.first().map_or("", String::as_str);
                let refused = |message: String| RotatorError::new("rotator.unusable", message);
                node.rotate.may_run(path).map_err(refused)?;
            }
            let admin = match spec.admin() {
                Some(name) => value_of(node, live, name).await.map_err(of_engine)?,
                None => None,
            };
            let needs = Needs {
                rng,
                admin,
                backends: node.rotate.backends(),
            };
            strongroom_rotators::build(&spec, needs)
        }
        RegisteredKind::Endpoint {
            url,
            key,
            timeout_seconds,
            ca,
        } => Ok(Box::new(Endpoint::new(
            &url,
            key,
            timeout_seconds,
            ca.as_deref(),
        )?)),
    }
}

/// The current value of a secret beside the one that is rotated.
pub(super) async fn value_of(
    node: &Node,
    live: &Live,
    name: &str,
) -> Result<Option<Payload>, Error> {
    match crate::aws::name::path_of(name) {
        Some(path) => value_at(node, live, &path).await,
        None => Ok(None),
    }
}

/// The current value of a secret.
pub(super) async fn value_at(
    node: &Node,
    live: &Live,
    path: &SecretPath,
) -> Result<Option<Payload>, Error> {
    let snapshot = live.secrets.snapshot(path).await?;
    let Some((snapshot, newest)) = snapshot.as_ref().and_then(|one| Some((one, one.newest()?)))
    else {
        return Ok(None);
    };
    let number = newest.number;
    live.secrets.value_in(snapshot, number, node.now()).await
}

fn unreadable() -> RotatorError {
    let message = "the declaration of the rotator cannot be read: register it anew";
    RotatorError::new("rotator.unreadable", message)
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn of_engine(error: Error) -> RotatorError {
    RotatorError::new(error.code(), error.to_string())
}

/// Reads the URL of an endpoint; what is wrong with it, where it is not one.
pub(crate) fn parse_url(text: &str) -> Result<Url, &'static str> {
    if text.len() > URL_CHARS_MAX {
        return Err("a URL has at most 2048 letters");
    }
    let url =
        Url::parse(text).map_err(|_| "that is no URL: http://127.0.0.1:PORT/ or https://…")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL is shown in lists: no name and password may stand in it");
    }
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_matches(['[', ']'])
        .parse::<std::net::IpAddr>()
        .ok();
    let is_link_local = address.is_some_and(|address| match address {
        std::net::IpAddr::V4(address) => address.is_link_local() || address.is_unspecified(),
        std::net::IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.is_unspecified()
        }
    });
    if is_link_local {
        return Err("an endpoint is never at a link-local address, where clouds keep credentials");
    }
    match url.scheme() {
        "https" if !host.is_empty() => Ok(url),
        "http" if is_near(host) => Ok(url),
        "http" => Err("plain http is for endpoints on this machine: use https"),
        _ => Err("an endpoint is an http or https URL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_this_account_have_a_name() {
        for (arn, expected) in [
            (
                "arn:aws:lambda:eu-central-1:000000000000:function:a-b_1",
                Some("a-b_1"),
            ),
            (
                "arn:aws:lambda:eu-central-1:000000000000:function:a:PROD",
                Some("a"),
            ),
            ("arn:aws:lambda:eu-central-1:000000000001:function:a", None),
            (
                "arn:aws:lambda:eu-central-1:000000000000:function:../a",
                None,
            ),
            ("arn:aws:lambda:eu-central-1:000000000000:function:", None),
            ("arn:aws:lambda:x:000000000000:function:a", None),
            (
                "arn:aws:lambda:eu-central-1:000000000000:function:a:b:c",
                None,
            ),
            ("a", None),
        ] {
            assert_eq!(name_in(arn, "000000000000"), expected, "{arn}");
        }
    }

    #[test]
    fn endpoints_are_where_an_administrator_may_put_them() {
        for (url, is_good) in [
            ("https://rotate.internal/x", true),
            ("https://10.0.0.5:8443/", true),
            ("http://127.0.0.1:9000/", true),
            ("http://[::1]:9000/", true),
            ("http://localhost:9000/", true),
            ("http://rotate.internal/", false),
            ("http://10.0.0.5/", false),
            ("http://127.0.0.1.nip.io/", false),
            ("http://localhost.evil/", false),
            ("https://169.254.169.254/latest", false),
            ("https://[fe80::1]/", false),
            ("http://0.0.0.0:80/", false),
            ("https://a:b@host/", false),
            ("https://a@host/", false),
            ("file:///etc/passwd", false),
            ("gopher://127.0.0.1/", false),
            ("127.0.0.1:80", false),
            ("", false),
        ] {
            assert_eq!(parse_url(url).is_ok(), is_good, "{url}");
        }
    }
}
