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

/// The same with `run` alone: an application waits for it to start, and describing all the other
/// commands takes longer than looking at its arguments.
#[derive(Parser)]
#[command(name = "strongroom", disable_help_subcommand = true)]
struct RunAlone {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: OnlyRun,
}

#[derive(Subcommand)]
enum OnlyRun {
    Run(commands::run::RunArgs),
}

impl Cli {
    /// The command line of this process.
    ///
    /// # Errors
    /// What is wrong with it, or the help that was asked for.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        // Everything but a sound `run` is the business of the whole description.
        let is_run = std::env::args_os().any(|argument| argument == "run");
        if let Some(Ok(alone)) = is_run.then(RunAlone::try_parse) {
            let OnlyRun::Run(args) = alone.command;
            return Ok(Self {
                global: alone.global,
                command: Command::Run(args),
            });
        }
        Self::try_parse()
    }
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
    #[arg(value_parser = path())]
    pub(crate) manifest: Option<PathBuf>,
    /// Store to use; for serve and operator also postgres://USER@HOST/DATABASE
    #[arg(long, global = true, env = "STRONGROOM_STORE", value_name = "FILE")]
    #[arg(hide_env_values = true)]
    #[arg(value_parser = path())]
    pub(crate) store: Option<PathBuf>,
    /// URL of a Strongroom server to use in the store's place
    #[arg(long, global = true, env = "STRONGROOM_ADDR", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Key file that opens the store
    #[arg(long, global = true, env = "STRONGROOM_KEY_FILE", value_name = "FILE")]
    #[arg(value_parser = path())]
    pub(crate) key_file: Option<PathBuf>,
    /// Print JSON on stdout, and errors as JSON on stderr
    #[arg(long, global = true, env = "STRONGROOM_JSON", value_parser = flag("STRONGROOM_JSON"))]
    pub(crate) json: bool,
    /// Say only what is wrong
    #[arg(long, short = 'q', global = true, env = "STRONGROOM_QUIET")]
    #[arg(value_parser = flag("STRONGROOM_QUIET"))]
    pub(crate) quiet: bool,
    /// Use no colours [also: NO_COLOR]
    #[arg(long, global = true, env = "STRONGROOM_NO_COLOR")]
    #[arg(value_parser = flag("STRONGROOM_NO_COLOR"))]
    pub(crate) no_color: bool,
    /// Ask nobody anything; fail instead
    #[arg(long, global = true, env = "STRONGROOM_NON_INTERACTIVE")]
    #[arg(value_parser = flag("STRONGROOM_NON_INTERACTIVE"))]
    pub(crate) non_interactive: bool,
    /// Answer yes to every question
    #[arg(long, short = 'y', global = true, env = "STRONGROOM_YES")]
    #[arg(value_parser = flag("STRONGROOM_YES"))]
    pub(crate) yes: bool,
}

/// Booleans from the environment: true/false/1/0/yes/no/on/off; anything else is an error that
/// names the variable. An empty one is not set.
pub(crate) fn flag(variable: &'static str) -> impl clap::builder::TypedValueParser<Value = bool> {
    use clap::builder::TypedValueParser;
    clap::builder::StringValueParser::new().try_map(move |text| {
        if text.is_empty() {
            return Ok(false);
        }
        strongroom_core::format::parse_bool(&text)
            .ok_or_else(|| format!("{variable} is none of true, false, 1, 0, yes, no, on, off"))
    })
}

/// A path; an empty one is let in, since an empty variable is not set.
fn path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::TypedValueParser;
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}

impl Global {
    /// An empty variable is not set.
    pub(crate) fn without_empty(self) -> Self {
        let path = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        Self {
            profile: self.profile.filter(|name| !name.is_empty()),
            server: self.server.filter(|url| !url.is_empty()),
            manifest: path(self.manifest),
            store: path(self.store),
            key_file: path(self.key_file),
            ..self
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Init(commands::init::InitArgs),
    Import(commands::import::ImportArgs),
    Migrate(commands::migrate::MigrateArgs),
    Sync(commands::sync::SyncArgs),
    Backup(commands::backup::BackupArgs),
    Restore(commands::backup::RestoreArgs),
    Set(commands::set::SetArgs),
    Get(commands::get::GetArgs),
    List(commands::list::ListArgs),
    Check(commands::check::CheckArgs),
    Run(commands::run::RunArgs),
    Export(commands::export::ExportArgs),
    Plan(commands::plan::PlanArgs),
    Identify(commands::identify::IdentifyArgs),
    Template(commands::identify::TemplateArgs),
    Validate(commands::identify::ValidateArgs),
    Secrets(commands::identify::SecretsArgs),
    Fitness(commands::swaps::FitnessArgs),
    Swaps(commands::swaps::SwapsArgs),
    Overrides(commands::overrides::OverridesArgs),
    Bundle(commands::bundle::BundleArgs),
    Supervise(commands::supervise::SuperviseArgs),
    Setup(commands::setup::SetupArgs),
    History(commands::history::HistoryArgs),
    Rollback(commands::history::RollbackArgs),
    Rotate(commands::rotate::RotateArgs),
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
    Ledger(commands::ledger::LedgerArgs),
    Cache(commands::cache::CacheArgs),
    Scan(commands::scan::ScanArgs),
    Serve(commands::serve::ServeArgs),
    Operator(commands::operator::OperatorArgs),
    #[command(name = "userkeys")]
    UserKeys(commands::userkeys::UserKeysArgs),
    #[cfg(feature = "vault")]
    Login(commands::login::LoginArgs),
    #[cfg(feature = "vault")]
    Auth(commands::auth::AuthArgs),
    #[cfg(feature = "vault")]
    Token(commands::token::TokenArgs),
    #[cfg(feature = "vault")]
    Policy(commands::policy::PolicyArgs),
    #[cfg(feature = "vault")]
    Lease(commands::lease::LeaseArgs),
    Schema(commands::meta::SchemaArgs),
    Completions(commands::meta::CompletionsArgs),
    Man(commands::meta::ManArgs),
}
