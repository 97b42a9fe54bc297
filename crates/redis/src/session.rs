//! One connection, and what is said over it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use redis::AsyncConnectionConfig;
use redis::Cmd;
use redis::ErrorKind;
use redis::ProtocolVersion;
use redis::RedisConnectionInfo;
use redis::RedisError;
use redis::ServerErrorKind;
use redis::Value;
use redis::aio::MultiplexedConnection;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::Error as TlsError;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::digest::Algorithm;
use strongroom_crypto::digest::digest;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;

use crate::address::RedisUrl;
use crate::address::Roots;

/// How long connecting may take, and one answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How Redis says that it has no file to keep users in. It has no code of its own for that.
const NO_FILE: &str = "not configured to use an ACL file";
/// What to do where the other side says nothing that is understood.
const IF_NO_TLS: &str = "; if it speaks no TLS at this port, ask for none: redis://, or tls=false";
const IF_TLS: &str = "; if it speaks only TLS at this port, ask for it: rediss://, or tls=true";
/// A server that wants a certificate of ours says so when the handshake is over.
const WANTS_CERTIFICATE: &str = "CertificateRequired";

/// How what was changed outlasts a restart of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lasting {
    /// By its ACL file, where it has one.
    #[default]
    AclFile,
    /// By its configuration file, which it writes anew.
    Rewrite,
    /// Not.
    Never,
}

/// Why a server does not let somebody in.
#[derive(Debug)]
pub(crate) enum NotIn {
    /// The name or the password is wrong, or the user may not log in.
    Password(String),
    /// It is not who it says it is, or cannot be asked to prove it.
    Untrusted(String),
    /// Nobody answers.
    Unreachable(String),
}

impl From<NotIn> for UserError {
    fn from(error: NotIn) -> Self {
        match error {
            NotIn::Password(detail) | NotIn::Untrusted(detail) => Self::Refused { detail },
            NotIn::Unreachable(detail) => Self::Unreachable { detail },
        }
    }
}

/// What is known of a user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) flags: Vec<String>,
    /// The SHA-256 of each of its passwords, in hexadecimal.
    pub(crate) passwords: Vec<String>,
}

/// A connection to a Redis, as one of its users. Closed on drop.
pub struct Session {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens a session as a user and closes it again: whether its password works, there and now.
///
/// # Errors
/// `Refused` when it does not, and why nobody answers.
pub async fn check_login(
    address: &RedisUrl,
    user: &str,
    password: &SecretValue,
) -> Result<(), UserError> {
    Ok(try_login(address, user, password).await?)
}

pub(crate) async fn try_login(
    address: &RedisUrl,
    user: &str,
    password: &SecretValue,
) -> Result<(), NotIn> {
    let session = Session::connect(&address.of_user(user, password)).await;
    session.map(drop)
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// `Unreachable`, or `Refused` when it does not let us in.
    pub async fn open(address: &RedisUrl) -> Result<Self, UserError> {
        Ok(Self::connect(address).await?)
    }

    async fn connect(address: &RedisUrl) -> Result<Self, NotIn> {
        let until = Instant::now() + CONNECT_MAX;
        let place = address.place();
        let late = |hint: &str| {
            let seconds = CONNECT_MAX.as_secs();
            NotIn::Unreachable(format!("{place} did not answer in {seconds} s{hint}"))
        };
        let stream = TcpStream::connect((address.host(), address.port()));
        let stream = timeout_at(until, stream).await.map_err(|_| late(""))?;
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(|error| NotIn::Unreachable(format!("{place}: {error}")))?;
        let Some(roots) = address.tls() else {
            let session = timeout_at(until, Self::log_in(address, stream)).await;
            return session.map_err(|_| late(IF_TLS))?;
        };
        let connector = TlsConnector::from(Arc::new(protection(roots)?));
        let name = ServerName::try_from(address.host().to_owned());
        let name = name.map_err(|error| NotIn::Untrusted(format!("{place}: {error}")))?;
        let stream = timeout_at(until, connector.connect(name, stream)).await;
        let stream = stream.map_err(|_| late(IF_NO_TLS))?;
        let stream = stream.map_err(|error| no_handshake(&place, &error))?;
        let session = timeout_at(until, Self::log_in(address, stream)).await;
        session.map_err(|_| late(""))?
    }

    async fn log_in(
        address: &RedisUrl,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, NotIn> {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name()
            .set_username(address.user());
        if let Some(password) = address.password() {
            // EXPOSE: Redis is told who we are by it; nobody else gets it.
            info = info.set_password(password.expose_secret_text().unwrap_or_default());
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_MAX));
        let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = opened.map_err(|error| not_let_in(address, &error))?;
        let driver = tokio::spawn(driver);
        Ok(Self { connection, driver })
    }

    async fn ask(&mut self, command: &Cmd) -> Result<Value, UserError> {
        let asked = self.connection.send_packed_command(command).await;
        let answer = asked.and_then(Value::extract_error);
        answer.map_err(|error| of_redis(&error))
    }

    /// Whether the server still answers this session.
    ///
    /// # Errors
    /// What it says.
    pub async fn ping(&mut self) -> Result<(), UserError> {
        self.ask(&redis::cmd("PING")).await.map(drop)
    }

    /// Who this session is.
    pub(crate) async fn who(&mut self) -> Result<(), UserError> {
        let mut command = redis::cmd("ACL");
        self.ask(command.arg("WHOAMI")).await.map(drop)
    }

    pub(crate) async fn user(&mut self, name: &str) -> Result<Option<Known>, UserError> {
        let mut command = redis::cmd("ACL");
        let value = self.ask(command.arg("GETUSER").arg(name)).await?;
        let Value::Array(fields) = value else {
            return Ok(None);
        };
        let mut known = Known::default();
        for field in fields.chunks(2) {
            match (field.first().and_then(text), field.get(1)) {
                (Some("flags"), Some(flags)) => known.flags = texts(flags),
                (Some("passwords"), Some(passwords)) => known.passwords = texts(passwords),
                _ => {}
            }
        }
        Ok(Some(known))
    }

    /// Changes a user by rules, or makes it: all of them or none.
    pub(crate) async fn set_user(&mut self, name: &str, rules: &[&str]) -> Result<(), UserError> {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(name).arg(rules);
        self.ask(&command).await.map(drop)
    }

    /// Removes a user and ends its connections; one that is not there is removed.
    pub(crate) async fn drop_user(&mut self, name: &str) -> Result<(), UserError> {
        let mut command = redis::cmd("ACL");
        self.ask(command.arg("DELUSER").arg(name)).await.map(drop)
    }

    /// The names of all users.
    pub(crate) async fn names(&mut self) -> Result<Vec<String>, UserError> {
        let mut command = redis::cmd("ACL");
        Ok(texts(&self.ask(command.arg("USERS")).await?))
    }

    /// Has the server keep what was changed.
    pub(crate) async fn keep(&mut self, lasting: Lasting) -> Result<(), UserError> {
        let mut command = match lasting {
            Lasting::Never => return Ok(()),
            Lasting::AclFile => redis::cmd("ACL"),
            Lasting::Rewrite => redis::cmd("CONFIG"),
        };
        command.arg(match lasting {
            Lasting::Rewrite => "REWRITE",
            Lasting::AclFile | Lasting::Never => "SAVE",
        });
        match self.ask(&command).await {
            Err(UserError::Refused { detail })
                if lasting == Lasting::AclFile && detail.contains(NO_FILE) =>
            {
                Ok(())
            }
            Err(UserError::Refused { detail }) => Err(UserError::refused(format!(
                "the change would be lost at the next restart of the server: {detail}"
            ))),
            done => done.map(drop),
        }
    }

    /// Has a user that is there take a second password. Of those it has only one is kept: the one
    /// that works. Where that is none of them, all are kept.
    ///
    /// # Errors
    /// `Refused` when there is no such user, or it is let in with any password.
    pub async fn add_password(
        &mut self,
        user: &str,
        new: &SecretValue,
        works: Option<&SecretValue>,
        lasting: Lasting,
    ) -> Result<(), UserError> {
        let known = self.with_passwords(user).await?;
        let (new, works) = (hash_of(new)?, works.map(hash_of).transpose()?);
        let mut rules = vec![format!("#{new}")];
        if let Some(works) = works.filter(|works| known.passwords.contains(works)) {
            let others = known.passwords.iter();
            let others = others.filter(|one| **one != new && **one != works);
            rules.extend(others.map(|one| format!("!{one}")));
        }
        self.change(user, &rules, lasting).await
    }

    /// Has a user take the password again that worked, and not the other one.
    ///
    /// # Errors
    /// As above.
    pub async fn restore_password(
        &mut self,
        user: &str,
        works: &SecretValue,
        failed: Option<&SecretValue>,
        lasting: Lasting,
    ) -> Result<(), UserError> {
        let known = self.with_passwords(user).await?;
        let (works, failed) = (hash_of(works)?, failed.map(hash_of).transpose()?);
        let mut rules = vec![format!("#{works}")];
        let failed = failed.filter(|failed| *failed != works && known.passwords.contains(failed));
        rules.extend(failed.map(|failed| format!("!{failed}")));
        self.change(user, &rules, lasting).await
    }

    async fn with_passwords(&mut self, user: &str) -> Result<Known, UserError> {
        let known = self.user(user).await?;
        let known = known.ok_or_else(|| UserError::refused(format!("there is no user {user}")))?;
        match known.flags.iter().any(|flag| flag == "nopass") {
            true => Err(UserError::refused(format!(
                "the user {user} is let in with any password (nopass): give it one first"
            ))),
            false => Ok(known),
        }
    }

    async fn change(
        &mut self,
        user: &str,
        rules: &[String],
        lasting: Lasting,
    ) -> Result<(), UserError> {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        self.set_user(user, &rules).await?;
        self.keep(lasting).await
    }
}

/// What Redis keeps of a password, in place of it.
pub(crate) fn hash_of(password: &SecretValue) -> Result<String, UserError> {
    // EXPOSE: looked at for its encoding, and not kept.
    let is_text = password.expose_secret_text().is_some();
    if password.is_empty() || !is_text {
        return Err(UserError::refused("a password is a text that is not empty"));
    }
    // EXPOSE: hashed as Redis would hash it; what comes out lets nobody in.
    let hash = digest(Algorithm::Sha256, password.expose_secret());
    Ok(HEXLOWER.encode(&hash))
}

/// Why a handshake of TLS failed, and what can be done about it.
fn no_handshake(place: &str, error: &io::Error) -> NotIn {
    let found = error.get_ref().and_then(|error| error.downcast_ref());
    let Some(found) = found else {
        return NotIn::Unreachable(format!("{place}: {error}{IF_NO_TLS}"));
    };
    let hint = match found {
        // Of another authority that has the same name.
        TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "; name the authority that signed its certificate: `ca` in an address, `ca_cert` of a \
             connection"
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "; call the host as its certificate does",
        TlsError::InvalidMessage(_) => IF_NO_TLS,
        _ => "",
    };
    NotIn::Untrusted(format!("{place} does not prove who it is: {error}{hint}"))
}

fn not_let_in(address: &RedisUrl, error: &RedisError) -> NotIn {
    let (place, user) = (address.place(), address.user());
    match (error.kind(), address.tls()) {
        (ErrorKind::AuthenticationFailed, _) => NotIn::Password(format!(
            "{place} refuses the user {user}: the name or the password is wrong, or it may not log \
             in"
        )),
        (ErrorKind::Io | ErrorKind::Parse, None) => {
            NotIn::Unreachable(format!("{place}: {error}{IF_TLS}"))
        }
        (ErrorKind::Io, Some(_)) if error.to_string().contains(WANTS_CERTIFICATE) => {
            NotIn::Untrusted(format!(
                "{place} lets in only clients with a certificate, which is not supported: have it \
                 ask for passwords alone (`tls-auth-clients no`)"
            ))
        }
        _ => NotIn::Unreachable(format!("{place}: {error}")),
    }
}

fn of_redis(error: &RedisError) -> UserError {
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => {
            UserError::Unreachable { detail }
        }
        ErrorKind::Server(_) | ErrorKind::Extension => UserError::Refused { detail },
        _ => UserError::Lost { detail },
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn texts(value: &Value) -> Vec<String> {
    let Value::Array(values) = value else {
        return Vec::new();
    };
    let values = values.iter().filter_map(text);
    values.map(str::to_owned).collect()
}

fn protection(roots: &Roots) -> Result<ClientConfig, NotIn> {
    let mut store = RootCertStore::empty();
    let (found, place) = match roots {
        // What cannot be read is not trusted, and the handshake says so.
        Roots::Machine => (Ok(rustls_native_certs::load_native_certs().certs), None),
        Roots::File(path) => (
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
            Some(path.display().to_string()),
        ),
        Roots::Pem(pem) => (
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect(),
            Some("ca_cert".to_owned()),
        ),
    };
    let found: Vec<CertificateDer<'static>> = found.map_err(|error| {
        let place = place.as_deref().unwrap_or_default();
        NotIn::Untrusted(format!("{place}: the certificates cannot be read: {error}"))
    })?;
    let (added, _) = store.add_parsable_certificates(found);
    if let (0, Some(place)) = (added, place) {
        return Err(NotIn::Untrusted(format!(
            "{place}: no certificate of an authority is in it"
        )));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NotIn::Untrusted(error.to_string()))?;
    Ok(config.with_root_certificates(store).with_no_client_auth())
}
