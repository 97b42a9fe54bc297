//! Deployments: a profile is checked, planned and put together, and what came of it is kept. The
//! server brings nothing anywhere: `assembled` is as far as it goes, and it says so.

use data_encoding::HEXLOWER;
use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_deploy::identify;
use strongroom_deploy::identify::Status;
use strongroom_deploy::tier::Tier;

use super::bare;
use super::bundles;
use super::documents;
use super::documents::Of;
use super::field;
use super::profiles::Profile;
use crate::ledger::person_of;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Deployments that are kept of one profile.
const KEPT_MAX: usize = 50;

/// How one part went.
struct Check {
    name: &'static str,
    status: &'static str,
    details: String,
}

/// What a deployment comes to.
struct Outcome {
    checks: Vec<Check>,
    blockers: Vec<String>,
    status: &'static str,
    manifest: Option<Value>,
    checksum: Option<String>,
    summary: Value,
}

/// Of the profile in the path, for its first tier or the one that is named.
pub(super) async fn deploy(call: &mut Call) -> Result<Answer, Fault> {
    let profile = Profile::named(call).await?;
    let tier = profile.tier(call)?;
    make(call, &profile, tier).await
}

/// `{profile_id, manifest, dry_run?}`
pub(super) async fn deploy_desktop(call: &mut Call) -> Result<Answer, Fault> {
    let id = field::text(call, "profile_id").or_else(|| field::text(call, "profile"));
    let id = id.ok_or_else(|| Fault::invalid("profile_id is required"))?;
    let profile = Profile::find(call, &id).await?;
    make(call, &profile, Tier::Desktop).await
}

async fn make(call: &Call, profile: &Profile, tier: Tier) -> Result<Answer, Fault> {
    let is_dry_run = field::flag(call, "dry_run")?;
    let outcome = outcome(call, profile, tier).await?;
    let mut drawn = [0; 4];
    call.node.rng.fill(&mut drawn);
    let id = format!(
        "deployment-{:020}-{}",
        call.now.as_micros(),
        HEXLOWER.encode(&drawn)
    );
    let checks = outcome.checks.iter().map(
        |check| json!({ "name": check.name, "status": check.status, "details": check.details }),
    );
    let mut record = json!({
        "deployment_id": if is_dry_run { Value::Null } else { id.as_str().into() },
        "profile_id": profile.value["id"],
        "profile_version": profile.value["version"],
        "scenario": profile.value["scenario"],
        "tier": tier.numbered(),
        "status": outcome.status,
        "dry_run": is_dry_run,
        "checks": checks.collect::<Vec<Value>>(),
        "blockers": outcome.blockers,
        "summary": outcome.summary,
        "checksum": outcome.checksum,
        "created_at": call.now.to_string(),
        "created_by": person_of(&call.caller()?.token),
    });
    if !is_dry_run {
        if let Some(manifest) = &outcome.manifest {
            bundles::note(call, manifest, &profile.text("scenario"), tier).await?;
        }
        keep(call, &id, &record).await?;
    }
    let status = match outcome.status {
        BLOCKED => {
            record["error"] = "the deployment is blocked".into();
            StatusCode::UNPROCESSABLE_ENTITY
        }
        _ if is_dry_run => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    // It is told, and not kept: what was sent stays with who sent it.
    record["manifest"] = outcome.manifest.into();
    Ok(Answer::Bare(status, record))
}

const BLOCKED: &str = "blocked";

async fn outcome(call: &Call, profile: &Profile, tier: Tier) -> Result<Outcome, Fault> {
    let plan = profile.plan_for(call, tier).await?;
    let (mut checks, mut blockers) = (Vec::new(), Vec::new());
    let mut check = |name, problems: Vec<String>, good: &str| {
        checks.push(Check {
            name,
            status: if problems.is_empty() { "pass" } else { "fail" },
            details: match problems.is_empty() {
                true => good.to_owned(),
                false => problems.join("; "),
            },
        });
        blockers.extend(problems);
    };
    let in_the_way = plan.blocked();
    let in_the_way = in_the_way.map(|(need, why)| format!("{}: {}", need.full_name(), why.message));
    check("plan", in_the_way.collect(), "everything is decided about");
    let failed = identify::validate(&plan, None).into_iter();
    let failed = failed.filter(|one| one.status == Status::Fail);
    let failed = failed.map(|one| format!("{}: {}", one.secret, one.details));
    check(
        "secrets",
        failed.collect(),
        "the six checks of secrets pass",
    );
    let needs_bundle = matches!(tier, Tier::Desktop | Tier::Mobile);
    let (mut manifest, mut checksum) = (None, None);
    match call.fields.get("manifest") {
        None if needs_bundle => {
            let text = "manifest is missing: what is installed is put together from a bundle";
            check("bundle", vec![text.to_owned()], "");
        }
        None => checks.push(Check {
            name: "bundle",
            status: "skip",
            details: "this tier is shipped without a bundle".to_owned(),
        }),
        Some(_) => {
            let scenario = profile.text("scenario");
            let made = bundles::made(call, &scenario, tier, &profile.swaps()?).await?;
            match made {
                Ok((made, sum)) => {
                    check(
                        "bundle",
                        Vec::new(),
                        "it is put together, and linted strictly",
                    );
                    (manifest, checksum) = (Some(made), Some(sum));
                }
                Err(problems) => check("bundle", problems, ""),
            }
        }
    }
    let status = match (blockers.is_empty(), &manifest) {
        (false, _) => BLOCKED,
        (true, Some(_)) => "assembled",
        (true, None) => "planned",
    };
    // What is blocked is not given to anybody.
    let manifest = manifest.filter(|_| status != BLOCKED);
    let checksum = checksum.filter(|_| status != BLOCKED);
    Ok(Outcome {
        checks,
        blockers,
        status,
        manifest,
        checksum,
        summary: plan.summary(),
    })
}

async fn keep(call: &Call, id: &str, record: &Value) -> Result<(), Fault> {
    let put = documents::put(
        &call.core,
        Of::Deployments,
        &[id],
        record,
        Precondition::Absent,
    )?;
    let mut batch = vec![put];
    let all = documents::all(&call.core, Of::Deployments)
        .await?
        .into_iter();
    let own = all.filter(|(_, one)| one["profile_id"] == record["profile_id"]);
    // By their names, which begin with the time.
    let own: Vec<Vec<String>> = own.map(|(name, _)| name).collect();
    let over = (own.len() + 1).saturating_sub(KEPT_MAX);
    for name in own.into_iter().take(over) {
        let name: Vec<&str> = name.iter().map(String::as_str).collect();
        batch.push(documents::remove(&call.core, Of::Deployments, &name));
    }
    documents::commit(&call.core, batch).await
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let only = field::text(call, "profile_id");
    let all = documents::all(&call.core, Of::Deployments)
        .await?
        .into_iter();
    let mut rows: Vec<Value> = all
        .map(|(_, record)| record)
        .filter(|record| {
            only.as_ref()
                .is_none_or(|only| record["profile_id"] == only.as_str())
        })
        .collect();
    rows.reverse();
    Ok(bare(json!({ "count": rows.len(), "deployments": rows })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let id = field::captured(call, 0)?;
    let kept = documents::load(&call.core, Of::Deployments, &[&id]).await?;
    let unknown = || Fault::NotFoundWith(vec![format!("deployment {id} not found")]);
    Ok(bare(kept.ok_or_else(unknown)?.value))
}
