//! Unseal shares: OpenBao's are put together here, and OpenBao is unsealed with ours.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use crate::failure::Failure;
use crate::shell;

use super::http;
use super::http::Request;
use super::policies::ask;
use super::server::Kind;
use super::server::Mode;
use super::server::Server;

/// Shares and threshold.
const SHAPES: [(usize, usize); 5] = [(1, 1), (2, 2), (3, 2), (5, 3), (10, 7)];

pub(super) fn run(root: &Path) -> Result<(), Failure> {
    for (shares, threshold) in SHAPES {
        let server = Server::start(root, &Kind::OpenBao, Mode::Empty)?;
        let init = json!({ "secret_shares": shares, "secret_threshold": threshold });
        let init = ask(&server, "PUT", "sys/init", &init)?;
        let theirs: Vec<&str> = texts(&init["keys_base64"]);
        let theirs = theirs.get(theirs.len() - threshold..).unwrap_or_default();
        let ours = reshare(root, theirs, shares, threshold)?;
        let given = ours.iter().take(threshold);
        let mut answer = Value::Null;
        for share in given {
            answer = ask(&server, "PUT", "sys/unseal", &json!({ "key": share }))?;
        }
        if answer["sealed"] != false {
            return Err(Failure::new(format!(
                "parity: OpenBao does not open with our {threshold} of {shares}"
            )));
        }
        let root_token = init["root_token"].as_str().unwrap_or_default();
        let request = Request {
            method: "GET".to_owned(),
            path: "sys/mounts".to_owned(),
            headers: vec![("X-Vault-Token".to_owned(), root_token.to_owned())],
            body: None,
        };
        let mounts = http::send(server.address, &request).map_err(Failure::new)?;
        if mounts.status != 200 {
            return Err(Failure::new(format!("sys/mounts: {}", mounts.status)));
        }
        println!("parity: OpenBao opens with our {threshold} of {shares} shares");
    }
    Ok(())
}

fn reshare(
    root: &Path,
    given: &[&str],
    shares: usize,
    threshold: usize,
) -> Result<Vec<String>, Failure> {
    let mut command = shell::cargo(root);
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "strongroom-crypto",
    ]);
    command.args(["--example", "reshare", "--"]);
    command.args([shares.to_string(), threshold.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let failed = |e: std::io::Error| Failure::new(format!("reshare: {e}"));
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        let lines = given.join("\n") + "\n";
        stdin.write_all(lines.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(shell::failed(&command, output.status));
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(printed.lines().map(str::to_owned).collect())
}

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}
