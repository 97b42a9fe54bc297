use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use data_encoding::HEXLOWER;
use rustix::fs::Mode;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::request::sha256;
use strongroom_deploy::assemble;
use strongroom_deploy::lint;
use strongroom_deploy::lint::Finding;
use strongroom_deploy::lint::Severity;

use crate::app::App;
use crate::commands::check::plural;
use crate::deployment;
use crate::deployment::SourceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::output;
use crate::output::Existing;
use crate::session;
use crate::ui::Tone;
use crate::ui::clean;

/// Check bundle manifests of installed applications, and put them together
#[derive(Args)]
pub(crate) struct BundleArgs {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Subcommand)]
enum BundleCommand {
    Lint(LintArgs),
    Assemble(AssembleArgs),
}

pub(crate) fn run(app: &App, args: &BundleArgs) -> Result<(), CommandError> {
    match &args.command {
        BundleCommand::Lint(args) => run_lint(app, args),
        BundleCommand::Assemble(args) => run_assemble(app, args),
    }
}

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

fn run_lint(app: &App, args: &LintArgs) -> Result<(), CommandError> {
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

/// Put a bundle manifest together that may be shipped
///
/// Takes the manifest's secrets as the plan for its tier has them: what is left out is gone,
/// services keep their references, templates become variables, sums and sizes of assets are filled
/// in. What comes out is linted strictly and searched for values that the store holds; nothing is
/// written when something is in the way.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom bundle assemble --bundle bundle.json --swap postgres=sqlite -o out.json
  strongroom bundle assemble wheel-desktop --root build")]
pub(crate) struct AssembleArgs {
    /// Profile of the deployment file
    #[arg(value_name = "PROFILE")]
    deployment_profile: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// Folder that assets lie in; default: the working folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Write to a new file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Largest asset that is read, in bytes.
const ASSET_BYTES_MAX: u64 = 2 << 30;
/// Shorter texts are no secrets that can be told from other words.
const SCANNED_BYTES_MIN: usize = 6;

fn run_assemble(app: &App, args: &AssembleArgs) -> Result<(), CommandError> {
    let profile = args.deployment_profile.as_deref();
    let shipment = deployment::load(app, &args.source, profile, None)?;
    let Some(bundle) = &shipment.bundle else {
        return Err(
            CommandError::usage("there is no bundle manifest to start from")
                .hint("name one with --bundle, or as 'bundle' of a deployment profile"),
        );
    };
    let refused = |problems: Vec<String>| {
        let count = plural(problems.len(), "thing is in the way");
        let message = match problems.len() {
            1 => "one thing is in the way".to_owned(),
            _ => count.replace("thing is in the ways", "things are in the way"),
        };
        CommandError {
            hints: problems,
            ..CommandError::new(Kind::Validation, "bundle.invalid", message)
        }
    };
    let mut assembled = assemble::assemble(bundle, &shipment.plan(true)).map_err(refused)?;
    let missing = fill_in_assets(&mut assembled.manifest, &args.root)?;
    let findings = lint::strict(&assembled.manifest);
    let mut problems = missing;
    problems.extend(
        findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| format!("{}: {}; {}", finding.path, finding.message, finding.fix)),
    );
    let is_scanned = scan(app, &assembled.manifest, &mut problems)?;
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    if !is_scanned {
        app.ui
            .say("there is no store here: the manifest was not searched for its values");
    }
    for id in &assembled.dropped {
        app.ui.say(&format!("left out: {id}"));
    }
    for id in &assembled.added {
        app.ui.say(&format!("added: {id}"));
    }
    let text = match app.ui.is_json && args.output.is_none() {
        true => format!(
            "{:#}\n",
            json!({
                "version": 1,
                "status": "assembled",
                "schema": "desktop.v0.1",
                "manifest": assembled.manifest,
            })
        ),
        false => format!("{:#}\n", assembled.manifest),
    };
    match &args.output {
        Some(path) => {
            let mode = Mode::from_raw_mode(0o644);
            output::write(path, text.as_bytes(), mode, Existing::Keep)
        }
        None => app.ui.print(&text),
    }
}

/// Sums and sizes of the files that are there; what is missing and has no sum is told.
fn fill_in_assets(manifest: &mut Value, root: &Path) -> Result<Vec<String>, CommandError> {
    let mut missing = Vec::new();
    let services = manifest.get_mut("services").and_then(Value::as_array_mut);
    for service in services.into_iter().flatten() {
        let assets = service.get_mut("assets").and_then(Value::as_array_mut);
        for asset in assets.into_iter().flatten() {
            let Some(path) = asset.get("path").and_then(Value::as_str) else {
                continue;
            };
            let is_below = !path.starts_with('/') && path.split('/').all(|part| part != "..");
            let file = root.join(path.replace('\\', "/"));
            if !is_below || !file.is_file() {
                if asset.get("sha256").is_none() {
                    missing.push(format!("the asset {path} is not below {}", root.display()));
                }
                continue;
            }
            let bytes = strongroom_backends::file::read_capped(&file, ASSET_BYTES_MAX);
            let bytes = bytes.map_err(|error| {
                CommandError::failed(format!("{} cannot be read: {error}", file.display()))
            })?;
            asset["sha256"] = json!(HEXLOWER.encode(&sha256(&bytes)));
            asset["size_bytes"] = json!(bytes.len());
        }
    }
    Ok(missing)
}

/// Looks for values that the store holds, by their fingerprints; false when there is no store.
fn scan(app: &App, manifest: &Value, problems: &mut Vec<String>) -> Result<bool, CommandError> {
    let Some(session) = session::open_if_there(app)? else {
        return Ok(false);
    };
    let entries = session.engine.list_recursive(&session.context, "");
    let entries = crate::runtime::wait(entries)?;
    let mut seen = HashSet::new();
    assemble::texts(manifest, &mut |text| {
        if text.len() < SCANNED_BYTES_MIN || !seen.insert(text.to_owned()) {
            return;
        }
        let value = SecretValue::copy_from(text.as_bytes());
        let fingerprint = session.barrier.fingerprint(&value);
        let known = entries
            .iter()
            .find(|entry| entry.fingerprint == fingerprint);
        if let Some(entry) = known {
            problems.push(format!(
                "the value of /{} stands in the manifest: take it out",
                entry.path
            ));
        }
    });
    Ok(true)
}
