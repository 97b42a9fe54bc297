//! The HTTP endpoints of shipping and of the ledger, below `/api/`.
//!
//! They are routes of the Vault door like all others, below `sys/api/`: the same tokens, policies,
//! quotas and audit lines. Only their answers stand without a frame, in the shapes that the
//! programs before this one documented, and so do their errors.

mod builds;
mod bundles;
mod campaigns;
mod costs;
mod deployments;
mod documents;
mod error;
mod field;
mod ledger;
mod orientation;
mod planning;
mod profiles;
mod registry;
mod scenarios;
mod security;
mod signing;
mod swaps;
mod telemetry;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use http::HeaderValue;
use http::Method;
use http::header;
use serde_json::Value;
use serde_json::json;

use crate::node::Node;
use crate::vault::call::Call;
use crate::vault::dispatch;
use crate::vault::dispatch::Incoming;
use crate::vault::dispatch::Outgoing;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;
use crate::vault::route::Route;
use crate::vault::route::route;

/// What stands before the paths of this door in the system's.
pub(crate) const PREFIX: &str = "api/";

pub(crate) const ROUTES: &[Route] = &[
    route!(Open "api/health" { Read => health }),
    route!(Open "api/v1/health" { Read => health }),
    route!(Policy "api/v1/ledger" { Read => ledger::list, Write => ledger::list }),
    route!(Policy "api/v1/ledger/deliveries/+" { Read => ledger::show }),
    route!(Policy "api/v1/ledger/secrets/*" { Read => ledger::of_secret }),
    route!(Policy "api/v1/ledger/people/+" { Read => ledger::of_person }),
    route!(Policy "api/v1/ledger/due" { Read => ledger::due }),
    route!(Policy "api/v1/ledger/revoke" { Write => ledger::revoke }),
    route!(Policy "api/v1/campaigns" { Read => campaigns::list, Write => campaigns::write }),
    route!(Policy "api/v1/deployment/secrets" { Write => planning::plan }),
    route!(Policy "api/v1/deployment/secrets/+" { Read => planning::plan_of }),
    route!(Policy "api/v1/deployment/readiness" { Write => planning::readiness }),
    route!(Policy "api/v1/resources" { Read => registry::list }),
    route!(Policy "api/v1/resources/+" {
        Read => registry::read,
        Write => registry::write,
        Delete => registry::delete,
    }),
    route!(Policy "api/v1/resources/+/secrets/+" { Patch => registry::patch }),
    route!(Policy "api/v1/resources/+/secrets/+/strategy" { Write => registry::strategy }),
    route!(Policy "api/v1/scenarios" { Read => scenarios::list }),
    route!(Policy "api/v1/scenarios/+" {
        Read => scenarios::read,
        Write => scenarios::write,
        Delete => scenarios::delete,
    }),
    route!(Policy "api/v1/scenarios/+/overrides" { Read => scenarios::overrides }),
    route!(Policy "api/v1/scenarios/+/overrides/copy-from-tier" {
        Write => scenarios::copy_from_tier,
    }),
    route!(Policy "api/v1/scenarios/+/overrides/copy-from-scenario" {
        Write => scenarios::copy_from_scenario,
    }),
    route!(Policy "api/v1/scenarios/+/overrides/+" { Read => scenarios::overrides }),
    route!(Policy "api/v1/scenarios/+/overrides/+/+/+" {
        Read => scenarios::read_override,
        Write => scenarios::write_override,
        Delete => scenarios::delete_override,
    }),
    route!(Policy "api/v1/scenarios/+/effective/+" { Read => scenarios::effective }),
    route!(Policy "api/v1/admin/overrides/orphans" { Read => scenarios::orphans }),
    route!(Policy "api/v1/admin/overrides/cleanup" { Write => scenarios::cleanup }),
    route!(Policy "api/v1/vault/secrets/status" {
        Read => values::status,
        Write => values::status,
    }),
    route!(Policy "api/v1/secrets/scan" { Read => values::status, Write => values::status }),
    route!(Policy "api/v1/vault/secrets/provision" { Write => values::provision }),
    route!(Policy "api/v1/secrets/provision" { Write => values::provision_old }),
    route!(Policy "api/v1/secrets/validate" {
        Read => values::validate,
        Write => values::validate,
    }),
    route!(Policy "api/v1/secrets/test" { Read => values::test, Write => values::test }),
    route!(Policy "api/v1/orientation/summary" { Read => orientation::summary }),
    route!(Policy "api/v1/security/scan" { Read => security::scan, Write => security::take }),
    route!(Policy "api/v1/security/vulnerabilities" { Read => security::vulnerabilities }),
    route!(Policy "api/v1/vulnerabilities" { Read => security::vulnerabilities }),
    route!(Policy "api/v1/security/vulnerabilities/+/status" { Write => security::set_status }),
    route!(Policy "api/v1/security/compliance" { Read => security::compliance }),
    route!(Policy "api/v1/files/content" { Read => no_files }),
    route!(Policy "api/v1/dependencies/analyze/+" { Read => swaps::dependencies }),
    route!(Policy "api/v1/fitness/score" { Write => swaps::fitness }),
    route!(Policy "api/v1/swaps/list/+" { Read => swaps::list }),
    route!(Policy "api/v1/swaps/suggest/+" { Read => swaps::list }),
    route!(Policy "api/v1/swaps/analyze/+/+" { Read => swaps::analyze }),
    route!(Policy "api/v1/swaps/cascade/+/+" { Read => swaps::cascade }),
    route!(Policy "api/v1/swaps/apply" { Write => profiles::apply_swap }),
    route!(Policy "api/v1/profiles" { Read => profiles::list, Write => profiles::create }),
    route!(Policy "api/v1/profiles/+" {
        Read => profiles::read,
        Write => profiles::update,
        Delete => profiles::delete,
    }),
    route!(Policy "api/v1/profiles/+/versions" { Read => profiles::versions }),
    route!(Policy "api/v1/profiles/+/validate" { Read => profiles::validate }),
    route!(Policy "api/v1/profiles/+/secrets" { Read => profiles::identify }),
    route!(Policy "api/v1/profiles/+/secrets/template" { Read => profiles::template }),
    route!(Policy "api/v1/profiles/+/secrets/validate" {
        Read => profiles::validate_secrets,
        Write => profiles::validate_secrets,
    }),
    route!(Policy "api/v1/profiles/+/swaps" { Write => profiles::add_swap }),
    route!(Policy "api/v1/bundles/validate" { Write => bundles::validate }),
    route!(Policy "api/v1/bundles/merge-secrets" { Write => bundles::merge }),
    route!(Policy "api/v1/bundles/assemble" { Write => bundles::assemble }),
    route!(Policy "api/v1/bundles/export" { Write => bundles::export }),
    route!(Policy "api/v1/bundles/signing-config" { Write => signing::into_bundle }),
    route!(Policy "api/v1/profiles/+/signing" {
        Read => signing::read,
        Write => signing::write,
        Delete => signing::delete,
    }),
    route!(Policy "api/v1/profiles/+/signing/validate" {
        Read => signing::validate_own,
        Write => signing::validate_own,
    }),
    route!(Policy "api/v1/signing" { Read => signing::list }),
    route!(Policy "api/v1/signing/validate" { Write => signing::validate }),
    route!(Policy "api/v1/signing/prerequisites" { Read => signing::prerequisites }),
    route!(Policy "api/v1/profiles/+/cost-estimate" {
        Read => costs::estimate,
        Write => costs::estimate,
    }),
    route!(Policy "api/v1/deploy/+" { Write => deployments::deploy }),
    route!(Policy "api/v1/deploy-desktop" { Write => deployments::deploy_desktop }),
    route!(Policy "api/v1/deployments" { Read => deployments::list }),
    route!(Policy "api/v1/deployments/+" { Read => deployments::read }),
    route!(Policy "api/v1/build" { Read => builds::about, Write => builds::plan }),
    route!(Policy "api/v1/build/*" { Read => builds::none, Write => builds::none }),
    route!(Policy "api/v1/telemetry" { Read => telemetry::list, Write => telemetry::upload }),
    route!(Policy "api/v1/telemetry/upload" { Write => telemetry::upload }),
];

/// Answers a request below `/api/`.
pub(crate) async fn handle(node: &Arc<Node>, mut incoming: Incoming) -> Outgoing {
    let request_id = crate::node::new_nonce(&*node.rng);
    let is_head = incoming.method == Method::HEAD;
    if incoming.method.as_str() == "PATCH" {
        // Here it needs no kind of its own.
        let kind = HeaderValue::from_static("application/merge-patch+json");
        incoming.headers.insert(header::CONTENT_TYPE, kind);
    }
    match dispatch::answer(node, incoming, &request_id).await {
        Ok(answer) => dispatch::render(answer, &request_id, is_head),
        Err(fault) => error::render(node, &fault, is_head),
    }
}

/// An answer without a frame.
fn bare(value: Value) -> Answer {
    Answer::Bare(http::StatusCode::OK, value)
}

async fn health(call: &mut Call) -> Result<Answer, Fault> {
    // A sealed server does not come here.
    Ok(bare(json!({
        "status": "healthy",
        "service": "strongroom",
        "timestamp": call.now.to_string(),
        "readiness": true,
        "version": call.node.settings.version,
        "dependencies": { "database": { "connected": true, "error": null } },
    })))
}

/// No file of the server is shown to anybody.
async fn no_files(_: &mut Call) -> Result<Answer, Fault> {
    Err(Fault::Refused(
        "no file is served: secrets are read at /v1/secret/data/".into(),
    ))
}
