//! Unmodified clients against one of the servers, by scripts of ours that the tests use too.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::shell;

use super::database::Database;
use super::http;
use super::http::Request;
use super::server;
use super::server::Kind;
use super::server::Mode;
use super::server::Server;

/// The one that has users made in a database.
const DATABASES: &str = "database_client.py";

const SCRIPTS: [(&str, Mode); 5] = [
    ("hvac_client.py", Mode::Dev),
    ("hvac_operator.py", Mode::Empty),
    ("bao_client.py", Mode::Dev),
    ("node_client.js", Mode::Dev),
    (DATABASES, Mode::Dev),
];

/// Clients of AWS: strongroom alone serves them.
const AWS_SCRIPTS: [&str; 4] = [
    "boto3_client.py",
    "aws_cli_client.py",
    "aws_caching_client.py",
    "terraform_client.py",
];

/// Runs all scripts, and fails with the names of those that failed.
pub(super) fn run(root: &Path, kind: &Kind) -> Result<(), Failure> {
    let bao = server::openbao_binary(root)?;
    let folder = root.join("crates/strongroom/tests/clients");
    let mut failed = Vec::new();
    let is_ours = matches!(kind, Kind::Strongroom(_));
    for script in AWS_SCRIPTS.into_iter().filter(|_| is_ours) {
        println!("== {script}");
        let server = Server::start(root, kind, Mode::Dev)?;
        if shell::run(&mut aws_client(root, &folder.join(script), &server)?).is_err() {
            failed.push(script);
        }
    }
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
        // It lives for as long as the script runs.
        let database = match script {
            DATABASES => Some(Database::start()?),
            _ => None,
        };
        if let Some(database) = &database {
            command.envs(database.variables());
        }
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

/// A script with a key that may do everything.
fn aws_client(root: &Path, script: &Path, server: &Server) -> Result<Command, Failure> {
    let request = Request {
        method: "POST".to_owned(),
        path: "sys/aws/keys".to_owned(),
        headers: vec![("X-Vault-Token".to_owned(), "root".to_owned())],
        body: Some(r#"{"policies":["root"]}"#.to_owned()),
    };
    let answer = http::send(server.address, &request).map_err(Failure::new)?;
    let made = answer.json().unwrap_or_default();
    let text = |name: &str| made["data"][name].as_str().unwrap_or_default().to_owned();
    let url = format!("http://{}", server.address);
    let python = root.join(".peers/venv/bin/python");
    let mut command = shell::program_in(server.folder(), python);
    command
        .arg(script)
        .env("PYTHONWARNINGS", "ignore")
        .env("SERVER", &url)
        .env("TOKEN", "root")
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url)
        .env("AWS_ENDPOINT_URL_STS", &url)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", text("access_key_id"))
        .env("AWS_SECRET_ACCESS_KEY", text("secret_access_key"));
    Ok(command)
}
