use clap::Args;
use strongroom_deploy::plan::Plan;
use strongroom_deploy::strategy::Strategy;
use strongroom_deploy::tier::Tier;

use crate::app::App;
use crate::commands::check::plural;
use crate::deployment;
use crate::deployment::SourceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ui::Tone;
use crate::ui::clean;

/// Show what happens to each secret when the application is shipped, and what is in the way
///
/// For each secret: left out (strip), drawn on the machine (generate), asked for (prompt) or
/// fetched where it is kept (fetch), and why. What is written for the tier decides; else the
/// secret's class; what nobody decided is in the way. Infrastructure secrets never leave the server
/// for desktop and mobile. Exit code 5 when something is in the way.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom plan --tier desktop
  strongroom plan --tier mobile --bundle bundle.json --swap postgres=sqlite
  strongroom plan --tier cloud --registry config/secrets.yaml --json")]
pub(crate) struct PlanArgs {
    /// Where it is shipped to: local_dev, desktop, mobile, cloud, enterprise, or 1 to 5
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
    /// List optional secrets, too, that nothing is said of
    #[arg(long)]
    include_optional: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// Profile of the deployment file
    #[arg(value_name = "PROFILE")]
    deployment_profile: Option<String>,
}

pub(crate) fn run(app: &App, args: &PlanArgs) -> Result<(), CommandError> {
    let profile = args.deployment_profile.as_deref();
    let shipment = deployment::load(app, &args.source, profile, args.tier)?;
    let plan = shipment.plan(args.include_optional);
    if app.ui.is_json {
        let mut answer = plan.to_json();
        if let Some(dependencies) = &shipment.dependencies {
            dependencies.mark(&mut answer);
        }
        app.ui.print_json(&answer)?;
    } else {
        app.ui.print(&text(app, &plan))?;
    }
    match plan.is_ok() {
        true => Ok(()),
        false => Err(CommandError::reported(Kind::Validation, "plan.blocked")),
    }
}

fn text(app: &App, plan: &Plan) -> String {
    let swaps: Vec<String> = plan
        .swaps
        .iter()
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect();
    let mut title = format!("{} · {}", plan.scenario, plan.tier.title());
    if !swaps.is_empty() {
        title.push_str(&format!(" · {}", swaps.join(", ")));
    }
    let rows = plan.items.iter().map(|(need, decision)| {
        let action = match &decision.blocked {
            Some(_) => "blocked",
            None => decision.strategy.map_or("-", Strategy::word),
        };
        vec![
            need.key.clone(),
            action.to_owned(),
            match need.is_required {
                true => "required",
                false => "optional",
            }
            .to_owned(),
            need.resource.clone().unwrap_or_else(|| "-".to_owned()),
            decision.reason.clone(),
        ]
    });
    let headings = ["secret", "action", "needed", "resource", "reason"];
    let table = app.ui.table(&headings, rows.collect());
    let mut text = format!("{}\n{table}\n", app.ui.tint(Tone::Strong, &title));
    for (need, decision) in &plan.items {
        if decision.strategy != Some(Strategy::Prompt) || decision.blocked.is_some() {
            continue;
        }
        let label = decision.prompt.label.as_deref().unwrap_or(&need.key);
        text.push_str(&clean(&format!("\nasks for {}: ", need.key)));
        text.push_str(&indented(label));
        let prompt = &decision.prompt;
        for line in [&prompt.description, &prompt.link].into_iter().flatten() {
            text.push_str(&format!("\n      {}", indented(line)));
        }
        if let Some(format) = &need.format {
            text.push_str(&clean(&format!("\n      has to match {format}")));
        }
        text.push('\n');
    }
    for warning in &plan.warnings {
        let word = app.ui.tint(Tone::Doubtful, "warning");
        text.push_str(&format!("\n{word} {}\n", clean(warning)));
    }
    for (_, blocked) in plan.blocked() {
        let word = app.ui.tint(Tone::Bad, "blocked");
        text.push_str(&format!("\n{word} {}\n", clean(&blocked.message)));
        text.push_str(&format!("      free it: {}\n", clean(&blocked.fix)));
    }
    text.push_str(&format!("\n{}\n", sum(plan)));
    text
}

/// A text of many lines below the first of them.
fn indented(text: &str) -> String {
    let lines: Vec<String> = text.trim().lines().map(clean).collect();
    lines.join("\n      ")
}

/// How many secrets there are of each kind.
fn sum(plan: &Plan) -> String {
    let blocked = plan.blocked().count();
    let mut parts = vec![plural(plan.items.len(), "secret")];
    for strategy in Strategy::ALL {
        let items = plan.items.iter().filter(|(_, decision)| {
            decision.strategy == Some(strategy) && decision.blocked.is_none()
        });
        match items.count() {
            0 => {}
            count => parts.push(format!("{count} {strategy}")),
        }
    }
    parts.push(match blocked {
        0 => "nothing is in the way".to_owned(),
        count => format!("{count} in the way"),
    });
    parts.join(", ")
}
