//! Leases of users of databases.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::UserError;
use strongroom_core::time::Span;
use strongroom_engine::leases::Leased;
use strongroom_engine::leases::Stage;
use strongroom_engine::leases::Trouble;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use tokio::task::JoinSet;

use crate::core::Live;
use crate::databases::Connection;
use crate::leases;
use crate::leases::RemoveError;
use crate::leases::sweep;
use crate::vault::call::Call;
use crate::vault::database;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;

/// Background work leaves leases alone for so long that a request is about to revoke.
const TURN_SECONDS: i64 = 20;
/// Removals of one request under way at once.
const AT_ONCE_MAX: usize = 4;

/// A lease that is not over, with the mount that gave it.
pub(super) async fn find(
    call: &Call,
    lease: &str,
) -> Result<Option<(Arc<Live>, Found<Leased>)>, Fault> {
    let table = call.core.mounts();
    let Some(live) = table.find(lease).filter(|live| sweep::is_database(live)) else {
        return Ok(None);
    };
    let found = call.core.state.leased(live.mount.uuid, lease).await?;
    let found = found.filter(|found| found.value.stage != Stage::Begun);
    Ok(found.map(|found| (Arc::clone(live), found)))
}

pub(super) fn describe(call: &Call, leased: &Leased) -> Option<Answer> {
    if !leased.is_live(call.now) {
        return None;
    }
    let times = leased.times;
    Some(Answer::data(json!({
        "expire_time": times.expires_at.to_string(),
        "id": leased.lease_id,
        "issue_time": times.issued_at.to_string(),
        "last_renewal": leased.is_renewed.then(|| times.renewed_at.to_string()),
        "path": leased.path(),
        "renewable": true,
        "ttl": times.remaining(call.now).as_seconds(),
    })))
}

/// What a mount's leases are named after, before the role.
fn base(live: &Live) -> String {
    format!("{}creds/", live.path)
}

/// What comes next behind a prefix, in the leases below it.
pub(super) async fn names(call: &Call, prefix: &str) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    let state = &call.core.state;
    for live in sweep::databases_of(&call.core) {
        let base = base(&live);
        if let Some(rest) = base.strip_prefix(prefix) {
            let counts = state.lease_counts(live.mount.uuid).await?;
            match rest.split_once('/') {
                Some((head, _)) if !counts.is_empty() => names.push(format!("{head}/")),
                Some(_) => {}
                None => names.extend(counts.iter().map(|(role, _)| format!("{role}/"))),
            }
        } else if let Some(role) = prefix.strip_prefix(&base) {
            let role = role.trim_end_matches('/');
            names.extend(state.lease_names(live.mount.uuid, role).await?);
        }
    }
    Ok(names)
}

pub(super) async fn renew(
    call: &Call,
    live: &Live,
    found: Found<Leased>,
    increment: i64,
) -> Result<Answer, Fault> {
    if !found.value.is_live(call.now) {
        return Err(Fault::invalid("lease not found"));
    }
    let (leased, warnings) = database::renew(call, live, found, increment).await?;
    let mut full = Full::of(Data::None);
    full.is_renewable = true;
    full.lease_seconds = leased.times.duration().as_seconds();
    full.lease_id = leased.lease_id;
    full.warnings = warnings;
    Ok(Answer::Full(Box::new(full)))
}

pub(super) async fn revoke(call: &Call, found: Found<Leased>) -> Result<Answer, Fault> {
    if field::flag(&call.fields, "sync")? == Some(false) {
        call.core.state.doom_leases(&[found], call.now).await?;
        call.node.leases.wake();
        return Ok(Answer::Empty);
    }
    match leases::remove(&call.node, &call.core, &found).await {
        Ok(()) => Ok(Answer::Empty),
        Err(RemoveError::Engine(error)) => Err(error.into()),
        Err(RemoveError::User(error)) => {
            leases::failed(&call.node, &call.core, &found, &error).await?;
            Err(not_revoked(&error))
        }
    }
}

fn not_revoked(error: &UserError) -> Fault {
    Fault::Backend(format!(
        "failed to revoke entry, and it is tried again: {error}"
    ))
}

/// Revokes all leases whose id begins with a prefix, which ends with `/`.
pub(super) async fn revoke_below(call: &Call, prefix: &str, force: bool) -> Result<(), Fault> {
    for live in sweep::databases_of(&call.core) {
        let base = base(&live);
        for (role, _) in call.core.state.lease_counts(live.mount.uuid).await? {
            if format!("{base}{role}/").starts_with(prefix) {
                revoke_role(call, &live, &role, force).await?;
            }
        }
    }
    Ok(())
}

/// Revokes all leases of a role. They are marked first, so that what this request leaves undone
/// is done by background work.
async fn revoke_role(call: &Call, live: &Live, role: &str, force: bool) -> Result<(), Fault> {
    let (state, uuid) = (&call.core.state, live.mount.uuid);
    let turn = call.now.plus(Span::from_seconds(TURN_SECONDS));
    let mut after = None;
    let mut failure = None;
    loop {
        let page = state.lease_page(uuid, role, after).await?;
        state.doom_leases(&page.leases, turn).await?;
        let failed = remove_all(call, page.leases, force).await?;
        failure = failure.or(failed);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match failure {
        Some(error) => Err(not_revoked(&error)),
        None => Ok(()),
    }
}

/// Removes leases, a few at once; the first failure.
async fn remove_all(
    call: &Call,
    leases: Vec<Found<Leased>>,
    force: bool,
) -> Result<Option<UserError>, Fault> {
    let mut waiting = leases.into_iter();
    let mut running = JoinSet::new();
    let mut failure = None;
    loop {
        while running.len() < AT_ONCE_MAX
            && let Some(found) = waiting.next()
        {
            let (node, core) = (Arc::clone(&call.node), Arc::clone(&call.core));
            running.spawn(async move {
                let Err(RemoveError::User(error)) = leases::remove(&node, &core, &found).await
                else {
                    return Ok(None);
                };
                if force {
                    core.state.end_lease(&found).await?;
                    let user = &found.value.username;
                    node.log.error(&format!(
                        "the lease of {user} was forgotten by force; the user may still be there: \
                         {error}"
                    ));
                    return Ok(None);
                }
                // Read anew: it was marked meanwhile.
                if let Some(found) = core.state.load_by_id::<Leased>(found.id).await? {
                    leases::failed(&node, &core, &found, &error).await?;
                }
                Ok::<_, strongroom_engine::Error>(Some(error))
            });
        }
        match running.join_next().await {
            Some(Ok(done)) => failure = failure.or(done?),
            Some(Err(_)) => return Err(Fault::Internal("a removal ended by a bug".into())),
            None => return Ok(failure),
        }
    }
}

/// Revokes all leases of a mount.
pub(crate) async fn revoke_mount(call: &Call, live: &Live) -> Result<(), Fault> {
    for (role, _) in call.core.state.lease_counts(live.mount.uuid).await? {
        revoke_role(call, live, &role, false).await?;
    }
    Ok(())
}

/// Before a mount goes: no lease is begun any more, and those that there are end. Where one cannot
/// be revoked, the mount stays.
pub(crate) async fn close_mount(call: &Call, live: &Live) -> Result<(), Fault> {
    let state = &call.core.state;
    let shelf = Shelf::Of(&live.owner);
    for (name, mut found) in state.all::<Connection>(shelf).await? {
        found.value.is_retired = true;
        let key = crate::databases::of_mount(&live.owner, &name);
        let put = Put {
            shown: &name,
            ..Put::named(&key, shelf).when(Precondition::Any)
        };
        state.write(vec![state.put(&put, &found.value)]).await?;
    }
    revoke_mount(call, live).await
}

/// Looks for what was left behind: leases of tokens that are gone, and configurations that were
/// deleted and have no lease any more.
pub(super) async fn tidy(call: &Call) -> Result<(), Fault> {
    let state = &call.core.state;
    for live in sweep::databases_of(&call.core) {
        let counts = state.lease_counts(live.mount.uuid).await?;
        for (role, _) in &counts {
            let mut after = None;
            loop {
                let page = state.lease_page(live.mount.uuid, role, after).await?;
                after = page.next;
                let mut gone = Vec::new();
                for found in page.leases {
                    let Some(token) = found.value.token else {
                        continue;
                    };
                    if state.token(RecordId(token)).await?.is_none() {
                        gone.push(found);
                    }
                }
                state.doom_leases(&gone, call.now).await?;
                if after.is_none() {
                    break;
                }
            }
        }
        if counts.is_empty() {
            for (_, found) in state.all::<Connection>(Shelf::Of(&live.owner)).await? {
                if found.value.is_retired {
                    let gone = state::delete(found.id, found.unchanged());
                    state.commit(vec![gone]).await?;
                }
            }
        }
    }
    call.node.leases.wake();
    Ok(())
}

/// The handle of the mount that a lease is of.
fn handle(call: &Call, trouble: &Trouble) -> String {
    let table = call.core.mounts();
    let live = table.by_uuid(trouble.mount);
    live.map_or_else(String::new, |live| live.mount.accessor.clone())
}

pub(super) async fn count_irrevocable(call: &Call) -> Result<Answer, Fault> {
    let troubles = call.core.state.troubles().await?;
    let mut counts = BTreeMap::<String, u64>::new();
    for trouble in &troubles {
        *counts.entry(handle(call, trouble)).or_default() += 1;
    }
    Ok(Answer::data(json!({
        "counts": counts,
        "lease_count": troubles.len(),
    })))
}

pub(super) async fn irrevocable(call: &Call) -> Result<Answer, Fault> {
    let troubles = call.core.state.troubles().await?;
    let leases = troubles.iter().map(|trouble| {
        json!({
            "lease_id": trouble.lease_id,
            "mount_id": handle(call, trouble),
            "error": trouble.error,
        })
    });
    Ok(Answer::data(json!({
        "lease_count": troubles.len(),
        "leases": leases.collect::<Vec<_>>(),
    })))
}

/// Compares the users of all databases with leases.
pub(crate) async fn compare(call: &mut Call) -> Result<Answer, Fault> {
    swept(call, false).await
}

/// The same, and repairs what is wrong.
pub(crate) async fn reconcile(call: &mut Call) -> Result<Answer, Fault> {
    swept(call, true).await
}

async fn swept(call: &Call, repair: bool) -> Result<Answer, Fault> {
    let mut all = Vec::new();
    for live in sweep::databases_of(&call.core) {
        let found = sweep::sweep(&call.node, &call.core, &live, repair).await?;
        all.extend(found.iter().map(sweep::Findings::to_json));
    }
    let troubles = call.core.state.troubles().await?.len();
    Ok(Answer::data(json!({
        "databases": all,
        "irrevocable": troubles,
    })))
}
