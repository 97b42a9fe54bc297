//! A bundle manifest with the secrets of a plan: references are kept, what is left out is gone.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::bundle::Bundle;
use crate::json;
use crate::plan::Plan;
use crate::strategy::Strategy;

/// A manifest that was put together.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The manifest.
    pub manifest: Value,
    /// Secrets that are not in it any more.
    pub dropped: Vec<String>,
    /// Secrets that were not in it before.
    pub added: Vec<String>,
}

/// Puts a manifest together.
///
/// # Errors
/// Everything that is in the way: what the plan cannot ship, and new secrets of which nobody knows
/// which service gets them.
pub fn assemble(bundle: &Bundle, plan: &Plan) -> Result<Assembled, Vec<String>> {
    let mut problems: Vec<String> = plan
        .blocked()
        .map(|(_, blocked)| format!("{}; {}", blocked.message, blocked.fix))
        .collect();
    let old = json::items(bundle.raw(), "secrets");
    let id_of = |secret: &Value| json::text(secret, "id").unwrap_or_default();
    let planned = plan.bundle_secrets();
    let mut secrets = Vec::with_capacity(planned.len());
    let mut added = Vec::new();
    for secret in &planned {
        let id = id_of(secret);
        let written = old.iter().find(|other| id_of(other) == id);
        if written.is_none() {
            added.push(id);
        }
        secrets.push(merged(written, secret));
    }
    let is_kept = |id: &str| planned.iter().any(|secret| id_of(secret) == id);
    let dropped: Vec<String> = old.iter().map(id_of).filter(|id| !is_kept(id)).collect();
    let mut manifest = without_null(bundle.raw());
    let mut services = json::items(&manifest, "services").to_vec();
    for id in &added {
        let from = replaced_by(plan, id);
        let mut is_given = false;
        for (service, before) in services
            .iter_mut()
            .zip(json::items(bundle.raw(), "services"))
        {
            let uses = json::items(before, "secrets")
                .iter()
                .filter_map(Value::as_str);
            let mut uses = uses.filter(|used| dropped.iter().any(|gone| gone == used));
            if uses.any(|used| from.is_some() && service_of(plan, used) == from) {
                let mut list = json::items(service, "secrets").to_vec();
                list.push(json!(id));
                service["secrets"] = Value::Array(list);
                is_given = true;
            }
        }
        if !is_given {
            problems.push(format!(
                "no service gets the new secret {id}; declare it in the manifest and name it under \
                 'secrets' of a service"
            ));
        }
    }
    for service in &mut services {
        fill_in(service, plan);
        let list = json::items(service, "secrets").iter();
        let kept: Vec<Value> = list
            .filter(|id| {
                id.as_str()
                    .is_none_or(|id| !dropped.iter().any(|gone| gone == id))
            })
            .cloned()
            .collect();
        if service.get("secrets").is_some() {
            service["secrets"] = Value::Array(kept);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut swaps = json::items(&manifest, "swaps").to_vec();
    for (from, to) in &plan.swaps {
        let is_this = |swap: &Value| json::text(swap, "original").as_ref() == Some(from);
        if !swaps.iter().any(is_this) {
            swaps.push(json!({ "original": from, "replacement": to }));
        }
    }
    manifest["swaps"] = Value::Array(swaps);
    manifest["secrets"] = Value::Array(secrets);
    manifest["services"] = Value::Array(services);
    Ok(Assembled {
        manifest,
        dropped,
        added,
    })
}

/// What was written, with what the plan says in its place.
fn merged(written: Option<&Value>, planned: &Value) -> Value {
    let mut fields = match written.map(without_null) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    for (key, value) in planned.as_object().into_iter().flatten() {
        fields.insert(key.clone(), value.clone());
    }
    Value::Object(fields)
}

/// The service that the one of an added secret takes the place of.
fn replaced_by<'p>(plan: &'p Plan, id: &str) -> Option<&'p str> {
    let mut items = plan.items.iter();
    let (need, _) = items.find(|(need, _)| need.id == id)?;
    let to = need.resource.as_ref()?;
    let mut swaps = plan.swaps.iter();
    swaps
        .find(|(_, other)| *other == to)
        .map(|(from, _)| from.as_str())
}

fn service_of<'p>(plan: &'p Plan, id: &str) -> Option<&'p str> {
    let mut items = plan.items.iter();
    items.find(|(need, _)| need.id == id)?.0.resource.as_deref()
}

/// Texts that are filled in where the application runs become variables of the services that had
/// the secret.
fn fill_in(service: &mut Value, plan: &Plan) {
    for (need, decision) in &plan.items {
        let Some(template) = &decision.template else {
            continue;
        };
        let gets = json::items(service, "secrets")
            .iter()
            .any(|id| id.as_str() == Some(&need.id));
        if gets && decision.strategy == Some(Strategy::Generate) && decision.target.kind == "env" {
            let text = template.replace("{{USER_DATA}}", "${data}");
            if !service["env"].is_object() {
                service["env"] = json!({});
            }
            service["env"][&decision.target.name] = json!(text);
        }
    }
}

/// Without what stands for nothing.
fn without_null(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                there
                    .map(|(key, value)| (key.clone(), without_null(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(without_null).collect()),
        other => other.clone(),
    }
}

/// Every text in a manifest, whole and in the parts that a secret may be of it.
pub fn texts(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => {
            found(text);
            parts(text).for_each(found);
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found(key);
                texts(value, found);
            }
        }
        _ => {}
    }
}

/// The parts of a text that a secret may be: between spaces, and between what stands around values.
pub fn parts(text: &str) -> impl Iterator<Item = &str> {
    let is_edge = |c: char| c.is_whitespace() || "\"'`=:;,@/?&<>(){}[]|".contains(c);
    let parts = text.split(is_edge).chain(text.split_whitespace());
    parts.filter(move |part| *part != text)
}

/// A secret that is fetched by whoever has the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its id in the manifest.
    pub id: String,
    /// What keeps it, such as `vault`.
    pub kind: String,
    /// Its path there; of the usual mount of Vault's, below it.
    pub path: String,
}

/// The secrets of a manifest that are fetched where it runs: the values that a bundle opens.
#[must_use]
pub fn references(manifest: &Value) -> Vec<Reference> {
    let fetched = json::items(manifest, "secrets").iter().filter(|secret| {
        let class = json::text(secret, "class");
        class.and_then(|class| class.parse::<Strategy>().ok()) == Some(Strategy::Fetch)
    });
    let references = fetched.filter_map(|secret| {
        let source = secret.get("vault")?;
        let path = json::text(source, "path")?;
        let path = path.trim_matches('/');
        let path = match path.split_once('/') {
            Some(("secret", below)) => below.strip_prefix("data/").unwrap_or(below),
            _ => path,
        };
        Some(Reference {
            id: json::text(secret, "id")?,
            kind: json::text(source, "type")?,
            path: path.to_owned(),
        })
    });
    references.collect()
}
