//! Rotations of the secrets that AWS clients see: how far they are, one more, one given up.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Step;
use strongroom_engine::Error;
use strongroom_engine::rotation::Asked;
use strongroom_engine::rotation::Failure;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Setup;
use strongroom_engine::secrets::GraphError;

use crate::aws::name;
use crate::core::Live;
use crate::core::uuid_text;
use crate::rotate;
use crate::rotate::rotators;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// The mount whose secrets AWS clients see.
const MOUNT: &str = "secret/";

fn live(call: &Call) -> Result<Arc<Live>, Fault> {
    let mounts = call.core.mounts();
    mounts.get(MOUNT).map(Arc::clone).ok_or(Fault::NotFound)
}

fn path(call: &Call) -> Result<SecretPath, Fault> {
    name::path_of(call.capture(0)).ok_or_else(|| Fault::invalid("that is no name of a secret"))
}

fn rotations(call: &Call) -> Result<Rotations, Fault> {
    Ok(rotate::rotations(&call.node, &call.core, &*live(call)?))
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let all = call.core.state.rotations().await?;
    let mut names = Vec::new();
    let mut info = Map::new();
    for rotation in &all {
        if let Ok(path) = rotation.path.parse::<SecretPath>() {
            let name = name::name_of(&path);
            info.insert(name.clone(), describe(rotation));
            names.push(name);
        }
    }
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = rotations(call)?.find(&path(call)?).await?;
    Ok(Answer::data(describe(&found.ok_or(Fault::NotFound)?.value)))
}

/// Everything that is known but the secret's value, which is not known here.
fn describe(rotation: &Rotation) -> Value {
    let run = rotation.run.as_ref().map(|run| {
        json!({
            "version_id": run.token,
            "is_trial": run.purpose == Purpose::Try,
            "step": run.step.word(),
            "step_begun": run.is_begun,
            "started": run.started.to_string(),
            "failed_attempts": run.attempts,
            "goes_on": run.resume.to_string(),
            "failure": run.failure.as_ref().map(failure),
        })
    });
    let history = rotation.history.iter().rev().map(|outcome| {
        json!({
            "version_id": outcome.token,
            "is_trial": outcome.purpose == Purpose::Try,
            "started": outcome.started.to_string(),
            "ended": outcome.ended.to_string(),
            "given_up_at": outcome.given_up_at.map(Step::word),
            "failure": outcome.failure.as_ref().map(failure),
        })
    });
    json!({
        "rotator": rotation.setup.rotator,
        "enabled": rotation.setup.is_enabled,
        "days": rotation.setup.days,
        "schedule": rotation.setup.expression,
        "duration": rotation.setup.duration,
        "last": rotation.last.map(|at| at.to_string()),
        "next": rotation.next.map(|next| next.begins.to_string()),
        "finished": rotation.finished,
        "failed_steps": rotation.failures,
        "run": run,
        "history": history.collect::<Vec<Value>>(),
    })
}

fn failure(failure: &Failure) -> Value {
    json!({
        "step": failure.step.word(),
        "at": failure.at.to_string(),
        "code": failure.error.code,
        "message": failure.error.message,
    })
}

/// Rotates a secret now; one that waits after a failure goes on.
pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let (live, path) = (live(call)?, path(call)?);
    let rotations = rotations(call)?;
    if rotations.resume(&path, call.now).await? {
        call.node.rotate.wake();
        return status(&rotations, &path).await;
    }
    let snapshot = live.secrets.snapshot(&path).await?.ok_or(Fault::NotFound)?;
    let aws = &call.node.settings.aws;
    let region = aws.region.as_deref().unwrap_or("us-east-1");
    let known = rotations.find(&path).await?.map(|found| found.value);
    let setup = match &known {
        Some(rotation) => rotation.setup.clone(),
        // What nobody has set up is drawn anew, once.
        None => Setup {
            rotator: format!(
                "arn:aws:lambda:{region}:{}:function:{}",
                aws.account,
                rotators::GENERATE
            ),
            ..Setup::default()
        },
    };
    let secret = match known {
        Some(rotation) => rotation.secret,
        None => format!(
            "arn:aws:secretsmanager:{region}:{}:secret:{}-{}",
            aws.account,
            name::name_of(&path),
            live.secrets.name_suffix(&snapshot)
        ),
    };
    let mut id = [0; 16];
    call.node.rng.fill(&mut id);
    let request = Request {
        path: &path,
        secret: &secret,
        token: &uuid_text(&id),
        purpose: Purpose::Rotate,
        setup,
    };
    let context = call.context();
    match rotations.request(&context, &request).await {
        Ok(Asked::Begins | Asked::Before) | Err(Refused::UnderWay) => {}
        Err(Refused::PendingElsewhere) => {
            return Err(Fault::invalid(
                "a version of the secret has the stage AWSPENDING, and no rotation is under way: \
                 take the stage from it (UpdateSecretVersionStage), then rotate again",
            ));
        }
        Err(Refused::Graph(error)) => return Err(of_graph(error)),
        Err(other) => return Err(Fault::Internal(other.to_string())),
    }
    call.node.rotate.wake();
    status(&rotations, &path).await
}

async fn status(rotations: &Rotations, path: &SecretPath) -> Result<Answer, Fault> {
    let found = rotations.find(path).await?.ok_or(Fault::NotFound)?;
    Ok(Answer::data(describe(&found.value)))
}

/// Gives up the rotation that is under way.
pub(super) async fn abort(call: &mut Call) -> Result<Answer, Fault> {
    let context = call.context();
    let aborted = rotations(call)?.abort(&context, &path(call)?).await;
    match aborted.map_err(of_graph)? {
        Some(_) => Ok(Answer::Empty),
        None => Err(Fault::invalid("no rotation of the secret is under way")),
    }
}

fn of_graph(error: GraphError) -> Fault {
    match error {
        GraphError::Engine(Error::NotFound { .. }) => Fault::NotFound,
        GraphError::Engine(error) => Fault::Engine(error),
        other => Fault::Invalid(other.to_string()),
    }
}
