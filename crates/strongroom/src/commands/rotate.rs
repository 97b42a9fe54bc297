//! `rotate`: a new value in four steps, here or on a server, and how rotations stand.

mod local;
#[cfg(feature = "vault")]
mod on_server;
#[cfg(feature = "vault")]
mod rotators;

use clap::Args;
use clap::Subcommand;

use crate::app::App;
use crate::error::CommandError;
use crate::project::Project;
use crate::session::Session;

/// Give a secret a new value, step by step: the old one works until the new one does
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct RotateArgs {
    #[command(subcommand)]
    command: Option<RotateCommand>,
    /// Declared name, or path; on a server the name that AWS clients know
    #[arg(required = true)]
    name: Option<String>,
}

#[derive(Subcommand)]
enum RotateCommand {
    /// Show how rotations stand: what is under way, what failed and why, when the next one is
    Status {
        /// Only this secret, with what became of its last rotations
        name: Option<String>,
    },
    /// Give up the rotation that is under way: the current value stays
    Abort {
        /// Which secret
        name: String,
    },
    /// Manage what makes new values for the secrets of a server
    #[cfg(feature = "vault")]
    Rotators(rotators::RotatorsArgs),
}

pub(crate) fn run(app: &App, args: &RotateArgs) -> Result<(), CommandError> {
    #[cfg(feature = "vault")]
    if app.global.server.is_some() {
        let server = crate::server::Server::open(app)?;
        return match &args.command {
            None => on_server::rotate(app, &server, args.name.as_deref().unwrap_or_default()),
            Some(RotateCommand::Status { name }) => {
                on_server::status(app, &server, name.as_deref())
            }
            Some(RotateCommand::Abort { name }) => on_server::abort(app, &server, name),
            Some(RotateCommand::Rotators(args)) => rotators::run(app, &server, args),
        };
    }
    match &args.command {
        None => local::rotate(app, args.name.as_deref().unwrap_or_default()),
        Some(RotateCommand::Status { name }) => local::status(app, name.as_deref()),
        Some(RotateCommand::Abort { name }) => local::abort(app, name),
        #[cfg(feature = "vault")]
        Some(RotateCommand::Rotators(_)) => crate::server::Server::open(app).map(drop),
    }
}

/// Whether a new value of a secret of the own store can be drawn here.
pub(crate) fn can_rotate(session: &Session, project: Option<&Project>, name: &str) -> bool {
    local::can_rotate(session, project, name)
}

/// Rotates a secret of the own store without a word; the caller tells.
pub(crate) fn rotate_here(
    app: &App,
    session: &Session,
    project: Option<&Project>,
    name: &str,
) -> Result<(), CommandError> {
    local::rotate_in(app, session, project, name).map(drop)
}

/// The hint of a rotation that failed.
fn hint_of(name: &str) -> String {
    format!(
        "the current value is unchanged; strongroom rotate {name} tries the step again, \
         strongroom rotate abort {name} gives it up"
    )
}
