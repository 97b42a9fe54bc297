//! Old values of the own store that are still good, and their end.

use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_engine::ledger::Progress;
use strongroom_engine::rotation::Looked;
use strongroom_engine::rotation::Overlap;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Wait;

use super::local;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::project::Project;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;

/// How far those are who read a secret; `None` where no old value is still good.
pub(super) fn progress(
    rotations: &Rotations,
    rotation: &Rotation,
) -> Result<Option<Progress>, CommandError> {
    let path = rotation.path.parse::<SecretPath>().ok();
    let Some((overlap, path)) = rotation.overlap.as_ref().zip(path) else {
        return Ok(None);
    };
    let readers = wait(rotations.readers(&path, overlap))?;
    let found = wait(rotations.progress(&path, overlap, &readers))?;
    Ok(Some(found))
}

/// When an old value ends, in words.
pub(super) fn end_of(overlap: &Overlap) -> String {
    let until = overlap.until;
    match overlap.wait {
        Wait::Deadline => until.to_string(),
        Wait::Consumers => format!("everybody has read the new one, at most until {until}"),
    }
}

/// Whether a rotation would take an old value from somebody who still has it.
pub(super) fn check(
    app: &App,
    session: &Session,
    project: Option<&Project>,
    name: &str,
) -> Result<(), CommandError> {
    let place = project::place(project, name)?;
    advance(app, session, project, name, &place.path)?;
    let rotations = local::rotations(session);
    let Some(found) = wait(rotations.find(&place.path))? else {
        return Ok(());
    };
    match progress(&rotations, &found.value)? {
        None => Ok(()),
        Some(progress) => Err(still_good(name, &progress).hint(format!(
            "strongroom rotate {name} --now rotates all the same"
        ))),
    }
}

fn still_good(name: &str, progress: &Progress) -> CommandError {
    let message = format!("the old value of {name} is still good: {progress}");
    CommandError::new(Kind::Conflict, "rotation.overlap", message).hint(format!(
        "strongroom rotate finish {name} --now ends it, also for those who have not read the new \
         one"
    ))
}

/// Retires the old value of a secret where its time is over; what rotates a secret is looked for
/// only then.
pub(super) fn advance(
    app: &App,
    session: &Session,
    project: Option<&Project>,
    name: &str,
    path: &SecretPath,
) -> Result<(), CommandError> {
    let rotations = local::rotations(session);
    let Some(rotation) = wait(rotations.find(path))?.map(|found| found.value) else {
        return Ok(());
    };
    let Some(progress) = progress(&rotations, &rotation)? else {
        return Ok(());
    };
    // Nobody else looks here: it is time.
    wait(rotations.look_at(path, app.now()))?;
    let Looked::Ends(overlap) = wait(rotations.look(path, &progress, app.now()))? else {
        return Ok(());
    };
    session.note_write();
    let place = project::place(project, name)?;
    let chosen = local::chosen(session, project, &place, name, Purpose::Return)?;
    let what = (&overlap, &progress);
    let retired = rotations.retire(&session.context, path, what, Ok(&*chosen.rotator));
    if let Err(error) = wait(retired)? {
        let message = format!("the old value of {name} cannot be retired: {error}");
        return Err(CommandError::new(Kind::Failed, "rotation.failed", message)
            .hint(format!("strongroom rotate finish {name} tries it again")));
    }
    let behind = progress.behind().count();
    let still = match behind {
        0 => String::new(),
        _ => format!(": {progress}"),
    };
    app.ui
        .say(&format!("retired the old value of {name}{still}"));
    Ok(())
}

/// Ends the time in which the old value is good.
pub(super) fn finish(app: &App, name: &str, is_now: bool) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let session = session::open(app)?;
    let rotations = local::rotations(&session);
    let found = wait(rotations.find(&place.path))?.map(|found| found.value);
    let none = || {
        let message = format!("no old value of {name} is still good");
        CommandError::new(Kind::NotFound, "rotation.none", message)
            .hint("`overlap` in a declaration's `rotation` says how long one is")
    };
    let rotation = found.ok_or_else(none)?;
    let progress = progress(&rotations, &rotation)?.ok_or_else(none)?;
    let is_ending = rotation.overlap.is_some_and(|open| open.ending.is_some());
    if !is_now && !is_ending && !progress.has_all() {
        return Err(still_good(name, &progress));
    }
    wait(rotations.finish_now(&place.path, app.now()))?;
    let done = advance(app, &session, project.as_ref(), name, &place.path);
    session.finish(app);
    done?;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": place.path.as_str(),
            "retired": true,
            "consumers_behind": progress.behind().count(),
        }));
    }
    Ok(())
}
