//! What is done to servers, databases and the cables between them.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;

use super::cluster::Cluster;
use super::load::Load;
use super::net::Cable;
use super::net::SERVERS;
use super::servers::Servers;
use crate::draw::Draw;
use crate::note::note;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::server::node::pause;

/// Longer than any statement may take: the databases' own patience is over then.
const LONG_MS: u64 = 14_000;

/// One kind of harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A server is killed, and started again later.
    KillServer,
    /// A server stands still for a while.
    StopServer,
    /// A server cannot reach the databases.
    CutDatabase,
    /// Clients cannot reach a server.
    CutClients,
    /// One server's clock jumps, and stays wrong.
    SkewClock,
    /// The primary crashes, and is started again.
    CrashDatabase,
    /// The primary is ended in order, and started again.
    RestartDatabase,
    /// The standby cannot be reached: nothing can be committed.
    CutStandby,
    /// The same for so long that statements are ended; then the primary dies, and the standby,
    /// which has nothing of what was tried meanwhile, takes over.
    LongCutAndPromote,
    /// The primary dies, and the standby takes over.
    CrashAndPromote,
    /// Nobody reaches the primary, though it lives; the standby takes over, and the primary is
    /// ended before it can be reached again.
    CutAndPromote,
}

/// Every kind, with what the table says.
pub(super) const FAULTS: &[(Fault, &str)] = &[
    (Fault::KillServer, "a server was killed with `kill -9`"),
    (
        Fault::StopServer,
        "a server stood still (SIGSTOP), up to 6 s",
    ),
    (
        Fault::CutDatabase,
        "a server was cut off from the databases, up to 8 s",
    ),
    (
        Fault::CutClients,
        "a server was cut off from its clients, up to 6 s",
    ),
    (
        Fault::SkewClock,
        "a server's clock jumped, up to 10 minutes either way",
    ),
    (Fault::CrashDatabase, "the primary crashed and came back"),
    (Fault::RestartDatabase, "the primary was restarted in order"),
    (Fault::CutStandby, "the standby was cut off, up to 4 s"),
    (
        Fault::LongCutAndPromote,
        "the standby was cut off for 14 s, then the primary died and the standby took over",
    ),
    (
        Fault::CrashAndPromote,
        "the primary died, the standby took over",
    ),
    (
        Fault::CutAndPromote,
        "the primary was cut off while it lived, the standby took over",
    ),
];

/// All that harm can be done to.
pub(super) struct Stage<'a> {
    pub(super) rig: &'a Rig,
    pub(super) load: &'a Load,
    pub(super) cluster: Cluster,
    pub(super) servers: Servers,
    pub(super) done: BTreeMap<Fault, u64>,
}

/// The faults of one run, in an order that is drawn: each kind of server's harm, the database's,
/// and one promotion.
pub(super) fn schedule(run: u64, draw: &mut Draw) -> Vec<Fault> {
    let promotions = [
        Fault::CrashAndPromote,
        Fault::CutAndPromote,
        Fault::LongCutAndPromote,
    ];
    let promotion = usize::try_from(run % 3).unwrap_or(0);
    let mut faults = vec![
        Fault::KillServer,
        Fault::KillServer,
        Fault::StopServer,
        Fault::CutDatabase,
        Fault::CutDatabase,
        Fault::CutClients,
        Fault::CrashDatabase,
        Fault::RestartDatabase,
        Fault::CutStandby,
    ];
    faults.extend(promotions.get(promotion));
    if Servers::has_clocks() {
        faults.extend([Fault::SkewClock, Fault::SkewClock]);
    }
    for last in (1..faults.len()).rev() {
        let other = draw.below(last as u64 + 1);
        faults.swap(last, usize::try_from(other).unwrap_or(0));
    }
    faults
}

impl Stage<'_> {
    /// Does one kind of harm, and undoes it. Half of the time a server is killed meanwhile.
    pub(super) fn play(&mut self, fault: Fault, draw: &mut Draw) -> AnyResult<()> {
        let begun = self.load.now() / 1_000_000;
        *self.done.entry(fault).or_default() += 1;
        let server = usize::try_from(draw.below(SERVERS as u64)).unwrap_or(0);
        let other = (server + 1) % SERVERS;
        match fault {
            Fault::KillServer => self.kill(server, draw)?,
            Fault::StopServer => {
                self.servers.signal(server, Signal::STOP)?;
                self.wait(500 + draw.below(5_500))?;
                self.servers.signal(server, Signal::CONT)?;
            }
            Fault::CutDatabase => {
                Cable::Server(server).set(false)?;
                self.wait(300 + draw.below(4_000))?;
                self.perhaps_kill(other, draw)?;
                self.wait(draw.below(3_500))?;
                Cable::Server(server).set(true)?;
            }
            Fault::CutClients => {
                Cable::Clients(server).set(false)?;
                self.wait(300 + draw.below(3_000))?;
                self.perhaps_kill(other, draw)?;
                self.wait(draw.below(2_500))?;
                Cable::Clients(server).set(true)?;
            }
            Fault::SkewClock => {
                let seconds = i64::try_from(draw.below(1_200))? - 600;
                self.servers.skew(seconds)?;
            }
            Fault::CrashDatabase => {
                let primary = self.cluster.primary();
                self.cluster.crash(primary)?;
                self.perhaps_kill(server, draw)?;
                self.wait(draw.below(3_000))?;
                self.cluster.resume(primary)?;
            }
            Fault::RestartDatabase => {
                let primary = self.cluster.primary();
                self.cluster.end(primary)?;
                self.wait(draw.below(1_000))?;
                self.cluster.resume(primary)?;
            }
            Fault::CutStandby => {
                let standby = Cable::Database(self.cluster.standby());
                standby.set(false)?;
                self.wait(300 + draw.below(2_000))?;
                self.perhaps_kill(server, draw)?;
                self.wait(draw.below(1_700))?;
                standby.set(true)?;
            }
            Fault::LongCutAndPromote => {
                let standby = Cable::Database(self.cluster.standby());
                standby.set(false)?;
                self.wait(LONG_MS)?;
                self.cluster.crash(self.cluster.primary())?;
                standby.set(true)?;
                self.take_over()?;
            }
            Fault::CrashAndPromote => {
                self.cluster.crash(self.cluster.primary())?;
                self.perhaps_kill(server, draw)?;
                self.wait(draw.below(1_500))?;
                self.take_over()?;
            }
            Fault::CutAndPromote => {
                let old = self.cluster.primary();
                Cable::Database(old).set(false)?;
                self.wait(draw.below(4_000))?;
                self.cluster.promote()?;
                self.wait(draw.below(2_000))?;
                // It is fenced before anybody can reach it.
                self.cluster.crash(old)?;
                Cable::Database(old).set(true)?;
                self.cluster.rebuild()?;
            }
        }
        let ended = self.load.now() / 1_000_000;
        note(&format!(
            "  {begun:>6}..{ended:<6} ms: {fault:?}, server {server}"
        ));
        self.cluster.wait_until_followed()
    }

    fn take_over(&mut self) -> AnyResult<()> {
        self.cluster.promote()?;
        self.wait(500)?;
        self.cluster.rebuild()
    }

    fn perhaps_kill(&mut self, server: usize, draw: &mut Draw) -> AnyResult<()> {
        match draw.below(2) {
            0 => Ok(()),
            _ => {
                *self.done.entry(Fault::KillServer).or_default() += 1;
                self.kill(server, draw)
            }
        }
    }

    fn kill(&mut self, server: usize, draw: &mut Draw) -> AnyResult<()> {
        self.servers.kill(server)?;
        self.wait(draw.below(1_500))?;
        self.servers.start(self.rig, server)
    }

    /// Lets time pass, and starts again what has ended.
    pub(super) fn wait(&mut self, ms: u64) -> AnyResult<()> {
        let until = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < until {
            pause(Duration::from_millis(50).min(until - Instant::now()));
            self.servers.tend(self.rig)?;
        }
        Ok(())
    }
}
