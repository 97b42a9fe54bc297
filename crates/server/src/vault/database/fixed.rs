//! Static roles: users that are there already, whose password is changed from time to time.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Found;

use super::check_credential_type;
use super::load;
use super::name_of;
use super::names;
use super::statements;
use crate::databases;
use crate::databases::Connection;
use crate::databases::StaticRole;
use crate::databases::of_mount;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Least time between two changes.
const PERIOD_SECONDS_MIN: i64 = 5;

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    names::<StaticRole>(call).await
}

pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    let found = load::<StaticRole>(call, name_of(call)?).await?;
    Ok(found.is_some())
}

fn times(role: &StaticRole) -> Map<String, Value> {
    let mut map = Map::new();
    if let Some(last) = role.last {
        map.insert("last_vault_rotation".into(), last.to_string().into());
    }
    map.insert("rotation_period".into(), role.period.into());
    map
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = load::<StaticRole>(call, name_of(call)?).await?;
    let role = found.ok_or(Fault::NotFound)?.value;
    let mut map = times(&role);
    map.insert("credential_type".into(), "password".into());
    map.insert("db_name".into(), role.connection.into());
    map.insert("rotation_statements".into(), role.statements.into());
    map.insert("username".into(), role.username.into());
    map.sort_keys();
    Ok(Answer::data(Value::Object(map)))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?.to_owned();
    let found = load::<StaticRole>(call, &name).await?;
    check_credential_type(&call.fields)?;
    let username = field::text(&call.fields, "username")?.unwrap_or_default();
    let connection = field::text(&call.fields, "db_name")?.unwrap_or_default();
    let period = field::seconds(&call.fields, "rotation_period")?;
    if period.is_some_and(|period| period < PERIOD_SECONDS_MIN) {
        return Err(Fault::invalid("rotation_period must be 5 seconds or more"));
    }
    let own = statements(&call.fields, "rotation_statements")?;
    let (core, owner) = (&call.core, &call.live.owner);
    let Some(found) = found else {
        if username.is_empty() {
            return Err(Fault::invalid(
                "username is a required field to create a static account",
            ));
        }
        if !databases::is_plain_name(&username) {
            return Err(Fault::invalid(
                "a username is at most 63 bytes long and has no quotes, backslash, ; or $",
            ));
        }
        let period = period.ok_or_else(|| {
            Fault::invalid("rotation_period is required to create static accounts")
        })?;
        let role = StaticRole {
            mount: call.live.mount.uuid,
            connection,
            username,
            statements: own.unwrap_or_default(),
            period,
            password: None,
            next: None,
            last: None,
        };
        check_connection(call, &name, &role.connection).await?;
        return create(call, &name, &role).await;
    };
    if !username.is_empty() && username != found.value.username {
        return Err(Fault::invalid("cannot update static account username"));
    }
    let mut role = found.value.clone();
    if !connection.is_empty() {
        role.connection = connection;
    }
    role.period = period.unwrap_or(role.period);
    role.statements = own.unwrap_or(role.statements);
    check_connection(call, &name, &role.connection).await?;
    let unchanged = found.unchanged();
    databases::put_static(core, owner, &name, &role, unchanged, false, call.now).await?;
    Ok(Answer::Empty)
}

async fn check_connection(call: &Call, name: &str, connection: &str) -> Result<(), Fault> {
    if connection.is_empty() {
        return Err(Fault::invalid("database name is required"));
    }
    let found = load::<Connection>(call, connection).await?;
    let found = found.filter(|found| !found.value.is_retired);
    let found = found.ok_or_else(|| databases::missing(connection))?;
    match found.value.allows(name) {
        true => Ok(()),
        false => Err(Fault::Invalid(format!("\"{name}\" is not an allowed role"))),
    }
}

/// A role is there when its user has a password that we know.
async fn create(call: &Call, name: &str, role: &StaticRole) -> Result<Answer, Fault> {
    let (core, owner) = (&call.core, &call.live.owner);
    let absent = Precondition::Absent;
    databases::put_static(core, owner, name, role, absent, true, call.now).await?;
    let found = load::<StaticRole>(call, name).await?;
    let found = found.ok_or(Fault::NotFound)?;
    let id = found.id;
    let done = databases::rotate_static(&call.node, core, owner, name, found).await;
    if let Err(error) = done {
        let gone = state::delete(id, Precondition::Any);
        core.state.write(vec![gone]).await?;
        return Err(error);
    }
    Ok(Answer::Empty)
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let key = of_mount(&call.live.owner, name_of(call)?);
    let state = &call.core.state;
    let id = state.id_of::<StaticRole>(&key);
    state
        .write(vec![state::delete(id, Precondition::Any)])
        .await?;
    Ok(Answer::Empty)
}

async fn settled(call: &Call, name: &str) -> Result<Option<Found<StaticRole>>, Fault> {
    let Some(found) = load::<StaticRole>(call, name).await? else {
        return Ok(None);
    };
    let (core, owner) = (&call.core, &call.live.owner);
    let settled = databases::settled_static(core, owner, name, found, call.now).await;
    settled.map(Some)
}

pub(super) async fn creds(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?.to_owned();
    let found = settled(call, &name).await?;
    let role = found.ok_or_else(|| Fault::Invalid(format!("unknown role: {name}")))?;
    let role = role.value;
    let password = role.password.as_ref().ok_or(Fault::Busy)?;
    // EXPOSE: the password goes into the answer to the one who asked for it.
    let text = password.0.expose_secret_text().unwrap_or_default();
    let mut map = times(&role);
    map.insert("password".into(), text.into());
    let left = role
        .last
        .map_or(0, |last| role.period - call.now.seconds_since(last));
    map.insert("ttl".into(), left.max(0).into());
    map.insert("username".into(), role.username.into());
    map.sort_keys();
    Ok(Answer::data(json!(map)))
}

pub(super) async fn rotate(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?.to_owned();
    let found = settled(call, &name).await?;
    let found = found.ok_or_else(|| Fault::invalid("no static role found for role name"))?;
    let (core, owner) = (&call.core, &call.live.owner);
    databases::rotate_static(&call.node, core, owner, &name, found).await?;
    Ok(Answer::Empty)
}
