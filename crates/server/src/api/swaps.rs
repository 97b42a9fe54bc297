//! Services that may take others' places, and how fit an application is for each tier.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_deploy::cascade;
use strongroom_deploy::cascade::Leaning;
use strongroom_deploy::fitness;
use strongroom_deploy::fitness::Fitness;
use strongroom_deploy::plan::Plan;
use strongroom_deploy::resource;
use strongroom_deploy::swap;
use strongroom_deploy::swap::Swap;
use strongroom_deploy::swap::SwapError;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::field;
use super::planning;
use super::planning::Asked;
use super::scenarios;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// A swap that there is none of, as documented: `{error, details}`.
pub(super) fn refusal(error: &SwapError) -> Answer {
    let status = match error {
        SwapError::NotFound { .. } => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({ "error": error.code(), "details": error.to_string() });
    Answer::Bare(status, body)
}

fn pair(call: &Call) -> Result<&'static Swap, SwapError> {
    swap::find(call.capture(0), call.capture(1))
}

/// The swaps for what an application leans on, and what each would do to it in `tier`.
pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let name = field::captured(call, 0)?;
    let scenario = scenarios::find(&call.core, &name).await?;
    let scenario = scenario.ok_or_else(|| unknown(&name))?;
    let tier = match field::text(call, "tier") {
        None => None,
        Some(text) => Some(field::tier(&text)?),
    };
    let services = scenario.resources();
    let fits = |swap: &&Swap| {
        let is_meant =
            tier.is_none_or(|tier| swap.tiers(swap::Advice::Recommended).contains(&tier));
        services.contains(&swap.from) && is_meant
    };
    let found = swap::all().iter().filter(fits);
    let suggestions: Vec<Value> = found.map(Swap::suggestion).collect();
    Ok(bare(
        json!({ "scenario": name, "suggestions": suggestions }),
    ))
}

fn unknown(name: &str) -> Fault {
    Fault::NotFoundWith(vec![format!("scenario {name} not found")])
}

pub(super) async fn analyze(call: &mut Call) -> Result<Answer, Fault> {
    match pair(call) {
        Ok(swap) => Ok(bare(swap.analysis())),
        Err(error) => Ok(refusal(&error)),
    }
}

pub(super) async fn cascade(call: &mut Call) -> Result<Answer, Fault> {
    let swap = match pair(call) {
        Ok(swap) => swap,
        Err(error) => return Ok(refusal(&error)),
    };
    let mut all: BTreeMap<String, Leaning> = BTreeMap::new();
    for (name, scenario) in scenarios::all(&call.core).await? {
        let one = all.entry(name).or_default();
        one.services.extend(scenario.resources());
        one.scenarios.extend(scenario.scenarios());
    }
    Ok(bare(cascade::cascade(&all, &swap.from, &swap.to)))
}

/// The score of a plan.
pub(super) fn score(call: &Call, plan: &Plan, services: &[String]) -> Fitness {
    fitness::fitness(plan, services, &[], call.now)
}

/// The scores for some tiers, with some swaps.
pub(super) async fn scores(
    call: &Call,
    scenario: &str,
    tiers: &[Tier],
    swaps: &BTreeMap<String, String>,
) -> Result<Vec<Fitness>, Fault> {
    let mut scores = Vec::with_capacity(tiers.len());
    for tier in tiers {
        let asked = Asked {
            swaps: swaps.clone(),
            ..Asked::of(scenario, *tier)
        };
        let made = planning::make(call, &asked).await?;
        scores.push(score(call, &made.plan, &made.scenario.resources()));
    }
    Ok(scores)
}

/// Tiers in a list: numbers or names.
pub(super) fn tiers_of(value: Option<&Value>) -> Result<Vec<Tier>, Fault> {
    let wrong = || Fault::invalid("tiers is no list of tiers");
    let items = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong()),
    };
    let tier = |item: &Value| match item {
        Value::Number(number) => field::tier(&number.to_string()),
        Value::String(text) => field::tier(text),
        _ => Err(wrong()),
    };
    items.iter().map(tier).collect()
}

/// Swaps as an object: from, to.
pub(super) fn swaps_of(value: Option<&Value>) -> Result<BTreeMap<String, String>, Fault> {
    let wrong = || Fault::invalid("swaps is no object of services");
    match value {
        None => Ok(BTreeMap::new()),
        // An older form of none.
        Some(Value::Array(items)) if items.is_empty() => Ok(BTreeMap::new()),
        Some(Value::Object(fields)) => {
            let pairs = fields.iter().map(|(from, to)| {
                let to = to.as_str().ok_or_else(wrong)?;
                Ok((from.clone(), to.to_owned()))
            });
            pairs.collect()
        }
        Some(_) => Err(wrong()),
    }
}

pub(super) async fn fitness(call: &mut Call) -> Result<Answer, Fault> {
    let required = || Fault::invalid("scenario field required");
    let scenario = field::text(call, "scenario").ok_or_else(required)?;
    field::check_name(&scenario)?;
    let mut tiers = tiers_of(call.fields.get("tiers"))?;
    if tiers.is_empty() {
        tiers = Tier::ALL.to_vec();
    }
    let swaps = swaps_of(call.fields.get("swaps"))?;
    for (from, to) in &swaps {
        if let Err(error) = swap::find(from, to) {
            return Ok(refusal(&error));
        }
    }
    let explain = field::flag(call, "explain")?;
    let scores = scores(call, &scenario, &tiers, &swaps).await?;
    Ok(bare(fitness::to_json(&scenario, &scores, &swaps, explain)))
}

/// What an application leans on, itself and through others, with sums and scores.
pub(super) async fn dependencies(call: &mut Call) -> Result<Answer, Fault> {
    let name = field::captured(call, 0)?;
    let all: BTreeMap<_, _> = scenarios::all(&call.core).await?.into_iter().collect();
    let own = all.get(&name).ok_or_else(|| unknown(&name))?;
    let (mut depth, mut is_circular) = (0, false);
    let mut reached = vec![name.clone()];
    let mut next = vec![name.clone()];
    while !next.is_empty() {
        depth += 1;
        let mut further = Vec::new();
        for one in next.iter().filter_map(|one| all.get(one)) {
            for other in one.scenarios() {
                is_circular |= other == name;
                if !reached.contains(&other) {
                    reached.push(other.clone());
                    further.push(other);
                }
            }
        }
        next = further;
    }
    let (mut ram, mut disk) = (0.0, 0.0);
    let resources = own.resources().into_iter().map(|resource| {
        let known = resource::find(&resource).map(|known| &known.footprint);
        ram += known.map_or(0.0, |known| known.ram_mb);
        disk += known.map_or(0.0, |known| known.disk_mb);
        let requirements =
            known.map(|known| json!({ "ram_mb": known.ram_mb, "disk_mb": known.disk_mb }));
        json!({
            "name": resource,
            "type": "resource",
            "required": true,
            "source": own.source(&resource),
            "requirements": requirements,
        })
    });
    let resources: Vec<Value> = resources.collect();
    let scenarios = own.scenarios().into_iter();
    let scenarios: Vec<Value> = scenarios
        .map(|name| json!({ "name": name, "type": "scenario", "required": true }))
        .collect();
    // Without registered secrets there is no score, and none is made up.
    let tiers = match scores(call, &name, &Tier::ALL, &BTreeMap::new()).await {
        Ok(scores) => {
            let pairs = scores.iter().map(|one| {
                let overall = json!({ "overall": one.overall });
                (one.tier.number().to_string(), overall)
            });
            Value::Object(pairs.collect::<Map<String, Value>>())
        }
        Err(Fault::NotFoundWith(_)) => Value::Null,
        Err(fault) => return Err(fault),
    };
    Ok(bare(json!({
        "scenario": name,
        "dependencies": { "resources": resources, "scenarios": scenarios },
        "circular_dependencies": is_circular,
        "depth": depth,
        "resource_requirements": { "ram_mb": ram, "disk_mb": disk },
        "tiers": tiers,
    })))
}
