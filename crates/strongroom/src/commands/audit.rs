use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::error::CommandError;
use crate::session;
use crate::session::day;

/// Show who did what to which secret in this store; never values
#[derive(Args)]
pub(crate) struct AuditArgs {
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
    let since = match args.since.as_deref() {
        None => None,
        Some(text) => Some(since_of(app, text)?),
    };
    let session = session::open(app)?;
    let mut events = crate::runtime::wait(session.engine.audit_log(since, LIMIT_MAX))?;
    if let Some(prefix) = args
        .path
        .as_deref()
        .map(|path| path.trim_start_matches('/'))
    {
        events.retain(|event| event.paths.iter().any(|path| path.starts_with(prefix)));
    }
    let skip = events.len().saturating_sub(args.limit);
    let events = &events[skip..];
    if app.ui.is_json {
        let events: Vec<_> = events
            .iter()
            .map(|event| {
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
            })
            .collect();
        return app.ui.print_json(&json!({"version": 1, "events": events}));
    }
    let rows = events
        .iter()
        .map(|event| {
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
        })
        .collect();
    app.ui
        .print_table(&["when", "action", "what", "through", "who"], rows)
}

fn since_of(app: &App, text: &str) -> Result<strongroom_core::time::Timestamp, CommandError> {
    if let Ok(span) = text.parse::<strongroom_core::time::Span>() {
        let back = strongroom_core::time::Span::from_seconds(-span.as_seconds());
        return Ok(app.now().plus(back));
    }
    text.parse()
        .map_err(|error: strongroom_core::time::ParseTimeError| {
            CommandError::usage(format!("--since: {error}"))
        })
}
