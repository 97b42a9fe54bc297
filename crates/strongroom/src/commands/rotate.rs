//! `rotate`: a new value in four steps, here or on a server, and how rotations stand.

mod due;
mod local;
#[cfg(feature = "vault")]
mod mails;
#[cfg(feature = "vault")]
mod on_server;
mod overlap;
#[cfg(feature = "vault")]
mod policies;
#[cfg(feature = "vault")]
mod push;
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
use crate::project::Project;
use crate::session::Session;

/// Give a secret a new value, step by step: the old one works until the new one does
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct RotateArgs {
    #[command(subcommand)]
    command: Option<RotateCommand>,
    /// Declared name, or path; on a server the name that AWS clients know
    #[arg(required_unless_present = "due")]
    name: Option<String>,
    /// Rotate every declared secret whose `rotation.every` is over, one after the other
    #[arg(long, conflicts_with_all = ["name", "dry_run"])]
    due: bool,
    /// On a server: what rotates it from now on
    #[arg(long, value_name = "NAME")]
    rotator: Option<String>,
    /// On a server: how often from now on, in days, e.g. 30d
    #[arg(long, value_name = "TIME", conflicts_with = "schedule")]
    every: Option<String>,
    /// On a server: when exactly from now on, rate(…) or cron(…)
    #[arg(long, value_name = "RULE")]
    schedule: Option<String>,
    /// On a server: only set it up, and rotate at its time
    #[arg(long)]
    later: bool,
    /// Rotate although the value before the current one is still good for somebody
    #[arg(long, conflicts_with_all = ["due", "dry_run"])]
    now: bool,
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
    /// End the time in which the value before the current one is good: where everybody who reads
    /// the secret has read the new one
    Finish {
        /// Which secret
        name: String,
        /// End it also for those who have not read the new one
        #[arg(long)]
        now: bool,
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
    /// Manage which secrets of a server are rotated by what and when
    #[cfg(feature = "vault")]
    Policies(policies::PoliciesArgs),
    /// Manage who is told what of a server's rotations failed, waits and comes
    #[cfg(feature = "vault")]
    Webhooks(policies::WebhooksArgs),
    /// Manage who gets mail about a server's rotations
    #[cfg(feature = "vault")]
    Mails(mails::MailsArgs),
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
            None if args.due => Err(CommandError::usage(
                "a server rotates what is due by itself: leave --due out",
            )),
            None => {
                let name = args.name.as_deref().unwrap_or_default();
                on_server::rotate(app, &server, name, args)
            }
            Some(RotateCommand::Status { name }) => {
                on_server::status(app, &server, name.as_deref())
            }
            Some(RotateCommand::Resume { name }) => on_server::act(app, &server, name, "resume"),
            Some(RotateCommand::Finish { name, now }) => {
                on_server::finish(app, &server, name, *now)
            }
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
            Some(RotateCommand::Policies(args)) => policies::policies(app, &server, args),
            Some(RotateCommand::Webhooks(args)) => policies::webhooks(app, &server, args),
            Some(RotateCommand::Mails(args)) => mails::run(app, &server, args),
        };
    }
    match &args.command {
        None if args.is_for_a_server() => Err(CommandError::usage(
            "a manifest says what rotates the secrets of your own store, and how often",
        )
        .hint("--server URL sets up the rotation of a server's secret")),
        None if args.due => due::due(app),
        None if args.dry_run => local::plan(app, args.name.as_deref().unwrap_or_default()),
        Some(RotateCommand::History { name }) => local::history(app, name),
        Some(RotateCommand::Calendar) => due::calendar(app),
        None => local::rotate(
            app,
            args.name.as_deref().unwrap_or_default(),
            Purpose::Rotate,
            args.now,
        ),
        Some(RotateCommand::Status { name }) => local::status(app, name.as_deref()),
        Some(RotateCommand::Resume { name }) => local::resume(app, name),
        Some(RotateCommand::Finish { name, now }) => overlap::finish(app, name, *now),
        Some(RotateCommand::Abort { name, abandon }) => match abandon {
            true => local::abort(app, name, Abort::AtOnce),
            false => local::abort(app, name, Abort::Properly),
        },
        Some(RotateCommand::Supply { name, source }) => {
            let value = value(app, name, source.as_deref())?;
            local::supply(app, name, value)
        }
        Some(RotateCommand::Rollback { name }) => local::rotate(app, name, Purpose::Return, true),
        #[cfg(feature = "vault")]
        Some(
            RotateCommand::Rotators(_)
            | RotateCommand::Policies(_)
            | RotateCommand::Webhooks(_)
            | RotateCommand::Mails(_),
        ) => crate::server::Server::open(app).map(drop),
    }
}

impl RotateArgs {
    fn is_for_a_server(&self) -> bool {
        self.later
            || [&self.rotator, &self.every, &self.schedule]
                .iter()
                .any(|it| it.is_some())
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
    local::rotate_in(app, session, project, name, Purpose::Rotate).map(drop)
}

/// The hint of a rotation that failed.
fn hint_of(name: &str) -> String {
    format!(
        "the current value is unchanged; strongroom rotate resume {name} tries it again, \
         strongroom rotate abort {name} gives it up"
    )
}
