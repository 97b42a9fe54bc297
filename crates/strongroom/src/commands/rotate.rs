//! `rotate`: a new value in four steps, here or on a server, and how rotations stand.

mod local;
#[cfg(feature = "vault")]
mod on_server;
#[cfg(feature = "vault")]
mod rotators;
mod views;

use clap::Args;
use clap::Subcommand;
use strongroom_core::secret::SecretValue;
use strongroom_engine::rotation::Abort;
use strongroom_engine::rotation::Purpose;

use crate::app::App;
use crate::error::CommandError;
use crate::input::ValueSource;

/// Give a secret a new value, step by step: the old one works until the new one does
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct RotateArgs {
    #[command(subcommand)]
    command: Option<RotateCommand>,
    /// Declared name, or path; on a server the name that AWS clients know
    #[arg(required = true)]
    name: Option<String>,
    /// Only say what would happen, who reads the secret and what would break
    #[arg(long)]
    dry_run: bool,
}

#[derive(Subcommand)]
enum RotateCommand {
    /// Show how rotations stand: what is under way, what failed and why, when the next one is
    Status {
        /// Only this secret, with what became of its last rotations
        name: Option<String>,
    },
    /// Show what became of the last rotations of a secret
    History {
        /// Which secret
        name: String,
    },
    /// Show what is rotated next, soonest first
    Calendar,
    /// Have a rotation that waits after a failure go on now
    Resume {
        /// Which secret
        name: String,
    },
    /// Give up the rotation that is under way: the current value stays, and is put back where the
    /// new one was set already
    Abort {
        /// Which secret
        name: String,
        /// Put nothing back: for what cannot be reached any more
        #[arg(long)]
        abandon: bool,
    },
    /// Bring the new value that a rotation waits for, by prompt, standard input or @FILE
    Supply {
        /// Which secret
        name: String,
        /// `-` for standard input, `@FILE` for a file; without it: prompt, or standard input
        source: Option<String>,
    },
    /// Return to the value before the current one, through the same steps
    Rollback {
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
            None if args.dry_run => {
                on_server::plan(app, &server, args.name.as_deref().unwrap_or_default())
            }
            Some(RotateCommand::History { name }) => on_server::history(app, &server, name),
            Some(RotateCommand::Calendar) => on_server::calendar(app, &server),
            None => on_server::act(
                app,
                &server,
                args.name.as_deref().unwrap_or_default(),
                "rotate",
            ),
            Some(RotateCommand::Status { name }) => {
                on_server::status(app, &server, name.as_deref())
            }
            Some(RotateCommand::Resume { name }) => on_server::act(app, &server, name, "resume"),
            Some(RotateCommand::Abort { name, abandon }) => {
                on_server::abort(app, &server, name, *abandon)
            }
            Some(RotateCommand::Supply { name, source }) => {
                let value = value(app, name, source.as_deref())?;
                on_server::supply(app, &server, name, &value)
            }
            Some(RotateCommand::Rollback { name }) => {
                on_server::act(app, &server, name, "rollback")
            }
            Some(RotateCommand::Rotators(args)) => rotators::run(app, &server, args),
        };
    }
    match &args.command {
        None if args.dry_run => local::plan(app, args.name.as_deref().unwrap_or_default()),
        Some(RotateCommand::History { name }) => local::history(app, name),
        Some(RotateCommand::Calendar) => local::calendar(app),
        None => local::rotate(
            app,
            args.name.as_deref().unwrap_or_default(),
            Purpose::Rotate,
        ),
        Some(RotateCommand::Status { name }) => local::status(app, name.as_deref()),
        Some(RotateCommand::Resume { name }) => local::resume(app, name),
        Some(RotateCommand::Abort { name, abandon }) => match abandon {
            true => local::abort(app, name, Abort::AtOnce),
            false => local::abort(app, name, Abort::Properly),
        },
        Some(RotateCommand::Supply { name, source }) => {
            let value = value(app, name, source.as_deref())?;
            local::supply(app, name, value)
        }
        Some(RotateCommand::Rollback { name }) => local::rotate(app, name, Purpose::Return),
        #[cfg(feature = "vault")]
        Some(RotateCommand::Rotators(_)) => crate::server::Server::open(app).map(drop),
    }
}

/// A new value, as `set` reads one.
fn value(app: &App, name: &str, source: Option<&str>) -> Result<SecretValue, CommandError> {
    let value = ValueSource::parse(source)?.read(app, name, false)?;
    match value.is_empty() {
        true => Err(CommandError::usage("the value is empty")),
        false => Ok(value),
    }
}

/// The hint of a rotation that failed.
fn hint_of(name: &str) -> String {
    format!(
        "the current value is unchanged; strongroom rotate resume {name} tries it again, \
         strongroom rotate abort {name} gives it up"
    )
}
