//! Rotations of the secrets that AWS clients see: how far they are, one more, one given up.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::secret::Payload;
use strongroom_core::secret::Shape;
use strongroom_engine::Error;
use strongroom_engine::object::Object;
use strongroom_engine::rotation::Abort;
use strongroom_engine::rotation::Aborted;
use strongroom_engine::rotation::Asked;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::Rotation;
use strongroom_engine::rotation::Rotations;
use strongroom_engine::rotation::Setup;
use strongroom_engine::rotation::policy_of;
use strongroom_engine::secrets::GraphError;

use crate::aws::name;
use crate::core::Live;
use crate::core::uuid_text;
use crate::rotate;
use crate::rotate::rotators;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// The mount whose secrets AWS clients see.
const MOUNT: &str = "secret/";
const NONE: &str = "no rotation of the secret is under way";

pub(super) fn live(call: &Call) -> Result<Arc<Live>, Fault> {
    let mounts = call.core.mounts();
    mounts.get(MOUNT).map(Arc::clone).ok_or(Fault::NotFound)
}

pub(super) fn path(call: &Call) -> Result<SecretPath, Fault> {
    name::path_of(call.capture(0)).ok_or_else(|| Fault::invalid("that is no name of a secret"))
}

pub(super) fn rotations(call: &Call) -> Result<Rotations, Fault> {
    Ok(rotate::rotations(&call.node, &call.core, &*live(call)?))
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let all = call.core.state.rotations().await?;
    let mut names = Vec::new();
    let mut info = Map::new();
    for rotation in &all {
        if let Ok(path) = rotation.path.parse::<SecretPath>() {
            let name = name::name_of(&path);
            info.insert(name.clone(), report(call, rotation).await?);
            names.push(name);
        }
    }
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    status(call, &path(call)?).await
}

/// Rotates a secret now, one that waits after a failure goes on; or what `action` says.
pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let action = field::text(&call.fields, "action")?;
    let purpose = match action.as_deref().unwrap_or("rotate") {
        "rotate" | "configure" => Purpose::Rotate,
        "rollback" => Purpose::Return,
        "try" => Purpose::Try,
        "plan" => return plan(call).await,
        "resume" => return resume(call).await,
        "supply" => return supply(call).await,
        "abandon" => return give_up(call, Abort::AtOnce).await,
        "finish" => return finish(call).await,
        _ => {
            return Err(Fault::invalid(
                "`action` is one of rotate, configure, rollback, try, plan, resume, supply, \
                 finish and abandon",
            ));
        }
    };
    let (live, path) = (live(call)?, path(call)?);
    let rotations = rotations(call)?;
    let is_plain = action.as_deref().is_none_or(|action| action == "rotate");
    if is_plain && rotations.resume(&path, call.now).await? {
        call.node.rotate.wake();
        return status(call, &path).await;
    }
    let snapshot = live.secrets.snapshot(&path).await?.ok_or(Fault::NotFound)?;
    let aws = &call.node.settings.aws;
    let region = aws.region.as_deref().unwrap_or("us-east-1");
    let known = rotations.find(&path).await?.map(|found| found.value);
    let is_now = field::flag(&call.fields, "now")?.unwrap_or(false);
    if let (true, false, Some(known)) = (is_plain, is_now, &known) {
        let (node, core) = (&call.node, &call.core);
        let progress = rotate::overlap::progress(node, core, &rotations, known).await?;
        if let Some(progress) = progress {
            return Err(Fault::Invalid(format!(
                "the old value of the last rotation is still good: {progress}; `action=finish` \
                 ends it, `now=true` rotates all the same"
            )));
        }
    }
    let mut said = super::rotation_policies::SETUP.iter();
    let is_said = said.any(|name| call.fields.has(name));
    let setup = match &known {
        _ if is_said => {
            let base = known.as_ref().map(|known| &known.setup);
            super::rotation_policies::setup_of(call, &call.fields, base).await?
        }
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
    if action.as_deref() == Some("configure") {
        let context = call.context();
        let configured = rotations.configure(&context, &path, &secret, &setup);
        configured.await.map_err(of_graph)?;
        return status(call, &path).await;
    }
    let mut id = [0; 16];
    call.node.rng.fill(&mut id);
    let request = Request {
        path: &path,
        secret: &secret,
        token: &uuid_text(&id),
        purpose,
        setup,
    };
    let context = call.context();
    match rotations.request(&context, &request).await {
        Ok(Asked::Begins | Asked::Before) => {}
        Err(Refused::UnderWay) if purpose == Purpose::Rotate => {}
        Err(refused @ (Refused::UnderWay | Refused::NoPrevious)) => {
            return Err(Fault::Invalid(refused.to_string()));
        }
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
    status(call, &path).await
}

async fn status(call: &Call, path: &SecretPath) -> Result<Answer, Fault> {
    let found = rotations(call)?.find(path).await?;
    let found = found.ok_or(Fault::NotFound)?;
    Ok(Answer::data(report(call, &found.value).await?))
}

/// How a rotation stands, with those who read its secret where an old value is still good.
async fn report(call: &Call, rotation: &Rotation) -> Result<Value, Fault> {
    let (node, core, rotations) = (&call.node, &call.core, rotations(call)?);
    let progress = rotate::overlap::progress(node, core, &rotations, rotation).await?;
    let policies = core.state.rotation_policies().await?;
    let policy = policy_of(&policies, &rotation.path);
    let mut report = rotation.report(progress.as_ref());
    report["policy"] = json!(policy.map(|(name, _)| name));
    report["owner"] = json!(policy.and_then(|(_, policy)| policy.owner.as_deref()));
    Ok(report)
}

/// Ends the time in which the old value is good: where everybody has read the new one, or at once.
async fn finish(call: &mut Call) -> Result<Answer, Fault> {
    let path = path(call)?;
    let is_now = field::flag(&call.fields, "now")?.unwrap_or(false);
    let rotations = rotations(call)?;
    let found = rotations.find(&path).await?.ok_or(Fault::NotFound)?;
    let (node, core) = (&call.node, &call.core);
    let progress = rotate::overlap::progress(node, core, &rotations, &found.value).await?;
    let Some(progress) = progress else {
        return Err(Fault::invalid("no old value of the secret is still good"));
    };
    if !is_now && !progress.has_all() {
        return Err(Fault::Invalid(format!(
            "the old value stays: {progress}; `now=true` ends it for them, too"
        )));
    }
    rotations.finish_now(&path, call.now).await?;
    call.node.rotate.wake();
    status(call, &path).await
}

/// What a rotation would do. Nothing is changed, and nobody outside is asked.
async fn plan(call: &mut Call) -> Result<Answer, Fault> {
    let (live, path) = (live(call)?, path(call)?);
    let snapshot = live.secrets.snapshot(&path).await?.ok_or(Fault::NotFound)?;
    let known = rotations(call)?.find(&path).await?.map(|found| found.value);
    let arn = known.as_ref().map(|known| known.setup.rotator.as_str());
    let (node, core) = (&call.node, &call.core);
    let built = match arn {
        Some(arn) => rotate::rotators::of(node, core, &live, arn).await.map(drop),
        None => Ok(()),
    };
    let declared = match arn {
        Some(arn) => rotate::rotators::declared(node, core, arn).await?,
        None => None,
    };
    let outlook = strongroom_rotators::outlook(declared.as_ref());
    let secret = live.secrets.secret_id(&path);
    let accessed = core.state.accessed(secret).await?;
    let is_same = |created| created == snapshot.metadata().created;
    let accessed = accessed.filter(|one| is_same(one.created));
    Ok(Answer::data(json!({
        "rotator": arn.unwrap_or(rotators::GENERATE),
        "current_version": snapshot.newest().map(|newest| newest.number),
        "steps": outlook.steps,
        "old_value": outlook.old_value,
        "last_read_by_aws_clients": accessed.map(|one| one.day.to_string()),
        "readers": null,
        "under_way": known.is_some_and(|known| known.run.is_some()),
        "problem": built.err().map(|error| error.message),
    })))
}

/// Has what waits after a failure go on at once.
async fn resume(call: &mut Call) -> Result<Answer, Fault> {
    let (rotations, path) = (rotations(call)?, path(call)?);
    if !rotations.resume(&path, call.now).await? {
        return Err(Fault::invalid(NONE));
    }
    call.node.rotate.wake();
    status(call, &path).await
}

/// Takes the new value that a rotation waits for.
async fn supply(call: &mut Call) -> Result<Answer, Fault> {
    let value = field::secret(&call.fields, "value")?;
    let value = value.filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| Fault::invalid("`value` is the new value, and is missing"))?;
    let (live, path) = (live(call)?, path(call)?);
    let snapshot = live.secrets.snapshot(&path).await?.ok_or(Fault::NotFound)?;
    let was_object = snapshot
        .newest()
        .is_some_and(|one| one.shape == Shape::Fields);
    let shape = match was_object && Object::read(&value).is_some() {
        true => Shape::Fields,
        false => Shape::Text,
    };
    let (rotations, context) = (rotations(call)?, call.context());
    let payload = Payload { value, shape };
    let supplied = rotations.supply(&context, &path, &payload);
    if !supplied.await.map_err(of_graph)? {
        return Err(Fault::invalid(NONE));
    }
    call.node.rotate.wake();
    status(call, &path).await
}

/// Gives up the rotation that is under way.
pub(super) async fn abort(call: &mut Call) -> Result<Answer, Fault> {
    give_up(call, Abort::Properly).await
}

async fn give_up(call: &mut Call, how: Abort) -> Result<Answer, Fault> {
    let context = call.context();
    let aborted = rotations(call)?.abort(&context, &path(call)?, how).await;
    match aborted.map_err(of_graph)? {
        Some(Aborted::Over(_)) => Ok(Answer::Empty),
        Some(Aborted::Begins(_)) => {
            call.node.rotate.wake();
            Ok(Answer::Empty)
        }
        None => Err(Fault::invalid(NONE)),
    }
}

fn of_graph(error: GraphError) -> Fault {
    match error {
        GraphError::Engine(Error::NotFound { .. }) => Fault::NotFound,
        GraphError::Engine(error) => Fault::Engine(error),
        other => Fault::Invalid(other.to_string()),
    }
}
