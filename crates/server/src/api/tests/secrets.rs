//! Registry, plans, overrides, values, campaigns.

use serde_json::Value;

use super::ask;
use super::bad;
use super::good;
use super::world;
use crate::vault::tests::ROOT;
use crate::vault::tests::World;

fn invalid(text: &str) -> (u16, String) {
    (400, text.to_owned())
}

#[tokio::test]
async fn a_plan_has_its_documented_shape() {
    let world = world().await;
    let body = r#"{"scenario":"shop","tier":"tier-2-desktop"}"#;
    let plan = good(&world, "POST v1/deployment/secrets", body).await;
    for key in [
        "scenario",
        "tier",
        "generated_at",
        "resources",
        "secrets",
        "bundle_secrets",
    ] {
        assert!(!plan[key].is_null(), "{key}: {plan}");
    }
    assert_eq!(plan["resources"], serde_json::json!(["openai", "postgres"]));
    let key = |at: usize| {
        plan["secrets"][at]["secret_key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (key(0), key(1)),
        ("OPENAI_API_KEY".into(), "POSTGRES_PASSWORD".into())
    );
    // A27: what nobody decided about is in the way, never drawn.
    let summary = &plan["summary"];
    assert_eq!(
        summary["blocking_secrets"],
        serde_json::json!(["openai:OPENAI_API_KEY"])
    );
    assert_eq!(summary["requires_action"], 1);
    let detail = &summary["blocking_secret_details"][0];
    assert_eq!(detail["source"], "service.json");
    assert_eq!(
        detail["dependency_path"],
        serde_json::json!(["shop", "openai"])
    );
    assert_eq!(plan["bundle_secrets"], serde_json::json!([]));
    // Decided about, it is asked for.
    let strategy = r#"{"tier":"2","handling_strategy":"prompt","prompt_label":"OpenAI key"}"#;
    let line = "POST v1/resources/openai/secrets/OPENAI_API_KEY/strategy";
    good(&world, line, strategy).await;
    let line = "GET v1/deployment/secrets/shop?tier=desktop&include_optional=false";
    let plan = good(&world, line, "").await;
    assert_eq!(plan["summary"]["requires_action"], 0, "{plan}");
    assert_eq!(plan["bundle_secrets"][0]["class"], "user_prompt");
    assert_eq!(plan["bundle_secrets"][0]["prompt"]["label"], "OpenAI key");
    let ready = good(&world, "POST v1/deployment/readiness", body).await;
    assert_eq!(
        (&ready["ok"], &ready["summary"]),
        (&true.into(), &plan["summary"])
    );
    let only = "GET v1/deployment/secrets/shop?resources=postgres,other";
    let only = good(&world, only, "").await;
    assert_eq!(only["summary"]["total_secrets"], 1);
}

/// A24, A25, D35: nothing is invented where nothing is known.
#[tokio::test]
async fn what_is_not_known_is_an_error() {
    let world = World::new().await;
    let line = "GET v1/deployment/secrets/shop";
    let (status, error) = bad(&world, line, "").await;
    assert_eq!(status, 404);
    assert!(
        error.contains("no resources are known of scenario shop"),
        "{error}"
    );
    let body = r#"{"scenario":"shop","tier":"2","resources":["postgres"]}"#;
    let (status, error) = bad(&world, "POST v1/deployment/secrets", body).await;
    assert_eq!(status, 404);
    assert!(
        error.contains("no secrets are registered for postgres"),
        "{error}"
    );
    let status = good(&world, "GET v1/vault/secrets/status", "").await;
    assert_eq!(
        (&status["total_resources"], &status["configured_resources"]),
        (&0.into(), &0.into())
    );
    // A31: a resource with nothing stored.
    assert_eq!(bad(&world, "GET v1/resources/minio", "").await.0, 404);
    let summary = good(&world, "GET v1/orientation/summary", "").await;
    assert_eq!(summary["hero_stats"]["readiness_label"], "Blocked");
    assert_eq!(summary["hero_stats"]["risk_score"], Value::Null);
}

#[tokio::test]
async fn requests_that_make_no_sense_have_their_documented_errors() {
    let world = world().await;
    let required = "Failed to generate manifest: scenario and tier are required";
    for (line, body, error) in [
        (
            "POST v1/deployment/secrets",
            r#"{"scenario":"shop"}"#,
            required,
        ),
        ("POST v1/deployment/readiness", "{}", required),
        (
            "GET v1/deployment/secrets/shop?include_optional=perhaps",
            "",
            "include_optional must be a boolean",
        ),
        (
            "POST v1/vault/secrets/provision",
            "{}",
            "resource_name is required",
        ),
        (
            "POST v1/vault/secrets/provision",
            r#"{"resource_name":"openai"}"#,
            "no secrets provided",
        ),
        (
            "PATCH v1/resources/openai/secrets/OPENAI_ORG",
            r#"{"classification":""}"#,
            "classification cannot be empty",
        ),
        (
            "PATCH v1/resources/openai/secrets/OPENAI_ORG",
            r#"{"classification":"other"}"#,
            "invalid classification",
        ),
        (
            "PATCH v1/resources/openai/secrets/OPENAI_ORG",
            "{}",
            "no updates provided",
        ),
        (
            "POST v1/resources/openai/secrets/OPENAI_ORG/strategy",
            r#"{"tier":"2"}"#,
            "tier and handling_strategy are required",
        ),
        (
            "POST v1/resources/openai/secrets/OPENAI_ORG/strategy",
            r#"{"tier":"2","handling_strategy":"burn"}"#,
            "invalid handling strategy",
        ),
        (
            "POST v1/scenarios/shop/overrides/2/openai/OPENAI_ORG",
            r#"{"handling_strategy":"burn"}"#,
            "invalid handling_strategy: must be strip, generate, prompt, or delegate",
        ),
    ] {
        assert_eq!(
            bad(&world, line, body).await,
            invalid(error),
            "{line} {body}"
        );
    }
    let line = "PATCH v1/resources/openai/secrets/NONE";
    let missing = bad(&world, line, r#"{"required":true}"#).await;
    assert_eq!(missing, (404, "secret not found".to_owned()));
    let line = "POST v1/scenarios/shop/overrides/2/openai/NONE";
    let missing = bad(&world, line, r#"{"handling_strategy":"strip"}"#).await;
    assert_eq!(missing, (404, "secret openai/NONE not found".to_owned()));
}

/// A29: whoever has no token learns nothing, and no file is shown to anybody.
#[tokio::test]
async fn without_a_token_nothing_is_told() {
    let world = world().await;
    for line in [
        "GET v1/files/content?path=.vrooli/secrets.json",
        "GET v1/resources/postgres",
        "GET v1/ledger",
        "POST v1/vault/secrets/provision",
        "GET v1/unknown",
    ] {
        let (status, body, text) = ask(&world, None, line, "").await;
        assert_eq!(status, 401, "{line}: {text}");
        assert_eq!(body["error"], "permission denied");
    }
    let line = "GET v1/files/content?path=.vrooli/secrets.json";
    assert_eq!(bad(&world, line, "").await.0, 403);
    let (status, health, _) = ask(&world, None, "GET v1/health", "").await;
    assert_eq!((status, &health["status"]), (200, &"healthy".into()));
    assert_eq!(bad(&world, "GET v1/unknown", "").await.0, 404);
    assert_eq!(bad(&world, "DELETE v1/health", "").await.0, 405);
}

#[tokio::test]
async fn overrides_are_written_copied_and_tidied_up() {
    let world = world().await;
    let at = "v1/scenarios/shop/overrides/tier-2-desktop/openai/OPENAI_API_KEY";
    let body = r#"{"handling_strategy":"prompt","override_reason":"each user has one"}"#;
    let (status, row, _) = ask(&world, Some(ROOT), &format!("POST {at}"), body).await;
    assert_eq!((status, &row["handling_strategy"]), (201, &"prompt".into()));
    let listed = good(&world, "GET v1/scenarios/shop/overrides/desktop", "").await;
    assert_eq!(
        (&listed["count"], &listed["tier"]),
        (&1.into(), &"tier-2-desktop".into())
    );
    let effective = good(&world, "GET v1/scenarios/shop/effective/2", "").await;
    let of_key = effective["strategies"].as_array().unwrap().iter();
    let row = of_key
        .clone()
        .find(|row| row["secret_key"] == "OPENAI_API_KEY")
        .unwrap();
    assert_eq!(row["is_overridden"], true);
    assert_eq!(row["override_reason"], "each user has one");
    let copy = r#"{"source_tier":"2","target_tier":"3","overwrite":false}"#;
    let line = "POST v1/scenarios/shop/overrides/copy-from-tier";
    assert_eq!(good(&world, line, copy).await["copied"], 1);
    assert_eq!(good(&world, line, copy).await["copied"], 0);
    let same = r#"{"source_tier":"2","target_tier":"desktop"}"#;
    assert_eq!(bad(&world, line, same).await.0, 400);
    good(
        &world,
        "POST v1/scenarios/site",
        r#"{"resources":["openai"]}"#,
    )
    .await;
    let from = r#"{"source_scenario":"shop","tier":"2"}"#;
    let line = "POST v1/scenarios/site/overrides/copy-from-scenario";
    assert_eq!(good(&world, line, from).await["copied"], 1);
    // Without the resource they are of nothing.
    good(
        &world,
        "POST v1/scenarios/shop",
        r#"{"resources":["postgres"]}"#,
    )
    .await;
    let orphans = good(&world, "GET v1/admin/overrides/orphans", "").await;
    assert_eq!(orphans["count"], 2, "{orphans}");
    let line = "POST v1/admin/overrides/cleanup";
    let dry = good(&world, line, r#"{"dry_run":true}"#).await;
    assert_eq!(
        (&dry["deleted"], &dry["would_delete"]),
        (&0.into(), &2.into())
    );
    assert_eq!(good(&world, line, "{}").await["deleted"], 2);
    assert_eq!(
        good(&world, "GET v1/admin/overrides/orphans", "").await["count"],
        0
    );
    let at = "v1/scenarios/site/overrides/2/openai/openai_api_key";
    assert_eq!(
        good(&world, &format!("DELETE {at}"), "").await["success"],
        true
    );
    assert_eq!(bad(&world, &format!("GET {at}"), "").await.0, 404);
}

/// A19, A21, A23: checks are kept, count once, and the numbers agree.
#[tokio::test]
async fn values_are_given_checked_and_never_shown() {
    let world = world().await;
    let canary = "sk-canary-4f1e9a7c";
    let body = format!(
        r#"{{"resource_name":"openai","secrets":{{"openai api key":" {canary} ",
            "default":"x","resource:y":"z","OPENAI_ORG":""}}}}"#
    );
    let done = good(&world, "POST v1/vault/secrets/provision", &body).await;
    assert_eq!(
        (&done["success"], &done["stored_secrets"]),
        (&true.into(), &1.into())
    );
    let detail = &done["details"][0];
    assert_eq!(
        detail["vault_path"],
        "secret/resources/openai/openai_api_key"
    );
    assert_eq!(
        (&detail["env_key"], &detail["status"]),
        (&"OPENAI_API_KEY".into(), &"stored".into())
    );
    let read = world
        .root("GET secret/data/resources/openai/openai_api_key", "")
        .await;
    assert_eq!(read.data()["data"]["value"], canary);
    let status = good(&world, "GET v1/vault/secrets/status", "").await;
    assert_eq!(
        (&status["total_resources"], &status["configured_resources"]),
        (&2.into(), &1.into())
    );
    assert_eq!(status["missing_secrets"].as_array().unwrap().len(), 1);
    assert_eq!(
        status["missing_secrets"][0]["secret_path"],
        "secret/resources/postgres/postgres_password"
    );
    let one = good(&world, "POST v1/secrets/scan", r#"{"resource":"openai"}"#).await;
    assert_eq!(one["resource_statuses"][0]["health_status"], "healthy");
    for _ in 0..3 {
        let checked = good(&world, "POST v1/secrets/validate", "{}").await;
        assert_eq!(
            (&checked["total_secrets"], &checked["valid_secrets"]),
            (&3.into(), &1.into())
        );
        let health = checked["health_summary"].as_array().unwrap();
        assert_eq!(health[0]["valid_secrets"], 1, "{checked}");
        assert_eq!(health[1]["missing_required_secrets"], 1, "{checked}");
    }
    let detail = good(&world, "GET v1/resources/openai", "").await;
    assert_eq!(
        (&detail["valid_secrets"], &detail["missing_secrets"]),
        (&1.into(), &1.into())
    );
    assert_eq!(detail["secrets"][0]["validation_state"], "valid");
    let old =
        r#"{"resource":"openai","secret_key":"OPENAI_API_KEY","secret_value":"wrong-shape-of-it"}"#;
    good(&world, "POST v1/secrets/provision", old).await;
    let checked = good(&world, "GET v1/secrets/validate?resource=openai", "").await;
    let why = checked["invalid_secrets"][0]["error_message"]
        .as_str()
        .unwrap();
    assert!(why.starts_with("the value does not match"), "{why}");
    for answer in [&done, &status, &checked, &detail] {
        let text = answer.to_string();
        assert!(
            !text.contains("canary") && !text.contains("wrong-shape"),
            "{text}"
        );
    }
    let summary = good(&world, "GET v1/orientation/summary", "").await;
    assert_eq!(summary["hero_stats"]["vault_configured"], 1);
    assert_eq!(summary["resource_insights"][0]["resource_name"], "postgres");
    let tiers = summary["tier_readiness"].as_array().unwrap();
    assert_eq!(
        (&tiers[1]["strategized"], &tiers[1]["ready_percent"]),
        (&1.into(), &50.into())
    );
}

/// Who may use the endpoint may not write what policies keep from them.
#[tokio::test]
async fn provisioning_needs_the_right_to_the_secret_itself() {
    let world = world().await;
    let policy = r#"path "sys/api/v1/*" { capabilities = ["read", "update"] }"#;
    world.policy("clerk", policy).await;
    let clerk = world.token(&["clerk"]).await;
    let body = r#"{"resource_name":"openai","secrets":{"OPENAI_ORG":"org-1"}}"#;
    let line = "POST v1/vault/secrets/provision";
    let (status, ..) = ask(&world, Some(&clerk), line, body).await;
    assert_eq!(status, 403);
    let more = r#"path "sys/api/v1/*" { capabilities = ["update"] }
        path "secret/data/resources/*" { capabilities = ["create", "update"] }"#;
    world.policy("clerk", more).await;
    let (status, _, text) = ask(&world, Some(&clerk), line, body).await;
    assert_eq!(status, 200, "{text}");
}

/// A20: a campaign is kept.
#[tokio::test]
async fn campaigns_are_kept() {
    let world = world().await;
    let body = r#"{"scenario":"shop","tier":"2","progress":40,"blockers":1,
        "next_action":"decide about OPENAI_API_KEY","summary":{"a":"1"}}"#;
    let made = good(&world, "POST v1/campaigns", body).await;
    assert_eq!(
        (&made["tier"], &made["status"]),
        (&"tier-2-desktop".into(), &"in_progress".into())
    );
    let later = r#"{"scenario":"shop","tier":"desktop","progress":60,"status":"done"}"#;
    good(&world, "POST v1/campaigns", later).await;
    let listed = good(
        &world,
        "GET v1/campaigns?scenario=shop&include_readiness=true",
        "",
    )
    .await;
    assert_eq!(listed["count"], 1, "{listed}");
    let row = &listed["campaigns"][0];
    assert_eq!(
        (&row["progress"], &row["next_action"]),
        (&60.into(), &made["next_action"])
    );
    assert_eq!(row["readiness"]["requires_action"], 1);
    assert_eq!(
        good(&world, "GET v1/campaigns?scenario=other", "").await["count"],
        0
    );
    let line = "POST v1/campaigns";
    assert_eq!(
        bad(&world, line, "{}").await,
        invalid("scenario and tier are required")
    );
    let far = r#"{"scenario":"shop","tier":"2","progress":400}"#;
    assert_eq!(bad(&world, line, far).await.0, 400);
}
