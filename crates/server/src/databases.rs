//! Databases that users are made in: what is known of them, and the connections to them.

mod dsn;
mod place;
mod root;
mod template;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::policy::PasswordPolicy;
use strongroom_core::port::DatabaseUsers;
use strongroom_core::port::NewUser;
use strongroom_core::port::RecordId;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::state::Found;
use strongroom_engine::state::Kind;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

use crate::core::Core;
use crate::node::Node;
use crate::vault::error::Fault;

pub(crate) use dsn::without_password as without_password_in_dsn;
pub(crate) use place::Plugin;
pub(crate) use place::connect;
pub(crate) use root::is_plain_name;
pub(crate) use root::missing;
pub(crate) use root::put_static;
pub(crate) use root::rotate_root;
pub(crate) use root::rotate_static;
pub(crate) use root::settled_static;
pub(crate) use template::Subject;
use template::Template;

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
    /// Which kind of database it is, as the client named it.
    pub(crate) plugin: String,
    /// `password` is the one that is being set: it was tried, and works already.
    #[serde(skip)]
    pub(crate) is_next: bool,
}

/// What was written before there were kinds: all are of PostgreSQL.
#[derive(Serialize, Deserialize)]
struct FirstConnection {
    plugin_version: String,
    allowed_roles: Vec<String>,
    root_rotation: Vec<String>,
    url: String,
    username: String,
    password: Option<Password>,
    next: Option<Pending>,
    connections: u32,
    password_authentication: String,
    details: String,
    is_verified: bool,
    is_retired: bool,
}

impl Stored for Connection {
    const KIND: Kind = Kind::DatabaseConnection;

    fn earlier(plain: &[u8]) -> Option<Self> {
        let first: FirstConnection = strongroom_engine::state::decode(plain)?;
        Some(Self {
            plugin_version: first.plugin_version,
            allowed_roles: first.allowed_roles,
            root_rotation: first.root_rotation,
            url: first.url,
            username: first.username,
            password: first.password,
            next: first.next,
            connections: first.connections,
            password_authentication: first.password_authentication,
            details: first.details,
            is_verified: first.is_verified,
            is_retired: first.is_retired,
            plugin: "postgresql-database-plugin".into(),
            is_next: false,
        })
    }
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

/// A policy that passwords are drawn by, as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PasswordPolicyText {
    pub(crate) text: String,
}

impl Stored for PasswordPolicyText {
    const KIND: Kind = Kind::PasswordPolicy;
}

impl Connection {
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

/// The users of a database. Each call ends in time.
#[derive(Clone)]
pub(crate) struct Users(Arc<dyn DatabaseUsers>);

impl Users {
    pub(crate) async fn connect(&self) -> Result<(), UserError> {
        in_time(self.0.connect()).await
    }

    pub(crate) async fn name_chars_max(&self) -> Result<usize, UserError> {
        in_time(self.0.name_chars_max()).await
    }

    /// What there is to say about how users are to be made; why they cannot be made so.
    pub(crate) fn review(&self, statements: &[String]) -> Result<Vec<String>, String> {
        self.0.review(statements)
    }

    pub(crate) async fn create(&self, new: NewUser<'_>) -> Result<(), UserError> {
        in_time(self.0.create(new)).await
    }

    pub(crate) async fn renew(
        &self,
        name: &str,
        until: &str,
        statements: &[String],
    ) -> Result<(), UserError> {
        in_time(self.0.renew(name, until, statements)).await
    }

    pub(crate) async fn set_password(
        &self,
        name: &str,
        password: &SecretValue,
        statements: &[String],
    ) -> Result<(), UserError> {
        in_time(self.0.set_password(name, password, statements)).await
    }

    pub(crate) async fn accepts(
        &self,
        name: &str,
        password: &SecretValue,
    ) -> Result<bool, UserError> {
        in_time(self.0.accepts(name, password)).await
    }

    /// Removes a user; one that is not there is removed.
    pub(crate) async fn remove(&self, name: &str, statements: &[String]) -> Result<(), UserError> {
        in_time(self.0.remove(name, statements)).await
    }

    pub(crate) async fn lock(&self, name: &str) -> Result<(), UserError> {
        in_time(self.0.lock(name)).await
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<bool>, UserError> {
        in_time(self.0.find(name)).await
    }

    pub(crate) async fn named(&self, prefix: &str) -> Result<Vec<String>, UserError> {
        in_time(self.0.named(prefix)).await
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

/// A call to a database that ends in time.
async fn in_time<T>(call: impl Future<Output = Result<T, UserError>>) -> Result<T, UserError> {
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

/// A new password for a database: by its policy, where it has one.
pub(crate) async fn password_for(
    node: &Node,
    core: &Core,
    connection: &Connection,
) -> Result<SecretValue, Fault> {
    let Some(name) = connection.password_policy() else {
        return Ok(new_password(node));
    };
    let failed = |why: &dyn std::fmt::Display| {
        Fault::Backend(format!(
            "unable to generate a password by the policy {name}: {why}"
        ))
    };
    let policy = core.state.load::<PasswordPolicyText>(&name).await?;
    let policy = policy.ok_or_else(|| failed(&"it does not exist"))?;
    let policy = PasswordPolicy::parse(&policy.value.text).map_err(|error| failed(&error))?;
    policy.generate(&*node.rng).map_err(|error| failed(&error))
}

/// The name of a new user, for a connection that has a template of names.
pub(crate) fn username_by(
    connection: &Connection,
    subject: &Subject<'_>,
) -> Option<Result<String, String>> {
    let template = connection.username_template()?;
    let made = Template::parse(&template).and_then(|template| {
        if !template.draws() {
            return Err("it has neither random nor uuid: two users would have one name".into());
        }
        let name = template.render(subject)?;
        let is_good = |c: char| c.is_ascii_alphanumeric() || "_.@-+=/:".contains(c);
        if name.is_empty() || !name.chars().all(is_good) {
            return Err(
                "it makes a name that is empty, or has characters other than letters, digits and \
                 _ . @ - + = / :"
                    .into(),
            );
        }
        Ok(name)
    });
    let made = made.map_err(|why| format!("invalid username template: {why}"));
    Some(made.and_then(|name| check_length(&name, connection.name_chars_max()).map(|()| name)))
}

/// Whether a name that a template made is short enough for its database.
pub(crate) fn check_length(name: &str, chars_max: usize) -> Result<(), String> {
    let length = name.chars().count();
    match length <= chars_max {
        true => Ok(()),
        false => Err(format!(
            "invalid username template: it makes a name of {length} letters, and the database \
             takes {chars_max} at most: shorten its parts with `truncate`"
        )),
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
