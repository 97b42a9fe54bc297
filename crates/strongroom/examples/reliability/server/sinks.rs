//! An audit log that takes no more lines: no secret leaves without one.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use super::node::Node;
use super::node::pause;
use super::requests::zero;
use crate::draw::Draw;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

const CANARY: &str = "a-value-that-is-noted-before-it-is-told";
const CLIENTS: u64 = 4;
/// Changes of a whole log.
const CHANGES: u64 = 100;
/// What a refusal may take.
const REFUSAL: Duration = Duration::from_secs(2);

/// Runs the faults and prints the figures.
pub(crate) fn run(requests: u64) -> AnyResult<bool> {
    report::heading(&["what", "figure", "goal", "reached"]);
    let full = full_disk(requests)?;
    let gone = folder_gone(requests / 10)?;
    let blocked = blocked_socket(requests)?;
    let chain = changed_lines()?;
    Ok(full && gone && blocked && chain)
}

/// What came back while a log failed.
#[derive(Default)]
struct Told {
    /// Requests whose answer held the secret, by their ids.
    ids: BTreeSet<String>,
    refused: u64,
    otherwise: u64,
    slowest: Duration,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.refused += other.refused;
        self.otherwise += other.otherwise;
        self.slowest = self.slowest.max(other.slowest);
    }
}

fn read_often(node: &Node, requests: u64) -> AnyResult<Told> {
    let one = || -> Result<Told, String> {
        let failed = |error: Box<dyn std::error::Error>| error.to_string();
        let mut told = Told::default();
        let mut client = node.client().map_err(failed)?;
        for _ in 0..requests / CLIENTS {
            let begun = Instant::now();
            let asked = client.ask("GET", "secret/data/canary", &Value::Null);
            let answer = asked.map_err(failed)?;
            told.slowest = told.slowest.max(begun.elapsed());
            let has_secret = String::from_utf8_lossy(&answer.body).contains(CANARY);
            match (has_secret, answer.status) {
                (true, _) => {
                    let id = answer.json()["request_id"]
                        .as_str()
                        .unwrap_or("")
                        .to_owned();
                    told.ids.insert(id);
                }
                (false, 503) => told.refused += 1,
                (false, _) => told.otherwise += 1,
            }
        }
        Ok(told)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        let mut all = Told::default();
        for client in clients {
            all.add(client.join().map_err(|_| "a client panicked")??);
        }
        Ok(all)
    })
}

/// Requests that were told the secret and have no line in the log.
fn unnoted(told: &Told, log: &Path) -> AnyResult<u64> {
    Ok(missing_in(told, &fs::read(log)?))
}

fn missing_in(told: &Told, log: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(log);
    let noted: BTreeSet<String> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["type"] == "response")
        .filter_map(|line| Some(line["request"]["id"].as_str()?.to_owned()))
        .collect();
    told.ids.iter().filter(|id| !noted.contains(*id)).count() as u64
}

fn prepared(rig: &Rig, audit: &Path) -> AnyResult<Node> {
    let node = Node::of_store(rig, audit)?;
    let body = json!({"data": {"value": CANARY}});
    node.demand("POST", "secret/data/canary", &body)?;
    Ok(node)
}

fn rows(what: &str, told: &Told, unnoted: u64) -> bool {
    let asked = told.ids.len() as u64 + told.refused + told.otherwise;
    let figure = format!(
        "{asked}: {} answered, {} refused with 503, {} otherwise",
        told.ids.len(),
        told.refused,
        told.otherwise
    );
    report::row(&[what, &figure, "", ""]);
    zero("a secret in an answer without a line in the log", unnoted);
    let is_quick = told.slowest <= REFUSAL + Duration::from_millis(200);
    report::row(&[
        "slowest answer",
        &format!("{:.2} s", told.slowest.as_secs_f64()),
        "2 s",
        report::verdict(is_quick),
    ]);
    unnoted == 0 && told.otherwise == 0 && is_quick && told.refused > 0
}

/// A file system of its own, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(folder: PathBuf) -> AnyResult<Option<Self>> {
        fs::create_dir_all(&folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"])
            .arg(&folder)
            .status();
        Ok(mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(folder)))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn full_disk(requests: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let Some(disk) = Small::mount(rig.file("disk"))? else {
        report::row(&[
            "a full disk",
            "not tried: it takes root to mount one",
            "",
            "",
        ]);
        return Ok(true);
    };
    let node = prepared(&rig, &disk.0)?;
    let log = disk.0.join("audit.log");
    // It is full after some hundred lines, in the middle of one.
    let told = read_often(&node, requests)?;
    let missing = unnoted(&told, &log)?;
    let is_good = rows("reads while the log's disk fills up", &told, missing);
    let write = json!({"data": {"value": "x"}});
    let wrote = node.ask("POST", "secret/data/other", &write)?.status;
    let there = node.ask("GET", "secret/data/other", &Value::Null)?.status;
    let moved = rig.file("audit.log");
    fs::copy(&log, &moved)?;
    let remount = ["-o", "remount,size=64m"];
    Command::new("mount").args(remount).arg(&disk.0).status()?;
    pause(Duration::from_millis(300));
    let back = node.ask("GET", "secret/data/canary", &Value::Null)?.status;
    let other = node.ask("GET", "secret/data/other", &Value::Null)?.status;
    let is_kept_out = wrote == 503 && there == 503 && other == 404;
    report::row(&[
        "a write meanwhile, and what is there of it afterwards",
        &format!("{wrote}, then {other}"),
        "503, then 404",
        report::verdict(is_kept_out),
    ]);
    report::row(&[
        "a read when there is room again",
        &back.to_string(),
        "200",
        report::verdict(back == 200),
    ]);
    drop(node);
    let is_whole = rig
        .ask(&["operator", "verify-audit", &log.display().to_string()])
        .is_ok();
    report::row(&[
        "the log's chain is whole",
        if is_whole { "yes" } else { "no" },
        "yes",
        report::verdict(is_whole),
    ]);
    Ok(is_good && is_kept_out && back == 200 && is_whole)
}

fn folder_gone(requests: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let (audit, aside) = (rig.file("audit"), rig.file("aside"));
    let node = prepared(&rig, &audit)?;
    fs::rename(&audit, &aside)?;
    let mut told = read_often(&node, requests / 10)?;
    // It looks for its file five times a second.
    pause(Duration::from_millis(300));
    told.add(read_often(&node, requests)?);
    let missing = unnoted(&told, &aside.join("audit.log"))?;
    let is_good = rows(
        "reads after the log's folder was moved away",
        &told,
        missing,
    );
    fs::rename(&aside, &audit)?;
    pause(Duration::from_millis(300));
    let back = node.ask("GET", "secret/data/canary", &Value::Null)?.status;
    report::row(&[
        "a read when it is back",
        &back.to_string(),
        "200",
        report::verdict(back == 200),
    ]);
    Ok(is_good && back == 200)
}

/// The only device is a socket whose reader reads nothing.
fn blocked_socket(requests: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let node = prepared(&rig, &rig.file("audit"))?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let socket = json!({"type": "socket", "options": {"address": address}});
    node.demand("PUT", "sys/audit/socket", &socket)?;
    let devices = node.demand("GET", "sys/audit", &Value::Null)?;
    let names = devices["data"].as_object().ok_or("no devices")?.keys();
    let file = names
        .into_iter()
        .find(|name| *name != "socket/")
        .ok_or("no file")?
        .clone();
    let file = file.trim_end_matches('/');
    node.demand("DELETE", &format!("sys/audit/{file}"), &Value::Null)?;
    // What the buffers of a connection take is taken: some thousand lines, then it blocks.
    let told = read_often(&node, requests)?;
    let taken = all_that_came(&listener)?;
    let what = "reads with a socket that nobody reads as the only device";
    let is_good = rows(what, &told, missing_in(&told, &taken));
    let is_enough = one_is_enough()?;
    Ok(is_good && is_enough)
}

/// What lies in the buffers of all connections, read at last.
fn all_that_came(listener: &TcpListener) -> AnyResult<Vec<u8>> {
    listener.set_nonblocking(true)?;
    let mut all = Vec::new();
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        // A connection that is open still ends with the time-out.
        let _ = stream.read_to_end(&mut all);
        all.push(b'\n');
    }
    Ok(all)
}

/// A file beside the socket that blocks is enough.
fn one_is_enough() -> AnyResult<bool> {
    let rig = Rig::new()?;
    let node = prepared(&rig, &rig.file("audit"))?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let socket = json!({
        "type": "socket",
        "options": {"address": listener.local_addr()?.to_string()},
    });
    node.demand("PUT", "sys/audit/socket", &socket)?;
    // More than the socket's buffers take.
    read_often(&node, 10_000)?;
    let told = read_often(&node, 2_000)?;
    let is_enough = told.refused == 0 && told.ids.len() == 2_000;
    let figure = format!("{} of 2000 answered", told.ids.len());
    report::row(&[
        "reads with a file beside a socket that blocks",
        &figure,
        "all",
        report::verdict(is_enough),
    ]);
    Ok(is_enough)
}

/// One line taken out, changed or moved: always noticed.
fn changed_lines() -> AnyResult<bool> {
    let rig = Rig::new()?;
    let node = prepared(&rig, &rig.file("audit"))?;
    read_often(&node, 200)?;
    drop(node);
    let log = rig.file("audit").join("audit.log");
    let text = String::from_utf8(fs::read(log)?)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let changed = rig.file("changed.log");
    let verify = ["operator", "verify-audit", &changed.display().to_string()];
    let mut draw = Draw::new(14);
    let mut counts = [0_u64; 3];
    for at in 0..CHANGES * 3 {
        // The last line's end may be unknown to the store: it is left as it is.
        let last = (lines.len() - 2) as u64;
        let line = usize::try_from(draw.below(last))?;
        let mut altered: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let kind = usize::try_from(at % 3)?;
        match kind {
            0 => drop(altered.remove(line)),
            1 => altered.swap(line, line + 1),
            _ => {
                let place = altered.get_mut(line).ok_or("no such line")?;
                let byte = usize::try_from(draw.below(place.len() as u64 - 1))?;
                let mut bytes = place.clone().into_bytes();
                if let Some(byte) = bytes.get_mut(byte) {
                    *byte = if *byte == b'0' { b'1' } else { b'0' };
                }
                *place = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        fs::write(&changed, altered.concat())?;
        let is_found = rig.ask(&verify).is_err();
        if let Some(count) = counts.get_mut(kind) {
            *count += u64::from(is_found);
        }
    }
    for (what, count) in ["taken out", "moved", "changed"].iter().zip(counts) {
        report::row(&[
            &format!("one line of the log {what}: noticed"),
            &format!("{count} of {CHANGES}"),
            "all",
            report::verdict(count == CHANGES),
        ]);
    }
    Ok(counts.iter().all(|count| *count == CHANGES))
}
