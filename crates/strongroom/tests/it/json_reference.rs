//! docs/reference/json.md shows what every command prints with `--json`: the document is the
//! golden file. `STRONGROOM_BLESS=1 cargo test` writes it anew; read the difference.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::userkeys;

use crate::served::Served;
use crate::support::Case;
use crate::support::Outcome;

const DOCUMENT: &str = "../../docs/reference/json.md";
/// Which commands the document shows, in this order, with what they read.
const STEPS: [(&str, &str); 59] = [
    ("init --yes --name shop --json", ""),
    ("import more.env --yes --json", ""),
    ("set JWT_SECRET --json", "Zt5nVb8qLw2xRk7mHs4dGc9f"),
    (
        "set JWT_SECRET --profile staging --json",
        "Qy3jTg6wNe1zUb8rXv5kMh2p",
    ),
    ("get JWT_SECRET --json", ""),
    ("list --json", ""),
    ("history JWT_SECRET --json", ""),
    ("rollback JWT_SECRET --json", ""),
    ("tag JWT_SECRET team=payments --owner ops --json", ""),
    ("rm JWT_SECRET --json", ""),
    ("undelete JWT_SECRET --json", ""),
    ("destroy JWT_SECRET --versions 1 --yes --json", ""),
    ("cp JWT_SECRET old/jwt --json", ""),
    ("mv old/jwt older/jwt --json", ""),
    ("diff staging --json", ""),
    ("check --json", ""),
    ("cache status --json", ""),
    ("cache clear --json", ""),
    ("run --json -- ./server", ""),
    ("export --json", ""),
    ("status --json", ""),
    ("doctor --json", ""),
    ("audit --limit 2 --json", ""),
    ("ledger list -n 1 --json", ""),
    ("ledger where JWT_SECRET --json", ""),
    (
        "ledger revoke --secret JWT_SECRET --reason leaked --dry-run --json",
        "",
    ),
    ("ledger due --json", ""),
    ("key add key-file ../home/spare.key --json", ""),
    ("key add recovery --json", ""),
    ("key list --json", ""),
    ("key remove 2 --yes --json", ""),
    ("key rotate --json", ""),
    (
        "migrate --from dotenv:more.env --to store:/moved --dry-run --json",
        "",
    ),
    (
        "migrate --from dotenv:more.env --to store:/moved --yes --json",
        "",
    ),
    ("migrate status --json", ""),
    ("migrate verify --json", ""),
    ("migrate rollback --yes --json", ""),
    (
        "sync --from store:/shop --to store:/copy --dry-run --json",
        "",
    ),
    ("backup ../home/all.backup --from store:/shop --json", ""),
    ("restore ../home/all.backup --verify --json", ""),
    ("rotate JWT_SECRET --dry-run --json", ""),
    ("rotate JWT_SECRET --json", ""),
    ("rotate status --json", ""),
    ("rotate history JWT_SECRET --json", ""),
    ("rotate calendar --json", ""),
    (
        "operator migrate-storage --from ../data/strongroom/store.db --to ../home/moved/store.db \
         --json",
        "",
    ),
    ("plan --tier desktop --json", ""),
    ("identify desktop --json", ""),
    ("template desktop --json", ""),
    ("validate desktop --json", ""),
    ("fitness --tier desktop --explain --json", ""),
    ("swaps list --tier mobile --json", ""),
    ("swaps info redis in-process --json", ""),
    ("swaps analyze redis in-process --json", ""),
    ("swaps apply shop-desktop postgres sqlite --json", ""),
    ("bundle lint bundle.json --compat --json", ""),
    ("scan .env --json", ""),
    ("get NOTHING --json", ""),
    ("chekc --json", ""),
];

/// The same on a server that is new; `[SHARE]` and `[ROOT]` are what its first step gave.
const STEPS_ON_SERVER: [(&str, &str); 18] = [
    ("operator init --shares 1 --threshold 1 --json", ""),
    ("operator unseal --json", "[SHARE]"),
    ("operator status --json", ""),
    ("login --json", "[ROOT]"),
    ("token create --policy default --ttl 1h --json", ""),
    ("token lookup --json", ""),
    ("auth aws-key create --policy default --name ci --json", ""),
    ("auth aws-key list --json", ""),
    ("auth aws-key rotate [KEY] --json", ""),
    ("auth aws-key revoke [KEY] --yes --json", ""),
    ("policy write reader reader.hcl --json", ""),
    ("policy list --json", ""),
    ("policy read reader --json", ""),
    ("policy delete reader --yes --json", ""),
    ("lease list --json", ""),
    (
        "lease revoke --prefix database/creds/readonly --yes --json",
        "",
    ),
    ("lease doctor --json", ""),
    ("operator seal --yes --json", ""),
];

/// The same for users' keys, in an application's database.
const STEPS_ON_USERS: [(&str, &str); 11] = [
    (
        "userkeys attach --table user_secrets --flat-names --yes --json",
        "",
    ),
    ("userkeys status --json", ""),
    ("userkeys encrypt --json", ""),
    ("userkeys rotate-key --json", ""),
    ("userkeys set u1 openai/api_key --json", "sk-8Hn2Lq5Vx1Tz"),
    ("userkeys get u1 openai/api_key --json", ""),
    ("userkeys list u1 --json", ""),
    ("userkeys export u1 --json", ""),
    ("userkeys rm u1 openai/api_key --yes --json", ""),
    ("userkeys erase u1 --yes --json", ""),
    ("userkeys rollback --to-plain --yes --json", ""),
];

#[test]
fn the_reference_shows_what_every_command_prints() {
    let mut shown = run_all();
    shown.extend(run_on_server());
    shown.extend(run_on_users());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = std::fs::read_to_string(&path).unwrap();
    let expected = with_blocks(&document, &shown);
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    for (line, expected) in document.lines().zip(expected.lines()) {
        assert_eq!(
            line, expected,
            "docs/reference/json.md is not what is printed"
        );
    }
    assert_eq!(document.lines().count(), expected.lines().count());
}

/// What each command prints, by its line.
fn run_all() -> BTreeMap<String, String> {
    let case = Case::new();
    case.write(
        ".env",
        "DATABASE_URL=postgres://app:Vx7kPq2mWz9rTn4b@db.internal/shop\n\
         JWT_SECRET=Hd8sKf3jLp6wQz1xCv5bNm9a\n\
         STRIPE_KEY=changeme\nPORT=3000\n",
    );
    case.write(
        "more.env",
        "MAIL_PASSWORD=Rb4tYh7uJm2kLo9p\nMAIL_HOST=mail.internal\n",
    );
    case.write(
        "strongroom.deploy.toml",
        "[profiles.shop-desktop]\ntiers = [2]\n",
    );
    case.write(
        "bundle.json",
        r#"{"schema_version": "v0.1", "target": "dekstop", "app": {"name": "a", "version": "1"},
        "ipc": {"mode": "loopback-http", "host": "127.0.0.1", "port": 47710,
                "auth_token_path": "runtime/auth-token"}, "telemetry": {"file": "events"},
        "services": [{"id": "api", "type": "worker", "binaries": {"linux-x64": {"path": "a"}},
                      "health": {"type": "tcp"}, "readiness": {}}]}"#,
    );
    let kit = Regex::new("SRK1-[A-Z0-9-]+").unwrap();
    let seconds = Regex::new("\"seconds\": [0-9.]+").unwrap();
    let seals = Regex::new("\"seals\": \\d+").unwrap();
    let version = Regex::new("\"version_id\": \"[A-Za-z0-9]+\"").unwrap();
    let mut shown = BTreeMap::new();
    for (line, stdin) in STEPS {
        if line.starts_with("export") {
            case.set("STRIPE_KEY", "Mx2vBn7cLk4jHg9f");
        }
        let outcome = case.sr(line).stdin(stdin).reveals().output();
        let (_, pretty) = printed(line, &outcome);
        let text = case.normal(&pretty);
        let text = kit.replace_all(&text, "[KIT]");
        let text = seals.replace_all(&text, "\"seals\": 60");
        let text = seconds.replace_all(&text, "\"seconds\": 0.1");
        let text = version.replace_all(&text, "\"version_id\": \"[VERSION]\"");
        shown.insert(line.to_owned(), text.into_owned());
    }
    shown
}

/// What a command printed, as a value and as it stands in the document.
fn printed(line: &str, outcome: &Outcome) -> (Value, String) {
    let printed = match outcome.stdout.as_slice() {
        [] => outcome.err(),
        _ => outcome.out(),
    };
    let value: Value =
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{line}: {error}: {printed}"));
    let is_versioned = value["version"] == 1 || line.starts_with("export");
    assert!(is_versioned, "{line} has no version: {printed}");
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    (value, pretty)
}

fn run_on_server() -> BTreeMap<String, String> {
    let served = Served::empty();
    let case = Case::new();
    case.env("STRONGROOM_ADDR", format!("http://{}", served.address));
    case.write(
        "reader.hcl",
        "path \"secret/data/app/*\" { capabilities = [\"read\"] }\n",
    );
    let port = served.address.port().to_string();
    let token = Regex::new("hvs\\.[A-Za-z0-9]+").unwrap();
    let accessor = Regex::new("\"accessor\": \"[A-Za-z0-9]+\"").unwrap();
    let access_key = Regex::new("A[KS]IA[A-Z2-7]{16}").unwrap();
    let secret = Regex::new("\"secret_access_key\": \"[A-Za-z0-9]+\"").unwrap();
    let (mut share, mut root, mut key) = (String::new(), String::new(), String::new());
    let mut shown = BTreeMap::new();
    for (line, stdin) in STEPS_ON_SERVER {
        let stdin = stdin.replace("[SHARE]", &share).replace("[ROOT]", &root);
        let typed = line.replace("[KEY]", &key);
        let outcome = case.sr(&typed).stdin(&stdin).reveals().output();
        let (value, pretty) = printed(line, &outcome);
        if line.starts_with("auth aws-key create") {
            key = value["access_key_id"].as_str().unwrap().to_owned();
        }
        if line.starts_with("operator init") {
            share = value["shares"][0].as_str().unwrap().to_owned();
            root = value["root_token"].as_str().unwrap().to_owned();
        }
        let text = case.normal(&pretty).replace(&port, "8200");
        let text = text.replace(&share, "[SHARE]");
        let text = token.replace_all(&text, "[TOKEN]");
        let text = accessor.replace_all(&text, "\"accessor\": \"[ACCESSOR]\"");
        let text = access_key.replace_all(&text, "[KEY]");
        let text = secret.replace_all(&text, "\"secret_access_key\": \"[SECRET]\"");
        shown.insert(line.to_owned(), text.into_owned());
    }
    shown
}

/// Over rows in clear, and one of pgcrypto's whose key nobody has.
fn run_on_users() -> BTreeMap<String, String> {
    let case = Case::new();
    let server = Postgres::start();
    let sql = |text: &str| server.sql(userkeys::DATABASE, text);
    let _ = sql(userkeys::TABLE);
    for (user, key) in [("u1", "anthropic_api_key"), ("u2", "anthropic_api_key")] {
        userkeys::put_plain(&server, user, key, "sk-ant-3Kd9Wm");
    }
    let _ = sql(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value, secret_value_encrypted)
         VALUES ('u3', 'openai_api_key', '', pgp_sym_encrypt('v', 'a key that is lost'))",
    );
    case.env(
        "STRONGROOM_USERKEYS_DATABASE",
        server.url(userkeys::DATABASE),
    );
    case.sr("init --yes --name shop").ok();
    case.set("/app/other", "value-of-another-secret");
    let port = Regex::new("127\\.0\\.0\\.1:\\d+").unwrap();
    let counted = Regex::new("\"(dead_rows|rows_estimate)\": \\d+").unwrap();
    let bytes = Regex::new("\"bytes\": \\d+").unwrap();
    let seconds = Regex::new("\"seconds\": [0-9.e-]+").unwrap();
    let mut shown = BTreeMap::new();
    for (line, stdin) in STEPS_ON_USERS {
        if line.starts_with("userkeys rollback") {
            let _ = sql("DELETE FROM user_secrets WHERE user_id = 'u3'");
        }
        let outcome = case.sr(line).stdin(stdin).reveals().output();
        let (_, pretty) = printed(line, &outcome);
        let text = case.normal(&pretty);
        let text = port.replace_all(&text, "db.example.com:5432");
        let text = counted.replace_all(&text, "\"$1\": 3");
        let text = bytes.replace_all(&text, "\"bytes\": 65536");
        let text = seconds.replace_all(&text, "\"seconds\": 0.1");
        shown.insert(line.to_owned(), text.into_owned());
    }
    shown
}

/// The document with the block behind each `strongroom …` line replaced.
fn with_blocks(document: &str, shown: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut seen = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let command = line
            .strip_prefix("`strongroom ")
            .and_then(|rest| rest.strip_suffix('`'));
        let Some(command) = command else { continue };
        let block = shown
            .get(command)
            .unwrap_or_else(|| panic!("{command} is not run"));
        seen.push(command);
        text.push_str("\n```json\n");
        text.push_str(block);
        text.push_str("\n```\n");
        let mut rest = lines.by_ref().skip_while(|line| line.is_empty());
        assert_eq!(rest.next(), Some("```json"), "{command} has no block");
        let _ = rest.find(|line| *line == "```");
    }
    let steps = STEPS.iter().chain(&STEPS_ON_SERVER).chain(&STEPS_ON_USERS);
    for (command, _) in steps {
        assert!(seen.contains(command), "{command} is not in the document");
    }
    text
}
