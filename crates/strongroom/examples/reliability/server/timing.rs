//! Whether time tells what an answer does not.

mod inside;

use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use super::client::Client;
use super::node::Node;
use crate::draw::Draw;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Wrong passwords that a name may have before it is refused.
const TRIES: u64 = 5;
/// Goals for |t|, over the wire and in process.
const WIRE: f64 = 3.0;
const PROCESS: f64 = 4.5;

/// Measures and prints the figures.
pub(crate) fn run(samples: u64) -> AnyResult<bool> {
    report::heading(&["what", "figure", "goal", "reached"]);
    let rig = Rig::new()?;
    let node = Node::dev(&rig)?;
    let tokens = tokens(&node, samples)?;
    let names = names(&node, samples)?;
    let inside = inside::run(samples * 500)?;
    Ok(tokens && names && inside)
}

/// A token that is nearly right, and one that is not at all.
fn tokens(node: &Node, samples: u64) -> AnyResult<bool> {
    let made = node.demand(
        "POST",
        "auth/token/create",
        &json!({"policies": ["default"]}),
    )?;
    let right = made["auth"]["client_token"].as_str().ok_or("no token")?;
    let mut near = right.to_owned();
    let last = near.pop();
    near.push(if last == Some('A') { 'B' } else { 'A' });
    let mut draw = Draw::new(31);
    let far = format!("hvs.{}", draw.text(right.len() - 4));
    let mut clients = [
        Client::connect(node.address, &near)?,
        Client::connect(node.address, &far)?,
    ];
    let mut times = Two::default();
    for at in 0..samples * 2 {
        // Which comes first is drawn: what drifts hits both alike.
        let which = usize::try_from((draw.below(2) + at) % 2)?;
        let client = clients.get_mut(which).ok_or("no client")?;
        let begun = Instant::now();
        let status = client.ask("GET", "secret/data/x", &Value::Null)?.status;
        times.note(which, begun.elapsed().as_secs_f64());
        if status != 403 {
            return Err(format!("a wrong token got {status}").into());
        }
    }
    Ok(times.row("a wrong token: one character off, or all of them", WIRE))
}

/// A wrong password for a name that is there, and for one that is not.
fn names(node: &Node, samples: u64) -> AnyResult<bool> {
    node.demand("POST", "sys/auth/userpass", &json!({"type": "userpass"}))?;
    for number in 0..samples.div_ceil(TRIES) {
        let path = format!("auth/userpass/users/known{number}");
        node.demand("POST", &path, &json!({"password": "right"}))?;
    }
    let mut client = Client::connect(node.address, "")?;
    let mut draw = Draw::new(310);
    let mut counts = [0_u64; 2];
    let mut times = Two::default();
    while counts.iter().any(|count| *count < samples) {
        let mut which = usize::try_from(draw.below(2))?;
        if counts.get(which).is_some_and(|count| *count >= samples) {
            which = 1 - which;
        }
        let count = counts.get_mut(which).ok_or("no count")?;
        let number = *count / TRIES;
        *count += 1;
        let name = ["known", "other"].get(which).ok_or("no name")?;
        let path = format!("auth/userpass/login/{name}{number}");
        let begun = Instant::now();
        let status = client
            .ask("POST", &path, &json!({"password": "wrong"}))?
            .status;
        times.note(which, begun.elapsed().as_secs_f64());
        if status != 400 {
            return Err(format!("a wrong password got {status}").into());
        }
    }
    Ok(times.row("a wrong password: for a name that is there, or not", WIRE))
}

/// Times of two kinds of requests, taken in turn.
#[derive(Default)]
struct Two([Vec<f64>; 2]);

impl Two {
    fn note(&mut self, which: usize, seconds: f64) {
        if let Some(times) = self.0.get_mut(which) {
            times.push(seconds);
        }
    }

    /// Prints the row; true where the goal is reached.
    fn row(mut self, what: &str, goal: f64) -> bool {
        // The machine's other work comes as a few large times: the same part of both is left out.
        let mut all: Vec<f64> = self.0.concat();
        all.sort_unstable_by(f64::total_cmp);
        let bound = all.get(all.len() * 95 / 100).copied().unwrap_or(f64::MAX);
        let whole = t_of(&self.0);
        for times in &mut self.0 {
            times.retain(|time| *time <= bound);
        }
        let t = t_of(&self.0);
        let count = self.0.iter().map(Vec::len).min().unwrap_or(0);
        let is_reached = t.abs() < goal;
        report::row(&[
            what,
            &format!("t = {t:.2} (of all: {whole:.2}), n = {count}"),
            &format!("\\|t\\| < {goal}"),
            report::verdict(is_reached),
        ]);
        is_reached
    }
}

/// Welch's t.
fn t_of(two: &[Vec<f64>; 2]) -> f64 {
    let [(n1, m1, v1), (n2, m2, v2)] = two.each_ref().map(|times| {
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n;
        let squares = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>();
        (n, mean, squares / (n - 1.0))
    });
    (m1 - m2) / (v1 / n1 + v2 / n2).sqrt()
}
