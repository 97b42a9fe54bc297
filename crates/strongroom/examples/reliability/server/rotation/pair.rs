//! Two servers on one database, which rotate the same secrets; one of them is killed.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::super::node::Node;
use super::super::node::free_address;
use super::super::node::pause;
use super::Figures;
use super::application::Application;
use super::application::Seen;
use super::application::Use;
use super::place::Log;
use super::place::PATIENCE;
use super::place::database;
use super::place::names;
use super::place::prepare;
use super::place::report;
use super::place::rotate_all;
use super::place::told;
use crate::draw::Draw;
use crate::note::note;
use crate::rig::AnyResult;
use crate::rig::Rig;

const SECRETS: usize = 6;

struct Pair {
    rig: Rig,
    url: String,
    addresses: [SocketAddr; 2],
    token: String,
}

impl Pair {
    fn start(&self, number: usize) -> AnyResult<Node> {
        let audit = self.rig.file(&format!("audit-{number}"));
        let audit = audit.display().to_string();
        let words = ["--storage", self.url.as_str(), "--audit-folder", &audit];
        let mut node = Node::start_at(&self.rig, &words, self.addresses[number])?;
        node.token.clone_from(&self.token);
        node.until_ready()?;
        Ok(node)
    }

    fn log(&self, number: usize) -> AnyResult<Log> {
        Log::of(&self.rig.file(&format!("audit-{number}")).join("audit.log"))
    }
}

/// So many rounds: all secrets are rotated through both servers at once, and one server is killed.
pub(super) fn run(rounds: u64, seen: &Seen) -> AnyResult<Figures> {
    let database = database();
    let rig = Rig::new()?;
    let url = database.url("postgres");
    let mut pair = Pair {
        rig,
        url: url.clone(),
        addresses: [free_address()?, free_address()?],
        token: String::new(),
    };
    let mut nodes = vec![Some(pair.start(0)?), None];
    let token = pair.rig.ask(&["operator", "root-token", "--store", &url])?;
    String::from_utf8(token)?.trim().clone_into(&mut pair.token);
    drop(nodes[0].take());
    for (number, node) in nodes.iter_mut().enumerate() {
        *node = Some(pair.start(number)?);
    }
    let kind = Use::Turns;
    let secrets = names(0, SECRETS);
    let first = nodes[0].as_ref().ok_or("no server runs")?;
    prepare(first, &database, database.port(), kind, 0, SECRETS)?;
    let is_over = AtomicBool::new(false);
    let application = Application {
        servers: &pair.addresses,
        token: &pair.token,
        secrets: &secrets,
        kind,
        seen,
        is_over: &is_over,
    };
    thread::scope(|scope| {
        scope.spawn(|| application.run());
        let done = all_rounds(&pair, &mut nodes, &secrets, rounds);
        is_over.store(true, Ordering::Relaxed);
        done
    })
}

fn all_rounds(
    pair: &Pair,
    nodes: &mut [Option<Node>],
    secrets: &[String],
    rounds: u64,
) -> AnyResult<Figures> {
    let mut draw = Draw::new(930);
    let mut figures = Figures::default();
    for round in 1..=rounds {
        let logs = [pair.log(0)?, pair.log(1)?];
        for node in nodes.iter().flatten() {
            rotate_all(node, secrets)?;
        }
        // Half of the rounds nobody dies: both are at it.
        let victim = usize::try_from(draw.below(2))?;
        let is_killed = draw.below(2) == 0;
        if is_killed {
            pause(Duration::from_millis(draw.below(120)));
            if let Some(mut node) = nodes[victim].take() {
                node.kill()?;
            }
            figures.kills += 1;
        }
        let left = nodes.iter().flatten().next().ok_or("no server runs")?;
        let begun = Instant::now();
        for secret in secrets {
            while !report(left, secret)?["run"].is_null() {
                if begun.elapsed() > PATIENCE {
                    return Err(format!("{secret} is not rotated").into());
                }
                pause(Duration::from_millis(20));
            }
        }
        figures.slowest = figures.slowest.max(begun.elapsed());
        if nodes[victim].is_none() {
            nodes[victim] = Some(pair.start(victim)?);
        }
        for secret in secrets {
            let left = nodes.iter().flatten().next().ok_or("no server runs")?;
            let report = report(left, secret)?;
            let asked = report["finished"].as_u64().unwrap_or(0);
            let mut faults = Vec::new();
            // Who asks a second time while it is under way, or when it is over, may get another:
            // one after the other, never two at once.
            let steps: Vec<String> = logs.iter().flat_map(|log| log.steps(secret)).collect();
            let tokens = tokens(&steps);
            figures.rotations += tokens.len() as u64;
            if let Some(text) = overlap(&steps) {
                faults.push(format!("{secret}: two rotations at once: {text}"));
            }
            faults.extend(told(&report, secret, asked));
            for fault in faults {
                note(&format!("BAD: {fault}"));
                figures.faults += 1;
            }
        }
        if round.is_multiple_of(5) {
            note(&format!("two servers: {round} rounds"));
        }
    }
    Ok(figures)
}

/// The value of a text field in a line of the log.
fn text_in<'a>(line: &'a str, name: &str) -> &'a str {
    let begin = format!("\"{name}\":\"");
    let rest = line.split_once(&begin).map_or("", |(_, rest)| rest);
    rest.split_once('"').map_or("", |(text, _)| text)
}

/// The versions that the lines of both logs tell of.
fn tokens(steps: &[String]) -> Vec<&str> {
    let mut tokens: Vec<&str> = steps.iter().map(|line| text_in(line, "token")).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// Two versions whose lines lie in each other, by their times.
fn overlap(steps: &[String]) -> Option<String> {
    let mut spans: Vec<(&str, &str, &str)> = tokens(steps)
        .into_iter()
        .map(|token| {
            let own = steps.iter().filter(|line| text_in(line, "token") == token);
            let mut times: Vec<&str> = own.map(|line| text_in(line, "time")).collect();
            times.sort_unstable();
            let first = times.first().copied().unwrap_or_default();
            (first, times.last().copied().unwrap_or_default(), token)
        })
        .collect();
    spans.sort_unstable();
    let mut pairs = spans.iter().zip(spans.iter().skip(1));
    let found = pairs.find(|((_, end, _), (begin, _, _))| begin < end);
    found.map(|(one, two)| format!("{one:?} and {two:?}"))
}
