//! Making a user, and keeping it for longer.

use serde_json::json;
use strongroom_core::lease::Capped;
use strongroom_core::lease::Lease;
use strongroom_core::lease::Terms;
use strongroom_core::port::NewUser;
use strongroom_core::port::RecordId;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::leases::Leased;
use strongroom_engine::leases::NewLease;
use strongroom_engine::leases::ROLE_LEASES_MAX;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::tokens::Token;
use strongroom_engine::tokens::TokenKind;

use super::load;
use super::name_of;
use crate::core::Live;
use crate::databases;
use crate::databases::Connection;
use crate::databases::DatabaseRole;
use crate::databases::Users;
use crate::databases::missing;
use crate::leases;
use crate::ledger;
use crate::node::Node;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::login::limits_of;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;

/// A lease that a change of its database disturbs is begun again so often.
const ATTEMPTS_MAX: usize = 8;
/// The database lets a user in for a little longer than the lease says.
const GRACE_SECONDS: i64 = 5;

/// The token that a lease ends with, and when that is.
fn holder(id: RecordId, token: &Token) -> (Option<RecordId>, Option<Timestamp>) {
    match token.kind {
        TokenKind::Service => (Some(id), token.expires),
        TokenKind::Batch => (token.parent.map(RecordId), token.expires),
    }
}

/// A lease's times, cut where its token ends.
fn within(times: Lease, end: Option<Timestamp>, warnings: &mut Vec<String>) -> Lease {
    match end.filter(|end| *end < times.expires_at) {
        Some(end) => {
            warnings.push("The lease ends with the token that it was given to".to_owned());
            Lease {
                expires_at: end,
                ..times
            }
        }
        None => times,
    }
}

fn terms(role: &DatabaseRole) -> Terms {
    Terms {
        ttl: Span::from_seconds(role.default_ttl),
        max_ttl: Span::from_seconds(role.max_ttl),
        ..Terms::NONE
    }
}

fn texts(capped: Option<Capped>) -> Vec<String> {
    capped.iter().map(ToString::to_string).collect()
}

/// Until when the database lets a user in.
fn until(node: &Node, times: Lease) -> String {
    let end = times.expires_at.plus(Span::from_seconds(GRACE_SECONDS));
    databases::expiration(node.for_others(end))
}

fn fault_of(error: UserError) -> Fault {
    match error {
        UserError::Busy { .. } => Fault::Busy,
        error => Fault::Backend(error.to_string()),
    }
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?.to_owned();
    let role = load::<DatabaseRole>(call, &name).await?;
    let role = role.ok_or_else(|| Fault::Invalid(format!("unknown role: {name}")))?;
    let connection = load::<Connection>(call, &role.value.connection).await?;
    let connection = connection.filter(|found| !found.value.is_retired);
    let connection = connection.ok_or_else(|| missing(&role.value.connection))?;
    if !connection.value.allows(&name) {
        return Err(Fault::Backend(format!("\"{name}\" is not an allowed role")));
    }
    let users = call.node.databases.users(&connection).map_err(fault_of)?;
    users.review(&role.value.creation).map_err(Fault::Backend)?;
    let caller = call.caller()?;
    if caller.token.num_uses < 0 {
        return Err(Fault::invalid(
            "this was the token's last use, and leases end with their token: nothing was made",
        ));
    }
    let (token, end) = holder(caller.id, &caller.token);
    let (times, capped) = Lease::issue(limits_of(&call.live), terms(&role.value), call.now);
    let mut warnings = texts(capped);
    let times = within(times, end, &mut warnings);
    let (core, uuid) = (&call.core, call.live.mount.uuid);
    let display_name = &caller.token.display_name;
    let subject = databases::Subject {
        display_name,
        role: &name,
        rng: &*call.node.rng,
        now: call.now,
    };
    let username = match databases::username_by(&connection.value, &subject) {
        None => {
            let (form, state) = (connection.value.names(), &core.state);
            state.new_username_in(form, uuid, display_name, &name, call.now)
        }
        Some(made) => {
            let username = made.map_err(Fault::Backend)?;
            // What a template makes may be somebody's name already, and a lease would end it.
            if users.find(&username).await.map_err(fault_of)?.is_some() {
                return Err(Fault::Backend(format!(
                    "the user {username} exists already"
                )));
            }
            username
        }
    };
    let password = databases::password_for(&call.node, core, &connection.value).await?;
    let new = NewLease {
        path: format!("{}creds/{name}", call.live.path),
        mount: uuid,
        role: name,
        connection: role.value.connection.clone(),
        username,
        token,
        times,
        revocation: role.value.revocation.clone(),
        // Of what has no record nobody could tell later when it ends.
        ends_by: end.filter(|_| caller.token.kind == TokenKind::Batch),
        leases_max: match role.value.leases_max {
            0 => ROLE_LEASES_MAX,
            own => own,
        },
    };
    let (mut found, users) = begin(call, &new).await?;
    let made = make(&call.node, &users, &found.value, &role.value, &password).await;
    match made {
        Ok(()) => {}
        Err(error) if !matches!(error, UserError::Lost { .. }) => {
            // Nothing was made: statements are done as a whole or not at all.
            core.state.end_lease(&found).await?;
            return Err(fault_of(error));
        }
        Err(error) => {
            core.state.doom_leases(&[found], call.now).await?;
            call.node.leases.wake();
            return Err(fault_of(error));
        }
    }
    // In one commit: nobody gets what the ledger does not know of.
    let noted = ledger::notes_of_lease(call, &found.value, &password);
    let confirmed = core.state.confirm_lease(&mut found, noted).await;
    if !matches!(confirmed, Ok(true)) {
        // Its token was revoked meanwhile, or it cannot be noted: nobody gets it.
        let _ = leases::remove(&call.node, core, &found).await;
        call.node.leases.wake();
        return Err(confirmed.map_or_else(Fault::Engine, |_| Fault::NoToken));
    }
    call.node.metrics.leases.note_issued();
    // EXPOSE: a new password goes into the answer to the one who asked for it.
    let text = password.expose_secret_text().unwrap_or_default();
    let data = json!({ "password": text, "username": found.value.username });
    let mut full = Full::of(Data::Value(data));
    full.lease_id = found.value.lease_id;
    full.is_renewable = true;
    full.lease_seconds = times.duration().as_seconds();
    full.warnings = warnings;
    Ok(Answer::Full(Box::new(full)))
}

/// Notes a lease, while its database is what it was looked at as.
async fn begin(call: &Call, new: &NewLease) -> Result<(Found<Leased>, Users), Fault> {
    let (core, owner) = (&call.core, &call.live.owner);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let opened = databases::opened(&call.node, core, owner, &new.connection).await;
        let (connection, users) = opened.map_err(fault_of)?;
        if connection.value.is_retired {
            return Err(missing(&new.connection));
        }
        let checks = [state::check(connection.id, connection.unchanged())];
        match core.state.begin_lease(new.clone(), &checks).await {
            Ok(found) => return Ok((found, users)),
            Err(strongroom_engine::Error::NotFound { .. }) => return Err(Fault::NoToken),
            // Its configuration was changed meanwhile, e.g. its password.
            Err(strongroom_engine::Error::Contended { .. }) if attempts < ATTEMPTS_MAX => {}
            Err(other) => return Err(other.into()),
        }
    }
}

async fn make(
    node: &Node,
    users: &Users,
    leased: &Leased,
    role: &DatabaseRole,
    password: &SecretValue,
) -> Result<(), UserError> {
    let until = until(node, leased.times);
    let new = NewUser {
        name: &leased.username,
        password,
        until: &until,
        statements: &role.creation,
        rollback: &role.rollback,
    };
    users.create(new).await
}

/// Keeps a user for longer; what was cut short is said.
pub(crate) async fn renew(
    call: &Call,
    live: &Live,
    mut found: Found<Leased>,
    increment: i64,
) -> Result<(Leased, Vec<String>), Fault> {
    let refused = |why: &str| {
        Fault::Invalid(format!(
            "1 error occurred:\n\t* failed to renew entry: {why}\n\n"
        ))
    };
    let leased = &found.value;
    let key = databases::of_mount(&live.owner, &leased.role);
    let role = call.core.state.load::<DatabaseRole>(&key).await?;
    let role = role.ok_or_else(|| {
        refused(&format!(
            "error during renew: could not find role with name \"{}\"",
            leased.role
        ))
    })?;
    let end = match leased.token {
        None => None,
        Some(token) => {
            let token = call.core.known(RecordId(token)).await?;
            let token = token.filter(|token| token.is_alive(call.now));
            token
                .ok_or_else(|| Fault::invalid("lease not found"))?
                .token
                .expires
        }
    };
    let increment = (increment > 0).then(|| Span::from_seconds(increment));
    let renewed = leased
        .times
        .renew(limits_of(live), terms(&role.value), increment, call.now);
    let (times, capped) = renewed.map_err(|_| Fault::invalid("lease not found"))?;
    let mut warnings = texts(capped);
    let end = end.into_iter().chain(leased.ends_by).min();
    let times = within(times, end, &mut warnings);
    let users = databases::users_of(&call.node, &call.core, &live.owner, &leased.connection).await;
    let users = users.map_err(fault_of)?;
    let until = until(&call.node, times);
    // First the database: a user that lives too long is removed when the lease is over.
    let kept = users.renew(&leased.username, &until, &role.value.renew);
    kept.await.map_err(fault_of)?;
    match call.core.state.renew_lease(&mut found, times).await? {
        true => Ok((found.value, warnings)),
        false => Err(Fault::invalid("lease not found")),
    }
}
