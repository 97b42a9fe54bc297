//! Where a Redis is, as it was typed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use strongroom_core::host::is_near;
use strongroom_core::percent;
use strongroom_core::secret::SecretValue;
use url::Url;

const PORT: u16 = 6379;
/// The user of who names none.
const USER: &str = "default";

/// A `redis://` or `rediss://` address. It may hold a password, so it cannot be printed;
/// [`Self::place`] can.
#[derive(Clone)]
pub struct RedisUrl {
    host: String,
    port: u16,
    user: String,
    password: Option<SecretValue>,
    tls: Option<Roots>,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those of the machine's authorities.
    Machine,
    /// Those of the authorities in a file.
    File(PathBuf),
    /// Those of these authorities, in PEM.
    Pem(String),
}

/// Why an address cannot be used. Says which part, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Another scheme, or nothing that reads as an address.
    #[error("it is no address of the form rediss://USER@HOST:PORT")]
    Malformed,
    /// Passwords would leave the machine in clear.
    #[error(
        "what leaves the machine is protected: rediss://, or `?tls=off` where the network is \
         trusted"
    )]
    Clear,
    /// An option that is none.
    #[error("behind `?` only `ca` (a file) stands, for rediss://, or `tls=off`, for redis://")]
    Option,
}

impl RedisUrl {
    /// Whether a text is meant as the address of a Redis.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("redis://") || text.starts_with("rediss://")
    }

    /// From its parts; TLS is checked by `tls`, where there is any.
    #[must_use]
    pub fn new(host: &str, port: u16, user: &str, tls: Option<Roots>) -> Self {
        Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            user: match user {
                "" => USER.to_owned(),
                user => user.to_owned(),
            },
            password: None,
            tls,
        }
    }

    /// With a password that was found elsewhere.
    #[must_use]
    pub fn with_password(self, password: &SecretValue) -> Self {
        let password = Some(password.clone());
        Self { password, ..self }
    }

    /// As another user, whose password this is.
    #[must_use]
    pub fn of_user(&self, user: &str, password: &SecretValue) -> Self {
        Self {
            user: user.to_owned(),
            password: Some(password.clone()),
            ..self.clone()
        }
    }

    /// Whether the address itself holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        let scheme = if self.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let (host, port) = (&self.host, self.port);
        match host.contains(':') {
            true => format!("{scheme}://[{host}]:{port}"),
            false => format!("{scheme}://{host}:{port}"),
        }
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn password(&self) -> Option<&SecretValue> {
        self.password.as_ref()
    }

    pub(crate) fn tls(&self) -> Option<&Roots> {
        self.tls.as_ref()
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisUrl").field(&self.place()).finish()
    }
}

impl FromStr for RedisUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        let is_tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(UrlError::Malformed),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(UrlError::Malformed)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(UrlError::Malformed);
        }
        let (mut roots, mut is_off) = (Roots::Machine, false);
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("ca", file) if is_tls && !file.is_empty() => roots = Roots::File(file.into()),
                ("tls", "off") if !is_tls => is_off = true,
                _ => return Err(UrlError::Option),
            }
        }
        if !is_tls && !is_off && !is_near(host) {
            return Err(UrlError::Clear);
        }
        let tls = is_tls.then_some(roots);
        let decoded =
            |text: &str| String::from_utf8(percent::decoded(text)).map_err(|_| UrlError::Malformed);
        let port = url.port().unwrap_or(PORT);
        let address = Self::new(host, port, &decoded(url.username())?, tls);
        Ok(match url.password() {
            Some(password) => {
                let password = SecretValue::from_text(decoded(password)?);
                address.with_password(&password)
            }
            None => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_where_and_how() {
        let read = |text: &str| text.parse::<RedisUrl>().unwrap();
        let url = read("redis://boss@127.0.0.1:7000");
        assert_eq!(
            (url.place().as_str(), url.user()),
            ("redis://127.0.0.1:7000", "boss")
        );
        let url = read("rediss://cache.example/?ca=/etc/ca.pem");
        assert_eq!(url.tls(), Some(&Roots::File("/etc/ca.pem".into())));
        assert_eq!((url.port(), url.user()), (PORT, USER));
        assert_eq!(read("rediss://[::1]:1").place(), "rediss://[::1]:1");
        let url = read("redis://a%40b:p%2Fw@localhost");
        assert_eq!(url.user(), "a@b");
        assert!(
            url.password()
                .unwrap()
                .ct_eq(&SecretValue::copy_from(b"p/w"))
        );
        assert!(!format!("{url:?}").contains("p/w"));
        assert_eq!(read("redis://10.0.0.1?tls=off").tls(), None);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let error = |text: &str| text.parse::<RedisUrl>().unwrap_err();
        for text in [
            "postgres://u@h/d",
            "redis:",
            "redis://",
            "127.0.0.1",
            "redis://h/0",
        ] {
            assert_eq!(error(text), UrlError::Malformed, "{text}");
        }
        for text in ["redis://10.0.0.1", "redis://boss@cache.example:6379"] {
            assert_eq!(error(text), UrlError::Clear, "{text}");
        }
        for text in [
            "redis://localhost?x=1",
            "rediss://h?tls=off",
            "rediss://h?ca=",
        ] {
            assert_eq!(error(text), UrlError::Option, "{text}");
        }
    }
}
