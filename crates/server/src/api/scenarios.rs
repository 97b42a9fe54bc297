//! Applications: what they lean on, and what is done otherwise for one of them.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_deploy::plan::Override;
use strongroom_deploy::registry as rules;
use strongroom_deploy::service;
use strongroom_deploy::service::Dependencies;
use strongroom_deploy::service::Report;
use strongroom_deploy::strategy::Strategy;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use super::planning;
use super::planning::Asked;
use super::registry;
use crate::core::Core;
use crate::vault::body::Wiped;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// What an application leans on, and who says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Scenario {
    declared: Dependencies,
    pub(super) report: Option<Report>,
    /// Resources that only the request names.
    asked: Vec<String>,
}

impl Scenario {
    fn of(document: &Value) -> Result<Self, Fault> {
        let wrong = |error: strongroom_deploy::json::ReadError| Fault::invalid(error.to_string());
        let declared = service::of_service(document).map_err(wrong)?;
        let report = match &document["report"] {
            Value::Null => None,
            report => Some(Report::of(report).map_err(wrong)?),
        };
        Ok(Self {
            declared,
            report,
            asked: Vec::new(),
        })
    }

    pub(super) fn of_request(resources: &[String]) -> Self {
        Self {
            asked: resources.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn dependencies(&self) -> Dependencies {
        match &self.report {
            Some(report) => report.added_to(self.declared.clone()),
            None => self.declared.clone(),
        }
    }

    /// Those that count, else those of the request.
    pub(super) fn resources(&self) -> Vec<String> {
        let names = self.dependencies().chosen();
        match names.is_empty() {
            true => self.asked.clone(),
            false => names,
        }
    }

    pub(super) fn scenarios(&self) -> BTreeSet<String> {
        self.dependencies().scenarios
    }

    /// Who names a resource.
    pub(super) fn source(&self, resource: &str) -> &'static str {
        self.dependencies().source(resource)
    }
}

/// What is known of an application.
pub(super) async fn find(core: &Core, name: &str) -> Result<Option<Scenario>, Fault> {
    let kept = documents::load(core, Of::Scenarios, &[name]).await?;
    kept.map(|kept| Scenario::of(&kept.value)).transpose()
}

/// All applications that are known.
pub(super) async fn all(core: &Core) -> Result<Vec<(String, Scenario)>, Fault> {
    let found = documents::all(core, Of::Scenarios).await?.into_iter();
    let scenarios = found.map(|(name, document)| {
        let name = name.into_iter().next().unwrap_or_default();
        Ok((name, Scenario::of(&document)?))
    });
    scenarios.collect()
}

fn scenario_json(name: &str, scenario: &Scenario) -> Value {
    let resources = scenario.resources();
    let sources = resources.iter();
    let sources: Map<String, Value> = sources
        .map(|resource| (resource.clone(), scenario.source(resource).into()))
        .collect();
    json!({
        "name": name,
        "scenario": name,
        "resources": resources,
        "sources": sources,
        "scenarios": scenario.scenarios(),
    })
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let all = all(&call.core).await?;
    let rows = all.iter().map(|(name, one)| scenario_json(name, one));
    let rows: Vec<Value> = rows.collect();
    Ok(bare(json!({ "count": rows.len(), "scenarios": rows })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = field::captured(call, 0)?;
    let found = find(&call.core, &name).await?;
    let found = found.ok_or_else(|| unknown(&name))?;
    Ok(bare(scenario_json(&name, &found)))
}

fn unknown(name: &str) -> Fault {
    Fault::NotFoundWith(vec![format!("scenario {name} not found")])
}

/// Takes `{resources, scenarios}`, or `{service, report}`: a service.json and an analyzer's report.
pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = field::captured(call, 0)?;
    let mut dependencies = Map::new();
    if let Some(Wiped(document)) = &call.fields.take("service") {
        let wrong = |error: strongroom_deploy::json::ReadError| Fault::invalid(error.to_string());
        let read = service::of_service(document).map_err(wrong)?;
        let resources: Vec<&String> = read.resources.keys().collect();
        dependencies.insert("resources".into(), json!(resources));
        dependencies.insert("scenarios".into(), json!(read.scenarios));
    } else {
        for kind in ["resources", "scenarios"] {
            dependencies.insert(kind.into(), json!(field::names(call, kind)?));
        }
    }
    let report = call.fields.take("report");
    let report = report.as_ref().map_or(&Value::Null, |report| &report.0);
    let document = json!({ "dependencies": dependencies, "report": report });
    let scenario = Scenario::of(&document)?;
    for resource in scenario.resources() {
        field::check_name(&resource)?;
    }
    let place = [name.as_str()];
    documents::save(
        &call.core,
        Of::Scenarios,
        &place,
        &document,
        Precondition::Any,
    )
    .await?;
    Ok(bare(scenario_json(&name, &scenario)))
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let name = field::captured(call, 0)?;
    find(&call.core, &name)
        .await?
        .ok_or_else(|| unknown(&name))?;
    let gone = documents::remove(&call.core, Of::Scenarios, &[name.as_str()]);
    documents::commit(&call.core, vec![gone]).await?;
    Ok(bare(
        json!({ "success": true, "message": "scenario deleted" }),
    ))
}

/// An override: its place, as it is kept, and as it is reckoned with.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) name: [String; 4],
    pub(super) raw: Value,
    pub(super) parsed: Override,
}

impl Kept {
    fn of(name: &[String], raw: Value) -> Result<Self, Fault> {
        let [scenario, tier, resource, secret] = name else {
            return Err(Fault::Internal("an override has no place".into()));
        };
        let rule = rules::rule(&raw).map_err(|error| Fault::Internal(error.to_string()))?;
        let parsed = Override {
            scenario: Some(scenario.clone()),
            tier: field::tier(tier)?,
            resource: Some(resource.clone()),
            secret: secret.clone(),
            rule,
            expires: None,
        };
        let name = [scenario, tier, resource, secret].map(Clone::clone);
        Ok(Self { name, raw, parsed })
    }

    /// The row in its documented shape.
    pub(super) fn to_json(&self) -> Value {
        let [scenario, tier, resource, secret] = &self.name;
        let mut row = Map::new();
        for (key, value) in [
            ("id", self.name.join("/")),
            ("scenario_name", scenario.clone()),
            ("tier", tier.clone()),
            ("resource_name", resource.clone()),
            ("secret_key", secret.clone()),
        ] {
            row.insert(key.into(), value.into());
        }
        row.extend(
            self.raw
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        Value::Object(row)
    }
}

/// Overrides, of one application or all, sorted by their places.
pub(super) async fn overrides_of(core: &Core, scenario: Option<&str>) -> Result<Vec<Kept>, Fault> {
    let all = documents::all(core, Of::Overrides).await?.into_iter();
    let of = all.filter(|(name, _)| {
        scenario.is_none_or(|scenario| name.first().map(String::as_str) == Some(scenario))
    });
    of.map(|(name, raw)| Kept::of(&name, raw)).collect()
}

pub(super) async fn overrides(call: &mut Call) -> Result<Answer, Fault> {
    let scenario = field::captured(call, 0)?;
    let tier = match call.captures.len() {
        1 => None,
        _ => Some(field::captured_tier(call, 1)?),
    };
    let found = overrides_of(&call.core, Some(&scenario)).await?;
    let of = found
        .iter()
        .filter(|one| tier.is_none_or(|tier| tier == one.parsed.tier));
    let rows: Vec<Value> = of.map(Kept::to_json).collect();
    let mut answer = json!({ "scenario": scenario, "count": rows.len(), "overrides": rows });
    if let Some(tier) = tier {
        answer["tier"] = tier.numbered().into();
    }
    Ok(bare(answer))
}

/// The place of an override that the path names, spelled as its secret is.
async fn place(call: &Call) -> Result<[String; 4], Fault> {
    let scenario = field::captured(call, 0)?;
    let tier = field::captured_tier(call, 1)?;
    let (resource, secret) = (field::captured(call, 2)?, field::captured(call, 3)?);
    let rows = registry::rows(&call.core, &resource)
        .await?
        .unwrap_or_default();
    let known = rows
        .iter()
        .find(|row| row.need.key.eq_ignore_ascii_case(&secret) || row.need.id == secret);
    let Some(row) = known else {
        let text = format!("secret {resource}/{secret} not found");
        return Err(Fault::NotFoundWith(vec![text]));
    };
    Ok([
        scenario,
        tier.numbered().to_owned(),
        resource,
        row.need.key.clone(),
    ])
}

fn parts(name: &[String; 4]) -> [&str; 4] {
    [&name[0], &name[1], &name[2], &name[3]]
}

async fn found(call: &Call) -> Result<Kept, Fault> {
    let name = place(call).await?;
    let kept = documents::load(&call.core, Of::Overrides, &parts(&name)).await?;
    let unknown = || Fault::NotFoundWith(vec!["override not found".into()]);
    Kept::of(&name, kept.ok_or_else(unknown)?.value)
}

pub(super) async fn read_override(call: &mut Call) -> Result<Answer, Fault> {
    Ok(bare(found(call).await?.to_json()))
}

pub(super) async fn write_override(call: &mut Call) -> Result<Answer, Fault> {
    let name = place(call).await?;
    let scenario = find(&call.core, &name[0]).await?;
    let leans = scenario.is_some_and(|scenario| scenario.resources().contains(&name[2]));
    if !leans {
        return Err(Fault::invalid(format!(
            "resource {} is not a dependency of scenario {}",
            name[2], name[0]
        )));
    }
    let mut raw = registry::strategy_of(call)?;
    if raw.is_empty() {
        return Err(Fault::invalid("no updates provided"));
    }
    raw.insert("updated_at".into(), call.now.to_string().into());
    let kept = Kept::of(&name, Value::Object(raw))?;
    let value = &kept.raw;
    documents::save(
        &call.core,
        Of::Overrides,
        &parts(&name),
        value,
        Precondition::Any,
    )
    .await?;
    Ok(Answer::Bare(StatusCode::CREATED, kept.to_json()))
}

pub(super) async fn delete_override(call: &mut Call) -> Result<Answer, Fault> {
    let kept = found(call).await?;
    let gone = documents::remove(&call.core, Of::Overrides, &parts(&kept.name));
    documents::commit(&call.core, vec![gone]).await?;
    Ok(bare(
        json!({ "success": true, "message": "override deleted" }),
    ))
}

pub(super) async fn effective(call: &mut Call) -> Result<Answer, Fault> {
    let scenario = field::captured(call, 0)?;
    let tier = field::captured_tier(call, 1)?;
    let plan = planning::make(call, &Asked::of(&scenario, tier))
        .await?
        .plan;
    let rows = plan.items.iter().map(|(need, decision)| {
        let (fields, reason) = decision.overridden.clone().unwrap_or_default();
        json!({
            "resource_name": need.resource,
            "secret_key": need.key,
            "tier": tier.numbered(),
            "handling_strategy": decision.strategy.map_or("unspecified", Strategy::wire),
            "fallback_strategy": decision.fallback.map(Strategy::wire),
            "requires_user_input": decision.strategy == Some(Strategy::Prompt),
            "prompt_label": decision.prompt.label,
            "prompt_description": decision.prompt.description,
            "is_overridden": !fields.is_empty(),
            "overridden_fields": fields,
            "override_reason": reason,
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(bare(json!({
        "scenario": scenario,
        "tier": tier.numbered(),
        "count": rows.len(),
        "strategies": rows,
    })))
}

/// Writes overrides to other places, over what is there only if that was asked for; how many.
async fn copy(call: &Call, copies: Vec<([String; 4], Value)>) -> Result<usize, Fault> {
    let overwrite = field::flag(call, "overwrite")?;
    let mut batch = Vec::with_capacity(copies.len());
    for (name, raw) in copies {
        let there = documents::load(&call.core, Of::Overrides, &parts(&name)).await?;
        let precondition = match there {
            Some(_) if !overwrite => continue,
            Some(kept) => kept.unchanged,
            None => Precondition::Absent,
        };
        batch.push(documents::put(
            &call.core,
            Of::Overrides,
            &parts(&name),
            &raw,
            precondition,
        )?);
    }
    let copied = batch.len();
    documents::commit(&call.core, batch).await?;
    Ok(copied)
}

pub(super) async fn copy_from_tier(call: &mut Call) -> Result<Answer, Fault> {
    let scenario = field::captured(call, 0)?;
    let sent = (
        field::text(call, "source_tier"),
        field::text(call, "target_tier"),
    );
    let (Some(source), Some(target)) = sent else {
        return Err(Fault::invalid("source_tier and target_tier are required"));
    };
    let (source, target) = (field::tier(&source)?, field::tier(&target)?);
    if source == target {
        return Err(Fault::invalid(
            "source_tier and target_tier must be different",
        ));
    }
    let known = overrides_of(&call.core, Some(&scenario)).await?.into_iter();
    let of = known.filter(|one| one.parsed.tier == source);
    let copies = of.map(|one| {
        let [scenario, _, resource, secret] = one.name;
        let name = [scenario, target.numbered().to_owned(), resource, secret];
        (name, one.raw)
    });
    let copied = copy(call, copies.collect()).await?;
    Ok(bare(json!({
        "success": true,
        "copied": copied,
        "source_tier": source.numbered(),
        "target_tier": target.numbered(),
        "overwrite": field::flag(call, "overwrite")?,
    })))
}

pub(super) async fn copy_from_scenario(call: &mut Call) -> Result<Answer, Fault> {
    let target = field::captured(call, 0)?;
    let source = field::text(call, "source_scenario");
    let source = source.ok_or_else(|| Fault::invalid("source_scenario is required"))?;
    if source == target {
        return Err(Fault::invalid(
            "source and target scenario must be different",
        ));
    }
    let tier: Option<Tier> = match field::text(call, "tier") {
        None => None,
        Some(text) => Some(field::tier(&text)?),
    };
    let leans = find(&call.core, &target)
        .await?
        .unwrap_or_default()
        .resources();
    let known = overrides_of(&call.core, Some(&source)).await?.into_iter();
    // What the other application does not lean on would be no override of it.
    let of = known.filter(|one| {
        tier.is_none_or(|tier| tier == one.parsed.tier) && leans.contains(&one.name[2])
    });
    let copies = of.map(|one| {
        let [_, tier, resource, secret] = one.name;
        ([target.clone(), tier, resource, secret], one.raw)
    });
    let copied = copy(call, copies.collect()).await?;
    Ok(bare(json!({
        "success": true,
        "copied": copied,
        "source_scenario": source,
        "target_scenario": target,
        "tier": tier.map(Tier::numbered),
        "overwrite": field::flag(call, "overwrite")?,
    })))
}

/// Overrides without effect, and why they have none.
async fn orphaned(core: &Core) -> Result<Vec<(Kept, String)>, Fault> {
    let mut orphans = Vec::new();
    for one in overrides_of(core, None).await? {
        let [scenario, _, resource, secret] = &one.name;
        let reason = match find(core, scenario).await? {
            None => Some(format!("scenario {scenario} is not known")),
            Some(found) if !found.resources().contains(resource) => Some(format!(
                "resource {resource} is not a dependency of scenario {scenario}"
            )),
            Some(_) => {
                let rows = registry::rows(core, resource).await?.unwrap_or_default();
                let is_needed = rows.iter().any(|row| row.need.key == *secret);
                (!is_needed).then(|| format!("resource {resource} has no secret {secret}"))
            }
        };
        orphans.extend(reason.map(|reason| (one, reason)));
    }
    Ok(orphans)
}

fn orphans_json(orphans: &[(Kept, String)]) -> Vec<Value> {
    let rows = orphans.iter();
    rows.map(|(one, reason)| json!({ "override": one.to_json(), "reason": reason }))
        .collect()
}

pub(super) async fn orphans(call: &mut Call) -> Result<Answer, Fault> {
    let rows = orphans_json(&orphaned(&call.core).await?);
    Ok(bare(json!({ "count": rows.len(), "orphans": rows })))
}

pub(super) async fn cleanup(call: &mut Call) -> Result<Answer, Fault> {
    let is_dry_run = field::flag(call, "dry_run")?;
    let orphans = orphaned(&call.core).await?;
    if !is_dry_run {
        let gone = orphans.iter();
        let gone =
            gone.map(|(one, _)| documents::remove(&call.core, Of::Overrides, &parts(&one.name)));
        documents::commit(&call.core, gone.collect()).await?;
    }
    let ids: Vec<String> = orphans.iter().map(|(one, _)| one.name.join("/")).collect();
    Ok(bare(json!({
        "success": true,
        "dry_run": is_dry_run,
        "deleted": if is_dry_run { 0 } else { orphans.len() },
        "would_delete": orphans.len(),
        "orphan_ids": ids,
        "orphans": orphans_json(&orphans),
    })))
}
