//! Where a database is, as it was typed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use strongroom_core::host;
use strongroom_core::secret::SecretValue;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::config::SslMode;
use tokio_postgres::config::TargetSessionAttrs;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long without an answer the kernel gives a connection up.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// What the database calls our connections.
const APPLICATION: &str = "strongroom";

/// A `postgres://` address. It may hold a password, so it cannot be printed; [`Self::place`] can.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: Arc<Config>,
    tls: Tls,
    has_password: bool,
}

/// How a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Off,
    /// The chain and the name are checked.
    VerifyFull {
        /// Whom to trust instead of the machine's authorities.
        roots: Option<PathBuf>,
    },
}

/// Why an address cannot be used. Says which part, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Another scheme, or nothing that reads as an address.
    #[error("it is no address of the form postgres://USER@HOST:PORT/DATABASE")]
    Malformed,
    /// TLS that checks nothing, or half.
    #[error("sslmode={mode} does not check whom it talks to")]
    Unchecked {
        /// Which mode.
        mode: String,
    },
    /// No such mode.
    #[error("sslmode is one of verify-full and disable")]
    UnknownMode,
    /// No host.
    #[error("it names no host")]
    NoHost,
    /// No database.
    #[error("it names no database")]
    NoDatabase,
    /// No user.
    #[error("it names no user")]
    NoUser,
}

impl DatabaseUrl {
    /// Whether a text is meant as the address of a database.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Whether the address itself holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.has_password
    }

    /// With a password that was found elsewhere.
    #[must_use]
    pub fn with_password(self, password: &SecretValue) -> Self {
        let mut config = (*self.config).clone();
        // EXPOSE: the driver proves to the database that we know it; nobody else gets it.
        config.password(password.expose_secret());
        Self {
            config: Arc::new(config),
            ..self
        }
    }

    /// Host, port and database, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        let hosts: Vec<String> = self
            .addresses()
            .map(|(host, port)| format!("{host}:{port}"))
            .collect();
        format!("postgres://{}/{}", hosts.join(","), self.database())
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// Its hosts with their ports.
    pub fn addresses(&self) -> impl Iterator<Item = (String, u16)> {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate();
        hosts.map(move |(at, host)| {
            let host = match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            };
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            (host, port)
        })
    }

    /// The driver's settings; with the password in them.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How connections are protected.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.tls
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.place()).finish()
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if !Self::is_meant_by(text) {
            return Err(UrlError::Malformed);
        }
        // The driver knows neither `verify-full` nor `sslrootcert`: they are ours.
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut roots) = (None, None);
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => roots = Some(value.into_owned()),
                _ => {
                    rest.append_pair(&key, &value);
                }
            }
        }
        // The driver reads `+` as it stands, not as a space.
        let rest = rest.finish().replace('+', "%20");
        let mut config: Config = format!("{address}?{rest}")
            .parse()
            .map_err(|_| UrlError::Malformed)?;
        if config.get_hosts().is_empty() {
            return Err(UrlError::NoHost);
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(UrlError::NoDatabase);
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(UrlError::NoUser);
        }
        let roots = roots.filter(|roots| roots != "system").map(PathBuf::from);
        let tls = match mode.as_deref() {
            Some("verify-full") => Tls::VerifyFull { roots },
            Some("disable") => Tls::Off,
            Some(mode @ ("allow" | "prefer" | "require" | "verify-ca")) => {
                return Err(UrlError::Unchecked {
                    mode: mode.to_owned(),
                });
            }
            Some(_) => return Err(UrlError::UnknownMode),
            None if roots.is_none() && config.get_hosts().iter().all(is_near) => Tls::Off,
            None => Tls::VerifyFull { roots },
        };
        config
            .ssl_mode(match tls {
                Tls::Off => SslMode::Disable,
                Tls::VerifyFull { .. } => SslMode::Require,
            })
            .application_name(APPLICATION)
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(TCP_TIMEOUT)
            .tcp_user_timeout(TCP_TIMEOUT)
            // Of several hosts the one that takes writes: after a failover it is another one.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        let has_password = config.get_password().is_some();
        Ok(Self {
            config: Arc::new(config),
            tls,
            has_password,
        })
    }
}

/// Whether what is sent there leaves the machine.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => host::is_near(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls_of(text: &str) -> Result<Tls, UrlError> {
        text.parse::<DatabaseUrl>().map(|url| url.tls)
    }

    #[test]
    fn what_leaves_the_machine_is_checked_in_full() {
        let full = Ok(Tls::VerifyFull { roots: None });
        assert_eq!(tls_of("postgres://u@db.example/s"), full);
        assert_eq!(
            tls_of("postgresql://u@10.0.0.1:6432/s?sslrootcert=system"),
            full
        );
        assert_eq!(tls_of("postgres://u@localhost,db.example/s"), full);
        assert_eq!(tls_of("postgres://u@127.0.0.1/s"), Ok(Tls::Off));
        assert_eq!(tls_of("postgres://u@localhost/s"), Ok(Tls::Off));
        assert_eq!(tls_of("postgres://u@%2Frun%2Fpostgresql/s"), Ok(Tls::Off));
        assert_eq!(
            tls_of("postgres://u@db.example/s?sslmode=disable"),
            Ok(Tls::Off)
        );
        let own = Tls::VerifyFull {
            roots: Some("/etc/my ca.pem".into()),
        };
        assert_eq!(
            tls_of("postgres://u@localhost/s?sslrootcert=/etc/my%20ca.pem"),
            Ok(own)
        );
    }

    #[test]
    fn tls_that_checks_nothing_is_refused() {
        for mode in ["allow", "prefer", "require", "verify-ca"] {
            let found = tls_of(&format!("postgres://u@db.example/s?sslmode={mode}"));
            assert_eq!(found, Err(UrlError::Unchecked { mode: mode.into() }));
        }
        assert_eq!(
            tls_of("postgres://u@h/s?sslmode=on"),
            Err(UrlError::UnknownMode)
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |text: &str| text.parse::<DatabaseUrl>().unwrap_err();
        assert_eq!(error("mysql://u@h/s"), UrlError::Malformed);
        assert_eq!(error("postgres:///s"), UrlError::NoHost);
        assert_eq!(error("postgres://u@h"), UrlError::NoDatabase);
        assert_eq!(error("postgres://h/s"), UrlError::NoUser);
        assert_eq!(error("postgres://u@h:p4ss/s"), UrlError::Malformed);
        assert_eq!(error("postgres://u@h/s?nosuch=1"), UrlError::Malformed);
    }

    #[test]
    fn a_password_is_never_shown() {
        let url: DatabaseUrl = "postgres://u:hunter2@h1:1,h2:2/s".parse().unwrap();
        assert!(url.has_password());
        let shown = format!("{url:?} {}", url.place());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(url.place(), "postgres://h1:1,h2:2/s");
        let url: DatabaseUrl = "postgres://u@h/s".parse().unwrap();
        assert!(!url.has_password());
        let url = url.with_password(&SecretValue::from_text("hunter3".to_owned()));
        assert!(!format!("{url:?}").contains("hunter3"));
    }

    #[test]
    fn options_of_the_session_come_through() {
        let url = "postgres://u@h/s?options=-csearch_path%3Da%20-cwork_mem%3D4MB";
        let url: DatabaseUrl = url.parse().unwrap();
        assert_eq!(
            url.config.get_options(),
            Some("-csearch_path=a -cwork_mem=4MB")
        );
    }
}
