//! The command line as typed. The doc comments are the help texts.

use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::commands;

/// Declare, keep, check and run an application's secrets
///
/// A manifest, strongroom.toml, says what an application needs. Values are kept encrypted in a
/// store of yours, or come from .env files, the environment and folders of files. `run` checks
/// them, starts the application with them, and masks them in its output.
#[derive(Parser)]
#[command(
    name = "strongroom",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(disable_help_subcommand = true, infer_subcommands = false)]
#[command(after_help = "Begin with: strongroom init")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes; each has one environment variable.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Profile to use, e.g. production [also: APP_PROFILE]
    #[arg(
        long,
        short = 'p',
        global = true,
        env = "STRONGROOM_PROFILE",
        value_name = "NAME"
    )]
    pub(crate) profile: Option<String>,
    /// Manifest to read instead of the strongroom.toml found by walking up
    #[arg(long, global = true, env = "STRONGROOM_MANIFEST", value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Store to use
    #[arg(long, global = true, env = "STRONGROOM_STORE", value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// Key file that opens the store
    #[arg(long, global = true, env = "STRONGROOM_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Print JSON on stdout, and errors as JSON on stderr
    #[arg(long, global = true, env = "STRONGROOM_JSON", value_parser = flag_value())]
    #[arg(num_args = 0, default_missing_value = "true", default_value = "false")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) json: bool,
    /// Say only what is wrong
    #[arg(long, short = 'q', global = true, env = "STRONGROOM_QUIET", value_parser = flag_value())]
    #[arg(num_args = 0, default_missing_value = "true", default_value = "false")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) quiet: bool,
    /// Use no colours [also: NO_COLOR]
    #[arg(long, global = true, env = "STRONGROOM_NO_COLOR", value_parser = flag_value())]
    #[arg(num_args = 0, default_missing_value = "true", default_value = "false")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) no_color: bool,
    /// Ask nobody anything; fail instead
    #[arg(long, global = true, env = "STRONGROOM_NON_INTERACTIVE", value_parser = flag_value())]
    #[arg(num_args = 0, default_missing_value = "true", default_value = "false")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) non_interactive: bool,
    /// Answer yes to every question
    #[arg(long, short = 'y', global = true, env = "STRONGROOM_YES", value_parser = flag_value())]
    #[arg(num_args = 0, default_missing_value = "true", default_value = "false")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) yes: bool,
}

/// Booleans from the environment: true/false/1/0/yes/no/on/off; anything else is an error.
fn flag_value() -> impl clap::builder::TypedValueParser<Value = bool> {
    use clap::builder::TypedValueParser;
    clap::builder::StringValueParser::new().try_map(|text| {
        strongroom_core::format::parse_bool(&text)
            .ok_or("expected true, false, 1, 0, yes, no, on or off")
    })
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Init(commands::init::InitArgs),
    Import(commands::import::ImportArgs),
    Set(commands::set::SetArgs),
    Get(commands::get::GetArgs),
    List(commands::list::ListArgs),
    Check(commands::check::CheckArgs),
    Run(commands::run::RunArgs),
    Export(commands::export::ExportArgs),
    History(commands::history::HistoryArgs),
    Rollback(commands::history::RollbackArgs),
    Rm(commands::remove::RmArgs),
    Undelete(commands::remove::UndeleteArgs),
    Destroy(commands::remove::DestroyArgs),
    Mv(commands::carry::MvArgs),
    Cp(commands::carry::CpArgs),
    Tag(commands::tag::TagArgs),
    Diff(commands::diff::DiffArgs),
    Status(commands::status::StatusArgs),
    Doctor(commands::doctor::DoctorArgs),
    Key(commands::key::KeyArgs),
    Audit(commands::audit::AuditArgs),
    Schema(commands::meta::SchemaArgs),
    Completions(commands::meta::CompletionsArgs),
    Man(commands::meta::ManArgs),
}
