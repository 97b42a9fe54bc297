//! Generated policies: what the server decides, a small model, and OpenBao.

use serde_json::Value;
use serde_json::json;

use super::node::Node;
use super::requests::zero;
use crate::draw::Draw;
use crate::note::note;
use crate::policy_model;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

const POLICIES: u64 = 3;
const PATHS: u64 = 100;
const PATHS_AT_ONCE: usize = 10;
const WORDS: [&str; 9] = [
    "create", "read", "update", "delete", "list", "scan", "sudo", "patch", "deny",
];

/// Compares and prints the figures.
pub(crate) fn run(rounds: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let ours = Node::dev(&rig)?;
    let theirs = Node::openbao(&rig);
    if let Err(error) = &theirs {
        note(&error.to_string());
    }
    let theirs = theirs.ok();
    let mut draw = Draw::new(39);
    let (mut from_model, mut from_openbao) = (0_u64, 0_u64);
    for _ in 0..rounds {
        let policies: Vec<Vec<Rule>> = (0..POLICIES).map(|_| policy(&mut draw)).collect();
        let paths: Vec<String> = (0..PATHS).map(|_| path(&mut draw)).collect();
        let rules: Vec<Rule> = policies.concat();
        let answers = capabilities(&ours, &policies, &paths)?;
        for path in &paths {
            let expected = policy_model::words(&rules, path, true, &WORDS, "deny");
            let mut expected: Vec<&str> = expected;
            expected.sort_unstable();
            let mut found = words_of(&answers, path);
            found.sort_unstable();
            // The API says "deny" where nothing is allowed.
            let is_same = found == expected || (expected.is_empty() && found == ["deny"]);
            if !is_same {
                from_model += 1;
                note(&format!(
                    "{path}: {found:?}, the model says {expected:?} of {rules:?}"
                ));
            }
        }
        if let Some(theirs) = &theirs {
            let other = capabilities(theirs, &policies, &paths)?;
            for path in &paths {
                let (one, two) = (words_of(&answers, path), words_of(&other, path));
                if one != two {
                    from_openbao += 1;
                    note(&format!(
                        "{path}: {one:?}, OpenBao says {two:?} of {rules:?}"
                    ));
                }
            }
        }
    }
    report::heading(&["what", "figure", "goal", "reached"]);
    let cases = rounds * PATHS * WORDS.len() as u64;
    report::row(&[
        "policies × paths × verbs",
        &cases.to_string(),
        "at least 50,000",
        report::verdict(cases >= 50_000),
    ]);
    zero("paths decided otherwise than by the model", from_model);
    match theirs {
        Some(_) => zero("paths decided otherwise than by OpenBao", from_openbao),
        None => report::row(&[
            "paths decided otherwise than by OpenBao",
            "not tried",
            "0",
            "",
        ]),
    }
    Ok(from_model == 0 && from_openbao == 0)
}

/// A rule's path and its words.
type Rule = (String, Vec<&'static str>);

fn words_of<'a>(answers: &'a Value, path: &str) -> Vec<&'a str> {
    let words = answers["data"][path].as_array().into_iter().flatten();
    words.filter_map(Value::as_str).collect()
}

/// What a token with these policies is told by `capabilities-self`.
fn capabilities(node: &Node, policies: &[Vec<Rule>], paths: &[String]) -> AnyResult<Value> {
    // The question itself has to be allowed; no generated path leads there.
    let may_ask = "path \"sys/capabilities-self\" { capabilities = [\"update\"] }";
    node.demand(
        "PUT",
        "sys/policies/acl/asks",
        &json!({ "policy": may_ask }),
    )?;
    let mut names = vec!["asks".to_owned()];
    for (number, rules) in policies.iter().enumerate() {
        let name = format!("p{number}");
        let body = json!({ "policy": text_of(rules) });
        node.demand("PUT", &format!("sys/policies/acl/{name}"), &body)?;
        names.push(name);
    }
    let new = json!({"policies": names, "no_default_policy": true});
    let token = node.demand("POST", "auth/token/create", &new)?;
    let token = token["auth"]["client_token"].as_str().ok_or("no token")?;
    let mut client = super::client::Client::connect(node.address, token)?;
    let mut all = Value::Null;
    // In parts: a long answer of OpenBao has no length, which this client needs.
    for part in paths.chunks(PATHS_AT_ONCE) {
        let asked = client.ask("POST", "sys/capabilities-self", &json!({ "paths": part }))?;
        let answer = asked.json();
        for path in part {
            let words = answer["data"].get(path).ok_or("an answer without a path")?;
            all["data"][path] = words.clone();
        }
    }
    Ok(all)
}

fn text_of(rules: &[Rule]) -> String {
    let mut text = String::from("# generated\n");
    for (path, words) in rules {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        text += &format!(
            "path \"{path}\" {{ capabilities = [{}] }}\n",
            words.join(", ")
        );
    }
    text
}

fn pick<T: Copy>(draw: &mut Draw, from: &[T]) -> Option<T> {
    let at = usize::try_from(draw.below(from.len() as u64)).ok()?;
    from.get(at).copied()
}

fn segment(draw: &mut Draw) -> &'static str {
    pick(draw, &["a", "b", "ab", "abc", "x+", "é"]).unwrap_or("a")
}

fn path(draw: &mut Draw) -> String {
    let count = draw.below(4) + 1;
    let segments: Vec<&str> = (0..count).map(|_| segment(draw)).collect();
    segments.join("/") + pick(draw, &["", "", "/"]).unwrap_or("")
}

fn policy(draw: &mut Draw) -> Vec<Rule> {
    (0..draw.below(6))
        .map(|_| {
            let path = pattern(draw);
            let words = (0..draw.below(4))
                .filter_map(|_| pick(draw, &WORDS))
                .filter(|word| *word != "deny" || path.len().is_multiple_of(2))
                .collect();
            (path, words)
        })
        .collect()
}

fn pattern(draw: &mut Draw) -> String {
    let count = draw.below(4) + 1;
    let segments: Vec<&str> = (0..count)
        .map(|_| match draw.below(3) {
            0 => "+",
            _ => segment(draw),
        })
        .collect();
    let text = segments.join("/");
    match draw.below(12) {
        0 | 1 => text + "/*",
        2 | 3 if text.ends_with('+') => text + "/",
        2 | 3 => text + "*",
        4 => text + "/",
        5 => "*".to_owned(),
        _ => text,
    }
}
