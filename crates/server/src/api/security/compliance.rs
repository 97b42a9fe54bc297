//! Values that are there and weak places that are open, in one answer.

use serde_json::Value;
use serde_json::json;

use super::Component;
use super::Row;
use super::Severity;
use super::Sums;
use super::components;
use crate::api::bare;
use crate::api::values;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

pub(in super::super) async fn compliance(call: &mut Call) -> Result<Answer, Fault> {
    let stands = values::stands(call, None).await?;
    let total = stands.len();
    let configured = stands.iter().filter(|stand| stand.missing() == 0).count();
    let health = (configured * 100).checked_div(total);
    let all = components(&call.core).await?;
    let sums = Sums::of(&all);
    let risk = sums.risk();
    let clean = all.iter().filter(|one| one.open().next().is_none()).count();
    let summary: Vec<Value> = all.iter().map(summary).collect();
    let has_worst = sums.count(Severity::Critical) + sums.count(Severity::High) > 0;
    let status = match (risk, health) {
        _ if has_worst || health.is_some_and(|health| health < 100) => "non_compliant",
        // Nobody has looked, or nothing is registered: that is no compliance.
        (None, _) | (_, None) => "unknown",
        _ => "compliant",
    };
    Ok(bare(json!({
        "overall_score": overall(health, risk),
        "compliance_status": status,
        "risk_score": risk,
        "vault_secrets_health": health,
        "vault_coverage_percent": health,
        "total_resources": total,
        "configured_resources": configured,
        "total_components": all.len(),
        "configured_components": clean,
        "components_summary": summary,
        "total_vulnerabilities": risk.map(|_| sums.total),
        "critical_vulnerabilities": risk.map(|_| sums.count(Severity::Critical)),
        "vulnerability_summary": risk.map(|_| sums.json()),
        "remediation_progress": risk.map(|_| progress(&all)),
        "last_scan": sums.last_scan,
        "last_updated": call.now.to_string(),
    })))
}

/// The mean of what is known of the two.
pub(in super::super) fn overall(health: Option<usize>, risk: Option<usize>) -> Option<usize> {
    let safety = risk.map(|risk| 100 - risk);
    match (health, safety) {
        (Some(health), Some(safety)) => Some(usize::midpoint(health, safety)),
        (one, other) => one.or(other),
    }
}

fn summary(component: &Component) -> Value {
    let sums = Sums::of(std::slice::from_ref(component));
    json!({
        "component": component.name,
        "component_type": component.kind,
        "last_scan": sums.last_scan,
        "risk_score": sums.risk(),
        "open": sums.json(),
    })
}

fn progress(components: &[Component]) -> Value {
    let rows = || components.iter().flat_map(|one| one.rows.iter());
    let count = |status: &str| rows().filter(|row: &&Row| row.status == status).count();
    let done = count("resolved") + count("accepted");
    let all = rows().count();
    json!({
        "total": all,
        "open": count("open") + count("regressed"),
        "in_progress": count("in_progress"),
        "accepted": count("accepted"),
        "resolved": count("resolved"),
        "percent": (done * 100).checked_div(all).unwrap_or(100),
    })
}
