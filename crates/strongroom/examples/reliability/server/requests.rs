//! Malformed HTTP and JSON bombs.

use std::time::Instant;

use serde_json::Value;

use super::client::exchange;
use super::node::Node;
use crate::attacks;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Runs the attacks some rounds and prints the figures.
pub(crate) fn run(rounds: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let mut node = Node::dev(&rig)?;
    report::heading(&["what", "figure", "goal", "reached"]);
    let is_cut_well = cut(&node, rounds)?;
    let is_defused = bombs(&node)?;
    let are_numbers_kept = numbers(&node)?;
    let is_alive = node.is_alive();
    report::row(&[
        "the server runs afterwards",
        if is_alive { "yes" } else { "no" },
        "yes",
        report::verdict(is_alive),
    ]);
    Ok(is_cut_well && is_defused && are_numbers_kept && is_alive)
}

fn cut(node: &Node, rounds: u64) -> AnyResult<bool> {
    let cases: Vec<String> = attacks::cuts()
        .into_iter()
        .chain(attacks::heads())
        .collect();
    let (mut sent, mut double, mut accepted, mut hung) = (0_u64, 0_u64, 0_u64, 0_u64);
    for _ in 0..rounds {
        for case in &cases {
            sent += 1;
            let Some(answer) = exchange(node.address, case.as_bytes())? else {
                hung += 1;
                note(&format!("no answer to {case:.200?}"));
                continue;
            };
            let text = String::from_utf8_lossy(&answer);
            double += u64::from(text.matches("HTTP/1.1 ").count() > 1);
            let is_refused = answer.is_empty()
                || text.starts_with("HTTP/1.1 4")
                || text.starts_with("HTTP/1.1 505");
            if !is_refused || text.contains("cubbyhole/") {
                accepted += 1;
                note(&format!("{case:.200?} is answered with {text:.200}"));
            }
        }
    }
    let what = format!("malformed requests, {} kinds", cases.len());
    report::row(&[&what, &sent.to_string(), "", ""]);
    zero("two answers to one request", double);
    zero("taken for a request", accepted);
    zero("neither answered nor closed", hung);
    Ok(double + accepted + hung == 0)
}

fn bombs(node: &Node) -> AnyResult<bool> {
    let before = node.memory_mib()?;
    let (mut sent, mut taken, mut slowest, mut most) = (0_u64, 0_u64, 0_f64, before);
    for path in attacks::BOMB_PATHS {
        for bomb in attacks::bombs() {
            sent += 1;
            let begun = Instant::now();
            let answer = node.client()?.ask_text("POST", path, &bomb)?;
            slowest = slowest.max(begun.elapsed().as_secs_f64());
            most = most.max(node.memory_mib()?);
            taken += u64::from(!(400..500).contains(&answer.status));
        }
    }
    let grown = most.saturating_sub(before);
    report::row(&[
        "JSON bombs with a token (10^6 deep, 300,000 keys, 40 MiB)",
        &sent.to_string(),
        "",
        "",
    ]);
    zero("answered with anything but 400 or 413", taken);
    let is_quick = slowest <= 1.0;
    report::row(&[
        "slowest answer",
        &format!("{slowest:.2} s"),
        "at most 1 s",
        report::verdict(is_quick),
    ]);
    let is_small = grown < 100;
    report::row(&[
        "memory it took",
        &format!("{grown} MiB"),
        "less than 100 MB",
        report::verdict(is_small),
    ]);
    Ok(taken == 0 && is_quick && is_small)
}

fn numbers(node: &Node) -> AnyResult<bool> {
    let numbers =
        r#"{"a":123456789012345678901234567890,"b":9007199254740993,"c":1.50,"d":1e+400,"e":-0.0}"#;
    let body = format!("{{\"data\":{numbers}}}");
    node.client()?
        .ask_text("POST", "secret/data/numbers", &body)?;
    let back = node.ask("GET", "secret/data/numbers", &Value::Null)?;
    let is_same = String::from_utf8_lossy(&back.body).contains(numbers);
    report::row(&[
        "large and odd numbers come back digit for digit",
        if is_same { "yes" } else { "no" },
        "yes",
        report::verdict(is_same),
    ]);
    Ok(is_same)
}

/// A row of what may not be.
pub(crate) fn zero(what: &str, count: u64) {
    report::row(&[what, &count.to_string(), "0", report::verdict(count == 0)]);
}
