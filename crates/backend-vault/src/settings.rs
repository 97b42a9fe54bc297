//! What the backend URI and the environment say, read once.

use std::time::Duration;

use reqwest::Url;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::uri::BackendUri;
use strongroom_core::uri::Template;

pub(crate) mod credentials;
pub(crate) mod tls;

use credentials::Auth;
use credentials::Credential;
use tls::Tls;

/// The options of a `vault:` URI.
const OPTIONS: &[&str] = &[
    "auth",
    "auth_mount",
    "ca_file",
    "field",
    "insecure",
    "kv",
    "name",
    "namespace",
    "role",
    "timeout",
    "tls",
];

/// The scheme of a Strongroom server, which speaks the same API; it has variables of its own.
const OWN_SCHEME: &str = "server";
/// The mount that such a server keeps a store under.
const OWN_MOUNT: &str = "secret";
pub(crate) const OWN_ADDRESS: &str = "STRONGROOM_ADDR";

const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
const RETRIES: u32 = 2;
const RETRIES_MAX: u32 = 10;

/// Which version of the KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvVersion {
    /// One value a path.
    V1,
    /// Versions, soft delete, metadata.
    V2,
}

/// Settings that were checked.
pub(crate) struct Settings {
    /// How reports call the backend: the URI without its options.
    pub(crate) label: String,
    /// Where the API is, with a `/` at the end, e.g. `https://host:8200/v1/`.
    pub(crate) api: Url,
    /// The server as messages name it: scheme, host and port.
    pub(crate) server: String,
    /// What named the server: a variable's name, or `the backend's address`.
    pub(crate) server_from: &'static str,
    pub(crate) namespace: Option<String>,
    pub(crate) auth: Auth,
    pub(crate) tls: Tls,
    /// The path of the URI: a mount, or a mount and a prefix. `None`: to be found by address.
    pub(crate) place: Option<String>,
    pub(crate) kv: Option<KvVersion>,
    pub(crate) field: Option<String>,
    pub(crate) template: Template,
    pub(crate) timeout: Duration,
    pub(crate) retries_max: u32,
}

/// Reads a family of variables: the one that the address came from goes first, so that a token
/// meant for one server is not sent to the other while there is one of its own.
pub(crate) struct Family<'v> {
    variables: &'v Variables,
    prefixes: [&'static str; 2],
}

impl<'v> Family<'v> {
    fn new(variables: &'v Variables, address_from: &str) -> Self {
        let prefixes = match address_from.split('_').next() {
            Some("STRONGROOM") => ["STRONGROOM", "STRONGROOM"],
            Some("BAO") => ["BAO", "VAULT"],
            _ => ["VAULT", "BAO"],
        };
        Self {
            variables,
            prefixes,
        }
    }

    /// True for the variables of a Strongroom server.
    pub(crate) fn is_own(&self) -> bool {
        self.prefixes[0] == "STRONGROOM"
    }

    /// `VAULT_<name>`, else `BAO_<name>` (or the other way round), or `STRONGROOM_<name>`.
    pub(crate) fn text(&self, name: &str) -> Option<&'v str> {
        let [first, second] = self.names(name);
        let text = |name: &str| self.variables.text(name);
        text(&first).or_else(|| text(&second))
    }

    /// Both names, in the order they are asked.
    pub(crate) fn names(&self, name: &str) -> [String; 2] {
        self.prefixes.map(|prefix| format!("{prefix}_{name}"))
    }

    pub(crate) fn variables(&self) -> &'v Variables {
        self.variables
    }
}

impl Settings {
    /// A text that names Vault's variables, with those of the server that is asked.
    pub(crate) fn named(&self, text: &str) -> String {
        match self.server_from {
            OWN_ADDRESS => text.replace("VAULT_", "STRONGROOM_"),
            _ => text.to_owned(),
        }
    }

    /// The command that an operator gives to the server that is asked.
    pub(crate) fn command(&self, words: &str) -> String {
        match (self.server_from, words) {
            (OWN_ADDRESS, "status") => "`strongroom operator status`".to_owned(),
            (OWN_ADDRESS, words) => format!("`strongroom {words}`"),
            (_, words) => format!("`bao {words}` (or `vault {words}`)"),
        }
    }

    /// Reads everything. Looks at no file but those of certificates, and at no network.
    pub(crate) fn read(uri: &BackendUri, variables: &Variables) -> Result<Self, BackendError> {
        let label = uri.clone().without(OPTIONS).to_string();
        // Without a mount nothing stands behind the colon.
        let label = match label.strip_suffix(':') {
            Some(OWN_SCHEME) => OWN_SCHEME.to_owned(),
            _ => label,
        };
        let is_own = uri.scheme() == OWN_SCHEME;
        // Messages name Vault's variables.
        let named = |text: String| match is_own {
            true => text.replace("VAULT_", "STRONGROOM_"),
            false => text,
        };
        Self::parse(uri, variables, label.clone()).map_err(|error| {
            let message = named(error.message);
            let error_at = BackendError::new(BackendErrorKind::Misconfigured, label, message);
            match error.hint {
                Some(hint) => error_at.with_hint(named(hint)),
                None => error_at,
            }
        })
    }

    fn parse(uri: &BackendUri, variables: &Variables, label: String) -> Result<Self, Wrong> {
        if let Some(option) = uri.unknown_option(OPTIONS) {
            let known = OPTIONS.join(", ");
            return Err(Wrong::new(format!("unknown option `{option}`"))
                .with_hint(format!("a vault address knows {known}")));
        }
        let (user, host) = match uri.authority() {
            None => (None, None),
            Some(authority) => match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user), Some(host)),
                None => (None, Some(authority)),
            },
        };
        let (address, server_from) = address(uri, host, variables)?;
        let family = Family::new(variables, server_from);
        let namespace = namespace(uri, user, &family)?;
        let (api, server) = api(&address, server_from)?;
        let auth = Auth::read(uri, &family)?;
        if let (Some(_), Auth::Token(Some(credential))) = (host, &auth) {
            meant_for(&api, credential, variables)?;
        }
        let named = uri
            .path()
            .map(|path| path.trim_matches('/'))
            .filter(|path| !path.is_empty());
        let is_own = uri.scheme() == OWN_SCHEME;
        let place = named.or(is_own.then_some(OWN_MOUNT));
        if let Some(place) = place {
            crate::address::check(place)
                .map_err(|reason| Wrong::new(format!("the path of the address {reason}")))?;
        }
        let template = match (uri.option("name"), place) {
            (Some(text), _) => {
                Template::parse(text).map_err(|error| Wrong::new(format!("name: {error}")))?
            }
            (None, Some(_)) if is_own => Template::default(),
            (None, Some(_)) => Template::below(""),
            (None, None) => Template::default(),
        };
        Ok(Self {
            tls: Tls::read(uri, &family)?,
            auth,
            label,
            api,
            server,
            server_from,
            namespace,
            place: place.map(str::to_owned),
            kv: kv(uri)?,
            field: uri.option("field").map(str::to_owned),
            template,
            timeout: timeout(uri, &family)?,
            retries_max: retries(&family)?,
        })
    }
}

/// A setting that makes no sense.
pub(crate) struct Wrong {
    message: String,
    hint: Option<String>,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// Where the server is, as a URL, and what said so.
fn address(
    uri: &BackendUri,
    host: Option<&str>,
    variables: &Variables,
) -> Result<(String, &'static str), Wrong> {
    let tls = is_set(uri.option("tls"), "tls")?;
    if let Some(host) = host {
        if host.is_empty() {
            return Err(Wrong::new("no host stands behind `//`")
                .with_hint("write vault://HOST:PORT/MOUNT, or vault:MOUNT with VAULT_ADDR set"));
        }
        let scheme = if tls == Some(false) { "http" } else { "https" };
        let last = host.rsplit_once(']').map_or(host, |(_, port)| port);
        let port = if last.contains(':') { "" } else { ":8200" };
        return Ok((format!("{scheme}://{host}{port}"), "the backend's address"));
    }
    let known: &[&'static str] = match uri.scheme() {
        OWN_SCHEME => &[OWN_ADDRESS],
        _ => &["VAULT_ADDR", "BAO_ADDR"],
    };
    let (from, address) = variables.first(known).ok_or_else(|| {
        let scheme = uri.scheme();
        Wrong::new("no server is named").with_hint(format!(
            "set {} to its URL (e.g. https://vault.example.com:8200), or write it in the \
                 address: {scheme}://HOST:PORT/MOUNT",
            known.first().copied().unwrap_or_default()
        ))
    })?;
    let has_scheme = address.contains("://");
    let is_http = address.starts_with("http://");
    if is_http && tls == Some(true) {
        return Err(Wrong::new(format!(
            "the address says tls=true, and {from} is an http:// URL"
        )));
    }
    let scheme = if tls == Some(false) { "http" } else { "https" };
    let address = match (has_scheme, tls) {
        (false, _) => format!("{scheme}://{address}"),
        (true, Some(false)) => address.replacen("https://", "http://", 1),
        (true, _) => address.to_owned(),
    };
    Ok((address, from))
}

/// The API's URL, and the server's name for messages. The text is not quoted: it may have a
/// password in it.
fn api(address: &str, from: &str) -> Result<(Url, String), Wrong> {
    let example = "e.g. https://vault.example.com:8200";
    let mut url = Url::parse(address)
        .map_err(|_| Wrong::new(format!("{from} is no URL")).with_hint(example))?;
    let host = match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) => host.to_owned(),
        _ => {
            return Err(
                Wrong::new(format!("{from} is no http:// or https:// URL")).with_hint(example)
            );
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        let message = format!("{from} has a user name or password in it");
        return Err(Wrong::new(message).with_hint("credentials never stand in an address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new(format!("{from} has a `?` or `#` part")).with_hint(example));
    }
    let port = url.port_or_known_default().unwrap_or_default();
    let server = format!("{}://{host}:{port}", url.scheme());
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/v1/"));
    Ok((url, server))
}

/// A token belongs to one server. Where the variables name it, an address (which may stand in
/// somebody else's manifest) does not send the token to another.
fn meant_for(api: &Url, credential: &Credential, variables: &Variables) -> Result<(), Wrong> {
    let named = variables.first(&["VAULT_ADDR", "BAO_ADDR"]);
    let Some((name, text)) = named else {
        return Ok(());
    };
    let text = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let place = |url: &Url| {
        (
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
        )
    };
    if Url::parse(&text).is_ok_and(|url| place(&url) == place(api)) {
        return Ok(());
    }
    let token = credential.place();
    Err(Wrong::new(format!(
        "the token in {token} is for the server in {name}, and the address names another"
    ))
    .with_hint(format!(
        "unset {name} (or set it to the same host and port) if the token is to be sent there; two \
         servers at once need auth=approle or another login for the second"
    )))
}

fn namespace(
    uri: &BackendUri,
    user: Option<&str>,
    family: &Family<'_>,
) -> Result<Option<String>, Wrong> {
    let option = uri.option("namespace");
    if let (Some(user), Some(option)) = (user, option)
        && user != option
    {
        return Err(Wrong::new(format!(
            "the address names two namespaces, `{user}` and `{option}`"
        )));
    }
    let namespace = user.or(option).or_else(|| family.text("NAMESPACE"));
    let Some(namespace) = namespace.map(|text| text.trim_matches('/')) else {
        return Ok(None);
    };
    if namespace.is_empty() {
        return Ok(None);
    }
    if namespace.bytes().any(|byte| !byte.is_ascii_graphic()) {
        let message = "the namespace has a space or a character outside ASCII";
        return Err(Wrong::new(message));
    }
    Ok(Some(namespace.to_owned()))
}

fn kv(uri: &BackendUri) -> Result<Option<KvVersion>, Wrong> {
    match uri.option("kv") {
        None => Ok(None),
        Some("1") => Ok(Some(KvVersion::V1)),
        Some("2") => Ok(Some(KvVersion::V2)),
        Some(_) => Err(Wrong::new(
            "kv is 1 or 2, the version of the KV secrets engine",
        )),
    }
}

fn timeout(uri: &BackendUri, family: &Family<'_>) -> Result<Duration, Wrong> {
    let (name, text) = match (uri.option("timeout"), family.text("CLIENT_TIMEOUT")) {
        (Some(text), _) => ("timeout", text),
        (None, Some(text)) => ("VAULT_CLIENT_TIMEOUT", text),
        (None, None) => return Ok(TIMEOUT),
    };
    let found = duration(text).filter(|time| !time.is_zero() && *time <= TIMEOUT_MAX);
    found.ok_or_else(|| {
        Wrong::new(format!("{name} is no span of time up to 10m"))
            .with_hint("write seconds (`30`) or a number with ms, s or m (`500ms`, `30s`, `2m`)")
    })
}

/// `30`, `500ms`, `30s`, `2m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

fn retries(family: &Family<'_>) -> Result<u32, Wrong> {
    let Some(text) = family.text("MAX_RETRIES") else {
        return Ok(RETRIES);
    };
    let number = text.parse::<u32>().ok();
    number
        .map(|number| number.min(RETRIES_MAX))
        .ok_or_else(|| Wrong::new("VAULT_MAX_RETRIES is no number"))
}

/// A switch, written as Go's tools read one.
pub(crate) fn is_set(text: Option<&str>, name: &str) -> Result<Option<bool>, Wrong> {
    match text {
        None => Ok(None),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
        Some(_) => Err(Wrong::new(format!("{name} is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests;
