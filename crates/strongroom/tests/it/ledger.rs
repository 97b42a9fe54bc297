//! The ledger: every delivery is a row, and what was given away is replaced.

use serde_json::Value;

use crate::support::Case;

const MANIFEST: &str = r#"
[secrets.TOKEN]
class = "per_install_generated"
format = "[0-9a-f]{40}"
generator = { type = "hex", length = 40 }
[secrets.TYPED]
class = "user_prompt"
[secrets.PORT]
sensitive = false
default = "3000"
"#;

/// A case with a value for each secret.
fn case() -> Case {
    let case = Case::with_manifest(MANIFEST);
    let token = "00ab".repeat(10);
    case.watch(token.as_bytes());
    case.set("TOKEN", &token);
    let typed = case.canary("typed");
    case.set("TYPED", typed);
    case
}

fn report(case: &Case, line: &str) -> Value {
    case.sr(line).ok().json()
}

/// Channel, person, place and how often, of exposures.
fn rows(report: &Value) -> Vec<String> {
    let rows = report["exposures"].as_array().unwrap().iter();
    rows.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let (secret, version) = (text("secret"), text("secret_version"));
        let secret = secret.rsplit('/').next().unwrap().to_owned();
        let (how, to, value) = (text("channel"), text("to"), text("standing"));
        format!("{secret} v{version} {how} {to} {} {value}", row["count"])
    })
    .collect()
}

#[test]
fn every_delivery_is_a_row() {
    let case = case();
    case.sr("run -- true").ok();
    case.sr("run -- true").ok();
    case.sr("run --only TYPED -- /bin/echo started").ok();
    case.sr("get TYPED").reveals().ok();
    case.sr("export").reveals().ok();
    let file = case.in_project("out.env");
    case.leave_open(&file);
    case.sr("export --output out.env").ok();
    case.sr("sync --from store --to dotenv:other.env --yes")
        .ok();
    case.leave_open(&case.in_project("other.env"));
    case.sr("backup ../home/all.backup").ok();
    let place = format!("file {}", file.display());
    let found = report(&case, "ledger where TYPED --json");
    let mut found = rows(&found);
    found.sort();
    let dotenv = found.iter().find(|row| row.contains(" sync ")).cloned();
    let dotenv = dotenv.unwrap_or_default();
    let expected = [
        "TYPED v1 backup file ../home/all.backup 1 current".to_owned(),
        "TYPED v1 export another program 1 current".to_owned(),
        format!("TYPED v1 export {place} 1 current")
            .replace(&file.display().to_string(), "out.env"),
        "TYPED v1 reveal another program 1 current".to_owned(),
        "TYPED v1 run echo 1 current".to_owned(),
        "TYPED v1 run true 2 current".to_owned(),
        dotenv.clone(),
    ];
    assert_eq!(found, expected);
    assert!(dotenv.contains("other.env"), "{dotenv}");
    // What was not given to it is not there, and a plain setting is no secret.
    let token = rows(&report(&case, "ledger where TOKEN --json"));
    assert!(!token.iter().any(|row| row.contains("echo")), "{token:?}");
    assert!(rows(&report(&case, "ledger where PORT --json")).is_empty());
    // By person, by channel, one of them.
    let who = rows(&report(&case, "ledger who tester --json"));
    assert_eq!(who.len(), found.len() + token.len());
    let list = report(&case, "ledger list --channel run --json");
    let list = list["deliveries"].as_array().unwrap();
    assert_eq!(list.len(), 3);
    let id = list[0]["id"].as_str().unwrap();
    let shown = report(&case, &format!("ledger show {} --json", &id[..20]));
    assert_eq!(shown["delivery"]["to"], "echo");
    assert_eq!(shown["delivery"]["secrets"][0]["secret_version"], "1");
    case.sr("ledger show 00ff").code(3).says("ledger list");
    case.sr("ledger list").ok().prints("echo");
    case.sr("ledger who nobody").ok().says("nothing");
    case.sr("doctor").ok();
}

#[test]
fn what_is_drawn_for_a_run_is_noted_with_its_version() {
    let case = Case::with_manifest(MANIFEST);
    let typed = case.canary("typed");
    case.set("TYPED", typed);
    let row = |version| format!("TOKEN v{version} run true 1 ");
    case.sr("run --only TOKEN -- true").ok();
    let found = rows(&report(&case, "ledger where TOKEN --json"));
    assert_eq!(found, [format!("{}current", row(1))]);
    // What was removed is drawn anew.
    case.sr("rm TOKEN --yes").ok();
    case.sr("run --only TOKEN -- true").ok();
    let found = rows(&report(&case, "ledger where TOKEN --json"));
    assert!(found.contains(&format!("{}current", row(2))), "{found:?}");
}

#[test]
fn what_other_backends_have_is_noted_where_a_store_lies_beside() {
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"dotenv:.env\"]\n[secrets.MAIL_TOKEN]\n",
    );
    let value = case.canary("mail");
    case.write_open(".env", format!("MAIL_TOKEN={value}\n"));
    // Without a store nothing is noted, and none is made for it.
    case.sr("run -- true").ok();
    assert!(!case.store("store.db").exists());
    let home = case.path("home");
    case.sr("set /other").dir(&home).stdin("x-Kd83ls0").ok();
    assert!(case.store("store.db").exists());
    case.sr("run -- true").ok();
    case.sr("get MAIL_TOKEN").reveals().ok();
    let file = case.in_project("out.env");
    case.leave_open(&file);
    case.sr("export --output out.env").ok();
    let list = report(&case, "ledger list --json");
    let rows: Vec<String> = list["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let secret = &row["secrets"][0];
            format!(
                "{} {} {}",
                row["channel"], secret["secret"], secret["source"]
            )
        })
        .collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (row, channel) in rows.iter().zip(["export", "reveal", "run"]) {
        let begin = format!("\"{channel}\" \"shop/development/MAIL_TOKEN\" \"");
        assert!(row.starts_with(&begin) && row.contains(".env"), "{row}");
    }
}

/// A bundle holds no value; who has it fetches those that it refers to.
#[test]
fn a_bundle_that_fetches_is_a_row_of_each_secret_that_it_opens() {
    let case = case();
    let bundle = serde_json::json!({
        "schema_version": "v0.1", "target": "desktop",
        "app": { "name": "Shop", "version": "1.0.0" },
        "ipc": { "mode": "loopback-http", "host": "127.0.0.1", "port": 47710,
            "auth_token_path": "runtime/auth-token" },
        "telemetry": { "file": "telemetry/app.jsonl" },
        "ports": { "default_range": { "min": 47000, "max": 47999 } },
        "swaps": [],
        "secrets": [{ "id": "stripe", "class": "remote_fetch", "required": true,
            "description": "of the shop", "target": { "type": "env", "name": "STRIPE" },
            "vault": { "type": "openbao", "path": "secret/data/pay/stripe", "key": "value" } }],
        "services": [{ "id": "api", "type": "api-binary", "description": "the shop",
            "binaries": { "linux-x64": { "path": "bin/api" } },
            "env": {}, "secrets": ["stripe"], "data_dirs": ["data"], "log_dir": "logs/api.log",
            "ports": { "requested": [{ "name": "http", "range": { "min": 47000, "max": 47010 } }] },
            "health": { "type": "http", "path": "/health", "port_name": "http" },
            "readiness": { "type": "health_success", "port_name": "http" },
            "dependencies": [], "assets": [], "migrations": [], "critical": true }]
    });
    case.write("bundle.json", bundle.to_string());
    case.sr("bundle assemble --bundle bundle.json -o out.json")
        .ok();
    let list = report(&case, "ledger list --channel bundle --json");
    let row = &list["deliveries"][0];
    assert_eq!(row["to"], "bundle out.json");
    let secret = &row["secrets"][0];
    assert_eq!(secret["secret"], "pay/stripe");
    assert_eq!(secret["source"], "reference to openbao");
    // Revoked, it is due until somebody says that it was replaced.
    case.sr("ledger revoke --who tester --yes").ok();
    let due = report(&case, "ledger due --json");
    let due = due["due"].as_array().unwrap().iter();
    let due: Vec<&Value> = due.map(|row| &row["secret"]).collect();
    assert!(due.contains(&&Value::from("pay/stripe")), "{due:?}");
    case.sr("ledger done pay/stripe").ok();
}

#[test]
fn what_is_not_delivered_is_no_row() {
    let case = Case::with_manifest(MANIFEST);
    case.sr("run -- true").code(5);
    case.sr("check").code(5);
    case.sr("get TYPED").code(3);
    assert!(rows(&report(&case, "ledger who tester --json")).is_empty());
}

#[test]
fn what_was_given_away_is_rotated_or_marked_until_it_is_replaced() {
    let case = case();
    case.sr("run -- true").ok();
    case.sr("ledger due --exit-code").ok();
    let line = "ledger revoke --who tester --reason left --yes --json";
    let planned = report(&case, &format!("{line} --dry-run"));
    let actions = |report: &Value| -> Vec<String> {
        let rows = report["secrets"].as_array().unwrap().iter();
        let mut rows: Vec<String> = rows
            .map(|row| format!("{} {}", row["secret"], row["action"]).replace('"', ""))
            .collect();
        rows.sort();
        rows
    };
    let plan = [
        "shop/development/TOKEN rotate",
        "shop/development/TYPED mark",
    ];
    assert_eq!(actions(&planned), plan);
    // A dry run does nothing.
    assert_eq!(
        report(&case, "history TOKEN --json")["versions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        report(&case, "ledger due --json")["due"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    case.sr("ledger revoke --who tester --non-interactive")
        .code(2);
    let done = report(&case, line);
    let did = [
        "shop/development/TOKEN rotated",
        "shop/development/TYPED marked",
    ];
    assert_eq!(actions(&done), did);
    assert_eq!(
        report(&case, "history TOKEN --json")["versions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let due = report(&case, "ledger due --json");
    let [row] = due["due"].as_array().unwrap().as_slice() else {
        panic!("{due}")
    };
    assert_eq!(row["secret"], "shop/development/TYPED");
    assert_eq!(row["reason"], "left");
    assert!(row["by"].as_str().unwrap().starts_with("tester (uid "));
    assert_eq!(row["fix"], "strongroom set TYPED");
    case.sr("ledger due --exit-code")
        .code(10)
        .prints("strongroom set TYPED");
    case.sr("ledger done TYPED")
        .code(6)
        .says("still has the value");
    // Rows are revoked for good; what is current since is not exposed.
    let exposures = report(&case, "ledger who tester --json");
    for row in exposures["exposures"].as_array().unwrap() {
        let by = row["revoked"]["by"].as_str().unwrap();
        assert!(by.starts_with("tester (uid "), "{row}");
        assert_eq!(
            row["due"],
            row["secret"] == "shop/development/TYPED",
            "{row}"
        );
    }
    let newer = case.canary("newer");
    case.set("TYPED", newer);
    case.sr("ledger due --exit-code").ok();
    let exposures = report(&case, "ledger where TYPED --json");
    assert_eq!(exposures["exposures"][0]["standing"], "replaced");
    assert_eq!(exposures["exposures"][0]["due"], false);
    case.sr("ledger revoke --secret TYPED --yes")
        .ok()
        .says("replaced already");
    case.sr("ledger done TYPED").ok();
    case.sr("ledger done TYPED").code(3);
    case.sr("ledger revoke --who nobody").code(3);
    case.sr("ledger revoke").code(2);
    case.sr("doctor").ok();
}

#[test]
fn a_delivery_is_revoked_by_its_id() {
    let case = case();
    case.sr("get TYPED").reveals().ok();
    case.sr("run -- true").ok();
    let list = report(&case, "ledger list --channel reveal --json");
    let id = list["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let done = report(
        &case,
        &format!("ledger revoke --delivery {id} --yes --json"),
    );
    assert_eq!(
        (&done["exposures"], &done["secrets"][0]["action"]),
        (&1.into(), &"marked".into())
    );
    let exposures = report(&case, "ledger where TYPED --json");
    let revoked = exposures["exposures"].as_array().unwrap().iter();
    let revoked: Vec<(&str, bool)> = revoked
        .map(|row| (row["channel"].as_str().unwrap(), row["revoked"].is_object()))
        .collect();
    assert!(revoked.contains(&("reveal", true)) && revoked.contains(&("run", false)));
}
