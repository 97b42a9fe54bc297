//! Rotation: what is set up, and having it begin. The steps are done in the background.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::aws::Rotation;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::rotation::ScheduleError;
use strongroom_engine::rotation::Setup;

use super::check_deletion;
use super::failed;
use super::named;
use crate::aws::call::Call;
use crate::aws::call::time;
use crate::aws::error::Denied;
use crate::aws::error::Fault;
use crate::aws::input;
use crate::core::uuid_text;
use crate::rotate;
use crate::vault::body::Fields;

/// Longest name of a rotator.
const ROTATOR_CHARS_MAX: usize = 2048;
/// Longest rule.
const RULE_CHARS_MAX: usize = 256;
/// Most days between two rotations.
const DAYS_MAX: u32 = 1000;
/// What is said of a secret with a version that is AWSPENDING and not the current one.
const INCOMPLETE: &str = "A previous rotation isn't complete. That rotation will be reattempted.";

/// What is told of how a secret is rotated.
pub(super) fn describe(rotation: &Rotation, put: &mut impl FnMut(&str, Option<Value>)) {
    put("RotationEnabled", Some(rotation.is_enabled.into()));
    put("RotationLambdaARN", Some(rotation.rotator.as_str().into()));
    let mut rules = Map::new();
    if let Some(days) = rotation.days {
        rules.insert("AutomaticallyAfterDays".into(), days.into());
    }
    if let Some(duration) = &rotation.duration {
        rules.insert("Duration".into(), json!(duration));
    }
    if let Some(schedule) = &rotation.schedule {
        rules.insert("ScheduleExpression".into(), json!(schedule));
    }
    put("RotationRules", (!rules.is_empty()).then(|| rules.into()));
    put("LastRotatedDate", rotation.last.map(time));
    put("NextRotationDate", rotation.next.map(time));
}

pub(super) async fn rotate(call: &mut Call) -> Result<Value, Fault> {
    let fields = &call.fields;
    for name in [
        "ExternalSecretRotationMetadata",
        "ExternalSecretRotationRoleArn",
    ] {
        if fields.get(name).is_some() {
            return Err(Fault::Request(
                "There are no partners on this server that rotate secrets: RotationLambdaARN \
                 names a rotator."
                    .into(),
            ));
        }
    }
    let token = match fields.get("ClientRequestToken") {
        Some(_) => input::client_token(fields)?.to_owned(),
        None => {
            let mut id = [0; 16];
            call.request.node.rng.fill(&mut id);
            uuid_text(&id)
        }
    };
    let rotator = input::text(fields, "RotationLambdaARN", 0, ROTATOR_CHARS_MAX)?;
    let is_now = input::perhaps(fields, "RotateImmediately")?.unwrap_or(true);
    let snapshot = call.primary()?;
    check_deletion(snapshot)?;
    let known = snapshot.aws().and_then(|facts| facts.rotation.as_ref());
    let mut setup = setup(fields, rotator, known)?;
    let rotations = rotate::rotations(&call.request.node, &call.request.core, &call.live);
    // What AWS cannot say stays as it is.
    if let Some(found) = rotations.find(snapshot.path()).await? {
        (setup.keep, setup.jitter) = (found.value.setup.keep, found.value.setup.jitter);
    }
    let (node, core) = (&call.request.node, &call.request.core);
    if !rotate::rotators::is_known(node, core, &setup.rotator).await? {
        return Err(Fault::Denied(Denied {
            user: call.request.user_arn(),
            action: "lambda:InvokeFunction".into(),
            resource: setup.rotator,
            why: "because no rotator of this ARN is registered",
        }));
    }
    let secret = call.arn(snapshot);
    let request = Request {
        path: snapshot.path(),
        secret: &secret,
        token: &token,
        purpose: match is_now {
            true => Purpose::Rotate,
            false => Purpose::Try,
        },
        setup,
    };
    let asked = rotations.request(&call.context(), &request).await;
    // What goes on because of a refusal goes on at once, too.
    node.rotate.wake();
    match asked {
        Ok(_) => {}
        Err(Refused::UnderWay | Refused::PendingElsewhere) => {
            return Err(Fault::Request(INCOMPLETE.into()));
        }
        Err(Refused::Graph(error)) => return Err(failed(call, error)),
        Err(other) => return Err(Fault::Internal(other.to_string())),
    }
    let mut answer = named(call, snapshot);
    answer.insert("VersionId".into(), token.into());
    Ok(Value::Object(answer))
}

/// What rotates the secret from now on, and when: what is not said stays as it is.
fn setup(fields: &Fields, rotator: Option<&str>, known: Option<&Rotation>) -> Result<Setup, Fault> {
    let kept = known.map(|rotation| rotation.rotator.as_str());
    let mut setup = Setup {
        rotator: rotator
            .filter(|name| !name.is_empty())
            .or(kept)
            .unwrap_or_default()
            .to_owned(),
        is_enabled: true,
        days: known.and_then(|rotation| rotation.days),
        expression: known.and_then(|rotation| rotation.schedule.clone()),
        duration: known.and_then(|rotation| rotation.duration.clone()),
        ..Setup::default()
    };
    match fields.get("RotationRules") {
        None | Some(Value::Null) => {}
        Some(Value::Object(rules)) => {
            let rules = Fields::from_map(rules.clone());
            setup.days = days(&rules)?;
            let text = |name, least, most| input::text(&rules, name, least, most);
            let expression = text("ScheduleExpression", 1, RULE_CHARS_MAX)?;
            setup.expression = expression.map(str::to_owned);
            setup.duration = text("Duration", 2, 3)?.map(str::to_owned);
            if setup.days.is_some() && setup.expression.is_some() {
                return Err(Fault::Parameter(
                    "You can't specify both AutomaticallyAfterDays and ScheduleExpression in \
                     RotationRules."
                        .into(),
                ));
            }
        }
        Some(_) => return Err(Fault::Malformed("RotationRules has to be a map".into())),
    }
    let wrong = |error: ScheduleError| Fault::Parameter(format!("Invalid RotationRules: {error}"));
    setup.schedule().map_err(wrong)?;
    if setup.rotator.is_empty() {
        return Err(Fault::Request(
            "No Lambda rotation function ARN is associated with this secret.".into(),
        ));
    }
    Ok(setup)
}

fn days(rules: &Fields) -> Result<Option<u32>, Fault> {
    let Some(days) = input::number(rules, "AutomaticallyAfterDays")? else {
        return Ok(None);
    };
    match u32::try_from(days) {
        Ok(days) if (1..=DAYS_MAX).contains(&days) => Ok(Some(days)),
        _ => Err(Fault::Parameter(format!(
            "RotationRules.AutomaticallyAfterDays must be within 1-{DAYS_MAX}."
        ))),
    }
}

pub(super) async fn cancel(call: &mut Call) -> Result<Value, Fault> {
    let snapshot = call.primary()?;
    check_deletion(snapshot)?;
    let is_set_up = snapshot.aws().is_some_and(|facts| facts.rotation.is_some());
    if !is_set_up {
        return Err(Fault::Request(
            "You tried to cancel the rotation of a secret that doesn't have a Lambda function ARN \
             configured."
                .into(),
        ));
    }
    let context = call.context();
    let path = snapshot.path();
    let rotations = rotate::rotations(&call.request.node, &call.request.core, &call.live);
    let canceled = rotations.cancel(&context, path).await;
    if !canceled.map_err(|error| failed(call, error))? {
        // A secret that was renamed, say: nothing rotates it, and it says so.
        let edited = call.live.secrets.edit_facts(&context, path, |_, facts| {
            if let Some(rotation) = &mut facts.rotation {
                rotation.is_enabled = false;
                rotation.next = None;
                rotation.pending = None;
            }
            Ok(())
        });
        edited.await.map_err(|error| failed(call, error))?;
    }
    Ok(Value::Object(named(call, snapshot)))
}
