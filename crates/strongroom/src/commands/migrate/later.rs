//! What is done with migrations later: look, go on, undo, compare, forget.

use serde_json::json;
use strongroom_engine::migrate;
use strongroom_engine::migrate::Drift;
use strongroom_engine::migrate::Header;
use strongroom_engine::migrate::Journal;
use strongroom_engine::migrate::Stage;

use super::Work;
use super::clean;
use super::report;
use super::resume_line;
use super::stopped;
use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::progress::Meter;
use crate::project;
use crate::project::Project;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;
use crate::side::Side;
use crate::side::refuse_other_place;

/// The migration that is meant: by its id, or the newest that fits.
fn find(
    session: &Session,
    id: Option<&str>,
    fits: impl Fn(&Header) -> bool,
) -> Result<Journal, CommandError> {
    let id = match id {
        Some(id) => id.to_owned(),
        None => {
            let known = wait(Journal::list(&session.engine))?;
            let newest = known.into_iter().find(fits);
            newest.map(|header| header.id).ok_or_else(|| {
                let message = "there is no such migration";
                CommandError::new(Kind::NotFound, "migrate.not_found", message)
                    .hint("strongroom migrate status lists them")
            })?
        }
    };
    Ok(wait(Journal::load(&session.engine, &id))?)
}

fn work<'w>(
    app: &'w App,
    project: Option<&'w Project>,
    session: &'w Session,
    header: &Header,
) -> Result<Work<'w>, CommandError> {
    if header.from.starts_with("backup:") {
        let file = header.from.trim_start_matches("backup:");
        let message = "a restore needs its file and key to go on";
        return Err(CommandError::usage(message).hint(format!(
            "run the same command again: strongroom restore {file} --to {}",
            header.to
        )));
    }
    refuse_other_place(app, &header.from)?;
    refuse_other_place(app, &header.to)?;
    let source = Side::open(app, project, Some(session), &header.from, None)?;
    let target = Side::open(
        app,
        project,
        Some(session),
        &header.to,
        Some(source.scheme()),
    )?;
    Ok(Work {
        app,
        project,
        session: Some(session),
        source,
        target,
    })
}

pub(super) fn resume(app: &App, id: Option<&str>) -> Result<(), CommandError> {
    let session = session::open_begun(app)?;
    let project = project::load_if_there(app)?;
    let is_open = |header: &Header| {
        matches!(
            header.stage,
            Stage::Copying | Stage::Copied | Stage::Cleaning | Stage::RollingBack
        )
    };
    let mut journal = find(&session, id, is_open)?;
    match journal.header.stage {
        Stage::RollingBack => return undo(app, project.as_ref(), &session, journal),
        Stage::Done | Stage::RolledBack => {
            let message = format!(
                "migration {} is {}: there is nothing to go on with",
                journal.header.id,
                journal.header.stage.word()
            );
            return Err(CommandError::usage(message));
        }
        _ => {}
    }
    let work = work(app, project.as_ref(), &session, &journal.header)?;
    wait(journal.take_over())?;
    session.note_write();
    work.go_on(&session, &mut journal, Vec::new())
}

pub(super) fn rollback(app: &App, id: Option<&str>) -> Result<(), CommandError> {
    let session = session::open_begun(app)?;
    let project = project::load_if_there(app)?;
    let journal = find(&session, id, |header| header.stage != Stage::RolledBack)?;
    if journal.header.stage == Stage::RolledBack {
        let message = format!("migration {} is rolled back already", journal.header.id);
        return Err(CommandError::usage(message));
    }
    let written = journal
        .entries
        .iter()
        .filter(|entry| entry.may_have_written());
    app.ui.confirm(&format!(
        "Put back {} in {}?",
        plural(written.count(), "secret"),
        journal.header.to
    ))?;
    undo(app, project.as_ref(), &session, journal)
}

/// First the source, so that nothing is in neither place.
fn undo(
    app: &App,
    project: Option<&Project>,
    session: &Session,
    mut journal: Journal,
) -> Result<(), CommandError> {
    let header = journal.header.clone();
    refuse_other_place(app, &header.from)?;
    refuse_other_place(app, &header.to)?;
    let is_restore = header.from.starts_with("backup:");
    let source = match is_restore {
        true => None,
        false => Some(Side::open(app, project, Some(session), &header.from, None)?),
    };
    let target = Side::open(app, project, Some(session), &header.to, None)?;
    journal.header.stage = Stage::RollingBack;
    wait(journal.save_header())?;
    session.note_write();
    let file = source.as_ref().and_then(|source| source.file.as_deref());
    let put_back = clean::put_back(file, &mut journal)?;
    {
        let meter = Meter::new(&app.ui, "put back");
        let progress = |done, total| meter.step(done, total);
        wait(migrate::undo(
            &mut journal,
            target.backend.as_ref(),
            &progress,
        ))
        .map_err(|error| stopped(error.into(), &resume_line(&header.id)))?;
    }
    journal.header.stage = Stage::RolledBack;
    wait(journal.save_header())?;
    session.finish(app);
    report::rolled_back(app, &journal, &put_back)
}

pub(super) fn verify(app: &App, id: Option<&str>) -> Result<(), CommandError> {
    let session = session::open_begun(app)?;
    let project = project::load_if_there(app)?;
    let is_there = |header: &Header| header.stage != Stage::RolledBack;
    let journal = find(&session, id, is_there)?;
    let to = journal.header.to.clone();
    refuse_other_place(app, &to)?;
    let target = Side::open(app, project.as_ref(), Some(&session), &to, None)?;
    let drifts = {
        let meter = Meter::new(&app.ui, "compared");
        let progress = |done, total| meter.step(done, total);
        wait(migrate::drift(&journal, target.backend.as_ref(), &progress))?
    };
    let same = drifts
        .iter()
        .filter(|(_, drift)| *drift == Drift::Same)
        .count();
    let is_ok = same == drifts.len();
    if app.ui.is_json {
        let items = drifts.iter().filter_map(|(at, drift)| {
            let entry = journal.entries.get(*at)?;
            Some(json!({"from": entry.from, "to": entry.to, "state": drift.word()}))
        });
        app.ui.print_json(&json!({
            "version": 1,
            "id": journal.header.id,
            "to": journal.header.to,
            "ok": is_ok,
            "same": same,
            "items": items.collect::<Vec<_>>(),
        }))?;
    } else {
        for (at, drift) in drifts.iter().filter(|(_, drift)| *drift != Drift::Same) {
            if let Some(entry) = journal.entries.get(*at) {
                let line = format!("✗ {} {}", drift.word(), entry.to);
                app.ui.print_line(&crate::ui::clean(&line))?;
            }
        }
        app.ui.print_line(&format!(
            "{same} of {} are in {to} as they were migrated",
            drifts.len()
        ))?;
    }
    match is_ok {
        true => Ok(()),
        false => Err(CommandError::reported(Kind::Validation, "migrate.drift")),
    }
}

pub(super) fn forget(app: &App, id: &str) -> Result<(), CommandError> {
    let session = session::open_begun(app)?;
    let journal = find(&session, Some(id), |_| true)?;
    let id = journal.header.id.clone();
    app.ui.confirm(&format!(
        "Forget migration {id} and what it keeps of the time before?"
    ))?;
    wait(journal.forget())?;
    session.note_write();
    session.finish(app);
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({"version": 1, "id": id, "forgotten": true}));
    }
    app.ui.say(&format!("forgot migration {id}"));
    Ok(())
}

pub(super) fn status(app: &App, id: Option<&str>) -> Result<(), CommandError> {
    let Some(session) = session::open_if_there(app)? else {
        return report::no_migrations(app);
    };
    let project = project::load_if_there(app)?;
    if let Some(id) = id {
        let journal = wait(Journal::load(&session.engine, id))?;
        return report::one(app, &journal);
    }
    let mut rows = Vec::new();
    for header in wait(Journal::list(&session.engine))? {
        let journal = wait(Journal::load(&session.engine, &header.id))?;
        let waiting = match header.stage {
            Stage::Lazy => lazy_waiting(app, project.as_ref(), &session, &header)?,
            _ => journal
                .entries
                .iter()
                .filter(|entry| !entry.is_copied())
                .count(),
        };
        rows.push(report::Row::of(&journal, waiting));
    }
    report::all(app, &rows)
}

/// Declared secrets that a lazy migration's file still holds.
fn lazy_waiting(
    app: &App,
    project: Option<&Project>,
    session: &Session,
    header: &Header,
) -> Result<usize, CommandError> {
    let Some(project) = project else { return Ok(0) };
    let source = Side::open(app, Some(project), Some(session), &header.from, None)?;
    let names: Vec<String> = project
        .manifest
        .declarations()
        .iter()
        .filter(|declared| declared.is_sensitive)
        .map(|declared| declared.name.clone())
        .collect();
    let found = wait(source.backend.read_many(&names));
    let mut waiting = 0;
    for found in found {
        waiting += usize::from(found?.is_some());
    }
    Ok(waiting)
}
