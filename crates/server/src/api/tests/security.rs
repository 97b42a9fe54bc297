//! Scans that are sent, and what is told of them.

use serde_json::Value;
use serde_json::json;

use super::ask;
use super::bad;
use super::good;
use super::world;
use crate::vault::tests::ROOT;
use crate::vault::tests::World;

/// Paths and severities; the worst comes last in the alphabet.
const FOUND: [(&str, &str); 5] = [
    ("a.py", "medium"),
    ("b.py", "low"),
    ("src/c.py", "critical"),
    ("src/d.py", "high"),
    ("src/e.py", "critical"),
];

fn finding((path, severity): (&str, &str)) -> Value {
    json!({ "rule": "github-token", "title": "GitHub token", "severity": severity,
        "path": path, "line": 3, "column": 5, "fingerprint": null })
}

fn record(found: &[(&str, &str)]) -> Value {
    let findings: Vec<Value> = found.iter().copied().map(finding).collect();
    json!({ "component": "shop", "component_type": "scenario", "scope": [""], "complete": true,
        "files": 12, "bytes": 3400, "rules": 50, "duration_ms": 8, "findings": findings })
}

async fn send(world: &World, record: &Value) -> Value {
    good(world, "POST v1/security/scan", &record.to_string()).await
}

fn texts(rows: &Value, key: &str) -> Vec<String> {
    let rows = rows["vulnerabilities"].as_array().unwrap().iter();
    rows.map(|row| row[key].as_str().unwrap().to_owned())
        .collect()
}

/// A20: what a scan found is stored, and so is that there was one.
#[tokio::test]
async fn a_scan_record_is_kept() {
    let world = world().await;
    let before = good(&world, "GET v1/security/scan", "").await;
    assert_eq!(before["available"], false);
    assert_eq!(
        before["risk_score"],
        Value::Null,
        "no number without a scan"
    );
    let none = good(&world, "GET v1/security/vulnerabilities", "").await;
    assert_eq!(none["total_count"], 0);
    let summary = good(&world, "GET v1/security/compliance", "").await;
    assert_eq!(summary["risk_score"], Value::Null);
    assert_eq!(summary["total_vulnerabilities"], Value::Null);

    let sent = send(&world, &record(&FOUND)).await;
    assert_eq!(
        (&sent["open"], &sent["new"], &sent["resolved"]),
        (&json!(5), &json!(5), &json!(0))
    );
    // 2 × 25 + 15 + 8 + 3
    assert_eq!(sent["risk_score"], 76);
    let kept = good(&world, "GET v1/security/scan", "").await;
    assert_eq!(kept["available"], true);
    assert_eq!(kept["scan_id"], sent["scan_id"]);
    assert_eq!(kept["metrics"]["files_scanned"], 12);
    assert_eq!(kept["recommendations"].as_array().unwrap().len(), 4);
    let rows = good(&world, "GET v1/security/vulnerabilities", "").await;
    assert_eq!(rows["total_count"], 5);
    assert_eq!(rows["scan_metadata"]["last_scan"], kept["scanned_at"]);
    assert_eq!(rows["scan_metadata"]["scans"][0]["component"], "shop");

    // What is not in the next one is resolved, what comes back is told so.
    let sent = send(&world, &record(&FOUND[..2])).await;
    assert_eq!((&sent["open"], &sent["resolved"]), (&json!(2), &json!(3)));
    let sent = send(&world, &record(&FOUND)).await;
    assert_eq!((&sent["new"], &sent["regressed"]), (&json!(0), &json!(3)));
    // A scan that did not see everything resolves nothing, nor does one of another folder.
    let mut part = record(&[]);
    part["complete"] = false.into();
    assert_eq!(send(&world, &part).await["resolved"], 0);
    let mut of_folder = record(&[]);
    of_folder["scope"] = json!(["src"]);
    let sent = send(&world, &of_folder).await;
    assert_eq!((&sent["open"], &sent["resolved"]), (&json!(2), &json!(3)));
}

/// A55.
#[tokio::test]
async fn vulnerabilities_are_in_the_order_of_their_rank() {
    let world = world().await;
    send(&world, &record(&FOUND)).await;
    let rows = good(&world, "GET v1/security/vulnerabilities", "").await;
    let expected = ["critical", "critical", "high", "medium", "low"];
    assert_eq!(texts(&rows, "severity"), expected);
    let alias = good(&world, "GET v1/vulnerabilities?severity=critical", "").await;
    assert_eq!(texts(&alias, "file"), ["src/c.py", "src/e.py"]);
    let two = good(&world, "GET v1/vulnerabilities?severity=high,LOW", "").await;
    assert_eq!(texts(&two, "severity"), ["high", "low"]);
    let (status, error) = bad(&world, "GET v1/vulnerabilities?severity=terrible", "").await;
    assert_eq!(status, 400, "{error}");
}

/// A56: both spellings of the filter do something.
#[tokio::test]
async fn the_filter_by_type_has_both_spellings() {
    let world = world().await;
    send(&world, &record(&FOUND[..1])).await;
    let mut of_resource = record(&FOUND[2..3]);
    of_resource["component"] = "postgres".into();
    of_resource["component_type"] = "resource".into();
    send(&world, &of_resource).await;
    for spelling in ["component_type", "componentType"] {
        let line = format!("GET v1/security/vulnerabilities?{spelling}=resource");
        let rows = good(&world, &line, "").await;
        assert_eq!(texts(&rows, "component"), ["postgres"], "{spelling}");
        let line = format!("GET v1/security/vulnerabilities?{spelling}=planet");
        assert_eq!(bad(&world, &line, "").await.0, 400);
    }
    let line = "GET v1/security/vulnerabilities?component=shop&quick=true";
    assert_eq!(texts(&good(&world, line, "").await, "file"), ["a.py"]);
    let resource = good(&world, "GET v1/resources/postgres", "").await;
    assert_eq!(resource["open_vulnerabilities"], 1);
    let other = good(&world, "GET v1/resources/openai", "").await;
    assert_eq!(
        other["open_vulnerabilities"],
        Value::Null,
        "nobody has looked"
    );
    let summary = good(&world, "GET v1/orientation/summary", "").await;
    let hero = &summary["hero_stats"];
    assert_eq!(hero["risk_score"], 33);
    assert!(hero["last_scan"].is_string());
    // No resource has its values: 0, and 100 - 33.
    assert_eq!(hero["overall_score"], 33);
    assert_eq!(summary["vulnerability_insights"]["total"], 2);
    let compliance = good(&world, "GET v1/security/compliance", "").await;
    assert_eq!(compliance["compliance_status"], "non_compliant");
    assert_eq!(compliance["vulnerability_summary"]["critical"], 1);
    assert_eq!(compliance["critical_vulnerabilities"], 1);
    assert_eq!(compliance["total_components"], 2);
}

#[tokio::test]
async fn the_status_of_a_weak_place_is_kept() {
    let world = world().await;
    send(&world, &record(&FOUND[2..3])).await;
    let rows = good(&world, "GET v1/vulnerabilities", "").await;
    let id = texts(&rows, "id").remove(0);
    let line = format!("POST v1/security/vulnerabilities/{id}/status");
    let body = r#"{"status":"accepted","assigned_to":"ann"}"#;
    let answer = good(&world, &line, body).await;
    assert_eq!(answer, json!({ "id": id, "status": "accepted" }));
    // It is no longer open, also when it is found again.
    send(&world, &record(&FOUND[2..3])).await;
    let open = good(&world, "GET v1/vulnerabilities", "").await;
    assert_eq!(open["total_count"], 0);
    let all = good(&world, "GET v1/vulnerabilities?status=all", "").await;
    assert_eq!(all["vulnerabilities"][0]["assigned_to"], "ann");
    assert_eq!(bad(&world, &line, "{}").await.1, "status is required");
    let wrong = r#"{"status":"gone"}"#;
    assert_eq!(
        bad(&world, &line, wrong).await,
        (400, "invalid status".to_owned())
    );
    let unknown = "POST v1/security/vulnerabilities/abc/status";
    assert_eq!(bad(&world, unknown, body).await.0, 404);
}

#[tokio::test]
async fn a_record_with_anything_that_could_be_a_value_is_refused() {
    let world = world().await;
    let canary = "hunter2-canary-value";
    for key in ["value", "secret", "match", "Secret", "preview", "line_text"] {
        let mut record = record(&FOUND[..1]);
        record["findings"][0][key] = canary.into();
        let line = "POST v1/security/scan";
        let (status, _, text) = ask(&world, Some(ROOT), line, &record.to_string()).await;
        assert_eq!(status, 400, "{key}");
        assert!(!text.contains(canary), "{text}");
    }
    let cases = [
        (json!({ "findings": [] }), "component is required"),
        (json!({ "component": "shop" }), "reads no files"),
        (
            json!({ "component": "a/b", "findings": [] }),
            "a name has letters",
        ),
        (
            json!({ "component": "a", "component_type": "x", "findings": [] }),
            "scenario or resource",
        ),
        (
            json!({ "component": "a", "findings": ["x"] }),
            "is an object",
        ),
        (
            json!({ "component": "a", "findings": [{ "rule": "x" }] }),
            "a path and a line",
        ),
        (
            json!({ "component": "a", "findings": [], "scope": 3 }),
            "list of paths",
        ),
    ];
    for (record, expected) in cases {
        let (status, error) = bad(&world, "POST v1/security/scan", &record.to_string()).await;
        assert_eq!(status, 400, "{record}");
        assert!(error.contains(expected), "{record}: {error}");
    }
    let mut wrong = record(&FOUND[..1]);
    wrong["findings"][0]["fingerprint"] = "abc".into();
    assert_eq!(
        bad(&world, "POST v1/security/scan", &wrong.to_string())
            .await
            .0,
        400
    );
    let many: Vec<(&str, &str)> = vec![FOUND[0]; 1001];
    let (status, _) = bad(&world, "POST v1/security/scan", &record(&many).to_string()).await;
    assert_eq!(status, 400);
    let none = good(&world, "GET v1/security/scan", "").await;
    assert_eq!(none["available"], false, "nothing of it was kept");
}
