//! What a backend's address says: `aws:[REGION][/PREFIX][?option=value&…]`.

use std::time::Duration;

use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::uri::BackendUri;
use strongroom_core::uri::Template;

/// The options of `aws:`.
pub const OPTIONS_SECRETS: &[&str] = &[
    "profile",
    "endpoint",
    "plaintext",
    "name",
    "timeout",
    "version_stage",
    "field",
    "json_key",
    "recovery_days",
    "kms_key",
];

/// The options of `ssm:`.
pub const OPTIONS_PARAMETERS: &[&str] = &[
    "profile",
    "endpoint",
    "plaintext",
    "name",
    "timeout",
    "field",
    "json_key",
];

/// The parsed address.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// As a person wrote it, for messages.
    pub(crate) address: String,
    pub(crate) region: Option<String>,
    /// Without slashes at its ends; empty when there is none.
    pub(crate) prefix: String,
    pub(crate) template: Template,
    /// True when the template is `PREFIX/{path}`.
    pub(crate) is_below_prefix: bool,
    pub(crate) profile: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) plaintext: bool,
    /// Of one request with its repetitions.
    pub(crate) timeout: Duration,
    pub(crate) version_stage: Option<String>,
    pub(crate) field: Option<String>,
    pub(crate) recovery_days: Option<i64>,
    pub(crate) kms_key: Option<String>,
}

impl Settings {
    /// Reads an address.
    ///
    /// # Errors
    /// Of kind `Misconfigured`, with what to write instead.
    pub(crate) fn parse(uri: &BackendUri, known: &[&str]) -> Result<Self, BackendError> {
        let scheme = uri.scheme();
        // An endpoint with a user name in it is refused later, and not shown until then.
        let has_user = |endpoint: &str| endpoint.contains('@');
        let address = match uri.option("endpoint") {
            Some(endpoint) if has_user(endpoint) => uri.clone().without(&["endpoint"]).to_string(),
            _ => uri.to_string(),
        };
        let wrong = |message: String| {
            BackendError::new(BackendErrorKind::Misconfigured, address.clone(), message)
        };
        if let Some(option) = uri.unknown_option(known) {
            let message = format!("there is no option `{option}`");
            return Err(wrong(message).with_hint(format!("known are {}", known.join(", "))));
        }
        if uri.authority().is_some() {
            return Err(
                wrong("no host stands in this address".into()).with_hint(format!(
                    "write `{scheme}:REGION/PREFIX`; another endpoint is `?endpoint=https://…`"
                )),
            );
        }
        let (region, below) = match uri.path().unwrap_or_default().split_once('/') {
            Some((region, below)) => (region, Some(below)),
            None => (uri.path().unwrap_or_default(), None),
        };
        if !region.is_empty() && !is_region(region) {
            return Err(
                wrong(format!("`{region}` is no AWS region")).with_hint(format!(
                    "write `{scheme}:eu-central-1/{region}`, or `{scheme}:/{region}` for the \
                     region of your AWS settings"
                )),
            );
        }
        let prefix = below.unwrap_or_default().trim_matches('/').to_owned();
        let template = match (uri.option("name"), below) {
            (Some(text), _) => {
                Template::parse(text).map_err(|error| wrong(format!("option `name`: {error}")))?
            }
            (None, Some(_)) => Template::below(&prefix),
            (None, None) => Template::default(),
        };
        let option = |key: &str| {
            let value = uri.option(key).filter(|value| !value.is_empty());
            value.map(str::to_owned)
        };
        if option("field").is_some() && option("json_key").is_some() {
            return Err(wrong(
                "`field` and `json_key` mean the same; give one".into(),
            ));
        }
        let timeout = match uri.option("timeout") {
            None => TIMEOUT_DEFAULT,
            Some(text) => parse_timeout(text).ok_or_else(|| {
                wrong("option `timeout` is no time from 100ms to 300s".into())
                    .with_hint("write `timeout=10s` or `timeout=500ms`")
            })?,
        };
        let recovery_days = match uri.option("recovery_days") {
            None => None,
            Some(text) => Some(
                text.parse()
                    .ok()
                    .filter(|days| RECOVERY_DAYS.contains(days))
                    .ok_or_else(|| {
                        wrong("option `recovery_days` is no number from 7 to 30".into())
                    })?,
            ),
        };
        Ok(Self {
            region: (!region.is_empty()).then(|| region.to_owned()),
            is_below_prefix: uri.option("name").is_none() && below.is_some(),
            prefix,
            template,
            profile: option("profile"),
            endpoint: option("endpoint"),
            plaintext: uri.option("plaintext") == Some("true"),
            timeout,
            version_stage: option("version_stage"),
            field: option("field").or(option("json_key")),
            recovery_days,
            kms_key: option("kms_key"),
            address,
        })
    }
}

/// `eu-central-1`, `us-gov-west-1`: words, then a number.
fn is_region(text: &str) -> bool {
    let mut words: Vec<&str> = text.split('-').collect();
    let is_number = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let is_word = |word: &&str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    words.pop().as_ref().is_some_and(is_number) && words.len() >= 2 && words.iter().all(is_word)
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (number, millis) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1)
    } else {
        (text.strip_suffix('s').unwrap_or(text), 1000)
    };
    let number: u64 = number.parse().ok()?;
    let timeout = Duration::from_millis(number.checked_mul(millis)?);
    (TIMEOUT_MIN..=TIMEOUT_MAX)
        .contains(&timeout)
        .then_some(timeout)
}

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
const RECOVERY_DAYS: std::ops::RangeInclusive<i64> = 7..=30;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, BackendError> {
        Settings::parse(&BackendUri::parse(text).unwrap(), OPTIONS_SECRETS)
    }

    fn refused(text: &str) -> String {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Misconfigured);
        format!("{error}; {}", error.hint.clone().unwrap_or_default())
    }

    #[test]
    fn region_and_prefix_are_told_apart() {
        let full = parse("aws:eu-central-1/storefront/?profile=ops&timeout=5s").unwrap();
        assert_eq!(full.region.as_deref(), Some("eu-central-1"));
        assert_eq!(full.prefix, "storefront");
        assert_eq!(full.template, Template::below("storefront"));
        assert_eq!(full.profile.as_deref(), Some("ops"));
        assert_eq!(full.timeout, Duration::from_secs(5));
        assert_eq!(parse("aws:").unwrap().timeout, Duration::from_secs(10));
        let bare = parse("aws:us-gov-west-1/").unwrap();
        assert_eq!(bare.template, Template::below(""));
        let region = parse("aws:us-east-1").unwrap();
        assert_eq!(region.template, Template::default());
        for text in ["aws", "aws:"] {
            let nothing = parse(text).unwrap();
            assert_eq!(
                (nothing.region, nothing.template),
                (None, Template::default())
            );
        }
        let prefix = parse("aws:/storefront").unwrap();
        assert_eq!(
            (prefix.region, prefix.prefix),
            (None, "storefront".to_owned())
        );
        let named = parse("aws:us-east-1/x?name={project}-{name}").unwrap();
        assert_eq!(named.template, Template::parse("{project}-{name}").unwrap());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_fix() {
        assert!(refused("aws:us-east-1?regon=x").contains("known are profile, endpoint"));
        assert!(refused("aws:storefront").contains("aws:eu-central-1/storefront"));
        assert!(refused("aws://us-east-1/x").contains("?endpoint=https://"));
        assert!(refused("aws:?timeout=soon").contains("timeout=10s"));
        assert!(refused("aws:?timeout=301s").contains("100ms to 300s"));
        assert!(refused("aws:?name=fixed").contains("{path}"));
        assert!(refused("aws:?field=a&json_key=b").contains("give one"));
        assert!(refused("aws:?recovery_days=6").contains("7 to 30"));
    }
}
