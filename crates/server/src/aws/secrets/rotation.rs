//! Rotation: what is set up. Nothing on this server runs the functions of an account, so that none
//! can be set up yet.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::aws::Rotation;

use super::check_deletion;
use super::failed;
use super::named;
use crate::aws::call::Call;
use crate::aws::call::time;
use crate::aws::error::Denied;
use crate::aws::error::Fault;
use crate::aws::input;

/// Longest name of a rotator.
const ROTATOR_CHARS_MAX: usize = 2048;

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
    if fields.get("ClientRequestToken").is_some() {
        input::client_token(fields)?;
    }
    let rotator = input::text(fields, "RotationLambdaARN", 0, ROTATOR_CHARS_MAX)?;
    let snapshot = call.primary()?;
    check_deletion(snapshot)?;
    let known = snapshot.aws().and_then(|facts| facts.rotation.as_ref());
    let known = known.map(|rotation| rotation.rotator.as_str());
    match rotator.filter(|name| !name.is_empty()).or(known) {
        None => Err(Fault::Request(
            "No Lambda rotation function ARN is associated with this secret.".into(),
        )),
        Some(name) => Err(Fault::Denied(Denied {
            user: call.request.user_arn(),
            action: "lambda:InvokeFunction".into(),
            resource: name.to_owned(),
            why: "because this server runs no functions",
        })),
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
    let edited = call.live.secrets.edit_facts(&context, path, |_, facts| {
        if let Some(rotation) = &mut facts.rotation {
            rotation.is_enabled = false;
            rotation.next = None;
            rotation.pending = None;
        }
        Ok(())
    });
    let snapshot = edited.await.map_err(|error| failed(call, error))?;
    Ok(Value::Object(named(call, &snapshot)))
}
