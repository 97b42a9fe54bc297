//! Comparing users of databases with leases, both ways.
//!
//! A user that was made here is known by its name. One without a lease is an orphan: it is removed,
//! or, where that fails, may not log in any more. A lease whose user is gone is ended. Users of
//! other people, and of other mounts, are never touched.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::leases::Leased;
use strongroom_engine::leases::Stage;
use strongroom_engine::mounts::Engines;
use strongroom_engine::state::Found;
use strongroom_engine::state::Shelf;

use super::has_duty;
use crate::core::Core;
use crate::core::Live;
use crate::databases;
use crate::databases::Connection;
use crate::databases::Users;
use crate::node::Node;

/// So often all databases are looked at.
const INTERVAL: Duration = Duration::from_secs(300);
/// So often it is looked whether it is time.
const LOOKS: Duration = Duration::from_secs(1);
/// What is younger may be on its way, in seconds.
const YOUNG_SECONDS: i64 = 120;
/// How the names begin that are made here.
const PREFIX: &str = "v-";
/// Names in a report, at most.
const NAMES_MAX: usize = 1_000;

/// Looks at all databases from time to time, until it is dropped. A database that does not answer
/// is waited for here, and keeps no lease from its end.
pub(super) async fn work(node: Arc<Node>) {
    let mut last = None;
    loop {
        tokio::time::sleep(LOOKS).await;
        if last.is_some_and(|last: Instant| last.elapsed() < INTERVAL) {
            continue;
        }
        let Some(core) = node.core() else { continue };
        match all(&node, &core).await {
            Ok(true) => last = Some(Instant::now()),
            // Nothing to look at, or another server does it.
            Ok(false) => {}
            Err(error) => {
                last = Some(Instant::now());
                node.log
                    .error(&format!("users of databases are looked at later: {error}"));
            }
        }
    }
}

/// Looks at all databases, if that is this server's duty.
async fn all(node: &Arc<Node>, core: &Arc<Core>) -> Result<bool, Error> {
    let databases = databases_of(core);
    if databases.is_empty() || !has_duty(node, core).await? {
        return Ok(false);
    }
    let mut orphans = 0;
    for live in databases {
        for found in sweep(node, core, &live, true).await? {
            orphans += found.orphans.len() as u64;
            found.log(node);
        }
    }
    let counters = &node.metrics.leases;
    counters.orphans.store(orphans, Ordering::Relaxed);
    let troubles = core.state.troubles().await?.len() as u64;
    counters.irrevocable.store(troubles, Ordering::Relaxed);
    Ok(true)
}

pub(crate) fn is_database(live: &Live) -> bool {
    live.mount.engine == Engines::Database
}

/// The mounts whose leases are of users of databases.
pub(crate) fn databases_of(core: &Core) -> Vec<Arc<Live>> {
    let table = core.mounts();
    let all = table.all().filter(|live| is_database(live));
    all.map(Arc::clone).collect()
}

/// What was found in one database.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    database: String,
    /// Users that were made here and have a lease.
    users: usize,
    leases: usize,
    /// Users without a lease that are still there.
    orphans: Vec<String>,
    removed: Vec<String>,
    quarantined: Vec<String>,
    /// Leases whose user is gone.
    ended: Vec<String>,
    error: Option<String>,
}

impl Findings {
    /// As a client reads it.
    pub(crate) fn to_json(&self) -> Value {
        let some = |names: &[String]| names.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>();
        json!({
            "database": self.database,
            "users": self.users,
            "leases": self.leases,
            "orphans": some(&self.orphans),
            "removed": some(&self.removed),
            "quarantined": some(&self.quarantined),
            "leases_without_user": some(&self.ended),
            "error": self.error,
        })
    }

    fn log(&self, node: &Node) {
        let place = &self.database;
        for (names, what) in [
            (&self.removed, "had no lease and were removed"),
            (
                &self.quarantined,
                "have no lease, cannot be removed and may not log in any more",
            ),
            (&self.orphans, "have no lease and could not be removed"),
            (
                &self.ended,
                "were dropped by somebody else: their leases were ended",
            ),
        ] {
            if let Some(first) = names.first() {
                let count = names.len();
                node.log
                    .error(&format!("{place}: {count} users {what}, such as {first}"));
            }
        }
    }
}

/// Compares the databases of a mount with its leases; repairs what is wrong if that is wanted.
pub(crate) async fn sweep(
    node: &Node,
    core: &Core,
    live: &Live,
    repair: bool,
) -> Result<Vec<Findings>, Error> {
    let shelf = Shelf::Of(&live.owner);
    let mut all = Vec::new();
    for (name, found) in core.state.all::<Connection>(shelf).await? {
        let mut findings = Findings {
            database: format!("{}config/{name}", live.path),
            ..Findings::default()
        };
        let sweeper = Sweeper {
            node,
            core,
            live,
            name: &name,
            repair,
        };
        if let Err(error) = sweeper.compare(&found, &mut findings).await {
            findings.error = Some(error);
        }
        all.push(findings);
    }
    Ok(all)
}

struct Sweeper<'a> {
    node: &'a Node,
    core: &'a Core,
    live: &'a Live,
    name: &'a str,
    repair: bool,
}

impl Sweeper<'_> {
    async fn compare(
        &self,
        found: &Found<Connection>,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let (core, owner) = (self.core, &self.live.owner);
        let users = databases::users_of(self.node, core, owner, self.name).await;
        let users = users.map_err(|error| words(&error))?;
        // What is made while this looks is younger than what it judges.
        let before = self.node.now().plus(Span::from_seconds(-YOUNG_SECONDS));
        let names = users.named(PREFIX).await;
        let names: HashSet<String> = names.map_err(|error| words(&error))?.into_iter().collect();
        let uuid = self.live.mount.uuid;
        for name in &names {
            let Some(made) = core.state.own_username(uuid, name) else {
                continue;
            };
            let lease = core.state.lease_of_user(uuid, name).await;
            match lease.map_err(|error| words(&error))? {
                Some(lease) if lease.value.connection == self.name => findings.users += 1,
                // Two configurations may lead to one database.
                Some(_) => {}
                None if made > before => {}
                None => self.orphan(&users, found, name, findings).await,
            }
        }
        self.leases(&users, &names, before, findings)
            .await
            .map_err(|error| words(&error))
    }

    /// A user without a lease.
    async fn orphan(
        &self,
        users: &Users,
        found: &Found<Connection>,
        name: &str,
        findings: &mut Findings,
    ) {
        // Its lease ended while this looked, and it with it.
        if let Ok(None) = users.find(name).await {
            return;
        }
        if !self.repair || found.value.is_retired {
            findings.orphans.push(name.to_owned());
            return;
        }
        let counters = &self.node.metrics.leases;
        if users.remove(name, &[]).await.is_ok() {
            counters.orphans_removed.fetch_add(1, Ordering::Relaxed);
            findings.removed.push(name.to_owned());
            return;
        }
        match users.lock(name).await.is_ok() {
            true => findings.quarantined.push(name.to_owned()),
            false => findings.orphans.push(name.to_owned()),
        }
    }

    /// Leases whose user is gone.
    async fn leases(
        &self,
        users: &Users,
        names: &HashSet<String>,
        before: Timestamp,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let (state, uuid) = (&self.core.state, self.live.mount.uuid);
        for (role, _) in state.lease_counts(uuid).await? {
            let mut after = None;
            loop {
                let page = state.lease_page(uuid, &role, after).await?;
                for lease in page.leases {
                    let own = lease.value.connection == self.name;
                    findings.leases += usize::from(own);
                    if own
                        && is_bereft(&lease.value, names, before)
                        && is_gone(users, &lease.value.username).await
                    {
                        findings.ended.push(lease.value.lease_id.clone());
                        if self.repair {
                            state.end_lease(&lease).await?;
                        }
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Whether a user that is in no list of names is gone. Names that a template made are in none.
async fn is_gone(users: &Users, name: &str) -> bool {
    name.starts_with(PREFIX) || matches!(users.find(name).await, Ok(None))
}

fn is_bereft(leased: &Leased, names: &HashSet<String>, before: Timestamp) -> bool {
    leased.stage == Stage::Live
        && leased.times.issued_at < before
        && !names.contains(&leased.username)
}
