//! Taking what a scan found.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_crypto::digest;
use strongroom_crypto::digest::Algorithm;

use super::COMPONENT_TYPES;
use super::Component;
use super::Row;
use super::Severity;
use super::Sums;
use super::check_kind;
use crate::api::bare;
use crate::api::documents;
use crate::api::documents::Of;
use crate::api::field;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Most findings of one scan.
const FINDINGS_MAX: usize = 1_000;
/// Most rows of what was mended that are kept for one component.
const RESOLVED_MAX: usize = 200;
/// Scans of one component that are kept.
const SCANS_MAX: usize = 20;
/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 400;
/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 120;
/// Most places that a scan begins at.
const SCOPE_MAX: usize = 100;
/// What a finding may have. Anything else could be the value itself, and is refused.
const KEYS: [&str; 7] = [
    "rule",
    "title",
    "severity",
    "path",
    "line",
    "column",
    "fingerprint",
];

/// A scan that was sent.
struct Sent {
    kind: String,
    name: String,
    scope: Vec<String>,
    is_complete: bool,
    rows: BTreeMap<String, Row>,
}

pub(in super::super) async fn take(call: &mut Call) -> Result<Answer, Fault> {
    let sent = read(call)?;
    let name = [sent.kind.as_str(), sent.name.as_str()];
    let kept = documents::load(&call.core, Of::Weaknesses, &name).await?;
    let precondition = kept
        .as_ref()
        .map_or(Precondition::Absent, |kept| kept.unchanged);
    let mut component = match &kept {
        Some(kept) => Component::of(name[0], name[1], &kept.value),
        None => Component::of(name[0], name[1], &Value::Null),
    };
    let now = call.now.to_string();
    let changed = merge(&mut component, &sent, &now);
    let number = |key: &str| call.fields.get(key).and_then(Value::as_u64);
    let id = format!("{:020}-{}", call.now.as_micros(), call.request_id);
    component.scan = json!({
        "scan_id": id,
        "scanned_at": now,
        "complete": sent.is_complete,
        "scope": sent.scope,
        "files": number("files"),
        "bytes": number("bytes"),
        "rules": number("rules"),
        "duration_ms": number("duration_ms"),
        "findings": sent.rows.len(),
        "findings_total": number("findings_total").unwrap_or(sent.rows.len() as u64),
    });
    let document = component.document();
    let of_scan = [name[0], name[1], id.as_str()];
    let mut batch = vec![
        documents::put(&call.core, Of::Weaknesses, &name, &document, precondition)?,
        documents::put(
            &call.core,
            Of::Scans,
            &of_scan,
            &component.scan,
            Precondition::Absent,
        )?,
    ];
    for old in old_scans(call, name).await? {
        let name: Vec<&str> = old.iter().map(String::as_str).collect();
        batch.push(documents::remove(&call.core, Of::Scans, &name));
    }
    documents::commit(&call.core, batch).await?;
    let sums = Sums::of(std::slice::from_ref(&component));
    Ok(bare(json!({
        "scan_id": id,
        "component": sent.name,
        "component_type": sent.kind,
        "scanned_at": now,
        "status": "completed",
        "open": sums.total,
        "new": changed.new,
        "resolved": changed.resolved,
        "regressed": changed.regressed,
        "risk_score": sums.risk(),
        "by_severity": sums.json(),
    })))
}

/// Scans that are too many with the next one, the oldest first.
async fn old_scans(call: &Call, of: [&str; 2]) -> Result<Vec<Vec<String>>, Fault> {
    let all = documents::all(&call.core, Of::Scans).await?.into_iter();
    let own = all.map(|(name, _)| name).filter(|name| {
        let mut parts = name.iter().map(String::as_str);
        parts.next() == Some(of[0]) && parts.next() == Some(of[1])
    });
    let mut own: Vec<Vec<String>> = own.collect();
    own.truncate((own.len() + 1).saturating_sub(SCANS_MAX));
    Ok(own)
}

/// What a scan changed.
#[derive(Default)]
struct Changed {
    new: usize,
    resolved: usize,
    regressed: usize,
}

fn merge(component: &mut Component, sent: &Sent, now: &str) -> Changed {
    let mut changed = Changed::default();
    let mut waiting = sent.rows.clone();
    for row in &mut component.rows {
        if let Some(seen) = waiting.remove(&row.id) {
            changed.regressed += usize::from(row.status == "resolved");
            row.see(&seen);
        } else if sent.is_complete && row.is_open() && sent.covers(&row.path) {
            row.set_status("resolved", now);
            changed.resolved += 1;
        }
    }
    changed.new = waiting.len();
    component.rows.extend(waiting.into_values());
    // What was mended is forgotten some day, the oldest first.
    let resolved = component.rows.iter().filter_map(|row| row.resolved.clone());
    let mut resolved: Vec<String> = resolved.collect();
    resolved.sort_unstable_by(|a, b| b.cmp(a));
    if let Some(oldest) = resolved.get(RESOLVED_MAX) {
        let is_kept = |row: &Row| row.resolved.as_ref().is_none_or(|at| at > oldest);
        component.rows.retain(is_kept);
    }
    changed
}

impl Sent {
    /// Whether a file lies where was looked.
    fn covers(&self, path: &str) -> bool {
        self.scope.iter().any(|place| {
            let rest = path.strip_prefix(place.as_str());
            place.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

fn read(call: &Call) -> Result<Sent, Fault> {
    let Some(findings) = call.fields.get("findings").and_then(Value::as_array) else {
        return Err(Fault::invalid(
            "findings is missing: this server reads no files; `strongroom scan --server` sends \
             what it finds in yours",
        ));
    };
    if findings.len() > FINDINGS_MAX {
        return Err(Fault::invalid(format!(
            "a scan has at most {FINDINGS_MAX} findings: send the worst"
        )));
    }
    let name = field::text(call, "component");
    let name = name.ok_or_else(|| Fault::invalid("component is required"))?;
    field::check_name(&name)?;
    let kind = field::text(call, "component_type");
    let kind = kind.or_else(|| field::text(call, "componentType"));
    let kind = kind.unwrap_or_else(|| COMPONENT_TYPES[0].to_owned());
    check_kind(&kind)?;
    let scope = match call.fields.get("scope") {
        None => vec![String::new()],
        Some(scope) => {
            let places = scope.as_array().filter(|all| all.len() <= SCOPE_MAX);
            let places = places.into_iter().flatten().map(|one| {
                let place = one.as_str().filter(|place| place.len() <= PATH_BYTES_MAX);
                place.map(|place| place.trim_end_matches('/').to_owned())
            });
            let places: Option<Vec<String>> = places.collect();
            let places = places.filter(|places| !places.is_empty());
            places.ok_or_else(|| Fault::invalid("scope is a list of paths"))?
        }
    };
    let now = call.now.to_string();
    let mut rows = BTreeMap::new();
    for finding in findings {
        let row = finding_of(finding, (&kind, &name), &now)?;
        // One value on many lines of a file is one weak place, on the first of them.
        rows.entry(row.id.clone()).or_insert(row);
    }
    Ok(Sent {
        kind,
        name,
        scope,
        is_complete: field::flag(call, "complete")?,
        rows,
    })
}

fn finding_of(value: &Value, component: (&str, &str), now: &str) -> Result<Row, Fault> {
    let object = value.as_object();
    let object = object.ok_or_else(|| Fault::invalid("a finding is an object"))?;
    if object.keys().any(|key| !KEYS.contains(&key.as_str())) {
        return Err(Fault::invalid(format!(
            "a finding has {} and nothing else: no value is taken",
            KEYS.join(", ")
        )));
    }
    let text = |key: &str| value[key].as_str().filter(|text| !text.is_empty());
    let number = |key: &str| value[key].as_u64().filter(|number| *number > 0);
    let severity = text("severity").and_then(Severity::of_word);
    let (Some(rule), Some(severity), Some(path), Some(line)) =
        (text("rule"), severity, text("path"), number("line"))
    else {
        return Err(Fault::invalid(
            "a finding has a rule, a severity (critical, high, medium, low), a path and a line",
        ));
    };
    field::check_name(rule)?;
    if path.len() > PATH_BYTES_MAX {
        return Err(Fault::invalid(format!(
            "a path has over {PATH_BYTES_MAX} bytes"
        )));
    }
    let fingerprint = match text("fingerprint") {
        None => None,
        Some(text) if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Some(text.to_ascii_lowercase())
        }
        Some(_) => return Err(Fault::invalid("a fingerprint has 32 hexadecimal digits")),
    };
    let title: String = text("title")
        .unwrap_or(rule)
        .chars()
        .take(TITLE_CHARS_MAX)
        .collect();
    // With a fingerprint it is the same place wherever in the file it moves.
    let which = fingerprint.clone().unwrap_or_else(|| line.to_string());
    let (kind, name) = component;
    let parts = [kind, name, rule, path, &which].join("\0");
    let sum = digest::digest(Algorithm::Sha256, parts.as_bytes());
    let id = HEXLOWER.encode(sum.get(..16).unwrap_or_default());
    let place = (path, line, number("column").unwrap_or(1));
    Ok(Row::fresh(
        id,
        (rule, &title, severity),
        place,
        fingerprint,
        now,
    ))
}
