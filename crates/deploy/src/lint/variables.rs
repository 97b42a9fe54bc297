//! `${…}` in what services are given: a variable that nobody fills in stays in the text.

use std::collections::BTreeSet;

use serde_json::Value;
use strongroom_core::manifest::did_you_mean;

use super::Finding;
use super::Severity;
use super::shape::join;
use crate::json;

pub(super) fn check(manifest: &Value) -> Vec<Finding> {
    let mut known: BTreeSet<String> = ["data", "bundle"].map(str::to_owned).into();
    let services = json::items(manifest, "services");
    for service in services {
        let id = json::text(service, "id").unwrap_or_default();
        let ports = service.get("ports");
        for request in ports.map_or(&[][..], |ports| json::items(ports, "requested")) {
            if let Some(name) = json::text(request, "name") {
                known.insert(format!("{id}.{name}"));
            }
        }
    }
    let mut findings = Vec::new();
    for (at, service) in services.iter().enumerate() {
        let path = format!("$.services[{at}]");
        for (key, value) in service.as_object().into_iter().flatten() {
            // Building has variables of its own, and nobody fills in the others.
            if !matches!(key.as_str(), "build" | "metadata" | "description") {
                walk(&join(&path, key), value, &known, &mut findings);
            }
        }
    }
    findings
}

/// Manifests are read with a bound on how deep they go.
fn walk(path: &str, value: &Value, known: &BTreeSet<String>, findings: &mut Vec<Finding>) {
    match value {
        Value::String(text) => findings.extend(unknown(text, known).map(|name| Finding {
            severity: Severity::Error,
            code: "bundle.unresolved_variable",
            path: path.to_owned(),
            message: format!("nothing fills in ${{{name}}}"),
            fix: match did_you_mean(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean ${{{near}}}?"),
                None => format!(
                    "there are: {}",
                    known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
                ),
            },
        })),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(&format!("{path}[{at}]"), item, known, findings);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                walk(&join(path, key), value, known, findings);
            }
        }
        _ => {}
    }
}

/// The variables of a text that nobody fills in.
fn unknown<'t>(text: &'t str, known: &'t BTreeSet<String>) -> impl Iterator<Item = &'t str> {
    let parts = text.split("${").skip(1);
    let names = parts.filter_map(|part| part.split_once('}').map(|(name, _)| name));
    names.filter(|name| !known.contains(*name))
}
