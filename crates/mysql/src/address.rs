//! Where a server is, as it was typed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use strongroom_core::host::is_near;
use strongroom_core::percent;
use strongroom_core::secret::SecretValue;
use url::Url;

const PORT: u16 = 3306;

/// A `mysql://` address. It may hold a password, so it cannot be printed; [`Self::place`] can.
#[derive(Clone)]
pub struct MysqlUrl {
    host: String,
    port: u16,
    user: String,
    password: Option<SecretValue>,
    database: Option<String>,
    tls: Option<Roots>,
    server_name: Option<String>,
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
    #[error("it is no address of the form mysql://USER@HOST:PORT/")]
    Malformed,
    /// An option that is none.
    #[error("behind `?` only `ca` (a file) stands, or `tls`, which is on or off")]
    Option,
}

impl MysqlUrl {
    /// Whether a text is meant as the address of a server.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("mysql://") || text.starts_with("mariadb://")
    }

    /// From its parts. TLS, where there is any, is checked by `tls`.
    #[must_use]
    pub fn new(host: &str, port: Option<u16>, user: &str, tls: Option<Roots>) -> Self {
        Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or(PORT),
            user: user.to_owned(),
            password: None,
            database: None,
            tls,
            server_name: None,
        }
    }

    /// With a database that is used where statements name none.
    #[must_use]
    pub fn with_database(self, name: &str) -> Self {
        let database = Some(name.to_owned()).filter(|name| !name.is_empty());
        Self { database, ..self }
    }

    /// With the name that the server's certificate has to be for, where it is another one.
    #[must_use]
    pub fn with_server_name(self, name: &str) -> Self {
        let server_name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Self {
            server_name,
            ..self
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
            // It may not be allowed to use that one.
            database: None,
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
        let (host, port) = (&self.host, self.port);
        match host.contains(':') {
            true => format!("mysql://[{host}]:{port}"),
            false => format!("mysql://{host}:{port}"),
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

    pub(crate) fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    pub(crate) fn tls(&self) -> Option<&Roots> {
        self.tls.as_ref()
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

impl fmt::Debug for MysqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MysqlUrl").field(&self.place()).finish()
    }
}

impl FromStr for MysqlUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        if !Self::is_meant_by(text) || url.fragment().is_some() {
            return Err(UrlError::Malformed);
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(UrlError::Malformed)?;
        let (mut roots, mut said) = (None, None);
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("ca", file) if !file.is_empty() => roots = Some(Roots::File(file.into())),
                ("tls", "on") => said = Some(true),
                ("tls", "off") => said = Some(false),
                _ => return Err(UrlError::Option),
            }
        }
        let is_tls = match (said, &roots) {
            (Some(false), Some(_)) => return Err(UrlError::Option),
            (Some(said), _) => said,
            (None, Some(_)) => true,
            (None, None) => !is_near(host),
        };
        let tls = is_tls.then(|| roots.unwrap_or(Roots::Machine));
        let decoded =
            |text: &str| String::from_utf8(percent::decoded(text)).map_err(|_| UrlError::Malformed);
        let database = url.path().trim_start_matches('/');
        let address = Self::new(host, url.port(), &decoded(url.username())?, tls)
            .with_database(&decoded(database)?);
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

    fn read(text: &str) -> MysqlUrl {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_say_where_and_as_whom() {
        let url = read("mysql://boss@127.0.0.1:7000/shop");
        assert_eq!(
            (url.place().as_str(), url.user(), url.database()),
            ("mysql://127.0.0.1:7000", "boss", Some("shop"))
        );
        let url = read("mariadb://boss@[::1]");
        assert_eq!(
            (url.place().as_str(), url.database()),
            ("mysql://[::1]:3306", None)
        );
        let url = read("mysql://a%40b:p%2Fw@localhost");
        assert_eq!(url.user(), "a@b");
        let password = SecretValue::copy_from(b"p/w");
        assert!(url.password().unwrap().ct_eq(&password));
        assert!(!format!("{url:?}").contains("p/w"));
        let other = url.of_user("c", &SecretValue::copy_from(b"x"));
        assert_eq!((other.user(), other.database()), ("c", None));
    }

    #[test]
    fn what_leaves_the_machine_is_protected_unless_it_is_said() {
        let own = Roots::File("/etc/ca.pem".into());
        for (text, tls) in [
            ("mysql://u@db.example", Some(Roots::Machine)),
            ("mysql://u@10.0.0.1/d", Some(Roots::Machine)),
            ("mysql://u@db.example?tls=off", None),
            ("mysql://u@localhost", None),
            ("mysql://u@127.0.0.1?tls=on", Some(Roots::Machine)),
            ("mysql://u@127.0.0.1?ca=/etc/ca.pem", Some(own)),
        ] {
            assert_eq!(read(text).tls(), tls.as_ref(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let error = |text: &str| text.parse::<MysqlUrl>().unwrap_err();
        for text in ["postgres://u@h/d", "mysql:", "mysql://", "h", "mysql://h#x"] {
            assert_eq!(error(text), UrlError::Malformed, "{text}");
        }
        for text in [
            "mysql://h?x=1",
            "mysql://h?tls=maybe",
            "mysql://h?ca=",
            "mysql://h?tls=off&ca=/a",
        ] {
            assert_eq!(error(text), UrlError::Option, "{text}");
        }
    }
}
