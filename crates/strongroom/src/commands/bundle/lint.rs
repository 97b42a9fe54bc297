//! `bundle lint`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom_deploy::lint;
use strongroom_deploy::lint::Finding;
use strongroom_deploy::lint::Severity;

use crate::app::App;
use crate::commands::check::plural;
use crate::deployment;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ui::Tone;
use crate::ui::clean;

/// Say everything that is wrong with a bundle manifest, where, and what to do about it
///
/// Strictly: the schema v0.1, unknown keys, and what the schema lets pass and fails on somebody's
/// computer. Exit code 5 when there are errors; warnings alone are no failure.
#[derive(Args)]
pub(crate) struct LintArgs {
    /// The manifest
    file: PathBuf,
    /// Only what the JSON Schema v0.1 refuses
    #[arg(long)]
    compat: bool,
}

pub(super) fn run(app: &App, args: &LintArgs) -> Result<(), CommandError> {
    let bundle = deployment::read_bundle(&args.file)?;
    let findings = match args.compat {
        true => lint::compat(bundle.raw()),
        false => lint::strict(bundle.raw()),
    };
    let count = |severity| {
        let of = |finding: &&Finding| finding.severity == severity;
        findings.iter().filter(of).count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if app.ui.is_json {
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "code": finding.code,
                    "severity": finding.severity.word(),
                    "path": finding.path,
                    "message": finding.message,
                    "fix": finding.fix,
                })
            })
            .collect();
        app.ui.print_json(&json!({
            "version": 1,
            "ok": errors == 0,
            "file": args.file.display().to_string(),
            "mode": if args.compat { "compat" } else { "strict" },
            "findings": rows,
            "summary": { "errors": errors, "warnings": warnings },
        }))?;
    } else {
        let mut text = String::new();
        for finding in &findings {
            let tone = match finding.severity {
                Severity::Error => Tone::Bad,
                Severity::Warning => Tone::Doubtful,
            };
            let word = app.ui.tint(tone, finding.severity.word());
            let path = app.ui.tint(Tone::Strong, &clean(&finding.path));
            text.push_str(&format!("{word} {path} {}\n", finding.code));
            text.push_str(&format!("      {}\n", clean(&finding.message)));
            text.push_str(&format!("      mend it: {}\n", clean(&finding.fix)));
        }
        text.push_str(&format!(
            "{}: {}, {}\n",
            clean(&args.file.display().to_string()),
            plural(errors, "error"),
            plural(warnings, "warning")
        ));
        app.ui.print(&text)?;
    }
    match errors {
        0 => Ok(()),
        _ => Err(CommandError::reported(Kind::Validation, "bundle.invalid")),
    }
}
