//! Which secrets an application needs, in the documented shape; and whether each is ready to be
//! shipped.

use serde_json::Value;
use serde_json::json;
use strongroom_core::format::Pattern;

use crate::bundle::Bundle;
use crate::json;
use crate::need::Belongs;
use crate::need::Need;
use crate::plan::Decision;
use crate::plan::Origin;
use crate::plan::Plan;
use crate::plan::generator_problem;
use crate::plan::object;
use crate::plan::prompt_json;
use crate::strategy::Strategy;

/// The class of a secret in this plan, in the words of bundles.
pub(crate) fn source_of(need: &Need, decision: &Decision) -> &'static str {
    if need.belongs == Some(Belongs::Infrastructure)
        && decision
            .strategy
            .is_none_or(|strategy| strategy == Strategy::Strip)
    {
        return "infrastructure";
    }
    match decision.strategy {
        Some(strategy) => strategy.bundle_class().unwrap_or("stripped"),
        None => "unspecified",
    }
}

/// Why a secret is not in the bundle, if it is not.
pub(crate) fn note_of(decision: &Decision, plan: &Plan, need: &Need) -> Option<String> {
    if decision.strategy != Some(Strategy::Strip) {
        return None;
    }
    Some(match swap_of(decision, plan, need) {
        Some((_, to)) => format!("Not needed with {to} swap applied"),
        None => decision.reason.clone(),
    })
}

fn swap_of<'p>(decision: &Decision, plan: &'p Plan, need: &Need) -> Option<(&'p str, &'p str)> {
    if decision.origin != Origin::Swap {
        return None;
    }
    let (from, to) = plan.swaps.get_key_value(need.resource.as_ref()?)?;
    Some((from, to))
}

/// The answer to "which secrets does it need?".
#[must_use]
pub fn identify(plan: &Plan, profile: &str) -> Value {
    let mut counts = [0_usize; 3];
    let mut bundleable = 0;
    let secrets: Vec<Value> = plan
        .items
        .iter()
        .map(|(need, decision)| {
            let source = source_of(need, decision);
            let (kind, at) = match (source, need.is_required) {
                ("infrastructure", _) => ("infrastructure", 2),
                (_, true) => ("required", 0),
                (_, false) => ("optional", 1),
            };
            counts[at] += 1;
            let is_shipped = decision.strategy.and_then(Strategy::bundle_class).is_some();
            bundleable += usize::from(is_shipped && decision.blocked.is_none());
            let asks = decision.strategy == Some(Strategy::Prompt);
            let draws = decision.strategy == Some(Strategy::Generate);
            object(vec![
                ("id", json!(need.id)),
                ("type", json!(kind)),
                ("source", json!(source)),
                (
                    "description",
                    json!(need.description.clone().unwrap_or_default()),
                ),
                ("format", json!(need.format)),
                (
                    "generator",
                    match draws {
                        true => json!(decision.generator),
                        false => Value::Null,
                    },
                ),
                ("template", json!(decision.template)),
                (
                    "prompt",
                    match asks {
                        true => prompt_json(&decision.prompt),
                        false => Value::Null,
                    },
                ),
                ("note", json!(note_of(decision, plan, need))),
            ])
        })
        .collect();
    json!({
        "version": 1,
        "profile_id": profile,
        "scenario": plan.scenario,
        "tier": plan.tier.number(),
        "secrets": secrets,
        "summary": {
            "total": plan.items.len(),
            "required": counts[0],
            "optional": counts[1],
            "infrastructure": counts[2],
            "bundleable": bundleable,
        },
    })
}

/// How one secret fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is ready.
    Pass,
    /// It is not.
    Fail,
    /// It is left out.
    Skip,
}

impl Status {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// What was found of one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The secret's name in a bundle.
    pub secret: String,
    /// How it fares.
    pub status: Status,
    /// What was found.
    pub details: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// The six checks over every secret: its source is configured, its generator and its prompt are
/// sound, no infrastructure secret is shipped, its format compiles, and what services name exists.
#[must_use]
pub fn validate(plan: &Plan, bundle: Option<&Bundle>) -> Vec<Check> {
    let mut checks = Vec::with_capacity(plan.items.len());
    for (need, decision) in &plan.items {
        let mut problems = problems(need, decision);
        let (status, details) = match decision.strategy {
            Some(Strategy::Strip) => (Status::Skip, skipped(need, decision, plan)),
            Some(Strategy::Generate) => (Status::Pass, "Generator configured correctly".to_owned()),
            Some(Strategy::Prompt) => (Status::Pass, "Prompt configuration valid".to_owned()),
            Some(Strategy::Fetch) => (Status::Pass, "Remote source configured".to_owned()),
            None => (
                Status::Skip,
                "Optional, and nothing is said of it".to_owned(),
            ),
        };
        if problems.is_empty() {
            checks.push(Check {
                secret: need.id.clone(),
                status,
                details,
                fix: None,
            });
        }
        checks.extend(problems.drain(..).map(|(details, fix)| Check {
            secret: need.id.clone(),
            status: Status::Fail,
            details,
            fix: Some(fix),
        }));
    }
    if let Some(bundle) = bundle {
        checks.extend(dangling(bundle));
    }
    checks
}

fn skipped(need: &Need, decision: &Decision, plan: &Plan) -> String {
    let what = match need.belongs {
        Some(Belongs::Infrastructure) => "Infrastructure secret",
        _ => "Secret",
    };
    match swap_of(decision, plan, need) {
        Some((_, to)) => format!("{what} excluded ({to} swap applied)"),
        None => format!("{what} excluded ({})", decision.reason),
    }
}

fn problems(need: &Need, decision: &Decision) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut add = |details: &str, fix: String| problems.push((details.to_owned(), fix));
    match &decision.blocked {
        Some(blocked) if blocked.code == "plan.infrastructure" => {
            let fix = match &blocked.swap {
                Some((from, to)) => format!("Apply {from}->{to} swap or mark as external"),
                None => "Remove from bundle or mark as external".to_owned(),
            };
            add(
                "Infrastructure secret cannot be bundled; apply swap or remove from bundle",
                fix,
            );
        }
        Some(blocked) if blocked.code == "plan.no_strategy" => {
            add(
                "Source is not configured",
                format!("Add a strategy: {}", blocked.fix),
            );
        }
        _ => {}
    }
    if decision.strategy == Some(Strategy::Generate) && decision.template.is_none() {
        // What the plan fills in is not configured.
        let written = need
            .rules
            .values()
            .find_map(|rule| rule.generator.as_ref())
            .or(need.generator.as_ref());
        match written {
            None => add(
                "Missing generator configuration",
                "Add generator configuration".to_owned(),
            ),
            Some(_) => {
                let problem = decision.generator.as_ref().and_then(generator_problem);
                if let Some(problem) = problem {
                    let details = format!("Generator is not valid: {problem}");
                    add(&details, "Correct type, length or charset".to_owned());
                }
            }
        }
    }
    if decision.strategy == Some(Strategy::Prompt) {
        let prompt = [Some(&need.prompt)]
            .into_iter()
            .chain(need.rules.values().map(|rule| rule.prompt.as_ref()))
            .flatten();
        let (mut has_label, mut has_description) = (false, false);
        for prompt in prompt.chain(decision.overridden.is_some().then_some(&decision.prompt)) {
            has_label |= prompt.label.is_some();
            has_description |= prompt.description.is_some();
        }
        let missing = match (has_label, has_description) {
            (true, true) => None,
            (false, true) => Some("label"),
            (true, false) => Some("description"),
            (false, false) => Some("label and description"),
        };
        if let Some(missing) = missing {
            add(
                &format!("Prompt has no {missing}"),
                format!("Add prompt {missing}"),
            );
        }
    }
    if decision.strategy == Some(Strategy::Fetch)
        && decision.template.is_none()
        && need.source.is_none()
        && need.rules.values().all(|rule| rule.source.is_none())
    {
        add(
            "Remote source is not configured",
            "Say where it is fetched".to_owned(),
        );
    }
    if let Some(error) = need
        .format
        .as_ref()
        .and_then(|format| Pattern::parse(format).err())
    {
        add(
            &format!("Format does not compile: {error}"),
            "Correct the regular expression".to_owned(),
        );
    }
    problems
}

/// What services name and nobody declares.
fn dangling(bundle: &Bundle) -> Vec<Check> {
    let secrets = json::items(bundle.raw(), "secrets");
    let declared: Vec<String> = secrets
        .iter()
        .filter_map(|secret| json::text(secret, "id"))
        .collect();
    let mut checks = Vec::new();
    for service in json::items(bundle.raw(), "services") {
        let name = json::text(service, "id").unwrap_or_default();
        for id in json::items(service, "secrets")
            .iter()
            .filter_map(Value::as_str)
        {
            if !declared.iter().any(|declared| declared == id) {
                checks.push(Check {
                    secret: id.to_owned(),
                    status: Status::Fail,
                    details: format!("Referenced by service {name} but not declared"),
                    fix: Some("Declare it under secrets, or drop the reference".to_owned()),
                });
            }
        }
    }
    checks
}

/// The checks in their documented shape.
#[must_use]
pub fn validation_json(checks: &[Check], profile: &str) -> Value {
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let failed = count(Status::Fail);
    let blockers: Vec<String> = checks
        .iter()
        .filter_map(|check| Some(format!("Fix {}: {}", check.secret, check.fix.as_ref()?)))
        .collect();
    let rows = checks.iter().map(|check| {
        json!({
            "secret": check.secret,
            "status": check.status.word(),
            "details": check.details,
        })
    });
    object(vec![
        ("version", json!(1)),
        ("profile_id", json!(profile)),
        ("valid", json!(failed == 0)),
        ("checks", Value::Array(rows.collect())),
        (
            "summary",
            json!({
                "passed": count(Status::Pass),
                "failed": failed,
                "skipped": count(Status::Skip),
            }),
        ),
        (
            "blockers",
            match blockers.is_empty() {
                true => Value::Null,
                false => json!(blockers),
            },
        ),
    ])
}

#[cfg(test)]
mod tests;
