//! Profiles: applications as they are shipped, and what that means for their secrets.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_deploy::identify;
use strongroom_deploy::plan::Plan;
use strongroom_deploy::swap;
use strongroom_deploy::swap::Advice;
use strongroom_deploy::template;
use strongroom_deploy::template::Format;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use super::planning;
use super::planning::Asked;
use super::swaps;
use crate::ledger::person_of;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// A score below this stands in the way.
const FITNESS_LEAST: f64 = 50.0;
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// The settings of a profile that may be changed.
const CHANGEABLE: [&str; 5] = ["name", "tiers", "swaps", "secrets", "settings"];

pub(super) struct Profile {
    id: String,
    pub(super) value: Value,
    unchanged: Precondition,
}

impl Profile {
    pub(super) async fn find(call: &Call, id: &str) -> Result<Self, Fault> {
        field::check_name(id)?;
        let kept = documents::load(&call.core, Of::Profiles, &[id]).await?;
        let unknown = || Fault::NotFoundWith(vec![format!("profile {id} not found")]);
        let kept = kept.ok_or_else(unknown)?;
        Ok(Self {
            id: id.to_owned(),
            value: kept.value,
            unchanged: kept.unchanged,
        })
    }

    /// The one in the path.
    pub(super) async fn named(call: &Call) -> Result<Self, Fault> {
        Self::find(call, call.capture(0)).await
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.value[key].as_str().unwrap_or_default().to_owned()
    }

    /// Its first tier, unless the request names one.
    pub(super) fn tier(&self, call: &Call) -> Result<Tier, Fault> {
        if let Some(text) = field::text(call, "tier") {
            return field::tier(&text);
        }
        let tiers = swaps::tiers_of(self.value.get("tiers"))?;
        Ok(tiers.first().copied().unwrap_or(Tier::Desktop))
    }

    pub(super) fn swaps(&self) -> Result<BTreeMap<String, String>, Fault> {
        swaps::swaps_of(self.value.get("swaps"))
    }

    async fn plan(&self, call: &Call, include_optional: bool) -> Result<Plan, Fault> {
        self.planned(call, self.tier(call)?, include_optional).await
    }

    /// The plan for one tier, of everything.
    pub(super) async fn plan_for(&self, call: &Call, tier: Tier) -> Result<Plan, Fault> {
        self.planned(call, tier, true).await
    }

    async fn planned(&self, call: &Call, tier: Tier, all: bool) -> Result<Plan, Fault> {
        let asked = Asked {
            swaps: self.swaps()?,
            include_optional: all,
            ..Asked::of(&self.text("scenario"), tier)
        };
        Ok(planning::make(call, &asked).await?.plan)
    }

    /// Writes it as the next version, with a row that says what was changed.
    pub(super) async fn save(mut self, call: &Call, changes: &str) -> Result<Value, Fault> {
        let version = self.value["version"].as_u64().unwrap_or(0) + 1;
        let now = call.now.to_string();
        let by = person_of(&call.caller()?.token);
        self.value["version"] = version.into();
        self.value["updated_at"] = now.clone().into();
        self.value["updated_by"] = by.clone().into();
        let row = json!({
            "version": version, "updated_at": now, "updated_by": by, "changes": changes,
        });
        let place = [self.id.as_str()];
        let of_version = [self.id.as_str(), &format!("{version:010}")];
        let batch = vec![
            documents::put(
                &call.core,
                Of::Profiles,
                &place,
                &self.value,
                self.unchanged,
            )?,
            documents::put(
                &call.core,
                Of::Versions,
                &of_version,
                &row,
                Precondition::Absent,
            )?,
        ];
        documents::commit(&call.core, batch).await?;
        Ok(self.value)
    }
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let all = documents::all(&call.core, Of::Profiles).await?;
    let rows = all.into_iter().map(|(_, profile)| {
        let kept = [
            "id",
            "name",
            "scenario",
            "tiers",
            "version",
            "created_at",
            "updated_at",
        ];
        let pairs = kept.map(|key| (key.to_owned(), profile[key].clone()));
        Value::Object(pairs.into_iter().collect())
    });
    let rows: Vec<Value> = rows.collect();
    Ok(bare(json!({ "profiles": rows, "total": rows.len() })))
}

/// What was sent of a profile, checked. A value in `secrets` is refused: here nothing is kept that
/// is one.
fn sent(call: &mut Call) -> Result<Map<String, Value>, Fault> {
    let mut sent = Map::new();
    for key in CHANGEABLE {
        if let Some(field) = call.fields.take(key) {
            sent.insert(key.to_owned(), field.0.clone());
        }
    }
    if let Some(tiers) = sent.get("tiers") {
        let tiers = swaps::tiers_of(Some(tiers))?;
        let numbers: Vec<u8> = tiers.into_iter().map(Tier::number).collect();
        sent.insert("tiers".into(), json!(numbers));
    }
    if let Some(swaps) = sent.get("swaps") {
        let swaps = swaps::swaps_of(Some(swaps))?;
        for (from, to) in &swaps {
            swap::find(from, to).map_err(|error| Fault::invalid(error.to_string()))?;
        }
        sent.insert("swaps".into(), json!(swaps));
    }
    let secrets = sent.get("secrets").and_then(Value::as_object);
    let has_value = |one: &Value| one.get("value").is_some_and(|value| !value.is_null());
    if secrets.is_some_and(|secrets| secrets.values().any(has_value)) {
        return Err(Fault::invalid(
            "a profile keeps no values: give them to POST /api/v1/vault/secrets/provision",
        ));
    }
    if let Some(name) = sent.get("name") {
        let is_name = name
            .as_str()
            .is_some_and(|name| !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX);
        if !is_name {
            return Err(Fault::invalid("name is no text"));
        }
    }
    Ok(sent)
}

pub(super) async fn create(call: &mut Call) -> Result<Answer, Fault> {
    let scenario = field::text(call, "scenario");
    let sent = sent(call)?;
    let (Some(scenario), true) = (scenario, sent.contains_key("name")) else {
        return Err(Fault::invalid("name and scenario fields required"));
    };
    field::check_name(&scenario)?;
    // The seconds alone are the same for two that are made at once.
    let mut drawn = [0; 4];
    call.node.rng.fill(&mut drawn);
    let seconds = call.now.as_micros() / 1_000_000;
    let id = format!("profile-{seconds}-{}", HEXLOWER.encode(&drawn));
    let now = call.now.to_string();
    let by = person_of(&call.caller()?.token);
    let mut value = json!({
        "id": id,
        "scenario": scenario,
        "tiers": [2],
        "swaps": {},
        "secrets": {},
        "settings": {},
        "version": 0,
        "created_at": now,
        "created_by": by,
    });
    for (key, field) in sent {
        value[key] = field;
    }
    let profile = Profile {
        id,
        value,
        unchanged: Precondition::Absent,
    };
    let made = profile.save(call, "Created profile").await?;
    Ok(Answer::Bare(StatusCode::CREATED, made))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    Ok(bare(Profile::named(call).await?.value))
}

pub(super) async fn update(call: &mut Call) -> Result<Answer, Fault> {
    let mut profile = Profile::named(call).await?;
    let sent = sent(call)?;
    let changed: Vec<String> = sent.keys().cloned().collect();
    if changed.is_empty() {
        return Err(Fault::invalid("no updates provided"));
    }
    for (key, field) in sent {
        profile.value[key] = field;
    }
    let text = format!("Updated {}", changed.join(", "));
    Ok(bare(profile.save(call, &text).await?))
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let mut batch = vec![documents::remove(&call.core, Of::Profiles, &[&profile.id])];
    for (name, _) in documents::all(&call.core, Of::Versions).await? {
        if let [id, version] = name.as_slice()
            && *id == profile.id
        {
            batch.push(documents::remove(&call.core, Of::Versions, &[id, version]));
        }
    }
    documents::commit(&call.core, batch).await?;
    Ok(bare(json!({ "status": "deleted", "id": profile.id })))
}

pub(super) async fn versions(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let all = documents::all(&call.core, Of::Versions).await?.into_iter();
    let own = all.filter(|(name, _)| name.first() == Some(&profile.id));
    let rows: Vec<Value> = own.map(|(_, row)| row).collect();
    Ok(bare(json!({
        "profile_id": profile.id,
        "current_version": profile.value["version"],
        "versions": rows,
    })))
}

/// The documented checks that can be made here; what cannot be is left out by name.
pub(super) async fn validate(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let (tier, own_swaps) = (profile.tier(call)?, profile.swaps()?);
    let scenario = profile.text("scenario");
    let scores = swaps::scores(call, &scenario, &[tier], &own_swaps).await?;
    let fit = scores.first().map_or(0.0, |one| one.overall);
    let plan = profile.plan(call, false).await?;
    let blocked: Vec<String> = plan.blocked().map(|(need, _)| need.full_name()).collect();
    let against: Vec<String> = own_swaps
        .iter()
        .filter_map(|(from, to)| swap::find(from, to).ok())
        .filter(|swap| swap.advice(tier) == Advice::NotRecommended)
        .map(swap::Swap::id)
        .collect();
    let check = |name: &str, is_good: bool, details: String| {
        let status = if is_good { "pass" } else { "fail" };
        json!({ "name": name, "status": status, "details": details })
    };
    let checks = vec![
        check(
            "fitness_threshold",
            fit >= FITNESS_LEAST,
            format!("Score {fit}, at least {FITNESS_LEAST}"),
        ),
        check(
            "secrets_complete",
            blocked.is_empty(),
            match blocked.is_empty() {
                true => "All required secrets are decided about".to_owned(),
                false => format!("In the way: {}", blocked.join(", ")),
            },
        ),
        check(
            "dependency_swaps",
            against.is_empty(),
            match against.is_empty() {
                true => "No swap is advised against".to_owned(),
                false => format!("Advised against: {}", against.join(", ")),
            },
        ),
    ];
    let is_valid = checks.iter().all(|check| check["status"] == "pass");
    Ok(bare(json!({
        "profile_id": profile.id,
        "valid": is_valid,
        "checks": checks,
        "not_checked": ["licensing", "resource_limits", "platform_binaries"],
        "ready_for_deployment": is_valid,
    })))
}

pub(super) async fn identify(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let plan = profile.plan(call, true).await?;
    Ok(bare(identify::identify(&plan, &profile.id)))
}

pub(super) async fn template(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let word = field::text(call, "format").unwrap_or_else(|| "env".to_owned());
    let format = match word.as_str() {
        "env" => Format::Env,
        "json" => Format::Json,
        "vault" => Format::Vault,
        "aws" => Format::Aws,
        "k8s" => Format::K8s,
        "dotenv" => Format::Dotenv,
        _ => {
            return Err(Fault::invalid(format!(
                "unsupported format \"{word}\" (supported: env, json, vault, aws, k8s, dotenv)"
            )));
        }
    };
    let plan = profile.plan(call, false).await?;
    if format == Format::Json {
        return Ok(bare(template::json(&plan, &profile.id)));
    }
    Ok(bare(json!({
        "profile_id": profile.id,
        "format": word,
        "template": template::text(&plan, &profile.id, format),
        "timestamp": call.now.to_string(),
    })))
}

pub(super) async fn validate_secrets(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let plan = profile.plan(call, false).await?;
    let checks = identify::validate(&plan, None);
    Ok(bare(identify::validation_json(&checks, &profile.id)))
}

pub(super) async fn add_swap(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    swapped(call, profile).await
}

/// `{profile_id, from, to, force?}`: it is stored, and what it does is told; else it is refused.
pub(super) async fn apply_swap(call: &mut Call) -> Result<Answer, Fault> {
    let id = field::text(call, "profile_id");
    let id = id.ok_or_else(|| Fault::invalid("profile_id, from and to are required"))?;
    let profile = Profile::find(call, &id).await?;
    swapped(call, profile).await
}

async fn swapped(call: &Call, mut profile: Profile) -> Result<Answer, Fault> {
    let sent = (field::text(call, "from"), field::text(call, "to"));
    let (Some(from), Some(to)) = sent else {
        return Err(Fault::invalid("from and to are required"));
    };
    let swap = match swap::find(&from, &to) {
        Ok(swap) => swap,
        Err(error) => return Ok(swaps::refusal(&error)),
    };
    let incompatible = |details: String| {
        let body = json!({ "error": "swap_incompatible", "details": details });
        Ok(Answer::Bare(StatusCode::BAD_REQUEST, body))
    };
    let tier = profile.tier(call)?;
    let scenario = profile.text("scenario");
    let before = profile.plan(call, true).await?;
    let leans = before.items.iter();
    let leans = leans
        .clone()
        .any(|(need, _)| need.resource.as_deref() == Some(&from));
    let mut own = profile.swaps()?;
    if !leans || own.get(&from) == Some(&to) {
        return incompatible(format!(
            "nothing would change: {scenario} does not lean on {from}"
        ));
    }
    if swap.advice(tier) == Advice::NotRecommended && !field::flag(call, "force")? {
        return incompatible(format!("{} is advised against for {tier}", swap.id()));
    }
    let old = swaps::scores(call, &scenario, &[tier], &own).await?;
    own.insert(from.clone(), to.clone());
    let new = swaps::scores(call, &scenario, &[tier], &own).await?;
    profile.value["swaps"] = json!(own);
    let after = profile.plan(call, true).await?;
    let keys = |plan: &Plan| -> Vec<String> {
        let items = plan.items.iter();
        items.map(|(need, _)| need.key.clone()).collect()
    };
    let (had, has) = (keys(&before), keys(&after));
    let added: Vec<&String> = has.iter().filter(|key| !had.contains(key)).collect();
    let of_from = before.items.iter();
    let removed: Vec<&String> = of_from
        .filter(|(need, _)| need.resource.as_deref() == Some(&from))
        .map(|(need, _)| &need.key)
        .collect();
    let overall = |scores: &[strongroom_deploy::fitness::Fitness]| {
        scores.first().map_or(0.0, |one| one.overall)
    };
    let (old, new) = (overall(&old), overall(&new));
    let mut answer = json!({
        "status": "applied",
        "profile_id": profile.id,
        "swap": { "from": from, "to": to },
        "applicable_tiers": swap.suggestion()["applicable_tiers"],
        "applied_at": call.now.to_string(),
        "fitness_after": { format!("tier_{}", tier.number()): {
            "overall": new, "previous": old, "delta": new - old,
        } },
        "secrets_removed": removed,
        "secrets_added": added,
    });
    let saved = profile
        .save(call, &format!("Added {from}->{to} swap"))
        .await?;
    answer["new_version"] = saved["version"].clone();
    Ok(bare(answer))
}
