//! Rotation of what lies in the user's store and is drawn by a generator.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::registry::Class;
use strongroom_crypto::SystemRng;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::Generator;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Setup;
use strongroom_engine::secrets::GraphError;
use strongroom_engine::state::State;
use strongroom_engine::tokens::random_text;

use super::hint_of;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::project::Place;
use crate::project::Project;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;

/// What rotates secrets of a store without a server.
const ROTATOR: &str = "strongroom:generate";
/// Letters of an id of a version.
const TOKEN_CHARS: usize = 32;

fn rotations(session: &Session) -> Rotations {
    let state = State::new(Arc::clone(&session.storage) as _, session.barrier.clone());
    let holder = random_text(&SystemRng, TOKEN_CHARS);
    Rotations::new(state, session.engine.clone(), &holder)
}

pub(super) fn rotate(app: &App, name: &str) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let session = session::open(app)?;
    let rotated = rotate_in(app, &session, project.as_ref(), name);
    session.finish(app);
    let version = rotated?;
    let path = &place.path;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": path.as_str(),
            "rotated": true,
            "secret_version": version,
        }));
    }
    app.ui.say(&format!(
        "rotated {path}: version {version} is current, the one before it is kept"
    ));
    Ok(())
}

/// Whether a new value of a secret can be drawn here.
pub(super) fn can_rotate(session: &Session, project: Option<&Project>, name: &str) -> bool {
    let Ok(place) = project::place(project, name) else {
        return false;
    };
    let known = wait(rotations(session).find(&place.path)).ok().flatten();
    let is_ours = known.is_none_or(|known| known.value.setup.rotator == ROTATOR);
    is_ours && generator(session, &place, name).is_ok()
}

/// Rotates a secret; the number of the new version.
pub(super) fn rotate_in(
    app: &App,
    session: &Session,
    project: Option<&Project>,
    name: &str,
) -> Result<u64, CommandError> {
    let place = project::place(project, name)?;
    let generator = generator(session, &place, name)?;
    let rotations = rotations(session);
    let path = &place.path;
    let known = wait(rotations.find(path))?.map(|found| found.value);
    if let Some(other) = known.map(|known| known.setup.rotator)
        && other != ROTATOR
    {
        let message = format!("{path} is rotated by {other}, which a server has to ask");
        return Err(
            CommandError::new(Kind::Conflict, "rotation.elsewhere", message)
                .hint(format!("strongroom --server URL rotate {name}")),
        );
    }
    begin(session, &rotations, path, name)?;
    session.note_write();
    let after = drive(app, session, &rotations, path, &generator)?;
    let found = wait(rotations.find(path))?.map(|found| found.value);
    match after {
        After::Finished => {}
        After::Again(_) => {
            let run = found.and_then(|found| found.run);
            let failure = run.and_then(|run| run.failure);
            let message = failure.map_or_else(
                || format!("the rotation of {name} failed"),
                |failure| {
                    format!(
                        "{} of {name} failed: {}",
                        failure.step, failure.error.message
                    )
                },
            );
            return Err(
                CommandError::new(Kind::Failed, "rotation.failed", message).hint(hint_of(name))
            );
        }
        After::More(_) | After::Lost => {
            let message = format!("another process rotates {name}");
            return Err(CommandError::new(Kind::Conflict, "rotation.held", message)
                .hint("its turn ends within 20 seconds, also when it was killed: try again then"));
        }
    }
    let description = wait(session.engine.describe(path))?;
    let version = description
        .versions
        .last()
        .map_or(0, |version| version.number);
    Ok(version)
}

/// How new values of a secret are drawn.
fn generator(session: &Session, place: &Place<'_>, name: &str) -> Result<Generator, CommandError> {
    let described = wait(session.engine.describe(&place.path))?;
    let declared = place.declaration;
    let class = declared.map(|declaration| declaration.class);
    let is_generated = class.or(described.metadata.class) == Some(Class::PerInstallGenerated);
    let spec = declared.and_then(|declaration| declaration.generator.clone());
    if spec.is_none() && !is_generated {
        let message = format!("{name} is not generated here: nobody but you knows a new value");
        return Err(
            CommandError::new(Kind::Validation, "rotation.no_generator", message)
                .hint(format!("strongroom set {name} sets a new value"))
                .hint("a `generator` in its declaration says how values are drawn"),
        );
    }
    let generator = Generator::new(spec.unwrap_or_default(), None, Arc::new(SystemRng));
    Ok(match declared {
        Some(one) => generator.fitting(one.format.clone(), one.value_type),
        None => generator,
    })
}

/// Has one begin, or one that failed go on.
fn begin(
    session: &Session,
    rotations: &Rotations,
    path: &SecretPath,
    name: &str,
) -> Result<(), CommandError> {
    let context = &session.context;
    if wait(rotations.resume(path, context.now))? {
        return Ok(());
    }
    let request = Request {
        path,
        secret: path.as_str(),
        token: &random_text(&SystemRng, TOKEN_CHARS),
        purpose: Purpose::Rotate,
        setup: Setup {
            rotator: ROTATOR.into(),
            ..Setup::default()
        },
    };
    match wait(rotations.request(context, &request)) {
        Ok(_) | Err(Refused::UnderWay) => Ok(()),
        Err(Refused::Graph(error)) => Err(of_graph(error)),
        Err(error) => {
            let message = format!("{name} cannot be rotated: {error}");
            Err(
                CommandError::new(Kind::Conflict, "rotation.pending", message)
                    .hint("strongroom history shows its stages"),
            )
        }
    }
}

fn drive(
    app: &App,
    session: &Session,
    rotations: &Rotations,
    path: &SecretPath,
    generator: &Generator,
) -> Result<After, CommandError> {
    let context = &session.context;
    let Some(mut claim) = wait(rotations.claim(context, path))? else {
        return Ok(After::Lost);
    };
    loop {
        let Some(work) = wait(rotations.begin(claim, app.now()))? else {
            return Ok(After::Lost);
        };
        let result = wait(rotations.perform(context, &work, generator));
        match wait(rotations.complete(context, work, result))? {
            After::More(next) => claim = next,
            after => return Ok(after),
        }
    }
}

pub(super) fn status(app: &App, name: Option<&str>) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let session = session::open(app)?;
    let state = State::new(Arc::clone(&session.storage) as _, session.barrier.clone());
    let mut all = wait(state.rotations())?;
    all.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(name) = name {
        let place = project::place(project.as_ref(), name)?;
        all.retain(|rotation| rotation.path == place.path.as_str());
        if all.is_empty() {
            let message = format!("{name} was never rotated");
            return Err(CommandError::new(Kind::NotFound, "rotation.none", message)
                .hint(format!("strongroom rotate {name} rotates it")));
        }
    }
    if app.ui.is_json {
        let rows: Vec<Value> = all.iter().map(row_json).collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, "rotations": rows }));
    }
    let rows = all.iter().map(|rotation| {
        vec![
            rotation.path.clone(),
            rotation
                .last
                .map_or_else(|| "never".into(), |at| at.to_string()),
            match &rotation.run {
                None => "-".into(),
                Some(run) => match &run.failure {
                    Some(failure) => format!("{} failed: {}", failure.step, failure.error.message),
                    None => run.step.to_string(),
                },
            },
            rotation.finished.to_string(),
        ]
    });
    let heads = ["secret", "rotated", "under way", "rotations"];
    app.ui.print_table(&heads, rows.collect())
}

fn row_json(rotation: &Rotation) -> Value {
    json!({
        "path": rotation.path,
        "rotator": rotation.setup.rotator,
        "last": rotation.last.map(|at| at.to_string()),
        "next": rotation.next.map(|next| next.begins.to_string()),
        "finished": rotation.finished,
        "failed_steps": rotation.failures,
        "step": rotation.run.as_ref().map(|run| run.step.word()),
        "failure": rotation.run.as_ref().and_then(|run| run.failure.as_ref()).map(|failure| json!({
            "step": failure.step.word(),
            "at": failure.at.to_string(),
            "code": failure.error.code,
            "message": failure.error.message,
        })),
    })
}

pub(super) fn abort(app: &App, name: &str) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let session = session::open(app)?;
    let aborted = wait(rotations(&session).abort(&session.context, &place.path));
    let step = aborted.map_err(of_graph)?;
    let Some(step) = step else {
        let message = format!("no rotation of {name} is under way");
        return Err(CommandError::new(Kind::NotFound, "rotation.none", message));
    };
    session.note_write();
    session.finish(app);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": place.path.as_str(),
            "aborted_at": step.word(),
        }));
    }
    app.ui
        .say(&format!("gave up the rotation of {name} at {step}"));
    Ok(())
}

fn of_graph(error: GraphError) -> CommandError {
    match error {
        GraphError::Engine(error) => error.into(),
        other => CommandError::new(Kind::Conflict, "rotation.refused", other.to_string()),
    }
}
