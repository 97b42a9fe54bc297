//! The guide of an application that leaves its `.env` for a secrets manager, step by step, against
//! moto in AWS's place, OpenBao, and the local store: its process, its tests and its table of
//! what may go wrong. Nothing but this program is needed: no library, no script.

use strongroom_testkit::port::Port;

use crate::peers::Moto;
use crate::peers::OpenBao;
use crate::support::Case;

/// The guide's mappings: the secret's name, and the variable it comes from.
const MAPPINGS: [(&str, &str); 8] = [
    ("jwt/secret_key", "JWT_SECRET_KEY"),
    ("encryption/master_key", "ENCRYPTION_MASTER_KEY"),
    ("database/connection_string", "DATABASE_URL"),
    ("openai/api_key", "OPENAI_API_KEY"),
    ("anthropic/api_key", "ANTHROPIC_API_KEY"),
    ("google/api_key", "GOOGLE_API_KEY"),
    ("aws/access_key_id", "AWS_ACCESS_KEY_ID"),
    ("aws/secret_access_key", "AWS_SECRET_ACCESS_KEY"),
];

/// What stays in the `.env`, as the guide's sixth step writes it.
const SETTINGS: &str = "\
# DevSkyy Configuration (non-secrets only)
ENVIRONMENT=production
CORS_ORIGINS=https://devskyy.com,https://app.devskyy.com
LOG_LEVEL=INFO

# AWS Region (for Secrets Manager)
AWS_REGION=us-east-1

# Feature Flags
ENABLE_WEBHOOKS=true
ENABLE_ANALYTICS=true
";

/// The manifest of the application, with a chain.
fn declare(case: &Case, profile: &str, chain: Option<&str>) {
    let mut text = format!("[project]\nname = \"devskyy\"\ndefault_profile = \"{profile}\"\n");
    text.push_str(&format!("[profiles.{profile}]\n"));
    if let Some(chain) = chain {
        text.push_str(&format!("chain = [\"{chain}\", \"env\"]\n"));
    }
    for (path, name) in MAPPINGS.iter().take(6) {
        let required = *name != "GOOGLE_API_KEY";
        text.push_str(&format!(
            "[secrets.{name}]\npath = \"{path}\"\nrequired = {required}\n"
        ));
    }
    case.write("strongroom.toml", text);
}

/// The first step's `.env`: all secrets of the mapping but Google's key.
fn env_file(case: &Case) -> Vec<(&'static str, &'static str, String)> {
    let value = |name: &str| match name {
        "DATABASE_URL" => format!("postgresql://user:{}@host:5432/db", case.canary("")),
        "OPENAI_API_KEY" => case.canary("sk-"),
        "ANTHROPIC_API_KEY" => case.canary("sk-ant-"),
        "AWS_ACCESS_KEY_ID" => case.canary("AKIA"),
        _ => case.canary("key"),
    };
    let there = MAPPINGS.iter().filter(|it| it.1 != "GOOGLE_API_KEY");
    let values: Vec<_> = there
        .map(|(path, name)| (*path, *name, value(name)))
        .collect();
    let mut text = SETTINGS.to_owned();
    for (_, name, value) in &values {
        text.push_str(&format!("{name}={value}\n"));
    }
    case.write_open(".env", text);
    let map = MAPPINGS.map(|(path, name)| format!("\"{path}\" = \"{name}\"\n"));
    case.write("map.toml", map.concat());
    values
}

/// Steps 1 to 7, and the tests that follow them.
fn the_whole_process(case: &Case, to: &str, chain: &str) {
    declare(case, "development", Some(chain));
    let values = env_file(case);
    case.write(".git/HEAD", "ref: refs/heads/main\n");
    case.write(".gitignore", "node_modules\n");

    // Step 1: the inventory. Nothing is shown, nothing is written.
    let line = format!("migrate --from dotenv:.env --to {to} --map map.toml");
    let inventory = case.sr(&format!("{line} --dry-run")).ok();
    for (path, name, _) in &values {
        let out = inventory.out();
        assert!(out.contains(name) && out.contains(path), "{name}\n{out}");
    }
    inventory.prints("GOOGLE_API_KEY");

    // Steps 2 and 3: the mapping, and the move.
    let mut moved = case.sr(&format!("{line} --yes")).ok();
    for (path, name, _) in &values {
        // A store has a folder for each project and profile.
        let place = match to {
            "store" => format!("devskyy/development/{path}"),
            _ => (*path).to_owned(),
        };
        moved = moved.prints(&format!("✓ migrated {name} → {place}"));
    }
    moved.prints("⚠ skipped GOOGLE_API_KEY (not set)");

    // Step 4: verify.
    case.sr("migrate verify").ok().prints("7 of 7");
    for (path, _, value) in &values {
        assert_eq!(case.get(path), value.as_bytes(), "{path}");
    }
    let list = case.sr("list --json").ok().out();
    assert!(list.contains("jwt/secret_key"), "{list}");
    let known = case.sr("history jwt/secret_key --json").ok().json();
    assert_eq!(known["tags"]["migrated_from"], "env");

    // Step 5: the application's configuration names the backend, and says so.
    case.sr("status").ok().prints(chain);
    case.sr("check").ok().prints(chain);

    // Step 6: the secrets are out of the .env, everything else is as it was, and the copy of
    // before is not in clear: the case's search finds no value anywhere when it ends.
    assert_eq!(String::from_utf8(case.read(".env")).unwrap(), SETTINGS);
    assert!(!case.in_project(".env.backup").exists());

    // Step 7.
    assert_eq!(
        String::from_utf8(case.read(".gitignore")).unwrap(),
        "node_modules\n.env\n.env.backup\n"
    );
    the_tests(case, &values);
    rotation_by_hand(case);
    backup_and_tags(case, to);
}

/// The guide's tests 1 to 3.
fn the_tests(case: &Case, values: &[(&str, &str, String)]) {
    let value_of = |wanted: &str| {
        let mut found = values.iter().filter(|(_, name, _)| *name == wanted);
        found.next().unwrap().2.clone()
    };
    // Test 1: retrieval, by the declared name and by the path.
    let jwt = value_of("JWT_SECRET_KEY");
    for name in ["JWT_SECRET_KEY", "jwt/secret_key"] {
        assert_eq!(case.get(name), jwt.as_bytes());
    }
    let url = value_of("DATABASE_URL");
    assert_eq!(case.get("database/connection_string"), url.as_bytes());

    // Test 2: the manager first, then the variable; never the variable where the manager has it.
    let of_the_variable = case.canary("of-the-variable");
    let get = |name: &str| {
        let run = case.run(&["get", name]).env(name, &of_the_variable);
        run.reveals().ok().stdout
    };
    assert_eq!(get("GOOGLE_API_KEY"), of_the_variable.as_bytes());
    assert_eq!(get("JWT_SECRET_KEY"), jwt.as_bytes());

    // Test 3: the application gets them, and the log says from where.
    let script = "test \"$JWT_SECRET_KEY\" = \"$EXPECTED\" && test -n \"$DATABASE_URL\" && \
                  test -n \"$ENCRYPTION_MASTER_KEY\" && echo \"started with $JWT_SECRET_KEY\"";
    let started = case
        .run(&["run", "--inherit-env", "--", "sh", "-c", script])
        .env("EXPECTED", &jwt)
        .ok();
    started
        .prints("started with [redacted:JWT_SECRET_KEY]")
        .says("injected 5");
    let checked = case.sr("check --json").ok().json();
    for secret in checked["secrets"].as_array().unwrap() {
        if secret["name"] != "GOOGLE_API_KEY" {
            assert_eq!(secret["status"], "ok", "{secret}");
            assert!(secret["source"].is_string(), "{secret}");
        }
    }
}

/// A new value has a new version, and the next start has it: the guide's last trouble.
fn rotation_by_hand(case: &Case) {
    let before = case.get("JWT_SECRET_KEY");
    let rotated = case.canary("rotated");
    case.sr("set JWT_SECRET_KEY")
        .stdin(&rotated)
        .ok()
        .says("version");
    let started = case
        .run(&["run", "--no-redact", "--", "printenv", "JWT_SECRET_KEY"])
        .reveals()
        .ok();
    assert_eq!(started.out().trim_end(), rotated);
    case.sr("rollback JWT_SECRET_KEY").ok();
    assert_eq!(case.get("JWT_SECRET_KEY"), before);
}

/// The best practices that are commands: tags, and an encrypted backup of everything.
fn backup_and_tags(case: &Case, to: &str) {
    case.sr("tag OPENAI_API_KEY environment=production service=devskyy compliance=pci-dss")
        .ok()
        .says("compliance=pci-dss");
    case.sr(&format!("backup all.backup --from {to}")).ok();
    case.sr("restore all.backup --verify")
        .ok()
        .prints("7 secrets");
    case.sr("restore all.backup --to store:/elsewhere --yes")
        .ok();
    let copied = case.get("/elsewhere/openai/api_key");
    assert_eq!(copied, case.get("OPENAI_API_KEY"));
}

#[test]
fn the_process_with_aws() {
    let moto = Moto::start();
    let case = Case::new();
    moto.lead(&case);
    // What another client has written is read, with its description.
    let jwt = case.canary("by-the-cli");
    moto.call(
        "CreateSecret",
        &format!(
            "{{\"Name\":\"by/the_cli\",\"Description\":\"JWT signing secret\",\
             \"SecretString\":\"{jwt}\"}}"
        ),
    );
    declare(&case, "development", Some("aws:us-east-1/"));
    assert_eq!(case.get("by/the_cli"), jwt.as_bytes());
    let known = case.sr("history by/the_cli --json").ok().json();
    assert_eq!(known["description"], "JWT signing secret");
    case.sr("destroy by/the_cli --yes").ok();
    the_whole_process(&case, "aws:us-east-1/", "aws:us-east-1/");
    let described = moto.call("DescribeSecret", r#"{"SecretId":"openai/api_key"}"#);
    assert!(described.contains("pci-dss"), "{described}");
}

#[test]
fn the_process_with_vault() {
    let bao = OpenBao::start();
    let case = Case::new();
    bao.lead(&case);
    // The guide's own keys are for AWS; here they are secrets like others.
    let jwt = case.canary("by-the-cli");
    let body = format!("{{\"data\":{{\"value\":\"{jwt}\"}}}}");
    bao.ask("POST", "secret/data/by/the_cli", &body);
    declare(&case, "development", Some("vault:secret"));
    assert_eq!(case.get("by/the_cli"), jwt.as_bytes());
    case.sr("destroy by/the_cli --yes").ok();
    the_whole_process(&case, "vault:secret", "vault:secret");
    let kept = bao.ask("GET", "secret/data/jwt/secret_key", "");
    assert!(kept.contains("\"value\":"), "{}", kept.len());
}

#[test]
fn the_process_with_the_local_store() {
    let case = Case::new();
    the_whole_process(&case, "store", "store");
    // Outside of the project's folder nothing is kept: no folder of files, no key beside it.
    assert!(!case.in_project("secrets").exists());
}

/// Without a manifest: the variable says where, and names are the manager's own.
#[test]
fn a_variable_is_enough_to_verify_a_migration() {
    let (moto, bao) = (Moto::start(), OpenBao::start());
    let case = Case::new();
    moto.lead(&case);
    bao.lead(&case);
    for (chain, to) in [
        ("aws:us-east-1/", "aws:us-east-1/"),
        ("vault:", "vault:secret"),
    ] {
        let values = env_file(&case);
        case.sr(&format!(
            "migrate --from dotenv:.env --to {to} --map map.toml --yes"
        ))
        .ok();
        // Nobody has said where, and an AWS region alone sends nobody away from the store.
        case.sr("get jwt/secret_key").code(3);
        case.env("STRONGROOM_CHAIN", chain);
        for (path, _, value) in &values {
            assert_eq!(case.get(path), value.as_bytes(), "{path}");
        }
        let listed = case.sr("list").ok().prints("jwt/secret_key");
        listed.prints("encryption/master_key");
        let rotated = case.canary("rotated");
        case.sr("set jwt/secret_key")
            .stdin(&rotated)
            .ok()
            .says("version");
        assert_eq!(case.get("jwt/secret_key"), rotated.as_bytes());
        case.sr("tag jwt/secret_key team=web").ok();
        case.sr("rollback jwt/secret_key").ok();
        assert_eq!(case.get("jwt/secret_key"), values[0].2.as_bytes());
        case.sr("rm jwt/secret_key").ok();
        case.sr("get jwt/secret_key").code(3);
        // The store's own are still to be had, by a path from its root.
        case.set("/of/the/store", case.canary("stored"));
        case.sr("get /of/the/store").reveals().ok();
        case.env("STRONGROOM_CHAIN", "");
    }
}

/// A command fails with this code, naming the cause and what to do.
fn fails(case: &Case, line: &str, code: i32, cause: &str, fix: &str) {
    let failed = case.sr(line).code(code);
    let talk = format!("{}{}", failed.out(), failed.err());
    for text in [cause, fix] {
        assert!(talk.contains(text), "{line}: {text:?} is not in\n{talk}");
    }
}

fn fails_everywhere(case: &Case, code: i32, cause: &str, fix: &str) {
    for line in ["get JWT_SECRET_KEY", "check", "run -- true"] {
        fails(case, line, code, cause, fix);
    }
}

/// "Failed to initialize AWS Secrets Manager client": credentials, region, network.
#[test]
fn trouble_with_the_aws_client() {
    let moto = Moto::start();
    let case = Case::new();
    declare(&case, "development", Some("aws:us-east-1/"));
    case.env("AWS_EC2_METADATA_DISABLED", "true");
    fails_everywhere(&case, 4, "no AWS credentials", "aws configure");
    moto.lead(&case);
    declare(&case, "development", Some("aws:"));
    case.env("AWS_REGION", "");
    fails_everywhere(&case, 2, "no AWS region is set", "AWS_REGION");
    case.env("AWS_REGION", "us east 1");
    fails_everywhere(&case, 2, "set as AWS region is none", "AWS_REGION");
    declare(&case, "development", Some("aws:us-east-1/"));
    let nobody = Port::claim();
    case.env(
        "AWS_ENDPOINT_URL",
        format!("http://127.0.0.1:{}", nobody.number()),
    );
    fails_everywhere(
        &case,
        8,
        "cannot be reached",
        "check region, endpoint, network and proxies",
    );
}

/// "Secret 'jwt/secret_key' not found in AWS Secrets Manager".
#[test]
fn trouble_with_a_secret_that_is_not_there() {
    let (moto, bao) = (Moto::start(), OpenBao::start());
    let case = Case::new();
    moto.lead(&case);
    bao.lead(&case);
    for chain in ["aws:us-east-1/", "vault:secret", "store"] {
        declare(&case, "development", Some(chain));
        fails(
            &case,
            "get JWT_SECRET_KEY",
            3,
            chain,
            "strongroom set JWT_SECRET_KEY",
        );
        fails(
            &case,
            "run -- true",
            5,
            "JWT_SECRET_KEY is missing",
            "strongroom set JWT_SECRET_KEY",
        );
        fails(
            &case,
            "get payments/key",
            3,
            "payments/key is not in",
            "strongroom set payments/key",
        );
    }
    // What the message says mends it.
    declare(&case, "development", Some("aws:us-east-1/"));
    let value = case.canary("mended");
    case.sr("set JWT_SECRET_KEY").stdin(&value).ok();
    assert_eq!(case.get("JWT_SECRET_KEY"), value.as_bytes());
}

/// "Failed to authenticate with Vault": a wrong token, one that has ended, a wrong address.
#[test]
fn trouble_with_vaults_login() {
    let (moto, bao) = (Moto::start(), OpenBao::start());
    let case = Case::new();
    declare(&case, "development", Some("vault:secret"));
    fails_everywhere(&case, 2, "VAULT_ADDR", "VAULT_ADDR");
    bao.lead(&case);
    case.env("VAULT_TOKEN", "s.wrong-token");
    let unknown = "does not know the token in VAULT_TOKEN";
    fails_everywhere(&case, 4, unknown, "vault token lookup");
    let made = bao.ask("POST", "auth/token/create", r#"{"ttl":"1h"}"#);
    let token = made.split("\"client_token\":\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    case.env("VAULT_TOKEN", token);
    case.sr("get JWT_SECRET_KEY").code(3);
    bao.ask(
        "POST",
        "auth/token/revoke",
        &format!("{{\"token\":\"{token}\"}}"),
    );
    fails_everywhere(&case, 4, unknown, "vault token lookup");
    case.env("VAULT_TOKEN", "");
    fails_everywhere(&case, 4, "VAULT_TOKEN", "VAULT_TOKEN");
    bao.lead(&case);
    let nobody = Port::claim();
    let address = format!("http://127.0.0.1:{}", nobody.number());
    case.env("VAULT_ADDR", &address);
    fails_everywhere(&case, 8, "cannot connect to", "VAULT_ADDR");
    // Something else answers there.
    moto.lead(&case);
    case.env("VAULT_ADDR", moto.address());
    let failed = case.sr("get JWT_SECRET_KEY").output();
    assert_ne!(failed.status.code(), Some(3), "{}", failed.err());
    assert_ne!(failed.status.code(), Some(0));
    failed.says("VAULT_ADDR");
}

/// "Using local encrypted storage" in production.
#[test]
fn trouble_with_the_local_store_in_production() {
    let case = Case::new();
    declare(&case, "production", None);
    for (_, name) in MAPPINGS.iter().take(5) {
        case.set(name, case.canary("a-value"));
    }
    let cause = "store → env (the default: neither AWS_REGION nor VAULT_ADDR is set";
    let fix = "set one, or write a chain";
    case.sr("run -- true").ok().says(cause).says(fix);
    case.sr("check").ok().prints(cause).prints(fix);
    case.env("AWS_EC2_METADATA_DISABLED", "true");
    case.env("AWS_REGION", "us-east-1");
    case.sr("run -- true")
        .ok()
        .says("store → env")
        .says("not aws: AWS_REGION is set, but no AWS credentials");
    // Who means the store says so, and hears nothing of it.
    declare(&case, "production", Some("store"));
    case.env("AWS_REGION", "");
    let quiet = case.sr("run -- true").ok();
    assert!(!quiet.err().contains("chain:"), "{}", quiet.err());
}
