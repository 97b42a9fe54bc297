//! Campaigns: how far the shipping of an application to a tier is. What is written stays.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use super::planning;
use super::planning::Asked;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

const STATUS: &str = "in_progress";

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let scenario = field::text(call, "scenario");
    let with_readiness = field::flag(call, "include_readiness")?;
    let mut rows = Vec::new();
    for (name, mut row) in documents::all(&call.core, Of::Campaigns).await? {
        let [own, tier] = name.as_slice() else {
            continue;
        };
        if scenario.as_ref().is_some_and(|scenario| scenario != own) {
            continue;
        }
        if with_readiness {
            row["readiness"] = match readiness(call, own, tier).await {
                Ok(summary) => summary,
                Err(Fault::NotFoundWith(why)) => json!({ "error": why.join("; ") }),
                Err(fault) => return Err(fault),
            };
        }
        rows.push(row);
    }
    Ok(bare(json!({ "count": rows.len(), "campaigns": rows })))
}

async fn readiness(call: &Call, scenario: &str, tier: &str) -> Result<Value, Fault> {
    let asked = Asked::of(scenario, field::tier(tier)?);
    Ok(planning::make(call, &asked).await?.plan.summary())
}

/// One for each application and tier: what is sent takes the place of what was known.
pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let sent = (field::text(call, "scenario"), field::text(call, "tier"));
    let (Some(scenario), Some(tier)) = sent else {
        return Err(Fault::invalid("scenario and tier are required"));
    };
    field::check_name(&scenario)?;
    let tier = field::tier(&tier)?.numbered();
    let name = [scenario.as_str(), tier];
    let known = documents::load(&call.core, Of::Campaigns, &name).await?;
    let precondition = known
        .as_ref()
        .map_or(Precondition::Absent, |kept| kept.unchanged);
    let mut row = match known.map(|kept| kept.value) {
        Some(Value::Object(row)) => row,
        _ => fresh(&scenario, tier),
    };
    if let Some(progress) = call.fields.get("progress") {
        let is_share = progress
            .as_f64()
            .is_some_and(|share| (0.0..=100.0).contains(&share));
        if !is_share {
            return Err(Fault::invalid("progress is between 0 and 100"));
        }
        row.insert("progress".into(), progress.clone());
    }
    if let Some(blockers) = call.fields.get("blockers") {
        if blockers.as_u64().is_none() {
            return Err(Fault::invalid("blockers is a number of secrets"));
        }
        row.insert("blockers".into(), blockers.clone());
    }
    for key in ["status", "next_action", "last_step"] {
        if let Some(text) = field::text(call, key) {
            row.insert(key.into(), text.into());
        }
    }
    if let Some(summary) = call.fields.get("summary") {
        row.insert("summary".into(), summary.clone());
    }
    row.insert("updated_at".into(), call.now.to_string().into());
    let row = Value::Object(row);
    documents::save(&call.core, Of::Campaigns, &name, &row, precondition).await?;
    Ok(bare(row))
}

fn fresh(scenario: &str, tier: &str) -> Map<String, Value> {
    let pairs = [
        ("id", json!(format!("{scenario}-{tier}"))),
        ("scenario", json!(scenario)),
        ("tier", json!(tier)),
        ("status", json!(STATUS)),
        ("progress", json!(0)),
        ("blockers", json!(0)),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
