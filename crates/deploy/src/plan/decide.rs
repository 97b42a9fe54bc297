//! The one rule for all tiers: what is written for the tier decides; else what the class says;
//! what nobody decided stands in the way. The server's own never leaves it for desktop and mobile.

use serde_json::Value;
use strongroom_core::generate::GeneratorSpec;

use super::Override;
use super::Request;
use crate::need::Belongs;
use crate::need::Need;
use crate::need::PromptCopy;
use crate::need::Rule;
use crate::need::Target;
use crate::strategy::Strategy;
use crate::swap;
use crate::tier::Tier;

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A swap takes its service out.
    Swap,
    /// An override for this application and tier.
    Override,
    /// What its declaration says of the tier.
    Tier,
    /// Its class.
    Class,
    /// Nobody.
    Nobody,
}

impl Origin {
    /// Its word in answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Override => "override",
            Self::Tier => "tier",
            Self::Class => "class",
            Self::Nobody => "none",
        }
    }
}

/// What happens to a secret.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What is done; `None` when nobody said.
    pub strategy: Option<Strategy>,
    /// Who decided.
    pub origin: Origin,
    /// Why, for a person.
    pub reason: String,
    /// A text that is filled in where the application runs.
    pub template: Option<String>,
    /// What is done where the strategy cannot be.
    pub fallback: Option<Strategy>,
    /// What a person is shown.
    pub prompt: PromptCopy,
    /// How a value is drawn.
    pub generator: Option<Value>,
    /// How the application receives it.
    pub target: Target,
    /// Which fields come from an override, and why it was made.
    pub overridden: Option<(Vec<&'static str>, Option<String>)>,
    /// What stands in the way.
    pub blocked: Option<Blocked>,
}

/// What stands in the way of shipping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// A stable code.
    pub code: &'static str,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub fix: String,
    /// The swap that would do away with it: from, to.
    pub swap: Option<(String, String)>,
}

pub(super) fn decide(need: &Need, own: Option<&Override>, request: &Request<'_>) -> Decision {
    let tier = request.tier;
    let merged = merged(need, own, tier);
    let mut decision = Decision {
        strategy: merged.rule.strategy,
        origin: Origin::Nobody,
        reason: String::new(),
        template: merged.rule.template.clone(),
        fallback: merged.rule.fallback,
        prompt: merged
            .rule
            .prompt
            .clone()
            .unwrap_or_else(|| need.prompt.clone()),
        generator: merged
            .rule
            .generator
            .clone()
            .or_else(|| need.generator.clone()),
        target: merged
            .rule
            .target
            .clone()
            .unwrap_or_else(|| need.target.clone()),
        overridden: merged.overridden,
        blocked: None,
    };
    // A text that is made up for this tier stays, whatever service it speaks of.
    let is_made_there = decision.template.is_some();
    if let Some((from, to)) = swapped(need, request)
        && !is_made_there
    {
        decision.strategy = Some(Strategy::Strip);
        decision.origin = Origin::Swap;
        decision.reason = format!("not needed: {to} takes the place of {from}");
        return decision;
    }
    if let Some(strategy) = merged.rule.strategy {
        decision.origin = merged.origin;
        decision.reason = merged.rule.reason.clone().unwrap_or_else(|| {
            let who = match merged.origin {
                Origin::Override => "an override",
                _ => "its declaration",
            };
            format!("{who} says {strategy} for {tier}")
        });
    } else if need.belongs == Some(Belongs::Infrastructure) {
        infrastructure(need, tier, &mut decision);
    } else if let Some(strategy) = need.by_class {
        decision.strategy = Some(strategy);
        decision.origin = Origin::Class;
        decision.reason = match strategy {
            Strategy::Generate => "its class: drawn once for each installation",
            Strategy::Prompt => "its class: a person is asked",
            Strategy::Fetch => "its class: fetched where it is kept",
            Strategy::Strip => "its class: left out",
        }
        .to_owned();
    } else {
        decision.reason = format!("nobody said what becomes of it in {tier}");
    }
    decision.blocked = obstacle(need, &decision, tier);
    if let Some(blocked) = &decision.blocked
        && blocked.code == INFRASTRUCTURE
    {
        decision.strategy = Some(Strategy::Strip);
        decision.template = None;
        decision.reason = "the server's own: it never leaves it".to_owned();
    }
    complete(need, &mut decision);
    decision
}

/// The secret's service and what takes its place.
fn swapped<'r>(need: &Need, request: &Request<'r>) -> Option<(&'r str, &'r str)> {
    let service = need.resource.as_ref()?;
    let (from, to) = request.swaps.get_key_value(service)?;
    Some((from.as_str(), to.as_str()))
}

struct Merged {
    rule: Rule,
    origin: Origin,
    overridden: Option<(Vec<&'static str>, Option<String>)>,
}

/// The override's fields, then those that the declaration has for the tier.
fn merged(need: &Need, own: Option<&Override>, tier: Tier) -> Merged {
    let mut rule = need.rules.get(&tier).cloned().unwrap_or_default();
    let Some(own) = own else {
        return Merged {
            rule,
            origin: Origin::Tier,
            overridden: None,
        };
    };
    let mut fields = Vec::new();
    let mut origin = Origin::Tier;
    if own.rule.strategy.is_some() {
        rule.strategy = own.rule.strategy;
        // A template belongs to the strategy it was written for.
        rule.template.clone_from(&own.rule.template);
        rule.reason.clone_from(&own.rule.reason);
        origin = Origin::Override;
        fields.push("handling_strategy");
    }
    if own.rule.fallback.is_some() {
        rule.fallback = own.rule.fallback;
        fields.push("fallback_strategy");
    }
    if let Some(prompt) = &own.rule.prompt {
        rule.prompt = Some(prompt.clone());
        fields.extend(prompt.label.as_ref().map(|_| "prompt_label"));
        fields.extend(prompt.description.as_ref().map(|_| "prompt_description"));
    }
    if own.rule.generator.is_some() {
        rule.generator.clone_from(&own.rule.generator);
        fields.push("generator_template");
    }
    if own.rule.target.is_some() {
        rule.target.clone_from(&own.rule.target);
        fields.push("bundle_hints");
    }
    Merged {
        rule,
        origin,
        overridden: Some((fields, own.rule.reason.clone())),
    }
}

/// What becomes of the server's own where nothing is written for the tier.
fn infrastructure(need: &Need, tier: Tier, decision: &mut Decision) {
    match tier {
        Tier::LocalDev => {
            decision.strategy = Some(Strategy::Strip);
            decision.origin = Origin::Class;
            decision.reason = "stays where it is: this tier uses the server's own".to_owned();
        }
        Tier::Desktop | Tier::Mobile => {
            decision.strategy = Some(Strategy::Strip);
            decision.origin = Origin::Class;
            decision.reason = "the server's own: it never leaves it".to_owned();
        }
        Tier::Cloud | Tier::Enterprise => {
            decision.reason = format!("nobody said who provides {} in {tier}", need.key);
        }
    }
}

const INFRASTRUCTURE: &str = "plan.infrastructure";

fn obstacle(need: &Need, decision: &Decision, tier: Tier) -> Option<Blocked> {
    let is_servers_own = need.belongs == Some(Belongs::Infrastructure) && tier.is_handed_out();
    if is_servers_own {
        let is_left_out_on_purpose =
            decision.strategy == Some(Strategy::Strip) && decision.origin != Origin::Class;
        // A text that is made up on the machine is nothing of the server's.
        let is_made_there =
            decision.strategy == Some(Strategy::Generate) && decision.template.is_some();
        if is_left_out_on_purpose || is_made_there {
            return None;
        }
        let is_only_absent = decision.strategy == Some(Strategy::Strip);
        if is_only_absent && !need.is_required {
            return None;
        }
        return Some(blocked_by_infrastructure(need, decision, tier));
    }
    if !need.is_required && decision.strategy.is_none() {
        return None;
    }
    match decision.strategy {
        None => Some(undecided(need, tier)),
        Some(Strategy::Generate) if decision.template.is_none() => {
            let generator = decision.generator.as_ref()?;
            let error = generator_problem(generator)?;
            Some(Blocked {
                code: "plan.generator",
                message: format!("{} cannot be generated: {error}", need.key),
                fix: "write a generator such as { type = \"random\", length = 32 }".to_owned(),
                swap: None,
            })
        }
        Some(_) => None,
    }
}

/// Nobody said what becomes of it.
fn undecided(need: &Need, tier: Tier) -> Blocked {
    let class = match need.belongs {
        None => "a class, or ",
        Some(_) => "",
    };
    let swap = swap_of(need, tier);
    let or_swap = match &swap {
        Some((from, to)) => format!("; or apply the swap {from} -> {to}"),
        None => String::new(),
    };
    Blocked {
        code: "plan.no_strategy",
        message: format!("{} has no strategy for {tier}", need.key),
        fix: format!(
            "say what becomes of it: {class}tiers.{tier} = {{ action = \"…\" }} with strip, \
             generate, prompt or fetch{or_swap}"
        ),
        swap,
    }
}

fn blocked_by_infrastructure(need: &Need, decision: &Decision, tier: Tier) -> Blocked {
    let swap = swap_of(need, tier);
    let message = match decision.strategy {
        Some(strategy) if strategy != Strategy::Strip => format!(
            "{} is infrastructure: '{strategy}' would ship what belongs to the server alone",
            need.key
        ),
        _ => format!(
            "{} is infrastructure: the application needs it, and it never leaves the server",
            need.key
        ),
    };
    let fix = match &swap {
        Some((from, to)) => format!("apply the swap {from} -> {to}"),
        None => format!(
            "make the application do without it in {tier}, then say action = \"strip\" for it"
        ),
    };
    Blocked {
        code: INFRASTRUCTURE,
        message,
        fix,
        swap,
    }
}

fn swap_of(need: &Need, tier: Tier) -> Option<(String, String)> {
    let swap = swap::best(need.resource.as_deref()?, tier)?;
    Some((swap.from.clone(), swap.to.clone()))
}

/// Fills in what the documented answers say where nothing is written.
fn complete(need: &Need, decision: &mut Decision) {
    match decision.strategy {
        Some(Strategy::Prompt) => {
            let prompt = &mut decision.prompt;
            prompt.label.get_or_insert_with(|| need.key.clone());
            if prompt.description.is_none() {
                let usual = "Enter the value for this bundled secret.";
                let own = need.description.as_deref().unwrap_or(usual);
                prompt.description = Some(own.to_owned());
            }
        }
        Some(Strategy::Generate) if decision.template.is_none() => {
            decision.generator.get_or_insert_with(usual_generator);
        }
        _ => {}
    }
}

/// What is wrong with a generator as written; long words of others are not repeated.
pub(crate) fn generator_problem(generator: &Value) -> Option<String> {
    let error = serde_json::from_value::<GeneratorSpec>(generator.clone()).err()?;
    let text = error.to_string();
    let parts = text.split('`').enumerate().map(|(at, part)| {
        let is_long = at % 2 == 1 && part.len() > 20;
        if is_long { "…" } else { part }
    });
    Some(parts.collect::<Vec<_>>().join("`"))
}

/// 32 letters and digits.
fn usual_generator() -> Value {
    serde_json::json!({ "type": "random", "length": 32, "charset": "alnum" })
}
