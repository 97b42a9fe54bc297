use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use rustix::fs::Mode;
use serde_json::Value;
use strongroom_deploy::identify;
use strongroom_deploy::identify::Status;
use strongroom_deploy::template;
use strongroom_deploy::tier::Tier;

use crate::app::App;
use crate::commands::check::plural;
use crate::commands::plan;
use crate::deployment;
use crate::deployment::Shipment;
use crate::deployment::SourceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::output;
use crate::output::Existing;

/// What is shipped, and where to.
#[derive(Args)]
pub(crate) struct ShipmentArgs {
    /// Profile of the deployment file, or a tier; default: the project, shipped to desktops
    #[arg(value_name = "PROFILE")]
    deployment_profile: Option<String>,
    /// Where it is shipped to, if not as the profile says
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
    #[command(flatten)]
    source: SourceArgs,
}

impl ShipmentArgs {
    fn load(&self, app: &App) -> Result<Shipment, CommandError> {
        let profile = self.deployment_profile.as_deref();
        deployment::load(app, &self.source, profile, self.tier)
    }
}

/// List the secrets that an application needs where it is shipped to
#[derive(Args)]
pub(crate) struct IdentifyArgs {
    #[command(flatten)]
    shipment: ShipmentArgs,
}

pub(crate) fn run(app: &App, args: &IdentifyArgs) -> Result<(), CommandError> {
    let shipment = args.shipment.load(app)?;
    let answer = identify::identify(&shipment.plan(true), &shipment.profile);
    if app.ui.is_json {
        return app.ui.print_json(&answer);
    }
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("-").to_owned();
    let secrets = answer["secrets"].as_array().into_iter().flatten();
    let rows = secrets.map(|secret| {
        let about = match secret["note"].as_str() {
            Some(note) => note.to_owned(),
            None => text(secret, "description"),
        };
        vec![
            text(secret, "id"),
            text(secret, "type"),
            text(secret, "source"),
            about,
        ]
    });
    let headings = ["secret", "type", "source", "about"];
    app.ui.print_table(&headings, rows.collect())?;
    let sum = &answer["summary"];
    app.ui.print_line(&format!(
        "\n{} in all: {} required, {} optional, {} infrastructure; {} go into the bundle",
        sum["total"], sum["required"], sum["optional"], sum["infrastructure"], sum["bundleable"]
    ))
}

/// Print a list of secrets to fill in before shipping; it holds no value
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom template desktop
  strongroom template wheel-desktop --format json
  strongroom template cloud --format k8s --output secret.yaml")]
pub(crate) struct TemplateArgs {
    #[command(flatten)]
    shipment: ShipmentArgs,
    /// How to write it
    #[arg(long, value_enum, default_value = "env")]
    format: TemplateFormat,
    /// Write to a new file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TemplateFormat {
    /// Variables, with everything that is known in comments
    Env,
    /// JSON
    Json,
    /// Commands for Vault and OpenBao
    Vault,
    /// Commands for AWS Secrets Manager
    Aws,
    /// A Secret of Kubernetes
    K8s,
    /// A .env file, as short as it can be
    Dotenv,
}

impl From<TemplateFormat> for template::Format {
    fn from(format: TemplateFormat) -> Self {
        match format {
            TemplateFormat::Env => Self::Env,
            TemplateFormat::Json => Self::Json,
            TemplateFormat::Vault => Self::Vault,
            TemplateFormat::Aws => Self::Aws,
            TemplateFormat::K8s => Self::K8s,
            TemplateFormat::Dotenv => Self::Dotenv,
        }
    }
}

pub(crate) fn run_template(app: &App, args: &TemplateArgs) -> Result<(), CommandError> {
    let shipment = args.shipment.load(app)?;
    let plan = shipment.plan(false);
    let format = match app.ui.is_json {
        true => TemplateFormat::Json,
        false => args.format,
    };
    let text = template::text(&plan, &shipment.profile, format.into());
    match &args.output {
        Some(path) => {
            let mode = Mode::RUSR | Mode::WUSR;
            output::write(
                path,
                text.as_bytes(),
                mode,
                Existing::Keep(output::CHOOSE_ANOTHER),
            )
        }
        None => app.ui.print(&text),
    }
}

/// Check that every secret is ready to be shipped
///
/// Six checks: its source is configured, its generator and its prompt are sound, no infrastructure
/// secret is shipped, its format compiles, and what services name exists. Exit code 5 when one
/// fails.
#[derive(Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    shipment: ShipmentArgs,
}

pub(crate) fn run_validate(app: &App, args: &ValidateArgs) -> Result<(), CommandError> {
    let shipment = args.shipment.load(app)?;
    let checks = identify::validate(&shipment.plan(false), shipment.bundle.as_ref());
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let failed = count(Status::Fail);
    if app.ui.is_json {
        let answer = identify::validation_json(&checks, &shipment.profile);
        app.ui.print_json(&answer)?;
    } else {
        let rows = checks.iter().map(|check| {
            vec![
                check.secret.clone(),
                check.status.word().to_owned(),
                check.details.clone(),
                check.fix.clone().unwrap_or_default(),
            ]
        });
        let headings = ["secret", "status", "details", "mend it"];
        app.ui.print_table(&headings, rows.collect())?;
        app.ui.print_line(&format!(
            "\n{}: {} passed, {failed} failed, {} skipped",
            plural(checks.len(), "check"),
            count(Status::Pass),
            count(Status::Skip)
        ))?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(CommandError::reported(Kind::Validation, "validate.failed")),
    }
}

/// The commands of shipping under the names that deployment managers know
#[derive(Args)]
pub(crate) struct SecretsArgs {
    #[command(subcommand)]
    command: SecretsCommand,
}

#[derive(Subcommand)]
enum SecretsCommand {
    Plan(plan::PlanArgs),
    Identify(IdentifyArgs),
    Template(TemplateArgs),
    Validate(ValidateArgs),
}

pub(crate) fn run_secrets(app: &App, args: &SecretsArgs) -> Result<(), CommandError> {
    match &args.command {
        SecretsCommand::Plan(args) => plan::run(app, args),
        SecretsCommand::Identify(args) => run(app, args),
        SecretsCommand::Template(args) => run_template(app, args),
        SecretsCommand::Validate(args) => run_validate(app, args),
    }
}
