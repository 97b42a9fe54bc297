//! The commands that administer a server: login, token, policy, operator.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::served::Served;
use crate::support::Case;

/// Somebody who knows where the server is and has no token.
fn case_on(served: &Served) -> Case {
    let case = Case::new();
    case.env("STRONGROOM_ADDR", format!("http://{}", served.address));
    case
}

fn kept(case: &Case) -> PathBuf {
    let folder = case.path("state/strongroom/tokens");
    let mut files = std::fs::read_dir(folder).unwrap();
    files.next().unwrap().unwrap().path()
}

#[test]
fn a_login_is_kept_for_its_server_only() {
    let served = Served::dev();
    let case = case_on(&served);
    case.watch(b"canary-of-nobody");
    case.sr("list").code(4).says("strongroom login");
    case.sr("login").stdin("canary-of-nobody").code(4);
    let login = case.sr("login").stdin("root\n").ok();
    login.says("root");
    let file = kept(&case);
    assert_eq!(std::fs::read(&file).unwrap(), b"root");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let value = case.canary("kept");
    case.sr("set app/key").stdin(&value).ok();
    let got = case.sr("get app/key").reveals().ok();
    assert_eq!(got.out(), value);
    // Another server is not sent it.
    let other = Served::dev();
    let line = format!("list --server http://{}", other.address);
    case.sr(&line).code(4).says("there is no token");
    // A variable goes before it.
    case.env("STRONGROOM_TOKEN", "canary-of-nobody");
    case.sr("list").code(4).says("STRONGROOM_TOKEN");
}

#[test]
fn people_and_machines_log_in() {
    let served = Served::dev();
    let ask = |method: &str, path: &str, body: &str| {
        let (status, answer) = served.ask(method, path, "root", body);
        assert!(status < 300, "{path}: {status} {answer}");
        serde_json::from_str::<Value>(&answer).unwrap_or_default()
    };
    ask("POST", "sys/auth/userpass", r#"{"type":"userpass"}"#);
    ask("POST", "sys/auth/approle", r#"{"type":"approle"}"#);
    let case = case_on(&served);
    let password = case.canary("password");
    let body = format!(r#"{{"password":"{password}","token_policies":["reader"]}}"#);
    ask("POST", "auth/userpass/users/ann", &body);
    case.sr("login --method userpass --username ann")
        .stdin("canary-wrong")
        .code(5);
    let login = case.sr("login --method userpass --username ann --json");
    let login: Value = serde_json::from_str(&login.stdin(&password).ok().out()).unwrap();
    assert_eq!(login["display_name"], "userpass-ann");
    assert_eq!(login["policies"], serde_json::json!(["default", "reader"]));
    case.leave_open(&kept(&case));
    ask(
        "POST",
        "auth/approle/role/ci",
        r#"{"token_policies":["reader"]}"#,
    );
    let role = ask("GET", "auth/approle/role/ci/role-id", "");
    let role_id = role["data"]["role_id"].as_str().unwrap();
    let secret = ask("POST", "auth/approle/role/ci/secret-id", "{}");
    let secret_id = secret["data"]["secret_id"].as_str().unwrap();
    case.watch(secret_id.as_bytes());
    let line = format!("login --method approle --role-id {role_id}");
    case.sr(&line).stdin(secret_id).ok().says("approle");
}

#[test]
fn tokens_are_made_seen_and_ended() {
    let served = Served::dev();
    let case = case_on(&served);
    case.sr("login").stdin("root").ok();
    let made = case
        .sr("token create --policy default --ttl 1h --json")
        .ok();
    let made: Value = serde_json::from_str(&made.out()).unwrap();
    let (token, accessor) = (made["token"].as_str().unwrap(), made["accessor"].as_str());
    let accessor = accessor.unwrap();
    let plain = case.sr("token create --policy default").ok();
    assert!(plain.out().starts_with("hvs."), "{}", plain.out());
    let seen = case.sr(&format!("token lookup --accessor {accessor}")).ok();
    seen.prints("default");
    // The one who was given it sees it, and makes it live on.
    let other = case_on(&served);
    other.env("STRONGROOM_TOKEN", token);
    let own = other.sr("token lookup --json").ok();
    let own: Value = serde_json::from_str(&own.out()).unwrap();
    assert_eq!(own["accessor"], made["accessor"]);
    assert!(own.get("id").is_none(), "{own}");
    other.sr("token renew --increment 30m").ok().says("renewed");
    other.sr("policy list").code(4);
    case.sr(&format!("token revoke --accessor {accessor} --yes"))
        .ok();
    other.sr("token lookup").code(4);
    // One's own goes with the file that kept it.
    let file = kept(&case);
    case.sr("token revoke").code(2).says("needs a yes");
    case.sr("token revoke --yes").ok();
    assert!(!file.exists());
}

#[test]
fn policies_are_written_and_read() {
    let served = Served::dev();
    let case = case_on(&served);
    case.env("STRONGROOM_TOKEN", "root");
    let text = "path \"secret/data/app/*\" {\n  capabilities = [\"read\"]\n}\n";
    case.write("app.hcl", text);
    case.sr("policy write app app.hcl").ok();
    assert_eq!(case.sr("policy read app").ok().out(), text);
    case.sr("policy list").ok().prints("app");
    case.write("bad.hcl", "path \"x\" { capabilities = [\"fly\"] }");
    case.sr("policy write app bad.hcl").code(5).says("fly");
    case.sr("policy delete app --yes").ok();
    case.sr("policy read app").code(3).says("policy list");
    case.sr("policy list --server").code(2);
}

#[test]
fn a_server_is_made_opened_and_closed() {
    let served = Served::empty();
    let case = case_on(&served);
    let status = case.sr("operator status").code(7);
    status.prints("not initialised");
    let made = case
        .sr("operator init --shares 3 --threshold 2 --json")
        .ok();
    let made: Value = serde_json::from_str(&made.out()).unwrap();
    let shares: Vec<&str> = made["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| share.as_str().unwrap())
        .collect();
    assert_eq!(shares.len(), 3);
    case.sr("operator init").code(5);
    case.sr("operator unseal")
        .stdin(shares[0])
        .ok()
        .prints("1 of 2");
    case.sr("operator unseal --reset").ok().prints("0 of 2");
    case.sr("operator unseal").stdin(shares[2]).ok();
    case.sr("operator unseal")
        .stdin(shares[1])
        .ok()
        .prints("unsealed");
    case.sr("operator status").ok();
    case.sr("login")
        .stdin(made["root_token"].as_str().unwrap())
        .ok();
    case.sr("operator seal --yes").ok();
    case.sr("operator status").code(7).prints("sealed");
    case.sr("list").code(7).says("strongroom operator unseal");
}

#[test]
fn without_a_server_they_say_how_to_name_one() {
    let case = Case::new();
    for line in ["login", "token lookup", "policy list", "operator status"] {
        case.sr(line).code(2).says("--server");
    }
}

#[test]
fn the_policies_of_a_manifest_come_to_a_server() {
    let served = Served::dev();
    let case = case_on(&served);
    case.env("STRONGROOM_TOKEN", "root");
    let server = format!("--server http://{}", served.address);
    let manifest = |more: &str| {
        case.manifest(&format!(
            "[rotation.jwt]\npattern = \"jwt/*\"\nevery = \"30d\"\nowner = \"platform\"\n\
             overlap = \"3d\"\nwait = \"consumers\"\njitter = \"1h\"\n{more}\
             [secrets.JWT_KEY]\npath = \"jwt/key\"\n\
             generator = {{ type = \"hex\", length = 40 }}\n"
        ));
    };
    let name = |project: &Value, suffix: &str| {
        let rows = project["policies"].as_array().unwrap();
        let found = rows
            .iter()
            .find(|row| row["name"].as_str().unwrap().ends_with(suffix));
        found.unwrap().clone()
    };
    let more =
        "[rotation.yearly]\npattern = \"x/*\"\nschedule = \"cron(0 8 1 1 ? *)\"\nwindow = \"2h\"\n";
    manifest(more);
    let push = |flags: &str| -> Value {
        let line = format!("rotate policies push --json {flags} {server}");
        serde_json::from_str(&case.sr(&line).ok().out()).unwrap()
    };
    let list = format!("rotate policies list --json {server}");
    let listed = || -> Value { serde_json::from_str(&case.sr(&list).ok().out()).unwrap() };
    assert_eq!(push("--dry-run")["policies"].as_array().unwrap().len(), 3);
    assert_eq!(listed()["policies"], serde_json::json!([]));
    let first = push("--prefix app");
    let jwt = name(&first, "-jwt");
    assert_eq!(
        (&jwt["pattern"], &jwt["owner"]),
        (&"app/jwt/*".into(), &"platform".into())
    );
    let (status, _) = served.ask(
        "PUT",
        "secret/data/app/jwt/key",
        "root",
        r#"{"data":{"a":"b"}}"#,
    );
    assert_eq!(status, 200);
    let again = push("--prefix app");
    let key = name(&again, "-JWT_KEY");
    assert_eq!(key["pattern"], "app/jwt/key", "{again}");
    assert_eq!(key["secrets_set_up"], 1, "{again}");
    let found = listed();
    let rows = found["policies"].as_array().unwrap();
    let jwt = rows
        .iter()
        .find(|row| row["pattern"] == "app/jwt/*")
        .unwrap();
    assert_eq!(
        (&jwt["wait"], &jwt["overlap"], &jwt["jitter"]),
        (&"consumers".into(), &"3d".into(), &"1h".into())
    );
    let status = case.sr(&format!("rotate status --json {server}")).ok();
    let status: Value = serde_json::from_str(&status.out()).unwrap();
    let row = &status["rotations"][0];
    assert_eq!(
        (&row["name"], &row["waits_for"]),
        (&"app/jwt/key".into(), &"consumers".into()),
        "{status}"
    );
    // What is not in the manifest any more is named, and stays.
    manifest("");
    let last = push("--prefix app");
    assert_eq!(
        last["not_in_the_manifest"].as_array().unwrap().len(),
        1,
        "{last}"
    );
    manifest("[rotation.bad]\npattern = \"y\"\nschedule = \"cron(8)\"\n");
    case.sr(&format!("rotate policies push {server}"))
        .code(5)
        .says("schedule");
    case.manifest("[secrets.A]\n");
    case.sr(&format!("rotate policies push {server}"))
        .code(5)
        .says("[rotation.jwt]");
}
