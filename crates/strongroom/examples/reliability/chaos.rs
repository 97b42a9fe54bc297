//! Three servers, a primary and its standby in network namespaces, harm done to all of them under
//! load, and a look at what clients saw.

mod cluster;
mod faults;
mod load;
mod net;
mod servers;

use std::collections::BTreeMap;
use std::process::Command;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use self::cluster::Cluster;
use self::faults::FAULTS;
use self::faults::Fault;
use self::faults::Stage;
use self::load::CLIENTS;
use self::load::Load;
use self::net::Net;
use self::net::SERVERS;
use self::servers::Servers;
use crate::draw::Draw;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::server::node::pause;
use crate::server::requests::zero;

/// After all harm is undone, each server has to serve again within this time, by itself.
const RECOVERY: Duration = Duration::from_secs(60);
/// Between two kinds of harm, at most.
const PEACE_MS: u64 = 1_500;
const START: Duration = Duration::from_secs(120);

/// Makes the namespaces, and goes on in the one where the clients are.
pub(crate) fn run(runs: u64, first: u64) -> AnyResult<bool> {
    let name = format!("chaos{}", std::process::id());
    let net = Net::make(&name).map_err(|error| {
        format!(
            "network namespaces cannot be made (root, or CAP_NET_ADMIN and CAP_SYS_ADMIN, and \
                 iproute2 are needed): {error}"
        )
    })?;
    let own = std::env::current_exe()?;
    let status: ExitStatus = Command::new("ip")
        .args(["netns", "exec", &net.hub()])
        .arg(own)
        .args(["chaos-inside", &name, &runs.to_string(), &first.to_string()])
        .status()?;
    Ok(status.success())
}

/// The runs, from inside.
pub(crate) fn inside(args: &[String]) -> AnyResult<bool> {
    let [name, runs, first] = args else {
        return Err("chaos-inside NAME RUNS FIRST".into());
    };
    let (runs, first): (u64, u64) = (runs.parse()?, first.parse()?);
    let net = Net::of(name);
    let mut total = Total::default();
    let begun = Instant::now();
    for run in first..first + runs {
        note(&format!("run {run}"));
        total.add(one(&net, run)?);
    }
    total.took = begun.elapsed();
    total.rows();
    Ok(total.is_good())
}

/// One run: a new pair, a new store, all kinds of harm.
fn one(net: &Net, run: u64) -> AnyResult<Total> {
    let rig = Rig::new()?;
    // Below it lie PostgreSQL's folders, which are its user's.
    open_to_all(&rig)?;
    let cluster = Cluster::start(net, &rig.file("databases"))?;
    let mut servers = Servers::new(&rig, net);
    servers.start(&rig, 0)?;
    let nobody = Load::new("");
    wait_until(START, || nobody.health(0) == Some(200)).ok_or("the first server does not start")?;
    let url = Cluster::url();
    let token = rig.ask(&["operator", "root-token", "--store", &url])?;
    let load = Load::new(String::from_utf8(token)?.trim());
    for server in 1..SERVERS {
        servers.start(&rig, server)?;
        wait_until(START, || load.health(server) == Some(200)).ok_or("a server does not start")?;
    }
    let mut draw = Draw::new(9_000 + run);
    let mut stage = Stage {
        rig: &rig,
        load: &load,
        cluster,
        servers,
        done: BTreeMap::new(),
    };
    thread::scope(|scope| -> Result<(), String> {
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.client(run * CLIENTS + client));
        }
        let harmed = harm(&mut stage, run, &mut draw);
        load.end();
        harmed.map_err(|error| error.to_string())
    })?;
    let mut total = Total {
        runs: 1,
        ..Total::default()
    };
    let all_well = || (0..SERVERS).all(|server| load.health(server) == Some(200));
    if wait_until(RECOVERY, all_well).is_none() {
        let states: Vec<_> = (0..SERVERS).map(|server| load.health(server)).collect();
        total.bad(&format!("not all serve again: {states:?}"), &rig);
    }
    match load.look_at_all() {
        Ok(()) => {}
        Err(error) => total.bad(&error.to_string(), &rig),
    }
    for ended in &stage.servers.ended {
        total.bad(ended, &rig);
    }
    if let Err(error) = examine(&rig, &url) {
        total.unsound += 1;
        note(&format!("UNSOUND: {error}"));
    }
    total.take(&load, &stage.done);
    Ok(total)
}

/// `doctor` reads store files: the store is moved to one, which compares every record.
fn examine(rig: &Rig, url: &str) -> AnyResult<()> {
    let file = rig.file("moved/store.db").display().to_string();
    rig.ask(&["operator", "migrate-storage", "--from", url, "--to", &file])?;
    rig.ask(&["doctor", "--store", &file])?;
    Ok(())
}

fn harm(stage: &mut Stage<'_>, run: u64, draw: &mut Draw) -> AnyResult<()> {
    stage.wait(1_000)?;
    for fault in faults::schedule(run, draw) {
        stage.play(fault, draw)?;
        stage.wait(200 + draw.below(PEACE_MS))?;
    }
    stage.wait(1_000)
}

/// What came of all runs.
#[derive(Default)]
struct Total {
    runs: u64,
    took: Duration,
    operations: u64,
    acknowledged: u64,
    reads: u64,
    lists: u64,
    unknown: u64,
    unanswered: u64,
    again: BTreeMap<u16, u64>,
    done: BTreeMap<Fault, u64>,
    /// Longest time without an acknowledged write, in nanoseconds.
    longest: u64,
    unexplained: u64,
    gone_back: u64,
    wrong_lists: u64,
    strange: u64,
    not_well: u64,
    unsound: u64,
}

impl Total {
    fn bad(&mut self, what: &str, rig: &Rig) {
        self.not_well += 1;
        note(&format!("NOT WELL: {what}"));
        for server in 0..SERVERS {
            let log = std::fs::read_to_string(rig.file(&format!("server-{server}.log")));
            let log = log.unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(4).collect();
            note(&format!("  server {server}: {tail:#?}"));
        }
    }

    /// Looks at what the clients of one run saw.
    fn take(&mut self, load: &Load, done: &BTreeMap<Fault, u64>) {
        let mut seen = load.seen();
        self.operations = seen.operations();
        self.acknowledged = seen.acknowledged.len() as u64;
        self.reads = seen.reads;
        self.lists = seen.lists();
        self.unknown = seen.unknown();
        self.unanswered = seen.unanswered;
        self.again = seen.again.clone();
        self.done = done.clone();
        seen.acknowledged.sort_unstable();
        let gaps = seen.acknowledged.windows(2).map(|two| two[1] - two[0]);
        self.longest = gaps.max().unwrap_or(0);
        for (count, what, found) in [
            (&mut self.unexplained, "NO ORDER", seen.unexplained()),
            (&mut self.gone_back, "WENT BACK", seen.gone_back()),
            (&mut self.wrong_lists, "WRONG LIST", seen.wrong_lists()),
            (&mut self.strange, "STRANGE", seen.strange.clone()),
        ] {
            *count += found.len() as u64;
            for text in found.iter().take(3) {
                note(&format!("{what}: {text}"));
            }
        }
        note(&format!(
            "  {} operations, {} acknowledged, {} unknown, again {:?}, at most {} s without any",
            self.operations,
            self.acknowledged,
            self.unknown,
            self.again,
            self.longest / 1_000_000_000
        ));
    }

    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.reads += other.reads;
        self.lists += other.lists;
        self.unknown += other.unknown;
        self.unanswered += other.unanswered;
        for (status, count) in other.again {
            *self.again.entry(status).or_default() += count;
        }
        for (fault, count) in other.done {
            *self.done.entry(fault).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.unexplained += other.unexplained;
        self.gone_back += other.gone_back;
        self.wrong_lists += other.wrong_lists;
        self.strange += other.strange;
        self.not_well += other.not_well;
        self.unsound += other.unsound;
    }

    fn is_good(&self) -> bool {
        let bad = [
            self.unexplained,
            self.gone_back,
            self.wrong_lists,
            self.strange,
            self.not_well,
            self.unsound,
        ];
        bad.iter().sum::<u64>() == 0
    }

    fn rows(&self) {
        report::heading(&["what", "figure", "goal", "reached"]);
        let fact = |what: &str, figure: &str| report::row(&[what, figure, "", ""]);
        let minutes = format!("{} in {:.0} min", self.runs, self.took.as_secs_f64() / 60.0);
        let reached = report::verdict(self.runs >= 20);
        report::row(&["runs", &minutes, "at least 20", reached]);
        fact(
            &format!("operations of {CLIENTS} clients"),
            &self.operations.to_string(),
        );
        fact(
            "of these: acknowledged writes",
            &self.acknowledged.to_string(),
        );
        fact("of these: reads", &self.reads.to_string());
        fact("of these: listings", &self.lists.to_string());
        fact(
            "writes that may have happened, or not",
            &self.unknown.to_string(),
        );
        for (fault, what) in FAULTS {
            let count = self.done.get(fault).copied().unwrap_or(0);
            match fault {
                Fault::SkewClock if !Servers::has_clocks() => {
                    fact(what, "not tried: libfaketime is not there");
                }
                _ => fact(what, &count.to_string()),
            }
        }
        zero("keys whose answers no order explains", self.unexplained);
        zero(
            "older versions at a server that had shown a newer one",
            self.gone_back,
        );
        zero("listings with a name too many or too few", self.wrong_lists);
        let statuses: Vec<_> = self
            .again
            .iter()
            .map(|(s, n)| format!("{n} × {s}"))
            .collect();
        let statuses = format!(
            "{}, {} without an answer",
            statuses.join(", "),
            self.unanswered
        );
        fact("answers that ask to try again", &statuses);
        zero("answers that no client expects", self.strange);
        zero(
            "servers that ended, or did not serve again by themselves",
            self.not_well,
        );
        zero(
            "stores that cannot be moved to a file, or in which `doctor` then finds something",
            self.unsound,
        );
        let longest = format!("{:.1} s", self.longest as f64 / 1e9);
        fact("longest time without an acknowledged write", &longest);
    }
}

fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> Option<()> {
    let until = Instant::now() + patience;
    while !is_so() {
        if Instant::now() > until {
            return None;
        }
        pause(Duration::from_millis(50));
    }
    Some(())
}

fn open_to_all(rig: &Rig) -> AnyResult<()> {
    use std::os::unix::fs::PermissionsExt;
    let project = rig.project();
    let home = project.parent().ok_or("no home")?;
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o711))?;
    Ok(())
}
