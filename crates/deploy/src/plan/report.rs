//! The documented answer to "what is to be done": names and rules, never a value.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Decision;
use super::Plan;
use crate::need::Belongs;
use crate::need::Need;
use crate::need::PromptCopy;
use crate::strategy::Strategy;
use crate::tier::Tier;

impl Plan {
    /// The answer in its documented shape, with what we add to it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let secrets: Vec<Value> = self.items.iter().map(secret).collect();
        let mut resources: Vec<&str> = Vec::new();
        for (need, _) in &self.items {
            let resource = need.resource.as_deref().unwrap_or(&self.scenario);
            if !resources.contains(&resource) {
                resources.push(resource);
            }
        }
        json!({
            "version": 1,
            "ok": self.is_ok(),
            "scenario": self.scenario,
            "tier": self.tier.numbered(),
            "tier_name": self.tier.name(),
            "generated_at": self.made_at.to_string(),
            "resources": resources,
            "swaps_applied": self.swaps,
            "secrets": secrets,
            "bundle_secrets": self.bundle_secrets(),
            "summary": self.summary(),
            "warnings": self.warnings,
        })
    }

    /// The secrets as a bundle has them.
    #[must_use]
    pub fn bundle_secrets(&self) -> Vec<Value> {
        self.items.iter().filter_map(bundle_secret).collect()
    }

    /// The numbers.
    #[must_use]
    pub fn summary(&self) -> Value {
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        let mut strategies: BTreeMap<&str, usize> = BTreeMap::new();
        let mut scopes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        let mut blocking = Vec::new();
        let mut details = Vec::new();
        let mut with_strategy = 0;
        for (need, decision) in &self.items {
            let class = need.belongs.map_or("unclassified", Belongs::word);
            *classes.entry(class).or_default() += 1;
            *strategies.entry(wire(decision.strategy)).or_default() += 1;
            let scope = scopes.entry(class).or_default();
            scope.1 += 1;
            scope.0 += usize::from(decision.blocked.is_none());
            with_strategy += usize::from(decision.strategy.is_some());
            if let Some(blocked) = &decision.blocked {
                blocking.push(need.full_name());
                let resource = need.resource.as_deref().unwrap_or(&self.scenario);
                details.push(json!({
                    "secret": need.key,
                    "resource": resource,
                    "source": "manifest",
                    "dependency_path": [self.scenario, resource],
                    "code": blocked.code,
                    "message": blocked.message,
                    "fix": blocked.fix,
                    "swap": swap(blocked.swap.as_ref()),
                }));
            }
        }
        let scopes: Map<String, Value> = scopes
            .into_iter()
            .map(|(class, (ready, total))| (class.to_owned(), json!(format!("{ready}/{total}"))))
            .collect();
        json!({
            "total_secrets": self.items.len(),
            "strategized_secrets": with_strategy,
            "requires_action": blocking.len(),
            "blocking_secrets": blocking,
            "blocking_secret_details": details,
            "classification_weights": classes,
            "strategy_breakdown": strategies,
            "scope_readiness": scopes,
        })
    }
}

fn wire(strategy: Option<Strategy>) -> &'static str {
    strategy.map_or("unspecified", Strategy::wire)
}

fn swap(swap: Option<&(String, String)>) -> Value {
    swap.map_or(Value::Null, |(from, to)| json!({ "from": from, "to": to }))
}

/// A map without what is not there.
pub(crate) fn object(pairs: Vec<(&str, Value)>) -> Value {
    let there = pairs.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(there.map(|(key, value)| (key.to_owned(), value)).collect())
}

pub(crate) fn prompt_json(prompt: &PromptCopy) -> Value {
    if prompt.is_empty() {
        return Value::Null;
    }
    object(vec![
        ("label", json!(prompt.label)),
        ("description", json!(prompt.description)),
        ("link", json!(prompt.link)),
        ("hint", json!(prompt.hint)),
    ])
}

fn secret((need, decision): &(Need, Decision)) -> Value {
    let asks = decision.strategy == Some(Strategy::Prompt);
    let draws = decision.strategy == Some(Strategy::Generate);
    let by_tier: Map<String, Value> = Tier::ALL
        .into_iter()
        .filter_map(|tier| {
            let strategy = need.rules.get(&tier)?.strategy?;
            Some((tier.numbered().to_owned(), json!(strategy.wire())))
        })
        .collect();
    let prompt = match asks {
        true => prompt_json(&decision.prompt),
        false => Value::Null,
    };
    let generator = match draws {
        true => json!(decision.generator),
        false => Value::Null,
    };
    let blocked = decision.blocked.as_ref().map_or(Value::Null, |blocked| {
        json!({
            "code": blocked.code,
            "message": blocked.message,
            "fix": blocked.fix,
            "swap": swap(blocked.swap.as_ref()),
        })
    });
    let overridden = decision.overridden.as_ref();
    object(vec![
        ("id", json!(need.id)),
        ("resource_name", json!(need.resource)),
        ("secret_key", json!(need.key)),
        ("secret_type", json!(need.kind)),
        ("required", json!(need.is_required)),
        ("classification", json!(need.belongs.map(Belongs::word))),
        ("description", json!(need.description)),
        ("validation_pattern", json!(need.format)),
        ("owner_team", json!(need.owner.0)),
        ("owner_contact", json!(need.owner.1)),
        ("action", json!(decision.strategy.map(Strategy::word))),
        ("handling_strategy", json!(wire(decision.strategy))),
        ("strategy_from", json!(decision.origin.word())),
        ("reason", json!(decision.reason)),
        ("requires_user_input", json!(asks)),
        ("prompt", prompt),
        ("generator_template", generator),
        ("template", json!(decision.template)),
        (
            "tier_strategies",
            match by_tier.is_empty() {
                true => Value::Null,
                false => Value::Object(by_tier),
            },
        ),
        (
            "fallback_strategy",
            json!(decision.fallback.map(Strategy::wire)),
        ),
        ("is_overridden", json!(overridden.map(|_| true))),
        (
            "overridden_fields",
            json!(overridden.map(|(fields, _)| fields)),
        ),
        (
            "override_reason",
            json!(overridden.and_then(|(_, reason)| reason.as_ref())),
        ),
        ("blocked", blocked),
    ])
}

fn bundle_secret((need, decision): &(Need, Decision)) -> Option<Value> {
    let strategy = decision.strategy?;
    let class = strategy.bundle_class()?;
    // A text that is filled in where the application runs is a setting of its services.
    if decision.blocked.is_some() || decision.template.is_some() {
        return None;
    }
    let prompt = match strategy {
        Strategy::Prompt => prompt_json(&decision.prompt),
        _ => Value::Null,
    };
    let generator = match strategy {
        Strategy::Generate => json!(decision.generator),
        _ => Value::Null,
    };
    let source = match strategy {
        Strategy::Fetch => json!(need.source),
        _ => Value::Null,
    };
    Some(object(vec![
        ("id", json!(need.id)),
        ("class", json!(class)),
        ("description", json!(need.description)),
        ("format", json!(need.format)),
        ("required", json!(need.is_required)),
        ("prompt", prompt),
        ("generator", generator),
        ("vault", source),
        (
            "target",
            json!({ "type": decision.target.kind, "name": decision.target.name }),
        ),
    ]))
}
