//! Chains and migrations with servers of others: OpenBao, and moto in AWS's place.

use strongroom_testkit::port::Port;

use crate::migrate::guide;
use crate::peers::Moto;
use crate::peers::OpenBao;
use crate::support::Case;

/// With a chain that begins with a server, commands do there what they do with the store.
fn works_like_the_store(case: &Case) {
    let (first, second) = (case.canary("first"), case.canary("second"));
    case.sr("get API_KEY")
        .code(3)
        .says("strongroom set API_KEY");
    case.sr("check").code(5);
    case.sr("set API_KEY").stdin(&first).ok().says("version");
    case.sr("set API_KEY --description of-the-shop")
        .stdin(&second)
        .ok();
    assert_eq!(case.get("API_KEY"), second.as_bytes());
    case.sr("list").ok().prints("api/key");
    case.sr("check").ok();
    let ran = case
        .run(&["run", "--no-redact", "--", "printenv", "API_KEY"])
        .reveals()
        .ok();
    assert_eq!(ran.out().trim_end(), second);
    case.sr("status").ok();
    let file = case.canary("file");
    case.write_open("in.env", format!("JWT_SECRET_KEY={file}\nPORT=3000\n"));
    assert!(
        !case.store("store.db").exists(),
        "nothing of this needs a store"
    );
}

/// A `.env` file goes there and comes back.
pub(crate) fn takes_a_env_file(case: &Case, to: &str) {
    let values = guide(case);
    let before = case.read(".env");
    let line = format!("migrate --from dotenv:.env --to {to} --map map.toml --yes");
    case.sr(&line)
        .ok()
        .prints("✓ migrated JWT_SECRET_KEY → jwt/secret_key")
        .prints("⚠ skipped GOOGLE_API_KEY (not set)");
    for (name, value) in &values {
        assert!(!String::from_utf8(case.read(".env")).unwrap().contains(name));
        assert!(
            !case
                .read(".env")
                .windows(value.len())
                .any(|it| it == value.as_bytes())
        );
    }
    case.sr("migrate verify").ok().prints("4 of 4");
    case.sr(&format!("backup all.backup --from {to}")).ok();
    case.sr("migrate rollback --yes").ok();
    assert_eq!(case.read(".env"), before);
    case.sr("migrate verify").code(3);
    case.sr(&format!("restore all.backup --to {to} --yes")).ok();
    case.sr(&format!("sync --from {to} --to store:/copy --yes"))
        .ok();
    assert_eq!(case.get("/copy/jwt/secret_key"), values[0].1.as_bytes());
    case.sr(&format!(
        "sync --from store:/copy --to {to} --dry-run --exit-code"
    ))
    .ok()
    .prints("0 to create, 0 to update, 0 to delete");
}

fn manifest(chain: &str) -> Case {
    Case::with_manifest(&format!("{chain}[secrets.API_KEY]\npath = \"api/key\"\n"))
}

#[test]
fn a_chain_with_openbao_works_like_the_store() {
    let bao = OpenBao::start();
    let case = manifest("[profiles.development]\nchain = [\"vault:secret/shop\", \"env\"]\n");
    bao.lead(&case);
    works_like_the_store(&case);
    let stored = bao.ask("GET", "secret/data/shop/api/key", "");
    assert!(stored.starts_with("HTTP/1.1 200"), "{stored}");
    case.sr("get API_KEY --version 1").reveals().ok();
}

#[test]
fn a_env_file_goes_to_openbao_and_back() {
    let bao = OpenBao::start();
    let case = Case::new();
    bao.lead(&case);
    takes_a_env_file(&case, "vault:secret");
}

#[test]
fn a_chain_with_aws_works_like_the_store() {
    let moto = Moto::start();
    let case = manifest("[profiles.development]\nchain = [\"aws:us-east-1/shop\", \"env\"]\n");
    moto.lead(&case);
    works_like_the_store(&case);
    let described = moto.call("DescribeSecret", r#"{"SecretId":"shop/api/key"}"#);
    assert!(described.contains("of-the-shop"), "{described}");
}

#[test]
fn a_env_file_goes_to_aws_and_back() {
    let moto = Moto::start();
    let case = Case::new();
    moto.lead(&case);
    takes_a_env_file(&case, "aws:us-east-1/");
    let described = moto.call("DescribeSecret", r#"{"SecretId":"jwt/secret_key"}"#);
    assert!(described.contains("jwt/secret_key"), "{described}");
}

#[test]
fn without_a_chain_the_environment_is_looked_at_and_the_choice_is_told() {
    let (moto, bao) = (Moto::start(), OpenBao::start());
    let case = manifest("");
    case.env("AWS_EC2_METADATA_DISABLED", "true");
    case.set("API_KEY", case.canary("stored"));
    let chain = |case: &Case| case.sr("status --json").ok().json()["project"]["chain"].clone();
    assert_eq!(chain(&case), serde_json::json!(["store", "env"]));
    // A region that the platform sets is no reason to go to AWS.
    let region_only = case.sr("check").env("AWS_REGION", "us-east-1").ok();
    region_only
        .prints("store → env")
        .prints("not aws: AWS_REGION is set, but");
    bao.lead(&case);
    assert_eq!(chain(&case), serde_json::json!(["vault:", "env"]));
    case.sr("set API_KEY").stdin(case.canary("in-bao")).ok();
    case.sr("run -- true")
        .ok()
        .says("chain: vault: → env (VAULT_ADDR is set)");
    moto.lead(&case);
    let status = case.sr("status --json").ok().json();
    assert_eq!(status["project"]["chain"][0], "aws:us-east-1");
    assert_eq!(status["not_taken"][0][0], "vault");
    // What was set wins.
    let run = case
        .sr("run -- true")
        .env("STRONGROOM_CHAIN", "store, env")
        .ok();
    assert!(!run.err().contains("chain:"), "{}", run.err());
}

#[test]
fn a_server_that_is_not_there_is_never_not_found() {
    let case = manifest("[profiles.development]\nchain = [\"vault:secret\", \"env\"]\n");
    let nobody = Port::claim();
    case.env(
        "VAULT_ADDR",
        format!("http://127.0.0.1:{}", nobody.number()),
    );
    case.env("VAULT_TOKEN", "root");
    case.env("API_KEY", case.canary("old"));
    case.sr("get API_KEY").code(8);
    case.sr("check").code(8);
    case.sr("run -- true")
        .code(8)
        .says("the command was not started");
    // Only who says so gets the environment's value, and is told.
    case.sr("get API_KEY --fallback on-error")
        .reveals()
        .ok()
        .says("a later backend's value is used");
    case.sr("run --fallback on-error -- true")
        .ok()
        .says("a later backend's value is used");
    case.write_open(".env", "OTHER_TOKEN=abcdefgh12345678\n");
    let before = case.read(".env");
    case.sr("migrate --from dotenv:.env --to vault:secret --yes")
        .code(8);
    assert_eq!(case.read(".env"), before);
}

/// The body of an answer, as JSON.
fn body(answer: &str) -> serde_json::Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// A secret with a stage of somebody's own on its oldest version, and one that waits to be current.
fn staged_secret(moto: &Moto, case: &Case) -> [String; 3] {
    let values = ["first", "second", "third"].map(|value| case.canary(value));
    let [first, second, third] = &values;
    let call = |target: &str, arguments: &str| {
        body(&moto.call(
            target,
            &format!("{{\"SecretId\":\"shop/api/key\",{arguments}}}"),
        ))
    };
    let created = moto.call(
        "CreateSecret",
        &format!("{{\"Name\":\"shop/api/key\",\"SecretString\":\"{first}\"}}"),
    );
    let oldest = body(&created)["VersionId"].as_str().unwrap().to_owned();
    call("PutSecretValue", &format!("\"SecretString\":\"{second}\""));
    call(
        "PutSecretValue",
        &format!("\"SecretString\":\"{third}\",\"VersionStages\":[\"AWSPENDING\"]"),
    );
    call(
        "UpdateSecretVersionStage",
        &format!("\"VersionStage\":\"STABLE\",\"MoveToVersionId\":\"{oldest}\""),
    );
    values
}

/// The stages of a secret's versions in the store, oldest first.
fn stages(case: &Case, at: &str) -> Vec<String> {
    let history = case.sr(&format!("history {at} --json")).ok().json();
    let versions = history["versions"].as_array().unwrap().iter();
    let stages = versions.map(|version| {
        let mut stages: Vec<&str> = version["stages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stage| stage.as_str().unwrap())
            .collect();
        stages.sort_unstable();
        stages.join(" ")
    });
    stages.collect()
}

#[test]
fn stages_of_aws_survive_in_the_store_in_a_backup_and_back() {
    const STAGES: [&str; 3] = ["AWSPENDING", "AWSPREVIOUS STABLE", "AWSCURRENT"];
    let moto = Moto::start();
    let case = Case::new();
    moto.lead(&case);
    let [first, second, third] = staged_secret(&moto, &case);
    let line = "migrate --from aws:us-east-1/shop --to store:/shop";
    let plan = case.sr(&format!("{line} --dry-run --json")).ok().json();
    assert_eq!(plan["items"][0]["lost"], serde_json::json!([]));
    case.sr(&format!("{line} --yes")).ok();
    assert_eq!(stages(&case, "/shop/api/key"), STAGES);
    let value = |number: u32| {
        let line = format!("get /shop/api/key --version {number}");
        case.sr(&line).reveals().ok().out()
    };
    assert_eq!([value(1), value(2), value(3)], [third, first, second]);

    case.sr("tag /shop/api/key --expires 2031-01-02").ok();
    case.sr("backup shop.backup --from store:/shop").ok();
    case.sr("restore shop.backup --to store:/again --yes").ok();
    assert_eq!(stages(&case, "/again/api/key"), STAGES);
    let history = case.sr("history /again/api/key --json").ok().json();
    let expires = history["expires_at"].as_str().unwrap();
    assert!(expires.starts_with("2031-01-02"), "{expires}");

    let line = "migrate --from store:/again --to aws:us-east-1/again";
    let plan = case.sr(&format!("{line} --dry-run --json")).ok().json();
    assert_eq!(plan["items"][0]["lost"], serde_json::json!(["expiry"]));
    case.sr(&format!("{line} --yes")).ok();
    let described = body(&moto.call("DescribeSecret", r#"{"SecretId":"again/api/key"}"#));
    let versions = described["VersionIdsToStages"].as_object().unwrap();
    let mut stages: Vec<&str> = versions
        .values()
        .flat_map(|stages| stages.as_array().unwrap())
        .map(|stage| stage.as_str().unwrap())
        .collect();
    stages.sort_unstable();
    assert_eq!(
        stages,
        ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS", "STABLE"]
    );
}
