mod log;
pub(crate) mod verify;

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use strongroom_chain::reads;
use strongroom_chain::reads::CollectError;
use strongroom_core::audit::AuditEvent;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use crate::app::App;
use crate::error::CommandError;
use crate::session;
use crate::session::Session;
use crate::session::day;

/// Show who did what to which secret in this store; never values
///
/// `audit query` and `audit tail` read the audit files of a server as well, which need no key.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Find events in this store's log, or in the audit files of a server
    Query(log::QueryArgs),
    /// Show the newest events, and those that come with --follow
    Tail(log::TailArgs),
    /// Check that no line of a server's audit files was changed or taken out
    ///
    /// Every line carries a keyed hash over itself and the line before, and the store knows how far
    /// each file went. What the store notes of its own is checked by `doctor`.
    Verify(verify::VerifyArgs),
}

#[derive(Args)]
struct ShowArgs {
    /// Only what happened since, e.g. 2026-11-01 or 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many, the newest
    #[arg(long, short = 'n', default_value = "50", value_name = "COUNT")]
    limit: usize,
    /// Only secrets whose path begins so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
}

const LIMIT_MAX: usize = 100_000;

pub(crate) fn run(app: &App, args: &AuditArgs) -> Result<(), CommandError> {
    match &args.command {
        Some(AuditCommand::Query(args)) => log::query(app, args),
        Some(AuditCommand::Tail(args)) => log::tail(app, args),
        Some(AuditCommand::Verify(args)) => verify::run(app, args),
        None => show(app, &args.show),
    }
}

fn show(app: &App, args: &ShowArgs) -> Result<(), CommandError> {
    let since = match args.since.as_deref() {
        None => None,
        Some(text) => Some(time_of(app, "--since", text)?),
    };
    let session = open(app)?;
    let mut events = crate::runtime::wait(session.engine.audit_log(since, LIMIT_MAX))?;
    if let Some(prefix) = args
        .path
        .as_deref()
        .map(|path| path.trim_start_matches('/'))
    {
        events.retain(|event| event.paths.iter().any(|path| path.starts_with(prefix)));
    }
    let skip = events.len().saturating_sub(args.limit);
    print_events(app, &events[skip..])
}

/// The store, with what processes that were killed have left to be noted in it.
fn open(app: &App) -> Result<Session, CommandError> {
    let session = session::open(app)?;
    let taken_up = reads::collect(session.storage.path(), &session.engine);
    crate::runtime::wait(taken_up).map_err(|error| match error {
        CollectError::Store(error) => error.into(),
        error => CommandError::failed(error.to_string()),
    })?;
    Ok(session)
}

fn print_events(app: &App, events: &[AuditEvent]) -> Result<(), CommandError> {
    if app.ui.is_json {
        let events: Vec<_> = events.iter().map(json_of).collect();
        return app.ui.print_json(&json!({"version": 1, "events": events}));
    }
    let rows = events.iter().map(row_of).collect();
    app.ui
        .print_table(&["when", "action", "what", "through", "who"], rows)
}

fn json_of(event: &AuditEvent) -> serde_json::Value {
    json!({
        "at": event.at.to_string(),
        "actor": event.actor,
        "door": event.door,
        "action": event.action.word(),
        "paths": event.paths,
        "secret_version": event.version,
        "outcome": event.outcome,
        "request_id": event.request_id,
    })
}

fn row_of(event: &AuditEvent) -> Vec<String> {
    let paths = match event.paths.as_slice() {
        [path] => format!("/{path}"),
        [first, rest @ ..] => format!("/{first} and {} more", rest.len()),
        [] => String::new(),
    };
    vec![
        day(event.at),
        event.action.word().to_owned(),
        paths,
        event.door.clone(),
        event.actor.clone(),
    ]
}

/// A point in time, or how long ago it was.
fn time_of(app: &App, flag: &str, text: &str) -> Result<Timestamp, CommandError> {
    if let Ok(span) = text.parse::<Span>() {
        let back = Span::from_seconds(-span.as_seconds());
        return Ok(app.now().plus(back));
    }
    text.parse()
        .map_err(|error: strongroom_core::time::ParseTimeError| {
            CommandError::usage(format!("{flag}: {error}"))
        })
}
