//! What the manifest wants rotated, and when.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;
use strongroom_core::manifest::Rotation;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Setup;

use super::local;
use super::local::PREFIX;
use super::overlap;
use super::views;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::runtime::wait;
use crate::session;

/// A declared secret that is there, and when its rotation is due.
struct Coming {
    name: String,
    path: String,
    rotator: &'static str,
    owner: Option<String>,
    at: Timestamp,
    notify_before: Option<Span>,
}

/// When a secret that was last written at a time is to be rotated.
fn due_at(
    name: &str,
    rotation: &Rotation,
    written: Timestamp,
) -> Result<Option<Timestamp>, CommandError> {
    // The manifest was checked when it was read.
    if let Some(every) = &rotation.every {
        return Ok(every.parse::<Span>().ok().map(|every| written.plus(every)));
    }
    let setup = Setup {
        expression: rotation.schedule.clone(),
        duration: rotation.window.clone(),
        ..Setup::default()
    };
    let schedule = setup.schedule().map_err(|error| {
        let message = format!("the schedule of {name} cannot be used: {error}");
        CommandError::new(Kind::Validation, "rotation.schedule", message)
    })?;
    let window = schedule.and_then(|schedule| schedule.next(written, written));
    Ok(window.map(|window| window.opens))
}

/// What the manifest wants rotated.
fn coming(app: &App) -> Result<Vec<Coming>, CommandError> {
    let Some(project) = project::load_if_there(app)? else {
        return Ok(Vec::new());
    };
    let session = session::open(app)?;
    let mut coming = Vec::new();
    for declared in project.manifest.declarations() {
        let Some(rotation) = &declared.rotation else {
            continue;
        };
        let place = project.place(&declared.name)?;
        let described = match wait(session.engine.describe(&place.path)) {
            Ok(described) => described,
            // There is nothing to rotate yet.
            Err(Error::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(newest) = described.versions.last() else {
            continue;
        };
        if let Some(at) = due_at(&declared.name, rotation, newest.created)? {
            let rotator = rotation.rotator.as_ref();
            let before = rotation.notify_before.as_ref();
            coming.push(Coming {
                name: declared.name.clone(),
                path: place.path.to_string(),
                rotator: rotator.map_or("generate", RotatorSpec::word),
                owner: declared.owner.clone(),
                at,
                notify_before: before.and_then(|before| before.parse().ok()),
            });
        }
    }
    session.finish(app);
    Ok(coming)
}

/// When declared secrets are due, by their paths.
pub(super) fn times(app: &App) -> Result<BTreeMap<String, Timestamp>, CommandError> {
    let coming = coming(app)?.into_iter();
    Ok(coming.map(|one| (one.path, one.at)).collect())
}

pub(super) fn calendar(app: &App) -> Result<(), CommandError> {
    let coming = coming(app)?.into_iter().map(|one| {
        let report = json!({
            "next": one.at.to_string(),
            "next_closes": null,
            "rotator": format!("{PREFIX}{}", one.rotator),
            "owner": one.owner,
        });
        (one.name, report)
    });
    views::calendar(app, &coming.collect::<Vec<(String, Value)>>())
}

/// Retires old values whose time is over; true when all could be.
fn retire(app: &App) -> Result<bool, CommandError> {
    let Some(project) = project::load_if_there(app)? else {
        return Ok(true);
    };
    let session = session::open(app)?;
    let mut is_good = true;
    for declared in project.manifest.declarations() {
        let place = project.place(&declared.name)?;
        let done = overlap::advance(app, &session, Some(&project), &declared.name, &place.path);
        if let Err(error) = done {
            app.ui.warn(&format!("error: {}", error.message));
            is_good = false;
        }
    }
    session.finish(app);
    Ok(is_good)
}

/// Rotates what the manifest wants rotated by now; the others go on when one fails.
pub(super) fn due(app: &App) -> Result<(), CommandError> {
    let now = app.now();
    let is_retired = retire(app)?;
    let (due, later): (Vec<Coming>, Vec<Coming>) =
        coming(app)?.into_iter().partition(|one| one.at <= now);
    let mut failed = Vec::new();
    for one in &due {
        if let Err(error) = local::rotate(app, &one.name, Purpose::Rotate, false) {
            app.ui.warn(&format!("error: {}", error.message));
            failed.push(one.name.as_str());
        }
    }
    for one in &later {
        let is_near = one
            .notify_before
            .is_some_and(|before| one.at <= now.plus(before));
        if is_near {
            let whose = one.owner.as_ref().map(|owner| format!(" ({owner})"));
            let (name, at, whose) = (&one.name, one.at, whose.unwrap_or_default());
            app.ui.say(&format!("{name}{whose} is due at {at}"));
        }
    }
    if due.is_empty() {
        app.ui.say("nothing is due");
    }
    match failed.is_empty() {
        true if is_retired => Ok(()),
        true => {
            let message = "an old value was not retired";
            Err(CommandError::new(Kind::Failed, "rotation.failed", message)
                .hint("strongroom rotate status shows which, and --due tries it again"))
        }
        false => {
            let message = format!("not rotated: {}", failed.join(", "));
            Err(CommandError::new(Kind::Failed, "rotation.failed", message)
                .hint("strongroom rotate status shows why, and --due tries them again"))
        }
    }
}
