//! Findings for a server, which keeps them: rules and places, no previews and no values.

use serde_json::Value;
use serde_json::json;
use strongroom_scan::sarif;

use super::ComponentType;
use super::ScanArgs;
use super::Scanned;
use crate::app::App;
use crate::error::CommandError;
use crate::project;
use crate::server::Call;
use crate::server::Server;

/// Where it takes them, below `/v1/`.
const PATH: &str = "sys/api/v1/security/scan";
/// Most findings that are sent, the worst first.
const SENT_MAX: usize = 1_000;

pub(super) fn run(app: &App, args: &ScanArgs, scanned: &Scanned) -> Result<(), CommandError> {
    if scanned.scope.is_empty() {
        let message = "what is piped in has no place that a server could keep";
        return Err(CommandError::usage(message));
    }
    let component = component(app, args, scanned)?;
    let report = &scanned.report;
    let findings = report.findings.iter().take(SENT_MAX).map(|one| {
        json!({
            "rule": one.rule,
            "title": one.title,
            "severity": one.severity.word(),
            "path": one.path,
            "line": one.line,
            "column": one.column,
            "fingerprint": one.fingerprint.map(sarif::hex),
        })
    });
    let findings: Vec<Value> = findings.collect();
    // Only a scan that saw all says that what is not in it is gone.
    let is_whole = report.unreadable_count == 0
        && !report.is_cut
        && report.too_long.is_empty()
        && args.severity == super::SeverityWord::Low
        && report.findings.len() <= SENT_MAX;
    let body = json!({
        "component": component,
        "component_type": match args.component_type {
            ComponentType::Scenario => "scenario",
            ComponentType::Resource => "resource",
        },
        "scope": scanned.scope,
        "complete": is_whole,
        "files": report.files,
        "bytes": report.bytes,
        "rules": scanned.rules,
        "duration_ms": scanned.millis,
        "findings_total": report.findings.len(),
        "findings": findings,
    });
    let server = Server::open(app)?;
    let answer = server.demand(Call::Write, PATH, Some(body))?;
    let answer = answer.json();
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    app.ui.say(&format!(
        "{} keeps {component}: {} open, {} new, {} resolved",
        server.name(),
        number("open"),
        number("new"),
        number("resolved"),
    ));
    Ok(())
}

/// What was scanned: as told, else the project's name, else the folder's.
fn component(app: &App, args: &ScanArgs, scanned: &Scanned) -> Result<String, CommandError> {
    if let Some(name) = &args.component {
        return Ok(name.clone());
    }
    // A manifest that is wrong is no reason to send nothing.
    let project = project::load_if_there(app).ok().flatten();
    if let Some(project) = project {
        return Ok(project.manifest.project);
    }
    let folder = scanned.root.file_name().and_then(|name| name.to_str());
    folder.map(str::to_owned).ok_or_else(|| {
        CommandError::usage("the folder has no name").hint("--component names what was scanned")
    })
}
