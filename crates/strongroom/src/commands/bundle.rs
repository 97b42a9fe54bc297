//! `bundle`: manifests of applications that are installed on a computer.

mod artefacts;
mod assemble;
mod build;
mod export;
mod lint;
mod scan;

use clap::Args;
use clap::Subcommand;

use self::assemble::AssembleArgs;
use self::assemble::MergeArgs;
use self::build::BuildArgs;
use self::export::ExportArgs;
use self::lint::LintArgs;
use crate::app::App;
use crate::error::CommandError;

/// The schema of the manifests.
const SCHEMA: &str = "desktop.v0.1";

/// Check bundle manifests of installed applications, and put them together
#[derive(Args)]
pub(crate) struct BundleArgs {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Subcommand)]
enum BundleCommand {
    Lint(LintArgs),
    Build(BuildArgs),
    Assemble(AssembleArgs),
    MergeSecrets(MergeArgs),
    Export(ExportArgs),
}

pub(crate) fn run(app: &App, args: &BundleArgs) -> Result<(), CommandError> {
    match &args.command {
        BundleCommand::Lint(args) => lint::run(app, args),
        BundleCommand::Build(args) => build::run(app, args),
        BundleCommand::Assemble(args) => assemble::run(app, args),
        BundleCommand::MergeSecrets(args) => assemble::run_merge(app, args),
        BundleCommand::Export(args) => export::run(app, args),
    }
}
