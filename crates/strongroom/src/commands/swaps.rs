use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use rustix::fs::Mode;
use serde_json::Value;
use serde_json::json;
use strongroom_deploy::cascade;
use strongroom_deploy::cascade::Leaning;
use strongroom_deploy::deployment::FILE_NAME;
use strongroom_deploy::fitness;
use strongroom_deploy::fitness::Fitness;
use strongroom_deploy::swap;
use strongroom_deploy::swap::Advice;
use strongroom_deploy::swap::Swap;
use strongroom_deploy::tier::Tier;

use crate::app::App;
use crate::deployment;
use crate::deployment::Shipment;
use crate::deployment::SourceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::output;
use crate::output::Existing;
use crate::ui::Tone;
use crate::ui::clean;

/// Services that may take others' places when an application is shipped
#[derive(Args)]
pub(crate) struct SwapsArgs {
    #[command(subcommand)]
    command: SwapsCommand,
}

#[derive(Subcommand)]
enum SwapsCommand {
    List(ListArgs),
    Info(PairArgs),
    Analyze(AnalyzeArgs),
    Cascade(CascadeArgs),
    Apply(ApplyArgs),
}

pub(crate) fn run(app: &App, args: &SwapsArgs) -> Result<(), CommandError> {
    match &args.command {
        SwapsCommand::List(args) => list(app, args),
        SwapsCommand::Info(args) => info(app, args),
        SwapsCommand::Analyze(args) => analyze(app, args),
        SwapsCommand::Cascade(args) => cascade(app, args),
        SwapsCommand::Apply(args) => apply(app, args),
    }
}

/// List the swaps that there are, or those for one application
#[derive(Args)]
struct ListArgs {
    /// Profile of the deployment file; only swaps for its services
    #[arg(value_name = "PROFILE")]
    deployment_profile: Option<String>,
    /// Only swaps that are meant for this tier
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
    #[command(flatten)]
    source: SourceArgs,
}

/// One swap.
#[derive(Args)]
#[command(about = "Say what a swap is and what it would mean")]
struct PairArgs {
    /// The service that goes, or the swap's name
    from: String,
    /// The service that comes
    to: Option<String>,
}

impl PairArgs {
    fn find(&self) -> Result<&'static Swap, CommandError> {
        let found = match &self.to {
            Some(to) => return pair(&self.from, to),
            None => swap::all().iter().find(|swap| swap.id() == self.from),
        };
        found.ok_or_else(|| {
            CommandError::new(
                Kind::NotFound,
                "swap_not_found",
                "there is no swap of this name",
            )
            .hint("strongroom swaps list names all; or give the two services")
        })
    }
}

fn pair(from: &str, to: &str) -> Result<&'static Swap, CommandError> {
    swap::find(from, to).map_err(|error| deployment::swap_error(&error))
}

fn list(app: &App, args: &ListArgs) -> Result<(), CommandError> {
    let profile = args.deployment_profile.as_deref();
    let shipment = match profile.is_some() || args.source.names_declarations() {
        true => Some(deployment::load(app, &args.source, profile, args.tier)?),
        false => None,
    };
    let services = shipment.as_ref().map(|shipment| {
        let plan = shipment.plan(true);
        let of_needs = plan
            .items
            .iter()
            .filter_map(|(need, _)| need.resource.clone());
        of_needs
            .chain(shipment.services.clone())
            .collect::<Vec<_>>()
    });
    let fits = |swap: &&Swap| {
        let is_used = services
            .as_ref()
            .is_none_or(|services| services.contains(&swap.from));
        let is_meant = args
            .tier
            .is_none_or(|tier| swap.advice(tier) == Advice::Recommended);
        is_used && is_meant
    };
    let swaps: Vec<&Swap> = swap::all().iter().filter(fits).collect();
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "scenario": shipment.map(|shipment| shipment.scenario),
            "suggestions": swaps.iter().map(|swap| swap.suggestion()).collect::<Vec<_>>(),
        }));
    }
    if swaps.is_empty() {
        app.ui.say("there is no swap for what it leans on");
        return Ok(());
    }
    let gain = |swap: &Swap, tier| match swap.gain(tier) {
        Some(gain) => format!("{gain:+}"),
        None => "-".to_owned(),
    };
    let rows = swaps.iter().map(|swap| {
        let mut row = vec![swap.from.clone(), swap.to.clone()];
        row.extend(Tier::ALL.into_iter().skip(1).map(|tier| gain(swap, tier)));
        row.push(swap.effort.clone());
        row
    });
    let headings = [
        "from", "to", "tier 2", "tier 3", "tier 4", "tier 5", "effort",
    ];
    app.ui.print_table(&headings, rows.collect())
}

fn info(app: &App, args: &PairArgs) -> Result<(), CommandError> {
    let swap = args.find()?;
    let info = swap.info();
    if app.ui.is_json {
        return app.ui.print_json(&info);
    }
    let about = |end: &str| info[end]["description"].as_str().unwrap_or("-").to_owned();
    let mut text = format!("{}\n", app.ui.tint(Tone::Strong, &swap.id()));
    text.push_str(&format!(
        "{}: {}\n{}: {}\n",
        swap.from,
        about("from"),
        swap.to,
        about("to")
    ));
    for tier in Tier::ALL {
        let advice = swap.advice(tier).word().replace('_', " ");
        text.push_str(&format!("      {}: {advice}\n", tier.name()));
    }
    app.ui.print(&text)
}

/// Say what a swap would mean, in general and for one application
#[derive(Args)]
struct AnalyzeArgs {
    #[command(flatten)]
    pair: PairArgs,
    /// Profile of the deployment file: what it would do to that application
    #[arg(long = "for", value_name = "PROFILE")]
    deployment_profile: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
}

fn analyze(app: &App, args: &AnalyzeArgs) -> Result<(), CommandError> {
    let swap = args.pair.find()?;
    let mut analysis = swap.analysis();
    let profile = args.deployment_profile.as_deref();
    let effect = match profile.is_some() || args.source.names_declarations() {
        false => None,
        true => {
            let shipment = || deployment::load(app, &args.source, profile, None);
            Some(Effect::of(shipment()?, shipment()?, swap))
        }
    };
    if app.ui.is_json {
        if let Some(effect) = &effect {
            analysis["project"] = effect.to_json();
        }
        return app.ui.print_json(&analysis);
    }
    let mut text = format!("{} -> {}, effort: {}\n", swap.from, swap.to, swap.effort);
    for (title, lines) in [
        ("for it", &swap.pros),
        ("against it", &swap.cons),
        ("to do", &swap.steps),
    ] {
        text.push_str(&format!("\n{}\n", app.ui.tint(Tone::Strong, title)));
        for line in lines {
            text.push_str(&format!("      {line}\n"));
        }
    }
    for need in swap.adds() {
        text.push_str(&format!("\nneeds a new secret: {}\n", need.key));
    }
    if let Some(effect) = &effect {
        text.push_str(&effect.text(app));
    }
    app.ui.print(&text)
}

/// What a swap would do to one application.
struct Effect {
    scenario: String,
    leans: bool,
    removed: Vec<String>,
    added: Vec<String>,
    /// By tier: the score before and after.
    scores: Vec<(Tier, f64, f64)>,
}

impl Effect {
    fn of(mut before: Shipment, mut after: Shipment, swap: &Swap) -> Self {
        before.swaps.remove(&swap.from);
        let leans = before.leans_on(&swap.from);
        if leans {
            after.swaps.insert(swap.from.clone(), swap.to.clone());
        }
        let scores = Tier::ALL.into_iter().map(|tier| {
            (before.tier, after.tier) = (tier, tier);
            (tier, score(&before).overall, score(&after).overall)
        });
        let scores = scores.collect();
        let needs = before.needs.iter();
        let of_from = needs.filter(|need| leans && need.resource.as_deref() == Some(&swap.from));
        let removed = of_from.map(|need| need.key.clone()).collect();
        let is_new = |key: &String| before.needs.iter().all(|need| need.key != *key);
        let adds = swap.adds().into_iter().map(|need| need.key);
        Self {
            scenario: before.scenario.clone(),
            leans,
            removed,
            added: adds.filter(|key| leans && is_new(key)).collect(),
            scores,
        }
    }

    fn to_json(&self) -> Value {
        let scores = self.scores.iter().map(|(tier, old, new)| {
            let score = json!({ "previous": old, "overall": new, "delta": new - old });
            (format!("tier_{}", tier.number()), score)
        });
        json!({
            "scenario": self.scenario,
            "leans_on_it": self.leans,
            "secrets_removed": self.removed,
            "secrets_added": self.added,
            "fitness": Value::Object(scores.collect()),
        })
    }

    fn text(&self, app: &App) -> String {
        let title = app.ui.tint(Tone::Strong, &clean(&self.scenario));
        if !self.leans {
            return format!("\n{title}\n      does not lean on it: nothing would change\n");
        }
        let mut text = format!("\n{title}\n");
        for (words, keys) in [
            ("no longer needs", &self.removed),
            ("newly needs", &self.added),
        ] {
            for key in keys {
                text.push_str(&format!("      {words} {}\n", clean(key)));
            }
        }
        for (tier, old, new) in &self.scores {
            text.push_str(&format!("      {}: fitness {old} -> {new}\n", tier.name()));
        }
        text
    }
}

/// Say which applications of the deployment file a swap would reach
#[derive(Args)]
struct CascadeArgs {
    /// The service that goes
    from: String,
    /// The service that comes
    to: String,
    /// Deployment file; default: strongroom.deploy.toml
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

fn cascade(app: &App, args: &CascadeArgs) -> Result<(), CommandError> {
    let swap = pair(&args.from, &args.to)?;
    let source = SourceArgs::of_deployment(args.deployment.clone());
    let file = deployment::read_profiles(&source)?;
    let mut all: BTreeMap<String, Leaning> = BTreeMap::new();
    for (name, profile) in &file {
        let shipment = deployment::load(app, &source, Some(name), None)?;
        let one = all.entry(shipment.scenario.clone()).or_default();
        let needs = shipment.needs.iter();
        one.services
            .extend(needs.filter_map(|need| need.resource.clone()));
        one.services.extend(shipment.services.iter().cloned());
        one.scenarios.extend(profile.scenarios.iter().cloned());
    }
    let answer = cascade::cascade(&all, &swap.from, &swap.to);
    if app.ui.is_json {
        return app.ui.print_json(&answer);
    }
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let recommendation = clean(&text(&answer, "recommendation"));
    let rows = answer["affected_scenarios"].as_array();
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return app.ui.print_line(&recommendation);
    }
    let rows = rows.iter().map(|row| {
        vec![
            text(row, "scenario"),
            text(row, "impact"),
            text(row, "notes"),
        ]
    });
    app.ui
        .print_table(&["scenario", "impact", "why"], rows.collect())?;
    app.ui.print_line(&format!("\n{recommendation}"))
}

/// Let a service take another's place in a profile of the deployment file
///
/// What it does to secrets and to the score is shown. A swap that would change nothing, or that is
/// advised against for the tier, is refused.
#[derive(Args)]
struct ApplyArgs {
    /// Profile of the deployment file
    #[arg(value_name = "PROFILE")]
    deployment_profile: String,
    /// The service that goes
    from: String,
    /// The service that comes
    to: String,
    /// Deployment file; default: strongroom.deploy.toml
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
    /// Apply it where it is advised against
    #[arg(long)]
    force: bool,
}

fn apply(app: &App, args: &ApplyArgs) -> Result<(), CommandError> {
    let swap = pair(&args.from, &args.to)?;
    let source = SourceArgs::of_deployment(args.deployment.clone());
    let profiles = deployment::read_profiles(&source)?;
    if !profiles.contains_key(&args.deployment_profile) {
        let message = format!(
            "the deployment file has no profile {}",
            args.deployment_profile
        );
        return Err(
            CommandError::new(Kind::NotFound, "deployment.no_profile", message).hint(format!(
                "add [profiles.{}] to {FILE_NAME}",
                args.deployment_profile
            )),
        );
    }
    let before = deployment::load(app, &source, Some(&args.deployment_profile), None)?;
    let refused = |message: String| CommandError::new(Kind::Conflict, "swap.refused", message);
    let leans = before.leans_on(&swap.from);
    if !leans || before.swaps.get(&swap.from) == Some(&swap.to) {
        let why = match leans {
            true => format!("{} takes its place already", swap.to),
            false => format!("{} does not lean on {}", before.scenario, swap.from),
        };
        return Err(refused(format!("nothing would change: {why}")));
    }
    if swap.advice(before.tier) == Advice::NotRecommended && !args.force {
        let message = format!(
            "{} -> {} is advised against for {}",
            swap.from, swap.to, before.tier
        );
        return Err(refused(message).hint("--force applies it all the same"));
    }
    let mut after = deployment::load(app, &source, Some(&args.deployment_profile), None)?;
    after.swaps.insert(swap.from.clone(), swap.to.clone());
    let version = write(args, swap)?;
    let (old, new) = (score(&before), score(&after));
    let keys = |shipment: &Shipment| shipment.shipped_keys();
    let (had, has) = (keys(&before), keys(&after));
    let removed: Vec<String> = before
        .needs
        .iter()
        .filter(|need| need.resource.as_deref() == Some(&swap.from))
        .map(|need| need.key.clone())
        .collect();
    let added: Vec<&String> = has.iter().filter(|key| !had.contains(key)).collect();
    let tier = format!("tier_{}", before.tier.number());
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "status": "applied",
            "profile_id": args.deployment_profile,
            "swap": { "from": swap.from, "to": swap.to },
            "new_version": version,
            "fitness_after": { tier: {
                "overall": new.overall, "previous": old.overall, "delta": new.overall - old.overall,
            } },
            "secrets_removed": removed,
            "secrets_added": added,
        }));
    }
    app.ui.say(&format!(
        "{} takes the place of {} in {}; fitness for {} was {}, is {}",
        swap.to, swap.from, args.deployment_profile, before.tier, old.overall, new.overall
    ));
    for key in &removed {
        app.ui.say(&format!("no longer needed: {key}"));
    }
    for key in added {
        app.ui.say(&format!("newly needed: {key}"));
    }
    Ok(())
}

/// Writes the swap into the deployment file, whose comments stay; the profile's new version.
fn write(args: &ApplyArgs, swap: &Swap) -> Result<i64, CommandError> {
    let path = args
        .deployment
        .clone()
        .unwrap_or_else(|| PathBuf::from(FILE_NAME));
    let unreadable = || CommandError::failed(format!("{} cannot be edited", path.display()));
    let text = deployment::read_text(&path)?;
    let mut document: toml_edit::DocumentMut = text.parse().map_err(|_| unreadable())?;
    let profile = document
        .get_mut("profiles")
        .and_then(|profiles| profiles.get_mut(&args.deployment_profile))
        .and_then(toml_edit::Item::as_table_like_mut)
        .ok_or_else(unreadable)?;
    let swaps = profile
        .entry("swaps")
        .or_insert(toml_edit::Item::Value(toml_edit::InlineTable::new().into()));
    swaps
        .as_table_like_mut()
        .ok_or_else(unreadable)?
        .insert(&swap.from, toml_edit::value(&swap.to));
    if let Some(inline) = swaps.as_inline_table_mut() {
        inline.fmt();
    }
    let version = profile
        .get("version")
        .and_then(toml_edit::Item::as_integer)
        .unwrap_or(1)
        + 1;
    profile.insert("version", toml_edit::value(version));
    let mode = Mode::from_raw_mode(0o644);
    output::write(
        &path,
        document.to_string().as_bytes(),
        mode,
        Existing::Replace,
    )?;
    Ok(version)
}

fn score(shipment: &Shipment) -> Fitness {
    let plan = shipment.plan(true);
    fitness::fitness(
        &plan,
        &shipment.services,
        &shipment.scores,
        shipment.made_at,
    )
}

/// Say how fit an application is for each tier, 0 to 100
///
/// 0.30 portability + 0.30 resources + 0.20 licensing + 0.20 platform support; 0 while it needs an
/// infrastructure secret that may not be shipped. --explain prints every term.
#[derive(Args)]
pub(crate) struct FitnessArgs {
    /// Profile of the deployment file
    #[arg(value_name = "PROFILE")]
    deployment_profile: Option<String>,
    /// Only this tier; may be repeated
    #[arg(long = "tier", value_name = "TIER")]
    tiers: Vec<Tier>,
    /// Print every term of the formula
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    source: SourceArgs,
}

pub(crate) fn run_fitness(app: &App, args: &FitnessArgs) -> Result<(), CommandError> {
    let profile = args.deployment_profile.as_deref();
    let mut shipment = deployment::load(app, &args.source, profile, None)?;
    let tiers = match args.tiers.is_empty() {
        true => Tier::ALL.to_vec(),
        false => args.tiers.clone(),
    };
    let mut all = Vec::new();
    for tier in tiers {
        shipment.tier = tier;
        all.push(score(&shipment));
    }
    if app.ui.is_json {
        let scenario = &shipment.scenario;
        let answer = fitness::to_json(scenario, &all, &shipment.swaps, args.explain);
        return app.ui.print_json(&answer);
    }
    let rows = all.iter().map(|one| {
        let mut row = vec![one.tier.name().to_owned(), one.overall.to_string()];
        row.extend(one.terms.iter().map(|term| term.value.round().to_string()));
        row.push(fitness::band(one.overall).to_owned());
        row.push(fitness::verdict(one.overall).to_owned());
        row
    });
    let headings = [
        "tier",
        "fitness",
        "portability",
        "resources",
        "licensing",
        "platform",
        "band",
        "verdict",
    ];
    let mut text = format!("{}\n", app.ui.table(&headings, rows.collect()));
    for one in &all {
        let mut lines = Vec::new();
        if args.explain {
            for term in &one.terms {
                lines.push(format!(
                    "{} = {:.2} x {:.1}",
                    term.name, term.weight, term.value
                ));
                lines.extend(term.because.iter().map(|line| format!("  {line}")));
            }
            lines.push(format!("computed: {}", one.computed));
        }
        if let Some(set) = &one.set_by {
            lines.push(format!("set to {}: {}", set.score, set.reason));
        }
        lines.extend(
            one.blockers
                .iter()
                .map(|blocker| format!("blocked: {blocker}")),
        );
        lines.extend(
            one.warnings
                .iter()
                .map(|warning| format!("warning: {warning}")),
        );
        if !lines.is_empty() {
            text.push_str(&format!(
                "\n{}\n",
                app.ui.tint(Tone::Strong, one.tier.name())
            ));
        }
        for line in lines {
            text.push_str(&format!("      {}\n", clean(&line)));
        }
    }
    app.ui.print(&text)
}
