//! How it stands with everything, for whoever begins.

use serde_json::Value;
use serde_json::json;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::registry;
use super::scenarios;
use super::security;
use super::values;
use super::values::Stand;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Secrets that are in the way, of one tier.
const SAMPLE: usize = 5;
/// Resources that are shown, the worst first.
const RESOURCES: usize = 5;
/// Secrets of each.
const SECRETS: usize = 6;

pub(super) async fn summary(call: &mut Call) -> Result<Answer, Fault> {
    let mut stands = values::stands(call, None).await?;
    let total = stands.len();
    let configured = stands.iter().filter(|stand| stand.missing() == 0).count();
    let missing: usize = stands.iter().map(Stand::missing).sum();
    let health = (configured * 100).checked_div(total).unwrap_or(0);
    // Where nobody has looked for weak places, that is said, and no number is made up for it.
    let scanned = security::components(&call.core).await?;
    let sums = security::Sums::of(&scanned);
    let known = (total > 0).then_some(health);
    let overall = security::overall(known, sums.risk()).unwrap_or(0);
    let sources = usize::from(total > 0) + usize::from(sums.last_scan.is_some());
    let label = match overall {
        80.. => "Operational",
        50.. => "Stabilize",
        _ => "Blocked",
    };
    let tiers = tiers(call).await?;
    let journeys = journeys(call, total, missing).await?;
    stands.sort_by(|a, b| {
        b.missing()
            .cmp(&a.missing())
            .then(a.resource.cmp(&b.resource))
    });
    let insights: Vec<Value> = stands.iter().take(RESOURCES).map(insight).collect();
    let now = call.now.to_string();
    Ok(bare(json!({
        "hero_stats": {
            "vault_configured": configured,
            "vault_total": total,
            "missing_secrets": missing,
            "risk_score": sums.risk(),
            "overall_score": overall,
            "last_scan": sums.last_scan,
            "readiness_label": label,
            // Which of the two there are: values, scans.
            "confidence": ([0.0, 0.5, 1.0].get(sources)),
        },
        "journeys": journeys,
        "tier_readiness": tiers,
        "resource_insights": insights,
        "vulnerability_insights": {
            "available": sums.last_scan.is_some(),
            "total": sums.risk().map(|_| sums.total),
            "by_severity": sums.risk().map(|_| sums.json()),
        },
        "updated_at": now,
    })))
}

/// What is next, in order.
async fn journeys(call: &Call, resources: usize, missing: usize) -> Result<Vec<Value>, Fault> {
    let scenarios = scenarios::all(&call.core).await?.len();
    let journey = |id: &str, title: &str, is_done: bool| {
        let status = if is_done { "done" } else { "open" };
        json!({ "id": id, "title": title, "status": status })
    };
    Ok(vec![
        journey("register", "Register what resources need", resources > 0),
        journey(
            "provision",
            "Give required secrets their values",
            resources > 0 && missing == 0,
        ),
        journey("plan", "Plan the shipping of an application", scenarios > 0),
    ])
}

/// How many required secrets somebody has decided about, by tier.
async fn tiers(call: &Call) -> Result<Vec<Value>, Fault> {
    let all = registry::all(&call.core).await?;
    let required = || {
        let rows = all
            .iter()
            .flat_map(|(name, rows)| rows.iter().map(move |row| (name, row)));
        rows.filter(|(_, row)| row.need.is_required)
    };
    let rows = Tier::ALL.into_iter().map(|tier| {
        let has_strategy = |row: &registry::Row| {
            let rule = row.need.rules.get(&tier);
            rule.is_some_and(|rule| rule.strategy.is_some())
        };
        let total = required().count();
        let decided = required().filter(|(_, row)| has_strategy(row)).count();
        let blocking = required().filter(|(_, row)| !has_strategy(row));
        let sample: Vec<String> = blocking
            .take(SAMPLE)
            .map(|(name, row)| format!("{name}:{}", row.need.key))
            .collect();
        // Rounded half up.
        let percent = (decided * 200 + total)
            .checked_div(2 * total)
            .unwrap_or(100);
        json!({
            "tier": tier.numbered(),
            "label": tier.title(),
            "strategized": decided,
            "total": total,
            "ready_percent": percent,
            "blocking_secret_sample": sample,
        })
    });
    Ok(rows.collect())
}

fn insight(stand: &Stand) -> Value {
    let secrets = stand.rows.iter().take(SECRETS).map(|(row, is_there)| {
        json!({
            "secret_key": row.need.key,
            "required": row.need.is_required,
            "configured": is_there,
        })
    });
    json!({
        "resource_name": stand.resource,
        "health_status": stand.health(),
        "total_secrets": stand.rows.len(),
        "missing_secrets": stand.missing(),
        "valid_secrets": stand.found(),
        "secrets": secrets.collect::<Vec<Value>>(),
    })
}
