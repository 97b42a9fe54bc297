//! `supervise` as its users start it; what it does in detail is tested in its crate.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use strongroom_testkit::port::Port;

use crate::served::DEADLINE;
use crate::served::Served;
use crate::support::Case;
use crate::support::PROGRAM;

fn bundle(port: &Port, secrets: &Value) -> Value {
    let program = json!({ "path": "bin/api" });
    json!({
        "schema_version": "v0.1",
        "target": "desktop",
        "app": { "name": "Picker Wheel", "version": "1.0.0" },
        "ipc": { "mode": "loopback-http", "host": "127.0.0.1", "port": port.number(),
                 "auth_token_path": "runtime/auth-token" },
        "telemetry": { "file": "telemetry/events.jsonl" },
        "secrets": secrets,
        "services": [{
            "id": "api", "type": "api-binary",
            "binaries": { "linux-x64": program, "linux-arm64": program },
            "health": { "type": "command", "command": ["true"] },
            "readiness": { "type": "dependencies_ready" },
            "log_dir": "logs/api.log",
            "secrets": ["key"],
        }],
    })
}

fn write_bundle(case: &Case, bundle: &Value) {
    use std::os::unix::fs::PermissionsExt;
    case.write("bundle.json", bundle.to_string());
    let script = "#!/bin/sh
trap 'echo bye; exit 0' TERM
echo \"got $KEY\"
env > \"$APP_DATA_DIR/draft\"
mv \"$APP_DATA_DIR/draft\" \"$APP_DATA_DIR/env\"
while :; do sleep 1 & wait $!; done
";
    let path = case.write("bin/api", script);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn start(command: &mut Command, log: &Path) -> (Child, BufReader<ChildStdout>) {
    let log = std::fs::File::create(log).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("runtime ready"), "{line:?}");
    (child, stdout)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// What the control API answers to a change of secrets.
fn post(port: &Port, token: &str, body: &str) -> Value {
    ask(port, token, "POST /secrets", body)
}

fn ask(port: &Port, token: &str, line: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

fn interrupt(child: &mut Child) -> Option<i32> {
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    child.wait().unwrap().code()
}

#[test]
fn an_application_is_started_given_its_secret_and_ended() {
    let case = Case::new();
    let port = Port::claim();
    let prompt = json!({ "id": "key", "class": "user_prompt", "prompt": { "label": "Key" },
                         "target": { "type": "env", "name": "KEY" } });
    write_bundle(&case, &bundle(&port, &json!([prompt])));
    let data = case.path("data/wheel");
    let value = case.canary("key-");
    // The one service that is given the value writes its environment there.
    case.leave_open(&data.join("env"));
    let log = case.path("tmp/log");
    let mut command = case.command(PROGRAM);
    command
        .args(["supervise", "bundle.json", "--app-data"])
        .arg(&data);
    let (mut child, mut stdout) = start(&mut command, &log);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("missing: key"), "{said}");

    let second = case.run(&[
        "supervise",
        "bundle.json",
        "--app-data",
        data.to_str().unwrap(),
    ]);
    let pid = child.id();
    second
        .code(6)
        .says(&format!("runs already as process {pid}"));

    let token = std::fs::read_to_string(data.join("runtime/auth-token")).unwrap();
    let body = json!({ "id": "key", "value": value }).to_string();
    let answer = post(&port, &token, &body);
    assert_eq!(answer, json!({ "status": "ok", "stored": ["key"] }));
    until("the service starts", || data.join("env").exists());
    let env = std::fs::read_to_string(data.join("env")).unwrap();
    assert!(env.lines().any(|line| line == format!("KEY={value}")));

    assert_eq!(interrupt(&mut child), Some(0));
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "shutdown requested\n");
    let output = std::fs::read_to_string(data.join("logs/api.log")).unwrap();
    assert!(output.lines().any(|line| line == "bye"), "{output}");
    assert!(!data.join("runtime/auth-token").exists());
}

#[test]
fn a_secret_is_fetched_from_a_vault_server() {
    let case = Case::new();
    let port = Port::claim();
    let remote = json!({ "id": "key", "class": "remote_fetch",
        "vault": { "type": "hashicorp", "path": "secret/data/stripe", "key": "api_key" },
        "target": { "type": "env", "name": "KEY" } });
    write_bundle(&case, &bundle(&port, &json!([remote])));
    let data = case.path("data/wheel");
    let value = case.canary("sk-");
    case.leave_open(&data.join("env"));
    let served = Served::dev();
    let body = json!({ "data": { "api_key": value } }).to_string();
    let (status, _) = served.ask("PUT", "secret/data/stripe", "root", &body);
    assert_eq!(status, 200);
    let log = case.path("tmp/log");
    let run = |address: String| {
        let mut command = case.command(PROGRAM);
        command
            .args(["supervise", "bundle.json", "--app-data"])
            .arg(&data);
        command
            .env("VAULT_ADDR", address)
            .env("VAULT_TOKEN", "root");
        let (mut child, _stdout) = start(&mut command, &log);
        let said = std::fs::read_to_string(&log).unwrap();
        if !said.contains("missing: key") {
            until("the service starts", || data.join("env").exists());
            let env = std::fs::read_to_string(data.join("env")).unwrap();
            assert!(env.lines().any(|line| line == format!("KEY={value}")));
            std::fs::remove_file(data.join("env")).unwrap();
        }
        assert_eq!(interrupt(&mut child), Some(0));
        said
    };
    let nobody = "http://127.0.0.1:1".to_owned();
    let said = run(nobody.clone());
    assert!(
        said.contains("missing: key: hashicorp secret/data/stripe: "),
        "{said}"
    );
    let said = run(format!("http://{}", served.address));
    assert!(!said.contains("missing"), "{said}");
    // Without a server the value of the last fetch does, and that is said.
    let said = run(nobody);
    assert!(
        said.contains("the value of the last fetch is used"),
        "{said}"
    );
}

#[test]
fn what_must_not_be_run_is_refused_with_all_reasons() {
    let case = Case::new();
    let port = Port::claim();
    let secrets = json!([
        { "id": "key", "class": "infrastructure", "target": { "type": "env", "name": "KEY" } },
        { "id": "odd", "class": "user_prompt", "format": "(?=x)", "prompt": { "label": "o" },
          "target": { "type": "file", "name": "../odd" } },
    ]);
    write_bundle(&case, &bundle(&port, &secrets));
    let refused = case.sr("supervise bundle.json").code(5);
    for code in ["bundle.infrastructure", "bundle.format", "bundle.path"] {
        assert!(refused.err().contains(code), "{}", refused.err());
    }
    assert!(!case.path("config/picker-wheel").exists());
    case.sr("supervise nowhere.json")
        .code(3)
        .says("nowhere.json");
}

#[test]
fn the_first_run_is_gone_through_in_a_browser() {
    let case = Case::new();
    let port = Port::claim();
    let secrets = json!([
        { "id": "drawn", "class": "per_install_generated",
          "generator": { "type": "random", "length": 48 },
          "target": { "type": "env", "name": "DRAWN" } },
        { "id": "key", "class": "user_prompt", "format": "^sk-",
          "prompt": { "label": "<img src=x onerror=alert(1)> key", "description": "Ask <b>them</b>",
                      "link": "https://help.example/key" },
          "target": { "type": "env", "name": "KEY" } },
        { "id": "extra", "class": "user_prompt", "required": false, "prompt": { "label": "Extra" },
          "target": { "type": "env", "name": "EXTRA" } },
    ]);
    write_bundle(&case, &bundle(&port, &secrets));
    let data = case.path("data/wheel");
    let value = case.canary("sk-");
    case.leave_open(&data.join("env"));
    let mut command = case.command(PROGRAM);
    command
        .args(["supervise", "bundle.json", "--app-data"])
        .arg(&data);
    let (mut child, _stdout) = start(&mut command, &case.path("tmp/log"));
    let token = std::fs::read_to_string(data.join("runtime/auth-token")).unwrap();
    let link = ask(&port, &token, "POST /setup-link", "");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let profile = tempfile::tempdir().unwrap();
    let browsed = case
        .command("python3")
        .arg(scripts.join("setup_browser.py"))
        .env("LINK", link["url"].as_str().unwrap())
        .env("VALUE", &value)
        .env("FOLDER", profile.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&browsed.stderr);
    assert!(browsed.status.success(), "{said}");
    // What was changed while it ran, since it was started again.
    let line = format!("KEY={value}2");
    until("the service has the new value", || {
        let env = std::fs::read_to_string(data.join("env")).unwrap_or_default();
        env.lines().any(|one| one == line)
    });
    assert_eq!(interrupt(&mut child), Some(0));
}

#[test]
fn without_a_terminal_setup_says_what_is_missing() {
    let case = Case::new();
    let port = Port::claim();
    let secrets = json!([
        { "id": "drawn", "class": "per_install_generated", "generator": { "type": "uuid" },
          "target": { "type": "env", "name": "DRAWN" } },
        { "id": "key", "class": "user_prompt", "prompt": { "label": "Your key" },
          "target": { "type": "env", "name": "KEY" } },
    ]);
    write_bundle(&case, &bundle(&port, &secrets));
    let said = case
        .sr("setup --bundle bundle.json --app-data data")
        .code(5);
    said.says("missing: key").prints("missing   Your key\n");
    let rows = case
        .sr("setup --bundle bundle.json --app-data data --json")
        .code(5)
        .json();
    assert_eq!(rows["missing"], json!(["key"]));
    assert_eq!(rows["secrets"][0]["set"], json!(true));
}

#[test]
fn at_a_terminal_setup_asks_again_and_leaves_for_later_what_is_left_empty() {
    let case = Case::new();
    let port = Port::claim();
    let secrets = json!([
        { "id": "key", "class": "user_prompt", "format": "^sk-",
          "prompt": { "label": "Your key", "hint": "it begins with sk-" },
          "target": { "type": "env", "name": "KEY" } },
    ]);
    write_bundle(&case, &bundle(&port, &secrets));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/terminal.py");
    let run = |steps: Value| {
        let mut command = case.command("python3");
        command.arg(&script).arg(PROGRAM);
        command.args(["setup", "--bundle", "bundle.json", "--app-data", "data"]);
        let ran = command.env("STEPS", steps.to_string()).output().unwrap();
        let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
        (ran.status.code(), shown)
    };
    let asked = "Your key (needed to start; empty leaves it for later)";
    let (code, shown) = run(json!([[asked, "\r"]]));
    assert_eq!(code, Some(5), "{shown}");
    assert!(shown.contains("missing   Your key"), "{shown}");
    let value = case.canary("sk-");
    let wrong = "this does not look as expected: it begins with sk-";
    let typed = format!("{value}\r");
    let (code, shown) = run(json!([[asked, "nothing\r"], [wrong, typed]]));
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("set       Your key"), "{shown}");
    assert!(!shown.contains(&value), "{shown}");
}

#[test]
fn a_service_that_ends_unasked_is_told_where_it_was_started() {
    let case = Case::new();
    let port = Port::claim();
    let key = json!({ "id": "key", "class": "per_install_generated",
        "generator": { "type": "random", "length": 32 },
        "target": { "type": "env", "name": "KEY" } });
    let mut bundle = bundle(&port, &json!([key]));
    bundle["services"][0]["metadata"] = json!({ "restart": "never" });
    write_bundle(&case, &bundle);
    case.write("bin/api", "#!/bin/sh\nexit 3\n");
    let log = case.path("tmp/log");
    let mut command = case.command(PROGRAM);
    command.args(["supervise", "bundle.json", "--app-data", "data"]);
    let (mut child, _stdout) = start(&mut command, &log);
    let told = "service api: exited with code 3; it is given up";
    until("it is told", || {
        std::fs::read_to_string(&log).is_ok_and(|said| said.contains(told))
    });
    assert_eq!(interrupt(&mut child), Some(0));
}
