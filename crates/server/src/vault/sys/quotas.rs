//! Limits of rates.

use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use crate::quota::Quota;
use crate::vault::call::Call;
use crate::vault::dispatch;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let names = call.core.state.names::<Quota>(Shelf::Kind).await?;
    Answer::keys(&names)
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = call.capture(0);
    let found = call.core.state.load::<Quota>(name).await?;
    let quota = found.ok_or(Fault::NotFound)?.value;
    // A whole rate is shown as a whole number.
    let rate = match quota.rate.fract() == 0.0 {
        true => json!(quota.rate.to_string().parse::<i64>().unwrap_or(i64::MAX)),
        false => json!(quota.rate),
    };
    Ok(Answer::data(json!({
        "block_interval": quota.block_interval,
        "inheritable": quota.inheritable,
        "interval": quota.interval,
        "name": name,
        "path": quota.path,
        "rate": rate,
        "role": quota.role,
        "type": "rate-limit",
    })))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = field::checked_name(call.capture(0))?;
    let fields = &call.fields;
    let rate = field::number(fields, "rate")?.unwrap_or(0.0);
    if rate <= 0.0 {
        return Err(Fault::invalid("'rate' is invalid"));
    }
    let path = field::text(fields, "path")?.unwrap_or_default();
    if !path.is_empty() && dispatch::mount_at(&call.core.mounts(), &path).is_none() {
        let shown: String = path.chars().take(64).collect();
        return Err(Fault::Invalid(format!("invalid mount path {shown:?}")));
    }
    let quota = Quota {
        path: path.clone(),
        rate,
        interval: field::seconds(fields, "interval")?.unwrap_or(1).max(1),
        block_interval: field::seconds(fields, "block_interval")?.unwrap_or(0),
        role: field::text(fields, "role")?.unwrap_or_default(),
        inheritable: field::flag(fields, "inheritable")?.unwrap_or(path.is_empty()),
    };
    let state = &call.core.state;
    state
        .write(vec![state.put(&Put::named(name, Shelf::Kind), &quota)])
        .await?;
    call.core.quotas.load(state).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let state = &call.core.state;
    let id = state.id_of::<Quota>(call.capture(0));
    state
        .write(vec![state::delete(id, Precondition::Any)])
        .await?;
    call.core.quotas.load(state).await?;
    Ok(Answer::Empty)
}
