//! Reading one secret.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::Payload;
use strongroom_core::secret::Shape;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PENDING;
use strongroom_core::version::VersionInfo;
use strongroom_core::version::VersionState;
use strongroom_engine::secrets::Snapshot;

use super::check_deletion;
use super::named;
use crate::aws::InRegion;
use crate::aws::accessed;
use crate::aws::call::Call;
use crate::aws::call::time;
use crate::aws::error::Fault;
use crate::aws::input;
use crate::core::Seen;
use crate::ledger::Door;
use crate::vault::body::Wiped;
use crate::vault::body::compact;
use crate::vault::reply::Rendered;

/// The key that secrets are encrypted with where nobody named one.
const DEFAULT_KEY: &str = "DefaultEncryptionKey";
/// Versions on one page, unless somebody says.
const PAGE: i64 = 100;

pub(super) async fn get_value(call: &mut Call) -> Result<Arc<InRegion>, Fault> {
    let id = input::text(&call.fields, "VersionId", 32, 64)?;
    let stage = input::text(&call.fields, "VersionStage", 1, 256)?;
    value_of(call, call.seen()?, id, stage).await
}

/// The answer with a value; that with the current one stays in memory.
pub(super) async fn value_of(
    call: &Call,
    seen: &Seen,
    id: Option<&str>,
    stage: Option<&str>,
) -> Result<Arc<InRegion>, Fault> {
    let snapshot = &seen.snapshot;
    check_deletion(snapshot)?;
    let info = find_version(call, snapshot, id, stage)?;
    let is_current = snapshot.newest() == Some(info);
    let known = seen.for_aws.get().filter(|known| {
        let is_live = info.state_at(call.request.now) == VersionState::Live;
        is_current && is_live && known.region == call.request.region
    });
    let answer = match known {
        Some(known) => Arc::clone(known),
        None => {
            let answer = Arc::new(render(call, snapshot, info, id, stage).await?);
            if is_current {
                let _ = seen.for_aws.set(Arc::clone(&answer));
            }
            answer
        }
    };
    accessed::note(&call.request, seen, info).await;
    let (request, what) = (&call.request, (snapshot.path(), info));
    let reads = &request.core.reads;
    reads.note(Door::Aws, &request.key.known, &call.live, what, request.now);
    if !is_current {
        let metrics = &request.node.metrics;
        metrics.note_old_read(&snapshot.stages(info));
    }
    Ok(answer)
}

async fn render(
    call: &Call,
    snapshot: &Snapshot,
    info: &VersionInfo,
    id: Option<&str>,
    stage: Option<&str>,
) -> Result<InRegion, Fault> {
    let now = call.request.now;
    let gone = || match (id, stage) {
        (Some(id), None) => no_version(id),
        (_, stage) => no_stage(stage.unwrap_or(STAGE_CURRENT)),
    };
    let payload = call.live.secrets.value_in(snapshot, info.number, now);
    let payload = payload.await?.ok_or_else(gone)?;
    let mut answer = named(call, snapshot);
    let version_id = call.live.secrets.version_id(snapshot, info);
    answer.insert("VersionId".into(), version_id.into());
    let (field, value) = value_json(&payload)?;
    answer.insert(field.into(), value);
    answer.insert("VersionStages".into(), json!(snapshot.stages(info)));
    answer.insert("CreatedDate".into(), time(info.created));
    let answer = Wiped(Value::Object(answer));
    let audit = &call.request.core.audit;
    let (version, value) = (&answer.0["VersionId"], &answer.0[field]);
    Ok(InRegion {
        region: call.request.region.clone(),
        brief: format!(
            "{{\"VersionId\":{},\"{field}\":{}}}",
            audit.hashed(version),
            audit.hashed(value)
        ),
        rendered: Rendered {
            json: compact(&answer.0),
            audit: audit.hashed(&answer.0),
        },
    })
}

fn value_json(payload: &Payload) -> Result<(&'static str, Value), Fault> {
    // EXPOSE: the value goes into the answer to a caller that may read it.
    let bytes = payload.value.expose_secret();
    match payload.shape {
        Shape::Text | Shape::Fields => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Fault::Internal("a stored text is no UTF-8".into()))?;
            Ok(("SecretString", text.into()))
        }
        Shape::Binary => {
            let text = data_encoding::BASE64.encode(bytes);
            Ok(("SecretBinary", text.into()))
        }
    }
}

fn find_version<'a>(
    call: &Call,
    snapshot: &'a Snapshot,
    id: Option<&str>,
    stage: Option<&str>,
) -> Result<&'a VersionInfo, Fault> {
    // Asked for by nearly everybody, and one look.
    let has_stage = |info: &VersionInfo, stage: &str| match stage {
        STAGE_CURRENT => snapshot.newest() == Some(info),
        stage => info.stages.iter().any(|own| own == stage),
    };
    let mut versions = snapshot.versions().iter();
    match id {
        Some(id) => {
            let secrets = &call.live.secrets;
            let found = versions.find(|info| secrets.version_id(snapshot, info) == id);
            let found = found.ok_or_else(|| no_version(id))?;
            match stage {
                Some(stage) if !has_stage(found, stage) => Err(Fault::Request(
                    "You provided a VersionStage that is not associated to the provided \
                     VersionId."
                        .into(),
                )),
                _ => Ok(found),
            }
        }
        None => {
            let stage = stage.unwrap_or(STAGE_CURRENT);
            let found = versions.rev().find(|info| has_stage(info, stage));
            found.ok_or_else(|| no_stage(stage))
        }
    }
}

fn no_stage(stage: &str) -> Fault {
    Fault::NotFoundWith(format!(
        "Secrets Manager can't find the specified secret value for staging label: {stage}"
    ))
}

fn no_version(id: &str) -> Fault {
    Fault::NotFoundWith(format!(
        "Secrets Manager can't find the specified secret value for VersionId: {id}"
    ))
}

pub(super) async fn describe(call: &mut Call) -> Result<Value, Fault> {
    let snapshot = call.snapshot()?;
    let mut answer = described(call, snapshot).await?;
    let stages = stages_by_id(call, snapshot);
    if !stages.is_empty() {
        answer.insert("VersionIdsToStages".into(), stages.into());
    }
    if let Some(status) = super::replicas::status(call, snapshot) {
        answer.insert("ReplicationStatus".into(), status);
    }
    Ok(Value::Object(answer))
}

/// The versions that have stages.
pub(super) fn stages_by_id(call: &Call, snapshot: &Snapshot) -> Map<String, Value> {
    let mut map = Map::new();
    for info in snapshot.versions() {
        let stages = snapshot.stages(info);
        if info.state != VersionState::Destroyed && !stages.is_empty() {
            let id = call.live.secrets.version_id(snapshot, info);
            map.insert(id, json!(stages));
        }
    }
    // The version that is being rotated in, before it has a value.
    let rotation = snapshot.aws().and_then(|facts| facts.rotation.as_ref());
    if let Some(pending) = rotation.and_then(|rotation| rotation.pending.clone())
        && !map.contains_key(&pending)
    {
        map.insert(pending, json!([STAGE_PENDING]));
    }
    map
}

/// What is known about a secret, but its versions.
pub(super) async fn described(
    call: &Call,
    snapshot: &Snapshot,
) -> Result<Map<String, Value>, Fault> {
    let metadata = snapshot.metadata();
    let mut answer = named(call, snapshot);
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            answer.insert(name.to_owned(), value);
        }
    };
    let text = |text: Option<&String>| text.map(|text| Value::from(text.as_str()));
    put("Description", text(metadata.description.as_ref()));
    let facts = snapshot.aws();
    if let Some(facts) = facts {
        put("Type", text(facts.kind.as_ref()));
        put("KmsKeyId", text(facts.kms_key_id.as_ref()));
        if let Some(rotation) = &facts.rotation {
            super::rotation::describe(rotation, &mut put);
        }
        put("PrimaryRegion", text(facts.primary_region.as_ref()));
    }
    put("LastChangedDate", Some(time(metadata.updated)));
    let accessed = accessed::day_of(&call.request, &call.live, snapshot).await?;
    put("LastAccessedDate", accessed.map(time));
    let deletion = snapshot.deletion();
    put("DeletedDate", deletion.map(|deletion| time(deletion.asked)));
    let tags = metadata.tags.iter();
    let tags: Vec<Value> = tags
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    let had_tags = facts.is_some_and(|facts| facts.had_tags);
    put("Tags", (!tags.is_empty() || had_tags).then(|| tags.into()));
    put("CreatedDate", Some(time(metadata.created)));
    Ok(answer)
}

pub(super) async fn version_ids(call: &mut Call) -> Result<Value, Fault> {
    let all = input::flag(&call.fields, "IncludeDeprecated")?;
    let most = input::bounded(&call.fields, "MaxResults", 1, 100)?.unwrap_or(PAGE);
    let after = super::list::page_start(call, "versions")?;
    let snapshot = call.snapshot()?;
    let facts = snapshot.aws();
    let key = facts.and_then(|facts| facts.kms_key_id.as_deref());
    let accessed = accessed::of(&call.request, &call.live, snapshot).await?;
    let mut versions = snapshot.versions().iter().collect::<Vec<_>>();
    versions.sort_by_key(|info| info.number);
    let mut listed = Vec::new();
    let mut next = None;
    for info in versions {
        let stages = snapshot.stages(info);
        let is_hidden = stages.is_empty() && !all;
        let number = format!("{:020}", info.number);
        if is_hidden
            || info.state == VersionState::Destroyed
            || after.as_ref().is_some_and(|after| number <= *after)
        {
            continue;
        }
        if listed.len() >= usize::try_from(most).unwrap_or(1) {
            next = Some(());
            break;
        }
        let mut version = Map::new();
        let id = call.live.secrets.version_id(snapshot, info);
        version.insert("VersionId".into(), id.into());
        if !stages.is_empty() {
            version.insert("VersionStages".into(), json!(stages));
        }
        let day = accessed
            .as_ref()
            .and_then(|accessed| accessed.of_version(info.number));
        if let Some(day) = day {
            version.insert("LastAccessedDate".into(), time(day));
        }
        version.insert("CreatedDate".into(), time(info.created));
        version.insert("KmsKeyIds".into(), json!([key.unwrap_or(DEFAULT_KEY)]));
        listed.push((number, Value::Object(version)));
    }
    let mut answer = named(call, snapshot);
    if let (Some(()), Some((last, _))) = (next, listed.last()) {
        let token = super::list::page_token(call, "versions", last);
        answer.insert("NextToken".into(), token.into());
    }
    let versions: Vec<Value> = listed.into_iter().map(|(_, version)| version).collect();
    answer.insert("Versions".into(), versions.into());
    Ok(Value::Object(answer))
}
