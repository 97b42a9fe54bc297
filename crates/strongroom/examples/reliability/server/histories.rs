//! Reads and check-and-set writes of many clients, with kills: is there one order that explains
//! all answers?

mod check;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use self::check::Deed;
use self::check::Event;
use super::client::Client;
use super::node::Node;
use super::node::free_address;
use super::node::pause;
use super::requests::zero;
use crate::draw::Draw;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

const CLIENTS: u64 = 8;
const KEYS: u64 = 24;
/// Between two kills, at most.
const LIFE_MS: u64 = 2_500;

/// Runs the clients, kills the server meanwhile, looks at the histories, prints the figures.
pub(crate) fn run(operations: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let address = free_address()?;
    let token = String::from_utf8(rig.ask(&["operator", "root-token"])?)?;
    let token = token.trim();
    let audit = rig.file("audit").display().to_string();
    let words = ["--audit-folder", audit.as_str()];
    let mut node = Node::start_at(&rig, &words, address)?;
    let histories = Histories {
        begun: Instant::now(),
        keys: (0..KEYS).map(|_| Mutex::default()).collect(),
        left: AtomicU64::new(operations),
        is_over: AtomicBool::new(false),
    };
    let mut draw = Draw::new(36);
    let mut kills = 0_u64;
    thread::scope(|scope| -> Result<(), String> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let histories = &histories;
                scope.spawn(move || histories.client(number, address, token))
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            pause(Duration::from_millis(200 + draw.below(LIFE_MS)));
            let again = node
                .kill()
                .and_then(|()| Node::start_at(&rig, &words, address));
            match again {
                Ok(started) => node = started,
                Err(error) => {
                    histories.is_over.store(true, Ordering::Relaxed);
                    return Err(error.to_string());
                }
            }
            kills += 1;
        }
        Ok(())
    })?;
    let took = histories.begun.elapsed();
    let (mut events, mut violations, mut unknown) = (0_u64, 0_u64, 0_u64);
    for (key, history) in histories.keys.iter().enumerate() {
        let history = history.lock().unwrap_or_else(PoisonError::into_inner);
        events += history.len() as u64;
        unknown += history.iter().filter(|event| event.end.is_none()).count() as u64;
        for violation in check::violations(&history) {
            violations += 1;
            note(&format!("key {key}: {violation}"));
        }
    }
    drop(node);
    let log = rig.file("audit").join("audit.log").display().to_string();
    let is_whole = rig.ask(&["operator", "verify-audit", &log]).is_ok();
    let is_sound = rig.ask(&["doctor"]).is_ok();
    report::heading(&["what", "figure", "goal", "reached"]);
    let what = format!("operations of {CLIENTS} clients on {KEYS} secrets");
    let figure = format!("{events} in {:.0} s", took.as_secs_f64());
    report::row(&[&what, &figure, "10^5", report::verdict(events >= 100_000)]);
    report::row(&[
        "kills meanwhile",
        &kills.to_string(),
        "some",
        report::verdict(kills > 10),
    ]);
    report::row(&[
        "operations without an answer: they may have happened, or not",
        &unknown.to_string(),
        "",
        "",
    ]);
    zero("answers that no order explains", violations);
    for (what, is_so) in [
        ("the audit log's chain is whole afterwards", is_whole),
        ("`doctor` finds nothing", is_sound),
    ] {
        report::row(&[
            what,
            if is_so { "yes" } else { "no" },
            "yes",
            report::verdict(is_so),
        ]);
    }
    Ok(violations == 0 && kills > 10 && is_whole && is_sound)
}

/// What every client saw, by key.
struct Histories {
    begun: Instant,
    keys: Vec<Mutex<Vec<Event>>>,
    left: AtomicU64,
    is_over: AtomicBool,
}

impl Histories {
    fn client(&self, number: u64, address: SocketAddr, token: &str) {
        let mut draw = Draw::new(360 + number);
        let mut client = None;
        let mut versions = vec![0_u64; KEYS as usize];
        let mut written = 0_u64;
        while !self.is_over.load(Ordering::Relaxed) {
            let Some(open) = client.as_mut() else {
                client = Client::connect(address, token).ok();
                pause(Duration::from_millis(5));
                continue;
            };
            let taken = self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                });
            if taken.is_err() {
                return;
            }
            let key = draw.below(KEYS);
            let Some(version) = versions.get_mut(key as usize) else {
                return;
            };
            let is_read = draw.below(2) == 0;
            written += 1;
            let value = number * 1_000_000_000 + written;
            let begin = self.now();
            let (deed, is_answered) = match is_read {
                true => read(open, key),
                false => write(open, key, value, *version),
            };
            let end = is_answered.then(|| self.now());
            match &deed {
                Deed::Read { version: seen, .. } => *version = *seen,
                Deed::Written { version: made, .. } => *version = made.unwrap_or(*version),
                Deed::Refused { .. } | Deed::Nothing => {}
            }
            if !is_answered {
                client = None;
            }
            if let Some(history) = self.keys.get(key as usize) {
                let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
                history.push(Event { begin, end, deed });
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn path(key: u64) -> String {
    format!("secret/data/histories/{key}")
}

/// What a read saw, and whether there was an answer.
fn read(client: &mut Client, key: u64) -> (Deed, bool) {
    let Ok(answer) = client.ask("GET", &path(key), &Value::Null) else {
        return (Deed::Nothing, false);
    };
    let json = answer.json();
    match answer.status {
        404 => (
            Deed::Read {
                version: 0,
                value: 0,
            },
            true,
        ),
        200 => {
            let version = json["data"]["metadata"]["version"].as_u64();
            let value = json["data"]["data"]["v"].as_u64();
            match (version, value) {
                (Some(version), Some(value)) => (Deed::Read { version, value }, true),
                _ => (Deed::Nothing, true),
            }
        }
        _ => (Deed::Nothing, true),
    }
}

fn write(client: &mut Client, key: u64, value: u64, expected: u64) -> (Deed, bool) {
    let body = json!({"data": {"v": value}, "options": {"cas": expected}});
    let unknown = Deed::Written {
        version: None,
        value,
        expected,
    };
    let Ok(answer) = client.ask("POST", &path(key), &body) else {
        return (unknown, false);
    };
    match answer.status {
        200 => {
            let version = answer.json()["data"]["version"].as_u64();
            let deed = Deed::Written {
                version,
                value,
                expected,
            };
            (deed, version.is_some())
        }
        400 => (Deed::Refused { expected }, true),
        // Busy, or going down: it may have happened.
        _ => (unknown, false),
    }
}
