//! The command line of Strongroom.

mod absent_store;
mod app;
mod args;
mod cache;
mod chain;
mod child;
mod commands;
mod config;
mod database;
mod deployment;
mod elsewhere;
mod env;
mod error;
mod hardening;
mod input;
mod ledger;
mod manifest_text;
mod oskeyring;
mod output;
mod progress;
mod project;
mod runtime;
#[cfg(feature = "vault")]
mod server;
mod session;
mod side;
mod ui;
mod usage;

use std::process::ExitCode;

use crate::app::App;
use crate::args::Cli;
use crate::args::Command;
use crate::env::Environment;
use crate::error::CommandError;

fn main() -> ExitCode {
    let limits = hardening::harden();
    std::panic::set_hook(Box::new(report_panic));
    let environment = Environment::of_process();
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(usage::report(&error, &environment)),
    };
    let Cli { global, command } = cli;
    let global = global.without_empty();
    let environment = match &global.server {
        Some(server) => on_server(environment, server),
        None => environment,
    };
    let ui = app::ui_of(&global, &environment);
    let result = App::new(global, environment, command.name(), limits).and_then(|app| {
        let result = dispatch(&app, &command);
        cache::clear_if_outdated(&app);
        result.map_err(|error| match app.settings.store() {
            Ok(store) => error::name_the_store(error, &store.value),
            Err(_) => error,
        })
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            ui.report(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// The variables of a server: its address, and the token that `login` keeps for it.
fn on_server(environment: Environment, server: &str) -> Environment {
    let environment = environment.with("STRONGROOM_ADDR", server);
    #[cfg(feature = "vault")]
    if !environment.has("STRONGROOM_TOKEN")
        && !environment.has("STRONGROOM_TOKEN_FILE")
        && let Some(folder) = environment.state_folder()
        && let file = strongroom_chain::server::token_file(&folder, server)
        && file.is_file()
        && let Some(file) = file.to_str()
    {
        return environment.with("STRONGROOM_TOKEN_FILE", file);
    }
    environment
}

/// A panic is a bug of ours; its message might quote a value, so only its place is shown.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    use std::io::Write;
    let place = panic
        .location()
        .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let _ = writeln!(
        std::io::stderr(),
        "error: strongroom has a bug{place}; nothing half-done was stored"
    );
}

fn dispatch(app: &App, command: &Command) -> Result<u8, CommandError> {
    match command {
        Command::Run(args) => return commands::run::run(app, args),
        Command::Init(args) => commands::init::run(app, args),
        Command::Import(args) => commands::import::run(app, args),
        Command::Migrate(args) => commands::migrate::run(app, args),
        Command::Sync(args) => commands::sync::run(app, args),
        Command::Backup(args) => commands::backup::run(app, args),
        Command::Restore(args) => commands::backup::restore(app, args),
        Command::Set(args) => commands::set::run(app, args),
        Command::Get(args) => commands::get::run(app, args),
        Command::List(args) => commands::list::run(app, args),
        Command::Check(args) => commands::check::run(app, args),
        Command::Export(args) => commands::export::run(app, args),
        Command::Plan(args) => commands::plan::run(app, args),
        Command::Identify(args) => commands::identify::run(app, args),
        Command::Template(args) => commands::identify::run_template(app, args),
        Command::Validate(args) => commands::identify::run_validate(app, args),
        Command::Secrets(args) => commands::identify::run_secrets(app, args),
        Command::Fitness(args) => commands::swaps::run_fitness(app, args),
        Command::Swaps(args) => commands::swaps::run(app, args),
        Command::Overrides(args) => commands::overrides::run(app, args),
        Command::Bundle(args) => commands::bundle::run(app, args),
        Command::Supervise(args) => commands::supervise::run(app, args),
        Command::Setup(args) => commands::setup::run(app, args),
        Command::History(args) => commands::history::run(app, args),
        Command::Rollback(args) => commands::history::rollback(app, args),
        Command::Rotate(args) => commands::rotate::run(app, args),
        Command::Rm(args) => commands::remove::rm(app, args),
        Command::Undelete(args) => commands::remove::undelete(app, args),
        Command::Destroy(args) => commands::remove::destroy(app, args),
        Command::Mv(args) => commands::carry::mv(app, args),
        Command::Cp(args) => commands::carry::cp(app, args),
        Command::Tag(args) => commands::tag::run(app, args),
        Command::Diff(args) => commands::diff::run(app, args),
        Command::Status(args) => commands::status::run(app, args),
        Command::Doctor(args) => commands::doctor::run(app, args),
        Command::Key(args) => commands::key::run(app, args),
        Command::Audit(args) => commands::audit::run(app, args),
        Command::Ledger(args) => commands::ledger::run(app, args),
        Command::Cache(args) => commands::cache::run(app, args),
        Command::Scan(args) => commands::scan::run(app, args),
        Command::Serve(args) => commands::serve::run(app, args),
        Command::Operator(args) => commands::operator::run(app, args),
        Command::UserKeys(args) => commands::userkeys::run(app, args),
        #[cfg(feature = "vault")]
        Command::Login(args) => commands::login::run(app, args),
        #[cfg(feature = "vault")]
        Command::Auth(args) => commands::auth::run(app, args),
        #[cfg(feature = "vault")]
        Command::Token(args) => commands::token::run(app, args),
        #[cfg(feature = "vault")]
        Command::Lease(args) => commands::lease::run(app, args),
        #[cfg(feature = "vault")]
        Command::Policy(args) => commands::policy::run(app, args),
        Command::Schema(args) => commands::meta::schema(app, args),
        Command::Completions(args) => commands::meta::completions(app, args),
        Command::Man(args) => commands::meta::man(app, args),
    }?;
    Ok(0)
}

impl Command {
    /// For the audit log: the command, never its arguments.
    fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Import(_) => "import",
            Self::Migrate(_) => "migrate",
            Self::Sync(_) => "sync",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Set(_) => "set",
            Self::Get(_) => "get",
            Self::List(_) => "list",
            Self::Check(_) => "check",
            Self::Run(_) => "run",
            Self::Export(_) => "export",
            Self::Plan(_) => "plan",
            Self::Identify(_) => "identify",
            Self::Template(_) => "template",
            Self::Validate(_) => "validate",
            Self::Secrets(_) => "secrets",
            Self::Fitness(_) => "fitness",
            Self::Swaps(_) => "swaps",
            Self::Overrides(_) => "overrides",
            Self::Bundle(_) => "bundle",
            Self::Supervise(_) => "supervise",
            Self::Setup(_) => "setup",
            Self::History(_) => "history",
            Self::Rollback(_) => "rollback",
            Self::Rotate(_) => "rotate",
            Self::Rm(_) => "rm",
            Self::Undelete(_) => "undelete",
            Self::Destroy(_) => "destroy",
            Self::Mv(_) => "mv",
            Self::Cp(_) => "cp",
            Self::Tag(_) => "tag",
            Self::Diff(_) => "diff",
            Self::Status(_) => "status",
            Self::Doctor(_) => "doctor",
            Self::Key(_) => "key",
            Self::Audit(_) => "audit",
            Self::Ledger(_) => "ledger",
            Self::Cache(_) => "cache",
            Self::Scan(_) => "scan",
            Self::Serve(_) => "serve",
            Self::Operator(_) => "operator",
            Self::UserKeys(_) => "userkeys",
            #[cfg(feature = "vault")]
            Self::Login(_) => "login",
            #[cfg(feature = "vault")]
            Self::Auth(_) => "auth aws-key",
            #[cfg(feature = "vault")]
            Self::Token(_) => "token",
            #[cfg(feature = "vault")]
            Self::Lease(_) => "lease",
            #[cfg(feature = "vault")]
            Self::Policy(_) => "policy",
            Self::Schema(_) => "schema",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}
