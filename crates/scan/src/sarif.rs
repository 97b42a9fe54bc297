//! Findings as SARIF 2.1.0, for code hosts and editors. No value and no piece of a file is in it.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::finding::Finding;
use crate::finding::STORED;
use crate::rule;
use crate::rule::Severity;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log with one run.
#[must_use]
pub fn log(findings: &[Finding], version: &str) -> Value {
    let mut used: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in findings {
        used.entry(finding.rule).or_insert(finding);
    }
    let rules: Vec<Value> = used.values().map(|finding| rule_json(finding)).collect();
    let places: BTreeMap<&str, usize> = used.keys().enumerate().map(|(at, id)| (*id, at)).collect();
    let results = findings.iter().map(|finding| {
        let mut result = json!({
            "ruleId": finding.rule,
            "ruleIndex": places.get(finding.rule),
            "level": level(finding.severity),
            "message": { "text": message(finding) },
            "locations": [{
                "physicalLocation": {
                    "artifactLocation": { "uri": uri(&finding.path), "uriBaseId": "SRCROOT" },
                    "region": {
                        "startLine": finding.line,
                        "startColumn": finding.column,
                        "endLine": finding.end_line,
                        "endColumn": finding.end_column,
                    },
                },
            }],
            "properties": { "severity": finding.severity.word() },
        });
        if let Some(fingerprint) = finding.fingerprint {
            result["partialFingerprints"] = json!({ "keyedValue/v1": hex(fingerprint) });
        }
        result
    });
    let results: Vec<Value> = results.collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "strongroom",
                "semanticVersion": version,
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule_json(finding: &Finding) -> Value {
    let known = rule::all().iter().find(|rule| rule.id == finding.rule);
    let mut json = json!({
        "id": finding.rule,
        "shortDescription": { "text": finding.title },
        "defaultConfiguration": { "level": level(finding.severity) },
    });
    if let Some(rule) = known {
        json["helpUri"] = rule.source.into();
    }
    json
}

fn message(finding: &Finding) -> String {
    match (&finding.secret, finding.rule) {
        (Some(secret), STORED) => format!("The value of /{secret} in the store stands here"),
        _ => finding.title.to_owned(),
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// A path as a part of a URI.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A fingerprint as text.
#[must_use]
pub fn hex(fingerprint: [u8; 16]) -> String {
    fingerprint
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
