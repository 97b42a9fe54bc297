//! Rotation of what lies in the user's store and is drawn by a generator.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::audit::Action;
use strongroom_core::generate::GeneratorSpec;
use strongroom_core::manifest::OverlapWait;
use strongroom_core::manifest::Rotation;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Rotator;
use strongroom_core::registry::Class;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Span;
use strongroom_crypto::SystemRng;
use strongroom_engine::rotation::Abort;
use strongroom_engine::rotation::Aborted;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::Generator;
use strongroom_engine::rotation::Keep;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Setup;
use strongroom_engine::rotation::Wait;
use strongroom_engine::secrets::GraphError;
use strongroom_engine::state::State;
use strongroom_engine::tokens::random_text;
use strongroom_rotators::Needs;

use super::due;
use super::hint_of;
use super::overlap;
use super::views;
use crate::app::App;
use crate::elsewhere;
use crate::elsewhere::Elsewhere;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::project::Place;
use crate::project::Project;
use crate::runtime;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;

/// How what rotates secrets of a store without a server is called.
pub(super) const PREFIX: &str = "strongroom:";
/// How far back readers are looked for, and among how many events.
const READ_SECONDS: i64 = 30 * 86_400;
const EVENTS_MAX: usize = 100_000;
/// Letters of an id of a version.
const TOKEN_CHARS: usize = 32;

/// What becomes of the old value, as a declaration says.
fn keep_of(rotation: Option<&Rotation>) -> Keep {
    // The manifest was checked when it was read.
    let span = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Span>().ok());
    let Some(rotation) = rotation else {
        return Keep::default();
    };
    Keep {
        overlap: span(&rotation.overlap),
        wait: match rotation.wait {
            Some(OverlapWait::Consumers) => Wait::Consumers,
            Some(OverlapWait::Deadline) | None => Wait::Deadline,
        },
        consumers_within: span(&rotation.consumers_within),
    }
}

pub(super) fn rotations(session: &Session) -> Rotations {
    let state = State::new(Arc::clone(&session.storage) as _, session.barrier.clone());
    let holder = random_text(&SystemRng, TOKEN_CHARS);
    Rotations::new(state, session.engine.clone(), &holder)
}

/// What rotates a secret, and what it is called in its record.
pub(super) struct Chosen {
    name: String,
    pub(super) rotator: Box<dyn Rotator>,
}

/// Rotates a secret now, has one that failed go on, or returns to the value before.
pub(super) fn rotate(
    app: &App,
    name: &str,
    purpose: Purpose,
    is_now: bool,
) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let has_no_store = |project: &Project| !project.uses_store();
    if purpose == Purpose::Rotate
        && project.as_ref().is_none_or(has_no_store)
        && let Some(there) = elsewhere::find(app, project.as_ref(), &place, name, |can| can.rotate)?
    {
        return rotate_elsewhere(app, &there);
    }
    let session = session::open(app)?;
    if purpose == Purpose::Rotate && !is_now {
        overlap::check(app, &session, project.as_ref(), name)?;
    }
    let rotated = rotate_in(app, &session, project.as_ref(), name, purpose);
    let found = wait(rotations(&session).find(&place.path))?;
    let open = found.and_then(|found| found.value.overlap);
    session.finish(app);
    let version = rotated?;
    let path = &place.path;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": path.as_str(),
            "rotated": true,
            "secret_version": version,
            "old_value_until": open.map(|open| open.until.to_string()),
        }));
    }
    let kept = match &open {
        None => "the one before it is kept".to_owned(),
        Some(open) => format!("the one before it is good until {}", overlap::end_of(open)),
    };
    let done = match purpose {
        Purpose::Return => format!("{path} has the value before again, as version {version}"),
        _ => format!("rotated {path}: version {version} is current, {kept}"),
    };
    app.ui.say(&done);
    Ok(())
}

/// Whether a new value of a secret can be made here.
pub(super) fn can_rotate(session: &Session, project: Option<&Project>, name: &str) -> bool {
    let Ok(place) = project::place(project, name) else {
        return false;
    };
    let known = wait(rotations(session).find(&place.path)).ok().flatten();
    let is_ours = known.is_none_or(|known| known.value.setup.rotator.starts_with(PREFIX));
    is_ours && chosen(session, project, &place, name, Purpose::Rotate).is_ok()
}

/// Rotates a secret; the number of the version that is current then.
pub(super) fn rotate_in(
    app: &App,
    session: &Session,
    project: Option<&Project>,
    name: &str,
    purpose: Purpose,
) -> Result<u64, CommandError> {
    let place = project::place(project, name)?;
    let chosen = chosen(session, project, &place, name, purpose)?;
    let rotations = rotations(session);
    let path = &place.path;
    let known = wait(rotations.find(path))?.map(|found| found.value);
    if let Some(other) = known.map(|known| known.setup.rotator)
        && !other.starts_with(PREFIX)
    {
        let message = format!("{path} is rotated by {other}, which a server has to ask");
        return Err(
            CommandError::new(Kind::Conflict, "rotation.elsewhere", message)
                .hint(format!("strongroom --server URL rotate {name}")),
        );
    }
    let keep = keep_of(place.declaration.and_then(|one| one.rotation.as_ref()));
    begin(
        session,
        &rotations,
        path,
        name,
        (&chosen.name, keep),
        purpose,
    )?;
    session.note_write();
    finish(app, session, &rotations, path, name, &*chosen.rotator)?;
    let description = wait(session.engine.describe(path))?;
    let newest = description.versions.last();
    Ok(newest.map_or(0, |version| version.number))
}

/// Has a manager that rotates secrets itself (AWS) rotate one.
fn rotate_elsewhere(app: &App, there: &Elsewhere) -> Result<(), CommandError> {
    there.require()?;
    let version = wait(there.backend.rotate(&there.address))?;
    let backend = there.backend.describe();
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "name": there.name,
            "rotated_by": backend,
            "secret_version": version,
        }));
    }
    app.ui
        .say(&format!("{backend} rotates {} from now on", there.name));
    Ok(())
}

/// Has a rotation that failed go on.
pub(super) fn resume(app: &App, name: &str) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let session = session::open(app)?;
    let found = wait(rotations(&session).find(&place.path))?;
    let run = found.and_then(|found| found.value.run);
    let Some(run) = run else {
        return Err(none_under_way(name));
    };
    session.finish(app);
    rotate(app, name, run.purpose, true)
}

/// Brings the new value that a rotation waits for, and has it go on.
pub(super) fn supply(app: &App, name: &str, value: SecretValue) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let session = session::open(app)?;
    let shape = wait(session.engine.describe(&place.path))?
        .versions
        .last()
        .map_or(Shape::Text, |newest| newest.shape);
    let supplied = rotations(&session);
    let payload = Payload { value, shape };
    let supplied = wait(supplied.supply(&session.context, &place.path, &payload));
    if !supplied.map_err(of_graph)? {
        return Err(none_under_way(name));
    }
    session.finish(app);
    rotate(app, name, Purpose::Rotate, true)
}

fn none_under_way(name: &str) -> CommandError {
    let message = format!("no rotation of {name} is under way");
    CommandError::new(Kind::NotFound, "rotation.none", message)
}

/// Drives one to its end, or says why it did not get there.
fn finish(
    app: &App,
    session: &Session,
    rotations: &Rotations,
    path: &SecretPath,
    name: &str,
    rotator: &dyn Rotator,
) -> Result<(), CommandError> {
    let after = drive(app, session, rotations, path, rotator)?;
    let found = wait(rotations.find(path))?.map(|found| found.value);
    match after {
        After::Finished | After::GivenUp => Ok(()),
        After::Again(_) => {
            let run = found.and_then(|found| found.run);
            let failure = run.and_then(|run| run.failure);
            let message = failure.map_or_else(
                || format!("the rotation of {name} failed"),
                |failure| {
                    let (step, message) = (failure.step, failure.error.message);
                    format!("{step} of {name} failed: {message}")
                },
            );
            Err(CommandError::new(Kind::Failed, "rotation.failed", message).hint(hint_of(name)))
        }
        After::More(_) | After::Lost => {
            let message = format!("another process rotates {name}");
            Err(CommandError::new(Kind::Conflict, "rotation.held", message)
                .hint("its turn ends within 20 seconds, also when it was killed: try again then"))
        }
    }
}

/// What is declared to rotate a secret, or a generator.
pub(super) fn chosen(
    session: &Session,
    project: Option<&Project>,
    place: &Place<'_>,
    name: &str,
    purpose: Purpose,
) -> Result<Chosen, CommandError> {
    let rotation = place.declaration.and_then(|one| one.rotation.as_ref());
    let Some(spec) = rotation.and_then(|rotation| rotation.rotator.as_ref()) else {
        let rotator = match purpose {
            // Nothing is drawn: nobody has to know how.
            Purpose::Return | Purpose::TakeBack => {
                Generator::new(GeneratorSpec::default(), None, Arc::new(SystemRng))
            }
            Purpose::Rotate | Purpose::Try => generator(session, place, name)?,
        };
        return Ok(Chosen {
            name: format!("{PREFIX}generate"),
            rotator: Box::new(rotator),
        });
    };
    let unusable = |detail: String| {
        let message = format!("the rotator of {name} cannot be used: {detail}");
        CommandError::new(Kind::Validation, "rotator.unusable", message)
    };
    strongroom_rotators::check(spec).map_err(unusable)?;
    let admin = match spec.admin() {
        Some(admin) => {
            let admin = project::place(project, admin)?;
            let read = session.engine.read(&session.context, &admin.path, None);
            Some(wait(read)?.payload)
        }
        None => None,
    };
    // Rotators talk over networks and to other processes.
    runtime::start()?;
    let rng = Arc::new(SystemRng);
    let backends = session.backends.clone();
    let needs = Needs {
        rng,
        admin,
        backends,
    };
    let built = strongroom_rotators::build(spec, needs);
    Ok(Chosen {
        name: format!("{PREFIX}{}", spec.word()),
        rotator: built.map_err(|error| unusable(error.message))?,
    })
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
    (rotator, keep): (&str, Keep),
    purpose: Purpose,
) -> Result<(), CommandError> {
    let context = &session.context;
    if purpose != Purpose::Return && wait(rotations.resume(path, context.now))? {
        return Ok(());
    }
    let request = Request {
        path,
        secret: path.as_str(),
        token: &random_text(&SystemRng, TOKEN_CHARS),
        purpose,
        setup: Setup {
            rotator: rotator.into(),
            keep,
            ..Setup::default()
        },
    };
    match wait(rotations.request(context, &request)) {
        Ok(_) => Ok(()),
        Err(Refused::UnderWay) if purpose != Purpose::Return => Ok(()),
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
    rotator: &dyn Rotator,
) -> Result<After, CommandError> {
    let context = &session.context;
    let Some(mut claim) = wait(rotations.claim(context, path))? else {
        return Ok(After::Lost);
    };
    loop {
        let Some(work) = wait(rotations.begin(claim, app.now()))? else {
            return Ok(After::Lost);
        };
        let result = wait(rotations.perform(context, &work, rotator));
        match wait(rotations.complete(context, work, result))? {
            After::More(next) => claim = next,
            after => return Ok(after),
        }
    }
}

/// The reports of the rotations in the store, of one secret or all.
fn reports(app: &App, name: Option<&str>) -> Result<Vec<(String, Value)>, CommandError> {
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
    let rotations = rotations(&session);
    let mut reports = Vec::with_capacity(all.len());
    for one in &all {
        let progress = overlap::progress(&rotations, one)?;
        reports.push((one.path.clone(), one.report(progress.as_ref())));
    }
    Ok(reports)
}

pub(super) fn status(app: &App, name: Option<&str>) -> Result<(), CommandError> {
    let mut all = reports(app, name)?;
    // The manifest says when, and nothing here rotates by itself.
    let times = due::times(app)?;
    for (path, report) in &mut all {
        if let Some(at) = times.get(path).filter(|_| report["next"].is_null()) {
            report["next"] = json!(at.to_string());
        }
    }
    if app.ui.is_json {
        let rows: Vec<Value> = all.iter().map(row_json).collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, "rotations": rows }));
    }
    views::status(app, &all)
}

fn row_json((path, report): &(String, Value)) -> Value {
    json!({
        "path": path,
        "rotator": report["rotator"],
        "last": report["last"],
        "next": report["next"],
        "finished": report["finished"],
        "failed_steps": report["failed_steps"],
        "last_result": report["last_result"],
        "success_percent": report["success_percent"],
        "step": report["run"]["step"],
        "failure": report["run"]["failure"],
        "overlap": report["overlap"],
    })
}

pub(super) fn history(app: &App, name: &str) -> Result<(), CommandError> {
    match reports(app, Some(name))?.first() {
        Some((path, report)) => views::history(app, path, report),
        None => Ok(()),
    }
}

/// What a rotation would do, and who has read the secret lately.
pub(super) fn plan(app: &App, name: &str) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let session = session::open(app)?;
    let path = &place.path;
    let described = wait(session.engine.describe(path))?;
    let rotation = place.declaration.and_then(|one| one.rotation.as_ref());
    let spec = rotation.and_then(|rotation| rotation.rotator.as_ref());
    let purpose = Purpose::Rotate;
    let problem = chosen(&session, project.as_ref(), &place, name, purpose).err();
    let outlook = strongroom_rotators::outlook(spec);
    let since = session.context.now.plus(Span::from_seconds(-READ_SECONDS));
    let events = wait(session.engine.audit_log(Some(since), EVENTS_MAX))?;
    let reads = events.iter().filter(|event| {
        event.action == Action::Read && event.paths.iter().any(|one| one == path.as_str())
    });
    let readers = reads.map(|event| format!("{} ({})", event.actor, event.door));
    let readers: BTreeSet<String> = readers.collect();
    session.finish(app);
    views::plan(
        app,
        &json!({
            "version": 1,
            "name": path.as_str(),
            "rotator": spec.map_or("generate", RotatorSpec::word),
            "current_version": described.versions.last().map(|newest| newest.number),
            "steps": outlook.steps,
            "old_value": outlook.old_value,
            "readers": readers,
            "problem": problem.map(|problem| problem.message),
        }),
    )
}

pub(super) fn abort(app: &App, name: &str, how: Abort) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let session = session::open(app)?;
    let rotations = rotations(&session);
    let path = &place.path;
    let aborted = wait(rotations.abort(&session.context, path, how));
    let step = match aborted.map_err(of_graph)? {
        None => return Err(none_under_way(name)),
        Some(Aborted::Over(step)) => {
            session.note_write();
            session.finish(app);
            step
        }
        Some(Aborted::Begins(step)) => {
            session.note_write();
            let purpose = Purpose::TakeBack;
            let chosen = chosen(&session, project.as_ref(), &place, name, purpose)?;
            finish(app, &session, &rotations, path, name, &*chosen.rotator)?;
            step
        }
    };
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": path.as_str(),
            "aborted_at": step.word(),
        }));
    }
    app.ui
        .say(&format!("gave up the rotation of {name} at {step}"));
    Ok(())
}

pub(super) fn of_graph(error: GraphError) -> CommandError {
    match error {
        GraphError::Engine(error) => error.into(),
        other => CommandError::new(Kind::Conflict, "rotation.refused", other.to_string()),
    }
}
