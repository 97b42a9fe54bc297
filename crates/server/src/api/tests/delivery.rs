//! Deployments, signing, telemetry, formats of values.

use serde_json::Value;
use serde_json::json;

use super::ask;
use super::bad;
use super::good;
use super::world;
use crate::vault::tests::ROOT;
use crate::vault::tests::World;

/// A profile of the shop, whose open question is answered.
async fn profile(world: &World) -> String {
    let strategy = r#"{"tier":"2","handling_strategy":"prompt","prompt_label":"OpenAI key",
        "prompt_description":"of your account"}"#;
    let line = "POST v1/resources/openai/secrets/OPENAI_API_KEY/strategy";
    good(world, line, strategy).await;
    undecided(world).await
}

async fn undecided(world: &World) -> String {
    let body = r#"{"name":"Shop","scenario":"shop","tiers":[2]}"#;
    let made = good(world, "POST v1/profiles", body).await;
    made["id"].as_str().unwrap().to_owned()
}

/// A manifest that holds what a service needs, and a secret that is fetched.
fn manifest() -> Value {
    json!({
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
    })
}

#[tokio::test]
async fn what_is_in_the_way_of_a_deployment_is_told_and_kept() {
    let world = world().await;
    let id = undecided(&world).await;
    let line = format!("POST v1/deploy/{id}");
    let (status, answer, _) = ask(&world, Some(ROOT), &line, "{}").await;
    assert_eq!(
        (status, &answer["status"]),
        (422, &json!("blocked")),
        "{answer}"
    );
    let blockers = answer["blockers"].to_string();
    assert!(blockers.contains("openai:OPENAI_API_KEY"), "{blockers}");
    assert!(blockers.contains("manifest is missing"), "{blockers}");
    let kept = answer["deployment_id"].as_str().unwrap();
    let read = good(&world, &format!("GET v1/deployments/{kept}"), "").await;
    assert_eq!(read["status"], "blocked");
    assert_eq!(read["blockers"], answer["blockers"]);
    // Tried only, nothing is kept.
    let body = r#"{"dry_run":true}"#;
    let (status, answer, _) = ask(&world, Some(ROOT), &line, body).await;
    assert_eq!((status, &answer["deployment_id"]), (422, &Value::Null));
    let list = good(&world, "GET v1/deployments", "").await;
    assert_eq!(list["count"], 1);
    assert_eq!(bad(&world, "GET v1/deployments/nothing", "").await.0, 404);
    assert_eq!(bad(&world, "POST v1/deploy/nothing", "{}").await.0, 404);
}

#[tokio::test]
async fn a_deployment_is_put_together_and_what_it_opens_is_in_the_ledger() {
    let world = world().await;
    let id = profile(&world).await;
    let mut sent = manifest();
    let key = "openai_api_key";
    sent["services"][0]["secrets"]
        .as_array_mut()
        .unwrap()
        .push(key.into());
    sent["secrets"].as_array_mut().unwrap().push(json!({
        "id": key, "class": "user_prompt", "required": true, "description": "OPENAI_API_KEY",
        "target": { "type": "env", "name": "OPENAI_API_KEY" },
        "prompt": { "label": "Key", "description": "of your account" } }));
    let line = "POST v1/deploy-desktop";
    let body = json!({ "profile_id": id, "manifest": sent, "dry_run": true }).to_string();
    let (status, tried, text) = ask(&world, Some(ROOT), line, &body).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(tried["status"], "assembled", "{text}");
    let none = good(&world, "GET v1/ledger?channel=bundle", "").await;
    assert_eq!(none["count"], 0, "tried only, nobody was given anything");
    let body = json!({ "profile_id": id, "manifest": sent }).to_string();
    let (status, made, text) = ask(&world, Some(ROOT), line, &body).await;
    assert_eq!(status, 201, "{text}");
    assert!(made["checksum"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(made["manifest"]["services"][0]["secrets"][0], "stripe");
    let kept = made["deployment_id"].as_str().unwrap();
    let read = good(&world, &format!("GET v1/deployments/{kept}"), "").await;
    assert_eq!(read["checksum"], made["checksum"]);
    assert!(read["manifest"].is_null());
    let rows = good(&world, "GET v1/ledger?channel=bundle", "").await;
    let row = &rows["deliveries"][0];
    assert_eq!(row["secrets"][0]["secret"], "pay/stripe", "{rows}");
    assert_eq!(row["secrets"][0]["source"], "reference to openbao");
}

#[tokio::test]
async fn builds_are_told_and_not_run() {
    let world = world().await;
    let about = good(&world, "GET v1/build", "").await;
    assert_eq!(about["platforms"][0]["name"], "linux-x64");
    let mut manifest = manifest();
    manifest["services"][0]["build"] = json!({ "type": "go", "source_dir": "api",
        "entry_point": "./cmd/api", "output_pattern": "bin/{{platform}}/api{{ext}}" });
    let body = json!({ "manifest": manifest, "platforms": ["linux-x64", "windows-x64"] });
    let made = good(&world, "POST v1/build", &body.to_string()).await;
    assert_eq!(made["status"], "planned");
    let windows = &made["builds"][1];
    assert_eq!(windows["env"]["GOOS"], "windows");
    assert_eq!(windows["output"], "bin/win-x64/api.exe");
    assert_eq!(windows["command"][3], "$BUNDLE/bin/win-x64/api.exe");
    manifest["services"][0]["build"]["source_dir"] = "/etc".into();
    let body = json!({ "manifest": manifest }).to_string();
    let (status, told, _) = ask(&world, Some(ROOT), "POST v1/build", &body).await;
    assert_eq!(status, 422);
    let blocker = told["blockers"][0].as_str().unwrap();
    assert!(blocker.starts_with("$.services[0].build.source_dir:"));
    for (body, why) in [
        ("{}", "manifest is required"),
        (
            r#"{"manifest": {}, "platforms": ["amiga-m68k"]}"#,
            "there is no platform amiga-m68k (there are linux-x64",
        ),
    ] {
        let (status, error) = bad(&world, "POST v1/build", body).await;
        assert_eq!(status, 400);
        assert!(error.contains(why), "{error}");
    }
    let (status, error) = bad(&world, "GET v1/build/status/7", "").await;
    assert_eq!(status, 404);
    assert!(error.contains("no build runs on a server"), "{error}");
}

#[tokio::test]
async fn costs_are_summed_up_by_prices_that_people_give() {
    let world = world().await;
    let id = undecided(&world).await;
    let line = format!("GET v1/profiles/{id}/cost-estimate");
    let (status, error) = bad(&world, &line, "").await;
    assert_eq!(status, 400);
    assert!(error.contains("no prices are known: send"), "{error}");
    let prices = json!({ "settings": { "prices": { "currency": "EUR",
        "monthly": { "postgres": 15.1, "openai": 20.2, "redis": 7 } } } });
    let put = format!("PUT v1/profiles/{id}");
    good(&world, &put, &prices.to_string()).await;
    let told = good(&world, &line, "").await;
    assert_eq!(told["currency"], "EUR");
    assert_eq!(told["complete"], true);
    assert_eq!(told["monthly"], 35.3, "what is switched off costs nothing");
    // A swap's price is that of what takes the place, which nobody has told.
    let swapped = json!({ "swaps": { "postgres": "sqlite" } });
    good(&world, &put, &swapped.to_string()).await;
    let told = good(&world, &line, "").await;
    assert_eq!(told["complete"], false);
    assert_eq!(told["unpriced"], json!(["sqlite"]));
    assert_eq!(told["monthly"], 20.2);
    let post = format!("POST v1/profiles/{id}/cost-estimate");
    for (prices, why) in [
        (json!({ "monthly": {} }), "prices.currency"),
        (json!({ "currency": "EUR" }), "prices.monthly"),
        (
            json!({ "currency": "EUR", "monthly": { "redis": -1 } }),
            "prices.monthly.redis",
        ),
    ] {
        let body = json!({ "prices": prices }).to_string();
        let (status, error) = bad(&world, &post, &body).await;
        assert_eq!(status, 400);
        assert!(error.contains(why), "{error}");
    }
    let free = json!({ "prices": { "currency": "USD", "monthly": { "openai": 1, "sqlite": 0 } } });
    let told = good(&world, &post, &free.to_string()).await;
    assert_eq!(told["prices_from"], "request");
    assert_eq!(told["monthly"], 1.0);
}

#[tokio::test]
async fn signing_is_kept_by_names_and_no_secret_is_taken() {
    let world = world().await;
    let id = undecided(&world).await;
    let line = format!("POST v1/profiles/{id}/signing");
    let good_one = json!({ "enabled": true,
        "windows": { "certificate_source": "file", "certificate_file": "cert.pfx",
            "certificate_password_env": "CERT_PASSWORD", "sign_algorithm": "sha256" },
        "macos": { "identity": "Developer ID", "team_id": "ABCDE12345", "hardened_runtime": true,
            "notarize": true, "apple_id_env": "APPLE_ID",
            "apple_id_password_env": "APPLE_ID_PASSWORD" } });
    let saved = good(&world, &line, &good_one.to_string()).await;
    assert_eq!(saved["code_signing"], good_one);
    let read = good(&world, &format!("GET v1/profiles/{id}/signing"), "").await;
    assert_eq!(read["code_signing"], good_one);
    let body = json!({ "profile_id": id, "manifest": manifest() }).to_string();
    let put = good(&world, "POST v1/bundles/signing-config", &body).await;
    assert_eq!(put["manifest"]["code_signing"], good_one);
    let line_of = format!("GET v1/signing/prerequisites?profile_id={id}");
    let needed = good(&world, &line_of, "").await;
    assert_eq!(
        needed["prerequisites"][0]["variables"],
        json!(["CERT_PASSWORD"])
    );
    assert_eq!(needed["prerequisites"][0]["checked"], false);
    assert_eq!(good(&world, "GET v1/signing", "").await["total"], 1);

    let canary = "s3cr3t-canary-8Kd";
    let cases = [
        json!({ "enabled": true }),
        json!({ "enabled": "yes", "linux": {} }),
        json!({ "enabled": true, "windows": { "certificate_source": "file" } }),
        json!({ "enabled": true, "windows": { "certificate_source": "paper" } }),
        json!({ "enabled": true, "linux": { "gpg_passphrase_env": canary } }),
        json!({ "enabled": true, "linux": { "gpg_passphrase": canary } }),
        json!({ "enabled": true,
            "linux": { "gpg_key_id": "-----BEGIN PGP PRIVATE KEY BLOCK-----" } }),
        json!({ "enabled": true, "macos": { "identity": "x", "team_id": "y",
            "hardened_runtime": true, "notarize": true } }),
    ];
    for case in cases {
        let (status, _, text) = ask(&world, Some(ROOT), &line, &case.to_string()).await;
        assert_eq!(status, 400, "{case}: {text}");
        assert!(!text.contains(canary), "{text}");
        let told = good(&world, "POST v1/signing/validate", &case.to_string()).await;
        assert_eq!(told["valid"], false, "{case}");
        assert!(!told.to_string().contains(canary), "{told}");
    }
    let kept = good(
        &world,
        &format!("GET v1/profiles/{id}/signing/validate"),
        "",
    )
    .await;
    assert_eq!(
        kept["valid"], true,
        "what was refused changed nothing: {kept}"
    );
    good(&world, &format!("DELETE v1/profiles/{id}/signing"), "").await;
    assert_eq!(good(&world, "GET v1/signing", "").await["total"], 0);
}

#[tokio::test]
async fn events_are_counted_and_their_details_are_not_kept() {
    let world = world().await;
    let canary = "canary-in-details-7Qx";
    let lines = [
        json!({ "ts": "2026-01-02T03:04:05Z", "event": "runtime_start", "details": {} }),
        json!({ "ts": "2026-01-02T03:04:06Z", "event": "secrets_missing", "service_id": "api",
            "details": { "missing": [canary] } }),
        json!({ "ts": "2026-01-01T00:00:00Z", "event": "migration_failed",
            "service_id": canary.repeat(9) }),
    ];
    let mut content: String = lines.iter().map(|line| format!("{line}\n")).collect();
    content.push_str("{\"event\": \"cut o");
    let body = json!({ "scenario": "shop", "content": content }).to_string();
    let sent = good(&world, "POST v1/telemetry/upload", &body).await;
    assert_eq!(
        (&sent["events_received"], &sent["events_stored"]),
        (&json!(4), &json!(3))
    );
    let body = json!({ "scenario": "shop", "events": [lines[0]] }).to_string();
    good(&world, "POST v1/telemetry", &body).await;
    let told = good(&world, "GET v1/telemetry", "").await;
    assert!(!told.to_string().contains(canary), "{told}");
    let row = &told["scenarios"][0];
    assert_eq!(row["total_events"], 4);
    assert_eq!(row["event_counts"]["runtime_start"], 2);
    assert_eq!(
        row["failure_counts"],
        json!({ "secrets_missing": 1, "migration_failed": 1 })
    );
    assert_eq!(row["recent_failures"][0]["event"], "secrets_missing");
    assert_eq!(row["recent_failures"][0]["details"]["service"], "api");
    assert!(
        row["last_event"]
            .as_str()
            .unwrap()
            .starts_with("2026-01-02T03:04:06")
    );
    for (body, expected) in [
        (json!({ "events": [] }), "scenario is required"),
        (json!({ "scenario": "shop" }), "events is missing"),
        (
            json!({ "scenario": "shop", "events": vec![1; 2_001] }),
            "at most 2000",
        ),
    ] {
        let (status, error) = bad(&world, "POST v1/telemetry", &body.to_string()).await;
        assert_eq!(status, 400);
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn formats_of_values_are_tested_and_no_value_is_told() {
    let world = world().await;
    let id = profile(&world).await;
    let line = "POST v1/secrets/test";
    let body = json!({ "profile_id": id }).to_string();
    let before = good(&world, line, &body).await;
    assert_eq!(before["status"], "fail");
    let wrong = "wrong canary of the shop";
    let value = json!({ "resource_name": "openai", "secrets": { "OPENAI_API_KEY": wrong } });
    good(
        &world,
        "POST v1/vault/secrets/provision",
        &value.to_string(),
    )
    .await;
    let told = good(&world, line, &body).await;
    let tests = told["tests"].as_array().unwrap();
    let own = tests
        .iter()
        .find(|one| one["secret"] == "OPENAI_API_KEY")
        .unwrap();
    assert_eq!(own["status"], "fail", "{told}");
    assert!(!told.to_string().contains(wrong), "{told}");
    let value = json!({ "resource_name": "openai",
        "secrets": { "OPENAI_API_KEY": "sk-abcdefghijklmnop" } });
    good(
        &world,
        "POST v1/vault/secrets/provision",
        &value.to_string(),
    )
    .await;
    let told = good(&world, "GET v1/secrets/test?resource=openai", "").await;
    assert_eq!(told["status"], "pass", "{told}");
    assert_eq!(
        told["summary"],
        json!({ "passed": 1, "failed": 0, "missing": 1 })
    );
    assert_eq!(bad(&world, line, "{}").await.0, 400);
}
