//! One connection, and what is said over it.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::DriverError;
use mysql_async::Error;
use mysql_async::IoError;
use mysql_async::Opts;
use mysql_async::OptsBuilder;
use mysql_async::Row;
use mysql_async::ServerError;
use mysql_async::SslOpts;
use mysql_async::Value;
use mysql_async::prelude::Queryable;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;

use crate::address::MysqlUrl;
use crate::address::Roots;
use crate::statement;

/// How long connecting may take, and one answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest message either way, in bytes, so that the server is not asked for it.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After so many seconds the server ends a session that says nothing.
const IDLE_SECONDS: usize = 60;
/// A backslash in a literal means what it means by default.
const SETUP: &str =
    "SET SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'NO_BACKSLASH_ESCAPES', '')";
/// The version of MySQL that has taken longer names first.
const LONGER_NAMES: (u16, u16, u16) = (5, 7, 8);
const WHO: &str = "SELECT CONCAT(VERSION(), ' ', @@version_comment)";

/// Whose server it is: they keep passwords in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    MariaDb,
    MySql,
}

/// A connection to a server, as one of its users.
pub struct Session {
    conn: Conn,
    flavor: Flavor,
}

/// Why a server does not let somebody in.
#[derive(Debug)]
pub(crate) enum NotIn {
    /// The name or the password is wrong.
    Password(String),
    /// Something else, which the server said: of the password it says nothing.
    Other(String),
    /// It is not who it says it is, or cannot be asked to prove it.
    Untrusted(String),
    /// Nobody answers.
    Unreachable(String),
}

impl From<NotIn> for UserError {
    fn from(error: NotIn) -> Self {
        match error {
            NotIn::Password(detail) | NotIn::Other(detail) | NotIn::Untrusted(detail) => {
                Self::Refused { detail }
            }
            NotIn::Unreachable(detail) => Self::Unreachable { detail },
        }
    }
}

/// Opens a session as a user and closes it again: whether its password works, there and now.
///
/// # Errors
/// `Refused` when it does not, and why nobody answers.
pub async fn check_login(
    address: &MysqlUrl,
    user: &str,
    password: &SecretValue,
) -> Result<(), UserError> {
    Ok(try_login(address, user, password).await?)
}

pub(crate) async fn try_login(
    address: &MysqlUrl,
    user: &str,
    password: &SecretValue,
) -> Result<(), NotIn> {
    let conn = log_in(&address.of_user(user, password)).await?;
    close(conn).await;
    Ok(())
}

async fn log_in(address: &MysqlUrl) -> Result<Conn, NotIn> {
    let opts = options(address)?;
    let opened = tokio::time::timeout(CONNECT_MAX, Conn::new(opts)).await;
    match opened {
        Ok(opened) => opened.map_err(|error| not_opened(address, &error)),
        Err(_) => {
            let (place, seconds) = (address.place(), CONNECT_MAX.as_secs());
            let detail = format!("{place} did not answer in {seconds} s");
            Err(NotIn::Unreachable(detail))
        }
    }
}

async fn close(conn: Conn) {
    let _ = tokio::time::timeout(CONNECT_MAX, conn.disconnect()).await;
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// `Unreachable`, or `Refused` when it does not let us in.
    pub async fn open(address: &MysqlUrl) -> Result<Self, UserError> {
        let mut session = Self {
            conn: log_in(address).await?,
            flavor: Flavor::MySql,
        };
        let rows = session.rows(WHO).await?;
        let said = rows.first().and_then(|row| row.first());
        if said.is_some_and(|said| said.to_ascii_lowercase().contains("mariadb")) {
            session.flavor = Flavor::MariaDb;
        }
        session.say(SETUP, &[]).await?;
        Ok(session)
    }

    /// Says goodbye. A session that is only dropped does so later, on its own.
    pub async fn close(self) {
        close(self.conn).await;
    }

    /// Whether the server still answers this session.
    ///
    /// # Errors
    /// What it says.
    pub async fn ping(&mut self) -> Result<(), UserError> {
        let pinged = tokio::time::timeout(ANSWER_MAX, self.conn.ping()).await;
        pinged
            .map_err(|_| late())?
            .map_err(|error| failed(&error, &[]))
    }

    /// Whether it is a MariaDB, and not a MySQL.
    #[must_use]
    pub fn is_mariadb(&self) -> bool {
        self.flavor == Flavor::MariaDb
    }

    pub(crate) fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// How long the name of a user may be, in characters.
    pub(crate) fn name_chars_max(&self) -> usize {
        match self.flavor {
            Flavor::MariaDb => 80,
            Flavor::MySql if self.version() < LONGER_NAMES => 16,
            Flavor::MySql => 32,
        }
    }

    pub(crate) fn version(&self) -> (u16, u16, u16) {
        self.conn.server_version()
    }

    /// Does statements, one after the other, until one fails. Of what is hidden nothing stands in
    /// an error.
    pub(crate) async fn say(
        &mut self,
        sql: &str,
        hidden: &[&SecretValue],
    ) -> Result<(), UserError> {
        let said = tokio::time::timeout(ANSWER_MAX, self.conn.query_drop(sql)).await;
        said.map_err(|_| late())?
            .map_err(|error| failed(&error, hidden))
    }

    /// The rows of a query, all of them text; NULL is empty.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>, UserError> {
        let asked = tokio::time::timeout(ANSWER_MAX, self.conn.query::<Row, _>(sql)).await;
        let rows = asked
            .map_err(|_| late())?
            .map_err(|error| failed(&error, &[]))?;
        Ok(rows.into_iter().map(texts).collect())
    }
}

fn texts(row: Row) -> Vec<String> {
    let text = |value| match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        _ => String::new(),
    };
    row.unwrap().into_iter().map(text).collect()
}

fn late() -> UserError {
    UserError::Lost {
        detail: format!("no answer in {} s", ANSWER_MAX.as_secs()),
    }
}

fn options(address: &MysqlUrl) -> Result<Opts, NotIn> {
    // EXPOSE: the driver proves to the server that we know it; nobody else gets it.
    let password = address.password().and_then(SecretValue::expose_secret_text);
    let protection = address.tls().map(|roots| protection(address, roots));
    let builder = OptsBuilder::default()
        .ip_or_hostname(address.host())
        .tcp_port(address.port())
        .user(Some(address.user()))
        .pass(password)
        .db_name(address.database())
        .ssl_opts(protection.transpose()?)
        .prefer_socket(false)
        .stmt_cache_size(0)
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .wait_timeout(Some(IDLE_SECONDS));
    Ok(builder.into())
}

fn protection(address: &MysqlUrl, roots: &Roots) -> Result<SslOpts, NotIn> {
    let (found, place) = match roots {
        // What cannot be read is not trusted, and the handshake says so.
        Roots::Machine => (Ok(rustls_native_certs::load_native_certs().certs), None),
        Roots::File(path) => (
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
            Some(path.display().to_string()),
        ),
        Roots::Pem(pem) => (
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect(),
            Some("tls_ca".to_owned()),
        ),
    };
    let found: Vec<CertificateDer<'static>> = found.map_err(|error| {
        let place = place.as_deref().unwrap_or_default();
        NotIn::Untrusted(format!("{place}: the certificates cannot be read: {error}"))
    })?;
    let mut store = RootCertStore::empty();
    // The driver takes all or none of them.
    let usable = found.into_iter();
    let usable = usable.filter(|one| store.add(one.clone()).is_ok());
    let usable: Vec<_> = usable.map(|one| one.to_vec().into()).collect();
    if let (true, Some(place)) = (usable.is_empty(), place) {
        let detail = format!("{place}: no certificate of an authority is in it");
        return Err(NotIn::Untrusted(detail));
    }
    let opts = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(usable);
    Ok(match address.server_name() {
        Some(name) => opts.with_danger_tls_hostname_override(Some(name.to_owned())),
        None => opts,
    })
}

/// Why there is no session.
fn not_opened(address: &MysqlUrl, error: &Error) -> NotIn {
    let (place, user) = (address.place(), address.user());
    let untrusted = |why: &dyn std::fmt::Display| {
        NotIn::Untrusted(format!("{place} does not prove who it is: {why}"))
    };
    match error {
        Error::Server(said) if is_passing(said.code) => {
            NotIn::Unreachable(format!("{place}: {}", words(said)))
        }
        Error::Server(said) => {
            let detail = format!("{place} refuses the user {user}: {}", words(said));
            match said.code {
                ACCESS_DENIED => NotIn::Password(detail),
                _ => NotIn::Other(detail),
            }
        }
        Error::Io(IoError::Tls(error)) => untrusted(error),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => untrusted(&"it speaks no TLS"),
        Error::Io(IoError::Io(io)) => match tls_error(io) {
            Some(error) => untrusted(error),
            None => NotIn::Unreachable(format!("{place}: {io}")),
        },
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => NotIn::Other(format!(
            "{place} has the user {user} log in by {name}, which is not supported"
        )),
        _ => NotIn::Unreachable(format!("{place}: {error}")),
    }
}

/// A failed handshake comes as an error of the connection.
fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The name or the password is wrong.
const ACCESS_DENIED: u16 = 1045;

/// Too many connections, or on its way down.
fn is_passing(code: u16) -> bool {
    matches!(code, 1040 | 1053 | 1077 | 1079 | 1203)
}

/// Why statements were not done.
fn failed(error: &Error, hidden: &[&SecretValue]) -> UserError {
    match error {
        Error::Server(said) => {
            let detail = statement::hide(&words(said), hidden);
            match is_passing(said.code) {
                true => UserError::Lost { detail },
                false => UserError::Refused { detail },
            }
        }
        Error::Io(IoError::Io(io)) => UserError::Lost {
            detail: io.to_string(),
        },
        // Its own errors quote no statement.
        other => UserError::Lost {
            detail: other.to_string(),
        },
    }
}

fn words(error: &ServerError) -> String {
    format!("{} (error {})", error.message, error.code)
}
