//! Generated policies: what we answer, and what OpenBao answers.

use std::path::Path;

use serde_json::Value;
use serde_json::json;

use crate::failure::Failure;
use crate::shell;

use super::http;
use super::http::Request;
use super::server::Kind;
use super::server::Mode;
use super::server::Server;

/// 100 paths each, 9 verbs each.
const ROUNDS: usize = 500;

pub(super) fn run(root: &Path, rounds: Option<&str>) -> Result<(), Failure> {
    let default = ROUNDS.to_string();
    let mut command = shell::cargo(root);
    command.args(["run", "--quiet", "--locked", "--package", "strongroom-core"]);
    command.args([
        "--example",
        "policy_cases",
        "--",
        rounds.unwrap_or(&default),
        "20261128",
    ]);
    let printed = shell::capture(&mut command)?;
    if !printed.status.success() {
        return Err(Failure::new(format!("no cases: {}", printed.stderr)));
    }
    let server = Server::start(root, &Kind::OpenBao, Mode::Dev)?;
    let mut round = Round::default();
    let mut compared = 0;
    for line in printed.stdout.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            ["policy", number, text] => {
                let body = json!({ "policy": text });
                ask(
                    &server,
                    "PUT",
                    &format!("sys/policies/acl/p{number}"),
                    &body,
                )?;
                round.policies.push((*text).to_owned());
            }
            ["path", path, words] => round.paths.push(((*path).to_owned(), (*words).to_owned())),
            _ => {
                compared += round.compare(&server)?;
                round = Round::default();
            }
        }
    }
    println!("parity: {compared} paths (9 verbs each) of generated policies, 0 differences");
    Ok(())
}

#[derive(Default)]
struct Round {
    policies: Vec<String>,
    paths: Vec<(String, String)>,
}

impl Round {
    fn compare(&self, server: &Server) -> Result<usize, Failure> {
        let names: Vec<String> = (0..self.policies.len()).map(|n| format!("p{n}")).collect();
        let token = json!({ "policies": names, "no_default_policy": true });
        let token = ask(server, "POST", "auth/token/create", &token)?;
        let paths: Vec<&String> = self.paths.iter().map(|(path, _)| path).collect();
        let question = json!({ "token": token["auth"]["client_token"], "paths": paths });
        let answer = ask(server, "POST", "sys/capabilities", &question)?;
        for (path, words) in &self.paths {
            let found: Vec<&str> = answer["data"][path]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if found.join(",") != *words {
                return Err(Failure::new(format!(
                    "parity: {path}: OpenBao says {}, we say {words}, of\n{}",
                    found.join(","),
                    self.policies.join("\n")
                )));
            }
        }
        Ok(self.paths.len())
    }
}

/// A request with the root token; any other answer than a good one is a failure.
pub(super) fn ask(
    server: &Server,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Value, Failure> {
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: vec![
            ("X-Vault-Token".to_owned(), "root".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ],
        body: Some(body.to_string()),
    };
    let answer = http::send(server.address, &request)
        .map_err(|what| Failure::new(format!("{method} {path}: {what}")))?;
    if answer.status >= 300 {
        let body = String::from_utf8_lossy(&answer.body);
        let status = answer.status;
        return Err(Failure::new(format!("{method} {path}: {status} {body}")));
    }
    Ok(answer.json().unwrap_or(Value::Null))
}
