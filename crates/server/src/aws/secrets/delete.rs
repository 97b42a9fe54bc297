//! Deleting secrets, and taking that back.

use serde_json::Value;
use strongroom_core::time::Span;
use strongroom_engine::Error;
use strongroom_engine::departures::Departure;

use super::failed;
use super::named;
use crate::aws::call::Call;
use crate::aws::call::time;
use crate::aws::error::Fault;
use crate::aws::input;

/// Days in which a deletion can be taken back: at least, unless somebody says, at most.
const DAYS_MIN: i64 = 7;
const DAYS_DEFAULT: i64 = 30;
const DAYS_MAX: i64 = 30;

pub(super) async fn delete(call: &mut Call) -> Result<Value, Fault> {
    let is_forced = input::flag(&call.fields, "ForceDeleteWithoutRecovery")?;
    let days = input::number(&call.fields, "RecoveryWindowInDays")?;
    let is_window = days.is_some();
    let days = days.unwrap_or(DAYS_DEFAULT);
    if !(DAYS_MIN..=DAYS_MAX).contains(&days) {
        return Err(Fault::Parameter(
            "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).".into(),
        ));
    }
    if is_forced && is_window {
        return Err(Fault::Parameter(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."
                .into(),
        ));
    }
    if is_forced {
        return remove(call).await;
    }
    let snapshot = call.primary()?;
    refuse_replicas(call)?;
    if snapshot.deletion().is_some() {
        return Err(Fault::Request(crate::aws::error::MARKED.into()));
    }
    let due = call.request.now.plus(Span::from_seconds(days * 86_400));
    let departure = Departure {
        mount: call.live.mount.uuid,
        path: snapshot.path().to_string(),
    };
    let item = call.request.core.state.put_departure(&departure, due);
    let context = call.context();
    let secrets = &call.live.secrets;
    let items = [item];
    let planned = secrets.plan_deletion(&context, snapshot.path(), due, &items);
    let planned = planned.await.map_err(|error| failed(call, error))?;
    let mut answer = named(call, &planned);
    answer.insert("DeletionDate".into(), time(due));
    Ok(Value::Object(answer))
}

/// A secret that has replicas stays until they are gone.
fn refuse_replicas(call: &Call) -> Result<(), Fault> {
    let facts = call.primary()?.aws();
    let replicas = facts.map_or(&[][..], |facts| &facts.replicas);
    if replicas.is_empty() {
        return Ok(());
    }
    let regions: Vec<&str> = replicas.iter().map(|known| known.region.as_str()).collect();
    let id = call.fields.get("SecretId").and_then(Value::as_str);
    Err(Fault::Parameter(format!(
        "You can't delete secret {} that still has replica regions [{}]",
        id.unwrap_or_default(),
        regions.join(", ")
    )))
}

/// Removes it at once. One that is not there is deleted, too.
async fn remove(call: &Call) -> Result<Value, Fault> {
    let target = call.target()?;
    let mut answer = match &target.seen {
        Some(_) => {
            refuse_replicas(call)?;
            named(call, call.primary()?)
        }
        None => {
            let mut answer = serde_json::Map::new();
            let arn = format!("{}{}-000000", call.arn_prefix(), target.name);
            answer.insert("ARN".into(), arn.into());
            answer.insert("Name".into(), target.name.as_str().into());
            answer
        }
    };
    if target.seen.is_some() {
        let context = call.context();
        match call.live.secrets.remove(&context, &target.path).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let secret = call.live.secrets.secret_id(&target.path);
        // What is left of it says nothing of a later secret of the name.
        let _ = call.request.core.state.forget_accessed(secret).await;
    }
    answer.insert("DeletionDate".into(), time(call.request.now));
    Ok(Value::Object(answer))
}

pub(super) async fn restore(call: &mut Call) -> Result<Value, Fault> {
    let snapshot = call.primary()?;
    let context = call.context();
    let restored = call.live.secrets.restore(&context, snapshot.path()).await;
    let restored = restored.map_err(|error| failed(call, error))?;
    Ok(Value::Object(named(call, &restored)))
}
