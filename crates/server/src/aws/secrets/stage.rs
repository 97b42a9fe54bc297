//! Moving stages.

use serde_json::Value;

use super::check_deletion;
use super::failed;
use super::named;
use crate::aws::call::Call;
use crate::aws::error::Fault;
use crate::aws::input;

pub(super) async fn update(call: &mut Call) -> Result<Value, Fault> {
    let fields = &call.fields;
    let stage = input::required(fields, "VersionStage", 1, 256)?;
    let from = input::text(fields, "RemoveFromVersionId", 32, 64)?;
    let to = input::text(fields, "MoveToVersionId", 32, 64)?;
    check_deletion(call.primary()?)?;
    if from.is_none() && to.is_none() {
        return Err(Fault::Parameter(
            "You must provide RemoveFromVersionId, MoveToVersionId or both.".into(),
        ));
    }
    let path = &call.target()?.path;
    let context = call.context();
    let secrets = &call.live.secrets;
    let moved = secrets.move_stage(&context, path, stage, from, to).await;
    let snapshot = moved.map_err(|error| failed(call, error))?;
    Ok(Value::Object(named(call, &snapshot)))
}
