//! Databases that users are made in: what is known of them, and the connections to them.

mod root;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::RecordId;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::state::Found;
use strongroom_engine::state::Kind;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::users::Passwords;
use strongroom_postgres::users::SESSION;
use strongroom_postgres::users::UserError;
use strongroom_postgres::users::Users;
use strongroom_postgres::users::Values;
use strongroom_postgres::users::render;

use crate::core::Core;
use crate::node::Node;

pub(crate) use root::is_plain_name;
pub(crate) use root::missing;
pub(crate) use root::put_static;
pub(crate) use root::rotate_root;
pub(crate) use root::rotate_static;
pub(crate) use root::settled_static;

/// The only kind of database there is.
pub(crate) const PLUGIN: &str = "postgresql-database-plugin";
/// Connections to one database, unless it says otherwise.
pub(crate) const CONNECTIONS: u32 = 4;
/// Longest time that a change of a password may take, in seconds: some calls.
const PENDING_SECONDS: i64 = 120;
/// Longest time that one call to a database may take.
const CALL_MAX: Duration = Duration::from_secs(25);

/// A password in a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Password(
    #[serde(with = "strongroom_engine::access_keys::kept")] pub(crate) SecretValue,
);

/// A password that is being set: one of the two is right.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) password: Password,
    /// Whoever sets it has so much time from here on; after it, it was cut off.
    pub(crate) since: Timestamp,
}

impl Pending {
    /// Whether somebody is setting it now.
    pub(crate) fn is_under_way(&self, now: Timestamp) -> bool {
        now < self.since.plus(Span::from_seconds(PENDING_SECONDS))
    }
}

/// A database that users are made in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) plugin_version: String,
    pub(crate) allowed_roles: Vec<String>,
    pub(crate) root_rotation: Vec<String>,
    /// With `{{username}}` and `{{password}}` in it, and never a password.
    pub(crate) url: String,
    pub(crate) username: String,
    pub(crate) password: Option<Password>,
    /// The password that is being set; which of the two is right is found out by trying.
    pub(crate) next: Option<Pending>,
    pub(crate) connections: u32,
    /// What `{{password}}` stands for, where the operator said so.
    pub(crate) password_authentication: String,
    /// What else was set, as JSON: shown as it came.
    pub(crate) details: String,
    /// Whether statements may be tried when a role is written.
    pub(crate) is_verified: bool,
    /// It was deleted, and is kept for as long as there are leases.
    pub(crate) is_retired: bool,
    /// `password` is the one that is being set: it was tried, and works already.
    #[serde(skip)]
    pub(crate) is_next: bool,
}

impl Stored for Connection {
    const KIND: Kind = Kind::DatabaseConnection;
}

/// What users of a role are like.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DatabaseRole {
    pub(crate) connection: String,
    pub(crate) creation: Vec<String>,
    pub(crate) revocation: Vec<String>,
    pub(crate) rollback: Vec<String>,
    pub(crate) renew: Vec<String>,
    pub(crate) default_ttl: i64,
    pub(crate) max_ttl: i64,
    /// Leases it may have at once; 0 for the usual limit.
    pub(crate) leases_max: u64,
}

impl Stored for DatabaseRole {
    const KIND: Kind = Kind::DatabaseRole;
}

/// A user that is there already, whose password is changed from time to time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StaticRole {
    pub(crate) mount: [u8; 16],
    pub(crate) connection: String,
    pub(crate) username: String,
    pub(crate) statements: Vec<String>,
    /// Seconds between two changes.
    pub(crate) period: i64,
    pub(crate) password: Option<Password>,
    /// The password that is being set; which of the two is right is found out by trying.
    pub(crate) next: Option<Pending>,
    pub(crate) last: Option<Timestamp>,
}

impl Stored for StaticRole {
    const KIND: Kind = Kind::DatabaseStaticRole;
}

/// The name of a record of a mount, by the mount's owner's name.
pub(crate) fn of_mount(owner: &str, name: &str) -> String {
    format!("{owner}\0{name}")
}

impl Connection {
    /// Where it is, with a password.
    pub(crate) fn address(&self, password: Option<&SecretValue>) -> Result<DatabaseUrl, String> {
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

    /// What stands for `{{password}}` in statements.
    pub(crate) fn passwords(&self) -> Passwords {
        match self.password_authentication.as_str() {
            "scram-sha-256" => Passwords::VerifierEverywhere,
            "password" => Passwords::Clear,
            _ => Passwords::Verifier,
        }
    }

    pub(crate) fn allows(&self, role: &str) -> bool {
        self.allowed_roles.iter().any(|allowed| fits(allowed, role))
    }
}

/// A pattern with `*` at its beginning or end, or both.
fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(rest), Some(_)) => name.contains(rest.trim_end_matches('*')),
        (Some(end), None) => name.ends_with(end),
        (None, Some(beginning)) => name.starts_with(beginning),
        (None, None) => pattern == name,
    }
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

/// Connections that are open, by the record that they were opened for.
#[derive(Default)]
pub(crate) struct Databases {
    opened: Mutex<HashMap<RecordId, (Key, Users)>>,
}

/// What connections were opened for: a record's revision, and whether with the password that was
/// being set.
type Key = (u64, bool);

fn key_of(found: &Found<Connection>) -> Key {
    (found.revision, found.value.is_next)
}

impl Databases {
    /// The users of a database; connections are opened when they are needed.
    pub(crate) fn users(&self, found: &Found<Connection>) -> Result<Users, UserError> {
        let key = key_of(found);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, users)) = opened.get(&found.id)
            && *known == key
        {
            return Ok(users.clone());
        }
        let password = found.value.password.as_ref().map(|password| &password.0);
        let users = connect(&found.value, password)?;
        opened.insert(found.id, (key, users.clone()));
        Ok(users)
    }

    /// Whether the password that is being set was found to work.
    fn has_next(&self, found: &Found<Connection>) -> bool {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let known = opened.get(&found.id).map(|(known, _)| *known);
        known == Some((found.revision, true))
    }

    /// Opens connections anew when they are needed next.
    pub(crate) fn close(&self, id: RecordId) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.remove(&id);
    }
}

/// Connections to a database with a password; none is opened yet.
pub(crate) fn connect(
    connection: &Connection,
    password: Option<&SecretValue>,
) -> Result<Users, UserError> {
    let unusable = |detail: String| UserError::Refused { detail };
    let address = connection.address(password).map_err(unusable)?;
    let size = usize::try_from(connection.connections).unwrap_or(1).max(1);
    let connector = strongroom_postgres::connector(&address);
    let connector = connector.map_err(|error| unusable(error.to_string()))?;
    let pool = strongroom_postgres::pool(&address, connector, size, SESSION);
    let pool = pool.map_err(|error| unusable(error.to_string()))?;
    Ok(Users::new(pool, size))
}

/// A call to a database that ends in time.
pub(crate) async fn in_time<T>(
    call: impl Future<Output = Result<T, UserError>>,
) -> Result<T, UserError> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(done) => done,
        Err(_) => Err(UserError::Lost {
            detail: "it did not answer in time".into(),
        }),
    }
}

/// A database by its name, also one that was deleted while there are leases.
pub(crate) async fn connection(
    state: &State,
    owner: &str,
    name: &str,
) -> Result<Option<Found<Connection>>, strongroom_engine::Error> {
    state.load(&of_mount(owner, name)).await
}

/// Removes a user; one that is not there is removed.
pub(crate) async fn remove_user(
    users: &Users,
    name: &str,
    statements: &[String],
) -> Result<(), UserError> {
    if statements.is_empty() {
        return in_time(users.drop_user(name)).await;
    }
    let values = Values {
        name,
        password: None,
        expiration: "",
    };
    let sql = render(statements, values, Passwords::Verifier);
    match in_time(users.run(&sql, &[])).await {
        Err(error @ UserError::Refused { .. }) => match in_time(users.find(name)).await {
            Ok(None) => Ok(()),
            _ => Err(error),
        },
        done => done,
    }
}

/// A new password: letters, digits and `-`, each kind at least once.
pub(crate) fn new_password(node: &Node) -> SecretValue {
    use strongroom_core::generate::CharClass;
    use strongroom_core::generate::GeneratorSpec;
    const LENGTH: u16 = 24;
    let classes = [
        CharClass::Lower,
        CharClass::Upper,
        CharClass::Digits,
        CharClass::Symbols,
    ];
    let spec = GeneratorSpec::Password {
        length: LENGTH,
        classes: classes.into(),
        symbols: "-".into(),
    };
    spec.generate(&*node.rng, node.now())
}

/// A point in time as PostgreSQL reads it.
pub(crate) fn expiration(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.get(..19).unwrap_or_default().replace('T', " ");
    format!("{seconds}+0000")
}

/// The users of a lease's database.
pub(crate) async fn users_of(
    node: &Node,
    core: &Core,
    owner: &str,
    name: &str,
) -> Result<Users, UserError> {
    let (_, users) = opened(node, core, owner, name).await?;
    Ok(users)
}

/// A database as it is now, and its users.
pub(crate) async fn opened(
    node: &Node,
    core: &Core,
    owner: &str,
    name: &str,
) -> Result<(Found<Connection>, Users), UserError> {
    let found = connection(&core.state, owner, name).await;
    let found = found.map_err(|error| UserError::Unreachable {
        detail: error.to_string(),
    })?;
    let found = found.ok_or_else(|| UserError::Refused {
        detail: format!("failed to find entry for connection with name: \"{name}\""),
    })?;
    let found = root::settled(node, core, owner, name, found).await?;
    let users = node.databases.users(&found)?;
    Ok((found, users))
}
