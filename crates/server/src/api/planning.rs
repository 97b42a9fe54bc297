//! What happens to an application's secrets where it is shipped to.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;
use strongroom_deploy::need::Need;
use strongroom_deploy::plan;
use strongroom_deploy::plan::Plan;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::field;
use super::registry;
use super::scenarios;
use super::scenarios::Scenario;
use crate::core::Core;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Where an application is shipped to, where nobody says.
const TIER: &str = "tier-2-desktop";

/// What a plan is asked for.
pub(super) struct Asked {
    pub(super) scenario: String,
    pub(super) tier: Tier,
    pub(super) resources: Vec<String>,
    pub(super) include_optional: bool,
    pub(super) swaps: BTreeMap<String, String>,
}

impl Asked {
    /// Everything that an application needs in a tier.
    pub(super) fn of(scenario: &str, tier: Tier) -> Self {
        Self {
            scenario: scenario.to_owned(),
            tier,
            resources: Vec::new(),
            include_optional: true,
            swaps: BTreeMap::new(),
        }
    }
}

/// A plan, and what it was made from.
pub(super) struct Made {
    pub(super) plan: Plan,
    pub(super) scenario: Scenario,
}

/// Makes a plan. Without a registered secret there is none: nothing is invented.
pub(super) async fn make(call: &Call, asked: &Asked) -> Result<Made, Fault> {
    let core = &call.core;
    let mut scenario = scenarios::find(core, &asked.scenario)
        .await?
        .unwrap_or_default();
    if scenario.resources().is_empty() {
        scenario = Scenario::of_request(&asked.resources);
    }
    // A list in the request chooses among those that are known; one of others says nothing.
    let known = scenario.resources();
    let wanted: Vec<String> = known
        .iter()
        .filter(|name| asked.resources.contains(name))
        .cloned()
        .collect();
    let chosen = if wanted.is_empty() { known } else { wanted };
    let needs = needs(core, &chosen).await?;
    if needs.is_empty() {
        let text = match chosen.is_empty() {
            true => format!(
                "no resources are known of scenario {}: POST /api/v1/scenarios/{} names them",
                asked.scenario, asked.scenario
            ),
            false => format!(
                "no secrets are registered for {}: POST /api/v1/resources/NAME does",
                chosen.join(", ")
            ),
        };
        return Err(Fault::NotFoundWith(vec![text]));
    }
    let overrides = scenarios::overrides_of(core, Some(&asked.scenario)).await?;
    let overrides: Vec<plan::Override> = overrides.into_iter().map(|one| one.parsed).collect();
    let plan = plan::plan(&plan::Request {
        scenario: &asked.scenario,
        tier: asked.tier,
        needs: &needs,
        swaps: &asked.swaps,
        overrides: &overrides,
        resources: &[],
        include_optional: asked.include_optional,
        now: call.now,
    });
    Ok(Made { plan, scenario })
}

/// The secrets of some resources.
pub(super) async fn needs(core: &Core, resources: &[String]) -> Result<Vec<Need>, Fault> {
    let mut needs = Vec::new();
    for resource in resources {
        let rows = registry::rows(core, resource).await?.unwrap_or_default();
        needs.extend(rows.into_iter().map(|row| row.need));
    }
    Ok(needs)
}

impl Made {
    /// The documented answer.
    pub(super) fn to_json(&self) -> Value {
        let mut answer = self.plan.to_json();
        self.scenario.dependencies().mark(&mut answer);
        answer["resources"] = self.scenario.resources().into();
        if let Some(report) = &self.scenario.report {
            answer["dependencies"] = report.dependencies.clone().into();
            answer["tier_aggregates"] = report.aggregates.clone();
            answer["analyzer_generated_at"] = report.generated_at.clone().into();
        }
        answer
    }
}

async fn answered(call: &Call, asked: &Asked) -> Result<Answer, Fault> {
    Ok(bare(make(call, asked).await?.to_json()))
}

/// What stands in the body of both requests.
fn asked(call: &Call) -> Result<Asked, Fault> {
    let sent = (field::text(call, "scenario"), field::text(call, "tier"));
    let (Some(scenario), Some(tier)) = sent else {
        return Err(Fault::invalid(
            "Failed to generate manifest: scenario and tier are required",
        ));
    };
    field::check_name(&scenario)?;
    Ok(Asked {
        tier: field::tier(&tier)?,
        resources: field::names(call, "resources")?,
        include_optional: field::flag(call, "include_optional")?,
        swaps: BTreeMap::new(),
        scenario,
    })
}

pub(super) async fn plan(call: &mut Call) -> Result<Answer, Fault> {
    answered(call, &asked(call)?).await
}

pub(super) async fn plan_of(call: &mut Call) -> Result<Answer, Fault> {
    let tier = field::text(call, "tier");
    let asked = Asked {
        scenario: field::captured(call, 0)?,
        tier: field::tier(tier.as_deref().unwrap_or(TIER))?,
        resources: field::names(call, "resources")?,
        include_optional: field::flag(call, "include_optional")?,
        swaps: BTreeMap::new(),
    };
    answered(call, &asked).await
}

pub(super) async fn readiness(call: &mut Call) -> Result<Answer, Fault> {
    let made = make(call, &asked(call)?).await?;
    let whole = made.to_json();
    Ok(bare(json!({
        "scenario": whole["scenario"],
        "tier": whole["tier"],
        "resources": whole["resources"],
        "summary": whole["summary"],
        "generated_at": whole["generated_at"],
        "ok": whole["ok"],
    })))
}
