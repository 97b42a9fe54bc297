//! Unmodified clients against one of the servers, by scripts of ours that the tests use too.

use std::path::Path;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::shell;

use super::server;
use super::server::Kind;
use super::server::Mode;
use super::server::Server;

const SCRIPTS: [(&str, Mode); 4] = [
    ("hvac_client.py", Mode::Dev),
    ("hvac_operator.py", Mode::Empty),
    ("bao_client.py", Mode::Dev),
    ("node_client.js", Mode::Dev),
];

/// Runs all scripts, and fails with the names of those that failed.
pub(super) fn run(root: &Path, kind: &Kind) -> Result<(), Failure> {
    let bao = server::openbao_binary(root)?;
    let folder = root.join("crates/strongroom/tests/clients");
    let mut failed = Vec::new();
    for (script, mode) in SCRIPTS {
        println!("== {script}");
        let server = Server::start(root, kind, mode)?;
        let interpreter = if script.ends_with(".js") {
            PathBuf::from("node")
        } else {
            root.join(".peers/venv/bin/python")
        };
        let mut command = shell::program_in(server.folder(), interpreter);
        command
            .arg(folder.join(script))
            .env("PYTHONWARNINGS", "ignore")
            .env("NODE_PATH", root.join(".peers/node/node_modules"))
            .env("SERVER", format!("http://{}", server.address))
            .env("TOKEN", "root")
            .env("AUDIT_FOLDER", server.folder())
            .env("BAO", &bao);
        if shell::run(&mut command).is_err() {
            failed.push(script);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "parity: {} failed",
        failed.join(", ")
    )))
}
