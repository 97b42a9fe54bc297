//! Bundle manifests: checked, and filled with the secrets of a plan. They hold no value.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use strongroom_deploy::assemble;
use strongroom_deploy::assemble::Assembled;
use strongroom_deploy::bundle::Bundle;
use strongroom_deploy::lint;
use strongroom_deploy::lint::Finding;
use strongroom_deploy::lint::Severity;
use strongroom_deploy::plan;
use strongroom_deploy::plan::Plan;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::field;
use super::planning;
use super::planning::Asked;
use super::scenarios;
use super::swaps;
use crate::ledger;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// What the schema of manifests is called.
const SCHEMA: &str = "desktop.v0.1";

fn finding_json(finding: &Finding) -> Value {
    json!({
        "severity": finding.severity.word(),
        "code": finding.code,
        "path": finding.path,
        "message": finding.message,
        "fix": finding.fix,
    })
}

/// A refusal with its details; JSON whatever stands in them.
fn refusal(status: StatusCode, error: &str, details: &[String], findings: &[Finding]) -> Answer {
    let findings: Vec<Value> = findings.iter().map(finding_json).collect();
    let body = json!({
        "error": error,
        "details": details.join("; "),
        "findings": findings,
    });
    Answer::Bare(status, body)
}

/// The manifest is the body, or stands in its field `manifest`. By the schema; strictly with
/// `?strict=true`.
pub(super) async fn validate(call: &mut Call) -> Result<Answer, Fault> {
    let whole = call.fields.to_value();
    let manifest = match &whole["manifest"] {
        Value::Null => &whole,
        manifest => manifest,
    };
    let findings = match call.query.is_set("strict") {
        true => lint::strict(manifest),
        false => lint::compat(manifest),
    };
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    let errors: Vec<Finding> = findings.iter().filter(is_error).cloned().collect();
    if errors.is_empty() {
        return Ok(bare(json!({
            "status": "valid",
            "schema": SCHEMA,
            "findings": findings.iter().map(finding_json).collect::<Vec<Value>>(),
        })));
    }
    let details = errors
        .iter()
        .map(|finding| format!("{}: {}", finding.path, finding.message));
    let details: Vec<String> = details.collect();
    let status = StatusCode::BAD_REQUEST;
    Ok(refusal(
        status,
        "bundle failed validation",
        &details,
        &findings,
    ))
}

/// What `{scenario, tier, manifest, swaps?, include_secrets?}` comes to.
async fn put_together(call: &Call) -> Result<Result<(Assembled, Plan), Answer>, Fault> {
    let sent = (field::text(call, "scenario"), field::text(call, "tier"));
    let (Some(scenario), Some(tier)) = sent else {
        return Err(Fault::invalid("scenario and tier are required"));
    };
    let tier = field::tier(&tier)?;
    let swaps = swaps::swaps_of(call.fields.get("swaps"))?;
    let made = put_together_of(call, &scenario, tier, swaps).await?;
    Ok(made.map_err(|problems| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        refusal(status, "bundle cannot be assembled", &problems, &[])
    }))
}

/// A manifest that may be shipped, with its checksum; else everything that is in the way.
pub(super) async fn made(
    call: &Call,
    scenario: &str,
    tier: Tier,
    swaps: &BTreeMap<String, String>,
) -> Result<Result<(Value, String), Vec<String>>, Fault> {
    let made = put_together_of(call, scenario, tier, swaps.clone()).await?;
    Ok(made.and_then(|(assembled, _)| {
        let manifest = assembled.manifest;
        let errors = errors_of(&lint::strict(&manifest));
        match errors.is_empty() {
            true => {
                let sum = checksum(&manifest);
                Ok((manifest, sum))
            }
            false => Err(errors),
        }
    }))
}

fn errors_of(findings: &[Finding]) -> Vec<String> {
    let errors = findings.iter();
    let errors = errors.filter(|finding| finding.severity == Severity::Error);
    errors
        .map(|finding| format!("{}: {}", finding.path, finding.message))
        .collect()
}

fn checksum(manifest: &Value) -> String {
    let digest = strongroom_crypto::request::sha256(manifest.to_string().as_bytes());
    format!("sha256:{}", HEXLOWER.encode(&digest))
}

async fn put_together_of(
    call: &Call,
    scenario: &str,
    tier: Tier,
    swaps: BTreeMap<String, String>,
) -> Result<Result<(Assembled, Plan), Vec<String>>, Fault> {
    field::check_name(scenario)?;
    let manifest = call.fields.get("manifest");
    let manifest = manifest.filter(|manifest| manifest.is_object());
    let manifest = manifest.ok_or_else(|| {
        Fault::invalid("manifest is required: the bundle that the secrets are put into")
    })?;
    let bundle = Bundle::read(manifest.to_string().as_bytes());
    let bundle = bundle.map_err(|error| Fault::invalid(error.to_string()))?;
    let mut own = bundle.swaps();
    own.extend(swaps);
    let asked = Asked {
        swaps: own.clone(),
        include_optional: false,
        ..Asked::of(scenario, tier)
    };
    // What the manifest itself declares counts, and what the registry knows beside it.
    let mut needs = bundle
        .needs()
        .map_err(|error| Fault::invalid(error.to_string()))?;
    match planning::make(call, &asked).await {
        Ok(made) => {
            let known = made.plan.items.into_iter().map(|(need, _)| need);
            for need in known {
                match needs.iter_mut().find(|own| own.key == need.key) {
                    // Services name it by the id that the manifest has.
                    Some(own) => {
                        let id = std::mem::take(&mut own.id);
                        *own = need;
                        own.id = id;
                    }
                    None => needs.push(need),
                }
            }
        }
        Err(Fault::NotFoundWith(_)) if !needs.is_empty() => {}
        Err(fault) => return Err(fault),
    }
    let overrides = scenarios::overrides_of(&call.core, Some(scenario)).await?;
    let overrides: Vec<plan::Override> = overrides.into_iter().map(|one| one.parsed).collect();
    let plan = plan::plan(&plan::Request {
        scenario,
        tier,
        needs: &needs,
        swaps: &own,
        overrides: &overrides,
        resources: &[],
        include_optional: false,
        now: call.now,
    });
    let assembled = assemble::assemble(&bundle, &plan);
    Ok(assembled.map(|assembled| (assembled, plan)))
}

/// Tells the ledger what the bundle opens.
pub(super) async fn note(
    call: &Call,
    manifest: &Value,
    scenario: &str,
    tier: Tier,
) -> Result<(), Fault> {
    let to = format!("bundle of {scenario} for {tier}");
    Ok(ledger::note_bundle(call, manifest, &to).await?)
}

/// The manifest with the plan's secrets; references of services are kept.
pub(super) async fn merge(call: &mut Call) -> Result<Answer, Fault> {
    match put_together(call).await? {
        Ok((assembled, plan)) => {
            note(call, &assembled.manifest, &plan.scenario, plan.tier).await?;
            Ok(bare(assembled.manifest))
        }
        Err(refusal) => Ok(refusal),
    }
}

pub(super) async fn assemble(call: &mut Call) -> Result<Answer, Fault> {
    match put_together(call).await? {
        Ok((assembled, plan)) => {
            note(call, &assembled.manifest, &plan.scenario, plan.tier).await?;
            Ok(bare(json!({
                "status": "assembled",
                "schema": SCHEMA,
                "manifest": assembled.manifest,
                "dropped": assembled.dropped,
                "added": assembled.added,
            })))
        }
        Err(refusal) => Ok(refusal),
    }
}

/// As `assemble`, for what is shipped as it is: the strict reading finds nothing wrong.
pub(super) async fn export(call: &mut Call) -> Result<Answer, Fault> {
    let (assembled, plan) = match put_together(call).await? {
        Ok(done) => done,
        Err(refusal) => return Ok(refusal),
    };
    let manifest = assembled.manifest;
    let findings = lint::strict(&manifest);
    let errors = errors_of(&findings);
    if !errors.is_empty() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(refusal(
            status,
            "bundle failed validation",
            &errors,
            &findings,
        ));
    }
    note(call, &manifest, &plan.scenario, plan.tier).await?;
    let sum = checksum(&manifest);
    Ok(bare(json!({
        "status": "exported",
        "schema": SCHEMA,
        "scenario": plan.scenario,
        "tier": plan.tier.numbered(),
        "manifest": manifest,
        "checksum": sum,
        "generated_at": call.now.to_string(),
    })))
}
