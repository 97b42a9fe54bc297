//! Unmodified clients of AWS against the server, and the access keys that they sign with. The
//! scripts say what each of them does.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::served::Served;
use crate::served::peers;
use crate::support::Case;

/// Runs a script with an access key that may do everything.
fn run(served: &Served, script: &str) {
    run_with(served, "root", script);
}

fn run_with(served: &Served, token: &str, script: &str) {
    let (status, made) = served.ask("POST", "sys/aws/keys", token, r#"{"policies":["root"]}"#);
    assert_eq!(status, 200, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let text = |name: &str| made["data"][name].as_str().unwrap().to_owned();
    let url = format!("http://{}", served.address);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let output = Command::new(peers().join("venv/bin/python"))
        .arg(scripts.join(script))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PYTHONWARNINGS", "ignore")
        .env("HOME", served.folder())
        .env("SERVER", &url)
        .env("TOKEN", token)
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url)
        .env("AWS_ENDPOINT_URL_STS", &url)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", text("access_key_id"))
        .env("AWS_SECRET_ACCESS_KEY", text("secret_access_key"))
        .current_dir(served.folder())
        .output()
        .expect("python in .peers/venv: run `cargo xtask peers`");
    assert!(
        output.status.success(),
        "{}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        served.log()
    );
}

#[test]
fn signatures_are_read_as_botocore_writes_them() {
    run(&Served::dev(), "aws_signer.py");
}

#[test]
fn boto3_works() {
    run(&Served::dev(), "boto3_client.py");
}

#[test]
fn the_aws_command_line_works() {
    run(&Served::dev(), "aws_cli_client.py");
}

#[test]
fn the_caching_library_works() {
    run(&Served::dev(), "aws_caching_client.py");
}

#[test]
fn access_keys_are_made_listed_rotated_and_revoked() {
    let served = Served::dev();
    let case = Case::new();
    case.env("STRONGROOM_ADDR", format!("http://{}", served.address));
    case.env("STRONGROOM_TOKEN", "root");
    let report = |line: &str| -> Value {
        let done = case.sr(line).reveals().ok();
        serde_json::from_str(&done.out()).unwrap()
    };
    let made = report("auth aws-key create --policy default --name ci --ttl 90d --json");
    let id = made["access_key_id"].as_str().unwrap();
    let secret = made["secret_access_key"].as_str().unwrap();
    case.watch(secret.as_bytes());
    assert!(id.starts_with("AKIA") && id.len() == 20, "{id}");
    assert_eq!(secret.len(), 40);
    let listed = case.sr("auth aws-key list").ok();
    listed.prints(id).prints("ci");
    let rotated = report(&format!("auth aws-key rotate {id} --overlap 1h --json"));
    let new = rotated["access_key_id"].as_str().unwrap();
    let listed = report("auth aws-key list --json");
    let keys = listed["access_keys"].as_array().unwrap();
    let old = keys.iter().find(|key| key["access_key_id"] == id).unwrap();
    assert_eq!(old["successor"], new);
    case.sr(&format!("auth aws-key revoke {new} --yes")).ok();
    case.sr(&format!("auth aws-key revoke {new} --yes")).code(3);
    case.sr("auth aws-key rotate AKIAX").code(3);
    case.sr("auth aws-key revoke ../../policies/acl/x --yes")
        .code(2);
    case.sr("auth aws-key create").code(2).says("--policy");
    let shown = case
        .sr("auth aws-key create --policy default")
        .reveals()
        .ok();
    assert!(shown.out().starts_with("aws_access_key_id = AKIA"));
}

#[test]
fn a_server_for_trying_out_says_how_aws_clients_find_it() {
    let served = Served::dev();
    for name in [
        "AWS_ENDPOINT_URL_SECRETS_MANAGER=http",
        "AWS_ACCESS_KEY_ID=AKIA",
    ] {
        served.wait_until(|| served.log().contains(name));
    }
}

#[test]
fn a_rotation_function_of_aws_runs_behind_an_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let port = strongroom_testkit::port::Port::claim();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(peers().join("venv/bin/python"))
        .arg(here.join("tests/clients/aws_rotation_client.py"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PYTHONWARNINGS", "ignore")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOME", dir.path())
        .env("STRONGROOM", crate::support::PROGRAM)
        .env("EXAMPLE", here.join("../../examples/aws-rotation-function"))
        .env("PORT", port.number().to_string())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .current_dir(dir.path())
        .output()
        .expect("python in .peers/venv: run `cargo xtask peers`");
    assert!(
        output.status.success(),
        "{}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        std::fs::read_to_string(dir.path().join("server.log")).unwrap_or_default()
    );
}

/// A resource policy and replicas are of the server: who moves secrets elsewhere is told.
#[test]
fn what_only_aws_clients_know_stays_behind_and_is_named() {
    let case = Case::with_manifest("");
    case.set("/shop/guarded", "value-of-guarded");
    case.set("/shop/plain", "value-of-plain");
    let token = case.sr("operator root-token").reveals().ok();
    let token = token.out().trim().to_owned();
    let served = Served::of_store(&case);
    run_with(&served, &token, "aws_policy_and_replica.py");
    drop(served);
    case.sr("backup saved.bak --from store:/shop")
        .ok()
        .says("resource policies and replicas stay behind, of 1 secret: guarded");
    let plan = case.sr("migrate --from store:/shop --to dotenv:out.env --dry-run");
    plan.ok()
        .prints("not kept by dotenv: resource policy of 1 secret (shop/guarded)")
        .prints("not kept by dotenv: replicas of 1 secret (shop/guarded)");
}
