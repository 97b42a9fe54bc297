//! Guessing passwords and unseal shares.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::net::AddressFamily;
use rustix::net::SocketAddrAny;
use rustix::net::SocketType;
use serde_json::Value;
use serde_json::json;

use super::client::Client;
use super::node::Node;
use super::requests::zero;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

const NAMES: u64 = 1_000;
const ADDRESSES: u64 = 50;
const ATTACKERS: u64 = 8;
/// Wrong passwords after which a name is refused.
const TRIES: u64 = 5;

/// Guesses and prints the figures.
pub(crate) fn run(guesses: u64) -> AnyResult<bool> {
    report::heading(&["what", "figure", "goal", "reached"]);
    let passwords = passwords(guesses)?;
    let shares = shares()?;
    Ok(passwords && shares)
}

fn passwords(guesses: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let node = Node::dev(&rig)?;
    node.demand("POST", "sys/auth/userpass", &json!({"type": "userpass"}))?;
    for name in ["victim", "bystander", "early"] {
        let path = format!("auth/userpass/users/{name}");
        node.demand("POST", &path, &json!({"password": "right"}))?;
    }
    let aliases = aliases_share_a_counter(&node)?;
    let (wrong, busy, let_in) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (bystander_failed, slowest) = thread::scope(|scope| -> Result<_, String> {
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|attacker| {
                let (node, wrong, busy, let_in) = (&node, &wrong, &busy, &let_in);
                scope.spawn(move || -> Result<(), String> {
                    for at in (attacker..guesses).step_by(ATTACKERS as usize) {
                        let status = guess(node, at).map_err(|error| error.to_string())?;
                        match status {
                            200 => let_in.fetch_add(1, Ordering::Relaxed),
                            503 => busy.fetch_add(1, Ordering::Relaxed),
                            _ => wrong.fetch_add(1, Ordering::Relaxed),
                        };
                    }
                    Ok(())
                })
            })
            .collect();
        let (mut failed, mut slowest) = (0_u64, Duration::ZERO);
        while attackers.iter().any(|attacker| !attacker.is_finished()) {
            let begun = Instant::now();
            let status =
                log_in(&node, 1, "bystander", "right").map_err(|error| error.to_string())?;
            failed += u64::from(status != 200);
            slowest = slowest.max(begun.elapsed());
            super::node::pause(Duration::from_millis(200));
        }
        for attacker in attackers {
            attacker.join().map_err(|_| "an attacker panicked")??;
        }
        Ok((failed, slowest))
    })?;
    let refused = log_in(&node, 7, "victim", "right")?;
    let what = format!(
        "wrong passwords for {NAMES} names from {ADDRESSES} addresses ({} refused as too many)",
        busy.load(Ordering::Relaxed)
    );
    report::row(&[&what, &guesses.to_string(), "", ""]);
    zero("let in", let_in.load(Ordering::Relaxed));
    let is_locked = refused == 403;
    report::row(&[
        "the right password of a name that was guessed at",
        &refused.to_string(),
        "403",
        report::verdict(is_locked),
    ]);
    zero(
        "somebody else, with the right password: not let in",
        bystander_failed,
    );
    let figure = format!("{:.1} s", slowest.as_secs_f64());
    report::row(&["and waited at most", &figure, "", ""]);
    Ok(aliases && let_in.into_inner() == 0 && is_locked && bystander_failed == 0)
}

fn guess(node: &Node, at: u64) -> AnyResult<u16> {
    // The name of somebody who is there is one of them.
    let name = match at % NAMES {
        0 => "victim".to_owned(),
        other => format!("user{other}"),
    };
    log_in(node, at % ADDRESSES, &name, &format!("wrong{at}"))
}

/// Spellings of one name have one counter: five tries in all.
fn aliases_share_a_counter(node: &Node) -> AnyResult<bool> {
    let spellings = ["early", "EARLY", "Early", "eArLy", "earl%79"];
    for (at, spelling) in (0..).zip(spellings) {
        log_in(node, at, spelling, "wrong")?;
    }
    let status = log_in(node, 20, "early", "right")?;
    let figure = format!("{status} after {TRIES} tries");
    report::row(&[
        "the right password after wrong ones for other spellings of the name",
        &figure,
        "403",
        report::verdict(status == 403),
    ]);
    Ok(status == 403)
}

/// Logs in from 127.0.1.x.
fn log_in(node: &Node, from: u64, name: &str, password: &str) -> AnyResult<u16> {
    let last = u8::try_from(from % 250)? + 1;
    let stream = connect_from(Ipv4Addr::new(127, 0, 1, last), node.address)?;
    let mut client = Client::over(stream, "")?;
    let path = format!("auth/userpass/login/{name}");
    Ok(client
        .ask("POST", &path, &json!({"password": password}))?
        .status)
}

fn connect_from(address: Ipv4Addr, to: SocketAddr) -> AnyResult<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let own = SocketAddr::new(IpAddr::V4(address), 0);
    rustix::net::bind(&socket, &SocketAddrAny::from(own))?;
    rustix::net::connect(&socket, &SocketAddrAny::from(to))?;
    Ok(TcpStream::from(socket))
}

/// Wrong unseal shares: each round of them costs more time than the one before.
fn shares() -> AnyResult<bool> {
    let rig = Rig::new()?;
    let node = Node::start(&rig, &["--storage", "memory"])?;
    let made = node.demand(
        "PUT",
        "sys/init",
        &json!({"secret_shares": 3, "secret_threshold": 2}),
    )?;
    let keys: Vec<String> = serde_json::from_value(made["keys_base64"].clone())?;
    let first: Vec<u8> =
        data_encoding::BASE64.decode(keys.first().ok_or("no share")?.as_bytes())?;
    let mut times = Vec::new();
    for round in 0..8_u8 {
        let mut foreign = first.clone();
        if let Some(byte) = foreign.first_mut() {
            *byte ^= round + 1;
        }
        if let Some(place) = foreign.last_mut() {
            *place = place.wrapping_add(1);
        }
        let foreign = data_encoding::BASE64.encode(&foreign);
        let begun = Instant::now();
        let good = keys.first().cloned().unwrap_or_default();
        node.unseal(&[good, foreign])?;
        times.push(begun.elapsed());
    }
    let begun = Instant::now();
    let opened = node.unseal(keys.get(1..).unwrap_or_default())?;
    let took = begun.elapsed();
    let shown: Vec<String> = times
        .iter()
        .map(|time| format!("{:.1}", time.as_secs_f64()))
        .collect();
    let grows =
        times.last() > times.first() && times.iter().sum::<Duration>() > Duration::from_secs(3);
    report::row(&[
        "wrong unseal shares again and again: seconds until the answer",
        &shown.join(", "),
        "they grow",
        report::verdict(grows),
    ]);
    let is_open = opened.json()["sealed"] == Value::Bool(false);
    report::row(&[
        "the right ones afterwards",
        &format!(
            "{} after {:.1} s",
            if is_open { "unsealed" } else { "sealed" },
            took.as_secs_f64()
        ),
        "unsealed",
        report::verdict(is_open),
    ]);
    Ok(grows && is_open)
}
