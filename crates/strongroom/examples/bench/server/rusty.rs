//! Reads from RustyVault: its first KV engine (it has no other), files, no audit log.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::CONNECTIONS;
use super::Rate;
use super::Server;
use super::VALUE_BYTES;
use super::free_port;
use crate::peers::find;
use crate::report;
use crate::report::verdict;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Our reads beside its own; where it is not installed, that is the row.
pub(super) fn compare(rig: &Rig, ours: &Rate) -> AnyResult<()> {
    let what = format!("reads of {VALUE_BYTES} bytes at {CONNECTIONS} connections");
    let figure = format!("{:.0}/s", ours.rate);
    let Some(server) = start(rig)? else {
        let beside = "RustyVault is not installed (`cargo xtask peers --bench`)";
        report::row(&[&what, &figure, beside, "", "at least 2", ""]);
        return Ok(());
    };
    let theirs = server.load(CONNECTIONS, None)?;
    let ratio = ours.rate / theirs.rate;
    report::row(&[
        &what,
        &figure,
        &format!(
            "RustyVault: {:.0}/s, p99 {:.2} ms",
            theirs.rate, theirs.p99_ms
        ),
        &format!("{ratio:.1}"),
        "at least 2",
        verdict(ratio >= 2.0),
    ]);
    Ok(())
}

fn start(rig: &Rig) -> AnyResult<Option<Server>> {
    let Some(program) = find("rvault") else {
        return Ok(None);
    };
    let port = free_port()?;
    let folder = rig.file("rusty");
    fs::create_dir_all(&folder)?;
    let shown = folder.display();
    let config = format!(
        "storage \"file\" {{\n  path = \"{shown}/data\"\n}}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\n\
         api_addr = \"http://127.0.0.1:{port}\"\nwork_dir = \"{shown}\"\ndaemon = false\n"
    );
    let path = folder.join("server.hcl");
    fs::write(&path, config)?;
    let mut command = Command::new(program);
    let mut server = Server::start(command.arg("server").arg("--config").arg(&path), port)?;
    let body = json!({"secret_shares": 1, "secret_threshold": 1});
    let made = server.ask("PUT", "sys/init", &body)?;
    let token = made["root_token"].as_str().ok_or("no root token")?;
    server.use_token(token);
    let key = json!({ "key": made["keys"][0] });
    let status = server.ask("PUT", "sys/unseal", &key)?;
    if status["sealed"] != false {
        return Err(format!("RustyVault stays sealed: {status}").into());
    }
    server.read = "secret/bench/read";
    let body = json!({"password": "x".repeat(VALUE_BYTES)});
    server.ask("POST", server.read, &body)?;
    let read = server.ask("GET", server.read, &serde_json::Value::Null)?;
    match read["data"]["password"] == body["password"] {
        true => Ok(Some(server)),
        false => Err(format!("RustyVault does not answer with what was written: {read}").into()),
    }
}
