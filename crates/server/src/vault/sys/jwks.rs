//! The public halves of keys that tokens are signed with, for whoever checks tokens: anybody.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::time::Timestamp;
use strongroom_core::version::STAGE_PENDING;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Rotation;

use super::rotations;
use crate::rotate::rotators;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// The key set of a secret that a rotator of signing keys rotates: the current key, the one that
/// waits, and those before until their last tokens have expired.
pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let (live, path) = (rotations::live(call)?, rotations::path(call)?);
    let found = rotations::rotations(call)?.find(&path).await?;
    let rotation = found.ok_or(Fault::NotFound)?.value;
    let (node, core) = (&call.node, &call.core);
    let declared = rotators::declared(node, core, &rotation.setup.rotator).await?;
    let Some(RotatorSpec::SigningKey(key)) = declared else {
        return Err(Fault::NotFound);
    };
    let ttl = strongroom_rotators::token_ttl(&key).map_err(Fault::Internal)?;
    let snapshot = live.secrets.snapshot(&path).await?.ok_or(Fault::NotFound)?;
    let id_of = |info| live.secrets.version_id(&snapshot, info);
    let begins: Vec<(Timestamp, u64)> = snapshot
        .versions()
        .iter()
        .filter_map(|info| Some((began(&rotation, &id_of(info), info.created)?, info.number)))
        .collect();
    let newest = snapshot.newest().map(|newest| newest.number);
    let mut keys = Vec::new();
    for info in snapshot.versions().iter().rev() {
        let is_pending = snapshot.stages(info).iter().any(|one| one == STAGE_PENDING);
        let own = begins.iter().find(|(_, number)| *number == info.number);
        let is_valid = match own {
            _ if is_pending || newest == Some(info.number) => true,
            // Until the one after it began, and as long as its tokens live.
            Some((own, _)) => {
                let later = begins.iter().filter(|(at, _)| at > own);
                let ended = later.map(|(at, _)| *at).min();
                ended.is_none_or(|ended| call.now < ended.plus(ttl))
            }
            None => false,
        };
        if !is_valid {
            continue;
        }
        let payload = live.secrets.value_in(&snapshot, info.number, call.now);
        // A version that was deleted signs nothing any more.
        let public = payload
            .await?
            .and_then(|one| strongroom_rotators::public_key(&one));
        let Some(public) = public else { continue };
        let mut jwk: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, value) in public.members() {
            jwk.insert(name, json!(value));
        }
        jwk.insert("kid", json!(public.id()));
        jwk.insert("alg", json!(public.algorithm().word()));
        jwk.insert("use", json!("sig"));
        keys.push(jwk);
    }
    Ok(Answer::Bare(StatusCode::OK, json!({ "keys": keys })))
}

/// When a version became the current one; `None` where it never was.
fn began(rotation: &Rotation, id: &str, created: Timestamp) -> Option<Timestamp> {
    let is_pending = rotation.run.as_ref().is_some_and(|run| run.token == id);
    let outcome = rotation.history.iter().find(|one| one.token == id);
    match outcome {
        _ if is_pending => None,
        Some(one) if one.given_up_at.is_some() || one.purpose == Purpose::Try => None,
        Some(one) => Some(one.ended),
        // Set by somebody, or rotated in too long ago to be remembered.
        None => Some(created),
    }
}
