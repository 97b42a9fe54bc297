use std::collections::BTreeMap;

use serde_json::json;
use strongroom_core::time::Timestamp;

use super::*;
use crate::plan::Request;
use crate::plan::plan;
use crate::template;
use crate::template::Format;
use crate::tier::Tier;

/// The documented application: two needed, one optional, one of the server.
fn bundle() -> Bundle {
    let manifest = json!({
        "app": { "name": "picker-wheel" },
        "swaps": [{ "original": "postgres", "replacement": "sqlite" }],
        "secrets": [
            {
                "id": "jwt_secret", "class": "per_install_generated", "description": "Signs tokens",
                "format": "^[A-Za-z0-9]{32,}$",
                "generator": { "type": "random", "length": 32, "charset": "alnum" },
                "target": { "type": "env", "name": "JWT_SECRET" },
            },
            {
                "id": "session_secret", "class": "user_prompt", "description": "Signs cookies",
                "prompt": { "label": "Session secret", "description": "Type 32 characters." },
                "target": { "type": "env", "name": "SESSION_SECRET" },
            },
            {
                "id": "api_key", "class": "user_prompt", "required": false,
                "prompt": { "label": "Key", "description": "It's at example.org." },
                "target": { "type": "env", "name": "API_KEY" },
            },
            {
                "id": "postgres_password", "class": "infrastructure",
                "target": { "type": "env", "name": "POSTGRES_PASSWORD" },
            },
        ],
        "services": [{ "id": "api", "secrets": ["jwt_secret", "session_secret", "api_key"] }],
    });
    Bundle::read(manifest.to_string().as_bytes()).unwrap()
}

fn plan_of(bundle: &Bundle) -> Plan {
    plan(&Request {
        scenario: "picker-wheel",
        tier: Tier::Desktop,
        needs: &bundle.needs().unwrap(),
        swaps: &bundle.swaps(),
        overrides: &[],
        resources: &[],
        include_optional: false,
        now: Timestamp::from_micros(1_736_942_400_000_000),
    })
}

#[test]
fn the_documented_numbers_add_up() {
    let answer = identify(&plan_of(&bundle()), "profile-123");
    assert_eq!(
        answer["summary"],
        json!({ "total": 4, "required": 2, "optional": 1, "infrastructure": 1, "bundleable": 3 })
    );
    assert_eq!(answer["tier"], 2);
    assert_eq!(
        answer["secrets"][3]["note"],
        "Not needed with sqlite swap applied"
    );
    assert_eq!(answer["secrets"][0]["source"], "per_install_generated");
}

#[test]
fn what_is_ready_passes_and_what_is_swapped_out_is_skipped() {
    let bundle = bundle();
    let answer = validation_json(&validate(&plan_of(&bundle), Some(&bundle)), "profile-123");
    assert_eq!(answer["valid"], true);
    assert_eq!(
        answer["summary"],
        json!({ "passed": 3, "failed": 0, "skipped": 1 })
    );
    let last = &answer["checks"][3];
    assert_eq!(
        last["details"],
        "Infrastructure secret excluded (sqlite swap applied)"
    );
    assert_eq!(answer.get("blockers"), None);
}

#[test]
fn each_of_the_six_checks_can_fail() {
    let mut manifest = bundle().raw().clone();
    let secrets = &mut manifest["secrets"];
    secrets[0]["generator"] = Value::Null;
    secrets[1]["prompt"] = json!({});
    secrets[2]["format"] = json!("(?=x)");
    secrets.as_array_mut().unwrap().extend([
        json!({ "id": "fetched", "class": "remote_fetch" }),
        json!({ "id": "silent" }),
        json!({ "id": "drawn", "class": "per_install_generated", "generator": { "type": "file" } }),
    ]);
    manifest["swaps"] = json!([]);
    manifest["services"][0]["secrets"] = json!(["nothing"]);
    let bundle = Bundle::read(manifest.to_string().as_bytes()).unwrap();
    let checks = validate(&plan_of(&bundle), Some(&bundle));
    let failed: Vec<(&str, &str)> = checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| {
            (
                check.secret.as_str(),
                check.details.split(':').next().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        failed,
        [
            ("jwt_secret", "Missing generator configuration"),
            ("session_secret", "Prompt has no label and description"),
            ("api_key", "Format does not compile"),
            (
                "postgres_password",
                "Infrastructure secret cannot be bundled; apply swap or remove from bundle"
            ),
            ("fetched", "Remote source is not configured"),
            ("silent", "Source is not configured"),
            ("drawn", "Generator is not valid"),
            ("nothing", "Referenced by service api but not declared"),
        ]
    );
    let answer = validation_json(&checks, "p");
    assert_eq!(
        answer["blockers"][0],
        "Fix jwt_secret: Add generator configuration"
    );
    assert_eq!(
        answer["blockers"][3],
        "Fix postgres_password: Apply postgres->sqlite swap or mark as external"
    );
    let summary = &answer["summary"];
    assert_eq!(summary["failed"], 8);
}

#[test]
fn templates_name_what_is_asked_for_and_hold_no_value() {
    let plan = plan_of(&bundle());
    let env = template::text(&plan, "desk", Format::Env);
    for line in [
        "# picker-wheel - Secrets Template",
        "# Tier: 2 (Desktop)",
        "# Status: Auto-generated (no action required)",
        "SESSION_SECRET=",
        "# API_KEY=",
        "# Status: NOT INCLUDED - Not needed with sqlite swap applied",
    ] {
        assert!(
            env.lines().any(|other| other == line),
            "{line} is not in\n{env}"
        );
    }
    let dotenv = template::text(&plan, "desk", Format::Dotenv);
    assert_eq!(
        dotenv,
        "# Signs cookies\nSESSION_SECRET=\n# API_KEY (optional)\n# API_KEY=\n"
    );
    let vault = template::text(&plan, "desk", Format::Vault);
    let put = "vault kv put -mount=secret 'picker-wheel/session_secret' value=-";
    assert!(vault.contains(put), "{vault}");
    let aws = template::text(&plan, "desk", Format::Aws);
    assert!(
        aws.contains("--description 'It'\\''s at example.org.'"),
        "{aws}"
    );
    let k8s = template::text(&plan, "desk", Format::K8s);
    assert!(k8s.contains("  SESSION_SECRET: \"\"\n"), "{k8s}");
    assert!(!k8s.contains("POSTGRES"), "{k8s}");
    let json = template::json(&plan, "profile-123");
    assert_eq!(
        json["secrets"]["per_install_generated"][0]["id"],
        "jwt_secret"
    );
    assert_eq!(json["secrets"]["user_prompt"][1]["required"], false);
    assert_eq!(
        json["secrets"]["excluded"][0],
        json!({
            "id": "postgres_password", "reason": "infrastructure",
            "note": "Not needed with sqlite swap applied",
        })
    );
}

#[test]
fn a_description_of_several_lines_stays_a_comment() {
    let mut manifest = bundle().raw().clone();
    manifest["secrets"][1]["description"] = json!("first\nEVIL=1\r\n$(id)");
    let bundle = Bundle::read(manifest.to_string().as_bytes()).unwrap();
    let plan = plan(&Request {
        scenario: "a\nB=2",
        tier: Tier::Desktop,
        needs: &bundle.needs().unwrap(),
        swaps: &BTreeMap::new(),
        overrides: &[],
        resources: &[],
        include_optional: false,
        now: Timestamp::from_micros(0),
    });
    for format in [
        Format::Env,
        Format::Dotenv,
        Format::Vault,
        Format::Aws,
        Format::K8s,
    ] {
        let text = template::text(&plan, "x\nC=3", format);
        for line in text.lines() {
            assert!(
                !line.starts_with(['E', 'B', 'C', '$']),
                "{format:?}: {line}"
            );
        }
    }
}
