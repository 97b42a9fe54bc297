//! Network namespaces: two networks, one to the clients and one to the databases, whose cables can
//! be cut without anybody noticing.

use std::process::Command;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;

use crate::rig::AnyResult;

/// Servers, and databases.
pub(super) const SERVERS: usize = 3;
pub(super) const DATABASES: usize = 2;
/// The networks: the clients' and the databases'.
const CLIENT_NET: &str = "10.81.1";
const DATABASE_NET: &str = "10.81.2";
/// What a port of a bridge does: 0 drops every frame without a word, 3 forwards.
const CUT: &str = "0";
const WHOLE: &str = "3";

/// The namespaces of one harness, gone when it is dropped. Bridges lie in the hub, where the
/// clients are.
pub(super) struct Net {
    name: String,
}

/// A cable from the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cable {
    /// Between clients and a server.
    Clients(usize),
    /// Between a server and the databases.
    Server(usize),
    /// Between a database and everybody.
    Database(usize),
}

impl Cable {
    /// Its port at the bridge.
    fn port(self) -> String {
        match self {
            Self::Clients(server) => format!("c{server}"),
            Self::Server(server) => format!("s{server}"),
            Self::Database(database) => format!("d{database}"),
        }
    }

    /// Cuts it, or puts it together again. In the hub.
    pub(super) fn set(self, is_whole: bool) -> AnyResult<()> {
        let state = if is_whole { WHOLE } else { CUT };
        ip(
            "bridge",
            &["link", "set", "dev", &self.port(), "state", state],
        )
    }
}

impl Net {
    /// Makes the namespaces, from outside.
    pub(super) fn make(name: &str) -> AnyResult<Self> {
        let net = Self {
            name: name.to_owned(),
        };
        let hub = net.hub();
        ip("ip", &["netns", "add", &hub])?;
        ip("ip", &["-n", &hub, "link", "set", "lo", "up"])?;
        for (bridge, prefix) in [("clients", CLIENT_NET), ("databases", DATABASE_NET)] {
            ip("ip", &["-n", &hub, "link", "add", bridge, "type", "bridge"])?;
            let address = format!("{prefix}.1/24");
            ip("ip", &["-n", &hub, "addr", "add", &address, "dev", bridge])?;
            ip("ip", &["-n", &hub, "link", "set", bridge, "up"])?;
        }
        for server in 0..SERVERS {
            let space = net.server(server);
            ip("ip", &["netns", "add", &space])?;
            net.join(
                &space,
                Cable::Clients(server),
                "clients",
                &client_side(server),
            )?;
            let address = format!("{DATABASE_NET}.{}", 11 + server);
            net.join(&space, Cable::Server(server), "databases", &address)?;
        }
        for database in 0..DATABASES {
            let space = net.database(database);
            ip("ip", &["netns", "add", &space])?;
            let address = database_host(database);
            net.join(&space, Cable::Database(database), "databases", &address)?;
        }
        Ok(net)
    }

    /// The same, seen from inside the hub: nothing is removed when it is dropped.
    pub(super) fn of(name: &str) -> std::mem::ManuallyDrop<Self> {
        std::mem::ManuallyDrop::new(Self {
            name: name.to_owned(),
        })
    }

    fn join(&self, space: &str, cable: Cable, bridge: &str, address: &str) -> AnyResult<()> {
        let (hub, port) = (self.hub(), cable.port());
        // Both ends have names of their own: a server has two cables.
        let end = format!("e{port}");
        let address = format!("{address}/24");
        ip("ip", &["-n", space, "link", "set", "lo", "up"])?;
        ip(
            "ip",
            &[
                "-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", &end, "netns",
                space,
            ],
        )?;
        ip(
            "ip",
            &["-n", &hub, "link", "set", &port, "master", bridge, "up"],
        )?;
        ip("ip", &["-n", space, "addr", "add", &address, "dev", &end])?;
        ip("ip", &["-n", space, "link", "set", &end, "up"])
    }

    /// Where the clients and this program are.
    pub(super) fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    pub(super) fn server(&self, number: usize) -> String {
        format!("{}-server{number}", self.name)
    }

    pub(super) fn database(&self, number: usize) -> String {
        format!("{}-database{number}", self.name)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let servers = (0..SERVERS).map(|number| self.server(number));
        let databases = (0..DATABASES).map(|number| self.database(number));
        for space in servers.chain(databases).chain([self.hub()]) {
            end_all_in(&space);
            // What was not made cannot be removed.
            drop(ip("ip", &["netns", "del", &space]));
        }
    }
}

/// Ends what still runs in a namespace, as after a harness that was ended itself.
fn end_all_in(space: &str) {
    let listed = Command::new("ip").args(["netns", "pids", space]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let ids = String::from_utf8_lossy(&listed).into_owned();
    let ids = ids.lines().filter_map(|line| line.trim().parse().ok());
    for id in ids.filter_map(Pid::from_raw) {
        // One that has ended meanwhile is as good.
        let _ = kill_process(id, Signal::KILL);
    }
}

/// Where clients reach a server.
pub(super) fn client_side(server: usize) -> String {
    format!("{CLIENT_NET}.{}", 11 + server)
}

/// Where a database is.
pub(super) fn database_host(database: usize) -> String {
    format!("{DATABASE_NET}.{}", 21 + database)
}

/// A command that runs in a namespace.
pub(super) fn within(space: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space, program]);
    command
}

fn ip(program: &str, words: &[&str]) -> AnyResult<()> {
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", words.join(" "), said.trim()).into())
}
