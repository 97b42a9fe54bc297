//! What a scan tells.

use serde_json::Value;
use serde_json::json;
use strongroom_scan::Finding;
use strongroom_scan::Severity;
use strongroom_scan::rule;
use strongroom_scan::sarif;

use super::Scanned;
use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::ui::clean;

pub(super) fn rules(app: &App) -> Result<(), CommandError> {
    let mut rules: Vec<&rule::Rule> = rule::all().iter().collect();
    rules.sort_by_key(|rule| (rule.severity, rule.id));
    if app.ui.is_json {
        let rules = rules.iter().map(|rule| {
            json!({
                "id": rule.id,
                "title": rule.title,
                "severity": rule.severity.word(),
                "source": rule.source,
            })
        });
        let rules: Vec<Value> = rules.collect();
        return app.ui.print_json(&json!({ "version": 1, "rules": rules }));
    }
    let rows = rules.iter().map(|rule| {
        let words = [rule.severity.word(), rule.id, rule.title, rule.source];
        words.map(str::to_owned).to_vec()
    });
    let heads = ["severity", "rule", "finds", "described at"];
    app.ui.print_table(&heads, rows.collect())
}

pub(super) fn print(app: &App, scanned: &Scanned, is_sarif: bool) -> Result<(), CommandError> {
    if is_sarif {
        let log = sarif::log(&scanned.report.findings, env!("CARGO_PKG_VERSION"));
        app.ui.print_json(&log)?;
    } else if app.ui.is_json {
        app.ui.print_json(&json(scanned))?;
    } else if !scanned.report.findings.is_empty() {
        let rows = scanned.report.findings.iter().map(row);
        let heads = ["severity", "where", "what", "there"];
        app.ui.print_table(&heads, rows.collect())?;
    }
    talk(app, scanned);
    Ok(())
}

fn row(finding: &Finding) -> Vec<String> {
    let place = format!("{}:{}:{}", finding.path, finding.line, finding.column);
    let what = match &finding.secret {
        Some(secret) => format!("{}: /{secret}", finding.rule),
        None => finding.rule.to_owned(),
    };
    let words = [finding.severity.word(), &place, &what, &finding.preview];
    words.map(clean).to_vec()
}

/// How many of each severity, the worst first.
pub(super) fn counts(findings: &[Finding]) -> [(Severity, usize); 4] {
    Severity::ALL.map(|severity| {
        let all = findings.iter().filter(|one| one.severity == severity);
        (severity, all.count())
    })
}

/// What is said beside the list.
fn talk(app: &App, scanned: &Scanned) {
    let report = &scanned.report;
    for path in &report.too_long {
        app.ui
            .warn(&format!("warning: {path} is too long, and was left out"));
    }
    for (path, why) in &report.unreadable {
        let path = if path.is_empty() { "something" } else { path };
        app.ui
            .warn(&format!("warning: {path} was not scanned: {why}"));
    }
    let named = report.unreadable.len() as u64;
    if report.unreadable_count > named {
        let more = report.unreadable_count - named;
        app.ui
            .warn(&format!("warning: {more} more could not be read"));
    }
    if report.is_cut {
        app.ui
            .warn("warning: there are more findings than are told");
    }
    let counts = counts(&report.findings).into_iter();
    let counts: Vec<String> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count} {}", severity.word()))
        .collect();
    let found = match counts.is_empty() {
        true => "nothing found".to_owned(),
        false => format!(
            "{} ({})",
            plural(report.findings.len(), "finding"),
            counts.join(", ")
        ),
    };
    let files = usize::try_from(report.files).unwrap_or(usize::MAX);
    let binary = match report.binary {
        0 => String::new(),
        count => format!("; {count} binary left out"),
    };
    app.ui
        .say(&format!("{found} in {}{binary}", plural(files, "file")));
}

fn json(scanned: &Scanned) -> Value {
    let report = &scanned.report;
    let findings: Vec<Value> = report.findings.iter().map(finding).collect();
    let mut summary = serde_json::Map::new();
    for (severity, count) in counts(&report.findings) {
        summary.insert(severity.word().to_owned(), count.into());
    }
    let unreadable = report.unreadable.iter();
    let unreadable = unreadable.map(|(path, why)| json!({ "path": path, "reason": why }));
    json!({
        "version": 1,
        "ok": report.findings.is_empty() && report.unreadable_count == 0,
        "root": scanned.root,
        "rules": scanned.rules,
        "store": scanned.has_store,
        "scanned": {
            "files": report.files,
            "bytes": report.bytes,
            "binary": report.binary,
            "too_long": report.too_long,
            "unreadable": unreadable.collect::<Vec<Value>>(),
            "unreadable_count": report.unreadable_count,
            "truncated": report.is_cut,
        },
        "summary": summary,
        "findings": findings,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "rule": finding.rule,
        "title": finding.title,
        "severity": finding.severity.word(),
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "end_line": finding.end_line,
        "end_column": finding.end_column,
        "preview": finding.preview,
        "fingerprint": finding.fingerprint.map(sarif::hex),
        "secret": finding.secret,
    })
}
