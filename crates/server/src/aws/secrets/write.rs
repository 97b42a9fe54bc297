//! Making and changing secrets.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::aws::AwsFacts;
use strongroom_core::metadata::Metadata;
use strongroom_core::version::Provenance;
use strongroom_engine::secrets::Addition;
use strongroom_engine::secrets::Creation;
use strongroom_engine::secrets::GraphError;

use super::check_deletion;
use super::failed;
use super::named;
use super::replicas;
use crate::aws::call::Call;
use crate::aws::error::Fault;
use crate::aws::input;

/// Longest description, and longest id of a key.
const TEXT_CHARS_MAX: usize = 2048;
/// Longest type.
const TYPE_CHARS_MAX: usize = 256;
/// Most stages named at once.
const STAGES_MAX: usize = 20;

pub(super) async fn create(call: &mut Call) -> Result<Value, Fault> {
    let fields = &call.fields;
    if fields.has("CrossAccountPrimaryARN") {
        return Err(Fault::Request(
            "There is one account on this server: secrets have no replicas in others.".into(),
        ));
    }
    let payload = input::value(fields)?;
    // What is sent without a token cannot be sent again safely; without a value it makes no
    // version.
    let id = match (&payload, fields.get("ClientRequestToken")) {
        (None, None) => None,
        _ => Some(input::client_token(fields)?),
    };
    let target = call.target()?;
    if let Some(seen) = &target.seen
        && !call.is_visible(&seen.snapshot)
    {
        return Err(Fault::Request(
            "You can't create this secret because one of this name is at home in another region."
                .into(),
        ));
    }
    let mut facts = AwsFacts {
        kms_key_id: key_of(call)?,
        kind: text_of(call, "Type", TYPE_CHARS_MAX)?,
        ..AwsFacts::default()
    };
    let tags = input::tags(fields)?.unwrap_or_default();
    facts.had_tags = !tags.is_empty();
    if let Some(added) = replicas::asked(call)? {
        replicas::check(call, 0, &added)?;
        replicas::merge(&mut facts, &call.request.region, &added);
    }
    let description = input::text(fields, "Description", 0, TEXT_CHARS_MAX)?;
    let new = Creation {
        description: description.filter(|text| !text.is_empty()),
        tags: &tags,
        facts: &facts,
        value: payload.as_ref().zip(id),
        limits: call.limits().await?,
    };
    let context = call.context();
    let created = call.live.secrets.create(&context, &target.path, &new).await;
    let created = created.map_err(|error| failed(call, error))?;
    let mut answer = named(call, &created.snapshot);
    if let (Some(_), Some(id)) = (&payload, id) {
        answer.insert("VersionId".into(), id.into());
    }
    if let Some(status) = replicas::status(call, &created.snapshot) {
        answer.insert("ReplicationStatus".into(), status);
    }
    Ok(Value::Object(answer))
}

fn text_of(call: &Call, name: &str, longest: usize) -> Result<Option<String>, Fault> {
    let text = input::text(&call.fields, name, 0, longest)?;
    Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
}

fn key_of(call: &Call) -> Result<Option<String>, Fault> {
    text_of(call, "KmsKeyId", TEXT_CHARS_MAX)
}

pub(super) async fn put_value(call: &mut Call) -> Result<Value, Fault> {
    let id = input::client_token(&call.fields)?;
    let stages = input::texts(&call.fields, "VersionStages", STAGES_MAX, 256)?;
    let stages = stages.unwrap_or_default();
    let payload = input::value(&call.fields)?.ok_or_else(|| {
        Fault::Request("You must provide either SecretString or SecretBinary.".into())
    })?;
    check_deletion(call.primary()?)?;
    let path = &call.target()?.path;
    let new = Addition {
        payload: &payload,
        provenance: Provenance::Set,
        id,
        stages: &stages,
        limits: call.limits().await?,
    };
    let context = call.context();
    let secrets = &call.live.secrets;
    let added = secrets
        .add_version(&context, path, &new, |_, _| Ok(()))
        .await;
    let added = added.map_err(|error| failed(call, error))?;
    let mut answer = named(call, &added.snapshot);
    answer.insert("VersionId".into(), id.into());
    if let Some(info) = added.snapshot.version(added.number) {
        let stages = added.snapshot.stages(info);
        answer.insert("VersionStages".into(), json!(stages));
    }
    Ok(Value::Object(answer))
}

pub(super) async fn update(call: &mut Call) -> Result<Value, Fault> {
    let payload = input::value(&call.fields)?;
    let id = match (&payload, call.fields.get("ClientRequestToken")) {
        (None, None) => None,
        _ => Some(input::client_token(&call.fields)?),
    };
    let description = input::text(&call.fields, "Description", 0, TEXT_CHARS_MAX)?;
    let key = match call.fields.get("KmsKeyId") {
        None => None,
        Some(_) => Some(key_of(call)?),
    };
    let kind = match call.fields.get("Type") {
        None => None,
        Some(_) => Some(text_of(call, "Type", TYPE_CHARS_MAX)?),
    };
    check_deletion(call.primary()?)?;
    let edit = |metadata: &mut Metadata, facts: &mut AwsFacts| -> Result<(), GraphError> {
        if let Some(text) = description {
            metadata.description = (!text.is_empty()).then(|| text.to_owned());
        }
        if let Some(key) = &key {
            facts.kms_key_id.clone_from(key);
        }
        if let Some(kind) = &kind {
            facts.kind.clone_from(kind);
        }
        Ok(())
    };
    let path = &call.target()?.path;
    let context = call.context();
    let secrets = &call.live.secrets;
    let snapshot = match payload.as_ref().zip(id) {
        None => secrets.edit_facts(&context, path, edit).await,
        Some((payload, id)) => {
            let new = Addition {
                payload,
                provenance: Provenance::Set,
                id,
                stages: &[],
                limits: call.limits().await?,
            };
            let added = secrets.add_version(&context, path, &new, edit).await;
            added.map(|added| added.snapshot)
        }
    };
    let snapshot = snapshot.map_err(|error| failed(call, error))?;
    let mut answer = named(call, &snapshot);
    if let (Some(_), Some(id)) = (&payload, id) {
        answer.insert("VersionId".into(), id.into());
    }
    Ok(Value::Object(answer))
}

pub(super) async fn tag(call: &mut Call) -> Result<Value, Fault> {
    let tags = input::tags(&call.fields)?.ok_or_else(|| input::missing("Tags"))?;
    edit(call, |metadata, facts| {
        metadata.tags.extend(tags.clone());
        facts.had_tags = true;
        Ok(())
    })
    .await
}

pub(super) async fn untag(call: &mut Call) -> Result<Value, Fault> {
    let keys = match call.fields.get("TagKeys") {
        Some(Value::Array(keys)) if keys.is_empty() => Vec::new(),
        _ => input::texts(&call.fields, "TagKeys", 50, 128)?
            .ok_or_else(|| input::missing("TagKeys"))?,
    };
    edit(call, |metadata, _| {
        for key in &keys {
            metadata.tags.remove(key);
        }
        Ok(())
    })
    .await
}

/// Changes what is known about a secret; the answer says nothing.
async fn edit(
    call: &Call,
    edit: impl FnMut(&mut Metadata, &mut AwsFacts) -> Result<(), GraphError>,
) -> Result<Value, Fault> {
    check_deletion(call.primary()?)?;
    let path = &call.target()?.path;
    let context = call.context();
    let edited = call.live.secrets.edit_facts(&context, path, edit).await;
    edited.map_err(|error| failed(call, error))?;
    Ok(Value::Object(Map::new()))
}
