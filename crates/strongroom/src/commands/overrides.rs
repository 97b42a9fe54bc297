//! `overrides`: what the deployment file says beside the declarations.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use rustix::fs::Mode;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Timestamp;
use strongroom_deploy::deployment::Deployment;
use strongroom_deploy::deployment::FILE_NAME;
use strongroom_deploy::need::Need;
use strongroom_deploy::plan::Override;
use strongroom_deploy::strategy::Strategy;
use strongroom_deploy::tier::Tier;
use toml_edit::ArrayOfTables;
use toml_edit::DocumentMut;
use toml_edit::Table;

use crate::app::App;
use crate::commands::check::plural;
use crate::deployment;
use crate::deployment::SourceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::output;
use crate::output::Existing;
use crate::ui::clean;

/// Show, copy and tidy up what the deployment file says beside the declarations
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom overrides list --tier desktop
  strongroom overrides effective wheel-desktop
  strongroom overrides copy --from-tier desktop --to-tier mobile
  strongroom overrides copy --from-scenario shop --scenario wheel --tier desktop
  strongroom overrides cleanup --dry-run")]
pub(crate) struct OverridesArgs {
    #[command(subcommand)]
    command: OverridesCommand,
}

#[derive(Subcommand)]
enum OverridesCommand {
    List(ListArgs),
    Effective(EffectiveArgs),
    Copy(CopyArgs),
    Cleanup(CleanupArgs),
}

pub(crate) fn run(app: &App, args: &OverridesArgs) -> Result<(), CommandError> {
    match &args.command {
        OverridesCommand::List(args) => list(app, args),
        OverridesCommand::Effective(args) => effective(app, args),
        OverridesCommand::Copy(args) => copy(app, args),
        OverridesCommand::Cleanup(args) => cleanup(app, args),
    }
}

/// List overrides as they are written
#[derive(Args)]
struct ListArgs {
    /// Only those of this application
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Only those for this tier
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
    /// Deployment file; default: strongroom.deploy.toml
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

fn list(app: &App, args: &ListArgs) -> Result<(), CommandError> {
    let file = File::read(args.deployment.as_ref())?;
    let found: Vec<&Override> = file
        .deployment
        .overrides
        .iter()
        .filter(|one| args.scenario.is_none() || one.scenario == args.scenario)
        .filter(|one| args.tier.is_none_or(|tier| tier == one.tier))
        .collect();
    if app.ui.is_json {
        let rows: Vec<Value> = found.iter().map(|one| row(one)).collect();
        return app.ui.print_json(&json!({
            "version": 1,
            "scenario": args.scenario,
            "tier": args.tier.map(Tier::numbered),
            "count": rows.len(),
            "overrides": rows,
        }));
    }
    if found.is_empty() {
        app.ui.say("there is no such override");
        return Ok(());
    }
    let now = app.now();
    let rows = found.iter().map(|one| {
        let until = match one.expires {
            None => "-".to_owned(),
            Some(end) if end <= now => format!("ended {}", day(end)),
            Some(end) => day(end),
        };
        vec![
            one.scenario.clone().unwrap_or_else(|| "*".to_owned()),
            one.tier.name().to_owned(),
            one.secret.clone(),
            (one.rule.strategy)
                .map_or("as declared", Strategy::word)
                .to_owned(),
            until,
            one.rule.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let heads = ["application", "tier", "secret", "strategy", "until", "why"];
    app.ui.print_table(&heads, rows.collect())
}

/// The day that a moment is in.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// Show what counts for each secret, and which parts of it were overridden
#[derive(Args)]
struct EffectiveArgs {
    /// Profile of the deployment file, or a tier
    #[arg(value_name = "PROFILE")]
    deployment_profile: Option<String>,
    /// Tier; default: the profile's first, or desktop
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
    #[command(flatten)]
    source: SourceArgs,
}

fn effective(app: &App, args: &EffectiveArgs) -> Result<(), CommandError> {
    let profile = args.deployment_profile.as_deref();
    let shipment = deployment::load(app, &args.source, profile, args.tier)?;
    let plan = shipment.plan(true);
    let mut rows = Vec::with_capacity(plan.items.len());
    let mut cells = Vec::with_capacity(plan.items.len());
    for (need, decision) in &plan.items {
        let (fields, reason) = decision.overridden.clone().unwrap_or_default();
        let strategy = decision.strategy.map_or("undecided", Strategy::word);
        let overridden = match fields.is_empty() {
            true => "-".to_owned(),
            false => fields.join(", "),
        };
        cells.push(vec![need.key.clone(), strategy.to_owned(), overridden]);
        rows.push(json!({
            "resource_name": need.resource,
            "secret_key": need.key,
            "tier": shipment.tier.numbered(),
            "handling_strategy": strategy,
            "fallback_strategy": decision.fallback.map(Strategy::word),
            "prompt_label": decision.prompt.label,
            "prompt_description": decision.prompt.description,
            "is_overridden": !fields.is_empty(),
            "overridden_fields": fields,
            "override_reason": reason,
        }));
    }
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "scenario": shipment.scenario,
            "tier": shipment.tier.numbered(),
            "count": rows.len(),
            "strategies": rows,
        }));
    }
    app.ui
        .print_table(&["secret", "strategy", "overridden"], cells)
}

/// Copy overrides to another tier, or from another application
#[derive(Args)]
struct CopyArgs {
    /// Tier they are copied from
    #[arg(
        long,
        value_name = "TIER",
        requires = "to_tier",
        conflicts_with = "from_scenario"
    )]
    from_tier: Option<Tier>,
    /// Tier they are copied to
    #[arg(long, value_name = "TIER")]
    to_tier: Option<Tier>,
    /// Application they are copied from
    #[arg(long, value_name = "NAME", requires = "scenario")]
    from_scenario: Option<String>,
    /// Application they are copied to; for tiers: only those of this application
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Only those for this tier; with --from-scenario
    #[arg(long, value_name = "TIER", conflicts_with = "from_tier")]
    tier: Option<Tier>,
    /// Put them in the place of what is there for the same secret
    #[arg(long)]
    overwrite: bool,
    /// Deployment file; default: strongroom.deploy.toml
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

fn copy(app: &App, args: &CopyArgs) -> Result<(), CommandError> {
    let same = || CommandError::usage("source and target are the same");
    let mut file = File::read(args.deployment.as_ref())?;
    // Where a copy of an override is wanted, if it is.
    let wanted = |one: &Override| match (args.from_tier, args.to_tier, &args.from_scenario) {
        (Some(from), Some(to), _) => {
            let is_meant = args.scenario.is_none() || args.scenario == one.scenario;
            (is_meant && one.tier == from).then(|| (one.scenario.clone(), to))
        }
        (_, _, Some(scenario)) => {
            let is_meant = args.tier.is_none_or(|tier| tier == one.tier);
            let is_theirs = one.scenario.as_ref() == Some(scenario);
            (is_meant && is_theirs).then(|| (args.scenario.clone(), one.tier))
        }
        _ => None,
    };
    match (args.from_tier, &args.from_scenario) {
        (Some(tier), _) if args.to_tier == Some(tier) => return Err(same()),
        (_, Some(_)) if args.from_scenario == args.scenario => return Err(same()),
        (None, None) => {
            return Err(CommandError::usage(
                "say what to copy: --from-tier A --to-tier B, or --from-scenario A --scenario B",
            ));
        }
        _ => {}
    }
    let all = file.deployment.overrides.clone();
    let (mut copied, mut kept) = (0, 0);
    for (at, one) in all.iter().enumerate() {
        let Some(to) = wanted(one) else { continue };
        let is_there = |other: &Override| {
            (other.scenario.clone(), other.tier) == to
                && other.secret == one.secret
                && other.resource == one.resource
        };
        let there = all.iter().position(is_there);
        if there.is_some() && !args.overwrite {
            kept += 1;
            continue;
        }
        file.put(at, there, &to)?;
        copied += 1;
    }
    if copied > 0 {
        file.write()?;
    }
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "success": true,
            "copied": copied,
            "kept": kept,
            "overwrite": args.overwrite,
        }));
    }
    app.ui
        .say(&format!("copied {}", plural(copied, "override")));
    if kept > 0 {
        app.ui.say(&format!(
            "left what is there: {}; --overwrite replaces that",
            plural(kept, "override")
        ));
    }
    Ok(())
}

/// Remove overrides of secrets that no application needs, and those that have ended
#[derive(Args)]
struct CleanupArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Deployment file; default: strongroom.deploy.toml
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

fn cleanup(app: &App, args: &CleanupArgs) -> Result<(), CommandError> {
    let mut file = File::read(args.deployment.as_ref())?;
    let source = SourceArgs::of_deployment(Some(file.path.clone()));
    let mut applications = Vec::new();
    for name in file.deployment.profiles.keys() {
        let shipment = deployment::load(app, &source, Some(name), None)?;
        applications.push((shipment.scenario, shipment.needs));
    }
    let orphans: Vec<(usize, String)> = file
        .deployment
        .overrides
        .iter()
        .enumerate()
        .filter_map(|(at, one)| Some((at, orphaned(one, &applications, app.now())?)))
        .collect();
    let rows: Vec<Value> = orphans
        .iter()
        .filter_map(|(at, reason)| {
            let one = file.deployment.overrides.get(*at)?;
            Some(json!({ "override": row(one), "reason": reason }))
        })
        .collect();
    let lines: Vec<String> = orphans
        .iter()
        .filter_map(|(at, reason)| {
            let one = file.deployment.overrides.get(*at)?;
            Some(format!("{}: {reason}", shown(one)))
        })
        .collect();
    if !args.dry_run && !orphans.is_empty() {
        for (at, _) in orphans.iter().rev() {
            file.remove(*at)?;
        }
        file.write()?;
    }
    let count = orphans.len();
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "success": true,
            "dry_run": args.dry_run,
            "deleted": if args.dry_run { 0 } else { count },
            "would_delete": count,
            "orphans": rows,
        }));
    }
    for line in lines {
        app.ui.say(&line);
    }
    let done = match args.dry_run {
        true => "would remove",
        false => "removed",
    };
    app.ui.say(&format!("{done} {}", plural(count, "override")));
    Ok(())
}

/// Why an override has no effect, if it has none.
fn orphaned(
    one: &Override,
    applications: &[(String, Vec<Need>)],
    now: Timestamp,
) -> Option<String> {
    if let Some(end) = one.expires.filter(|end| *end <= now) {
        return Some(format!("it ended at {end}"));
    }
    let is_own = |name: &str| one.scenario.as_deref().is_none_or(|own| own == name);
    let own = applications.iter().filter(|(name, _)| is_own(name));
    let mut own = own.peekable();
    if own.peek().is_none() {
        // An application of which no profile is here may be shipped from elsewhere.
        return one
            .scenario
            .as_ref()
            .filter(|_| !applications.is_empty())
            .map(|scenario| format!("no profile ships {scenario}"));
    }
    let is_needed = own.any(|(name, needs)| {
        let mut needs = needs.iter();
        needs.any(|need| one.is_for(need, name, one.tier))
    });
    (!is_needed).then(|| "no application needs this secret".to_owned())
}

/// The deployment file, to be edited.
struct File {
    path: PathBuf,
    deployment: Deployment,
    document: DocumentMut,
}

impl File {
    fn read(path: Option<&PathBuf>) -> Result<Self, CommandError> {
        let path = path.cloned().unwrap_or_else(|| PathBuf::from(FILE_NAME));
        let deployment = deployment::read_file(&path)?;
        let text = deployment::read_text(&path)?;
        let document = text.parse().map_err(|_| uneditable(&path))?;
        Ok(Self {
            path,
            deployment,
            document,
        })
    }

    fn tables(&mut self) -> Result<&mut ArrayOfTables, CommandError> {
        let path = self.path.clone();
        let overrides = self.document.get_mut("overrides");
        overrides
            .and_then(toml_edit::Item::as_array_of_tables_mut)
            .ok_or_else(|| uneditable(&path))
    }

    /// Copies the override at a place, over another or behind the last.
    fn put(
        &mut self,
        at: usize,
        over: Option<usize>,
        to: &(Option<String>, Tier),
    ) -> Result<(), CommandError> {
        let path = self.path.clone();
        let tables = self.tables()?;
        let mut made: Table = tables.get(at).cloned().ok_or_else(|| uneditable(&path))?;
        made.insert("tier", toml_edit::value(to.1.name()));
        if let Some(scenario) = &to.0 {
            made.insert("scenario", toml_edit::value(scenario));
        }
        match over.and_then(|at| tables.get_mut(at)) {
            Some(there) => {
                made.set_position(there.position());
                *there = made;
            }
            None => {
                made.set_position(None);
                tables.push(made);
            }
        }
        Ok(())
    }

    fn remove(&mut self, at: usize) -> Result<(), CommandError> {
        self.tables()?.remove(at);
        Ok(())
    }

    fn write(&self) -> Result<(), CommandError> {
        let text = self.document.to_string();
        // What cannot be read again is not written.
        Deployment::read(&text).map_err(|_| uneditable(&self.path))?;
        let mode = Mode::from_raw_mode(0o644);
        output::write(&self.path, text.as_bytes(), mode, Existing::Replace)
    }
}

fn uneditable(path: &std::path::Path) -> CommandError {
    let message = format!(
        "{} cannot be edited: overrides have to stand under [[overrides]]",
        path.display()
    );
    CommandError::new(Kind::Validation, "deployment.invalid", message)
}

fn shown(one: &Override) -> String {
    let scenario = one.scenario.as_deref().unwrap_or("*");
    clean(&format!("{scenario} {} {}", one.tier, one.secret))
}

fn row(one: &Override) -> Value {
    let prompt = one.rule.prompt.as_ref();
    json!({
        "scenario_name": one.scenario,
        "tier": one.tier.numbered(),
        "resource_name": one.resource,
        "secret_key": one.secret,
        "handling_strategy": one.rule.strategy.map(Strategy::word),
        "fallback_strategy": one.rule.fallback.map(Strategy::word),
        "prompt_label": prompt.and_then(|it| it.label.clone()),
        "prompt_description": prompt.and_then(|it| it.description.clone()),
        "override_reason": one.rule.reason,
        "expires_at": one.expires.map(|end| end.to_string()),
    })
}
