//! Thousands of connections that never finish a request, or never begin the next one.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use serde_json::Value;

use super::client::Client;
use super::node::Node;
use super::node::pause;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

const HALF_SENT: usize = 8_000;
const IDLE: usize = 15_000;
/// File descriptors of this process and of the server.
const FILES: u64 = 20_000;
/// File descriptors of a server that runs out of them.
const FEW_FILES: u64 = 400;

/// Holds the connections and prints the figures.
pub(crate) fn run(_rounds: u64) -> AnyResult<bool> {
    limit_files(FILES)?;
    report::heading(&["what", "figure", "goal", "reached"]);
    let half = half_sent()?;
    let idle = idle()?;
    let few = few_files()?;
    Ok(half && idle && few)
}

fn limit_files(count: u64) -> AnyResult<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(count),
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

fn half_sent() -> AnyResult<bool> {
    let rig = Rig::new()?;
    let node = Node::dev(&rig)?;
    node.ask("GET", "sys/health", &Value::Null)?;
    let before = node.memory_mib()?;
    let starts = ["GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX: ", "GET", ""];
    let mut held = Vec::new();
    for at in 0..HALF_SENT {
        if at % 256 == 255 {
            // What nobody has accepted yet is no connection of the server's.
            pause(Duration::from_millis(20));
        }
        let mut stream = TcpStream::connect(node.address)?;
        stream.write_all(starts.get(at % 3).unwrap_or(&"").as_bytes())?;
        held.push((Instant::now(), stream));
    }
    let health = Health::watch(node.address, Duration::from_secs(3))?;
    let grown = node.memory_mib()?.saturating_sub(before);
    let longest = wait_for_the_end(held)?;
    row(
        &format!("{HALF_SENT} connections that stop in the middle: memory"),
        &format!("{grown} MiB"),
        "less than 60 MB",
        grown < 60,
    );
    let is_dropped = longest <= Duration::from_millis(10_500);
    row(
        "the last one is closed after",
        &format!("{:.1} s", longest.as_secs_f64()),
        "at most 10 s",
        is_dropped,
    );
    let is_quick = health.row("answers of `sys/health` to others meanwhile");
    Ok(grown < 60 && is_dropped && is_quick)
}

fn idle() -> AnyResult<bool> {
    let rig = Rig::new()?;
    let mut node = Node::dev(&rig)?;
    let before = node.memory_mib()?;
    let mut held = Vec::new();
    for _ in 0..IDLE {
        let mut client = Client::connect(node.address, "root")?;
        client.ask("GET", "sys/health", &Value::Null)?;
        held.push(client);
    }
    let grown = node.memory_mib()?.saturating_sub(before);
    let health = Health::watch(node.address, Duration::from_secs(2))?;
    let is_alive = node.is_alive();
    drop(held);
    let what = format!("{IDLE} connections that asked once and stay: memory");
    row(&what, &format!("{grown} MiB"), "", true);
    let is_quick = health.row("answers of `sys/health` to others meanwhile");
    row(
        "the server runs",
        if is_alive { "yes" } else { "no" },
        "yes",
        is_alive,
    );
    Ok(is_quick && is_alive)
}

/// More connections than the server may have files.
fn few_files() -> AnyResult<bool> {
    let rig = Rig::new()?;
    let mut node = Node::with_files(&rig, FEW_FILES)?;
    let mut early = node.client()?;
    let body = serde_json::json!({"data": {"a": "b"}});
    let mut held = Vec::new();
    for _ in 0..FEW_FILES * 2 {
        held.push(TcpStream::connect(node.address)?);
    }
    pause(Duration::from_millis(300));
    let mut failed = 0_u64;
    for at in 0..200 {
        let path = format!("secret/data/few/{at}");
        let wrote = early.ask("POST", &path, &body)?.status;
        failed += u64::from(wrote != 200);
    }
    drop(held);
    let begun = Instant::now();
    let after = node.ask("GET", "secret/data/few/1", &Value::Null)?.status;
    let took = begun.elapsed();
    let is_alive = node.is_alive();
    row(
        "a server out of file descriptors: writes on an open connection that fail",
        &format!("{failed} of 200"),
        "0",
        failed == 0,
    );
    let is_back = after == 200 && is_alive;
    row(
        "and after the others are gone, an answer comes in",
        &format!("{:.2} s", took.as_secs_f64()),
        "it runs on",
        is_back,
    );
    Ok(failed == 0 && is_back)
}

/// The longest that one of them stayed open.
fn wait_for_the_end(held: Vec<(Instant, TcpStream)>) -> AnyResult<Duration> {
    let mut longest = Duration::ZERO;
    for (begun, mut stream) in held {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest)
            && error.kind() == std::io::ErrorKind::WouldBlock
        {
            note("a connection stays open");
            return Ok(Duration::from_secs(30));
        }
        // Those that are read late were closed long before.
        longest = longest.max(begun.elapsed());
    }
    Ok(longest)
}

/// How quickly others are answered.
struct Health {
    times: Vec<Duration>,
}

impl Health {
    /// Asks again and again, on new connections and on one that is kept.
    fn watch(address: SocketAddr, time: Duration) -> AnyResult<Self> {
        let is_over = AtomicBool::new(false);
        let times = thread::scope(|scope| -> Result<Vec<Duration>, String> {
            let asking = scope.spawn(|| {
                let mut times = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let asked = Client::connect(address, "")
                        .and_then(|mut client| client.ask("GET", "sys/health", &Value::Null));
                    let answer = asked.map_err(|error| error.to_string())?;
                    if answer.status != 200 {
                        return Err(format!("sys/health answers {}", answer.status));
                    }
                    times.push(begun.elapsed());
                    pause(Duration::from_millis(2));
                }
                Ok(times)
            });
            pause(time);
            is_over.store(true, Ordering::Relaxed);
            asking.join().map_err(|_| "a thread panicked".to_owned())?
        })?;
        Ok(Self { times })
    }

    fn row(mut self, what: &str) -> bool {
        self.times.sort_unstable();
        let at = (self.times.len() * 99 / 100).min(self.times.len().saturating_sub(1));
        let p99 = self.times.get(at).copied().unwrap_or_default();
        let is_quick = !self.times.is_empty() && p99 < Duration::from_millis(20);
        let figure = format!(
            "p99 {:.1} ms of {}",
            p99.as_secs_f64() * 1e3,
            self.times.len()
        );
        row(what, &figure, "p99 less than 20 ms", is_quick);
        is_quick
    }
}

fn row(what: &str, figure: &str, goal: &str, is_reached: bool) {
    let reached = match goal {
        "" => "",
        _ => report::verdict(is_reached),
    };
    report::row(&[what, figure, goal, reached]);
}
