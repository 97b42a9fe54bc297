//! What happens to each secret in a tier, and what stands in the way.

mod decide;
mod report;

use std::collections::BTreeMap;

use strongroom_core::time::Timestamp;

pub use decide::Blocked;
pub use decide::Decision;
pub use decide::Origin;
pub(crate) use decide::generator_problem;
pub(crate) use report::object;
pub(crate) use report::prompt_json;

use crate::need::Need;
use crate::need::Rule;
use crate::swap;
use crate::tier::Tier;

/// A deviation from what a secret's own declaration says, for one application and tier.
#[derive(Clone, Debug)]
pub struct Override {
    /// The application; `None` for every one.
    pub scenario: Option<String>,
    /// The tier.
    pub tier: Tier,
    /// The resource; `None` for whichever the secret belongs to.
    pub resource: Option<String>,
    /// The secret's key or name in a bundle.
    pub secret: String,
    /// What is to be done; what it leaves out is inherited.
    pub rule: Rule,
    /// When it stops being true.
    pub expires: Option<Timestamp>,
}

impl Override {
    /// Whether it is of a secret of an application in a tier.
    #[must_use]
    pub fn is_for(&self, need: &Need, scenario: &str, tier: Tier) -> bool {
        let is_named = self.secret == need.key || self.secret == need.id;
        let is_there = match &self.resource {
            Some(resource) => need.resource.as_ref() == Some(resource),
            None => true,
        };
        let is_scenario = match &self.scenario {
            Some(own) => own == scenario,
            None => true,
        };
        is_named && is_there && is_scenario && self.tier == tier
    }
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The application's name.
    pub scenario: &'a str,
    /// Where it is shipped to.
    pub tier: Tier,
    /// What it needs.
    pub needs: &'a [Need],
    /// Services that others take the place of: from, to.
    pub swaps: &'a BTreeMap<String, String>,
    /// Deviations.
    pub overrides: &'a [Override],
    /// Only secrets of these resources, where any is named.
    pub resources: &'a [String],
    /// Lists optional secrets, too, that nothing is said of.
    pub include_optional: bool,
    /// Now.
    pub now: Timestamp,
}

/// What happens to each secret.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The application's name.
    pub scenario: String,
    /// Where it is shipped to.
    pub tier: Tier,
    /// When the plan was made.
    pub made_at: Timestamp,
    /// Services that others take the place of: from, to.
    pub swaps: BTreeMap<String, String>,
    /// Each secret and what happens to it.
    pub items: Vec<(Need, Decision)>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// What stands in the way, by secret.
    pub fn blocked(&self) -> impl Iterator<Item = (&Need, &Blocked)> {
        let items = self.items.iter();
        items.filter_map(|(need, decision)| Some((need, decision.blocked.as_ref()?)))
    }

    /// True when nothing stands in the way.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.blocked().next().is_none()
    }
}

/// Makes a plan.
#[must_use]
pub fn plan(request: &Request<'_>) -> Plan {
    let mut warnings = Vec::new();
    let mut used = vec![false; request.overrides.len()];
    let added: Vec<Need> = request
        .swaps
        .iter()
        .filter_map(|(from, to)| swap::find(from, to).ok())
        .flat_map(swap::Swap::adds)
        .filter(|need| request.needs.iter().all(|other| other.key != need.key))
        .collect();
    let mut items = Vec::with_capacity(request.needs.len());
    for need in request.needs.iter().chain(&added) {
        let is_wanted = request.resources.is_empty()
            || need
                .resource
                .as_ref()
                .is_some_and(|resource| request.resources.contains(resource));
        if !is_wanted {
            continue;
        }
        let mut own = None;
        for (at, one) in request.overrides.iter().enumerate() {
            if !one.is_for(need, request.scenario, request.tier) {
                continue;
            }
            used[at] = true;
            match one.expires {
                Some(end) if end <= request.now => warnings.push(format!(
                    "the override of {} for {} ended at {end} and does not count",
                    need.key, request.tier
                )),
                // The application's own counts before everybody's.
                _ if own.is_some_and(|other: &Override| other.scenario.is_some()) => {}
                _ => own = Some(one),
            }
        }
        let decision = decide::decide(need, own, request);
        let is_silent = decision.strategy.is_none() && !need.is_required;
        if is_silent && !request.include_optional {
            continue;
        }
        items.push((need.clone(), decision));
    }
    let unused = request.overrides.iter().zip(&used);
    for (one, _) in unused.filter(|(one, used)| {
        !**used
            && one.tier == request.tier
            && one
                .scenario
                .as_deref()
                .is_none_or(|own| own == request.scenario)
    }) {
        warnings.push(format!(
            "the override of {} for {} is of no secret that is needed",
            one.secret, one.tier
        ));
    }
    Plan {
        scenario: request.scenario.to_owned(),
        tier: request.tier,
        made_at: request.now,
        swaps: request.swaps.clone(),
        items,
        warnings,
    }
}

#[cfg(test)]
mod tests;
