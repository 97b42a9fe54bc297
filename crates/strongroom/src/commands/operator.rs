mod migrate_storage;
#[cfg(feature = "vault")]
mod seal;
mod shares;

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use strongroom_engine::state::State;
use strongroom_engine::tokens::NewToken;
use strongroom_engine::tokens::ROOT;

use crate::app::App;
use crate::commands::audit::verify;
use crate::commands::audit::verify::VerifyArgs;
use crate::database;
use crate::database::Opened;
use crate::error::CommandError;
use crate::session;

/// Look after a server: of your store, or the one that --server names
#[derive(Args)]
pub(crate) struct OperatorArgs {
    #[command(subcommand)]
    command: OperatorCommand,
}

#[derive(Subcommand)]
enum OperatorCommand {
    /// Make a token that may do everything, for the server of your store
    ///
    /// Whoever can open the store can do that: no running server is asked, and one that runs
    /// knows the token at once.
    RootToken,
    /// Check that no line of a server's audit files was changed or taken out, as `audit verify`
    VerifyAudit(VerifyArgs),
    /// Move a store between a file and a PostgreSQL database
    ///
    /// Everything is copied under its revision, compared on both sides, and then becomes a store at
    /// once; the one it comes from stays as it is. A move that was cut off goes on where it
    /// stopped. Stop the servers of the old store before: what they write later is not moved.
    MigrateStorage(migrate_storage::MigrateStorageArgs),
    /// Make the store of the server that --server names; prints its unseal shares and a root token
    #[cfg(feature = "vault")]
    Init(seal::InitArgs),
    /// Give an unseal share to the server that --server names; it is asked for, or read from stdin
    #[cfg(feature = "vault")]
    Unseal {
        /// Forget the shares that were given so far
        #[arg(long)]
        reset: bool,
    },
    /// Seal the server that --server names: it forgets its keys
    #[cfg(feature = "vault")]
    Seal,
    /// Show whether the server that --server names is sealed (exit code 7 if it is)
    #[cfg(feature = "vault")]
    Status,
}

pub(crate) fn run(app: &App, args: &OperatorArgs) -> Result<(), CommandError> {
    match &args.command {
        OperatorCommand::RootToken => root_token(app),
        OperatorCommand::VerifyAudit(args) => verify::run(app, args),
        OperatorCommand::MigrateStorage(args) => migrate_storage::run(app, args),
        #[cfg(feature = "vault")]
        OperatorCommand::Init(args) => seal::init(app, args),
        #[cfg(feature = "vault")]
        OperatorCommand::Unseal { reset } => seal::unseal(app, *reset),
        #[cfg(feature = "vault")]
        OperatorCommand::Seal => seal::seal(app),
        #[cfg(feature = "vault")]
        OperatorCommand::Status => seal::status(app),
    }
}

fn root_token(app: &App) -> Result<(), CommandError> {
    let opened = match database::open_if_named(app)? {
        Some(opened) => opened,
        None => Opened::File(Box::new(session::open_or_create(app)?)),
    };
    let state = State::new(opened.storage(), opened.barrier().clone());
    let issued = pollster::block_on(async {
        let mounts = state.mounts().await?.map(|found| found.value);
        let mount = mounts.and_then(|mounts| {
            let (_, mount) = mounts.find("auth/token/")?;
            Some(mount.uuid)
        });
        let mut new = NewToken::orphan(
            vec![ROOT.into()],
            "auth/token/root",
            mount.unwrap_or_default(),
        );
        new.display_name = "root".into();
        state.issue(new, app.now(), Vec::new()).await
    })?;
    if let Opened::File(session) = &opened {
        session.note_write();
        session.finish(app);
    }
    // EXPOSE: a new token goes to the one who asked for it, once.
    let token = issued.plain.expose_secret_text().unwrap_or_default();
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "token": token,
            "accessor": issued.token.accessor,
        }));
    }
    app.ui.print_line(token)
}
