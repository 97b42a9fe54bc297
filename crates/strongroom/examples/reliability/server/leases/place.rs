//! A server over its own store that makes users in a real PostgreSQL.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use strongroom_testkit::postgres::Postgres;
use tokio_postgres::NoTls;

use super::super::client::Answer;
use super::super::client::Client;
use super::super::node::Node;
use super::super::node::free_address;
use super::super::node::pause;
use crate::rig::AnyResult;
use crate::rig::Rig;

const CREATE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
    VALID UNTIL '{{expiration}}' IN ROLE app";
/// Where Debian keeps what sets a program's clock.
pub(super) const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// Only a hang takes so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(240);

/// Somebody who may log in.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) lease: String,
    pub(super) name: String,
    pub(super) password: String,
}

/// A server and the mount of its users.
pub(super) struct Place {
    pub(super) rig: Rig,
    pub(super) address: SocketAddr,
    pub(super) token: String,
    pub(super) mount: String,
    node: Option<Node>,
    /// The file that sets the server's clock.
    clock: Option<PathBuf>,
}

/// A database with an administrator whose password counts.
pub(super) fn database() -> Postgres {
    let database = Postgres::start();
    let _ = database.sql(
        "postgres",
        "CREATE ROLE app; CREATE ROLE fixed LOGIN IN ROLE app",
    );
    database
}

impl Place {
    /// `lane` keeps the names apart from those of others on the same database.
    pub(super) fn new(database: &Postgres, lane: usize) -> AnyResult<Self> {
        Self::with_clock(database, lane, false)
    }

    /// With a clock that can be set, if that is wanted.
    pub(super) fn with_clock(database: &Postgres, lane: usize, is_set: bool) -> AnyResult<Self> {
        let rig = Rig::new()?;
        let token = String::from_utf8(rig.ask(&["operator", "root-token"])?)?;
        let mut place = Self {
            address: free_address()?,
            token: token.trim().to_owned(),
            mount: format!("db{lane}"),
            node: None,
            clock: is_set.then(|| rig.file("clock")),
            rig,
        };
        place.set_clock("+0")?;
        let sql = format!(
            "CREATE ROLE admin{lane} SUPERUSER LOGIN PASSWORD 'first-one' IN ROLE app; \
             CREATE ROLE fixed{lane} LOGIN IN ROLE app"
        );
        let _ = database.sql("postgres", &sql);
        place.start()?;
        place.enable(database.port(), lane)?;
        Ok(place)
    }

    /// Sets the mount up; the server finds the database at this port.
    pub(super) fn enable(&self, port: u16, lane: usize) -> AnyResult<()> {
        let (node, mount) = (self.node()?, &self.mount);
        let body = json!({"type": "database"});
        node.demand("POST", &format!("sys/mounts/{mount}"), &body)?;
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url":
                format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres"),
            "allowed_roles": "*",
            "username": format!("admin{lane}"),
            "password": "first-one",
        });
        node.demand("POST", &format!("{mount}/config/pg"), &config)?;
        self.role("1h")
    }

    /// The role `ro`, whose users live so long.
    pub(super) fn role(&self, ttl: &str) -> AnyResult<()> {
        let role = json!({
            "db_name": "pg",
            "creation_statements": CREATE,
            "default_ttl": ttl,
            "max_ttl": "24h",
        });
        let path = format!("{}/roles/ro", self.mount);
        self.node()?.demand("POST", &path, &role)?;
        Ok(())
    }

    pub(super) fn node(&self) -> AnyResult<&Node> {
        Ok(self.node.as_ref().ok_or("no server runs")?)
    }

    pub(super) fn start(&mut self) -> AnyResult<()> {
        let audit = self.rig.file("audit").display().to_string();
        let listen = self.address.to_string();
        let words = ["serve", "--listen", &listen, "--audit-folder", &audit];
        let mut command = self.rig.strongroom(&words);
        if let Some(clock) = &self.clock {
            command
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut node = Node::of_command(&mut command, &self.rig.file("server.log"), self.address)?;
        node.token.clone_from(&self.token);
        node.until_ready()?;
        self.node = Some(node);
        Ok(())
    }

    /// Sets the server's clock: so much off the machine's (`+86400`), or a time at which it stands.
    pub(super) fn set_clock(&self, to: &str) -> AnyResult<()> {
        match &self.clock {
            // In one piece: it is read all the time.
            Some(clock) => {
                let new = clock.with_extension("new");
                fs::write(&new, format!("{to}\n"))?;
                Ok(fs::rename(new, clock)?)
            }
            None => Ok(()),
        }
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) -> AnyResult<()> {
        self.node.take().ok_or("no server runs")?.kill()
    }

    /// Ends it in order.
    pub(super) fn end(&mut self) -> AnyResult<()> {
        self.node.take().ok_or("no server runs")?.end(Signal::TERM)
    }

    /// Makes a user.
    pub(super) fn make(&self) -> AnyResult<User> {
        let answer = ask(
            self.address,
            &self.token,
            "GET",
            &format!("{}/creds/ro", self.mount),
            &Value::Null,
        )?;
        user_of(&answer).ok_or_else(|| {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            format!("no user was made: {} {text}", answer.status).into()
        })
    }

    /// Names of this mount's users that are in the database, by the prefix that all have.
    pub(super) fn users(database: &Postgres) -> BTreeSet<String> {
        let sql = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'";
        let names = database.sql("postgres", sql);
        names.lines().map(str::to_owned).collect()
    }

    /// Compares users with leases; the report of the first database.
    pub(super) fn compare(&self) -> AnyResult<Value> {
        let node = self.node()?;
        let done = node.demand("GET", "sys/leases/reconcile", &Value::Null)?;
        Ok(done["data"]["databases"][0].clone())
    }

    /// Compares users with leases and repairs; the report of the first database.
    pub(super) fn sweep(&self) -> AnyResult<Value> {
        let done = self
            .node()?
            .demand("POST", "sys/leases/reconcile", &json!({}))?;
        Ok(done["data"]["databases"][0].clone())
    }
}

/// One request on a connection of its own.
pub(super) fn ask(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> AnyResult<Answer> {
    Client::connect(address, token)?.ask(method, path, body)
}

/// Who was made.
pub(super) fn user_of(answer: &Answer) -> Option<User> {
    let json = answer.json();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(User {
        lease: text(&json["lease_id"])?,
        name: text(&json["data"]["username"])?,
        password: text(&json["data"]["password"])?,
    })
}

/// Whether somebody may log in; `None` where nobody answers.
pub(super) fn logs_in(port: u16, name: &str, password: &str) -> AnyResult<Option<bool>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .dbname("postgres")
        .user(name)
        .password(password);
    Ok(match runtime.block_on(config.connect(NoTls)) {
        Ok(_) => Some(true),
        Err(error) => error.code().map(|_| false),
    })
}

/// Waits until something is so; how long that took.
pub(super) fn until(what: &str, is_so: &mut dyn FnMut() -> AnyResult<bool>) -> AnyResult<Duration> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{what}: not in {} s", PATIENCE.as_secs()).into());
        }
        pause(Duration::from_millis(50));
    }
    Ok(begun.elapsed())
}
