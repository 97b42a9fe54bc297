//! `bundle assemble` and `bundle merge-secrets`.

use std::path::PathBuf;

use clap::Args;
use rustix::fs::Mode;
use serde_json::Value;
use serde_json::json;
use strongroom_deploy::assemble;
use strongroom_deploy::assemble::Assembled;
use strongroom_deploy::lint;
use strongroom_deploy::lint::Finding;
use strongroom_deploy::lint::Severity;
use strongroom_deploy::tier::Tier;

use super::artefacts;
use super::scan::Scan;
use crate::app::App;
use crate::commands::check::plural;
use crate::deployment;
use crate::deployment::Shipment;
use crate::deployment::SourceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::output;
use crate::output::Existing;

/// What a manifest is put together from.
#[derive(Args)]
pub(super) struct PartsArgs {
    /// Profile of the deployment file
    #[arg(value_name = "PROFILE")]
    deployment_profile: Option<String>,
    /// Tier it is shipped to; default: the profile's first, or desktop
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
    #[command(flatten)]
    source: SourceArgs,
}

/// Where a manifest is written.
#[derive(Args)]
pub(super) struct OutputArgs {
    /// Write to a new file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace the file when it is there already
    #[arg(long, requires = "output")]
    pub(super) force: bool,
}

/// Put a bundle manifest together that may be shipped
///
/// Takes the manifest's secrets as the plan for its tier has them: what is left out is gone,
/// services keep their references, templates become variables, sums and sizes of assets are filled
/// in. What comes out is linted strictly, and it and the assets are searched for values that the
/// store holds; nothing is written when something is in the way.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom bundle assemble --bundle bundle.json --swap postgres=sqlite -o out.json
  strongroom bundle assemble wheel-desktop --root build")]
pub(crate) struct AssembleArgs {
    #[command(flatten)]
    parts: PartsArgs,
    /// Folder that assets lie in; default: the working folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Replace a bundle manifest's secrets with those of the plan, and nothing else
///
/// For build scripts that put the rest together themselves: assets are neither looked for nor
/// summed up. Services keep their references, and every reference is checked.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom bundle merge-secrets --bundle bundle.json --tier desktop -o out.json")]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    parts: PartsArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(app: &App, args: &AssembleArgs) -> Result<(), CommandError> {
    let (_, mut assembled) = assembled(app, &args.parts)?;
    let mut problems = artefacts::fill_in(&mut assembled.manifest, &args.root)?;
    problems.extend(errors(&assembled.manifest, is_ours));
    let mut scan = Scan::begin(app)?;
    scan.manifest(&assembled.manifest);
    for file in artefacts::of(&assembled.manifest, &args.root).files {
        scan.file(&file.path, &file.source)?;
    }
    problems.extend(scan.found());
    finish(app, &scan, &assembled, problems)?;
    scan.note(app, &assembled.manifest, &place_of(&args.output));
    write(app, "assembled", &assembled.manifest, &args.output)
}

pub(super) fn run_merge(app: &App, args: &MergeArgs) -> Result<(), CommandError> {
    let (_, assembled) = assembled(app, &args.parts)?;
    // What has nothing to do with secrets is somebody else's.
    let is_ours =
        |finding: &Finding| finding.path.contains(".secrets") || finding.path.contains(".env");
    let mut problems = errors(&assembled.manifest, is_ours);
    let mut scan = Scan::begin(app)?;
    scan.manifest(&assembled.manifest);
    problems.extend(scan.found());
    finish(app, &scan, &assembled, problems)?;
    scan.note(app, &assembled.manifest, &place_of(&args.output));
    write(app, "merged", &assembled.manifest, &args.output)
}

/// The manifest with the plan's secrets.
pub(super) fn assembled(
    app: &App,
    parts: &PartsArgs,
) -> Result<(Shipment, Assembled), CommandError> {
    let profile = parts.deployment_profile.as_deref();
    let shipment = deployment::load(app, &parts.source, profile, parts.tier)?;
    let Some(bundle) = &shipment.bundle else {
        return Err(
            CommandError::usage("there is no bundle manifest to start from")
                .hint("name one with --bundle, or as 'bundle' of a deployment profile"),
        );
    };
    let assembled = assemble::assemble(bundle, &shipment.plan(true)).map_err(refused)?;
    Ok((shipment, assembled))
}

/// Sums that could not be filled in are told as files that are not there.
pub(super) fn is_ours(finding: &Finding) -> bool {
    finding.code != "bundle.asset_sha256"
}

/// What a strict lint finds, as far as it matters.
pub(super) fn errors(manifest: &Value, is_ours: impl Fn(&Finding) -> bool) -> Vec<String> {
    let findings = lint::strict(manifest).into_iter();
    findings
        .filter(|finding| finding.severity == Severity::Error && is_ours(finding))
        .map(|finding| format!("{}: {}; {}", finding.path, finding.message, finding.fix))
        .collect()
}

/// Everything that is in the way, or what was changed.
pub(super) fn finish(
    app: &App,
    scan: &Scan,
    assembled: &Assembled,
    problems: Vec<String>,
) -> Result<(), CommandError> {
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    if !scan.has_store() {
        app.ui
            .say("there is no store here: nothing was searched for its values");
    }
    for id in &assembled.dropped {
        app.ui.say(&format!("left out: {id}"));
    }
    for id in &assembled.added {
        app.ui.say(&format!("added: {id}"));
    }
    Ok(())
}

pub(super) fn refused(problems: Vec<String>) -> CommandError {
    let count = plural(problems.len(), "thing is in the way");
    let message = match problems.len() {
        1 => "one thing is in the way".to_owned(),
        _ => count.replace("thing is in the ways", "things are in the way"),
    };
    CommandError {
        hints: problems,
        ..CommandError::new(Kind::Validation, "bundle.invalid", message)
    }
}

/// Where a manifest goes, for the ledger.
fn place_of(output: &OutputArgs) -> String {
    match &output.output {
        Some(path) => format!("bundle {}", path.display()),
        None => "bundle for another program".to_owned(),
    }
}

pub(super) fn write(
    app: &App,
    status: &str,
    manifest: &Value,
    output: &OutputArgs,
) -> Result<(), CommandError> {
    let text = match app.ui.is_json && output.output.is_none() {
        true => format!(
            "{:#}\n",
            json!({
                "version": 1,
                "status": status,
                "schema": super::SCHEMA,
                "manifest": manifest,
            })
        ),
        false => format!("{manifest:#}\n"),
    };
    match &output.output {
        Some(path) => {
            let mode = Mode::from_raw_mode(0o644);
            let existing = match output.force {
                true => Existing::Replace,
                false => Existing::Keep(output::FORCE_REPLACES),
            };
            output::write(path, text.as_bytes(), mode, existing)
        }
        None => app.ui.print(&text),
    }
}
