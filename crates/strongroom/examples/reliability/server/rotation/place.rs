//! A server over its own store (or several over a database), with secrets that are rotated.

use std::fs;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::postgres::Postgres;

use super::super::node::Node;
use super::super::node::free_address;
use super::super::node::pause;
use super::application::Use;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Audit lines of one rotation: two for each of its four steps.
pub(super) const LINES: usize = 8;
/// Only a hang takes so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// One server and its secrets.
pub(super) struct Place {
    pub(super) rig: Rig,
    pub(super) address: SocketAddr,
    pub(super) token: String,
    pub(super) secrets: Vec<String>,
    node: Option<Node>,
    words: Vec<String>,
    audit: PathBuf,
}

impl Place {
    /// Over a store of its own; `lane` keeps its names apart from those of others.
    pub(super) fn new(
        database: &Postgres,
        at: u16,
        kind: Use,
        lane: usize,
        count: usize,
    ) -> AnyResult<Self> {
        let rig = Rig::new()?;
        let token = String::from_utf8(rig.ask(&["operator", "root-token"])?)?;
        let audit = rig.file("audit");
        let mut place = Self {
            address: free_address()?,
            token: token.trim().to_owned(),
            secrets: Vec::new(),
            node: None,
            words: vec!["--audit-folder".to_owned(), audit.display().to_string()],
            audit: audit.join("audit.log"),
            rig,
        };
        place.start()?;
        prepare(place.node()?, database, at, kind, lane, count)?;
        place.secrets = names(lane, count);
        Ok(place)
    }

    pub(super) fn node(&self) -> AnyResult<&Node> {
        Ok(self.node.as_ref().ok_or("no server runs")?)
    }

    pub(super) fn start(&mut self) -> AnyResult<()> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let mut node = Node::start_at(&self.rig, &words, self.address)?;
        node.token.clone_from(&self.token);
        node.until_ready()?;
        self.node = Some(node);
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) -> AnyResult<()> {
        self.node.take().ok_or("no server runs")?.kill()
    }

    /// Has all secrets rotated now.
    pub(super) fn rotate_all(&self) -> AnyResult<()> {
        rotate_all(self.node()?, &self.secrets)
    }

    /// How a secret's rotation stands.
    pub(super) fn report(&self, secret: &str) -> AnyResult<Value> {
        report(self.node()?, secret)
    }

    /// Waits until nothing is under way; how long that took.
    pub(super) fn settled(&self) -> AnyResult<Duration> {
        let begun = Instant::now();
        for secret in &self.secrets {
            while !self.report(secret)?["run"].is_null() {
                if begun.elapsed() > PATIENCE {
                    let report = self.report(secret)?;
                    return Err(format!("{secret} is not rotated: {report}").into());
                }
                pause(Duration::from_millis(20));
            }
        }
        Ok(begun.elapsed())
    }

    /// The audit log from here on.
    pub(super) fn log(&self) -> AnyResult<Log> {
        Log::of(&self.audit)
    }

    /// What is wrong with a secret that was rotated so often: versions, stages, results.
    pub(super) fn faults(&self, secret: &str, rotations: u64) -> AnyResult<Vec<String>> {
        let mut faults = Vec::new();
        let shown = self
            .rig
            .ask(&["history", &format!("/{secret}"), "--json"])?;
        let shown: Value = serde_json::from_slice(&shown)?;
        let versions = shown["versions"].as_array().cloned().unwrap_or_default();
        let with = |stage: &str| {
            let has = |version: &&Value| {
                let stages = version["stages"].as_array();
                stages.is_some_and(|stages| stages.iter().any(|one| one == stage))
            };
            versions.iter().filter(has).count()
        };
        if with("AWSCURRENT") != 1 || with("AWSPENDING") != 0 {
            faults.push(format!("{secret}: stages: {shown}"));
        }
        faults.extend(told(&self.report(secret)?, secret, rotations));
        Ok(faults)
    }
}

/// What the journal does not explain.
pub(super) fn told(report: &Value, secret: &str, rotations: u64) -> Vec<String> {
    let mut faults = Vec::new();
    if report["finished"] != rotations {
        faults.push(format!("{secret}: {rotations} rotations: {report}"));
    }
    let history = report["history"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<&str> = history
        .iter()
        .filter_map(|one| one["version_id"].as_str())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    let is_told = |one: &Value| one["result"] == "rotated" && one["ended"].is_string();
    if ids.len() != all || !history.iter().all(is_told) {
        faults.push(format!("{secret}: its history: {report}"));
    }
    faults
}

pub(super) fn names(lane: usize, count: usize) -> Vec<String> {
    let all = 0..count;
    all.map(|number| format!("app-{lane}-{number}")).collect()
}

pub(super) fn rotate_all(node: &Node, secrets: &[String]) -> AnyResult<()> {
    for secret in secrets {
        node.demand("POST", &format!("sys/aws/rotations/{secret}"), &json!({}))?;
    }
    Ok(())
}

pub(super) fn report(node: &Node, secret: &str) -> AnyResult<Value> {
    let path = format!("sys/aws/rotations/{secret}");
    Ok(node.demand("GET", &path, &Value::Null)?["data"].clone())
}

/// Roles, secrets and rotators. The rotator finds the database at the port `at`.
pub(super) fn prepare(
    node: &Node,
    database: &Postgres,
    at: u16,
    kind: Use,
    lane: usize,
    count: usize,
) -> AnyResult<()> {
    let body = json!({ "data": { "value": "of-the-boss" } });
    node.demand("POST", "secret/data/boss", &body)?;
    for (number, secret) in names(lane, count).into_iter().enumerate() {
        let role = format!("app_{lane}_{number}");
        let port = database.port();
        let value = format!("postgres://{role}:old@127.0.0.1:{port}/postgres");
        let body = json!({ "data": { "value": value } });
        node.demand("POST", &format!("secret/data/{secret}"), &body)?;
        let path = format!("sys/aws/rotations/{secret}");
        if kind == Use::Read {
            // The rotator that is always there; set up without a first rotation.
            let body = json!({"action": "configure", "rotator": "strongroom-generate",
                "every": "30d"});
            node.demand("POST", &path, &body)?;
            continue;
        }
        let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'old' IN ROLE app");
        let _ = database.sql("postgres", &sql);
        let address = format!("postgres://boss@127.0.0.1:{at}/postgres");
        let mut spec = json!({"type": "postgres", "address": address, "role": role});
        if kind == Use::Turns {
            spec["admin"] = "boss".into();
            spec["alternate"] = format!("{role}_b").into();
        }
        let body = json!({ "rotator": spec });
        node.demand("POST", &format!("sys/aws/rotators/{secret}"), &body)?;
        let body = json!({"action": "configure", "rotator": secret, "every": "30d"});
        node.demand("POST", &path, &body)?;
    }
    Ok(())
}

/// A database with who changes roles.
pub(super) fn database() -> Postgres {
    let database = Postgres::start();
    let sql = "CREATE ROLE app; CREATE ROLE boss LOGIN CREATEROLE";
    let _ = database.sql("postgres", sql);
    database
}

/// An audit log, read from where it ended.
pub(super) struct Log {
    path: PathBuf,
    from: usize,
}

impl Log {
    pub(super) fn of(path: &std::path::Path) -> AnyResult<Self> {
        Ok(Self {
            path: path.to_owned(),
            from: fs::metadata(path).map_or(Ok(0), |found| usize::try_from(found.len()))?,
        })
    }

    /// The lines about steps of a rotation of this secret.
    pub(super) fn steps(&self, secret: &str) -> Vec<String> {
        let text = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(self.from..).unwrap_or_default()).into_owned();
        let place = format!("secret/data/{secret}\"");
        let is_step = |line: &&str| line.contains("\"rotation\":\"") && line.contains(&place);
        text.lines().filter(is_step).map(str::to_owned).collect()
    }

    /// Waits for so many of them; false when the rotation takes too long.
    pub(super) fn wait_for(&self, secret: &str, lines: usize) -> AnyResult<bool> {
        let begun = Instant::now();
        let place = format!("secret/data/{secret}\"");
        let (mut seen, mut rest) = (0, Vec::new());
        let mut file = fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from as u64))?;
        // What is new only: whoever looks has to be faster than the server's disk.
        loop {
            file.read_to_end(&mut rest)?;
            while let Some(end) = memchr::memchr(b'\n', &rest) {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let has = |part: &str| memchr::memmem::find(&line, part.as_bytes()).is_some();
                seen += usize::from(has("\"rotation\":\"") && has(&place));
            }
            if seen >= lines {
                return Ok(true);
            }
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
            std::thread::yield_now();
        }
    }
}
