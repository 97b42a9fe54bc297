//! Profiles, swaps, fitness and bundles.

use serde_json::Value;
use serde_json::json;

use super::ask;
use super::bad;
use super::good;
use super::world;
use crate::vault::tests::ROOT;

#[tokio::test]
async fn a_profile_has_versions() {
    let world = world().await;
    let body = r#"{"name":"shop-desktop","scenario":"shop","tiers":["desktop"]}"#;
    let (status, made, _) = ask(&world, Some(ROOT), "POST v1/profiles", body).await;
    assert_eq!(
        (status, &made["version"], &made["tiers"]),
        (201, &1.into(), &json!([2]))
    );
    let id = made["id"].as_str().unwrap();
    let line = format!("PUT v1/profiles/{id}");
    let changed = good(
        &world,
        &line,
        r#"{"settings":{"env":{"LOG_LEVEL":"info"}}}"#,
    )
    .await;
    assert_eq!(changed["version"], 2);
    let listed = good(&world, "GET v1/profiles", "").await;
    assert_eq!(
        (&listed["total"], &listed["profiles"][0]["id"]),
        (&1.into(), &made["id"])
    );
    let versions = good(&world, &format!("GET v1/profiles/{id}/versions"), "").await;
    assert_eq!(versions["current_version"], 2);
    assert_eq!(versions["versions"][0]["changes"], "Created profile");
    assert_eq!(versions["versions"][1]["changes"], "Updated settings");
    // Two at once are two.
    good(&world, "POST v1/profiles", body).await;
    assert_eq!(good(&world, "GET v1/profiles", "").await["total"], 2);
    for (body, error) in [
        ("{}", "name and scenario fields required"),
        (r#"{"name":7,"scenario":"shop"}"#, "name is no text"),
    ] {
        assert_eq!(
            bad(&world, "POST v1/profiles", body).await,
            (400, error.to_owned())
        );
    }
    let value = r#"{"secrets":{"a":{"class":"user_prompt","value":"canary"}}}"#;
    let (status, error) = bad(&world, &line, value).await;
    assert!(status == 400 && !error.contains("canary"), "{error}");
    let gone = good(&world, &format!("DELETE v1/profiles/{id}"), "").await;
    assert_eq!(gone, json!({"status": "deleted", "id": id}));
    assert_eq!(
        bad(&world, &format!("GET v1/profiles/{id}"), "").await.0,
        404
    );
}

#[tokio::test]
async fn the_secrets_of_a_profile_are_told_in_every_form() {
    let world = world().await;
    let body = r#"{"name":"d","scenario":"shop","tiers":[2],"swaps":{"postgres":"sqlite"}}"#;
    let made = good(&world, "POST v1/profiles", body).await;
    let at = format!("v1/profiles/{}/secrets", made["id"].as_str().unwrap());
    let found = good(&world, &format!("GET {at}"), "").await;
    let sum = &found["summary"];
    assert_eq!(
        (&found["tier"], &found["scenario"]),
        (&2.into(), &"shop".into())
    );
    assert_eq!(sum["total"], found["secrets"].as_array().unwrap().len());
    let text = good(&world, &format!("GET {at}/template"), "").await;
    assert!(
        text["template"]
            .as_str()
            .unwrap()
            .contains("OPENAI_API_KEY"),
        "{text}"
    );
    let parts = good(&world, &format!("GET {at}/template?format=json"), "").await;
    assert!(parts["secrets"]["excluded"].is_array(), "{parts}");
    let (status, error) = bad(&world, &format!("GET {at}/template?format=xml"), "").await;
    assert_eq!(status, 400);
    assert!(error.contains("unsupported format \"xml\""), "{error}");
    let checked = good(&world, &format!("POST {at}/validate"), "{}").await;
    let checks = checked["checks"].as_array().unwrap();
    let passed = checks.iter().filter(|one| one["status"] == "pass").count();
    assert_eq!(checked["summary"]["passed"], passed);
    let line = format!("GET v1/profiles/{}/validate", made["id"].as_str().unwrap());
    let valid = good(&world, &line, "").await;
    assert_eq!(valid["valid"], false, "{valid}");
    let missing = good(&world, "GET v1/profiles", "").await;
    assert_eq!(missing["total"], 1);
    assert_eq!(bad(&world, "GET v1/profiles/none/secrets", "").await.0, 404);
}

#[tokio::test]
async fn a_swap_that_is_applied_is_stored_and_changes_the_plan() {
    let world = world().await;
    let body = r#"{"name":"d","scenario":"shop","tiers":[2]}"#;
    let made = good(&world, "POST v1/profiles", body).await;
    let id = made["id"].as_str().unwrap();
    let body = json!({"profile_id": id, "from": "postgres", "to": "sqlite"}).to_string();
    let done = good(&world, "POST v1/swaps/apply", &body).await;
    assert_eq!(
        (&done["status"], &done["new_version"]),
        (&"applied".into(), &2.into())
    );
    assert_eq!(done["secrets_removed"], json!(["POSTGRES_PASSWORD"]));
    let stored = good(&world, &format!("GET v1/profiles/{id}"), "").await;
    assert_eq!(stored["swaps"], json!({"postgres": "sqlite"}));
    // Again it would change nothing.
    let (status, error) = bad(&world, "POST v1/swaps/apply", &body).await;
    assert_eq!((status, error.as_str()), (400, "swap_incompatible"));
    let line = format!("POST v1/profiles/{id}/swaps");
    let (status, error) = bad(&world, &line, r#"{"from":"openai","to":"nonsense"}"#).await;
    assert_eq!((status, error.as_str()), (404, "swap_not_found"));
}

#[tokio::test]
async fn swaps_and_scores_are_of_the_application() {
    let world = world().await;
    let listed = good(&world, "GET v1/swaps/list/shop?tier=desktop", "").await;
    let found = listed["suggestions"].as_array().unwrap();
    assert!(
        !found.is_empty() && found.iter().all(|one| one["from"] == "postgres"),
        "{listed}"
    );
    let analysis = good(&world, "GET v1/swaps/analyze/postgres/sqlite", "").await;
    assert!(
        analysis["fitness_delta"]["tier_2"].is_number(),
        "{analysis}"
    );
    let (status, error) = bad(&world, "GET v1/swaps/analyze/cheese/moon", "").await;
    assert_eq!((status, error.as_str()), (404, "swap_not_found"));
    good(
        &world,
        "POST v1/scenarios/site",
        r#"{"resources":[],"scenarios":["shop"]}"#,
    )
    .await;
    let cascade = good(&world, "GET v1/swaps/cascade/postgres/sqlite", "").await;
    assert_eq!(
        (&cascade["total_affected"], &cascade["cascade_depth"]),
        (&2.into(), &2.into())
    );
    let scored = good(
        &world,
        "POST v1/fitness/score",
        r#"{"scenario":"shop","tiers":[2]}"#,
    )
    .await;
    assert!(scored["scores"]["2"]["overall"].is_number(), "{scored}");
    let required = (400, "scenario field required".to_owned());
    assert_eq!(bad(&world, "POST v1/fitness/score", "{}").await, required);
    let found = good(&world, "GET v1/dependencies/analyze/shop", "").await;
    let names = found["dependencies"]["resources"]
        .as_array()
        .unwrap()
        .iter();
    let names: Vec<&Value> = names.map(|one| &one["name"]).collect();
    assert_eq!(names, ["openai", "postgres"]);
    assert_eq!(found["circular_dependencies"], false);
    assert_eq!(
        bad(&world, "GET v1/dependencies/analyze/none", "").await.0,
        404
    );
}

const MANIFEST: &str = r#"{"schema_version": "v0.1", "target": "desktop",
    "app": {"name": "shop", "version": "1"},
    "ipc": {"mode": "loopback-http", "host": "127.0.0.1", "port": 47710,
            "auth_token_path": "runtime/auth-token"},
    "telemetry": {"file": "telemetry/events.jsonl"},
    "secrets": [{"id": "ai_key", "class": "user_prompt", "prompt": {"label": "Key",
                 "description": "of yours"}, "format": "^sk-[a-z0-9]+$",
                 "target": {"type": "env", "name": "OPENAI_API_KEY"}}],
    "services": [{"id": "api", "type": "api-binary", "secrets": ["ai_key"],
        "binaries": {"linux-x64": {"path": "bin/api"}},
        "health": {"type": "tcp", "port_name": "http"},
        "readiness": {"type": "port_open", "port_name": "http"},
        "ports": {"requested": [{"name": "http", "range": {"min": 47040, "max": 47060}}]}}]}"#;

/// A32, A33: refusals are JSON whatever they quote, and services keep what they name.
#[tokio::test]
async fn bundles_are_checked_and_filled() {
    let world = world().await;
    let valid = good(&world, "POST v1/bundles/validate", MANIFEST).await;
    assert_eq!(
        (&valid["status"], &valid["schema"]),
        (&"valid".into(), &"desktop.v0.1".into())
    );
    let wrong = MANIFEST.replace("\"desktop\"", "\"a \\\"quoted\\\" target\"");
    let (status, refused, _) = ask(&world, Some(ROOT), "POST v1/bundles/validate", &wrong).await;
    assert_eq!(
        (status, &refused["error"]),
        (400, &"bundle failed validation".into())
    );
    assert!(
        refused["details"].as_str().unwrap().contains("$.target"),
        "{refused}"
    );
    let strategy = r#"{"tier":"2","handling_strategy":"prompt","prompt_label":"OpenAI key",
        "prompt_description":"one of your own"}"#;
    let line = "POST v1/resources/openai/secrets/OPENAI_API_KEY/strategy";
    good(&world, line, strategy).await;
    let body = format!(r#"{{"scenario":"shop","tier":"tier-2-desktop","manifest":{MANIFEST}}}"#);
    let merged = good(&world, "POST v1/bundles/merge-secrets", &body).await;
    assert_eq!(
        merged["services"][0]["secrets"],
        json!(["ai_key"]),
        "{merged}"
    );
    assert_eq!(merged["secrets"][0]["id"], "ai_key");
    assert_eq!(merged["secrets"][0]["prompt"]["label"], "OpenAI key");
    assert!(!merged.to_string().contains("POSTGRES_PASSWORD"));
    let assembled = good(&world, "POST v1/bundles/assemble", &body).await;
    assert_eq!(
        (&assembled["status"], &assembled["manifest"]),
        (&"assembled".into(), &merged)
    );
    let (status, exported, text) = ask(&world, Some(ROOT), "POST v1/bundles/export", &body).await;
    match status {
        200 => assert!(
            exported["checksum"]
                .as_str()
                .unwrap()
                .starts_with("sha256:")
        ),
        422 => assert_eq!(exported["error"], "bundle failed validation", "{text}"),
        _ => panic!("{text}"),
    }
    for body in ["{}", r#"{"scenario":"shop","tier":"2"}"#] {
        assert_eq!(bad(&world, "POST v1/bundles/assemble", body).await.0, 400);
    }
}
