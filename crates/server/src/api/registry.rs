//! Resources and the secrets that they need: names and rules, never a value.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_deploy::need::Belongs;
use strongroom_deploy::need::Need;
use strongroom_deploy::registry;
use strongroom_deploy::strategy::Strategy;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use super::security;
use super::values;
use crate::core::Core;
use crate::vault::body::Wiped;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Secrets of one resource.
const ROWS_MAX: usize = 1000;
/// What a row keeps of what was sent; a value is not among it.
const KEPT: [&str; 14] = [
    "secret_key",
    "secret_type",
    "required",
    "classification",
    "description",
    "validation_pattern",
    "documentation_url",
    "owner_team",
    "owner_contact",
    "rotation_period_days",
    "prompt",
    "generator",
    "target",
    "strategies",
];
/// What a strategy is made of.
pub(super) const STRATEGY: [&str; 8] = [
    "handling_strategy",
    "fallback_strategy",
    "requires_user_input",
    "prompt_label",
    "prompt_description",
    "generator_template",
    "bundle_hints",
    "override_reason",
];

/// A secret of a resource: as it is kept, and as it is reckoned with.
pub(super) struct Row {
    pub(super) raw: Value,
    pub(super) need: Need,
}

impl Row {
    fn of(raw: Value) -> Result<Self, Fault> {
        let need = registry::row(&raw).map_err(|error| Fault::invalid(error.to_string()))?;
        Ok(Self { raw, need })
    }

    /// What a program does with it in each tier.
    pub(super) fn tier_strategies(&self) -> Map<String, Value> {
        let rules = self.need.rules.iter();
        let written = rules.filter_map(|(tier, rule)| {
            let strategy = rule.strategy?;
            Some((tier.numbered().to_owned(), json!(strategy.wire())))
        });
        written.collect()
    }
}

/// The secrets of one resource; none where it is not known.
pub(super) async fn rows(core: &Core, resource: &str) -> Result<Option<Vec<Row>>, Fault> {
    let Some(kept) = documents::load(core, Of::Resources, &[resource]).await? else {
        return Ok(None);
    };
    rows_of(&kept.value).map(Some)
}

fn rows_of(document: &Value) -> Result<Vec<Row>, Fault> {
    let rows = document["secrets"].as_array().into_iter().flatten();
    rows.map(|row| Row::of(row.clone())).collect()
}

/// All resources with their secrets, sorted by name.
pub(super) async fn all(core: &Core) -> Result<Vec<(String, Vec<Row>)>, Fault> {
    let mut found = Vec::new();
    for (name, document) in documents::all(core, Of::Resources).await? {
        let name = name.into_iter().next().unwrap_or_default();
        found.push((name, rows_of(&document)?));
    }
    Ok(found)
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let all = all(&call.core).await?;
    let rows = all.iter().map(|(name, rows)| {
        let required = rows.iter().filter(|row| row.need.is_required).count();
        json!({ "resource_name": name, "total_secrets": rows.len(), "required_secrets": required })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(bare(json!({ "count": rows.len(), "resources": rows })))
}

/// Takes a resource's secrets as a registry has them, in the place of what was there.
pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let resource = field::captured(call, 0)?;
    let sent = call.fields.take("secrets");
    let sent = sent.or_else(|| call.fields.take("rows"));
    let Some(Wiped(Value::Array(items))) = &sent else {
        return Err(Fault::invalid("secrets is no list of secrets"));
    };
    if items.len() > ROWS_MAX {
        let text = format!("a resource has at most {ROWS_MAX} secrets");
        return Err(Fault::invalid(text));
    }
    let mut rows: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        let row = cleaned(&resource, item)?;
        let is_it = |other: &Value| other["secret_key"] == row.raw["secret_key"];
        if rows.iter().any(is_it) {
            let text = format!("{} is there twice", row.need.key);
            return Err(Fault::invalid(text));
        }
        rows.push(row.raw);
    }
    let document = json!({ "resource_name": resource, "secrets": rows });
    let name = [resource.as_str()];
    documents::save(
        &call.core,
        Of::Resources,
        &name,
        &document,
        Precondition::Any,
    )
    .await?;
    detail(call, &resource).await
}

/// A row without what does not belong there.
fn cleaned(resource: &str, item: &Value) -> Result<Row, Fault> {
    let Value::Object(fields) = item else {
        return Err(Fault::invalid("a secret is no object"));
    };
    let key = fields.get("secret_key").and_then(Value::as_str);
    let key = key.ok_or_else(|| Fault::invalid("secret_key is required"))?;
    field::check_name(key)?;
    let kept = fields
        .iter()
        .filter(|(name, value)| KEPT.contains(&name.as_str()) && !value.is_null());
    let mut row: Map<String, Value> = kept
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    row.insert("resource_name".into(), resource.into());
    Row::of(Value::Object(row))
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let resource = field::captured(call, 0)?;
    let name = [resource.as_str()];
    let known = documents::load(&call.core, Of::Resources, &name).await?;
    known.ok_or_else(|| not_found(&resource))?;
    let gone = documents::remove(&call.core, Of::Resources, &name);
    documents::commit(&call.core, vec![gone]).await?;
    Ok(bare(
        json!({ "success": true, "message": "resource deleted" }),
    ))
}

fn not_found(what: &str) -> Fault {
    Fault::NotFoundWith(vec![format!("resource {what} not found")])
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let resource = field::captured(call, 0)?;
    detail(call, &resource).await
}

async fn detail(call: &Call, resource: &str) -> Result<Answer, Fault> {
    let rows = rows(&call.core, resource).await?;
    let rows = rows.ok_or_else(|| not_found(resource))?;
    let (mut secrets, mut valid, mut missing) = (Vec::new(), 0, 0);
    let mut last: Option<String> = None;
    for row in &rows {
        let check = values::last_check(&call.core, resource, &row.need.key).await?;
        let state = check.as_ref().and_then(|check| check["status"].as_str());
        valid += usize::from(state == Some("valid"));
        missing += usize::from(!values::is_there(call, resource, &row.need.key).await?);
        let at = check.as_ref().and_then(|check| check["at"].as_str());
        last = last.max(at.map(str::to_owned));
        secrets.push(secret_json(row, state, at));
    }
    Ok(bare(json!({
        "resource_name": resource,
        "valid_secrets": valid,
        "missing_secrets": missing,
        "total_secrets": rows.len(),
        "last_validation": last,
        "secrets": secrets,
        "open_vulnerabilities": security::open_of_resource(&call.core, resource).await?,
    })))
}

fn secret_json(row: &Row, state: Option<&str>, at: Option<&str>) -> Value {
    let need = &row.need;
    json!({
        "id": need.id,
        "secret_key": need.key,
        "secret_type": need.kind,
        "description": need.description,
        "classification": need.belongs.map(Belongs::word),
        "required": need.is_required,
        "owner_team": need.owner.0,
        "owner_contact": need.owner.1,
        "tier_strategies": row.tier_strategies(),
        "validation_state": state.unwrap_or("unknown"),
        "last_validated": at,
    })
}

/// Changes one secret of a resource.
async fn change(
    call: &Call,
    change: impl Fn(&mut Map<String, Value>) -> Result<(), Fault>,
) -> Result<Row, Fault> {
    let (resource, key) = (field::captured(call, 0)?, field::captured(call, 1)?);
    let name = [resource.as_str()];
    let unknown = || Fault::NotFoundWith(vec!["secret not found".into()]);
    let kept = documents::load(&call.core, Of::Resources, &name).await?;
    let mut kept = kept.ok_or_else(unknown)?;
    let mut rows = kept.value["secrets"].as_array_mut().into_iter().flatten();
    let row = rows.find(|row| {
        let known = row["secret_key"].as_str();
        known.is_some_and(|known| known.eq_ignore_ascii_case(&key))
    });
    let row = row.and_then(Value::as_object_mut).ok_or_else(unknown)?;
    change(row)?;
    let changed = Row::of(Value::Object(row.clone()))?;
    let document = &kept.value;
    documents::save(&call.core, Of::Resources, &name, document, kept.unchanged).await?;
    Ok(changed)
}

pub(super) async fn patch(call: &mut Call) -> Result<Answer, Fault> {
    const FIELDS: [&str; 5] = [
        "classification",
        "description",
        "required",
        "owner_team",
        "owner_contact",
    ];
    if let Some(Value::String(class)) = call.fields.get("classification") {
        match class.as_str() {
            "" => return Err(Fault::invalid("classification cannot be empty")),
            "infrastructure" | "service" | "user" => {}
            _ => return Err(Fault::invalid("invalid classification")),
        }
    }
    let sent = call.fields.map().iter();
    let sent: Vec<(String, Value)> = sent
        .filter(|(name, _)| FIELDS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if sent.is_empty() {
        return Err(Fault::invalid("no updates provided"));
    }
    let row = change(call, |row| {
        row.extend(sent.iter().cloned());
        Ok(())
    })
    .await?;
    Ok(bare(secret_json(&row, None, None)))
}

/// The fields of a strategy that were sent, checked.
pub(super) fn strategy_of(call: &Call) -> Result<Map<String, Value>, Fault> {
    let sent = call.fields.map().iter();
    let mut rule: Map<String, Value> = sent
        .filter(|(name, _)| STRATEGY.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for name in ["handling_strategy", "fallback_strategy"] {
        let Some(Value::String(word)) = rule.get(name) else {
            continue;
        };
        let strategy = word.parse::<Strategy>();
        let strategy = strategy.map_err(|_| {
            Fault::invalid(format!(
                "invalid {name}: must be strip, generate, prompt, or delegate"
            ))
        })?;
        rule.insert(name.to_owned(), strategy.wire().into());
    }
    let whole = Value::Object(rule.clone());
    registry::rule(&whole).map_err(|error| Fault::invalid(error.to_string()))?;
    Ok(rule)
}

pub(super) async fn strategy(call: &mut Call) -> Result<Answer, Fault> {
    let required = || Fault::invalid("tier and handling_strategy are required");
    let tier = field::text(call, "tier").ok_or_else(required)?;
    let word = field::text(call, "handling_strategy").ok_or_else(required)?;
    let tier = field::tier(&tier)?;
    if word.parse::<Strategy>().is_err() {
        return Err(Fault::invalid("invalid handling strategy"));
    }
    let mut rule = strategy_of(call)?;
    rule.insert("tier".into(), tier.numbered().into());
    let row = change(call, |row| {
        let strategies = row.entry("strategies").or_insert_with(|| json!([]));
        let Value::Array(strategies) = strategies else {
            return Err(Fault::Internal("strategies are no list".into()));
        };
        let is_other = |one: &Value| {
            let tier_of = one["tier"]
                .as_str()
                .and_then(|text| text.parse::<Tier>().ok());
            tier_of != Some(tier)
        };
        strategies.retain(is_other);
        strategies.push(Value::Object(rule.clone()));
        Ok(())
    })
    .await?;
    Ok(bare(secret_json(&row, None, None)))
}
