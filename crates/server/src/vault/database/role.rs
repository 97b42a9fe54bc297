//! Roles: what the users of a database are like.

use serde_json::json;
use strongroom_core::port::NewUser;
use strongroom_core::port::Precondition;
use strongroom_core::port::UserError;
use strongroom_core::time::Span;
use strongroom_engine::state;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use super::check_credential_type;
use super::load;
use super::name_of;
use super::names;
use super::statements;
use crate::databases;
use crate::databases::Connection;
use crate::databases::DatabaseRole;
use crate::databases::of_mount;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;

/// How long the user may live that a role is tried with.
const TRIAL_SECONDS: i64 = 60;

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    names::<DatabaseRole>(call).await
}

pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    let found = load::<DatabaseRole>(call, name_of(call)?).await?;
    Ok(found.is_some())
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = load::<DatabaseRole>(call, name_of(call)?).await?;
    let role = found.ok_or(Fault::NotFound)?.value;
    let mut data = json!({
        "creation_statements": role.creation,
        "credential_type": "password",
        "db_name": role.connection,
        "default_ttl": role.default_ttl,
        "max_ttl": role.max_ttl,
        "renew_statements": role.renew,
        "revocation_statements": role.revocation,
        "rollback_statements": role.rollback,
    });
    if let (Some(map), true) = (data.as_object_mut(), role.leases_max > 0) {
        map.insert("max_leases".into(), role.leases_max.into());
    }
    Ok(Answer::data(data))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?.to_owned();
    let found = load::<DatabaseRole>(call, &name).await?;
    let precondition = found
        .as_ref()
        .map_or(Precondition::Absent, state::Found::unchanged);
    let mut role = found.map(|found| found.value).unwrap_or_default();
    update(call, &mut role)?;
    let mut warnings = Vec::new();
    let key = of_mount(&call.live.owner, &role.connection);
    let connection = call.core.state.load::<Connection>(&key).await?;
    if let Some(connection) = connection.filter(|found| !found.value.is_retired) {
        let users = databases::connect(&connection.value, None);
        let users = users.map_err(|error| Fault::Invalid(error.to_string()))?;
        match users.review(&role.creation) {
            Ok(said) => warnings.extend(said),
            // Then nobody can be made, which is said when somebody asks for one.
            Err(_) if role.creation.is_empty() => {}
            Err(why) => return Err(Fault::Invalid(why)),
        }
        let asked = field::flag(&call.fields, "verify_revocation")?;
        if asked.unwrap_or(connection.value.is_verified) && !role.creation.is_empty() {
            try_out(call, &name, &role, &mut warnings).await?;
        }
    }
    let key = of_mount(&call.live.owner, &name);
    let put = Put {
        shown: &name,
        ..Put::named(&key, Shelf::Of(&call.live.owner)).when(precondition)
    };
    let state = &call.core.state;
    state.write(vec![state.put(&put, &role)]).await?;
    if warnings.is_empty() {
        return Ok(Answer::Empty);
    }
    let mut full = Full::of(Data::None);
    full.warnings = warnings;
    Ok(Answer::Full(Box::new(full)))
}

fn update(call: &Call, role: &mut DatabaseRole) -> Result<(), Fault> {
    let fields = &call.fields;
    check_credential_type(fields)?;
    if let Some(connection) = field::text(fields, "db_name")? {
        role.connection = connection;
    }
    if role.connection.is_empty() {
        return Err(Fault::invalid("database name is required"));
    }
    for (name, list) in [
        ("creation_statements", &mut role.creation),
        ("revocation_statements", &mut role.revocation),
        ("rollback_statements", &mut role.rollback),
        ("renew_statements", &mut role.renew),
    ] {
        if let Some(own) = statements(fields, name)? {
            *list = own;
        }
    }
    if let Some(seconds) = field::seconds(fields, "default_ttl")? {
        role.default_ttl = seconds;
    }
    if let Some(seconds) = field::seconds(fields, "max_ttl")? {
        role.max_ttl = seconds;
    }
    if let Some(most) = field::integer(fields, "max_leases")? {
        role.leases_max =
            u64::try_from(most).map_err(|_| Fault::invalid("max_leases cannot be negative"))?;
    }
    Ok(())
}

/// Whether the database takes the names that a template makes for a role.
async fn check_names(
    call: &Call,
    role: &str,
    connection: &Connection,
    users: &databases::Users,
) -> Result<(), Fault> {
    let subject = databases::Subject {
        display_name: "token",
        role,
        rng: &*call.node.rng,
        now: call.now,
    };
    let Some(made) = databases::username_by(connection, &subject) else {
        return Ok(());
    };
    let refused = |why: String| Fault::Invalid(format!("the role was not written: {why}"));
    let name = made.map_err(refused)?;
    let most = users.name_chars_max().await;
    let most = most.map_err(|error| refused(error.to_string()))?;
    databases::check_length(&name, most).map_err(refused)
}

/// Makes a user and removes it again: what cannot be removed is not made for anybody.
async fn try_out(
    call: &Call,
    name: &str,
    role: &DatabaseRole,
    warnings: &mut Vec<String>,
) -> Result<(), Fault> {
    let refused = |what: &str, error: &UserError| {
        Fault::Invalid(format!(
            "the role was not written: {what}: {error} (verify_revocation=false writes it untried)"
        ))
    };
    let (core, owner) = (&call.core, &call.live.owner);
    let opened = databases::opened(&call.node, core, owner, &role.connection).await;
    let (connection, users) = opened.map_err(|error| refused("it cannot be tried", &error))?;
    check_names(call, name, &connection.value, &users).await?;
    let uuid = call.live.mount.uuid;
    // Of the usual form: should the server die now, the user is found by its name.
    let (form, state) = (connection.value.names(), &core.state);
    let username = state.new_username_in(form, uuid, "trial", name, call.now);
    let drawn = databases::password_for(&call.node, core, &connection.value).await;
    let password = drawn.map_err(|fault| match fault {
        Fault::Backend(why) => Fault::Invalid(format!("the role was not written: {why}")),
        other => other,
    })?;
    let until = databases::expiration(
        call.node
            .for_others(call.now.plus(Span::from_seconds(TRIAL_SECONDS))),
    );
    let new = NewUser {
        name: &username,
        password: &password,
        until: &until,
        statements: &role.creation,
        rollback: &role.rollback,
    };
    let made = users.create(new).await;
    made.map_err(|error| refused("its creation statements fail", &error))?;
    let removed = users.remove(&username, &role.revocation).await;
    let left = users.find(&username).await;
    match (&removed, &left) {
        (Ok(()), Ok(None)) => Ok(()),
        (Ok(()), Ok(Some(false))) => {
            warnings.push(
                "The revocation statements leave the user in the database, without the right to \
                 log in"
                    .to_owned(),
            );
            Ok(())
        }
        (Ok(()), Ok(Some(true))) => {
            let _ = users.remove(&username, &[]).await;
            Err(Fault::invalid(
                "the role was not written: its revocation statements leave the user able to log \
                 in (verify_revocation=false writes it untried)",
            ))
        }
        (Err(error), _) | (_, Err(error)) => {
            let _ = users.remove(&username, &[]).await;
            Err(refused("a user of it cannot be removed again", error))
        }
    }
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let key = of_mount(&call.live.owner, name_of(call)?);
    let state = &call.core.state;
    let id = state.id_of::<DatabaseRole>(&key);
    state
        .write(vec![state::delete(id, Precondition::Any)])
        .await?;
    Ok(Answer::Empty)
}
