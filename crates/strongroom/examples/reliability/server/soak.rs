//! A server under full load for an hour: does its memory grow?

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use super::client::Client;
use super::node::Node;
use super::node::pause;
use crate::draw::Draw;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Secrets that are read and written again and again.
const KEYS: u64 = 2_000;
const SAMPLE: Duration = Duration::from_secs(10);
/// The audit file is moved away and deleted so often, as an operator's log rotation does.
const ROTATION: Duration = Duration::from_secs(30);
const GOAL_MIB: f64 = 1.0;

/// What one client does all the time.
type Deed = fn(&mut Client, &mut Draw) -> AnyResult<()>;

/// The clients, by what they do.
const CREW: &[(&str, usize, Deed)] = &[
    ("reads", 4, read),
    ("writes of new versions, deletions", 2, write),
    (
        "tokens made, used, renewed, revoked or left to expire",
        1,
        tokens,
    ),
    ("listings, wrapped answers, metadata", 1, mixture),
    (
        "without a token, forged, malformed, wrong passwords",
        2,
        strangers,
    ),
];

/// Loads the server for so many minutes and prints the figures.
pub(crate) fn run(minutes: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let audit = rig.file("audit");
    let mut node = Node::of_store(&rig, &audit)?;
    prepare(&node)?;
    let load = Load {
        address: node.address,
        is_over: AtomicBool::new(false),
        counts: CREW.iter().map(|_| AtomicU64::new(0)).collect(),
        silent: AtomicU64::new(0),
    };
    let length = Duration::from_secs(minutes * 60);
    let mut samples = Vec::new();
    thread::scope(|scope| -> AnyResult<()> {
        let mut seed = 0;
        for (at, &(_, clients, deed)) in CREW.iter().enumerate() {
            for _ in 0..clients {
                seed += 1;
                let (load, token) = (&load, node.token.clone());
                scope.spawn(move || load.client(at, deed, &token, Draw::new(seed)));
            }
        }
        let watched = watch(&mut node, &audit, length, &mut samples);
        load.is_over.store(true, Ordering::Relaxed);
        watched
    })?;
    let is_alive = node.is_alive();
    drop(node);
    let log = audit.join("audit.log").display().to_string();
    let verified = rig.ask(&["operator", "verify-audit", &log]);
    if let Err(error) = &verified {
        note(&error.to_string());
    }
    let is_whole = verified.is_ok();
    report::heading(&["what", "figure", "goal", "reached"]);
    for (&(what, clients, _), count) in CREW.iter().zip(&load.counts) {
        let what = format!("{what}: {clients} clients");
        let rate = count.load(Ordering::Relaxed) / (minutes * 60).max(1);
        report::row(&[&what, &format!("{rate} requests/s"), "", ""]);
    }
    let silent = load.silent.load(Ordering::Relaxed);
    super::requests::zero("requests without an answer", silent);
    let grown = growth(&samples, length);
    let what = format!("growth of memory over {minutes} minutes, without the first third");
    let figure = format!("{:.2} MiB an hour", grown.per_hour);
    let is_flat = grown.per_hour < GOAL_MIB;
    report::row(&[&what, &figure, "less than 1 MiB", report::verdict(is_flat)]);
    let span = format!("{:.1} MiB, at most {:.1}", grown.mean, grown.most);
    report::row(&["memory meanwhile (mean)", &span, "", ""]);
    for (what, is_so) in [
        ("the server runs", is_alive),
        ("the chain of the last audit file is whole", is_whole),
    ] {
        let figure = if is_so { "yes" } else { "no" };
        report::row(&[what, figure, "yes", report::verdict(is_so)]);
    }
    Ok(is_flat && is_alive && is_whole && silent == 0)
}

fn prepare(node: &Node) -> AnyResult<()> {
    let rules = r#"path "secret/*" { capabilities = ["create","read","update","list","delete"] }"#;
    node.demand("PUT", "sys/policies/acl/soak", &json!({ "policy": rules }))?;
    node.demand("POST", "sys/auth/userpass", &json!({"type": "userpass"}))?;
    let user = json!({"password": "a long enough password", "token_ttl": "60s"});
    node.demand("POST", "auth/userpass/users/somebody", &user)?;
    let mut client = node.client()?;
    for key in 0..KEYS {
        let body = json!({"data": {"value": "x".repeat(200)}});
        let answer = client.ask("POST", &path(key), &body)?;
        if answer.status != 200 {
            return Err(format!("the first write: {}", answer.status).into());
        }
    }
    Ok(())
}

fn path(key: u64) -> String {
    format!("secret/data/soak/{}/{key}", key % 20)
}

/// Takes samples of the memory, and rotates the audit file meanwhile.
fn watch(
    node: &mut Node,
    audit: &Path,
    length: Duration,
    samples: &mut Vec<(Duration, f64)>,
) -> AnyResult<()> {
    let begun = Instant::now();
    let mut rotated = Instant::now();
    while begun.elapsed() < length {
        pause(SAMPLE);
        if !node.is_alive() {
            return Err("the server ended".into());
        }
        samples.push((begun.elapsed(), node.memory_kib()? as f64 / 1024.0));
        if samples.len().is_multiple_of(30) {
            let (at, mib) = samples.last().copied().unwrap_or_default();
            note(&format!("{} min: {mib:.1} MiB", at.as_secs() / 60));
        }
        if rotated.elapsed() > ROTATION {
            let moved = audit.join("audit.log.1");
            fs::rename(audit.join("audit.log"), &moved)?;
            node.hang_up()?;
            pause(Duration::from_secs(1));
            fs::remove_file(moved)?;
            rotated = Instant::now();
        }
    }
    Ok(())
}

/// The crew's common part.
struct Load {
    address: SocketAddr,
    is_over: AtomicBool,
    counts: Vec<AtomicU64>,
    silent: AtomicU64,
}

impl Load {
    fn client(&self, at: usize, deed: Deed, token: &str, mut draw: Draw) {
        let mut client = None;
        let mut left = 0_u64;
        while !self.is_over.load(Ordering::Relaxed) {
            let Some(open) = client.as_mut().filter(|_| left > 0) else {
                // Connections come and go.
                left = 1 + draw.below(400);
                client = Client::connect(self.address, token).ok();
                continue;
            };
            left -= 1;
            if let Some(count) = self.counts.get(at) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            if let Err(error) = deed(open, &mut draw) {
                self.silent.fetch_add(1, Ordering::Relaxed);
                note(&error.to_string());
                client = None;
            }
        }
    }
}

fn read(client: &mut Client, draw: &mut Draw) -> AnyResult<()> {
    expect(
        client,
        "GET",
        &path(draw.below(KEYS)),
        &Value::Null,
        &[200, 404],
    )
}

fn write(client: &mut Client, draw: &mut Draw) -> AnyResult<()> {
    let path = path(draw.below(KEYS));
    if draw.below(20) == 0 {
        return expect(client, "DELETE", &path, &Value::Null, &[204, 404]);
    }
    let length = 50 + draw.below(2_000);
    let text = draw.text(usize::try_from(length)?);
    expect(
        client,
        "POST",
        &path,
        &json!({"data": {"value": text}}),
        &[200],
    )
}

fn tokens(client: &mut Client, draw: &mut Draw) -> AnyResult<()> {
    let body = json!({"policies": ["soak"], "ttl": "60s"});
    let made = client.ask("POST", "auth/token/create", &body)?;
    let token = made.json()["auth"]["client_token"]
        .as_str()
        .map(str::to_owned);
    let token = token.ok_or_else(|| format!("no token: {}", made.status))?;
    let body = json!({ "token": token });
    match draw.below(3) {
        0 => expect(client, "POST", "auth/token/lookup", &body, &[200]),
        1 => expect(client, "POST", "auth/token/renew", &body, &[200]),
        _ => expect(client, "POST", "auth/token/revoke", &body, &[204]),
    }
}

fn mixture(client: &mut Client, draw: &mut Draw) -> AnyResult<()> {
    let folder = draw.below(20);
    let key = path(draw.below(KEYS)).replacen("/data/", "/metadata/", 1);
    match draw.below(4) {
        0 => {
            let path = format!("secret/metadata/soak/{folder}?list=true");
            expect(client, "GET", &path, &Value::Null, &[200])
        }
        1 => expect(client, "GET", &key, &Value::Null, &[200]),
        2 => {
            let body = json!({"custom_metadata": {"turn": draw.below(9).to_string()}});
            expect(client, "POST", &key, &body, &[204])
        }
        _ => {
            let lines = "X-Vault-Wrap-TTL: 60s\r\n";
            let made = client.ask_with(lines, "GET", &path(draw.below(KEYS)), "")?;
            expect_of(made.status, &[200, 404], "a wrapped answer")
        }
    }
}

fn strangers(client: &mut Client, draw: &mut Draw) -> AnyResult<()> {
    let word = draw.text(12);
    client.use_token(if draw.below(2) == 0 { "" } else { &word });
    let forged = json!({ "token": format!("hvs.{}", draw.text(40)) });
    match draw.below(6) {
        0 => expect(
            client,
            "GET",
            &format!("secret/data/{word}"),
            &Value::Null,
            &[403],
        ),
        1 => {
            let path = format!("auth/userpass/login/{word}");
            let body = json!({"password": word});
            expect(client, "POST", &path, &body, &[400, 403, 429, 503])
        }
        2 => expect(client, "POST", "sys/wrapping/unwrap", &forged, &[400, 403]),
        3 => expect(
            client,
            "GET",
            &format!("{word}/{word}"),
            &Value::Null,
            &[403, 404],
        ),
        4 => {
            let answer = client.ask_text("POST", "sys/wrapping/unwrap", "{\"token\": [[[")?;
            expect_of(answer.status, &[400, 403], "a body that is no JSON")
        }
        _ => expect(client, "GET", "sys/health", &Value::Null, &[200]),
    }
}

fn expect(
    client: &mut Client,
    method: &str,
    path: &str,
    body: &Value,
    statuses: &[u16],
) -> AnyResult<()> {
    let answer = client.ask(method, path, body)?;
    expect_of(answer.status, statuses, path)
}

fn expect_of(status: u16, statuses: &[u16], what: &str) -> AnyResult<()> {
    if statuses.contains(&status) {
        return Ok(());
    }
    Err(format!("{what}: {status}").into())
}

struct Growth {
    per_hour: f64,
    mean: f64,
    most: f64,
}

/// The line through the samples, by least squares. The first third fills caches, and the quarter of
/// an hour for which failed log-ins are remembered.
fn growth(samples: &[(Duration, f64)], length: Duration) -> Growth {
    let late: Vec<(f64, f64)> = samples
        .iter()
        .filter(|(at, _)| *at > length / 3)
        .map(|(at, mib)| (at.as_secs_f64() / 3600.0, *mib))
        .collect();
    let count = (late.len() as f64).max(1.0);
    let mean_at = late.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean = late.iter().map(|(_, mib)| mib).sum::<f64>() / count;
    let together: f64 = late
        .iter()
        .map(|(at, mib)| (at - mean_at) * (mib - mean))
        .sum();
    let spread: f64 = late.iter().map(|(at, _)| (at - mean_at).powi(2)).sum();
    Growth {
        per_hour: together / spread.max(f64::MIN_POSITIVE),
        mean,
        most: late.iter().map(|(_, mib)| *mib).fold(0.0, f64::max),
    }
}
