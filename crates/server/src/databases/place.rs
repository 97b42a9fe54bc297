//! Where a database is, and how its users are reached: by its plugin.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use strongroom_core::host::is_near;
use strongroom_core::port::DatabaseUsers;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_engine::leases::NameForm;
use strongroom_mysql::MysqlUrl;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::users::Passwords;
use strongroom_redis::Lasting;
use strongroom_redis::RedisUrl;
use strongroom_redis::Roots;

use super::Connection;
use super::Users;
use super::dsn::Dsn;
use super::root::NAME_BYTES_MAX;

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    Mysql,
    Postgres,
    Redis,
}

/// A MySQL whose users have short names, as all had before 5.7.8.
const MYSQL_LEGACY: &str = "mysql-legacy-database-plugin";
const LEGACY_NAME_CHARS_MAX: usize = 16;
/// The names of plugins, as clients say them.
const PLUGINS: &[(&str, Plugin)] = &[
    ("mysql-aurora-database-plugin", Plugin::Mysql),
    ("mysql-database-plugin", Plugin::Mysql),
    (MYSQL_LEGACY, Plugin::Mysql),
    ("mysql-rds-database-plugin", Plugin::Mysql),
    ("postgresql-database-plugin", Plugin::Postgres),
    ("redis-database-plugin", Plugin::Redis),
    ("valkey-database-plugin", Plugin::Redis),
];

impl Plugin {
    /// The plugin of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = PLUGINS.iter().find(|(known, _)| *known == name);
        found.map(|(_, plugin)| *plugin)
    }
}

impl Connection {
    /// What kind of database it is.
    pub(crate) fn kind(&self) -> Plugin {
        Plugin::named(&self.plugin).unwrap_or(Plugin::Postgres)
    }

    /// How long the names of its users may be.
    pub(crate) fn names(&self) -> NameForm {
        match self.kind() {
            Plugin::Mysql if self.plugin == MYSQL_LEGACY => NameForm::Shortest,
            Plugin::Mysql => NameForm::Short,
            Plugin::Postgres | Plugin::Redis => NameForm::Usual,
        }
    }

    /// How long a name may be that a template makes: as far as the plugin tells. A server may take
    /// less.
    pub(super) fn name_chars_max(&self) -> usize {
        match self.names() {
            NameForm::Shortest => LEGACY_NAME_CHARS_MAX,
            NameForm::Short | NameForm::Usual => NAME_BYTES_MAX,
        }
    }

    /// What clients said besides.
    fn said(&self) -> Map<String, Value> {
        serde_json::from_str(&self.details).unwrap_or_default()
    }

    fn said_text(&self, name: &str) -> Option<String> {
        let said = self.said();
        let text = said.get(name).and_then(Value::as_str)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The policy that its passwords are drawn by.
    pub(crate) fn password_policy(&self) -> Option<String> {
        self.said_text("password_policy")
    }

    /// The template that its users are named by.
    pub(crate) fn username_template(&self) -> Option<String> {
        self.said_text("username_template")
    }

    /// What is wrong with where it is.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.kind() {
            Plugin::Mysql | Plugin::Postgres if self.url.is_empty() => {
                Err("connection_url cannot be empty".into())
            }
            Plugin::Mysql => self.mysql(None).map(drop),
            Plugin::Postgres => self.address(None).map(drop),
            Plugin::Redis => self.redis(None).map(drop),
        }
    }

    /// Where a PostgreSQL is, with a password.
    fn address(&self, password: Option<&SecretValue>) -> Result<DatabaseUrl, String> {
        let user = in_url(&self.username);
        let mut url = self.url.replace("{{username}}", &user);
        url = url.replacen(":{{password}}@", "@", 1);
        if url.contains("{{") {
            return Err(
                "connection_url has a placeholder that is none, or at another place than \
                        user:password"
                    .into(),
            );
        }
        let named = with_database(&url);
        let address: DatabaseUrl = named
            .parse()
            .map_err(|error| format!("connection_url cannot be used: {error}"))?;
        Ok(match password {
            Some(password) => address.with_password(password),
            None => address,
        })
    }

    /// Where a MariaDB or MySQL is, with a password.
    fn mysql(&self, password: Option<&SecretValue>) -> Result<MysqlUrl, String> {
        use strongroom_mysql::Roots;
        let said = self.said();
        let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
        let dsn = Dsn::read(&self.url);
        let dsn = dsn.map_err(|why| format!("connection_url cannot be used: {why}"))?;
        let user = match dsn.user {
            "" | "{{username}}" => &self.username,
            own => own,
        };
        if user.is_empty() || user.contains("{{") {
            return Err("username cannot be empty".into());
        }
        if said.get("tls_skip_verify").is_some_and(is_true) {
            return Err(
                "tls_skip_verify is not supported: TLS that checks nobody protects from nobody"
                    .into(),
            );
        }
        let roots = match text("tls_ca") {
            "" => None,
            pem => Some(Roots::Pem(pem.to_owned())),
        };
        let is_far = !is_near(dsn.host);
        let is_tls = dsn.tls.unwrap_or(roots.is_some() || is_far);
        let tls = is_tls.then(|| roots.unwrap_or(Roots::Machine));
        let address = MysqlUrl::new(dsn.host, dsn.port, user, tls)
            .with_database(dsn.database)
            .with_server_name(text("tls_server_name"));
        Ok(match password {
            Some(password) => address.with_password(password),
            None => address,
        })
    }

    /// Where a Redis is, with a password.
    fn redis(&self, password: Option<&SecretValue>) -> Result<(RedisUrl, Lasting), String> {
        let said = self.said();
        let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
        let flag = |name: &str| said.get(name).map(is_true);
        let host = text("host");
        if host.is_empty() {
            return Err("host cannot be empty".into());
        }
        let port = said.get("port").and_then(crate::vault::field::integer_of);
        let port = match port {
            None | Some(0) => return Err("port cannot be empty".into()),
            Some(port) => u16::try_from(port).map_err(|_| "port is no port")?,
        };
        if self.username.is_empty() {
            return Err("username cannot be empty".into());
        }
        if self.password.is_none() {
            return Err("password cannot be empty".into());
        }
        if flag("insecure_tls") == Some(true) {
            return Err(
                "insecure_tls is not supported: TLS that checks nobody protects from \
                        nobody"
                    .into(),
            );
        }
        let is_tls = flag("tls").unwrap_or(!is_near(host));
        let roots = match text("ca_cert") {
            "" => Roots::Machine,
            pem => Roots::Pem(pem.to_owned()),
        };
        let lasting = match text("persistence_mode").to_ascii_uppercase().as_str() {
            "" | "ACLFILE" => Lasting::AclFile,
            "REWRITE" => Lasting::Rewrite,
            "NONE" => Lasting::Never,
            _ => return Err("persistence_mode is one of ACLFILE, REWRITE and NONE".into()),
        };
        let address = RedisUrl::new(host, port, &self.username, is_tls.then_some(roots));
        let address = match password {
            Some(password) => address.with_password(password),
            None => address,
        };
        Ok((address, lasting))
    }

    /// What stands for `{{password}}` in statements.
    fn passwords(&self) -> Passwords {
        match self.password_authentication.as_str() {
            "scram-sha-256" => Passwords::VerifierEverywhere,
            "password" => Passwords::Clear,
            _ => Passwords::Verifier,
        }
    }
}

/// Clients say it as a word as well.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "t"),
        Value::Number(number) => number.as_i64() == Some(1),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Connections to a database with a password; none is opened yet.
pub(crate) fn connect(
    connection: &Connection,
    password: Option<&SecretValue>,
) -> Result<Users, UserError> {
    let size = usize::try_from(connection.connections).unwrap_or(1).max(1);
    let users: Arc<dyn DatabaseUsers> = match connection.kind() {
        Plugin::Mysql => {
            use strongroom_mysql::Passwords;
            let address = connection.mysql(password).map_err(UserError::refused)?;
            let passwords = match connection.password_authentication.as_str() {
                "password" => Passwords::Clear,
                _ => Passwords::Hash,
            };
            Arc::new(strongroom_mysql::Users::new(address, size, passwords))
        }
        Plugin::Postgres => {
            let address = connection.address(password).map_err(UserError::refused)?;
            let passwords = connection.passwords();
            let users = strongroom_postgres::users::Users::new(address, size, passwords);
            Arc::new(users.map_err(|error| UserError::refused(error.to_string()))?)
        }
        Plugin::Redis => {
            let (address, lasting) = connection.redis(password).map_err(UserError::refused)?;
            Arc::new(strongroom_redis::Users::new(address, size, lasting))
        }
    };
    Ok(Users(users))
}

/// A name as it stands in a URL.
fn in_url(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut url, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                url.push(char::from(byte));
            }
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
        url
    })
}

/// Clients leave the database out where it is called as the user is.
fn with_database(url: &str) -> String {
    let (place, query) = match url.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (url, String::new()),
    };
    let Some((scheme, rest)) = place.split_once("://") else {
        return url.to_owned();
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    match (database, authority.rsplit_once('@')) {
        ("", Some((user, _))) => format!("{scheme}://{authority}/{user}{query}"),
        _ => url.to_owned(),
    }
}
