//! The operations on secrets.

mod delete;
mod list;
mod password;
mod policy;
mod read;
mod replicas;
mod rotation;
mod stage;
mod write;

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use strongroom_engine::secrets::GraphError;
use strongroom_engine::secrets::Snapshot;

use super::InRegion;
use super::call::Call;
use super::error::Fault;
use super::op::Op;
use crate::vault::body::Wiped;
use crate::vault::reply::Rendered;

pub(super) use policy::check as check_policy;

/// What an operation answers.
pub(super) enum Answer {
    Built(Wiped),
    /// With values: JSON that may have been written for somebody before, and what the audit log
    /// says of it.
    Value(Arc<InRegion>),
    Values(Box<Rendered>),
}

/// Does what is asked for.
pub(super) async fn run(call: &mut Call) -> Result<Answer, Fault> {
    match call.op {
        Op::GetSecretValue => read::get_value(call).await.map(Answer::Value),
        Op::BatchGetSecretValue => {
            let values = list::batch(call).await?;
            Ok(Answer::Values(Box::new(values)))
        }
        _ => run_other(call)
            .await
            .map(|value| Answer::Built(Wiped(value))),
    }
}

async fn run_other(call: &mut Call) -> Result<Value, Fault> {
    match call.op {
        Op::GetSecretValue | Op::BatchGetSecretValue => {
            Err(Fault::Internal("an operation with values got lost".into()))
        }
        Op::DescribeSecret => read::describe(call).await,
        Op::ListSecrets => list::secrets(call).await,
        Op::ListSecretVersionIds => read::version_ids(call).await,
        Op::CreateSecret => write::create(call).await,
        Op::PutSecretValue => write::put_value(call).await,
        Op::UpdateSecret => write::update(call).await,
        Op::TagResource => write::tag(call).await,
        Op::UntagResource => write::untag(call).await,
        Op::UpdateSecretVersionStage => stage::update(call).await,
        Op::DeleteSecret => delete::delete(call).await,
        Op::RestoreSecret => delete::restore(call).await,
        Op::GetRandomPassword => password::draw(call),
        Op::PutResourcePolicy => policy::put(call).await,
        Op::GetResourcePolicy => policy::get(call),
        Op::DeleteResourcePolicy => policy::delete(call).await,
        Op::ValidateResourcePolicy => policy::validate(call),
        Op::ListResourcePolicies => policy::list(call),
        Op::ReplicateSecretToRegions => replicas::add(call).await,
        Op::RemoveRegionsFromReplication => replicas::remove(call).await,
        Op::StopReplicationToReplica => replicas::stop(call).await,
        Op::RotateSecret => rotation::rotate(call).await,
        Op::CancelRotateSecret => rotation::cancel(call).await,
        Op::AssociateCrossAccountReplica | Op::DisassociateCrossAccountReplica => {
            Err(Fault::Request(
                "There is one account on this server: secrets have no replicas in others.".into(),
            ))
        }
    }
}

/// ARN and name, which nearly every answer begins with.
fn named(call: &Call, snapshot: &Snapshot) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("ARN".into(), call.arn(snapshot).into());
    let name = super::name::name_of(snapshot.path());
    map.insert("Name".into(), name.into());
    map
}

/// The failure of a change, in AWS's words.
fn failed(call: &Call, error: GraphError) -> Fault {
    let target = call.target.as_ref();
    let seen = target.and_then(|target| target.seen.as_ref());
    Fault::Graph {
        error,
        name: target.map_or_else(String::new, |target| target.name.clone()),
        arn: seen.map_or_else(String::new, |seen| call.arn(&seen.snapshot)),
    }
}

/// Refuses what cannot be done to a secret that is to be removed.
fn check_deletion(snapshot: &Snapshot) -> Result<(), Fault> {
    match snapshot.deletion() {
        None => Ok(()),
        Some(_) => Err(Fault::Request(super::error::MARKED.into())),
    }
}
