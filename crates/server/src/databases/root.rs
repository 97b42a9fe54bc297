//! Changing passwords of users that stay: a database's own user, and static roles.
//!
//! The new password is stored beside the old one before the database is told. Whatever is cut off,
//! one of the two opens the database, and which one is found out by trying.

use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::UserError;
use strongroom_core::time::Span;
use strongroom_engine::state::Found;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use super::Connection;
use super::PENDING_SECONDS;
use super::Password;
use super::Pending;
use super::StaticRole;
use super::Users;
use super::of_mount;
use super::password_for;
use crate::core::Core;
use crate::node::Node;
use crate::vault::error::Fault;

/// Longest name of a user, in bytes.
pub(super) const NAME_BYTES_MAX: usize = strongroom_postgres::role::ROLE_BYTES_MAX;
/// A change that others disturb is written again so often.
const ATTEMPTS_MAX: usize = 16;
/// A change that failed is tried again after so long.
const RETRY_SECONDS: i64 = 10;

/// Characters that a name in a statement must not have: the statement is the operator's, and where
/// it puts the name is not known.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let is_bad = |c: char| c.is_control() || matches!(c, '"' | '\'' | '\\' | ';' | '$' | '`');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(is_bad)
}

fn contended() -> Fault {
    Fault::Engine(strongroom_engine::Error::Contended {
        path: "the database's configuration".into(),
    })
}

/// Writes a connection over what was read.
async fn put_connection(
    core: &Core,
    owner: &str,
    name: &str,
    found: &mut Found<Connection>,
) -> Result<bool, Fault> {
    let key = of_mount(owner, name);
    let put = Put {
        shown: name,
        ..Put::named(&key, Shelf::Of(owner)).when(found.unchanged())
    };
    let item = core.state.put(&put, &found.value);
    let is_done = core.state.commit(vec![item]).await?;
    let read = core.state.load_by_id::<Connection>(found.id).await?;
    *found = read.ok_or_else(contended)?;
    Ok(is_done)
}

/// Ends a change of a connection's password, whatever else was changed meanwhile: `password` is
/// known to be the one that works, or there is none to put in the old one's place.
async fn end_change(
    core: &Core,
    owner: &str,
    name: &str,
    found: &mut Found<Connection>,
    password: Option<&Password>,
) -> Result<(), Fault> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(password) = password {
            found.value.password = Some(password.clone());
        }
        found.value.next = None;
        if put_connection(core, owner, name, found).await? {
            return Ok(());
        }
    }
    Err(contended())
}

/// Uses the password that is being set where it works already. Whoever sets it may be at it, or
/// was cut off: which of the two shows later, and until then the old one may be refused.
async fn tried(node: &Node, found: &mut Found<Connection>, next: Pending) {
    let is_known = node.databases.has_next(found);
    let users = match is_known {
        true => None,
        false => super::connect(&found.value, Some(&next.password.0)).ok(),
    };
    let works = match users {
        Some(users) => users.connect().await.is_ok(),
        None => is_known,
    };
    if works {
        found.value.password = Some(next.password);
        found.value.is_next = true;
    }
}

/// The connection with the password that works, where a change of it was cut off.
pub(super) async fn settled(
    node: &Node,
    core: &Core,
    owner: &str,
    name: &str,
    mut found: Found<Connection>,
) -> Result<Found<Connection>, UserError> {
    let Some(next) = found.value.next.clone() else {
        return Ok(found);
    };
    if next.is_under_way(node.now()) {
        tried(node, &mut found, next).await;
        return Ok(found);
    }
    let lost = |fault: Fault| UserError::Unreachable {
        detail: fault
            .detail()
            .unwrap_or_else(|| "others keep changing it".into()),
    };
    let users = super::connect(&found.value, Some(&next.password.0))?;
    let works = match users.connect().await {
        Ok(()) => Some(&next.password),
        Err(UserError::Refused { .. }) => None,
        Err(error) => return Err(error),
    };
    node.databases.close(found.id);
    end_change(core, owner, name, &mut found, works)
        .await
        .map_err(lost)?;
    Ok(found)
}

/// Gives a user another password and looks whether it works; where it does not, the old one again.
async fn change(
    users: &Users,
    username: &str,
    password: &Password,
    old: Option<&Password>,
    statements: &[String],
) -> Result<(), UserError> {
    users
        .set_password(username, &password.0, statements)
        .await?;
    if users.accepts(username, &password.0).await? {
        return Ok(());
    }
    if let Some(old) = old {
        users.set_password(username, &old.0, statements).await?;
    }
    Err(UserError::refused(
        "the new password does not work: the old one was set again",
    ))
}

/// Gives the database's own user a new password, which nobody but this server knows.
pub(crate) async fn rotate_root(
    node: &Node,
    core: &Core,
    owner: &str,
    name: &str,
    found: Found<Connection>,
) -> Result<(), Fault> {
    let failed = |error: UserError| Fault::Backend(error.to_string());
    let mut found = settled(node, core, owner, name, found)
        .await
        .map_err(failed)?;
    if found.value.next.is_some() {
        return Err(Fault::Busy);
    }
    if found.value.password.is_none() || !is_plain_name(&found.value.username) {
        let why =
            "unable to rotate root credentials: the configuration has no username and password";
        return Err(Fault::Backend(why.into()));
    }
    let users = node.databases.users(&found).map_err(failed)?;
    let password = Password(password_for(node, core, &found.value).await?);
    found.value.next = Some(Pending {
        password: password.clone(),
        since: node.now(),
    });
    if !put_connection(core, owner, name, &mut found).await? {
        return Err(contended());
    }
    let connection = found.value.clone();
    let (statements, username) = (&connection.root_rotation, &connection.username);
    let old = connection.password.as_ref();
    let done = change(&users, username, &password, old, statements).await;
    let works = match &done {
        Ok(()) => Some(&password),
        // It may have been done or not: a later use finds out.
        Err(UserError::Lost { .. }) => return done.map_err(failed),
        Err(_) => None,
    };
    end_change(core, owner, name, &mut found, works).await?;
    node.databases.close(found.id);
    done.map_err(failed)
}

/// Writes a static role over what was read.
pub(crate) async fn put_static(
    core: &Core,
    owner: &str,
    name: &str,
    role: &StaticRole,
    precondition: Precondition,
    retry: bool,
    now: strongroom_core::time::Timestamp,
) -> Result<(), Fault> {
    let key = of_mount(owner, name);
    let due = match (&role.next, retry, role.last) {
        // Then it was cut off.
        (Some(next), ..) => next.since.plus(Span::from_seconds(PENDING_SECONDS)),
        (None, false, Some(last)) => last.plus(Span::from_seconds(role.period)),
        (None, ..) => now.plus(Span::from_seconds(RETRY_SECONDS)),
    };
    let put = Put {
        shown: name,
        due_at: Some(due),
        ..Put::named(&key, Shelf::Of(owner)).when(precondition)
    };
    match core.state.commit(vec![core.state.put(&put, role)]).await? {
        true => Ok(()),
        false => Err(contended()),
    }
}

/// A static role with the password that works, also while it is being changed.
pub(crate) async fn settled_static(
    core: &Core,
    owner: &str,
    name: &str,
    mut found: Found<StaticRole>,
    now: strongroom_core::time::Timestamp,
) -> Result<Found<StaticRole>, Fault> {
    let Some(next) = found.value.next.clone() else {
        return Ok(found);
    };
    let failed = |error: UserError| Fault::Backend(error.to_string());
    let connection = super::connection(&core.state, owner, &found.value.connection).await?;
    let connection = connection.ok_or_else(|| missing(&found.value.connection))?;
    let users = super::connect(&connection.value, None).map_err(failed)?;
    let accepts = users.accepts(&found.value.username, &next.password.0);
    if next.is_under_way(now) {
        // Whoever changes it may be at it, or was cut off: what is told is what is let in.
        if accepts.await.unwrap_or(false) {
            found.value.password = Some(next.password);
            found.value.last = Some(next.since);
        }
        return Ok(found);
    }
    if accepts.await.map_err(failed)? {
        found.value.password = Some(next.password);
        found.value.last = Some(now);
    }
    found.value.next = None;
    let retry = found.value.last.is_none();
    put_static(
        core,
        owner,
        name,
        &found.value,
        found.unchanged(),
        retry,
        now,
    )
    .await?;
    let read = core.state.load_by_id::<StaticRole>(found.id).await?;
    read.ok_or_else(contended)
}

pub(crate) fn missing(connection: &str) -> Fault {
    Fault::Backend(format!(
        "failed to find entry for connection with name: \"{connection}\""
    ))
}

/// Gives a static role's user a new password.
pub(crate) async fn rotate_static(
    node: &Node,
    core: &Core,
    owner: &str,
    name: &str,
    found: Found<StaticRole>,
) -> Result<(), Fault> {
    let failed = |error: UserError| Fault::Backend(format!("error setting credentials: {error}"));
    let mut found = settled_static(core, owner, name, found, node.now()).await?;
    if found.value.next.is_some() {
        return Err(Fault::Busy);
    }
    let connection = super::connection(&core.state, owner, &found.value.connection).await?;
    let connection = connection.ok_or_else(|| missing(&found.value.connection))?;
    let connection = settled(node, core, owner, &found.value.connection, connection).await;
    let connection = connection.map_err(failed)?;
    let users = node.databases.users(&connection).map_err(failed)?;
    let password = Password(password_for(node, core, &connection.value).await?);
    found.value.next = Some(Pending {
        password: password.clone(),
        since: node.now(),
    });
    let (unchanged, now) = (found.unchanged(), node.now());
    put_static(core, owner, name, &found.value, unchanged, true, now).await?;
    let role = found.value.clone();
    let (statements, old) = (&role.statements, role.password.as_ref());
    let done = change(&users, &role.username, &password, old, statements).await;
    let works = match &done {
        Ok(()) => Some(&password),
        // It may have been done or not: a later use finds out.
        Err(UserError::Lost { .. }) => return done.map_err(failed),
        Err(_) => None,
    };
    end_static(node, core, owner, name, found.id, works).await?;
    done.map_err(failed)
}

/// Ends a change of a static role's password, whatever else was changed meanwhile.
async fn end_static(
    node: &Node,
    core: &Core,
    owner: &str,
    name: &str,
    id: RecordId,
    works: Option<&Password>,
) -> Result<(), Fault> {
    for _ in 0..ATTEMPTS_MAX {
        let read = core.state.load_by_id::<StaticRole>(id).await?;
        let mut found = read.ok_or_else(contended)?;
        found.value.next = None;
        if let Some(password) = works {
            found.value.password = Some(password.clone());
            found.value.last = Some(node.now());
        }
        let (unchanged, now) = (found.unchanged(), node.now());
        let retry = works.is_none();
        let put = put_static(core, owner, name, &found.value, unchanged, retry, now);
        match put.await {
            Err(Fault::Engine(strongroom_engine::Error::Contended { .. })) => {}
            done => return done,
        }
    }
    Err(contended())
}
