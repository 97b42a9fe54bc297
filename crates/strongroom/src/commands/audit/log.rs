use std::collections::HashSet;
use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::ValueEnum;
use serde_json::json;
use strongroom_core::audit::AuditEvent;
use strongroom_core::audit::Outcome;
use strongroom_core::time::Timestamp;
use strongroom_server::LogFilter;
use strongroom_server::LogReader;
use strongroom_server::LoggedOutcome;
use strongroom_server::LoggedRequest;

use super::LIMIT_MAX;
use super::time_of;
use crate::app::App;
use crate::error::CommandError;
use crate::session::Session;

#[derive(Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many, the newest
    #[arg(long, short = 'n', default_value = "1000", value_name = "COUNT")]
    limit: usize,
}

#[derive(Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// So many of those that are there
    #[arg(long, short = 'n', default_value = "10", value_name = "COUNT")]
    limit: usize,
    /// Go on with what comes, also after files were moved away and begun anew
    #[arg(long, short = 'f')]
    follow: bool,
}

#[derive(Args)]
struct SourceArgs {
    /// Audit files of a server, or folders of them; without any, the log of this store
    #[arg(value_name = "FILE|FOLDER", conflicts_with = "server_log")]
    files: Vec<PathBuf>,
    /// The folder where `strongroom serve` keeps its audit files if nobody says
    #[arg(long)]
    server_log: bool,
}

#[derive(Args)]
struct FilterArgs {
    /// Only what happened since, e.g. 2026-11-01 or 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what happened until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only paths that begin so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only this: read, list, update, patch, delete of a server; read, write and so on of a store
    #[arg(long, value_name = "WORD")]
    operation: Option<String>,
    /// Only by this display name or accessor (as its hash in the files), or user of this store
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only what ended so
    #[arg(long, value_enum)]
    outcome: Option<OutcomeWord>,
    /// Only answers of a server whose error has this in it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutcomeWord {
    /// It was done
    Allowed,
    /// It was refused
    Denied,
    /// It was allowed and did not work
    Failed,
    /// A server has noted no answer
    Unanswered,
}

/// So often it is looked whether there is more.
const INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn query(app: &App, args: &QueryArgs) -> Result<(), CommandError> {
    let limit = args.limit.min(LIMIT_MAX);
    let Some(files) = args.source.files(app)? else {
        let mut log = StoreLog::open(app, &args.filter)?;
        let mut newest = Newest::new(limit);
        for event in log.read()? {
            newest.push(event.at, event);
        }
        let events = newest.into_sorted();
        return super::print_events(app, &events);
    };
    let mut log = LogReader::new(files, args.filter.of_server(app)?);
    let mut newest = Newest::new(limit);
    log.read(&mut |at, request| newest.push(at, request))
        .map_err(|error| unreadable(&error))?;
    log.tell_unanswered(&mut |at, request| newest.push(at, request));
    tell_gaps(app, &log);
    let requests = newest.into_sorted();
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({"version": 1, "events": requests}));
    }
    let rows = requests.iter().map(row_of).collect();
    app.ui.print_table(
        &["when", "outcome", "operation", "what", "who", "from"],
        rows,
    )
}

pub(super) fn tail(app: &App, args: &TailArgs) -> Result<(), CommandError> {
    let limit = args.limit.min(LIMIT_MAX);
    let Some(files) = args.source.files(app)? else {
        return tail_store(app, args, limit);
    };
    let mut log = LogReader::new(files, args.filter.of_server(app)?);
    let mut newest = Newest::new(limit);
    log.read(&mut |at, request| newest.push(at, request))
        .map_err(|error| unreadable(&error))?;
    tell_gaps(app, &log);
    let mut is_read_on = true;
    for request in newest.into_sorted() {
        is_read_on &= print(&line_of(app, &request))?;
    }
    while args.follow && is_read_on {
        std::thread::park_timeout(INTERVAL);
        let mut lines = Vec::new();
        log.read(&mut |_, request| lines.push(line_of(app, &request)))
            .map_err(|error| unreadable(&error))?;
        for line in lines {
            is_read_on &= print(&line)?;
        }
    }
    Ok(())
}

fn tail_store(app: &App, args: &TailArgs, limit: usize) -> Result<(), CommandError> {
    let mut log = StoreLog::open(app, &args.filter)?;
    let mut newest = Newest::new(limit);
    for event in log.read()? {
        newest.push(event.at, event);
    }
    let mut is_read_on = true;
    for event in newest.into_sorted() {
        is_read_on &= print(&line_of_event(app, &event))?;
    }
    while args.follow && is_read_on {
        std::thread::park_timeout(INTERVAL);
        for event in log.read()? {
            is_read_on &= print(&line_of_event(app, &event))?;
        }
    }
    Ok(())
}

impl SourceArgs {
    /// The places of a server's files; none for the log of this store.
    fn files(&self, app: &App) -> Result<Option<Vec<PathBuf>>, CommandError> {
        let files = match self.server_log {
            false => self.files.clone(),
            true => {
                let folder = app.environment.state_folder();
                let folder = folder.map(|folder| folder.join("audit"));
                vec![folder.ok_or_else(|| CommandError::usage("name the audit folder"))?]
            }
        };
        for file in &files {
            if !file.exists() {
                let text = format!("{}: there is no such file or folder", file.display());
                return Err(CommandError::failed(text));
            }
        }
        Ok((!files.is_empty()).then_some(files))
    }
}

impl FilterArgs {
    fn times(&self, app: &App) -> Result<(Option<Timestamp>, Option<Timestamp>), CommandError> {
        let time = |flag, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| time_of(app, flag, text)).transpose()
        };
        Ok((time("--since", &self.since)?, time("--until", &self.until)?))
    }

    fn of_server(&self, app: &App) -> Result<LogFilter, CommandError> {
        let (since, until) = self.times(app)?;
        Ok(LogFilter {
            since,
            until,
            path: self.path.clone(),
            operation: self.operation.clone(),
            actor: self.actor.clone(),
            outcome: self.outcome.map(|outcome| match outcome {
                OutcomeWord::Allowed => LoggedOutcome::Allowed,
                OutcomeWord::Denied => LoggedOutcome::Denied,
                OutcomeWord::Failed => LoggedOutcome::Failed,
                OutcomeWord::Unanswered => LoggedOutcome::Unanswered,
            }),
            error: self.error.clone(),
        })
    }
}

/// The log of this store, read from where it was.
struct StoreLog {
    session: Session,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    path: Option<String>,
    operation: Option<String>,
    actor: Option<String>,
    outcome: Option<Outcome>,
    /// The newest time that was seen, and what was seen of it.
    seen: (Option<Timestamp>, HashSet<String>),
}

impl StoreLog {
    fn open(app: &App, filter: &FilterArgs) -> Result<Self, CommandError> {
        let outcome = match filter.outcome {
            None => None,
            Some(OutcomeWord::Allowed) => Some(Outcome::Allowed),
            Some(OutcomeWord::Denied) => Some(Outcome::Denied),
            Some(OutcomeWord::Failed) => Some(Outcome::Failed),
            Some(OutcomeWord::Unanswered) => return Err(only_of_servers("--outcome unanswered")),
        };
        if filter.error.is_some() {
            return Err(only_of_servers("--error"));
        }
        let (since, until) = filter.times(app)?;
        let path = filter.path.as_deref();
        Ok(Self {
            session: super::open(app)?,
            since,
            until,
            path: path.map(|path| path.trim_start_matches('/').to_owned()),
            operation: filter.operation.clone(),
            actor: filter.actor.clone(),
            outcome,
            seen: (None, HashSet::new()),
        })
    }

    /// What has come since the last time and fits.
    fn read(&mut self) -> Result<Vec<AuditEvent>, CommandError> {
        let since = self.seen.0.or(self.since);
        let log = self.session.engine.audit_log(since, LIMIT_MAX);
        let mut events = crate::runtime::wait(log)?;
        events.retain(|event| {
            let key = format!("{event:?}");
            match self.seen.0 {
                Some(newest) if event.at == newest => self.seen.1.insert(key),
                Some(newest) if event.at < newest => false,
                Some(_) | None => {
                    self.seen = (Some(event.at), HashSet::from([key]));
                    true
                }
            }
        });
        events.retain(|event| self.fits(event));
        Ok(events)
    }

    fn fits(&self, event: &AuditEvent) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let path = self.path.as_deref();
        self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at <= until)
            && path.is_none_or(|prefix| event.paths.iter().any(|path| path.starts_with(prefix)))
            && is(&self.operation, event.action.word())
            && is(&self.actor, &event.actor)
            && self.outcome.is_none_or(|outcome| outcome == event.outcome)
    }
}

fn only_of_servers(flag: &str) -> CommandError {
    CommandError::usage(format!("{flag} goes with the audit files of a server"))
        .hint("name the files or their folder, or give --server-log")
}

fn unreadable(error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("the audit files cannot be read: {error}"))
}

/// Tells what could not be told.
fn tell_gaps(app: &App, log: &LogReader) {
    for path in log.left_out() {
        app.ui
            .say(&format!("{} is no audit file: left out", path.display()));
    }
    if log.malformed() > 0 {
        let count = log.malformed();
        app.ui.warn(&format!("{count} lines are no audit lines"));
    }
}

/// The newest of what comes in any order.
struct Newest<T> {
    limit: usize,
    found: VecDeque<(Timestamp, T)>,
}

impl<T> Newest<T> {
    fn new(limit: usize) -> Self {
        let found = VecDeque::new();
        Self { limit, found }
    }

    fn push(&mut self, at: Timestamp, event: T) {
        let place = self.found.partition_point(|(other, _)| *other <= at);
        self.found.insert(place, (at, event));
        if self.found.len() > self.limit {
            self.found.pop_front();
        }
    }

    fn into_sorted(self) -> Vec<T> {
        self.found.into_iter().map(|(_, event)| event).collect()
    }
}

fn row_of(request: &LoggedRequest) -> Vec<String> {
    let outcome = match request.status {
        Some(status) => format!("{} {status}", request.outcome.word()),
        None => request.outcome.word().to_owned(),
    };
    vec![
        request.at.clone(),
        outcome,
        request.operation.clone(),
        request.path.clone(),
        request.actor.clone().unwrap_or_else(|| "-".into()),
        request.remote_address.clone().unwrap_or_default(),
    ]
}

/// One request in one line: JSON, or text.
fn line_of(app: &App, request: &LoggedRequest) -> String {
    if app.ui.is_json {
        return serde_json::to_string(request).unwrap_or_default();
    }
    let mut line = row_of(request).join("  ");
    if let Some(error) = &request.error {
        line.push_str("  ");
        line.push_str(error.trim());
    }
    one_line(&line)
}

fn line_of_event(app: &App, event: &AuditEvent) -> String {
    match app.ui.is_json {
        true => super::json_of(event).to_string(),
        false => one_line(&super::row_of(event).join("  ")),
    }
}

/// What comes from a log cannot steer a terminal.
fn one_line(text: &str) -> String {
    let is_plain = |c: char| !strongroom_core::path::is_forbidden(c);
    text.chars()
        .map(|c| if is_plain(c) { c } else { ' ' })
        .collect()
}

/// Prints a line; false when nobody reads any more.
fn print(line: &str) -> Result<bool, CommandError> {
    let mut out = std::io::stdout().lock();
    let printed = out
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush());
    match printed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CommandError::failed(format!(
            "stdout cannot be written: {error}"
        ))),
    }
}
