//! Replicas: one secret that can be read in several regions of this server.

use serde_json::Value;
use serde_json::json;
use strongroom_core::aws::AwsFacts;
use strongroom_core::aws::Replica;
use strongroom_engine::secrets::Snapshot;

use super::check_deletion;
use super::failed;
use crate::aws::call::Call;
use crate::aws::error::Fault;
use crate::aws::input;

/// Most regions of one secret.
const REGIONS_MAX: usize = 64;

/// The regions that are asked for.
pub(super) fn asked(call: &Call) -> Result<Option<Vec<Replica>>, Fault> {
    let Some(values) = input::list(&call.fields, "AddReplicaRegions")? else {
        return Ok(None);
    };
    if values.is_empty() || values.len() > REGIONS_MAX {
        let constraint = format!("Member must have length between 1 and {REGIONS_MAX}");
        return Err(input::broken("AddReplicaRegions", &constraint));
    }
    let replica = |value: &Value| {
        let region = value["Region"].as_str().unwrap_or_default();
        if !crate::aws::is_region(region) {
            return Err(Fault::Parameter("Invalid replica region.".into()));
        }
        Ok(Replica {
            region: region.to_owned(),
            kms_key_id: value["KmsKeyId"].as_str().map(str::to_owned),
        })
    };
    values
        .iter()
        .map(replica)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Refuses regions that cannot be added.
pub(super) fn check(call: &Call, known: usize, added: &[Replica]) -> Result<(), Fault> {
    if added
        .iter()
        .any(|replica| replica.region == call.request.region)
    {
        return Err(Fault::Parameter("Invalid replica region.".into()));
    }
    if known + added.len() > REGIONS_MAX {
        return Err(Fault::Limit("the secret has too many replicas".into()));
    }
    Ok(())
}

/// Adds regions to a secret at home in a region.
pub(super) fn merge(facts: &mut AwsFacts, home: &str, added: &[Replica]) {
    for replica in added {
        facts
            .replicas
            .retain(|known| known.region != replica.region);
        facts.replicas.push(replica.clone());
    }
    facts.primary_region = Some(home.to_owned());
}

/// How its replicas are: there is one store, so that none is ever behind.
pub(super) fn status(call: &Call, snapshot: &Snapshot) -> Option<Value> {
    let facts = snapshot.aws()?;
    if facts.replicas.is_empty() || call.is_replica(snapshot) {
        return None;
    }
    let rows = facts.replicas.iter().map(|replica| {
        let mut row = json!({
            "Region": replica.region,
            "Status": "InSync",
            "StatusMessage": "Replication succeeded",
        });
        if let Some(key) = &replica.kms_key_id {
            row["KmsKeyId"] = json!(key);
        }
        row
    });
    Some(rows.collect())
}

pub(super) async fn add(call: &mut Call) -> Result<Value, Fault> {
    let added = asked(call)?.ok_or_else(|| input::missing("AddReplicaRegions"))?;
    check_deletion(call.primary()?)?;
    let known = call
        .primary()?
        .aws()
        .map_or(0, |facts| facts.replicas.len());
    check(call, known, &added)?;
    edit(call, |facts| merge(facts, &call.request.region, &added)).await
}

pub(super) async fn remove(call: &mut Call) -> Result<Value, Fault> {
    let regions = input::texts(&call.fields, "RemoveReplicaRegions", REGIONS_MAX, 128)?;
    let regions = regions.ok_or_else(|| input::missing("RemoveReplicaRegions"))?;
    check_deletion(call.primary()?)?;
    edit(call, |facts| {
        facts
            .replicas
            .retain(|known| !regions.contains(&known.region));
        if facts.replicas.is_empty() {
            facts.primary_region = None;
        }
    })
    .await
}

/// Makes a replica a secret of its own: on this server that would be a second secret of the name.
pub(super) async fn stop(call: &mut Call) -> Result<Value, Fault> {
    let snapshot = call.snapshot()?;
    if !call.is_replica(snapshot) {
        return Err(Fault::Request(
            "Operation not permitted on a primary secret. Call must be made in the replica \
             secret's region."
                .into(),
        ));
    }
    Err(Fault::Request(
        "All regions of this server share one store: a replica cannot become a secret of its own. \
         RemoveRegionsFromReplication takes it away."
            .into(),
    ))
}

async fn edit(call: &Call, mut change: impl FnMut(&mut AwsFacts)) -> Result<Value, Fault> {
    let path = &call.target()?.path;
    let context = call.context();
    let edited = call.live.secrets.edit_facts(&context, path, |_, facts| {
        change(facts);
        Ok(())
    });
    let snapshot = edited.await.map_err(|error| failed(call, error))?;
    Ok(json!({
        "ARN": call.arn(&snapshot),
        "ReplicationStatus": status(call, &snapshot).unwrap_or_else(|| json!([])),
    }))
}
