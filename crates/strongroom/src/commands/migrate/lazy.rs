//! Lazy migration: what is read from a `dotenv:…?migrate=store` entry moves to the store.

use std::collections::BTreeMap;

use strongroom_core::port::Lookup;
use strongroom_engine::migrate;
use strongroom_engine::migrate::Entry;
use strongroom_engine::migrate::Header;
use strongroom_engine::migrate::Journal;
use strongroom_engine::migrate::Stage;
use strongroom_engine::migrate::State;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Origin;
use strongroom_engine::resolve::Resolution;

use super::Work;
use super::clean;
use crate::app::App;
use crate::error::CommandError;
use crate::project::Project;
use crate::runtime::wait;
use crate::session::Session;
use crate::side::Side;

/// Moves what a resolution has read from entries that migrate, and says so. A failure is told,
/// and keeps nobody from using the value: it stays where it is.
pub(crate) fn move_read(
    app: &App,
    project: &Project,
    session: Option<&Session>,
    resolution: &Resolution<'_>,
) {
    let Some(session) = session else { return };
    let entries = project.chain.parsed().unwrap_or_default();
    for entry in entries.iter().filter(|entry| entry.migrates) {
        let text = entry.uri.to_string();
        if let Err(error) = move_from(app, project, session, &text, resolution) {
            app.ui.warn(&format!(
                "warning: nothing was moved from {text} to the store: {}",
                error.message
            ));
        }
    }
}

fn move_from(
    app: &App,
    project: &Project,
    session: &Session,
    text: &str,
    resolution: &Resolution<'_>,
) -> Result<(), CommandError> {
    let source = Side::open(app, Some(project), Some(session), text, None)?;
    let scheme = Some(source.scheme());
    let target = Side::open(app, Some(project), Some(session), "store", scheme)?;
    let origin = Origin::Backend(source.backend.describe());
    let read = resolution.secrets.iter().filter(|secret| {
        secret.origin == origin && secret.value.is_some() && secret.declaration.is_sensitive
    });
    let lookups: Vec<Lookup> = read
        .map(|secret| {
            let profile = &project.profile.name;
            resolve::lookup(&project.manifest, profile, secret.declaration)
        })
        .collect();
    let known = wait(Journal::list(&session.engine))?;
    let known = known.into_iter().find(|header| {
        header.stage == Stage::Lazy && header.from == source.uri && header.to == target.uri
    });
    if lookups.is_empty() && known.is_none() {
        return Ok(());
    }
    let mut journal = match known {
        Some(header) => wait(Journal::load(&session.engine, &header.id))?,
        None => begin(app, session, &source, &target)?,
    };
    let begun = journal.entries.len();
    for lookup in &lookups {
        let from = source.backend.address(lookup);
        let to = target.backend.address(lookup);
        journal.entries.push(Entry::new(from, to, State::Planned));
    }
    let is_open = |entry: &Entry| {
        let is_waiting = matches!(
            entry.state,
            State::Planned | State::Writing | State::Failed(_)
        );
        is_waiting || entry.state.is_there() && !entry.is_cleaned
    };
    if !journal.entries.iter().any(is_open) {
        return Ok(());
    }
    let new: Vec<usize> = (begun..journal.entries.len()).collect();
    wait(journal.save_all(&new))?;
    session.note_write();
    let work = Work {
        app,
        project: Some(project),
        session: Some(session),
        source,
        target,
    };
    let (from, to) = (work.source.backend.as_ref(), work.target.backend.as_ref());
    wait(migrate::copy(
        &mut journal,
        from,
        to,
        Vec::new(),
        &|_, _| {},
    ))?;
    let cleaned = clean::clean(&work, &mut journal)?;
    if !cleaned.names.is_empty() {
        app.ui.say(&format!(
            "moved {} from {} to the store (strongroom migrate status shows how far it is)",
            cleaned.names.join(", "),
            work.source.backend.describe()
        ));
    }
    for entry in &journal.entries {
        if let State::Failed(why) = &entry.state {
            app.ui
                .warn(&format!("warning: {} was not moved: {why}", entry.from));
        }
    }
    Ok(())
}

fn begin(
    app: &App,
    session: &Session,
    source: &Side,
    target: &Side,
) -> Result<Journal, CommandError> {
    let header = Header {
        id: String::new(),
        created: app.now(),
        from: source.uri.clone(),
        to: target.uri.clone(),
        stage: Stage::Lazy,
        count: 0,
        with_history: false,
        tags: BTreeMap::new(),
        cleans: true,
        left: None,
        ignored: None,
    };
    Ok(wait(Journal::create(&session.engine, header, Vec::new()))?)
}
