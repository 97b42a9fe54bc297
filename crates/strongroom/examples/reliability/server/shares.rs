//! New unseal shares, and kills while they are made.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::node::Node;
use super::node::free_address;
use super::node::pause;
use super::requests::zero;
use crate::draw::Draw;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// The latest moment of a kill after the last share was sent.
const LONGEST_MICROS: u64 = 30_000;

/// Runs the ceremonies and prints the figures.
pub(crate) fn run(kills: u64) -> AnyResult<bool> {
    report::heading(&["what", "figure", "goal", "reached"]);
    let oracle = wrong_shares()?;
    let cancels = cancels()?;
    let plain = killed(kills, false)?;
    let verified = killed(kills, true)?;
    Ok(oracle && cancels && plain && verified)
}

/// A server that is made by shares, and they.
struct Shared {
    rig: Rig,
    address: SocketAddr,
    keys: Vec<String>,
    root: String,
}

impl Shared {
    fn new() -> AnyResult<(Self, Node)> {
        let rig = Rig::new()?;
        let address = free_address()?;
        let node = start(&rig, address)?;
        let numbers = json!({"secret_shares": 3, "secret_threshold": 2});
        let made = node.demand("PUT", "sys/init", &numbers)?;
        let shared = Self {
            keys: texts(&made["keys_base64"]),
            root: made["root_token"].as_str().ok_or("no token")?.to_owned(),
            rig,
            address,
        };
        Ok((shared, node))
    }
}

fn start(rig: &Rig, address: SocketAddr) -> AnyResult<Node> {
    let store = rig.file("store.db").display().to_string();
    let audit = rig.file("audit").display().to_string();
    let words = ["--await-init", "--store", &store, "--audit-folder", &audit];
    Node::start_at(rig, &words, address)
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| Some(text.as_str()?.to_owned()))
        .collect()
}

fn is_open(node: &Node, keys: &[String]) -> AnyResult<bool> {
    let last = node.unseal(keys.get(..2).unwrap_or(keys))?;
    Ok(last.json()["sealed"] == Value::Bool(false))
}

/// A wrong, a doubled and a foreign share are answered as a good one until there are enough.
fn wrong_shares() -> AnyResult<bool> {
    let (shared, node) = Shared::new()?;
    let (other, _other_node) = Shared::new()?;
    let key = |at: usize| shared.keys.get(at).cloned().unwrap_or_default();
    let foreign = other.keys.first().cloned().unwrap_or_default();
    let mut bytes = data_encoding::BASE64.decode(key(0).as_bytes())?;
    if let Some(byte) = bytes.first_mut() {
        *byte ^= 1;
    }
    let wrong = data_encoding::BASE64.encode(&bytes);
    let mut answers = Vec::new();
    for share in [&key(0), &wrong, &foreign] {
        node.ask("PUT", "sys/unseal", &json!({"reset": true}))?;
        let answer = node.ask("PUT", "sys/unseal", &json!({ "key": share }))?;
        let mut body = answer.json();
        // Drawn at random for each attempt.
        body["nonce"] = Value::Null;
        answers.push((answer.status, body));
    }
    let is_alike = answers.iter().all(|answer| Some(answer) == answers.first());
    node.ask("PUT", "sys/unseal", &json!({"reset": true}))?;
    let doubled = node.unseal(&[key(1), key(1)])?.json();
    let counts_once = doubled["progress"] == 1 && doubled["sealed"] == true;
    node.ask("PUT", "sys/unseal", &json!({"reset": true}))?;
    // One good and one bad: refused, and not told which.
    let mixed: Vec<String> = [
        (key(0), foreign.clone()),
        (foreign, key(0)),
        (key(2), wrong),
    ]
    .into_iter()
    .map(|(one, two)| {
        let answer = node.unseal(&[one, two])?;
        Ok(format!(
            "{} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ))
    })
    .collect::<AnyResult<_>>()?;
    let tells_nothing = mixed.iter().all(|text| Some(text) == mixed.first());
    let opens = is_open(&node, &shared.keys)?;
    for (what, is_so) in [
        (
            "a wrong and a foreign share are answered as a good one",
            is_alike,
        ),
        ("the same share twice counts once", counts_once),
        (
            "with enough of them, which one is bad is not told",
            tells_nothing,
        ),
        ("the right shares open the store afterwards", opens),
    ] {
        report::row(&[
            what,
            if is_so { "yes" } else { "no" },
            "yes",
            report::verdict(is_so),
        ]);
    }
    Ok(is_alike && counts_once && tells_nothing && opens)
}

/// Somebody without a token cancels and begins, again and again, while shares are given.
fn cancels() -> AnyResult<bool> {
    let (shared, mut node) = Shared::new()?;
    is_open(&node, &shared.keys)?;
    node.token = shared.root.clone();
    let begin = json!({"secret_shares": 3, "secret_threshold": 2});
    let begun = node.demand("PUT", "sys/rekey/init", &begin)?;
    node.token = String::new();
    let mut done = Value::Null;
    let mut accepted = 0_u64;
    for key in shared.keys.iter().take(2) {
        for _ in 0..500 {
            let cancelled = node.ask("DELETE", "sys/rekey/init", &Value::Null)?.status;
            let replaced = node.ask("PUT", "sys/rekey/init", &begin)?.status;
            accepted += u64::from(cancelled < 300) + u64::from(replaced < 300);
        }
        let share = json!({"key": key, "nonce": begun["nonce"]});
        done = node.demand("PUT", "sys/rekey/update", &share)?;
    }
    let is_done = done["complete"] == true;
    report::row(&[
        "2,000 cancels and new beginnings by somebody else, taken",
        &accepted.to_string(),
        "0",
        report::verdict(accepted == 0 && is_done),
    ]);
    Ok(accepted == 0 && is_done)
}

/// Kills around the end of a ceremony; the holders then have old shares, and new ones if they
/// were answered. Some of them have to open the store.
fn killed(kills: u64, is_verified: bool) -> AnyResult<bool> {
    let (mut shared, node) = Shared::new()?;
    let mut node = Some(node);
    let mut draw = Draw::new(33);
    let (mut lost, mut answered, mut unanswered) = (0_u64, 0_u64, 0_u64);
    for round in 0..kills {
        let running = match node.take() {
            Some(running) => running,
            None => start(&shared.rig, shared.address)?,
        };
        if !is_open(&running, &shared.keys)? {
            return Err(format!("round {round}: it does not open").into());
        }
        let (fresh, was_answered) = rekey(running, &shared, is_verified, &mut draw)?;
        let again = start(&shared.rig, shared.address)?;
        answered += u64::from(was_answered);
        unanswered += u64::from(!was_answered);
        let opens = |keys: &[String]| -> AnyResult<bool> {
            again.ask("PUT", "sys/unseal", &json!({"reset": true}))?;
            Ok(!keys.is_empty() && is_open(&again, keys)?)
        };
        let fresh_opens = opens(&fresh)?;
        if fresh_opens {
            shared.keys = fresh;
        } else if was_answered {
            lost += 1;
            note(&format!(
                "round {round}: new shares that were acknowledged do not open it"
            ));
            break;
        } else if !opens(&shared.keys)? {
            lost += 1;
            note(&format!("round {round}: neither shares open the store"));
            break;
        }
    }
    let how = if is_verified { "with" } else { "without" };
    let what = format!(
        "kills at the end of a rekey {how} verification ({answered} answered, {unanswered} not)"
    );
    let goal = "at least 100";
    report::row(&[
        &what,
        &kills.to_string(),
        goal,
        report::verdict(kills >= 100),
    ]);
    zero("stores that nobody's shares open", lost);
    Ok(lost == 0)
}

/// A ceremony whose end is killed: the new shares that somebody has seen, and whether the end was
/// acknowledged.
fn rekey(
    mut node: Node,
    shared: &Shared,
    is_verified: bool,
    draw: &mut Draw,
) -> AnyResult<(Vec<String>, bool)> {
    node.token.clone_from(&shared.root);
    let begin = json!({
        "secret_shares": 3,
        "secret_threshold": 2,
        "require_verification": is_verified,
    });
    let begun = node.demand("PUT", "sys/rekey/init", &begin)?;
    let mut fresh = Vec::new();
    let (mut path, mut nonce, mut keys) =
        ("sys/rekey/update", begun["nonce"].clone(), &shared.keys);
    if is_verified {
        let mut done = Value::Null;
        for key in keys.iter().take(2) {
            done = node.demand("PUT", path, &json!({"key": key, "nonce": nonce}))?;
        }
        fresh = texts(&done["keys_base64"]);
        (path, nonce, keys) = (
            "sys/rekey/verify",
            done["verification_nonce"].clone(),
            &fresh,
        );
    }
    let share = |at: usize| json!({"key": keys.get(at), "nonce": nonce});
    node.demand("PUT", path, &share(0))?;
    let mut client = node.client()?;
    let last = share(1);
    let wait = Duration::from_micros(draw.below(LONGEST_MICROS));
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| client.ask("PUT", path, &last).ok());
        pause(wait);
        // Gone either way.
        let _ = node.kill();
        asking.join().ok().flatten()
    });
    let done = answer.map(|answer| answer.json()).unwrap_or_default();
    let was_answered = done["complete"] == true;
    if was_answered && !is_verified {
        fresh = texts(&done["keys_base64"]);
    }
    Ok((fresh, was_answered))
}
