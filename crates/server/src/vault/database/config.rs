//! Databases: where they are, and as whom users are made in them.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::percent;
use strongroom_core::port::Precondition;
use strongroom_core::secret::SecretValue;
use strongroom_engine::state;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use super::load;
use super::name_of;
use super::statements;
use crate::databases;
use crate::databases::CONNECTIONS;
use crate::databases::Connection;
use crate::databases::Password;
use crate::databases::Plugin;
use crate::databases::missing;
use crate::databases::of_mount;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;

/// Most connections to one database.
const CONNECTIONS_MAX: i64 = 100;
/// Fields with a meaning of their own; all others are kept as they came.
const KNOWN: [&str; 10] = [
    "plugin_name",
    "plugin_version",
    "allowed_roles",
    "password_policy",
    "root_rotation_statements",
    "verify_connection",
    "connection_url",
    "username",
    "password",
    "name",
];

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let shelf = Shelf::Of(&call.live.owner);
    let all = call.core.state.all::<Connection>(shelf).await?;
    let shown = all.into_iter().filter(|(_, found)| !found.value.is_retired);
    let names: Vec<String> = shown.map(|(name, _)| name).collect();
    Answer::keys(&names)
}

pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    let found = load::<Connection>(call, name_of(call)?).await?;
    Ok(found.is_some_and(|found| !found.value.is_retired))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = load::<Connection>(call, name_of(call)?).await?;
    let found = found.filter(|found| !found.value.is_retired);
    let connection = found.ok_or(Fault::NotFound)?.value;
    let mut details: Map<String, Value> =
        serde_json::from_str(&connection.details).unwrap_or_default();
    if !connection.url.is_empty() {
        details.insert("connection_url".into(), connection.url.into());
    }
    if !connection.username.is_empty() {
        details.insert("username".into(), connection.username.into());
    }
    let policy = details.remove("password_policy");
    details.sort_keys();
    Ok(Answer::data(json!({
        "allowed_roles": connection.allowed_roles,
        "connection_details": details,
        "password_policy": policy.unwrap_or_else(|| "".into()),
        "plugin_name": connection.plugin,
        "plugin_version": connection.plugin_version,
        "root_credentials_rotate_statements": connection.root_rotation,
    })))
}

fn new_connection(plugin: &str) -> Connection {
    Connection {
        plugin_version: String::new(),
        allowed_roles: Vec::new(),
        root_rotation: Vec::new(),
        url: String::new(),
        username: String::new(),
        password: None,
        next: None,
        connections: CONNECTIONS,
        password_authentication: String::new(),
        details: "{}".into(),
        is_verified: true,
        is_retired: false,
        plugin: plugin.into(),
        is_next: false,
    }
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?.to_owned();
    let found = load::<Connection>(call, &name).await?;
    let precondition = found
        .as_ref()
        .map_or(Precondition::Absent, state::Found::unchanged);
    let before = found.filter(|found| !found.value.is_retired);
    let plugin = field::text(&call.fields, "plugin_name")?.unwrap_or_default();
    let kind = Plugin::named(&plugin);
    let mut connection = match (before, kind) {
        (None, _) if plugin.is_empty() => return Err(Fault::invalid("empty plugin name")),
        (Some(found), _) if plugin.is_empty() => found.value,
        (_, None) => {
            return Err(Fault::Invalid(format!(
                "error creating database object: plugin not found in the catalog: {plugin}"
            )));
        }
        (None, Some(_)) => new_connection(&plugin),
        (Some(found), Some(kind)) if found.value.kind() == kind => {
            let plugin = plugin.clone();
            Connection {
                plugin,
                ..found.value
            }
        }
        // What was said of another kind of database means nothing here.
        (Some(_), Some(_)) => new_connection(&plugin),
    };
    let mut warnings = Vec::new();
    update(call, &mut connection, &mut warnings)?;
    let checked = connection.check();
    checked.map_err(|why| Fault::Invalid(format!("error creating database object: {why}")))?;
    let subject = databases::Subject {
        display_name: "token",
        role: "role",
        rng: &*call.node.rng,
        now: call.now,
    };
    let refused = |why: String| Fault::Invalid(format!("error creating database object: {why}"));
    let sample = databases::username_by(&connection, &subject).transpose();
    let sample = sample.map_err(refused)?;
    if connection.is_verified {
        let users = verify(&connection).await?;
        if let Some(name) = sample {
            let most = users.name_chars_max().await;
            let most = most.map_err(|error| refused(error.to_string()))?;
            databases::check_length(&name, most).map_err(refused)?;
        }
    }
    let key = of_mount(&call.live.owner, &name);
    let put = Put {
        shown: &name,
        ..Put::named(&key, Shelf::Of(&call.live.owner)).when(precondition)
    };
    let state = &call.core.state;
    state.write(vec![state.put(&put, &connection)]).await?;
    call.node.databases.close(state.id_of::<Connection>(&key));
    if warnings.is_empty() {
        return Ok(Answer::Empty);
    }
    let mut full = Full::of(Data::None);
    full.warnings = warnings;
    Ok(Answer::Full(Box::new(full)))
}

/// Connects once as it was told to.
async fn verify(connection: &Connection) -> Result<databases::Users, Fault> {
    let refused = |why: &dyn std::fmt::Display| {
        Fault::Invalid(format!(
            "error creating database object: error verifying connection: {why}"
        ))
    };
    let password = connection.password.as_ref().map(|password| &password.0);
    let users = databases::connect(connection, password).map_err(|error| refused(&error))?;
    let done = users.connect().await;
    done.map(|()| users).map_err(|error| refused(&error))
}

fn update(
    call: &Call,
    connection: &mut Connection,
    warnings: &mut Vec<String>,
) -> Result<(), Fault> {
    let fields = &call.fields;
    if let Some(version) = field::text(fields, "plugin_version")? {
        connection.plugin_version = version;
    }
    if let Some(roles) = field::texts(fields, "allowed_roles")? {
        connection.allowed_roles = roles;
    }
    if let Some(list) = statements(fields, "root_rotation_statements")? {
        connection.root_rotation = list;
    }
    connection.is_verified = field::flag(fields, "verify_connection")?.unwrap_or(true);
    if let Some(username) = field::text(fields, "username")? {
        connection.username = username;
    }
    if let Some(password) = field::secret(fields, "password")? {
        connection.password = Some(Password(password)).filter(|password| !password.0.is_empty());
        connection.next = None;
    }
    if let Some(url) = field::text(fields, "connection_url")? {
        let (url, found) = match connection.kind() {
            Plugin::Mysql => databases::without_password_in_dsn(&url),
            Plugin::Postgres | Plugin::Redis => without_password(&url),
        };
        connection.url = url;
        if let Some((username, password)) = found {
            connection.username = username;
            connection.password = Some(Password(password));
            connection.next = None;
            warnings.push(
                "Password found in connection_url: it is kept like the field password, and \
                 connection_url with {{username}} and {{password}} in its place"
                    .into(),
            );
        }
    }
    if let Some(size) = field::integer(fields, "max_open_connections")? {
        let size = match size {
            ..=0 => i64::from(CONNECTIONS),
            size => size.min(CONNECTIONS_MAX),
        };
        connection.connections = u32::try_from(size).unwrap_or(CONNECTIONS);
    }
    if let Some(how) = field::text(fields, "password_authentication")? {
        if !matches!(how.as_str(), "" | "password" | "scram-sha-256") {
            let why = format!("'{how}' is not a valid password authentication type");
            return Err(Fault::Invalid(format!(
                "error creating database object: {why}"
            )));
        }
        connection.password_authentication = how;
    }
    let mut details: Map<String, Value> =
        serde_json::from_str(&connection.details).unwrap_or_default();
    for (name, value) in fields.map() {
        if KNOWN.contains(&name.as_str()) {
            continue;
        }
        let roots = match connection.kind() {
            Plugin::Mysql => "tls_ca",
            Plugin::Postgres | Plugin::Redis => "sslrootcert in connection_url",
        };
        if is_secret(name) && name != roots {
            let why = format!(
                "\"{name}\" is not supported: TLS is checked by the machine's \
                               authorities, or {roots}"
            );
            return Err(Fault::Invalid(why));
        }
        details.insert(name.clone(), value.clone());
    }
    // It is shown beside the details, and kept in them.
    if let Some(policy) = field::text(fields, "password_policy")? {
        details.insert("password_policy".into(), policy.into());
    }
    connection.details = Value::Object(details).to_string();
    Ok(())
}

/// Fields of other people's settings that would be kept and shown, and must not be.
fn is_secret(name: &str) -> bool {
    [
        "private_key",
        "tls_certificate",
        "tls_ca",
        "service_account",
    ]
    .iter()
    .any(|word| name.contains(word))
        || name.contains("password") && name != "password_authentication"
}

/// A URL without the user and password that stand in it.
fn without_password(url: &str) -> (String, Option<(String, SecretValue)>) {
    let unchanged = || (url.to_owned(), None);
    let Some((scheme, rest)) = url.split_once("://") else {
        return unchanged();
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return unchanged();
    };
    let (userinfo, place) = (&rest[..at], &rest[at + 1..]);
    let Some((user, password)) = userinfo.split_once(':') else {
        return unchanged();
    };
    if user.contains("{{") || password.contains("{{") {
        return unchanged();
    }
    let user = String::from_utf8(percent::decoded(user)).unwrap_or_default();
    let password = SecretValue::new(percent::decoded(password));
    let url = format!("{scheme}://{{{{username}}}}:{{{{password}}}}@{place}");
    (url, Some((user, password)))
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?.to_owned();
    let Some(mut found) = load::<Connection>(call, &name).await? else {
        return Ok(Answer::Empty);
    };
    let state = &call.core.state;
    let counts = state.lease_counts(call.live.mount.uuid).await?;
    let key = of_mount(&call.live.owner, &name);
    let item = match counts.is_empty() {
        true => state::delete(found.id, found.unchanged()),
        false => {
            // What was made with it has to be removed with it.
            found.value.is_retired = true;
            let put = Put {
                shown: &name,
                ..Put::named(&key, Shelf::Of(&call.live.owner)).when(found.unchanged())
            };
            state.put(&put, &found.value)
        }
    };
    state.write(vec![item]).await?;
    call.node.databases.close(found.id);
    Ok(Answer::Empty)
}

pub(super) async fn reset(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let found = load::<Connection>(call, name).await?;
    let found = found.filter(|found| !found.value.is_retired);
    let found = found.ok_or_else(|| missing(name))?;
    call.node.databases.close(found.id);
    Ok(Answer::Empty)
}

pub(super) async fn rotate(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let found = load::<Connection>(call, name).await?;
    let found = found.filter(|found| !found.value.is_retired);
    let found = found.ok_or_else(|| missing(name))?;
    databases::rotate_root(&call.node, &call.core, &call.live.owner, name, found).await?;
    Ok(Answer::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_taken_out() {
        let (url, found) = without_password("postgresql://ann:p%40ss%zz@h:5432/db?sslmode=disable");
        assert_eq!(
            url,
            "postgresql://{{username}}:{{password}}@h:5432/db?sslmode=disable"
        );
        let (user, password) = found.unwrap();
        assert_eq!(user, "ann");
        assert!(password.ct_eq(&SecretValue::copy_from(b"p@ss%zz")));
        for url in [
            "postgresql://{{username}}:{{password}}@h/db",
            "postgresql://ann@h/db",
            "host=h user=ann",
            "postgresql://h/db?a=b:c@d",
        ] {
            let (same, found) = without_password(url);
            assert_eq!((same.as_str(), found.is_none()), (url, true));
        }
    }
}
