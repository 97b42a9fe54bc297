//! Users of a PostgreSQL, made and removed: ours, OpenBao's, and bare statements. And a start of a
//! server with a million leases.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_chain::unlock::without_a_person;
use strongroom_core::lease::Lease;
use strongroom_core::lease::Limits;
use strongroom_core::lease::Terms;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::leases::NewLease;
use strongroom_engine::state::State;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;
use strongroom_testkit::postgres::Postgres;
use tokio_postgres::NoTls;

use crate::report;
use crate::report::verdict;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::server::SECONDS;
use crate::server::Server;

/// Connections to the database, of whoever makes users.
const CONNECTIONS: usize = 4;
/// Clients that ask at once.
const CLIENTS: usize = 8;
/// Leases of the start.
const LEASES_USUAL: u64 = 1_000_000;
/// Leases of one role; as many roles as it takes.
const PER_ROLE: u64 = 50_000;
/// Leases that are written at once.
const WRITERS: u64 = 256;

const CREATE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
    VALID UNTIL '{{expiration}}' IN ROLE readers";

pub(crate) fn bench() -> AnyResult<()> {
    let leases = match std::env::args().nth(2) {
        Some(text) => text.parse()?,
        None => LEASES_USUAL,
    };
    let database = Postgres::start_with(&["fsync=on"]);
    let _ = database.sql(
        "postgres",
        "CREATE ROLE readers; CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'none'",
    );
    let rig = Rig::new()?;
    let servers = [Server::strongroom(&rig)?, Server::openbao(&rig)?];
    for server in &servers {
        prepare(server, &database)?;
    }
    let [ours, theirs] = &servers;
    let (ours, theirs) = (rate_of(ours)?, rate_of(theirs)?);
    let bare = bare(&database)?;
    row("users made and removed", ours, "OpenBao", theirs, 3.0);
    let beside = "bare statements";
    row(
        "the same, beside bare statements",
        ours,
        beside,
        bare,
        1.0 / 1.3,
    );
    drop(servers);
    start(leases)
}

fn row(what: &str, ours: f64, beside: &str, rate: f64, goal: f64) {
    let ratio = ours / rate;
    report::row(&[
        &format!("{what}, {CLIENTS} clients, {CONNECTIONS} connections"),
        &format!("{ours:.0}/s"),
        &format!("{beside}: {rate:.0}/s"),
        &format!("{ratio:.2}"),
        &format!("at least {goal:.2}"),
        verdict(ratio >= goal),
    ]);
}

fn prepare(server: &Server, database: &Postgres) -> AnyResult<()> {
    let port = database.port();
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres?sslmode=disable"
    );
    let config = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": url,
        "username": "admin",
        "password": "none",
        "max_open_connections": CONNECTIONS,
    });
    let role = json!({"db_name": "pg", "creation_statements": CREATE, "default_ttl": "1h"});
    server.ask("POST", "sys/mounts/database", &json!({"type": "database"}))?;
    server.ask("POST", "database/config/pg", &config)?;
    server.ask("POST", "database/roles/ro", &role)?;
    pair(server)
}

/// Makes a user and removes it.
fn pair(server: &Server) -> AnyResult<()> {
    let made = server.ask("GET", "database/creds/ro", &Value::Null)?;
    let lease = made["lease_id"].as_str().ok_or("no user was made")?;
    let gone = server.ask("PUT", "sys/leases/revoke", &json!({ "lease_id": lease }))?;
    match gone["errors"].is_null() {
        true => Ok(()),
        false => Err("a user was not removed".into()),
    }
}

fn rate_of(server: &Server) -> AnyResult<f64> {
    let count = AtomicU64::new(0);
    let begun = Instant::now();
    let end = begun + Duration::from_secs(SECONDS.into());
    std::thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| {
            scope.spawn(|| {
                while Instant::now() < end {
                    pair(server).map_err(|error| error.to_string())?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), String>(())
            })
        });
        let clients: Vec<_> = clients.collect();
        clients
            .into_iter()
            .try_for_each(|client| match client.join() {
                Ok(done) => done,
                Err(_) => Err("a client panicked".into()),
            })
    })?;
    Ok(figure(count.load(Ordering::Relaxed), begun))
}

fn figure(count: u64, begun: Instant) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / begun.elapsed().as_secs_f64()
}

/// The statements alone, with as many connections, the verifier computed by the client.
fn bare(database: &Postgres) -> AnyResult<f64> {
    let runtime = tokio::runtime::Runtime::new()?;
    let url = database.url("postgres");
    runtime.block_on(async {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(SECONDS.into());
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..CONNECTIONS {
            let url = url.clone();
            tasks.spawn(async move {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
                tokio::spawn(connection);
                let mut count = 0_u64;
                while Instant::now() < end {
                    let name = format!("bare-{number}-{count}");
                    client
                        .batch_execute(&format!(
                            "CREATE ROLE \"{name}\" LOGIN PASSWORD 'a-password-of-24-chars--' \
                             VALID UNTIL '2099-01-01' IN ROLE readers"
                        ))
                        .await?;
                    let drop = format!("DROP ROLE IF EXISTS \"{name}\"");
                    client.batch_execute(&drop).await?;
                    count += 1;
                }
                Ok::<u64, tokio_postgres::Error>(count)
            });
        }
        let mut count = 0;
        while let Some(done) = tasks.join_next().await {
            count += done??;
        }
        Ok(figure(count, begun))
    })
}

/// A server's start over a store with so many leases.
fn start(leases: u64) -> AnyResult<()> {
    let rig = Rig::new()?;
    let server = Server::strongroom(&rig)?;
    server.ask("POST", "sys/mounts/database", &json!({"type": "database"}))?;
    drop(server);
    fill(&rig, leases)?;
    let server = Server::strongroom(&rig)?;
    let health = server.ask("GET", "sys/health", &Value::Null)?;
    if health["sealed"] != false {
        return Err("the server does not open the store".into());
    }
    let listed = server.ask("LIST", "sys/leases/lookup/database/creds", &Value::Null)?;
    let roles = listed["data"]["keys"].as_array().map_or(0, Vec::len);
    let (memory, ready) = server.start_up()?;
    let what = format!("start with {leases} leases of {roles} roles");
    report::row(&[
        &what,
        &format!("{:.2} s", ready.as_secs_f64()),
        "",
        "",
        "at most 2 s",
        verdict(ready.as_secs_f64() <= 2.0),
    ]);
    report::row(&[
        "memory after it",
        &format!("{memory:.0} MB"),
        "",
        "",
        "at most 150 MB",
        verdict(memory <= 150.0),
    ]);
    Ok(())
}

/// Leases in a store, as a server writes them; they are due in some days.
fn fill(rig: &Rig, leases: u64) -> AnyResult<()> {
    let data = rig.project().join("../.local/share/strongroom/store.db");
    let key = rig.project().join("../.config/strongroom/store.key");
    let store = StoreFile::open(&data)?;
    let header = store.header().clone();
    let opened = without_a_person(&header, &key, &mut Vec::new())?;
    let (keys, _) = opened.ok_or("the key file does not open the store")?;
    let barrier = Barrier::new(header.store_id(), &keys.keyring);
    let storage = store.unlock(&barrier, Writes::Grouped, Rollback::Refuse)?;
    let state = State::new(Arc::new(storage), barrier);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mounts = state.mounts().await?.ok_or("no mounts")?.value;
        let (_, mount) = mounts.find("database/").ok_or("no mount")?;
        let uuid = mount.uuid;
        let later = Timestamp::from_micros(4_000_000_000_000_000);
        let unset = Span::from_seconds(0);
        let (times, _) = Lease::issue(Limits::system(unset, unset), Terms::NONE, later);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..leases {
            let role = format!("role-{}", number / PER_ROLE);
            let new = NewLease {
                path: format!("database/creds/{role}"),
                mount: uuid,
                username: state.new_username(uuid, "token", &role, later),
                role,
                connection: "pg".into(),
                token: None,
                times,
                revocation: Vec::new(),
                ends_by: None,
                leases_max: PER_ROLE,
            };
            let state = state.clone();
            tasks.spawn(async move { state.begin_lease(new, &[]).await.map(drop) });
            if tasks.len() as u64 >= WRITERS
                && let Some(done) = tasks.join_next().await
            {
                done??;
            }
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    })
}
