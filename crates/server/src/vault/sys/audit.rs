//! Audit devices. Files lie in the folder that the server was started with, and nowhere else.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use crate::audit::file::FileDevice;
use crate::devices;
use crate::devices::Device;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Most devices.
const DEVICES_MAX: usize = 16;

fn name_of(call: &Call) -> Result<String, Fault> {
    Ok(format!("{}/", field::checked_name(call.capture(0))?))
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let mut all = Map::new();
    for (name, device) in devices::stored(&call.core.state).await? {
        let entry = json!({
            "description": device.description,
            "local": device.is_local,
            "options": { "path": device.asked_path },
            "path": name,
            "type": "file",
        });
        all.insert(name, entry);
    }
    Ok(Answer::lifted(Value::Object(all)))
}

pub(super) async fn enable(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let fields = &call.fields;
    let kind = field::text(fields, "type")?.unwrap_or_default();
    if kind != "file" {
        return Err(Fault::Invalid(format!(
            "unknown backend type: {}",
            kind.chars().take(32).collect::<String>()
        )));
    }
    let Some(folder) = &call.node.settings.audit_folder else {
        return Err(Fault::invalid(
            "this server keeps no audit log: start it with an audit folder",
        ));
    };
    let options = field::text_map(fields, "options")?.unwrap_or_default();
    let Some(asked_path) = options.get("file_path").or_else(|| options.get("path")) else {
        return Err(Fault::invalid("file_path is required"));
    };
    let refused = ["prefix", "mode", "skip_test"];
    if refused.iter().any(|option| options.contains_key(*option)) {
        return Err(Fault::invalid(
            "a prefix or mode of the file cannot be chosen: files are 0600 and hold JSON lines",
        ));
    }
    let device = Device {
        description: field::text(fields, "description")?.unwrap_or_default(),
        asked_path: asked_path.clone(),
        is_local: field::flag(fields, "local")?.unwrap_or(false),
    };
    let file = device.file_name().to_owned();
    let is_plain = !file.starts_with('.') && field::checked_name(&file).is_ok();
    if !is_plain {
        return Err(Fault::invalid(
            "the file's name is not fit for an audit log",
        ));
    }
    let stored = devices::stored(&call.core.state).await?;
    if stored.len() >= DEVICES_MAX {
        return Err(Fault::Invalid(format!(
            "at most {DEVICES_MAX} audit devices"
        )));
    }
    let is_taken = stored.iter().any(|(_, other)| other.file_name() == file);
    if stored.iter().any(|(other, _)| *other == name) || is_taken {
        return Err(Fault::Invalid(format!("path already in use: {name}")));
    }
    let opened = FileDevice::open(&name, folder, &file);
    let opened = opened.map_err(|_| Fault::invalid("the audit file cannot be opened"))?;
    let put = Put::named(&name, Shelf::Kind).when(Precondition::Absent);
    let state = &call.core.state;
    state.write(vec![state.put(&put, &device)]).await?;
    let mut devices = call.core.audit.devices().to_vec();
    devices.push(Arc::new(opened));
    call.core.audit.set_devices(devices);
    Ok(Answer::Empty)
}

pub(super) async fn disable(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let state = &call.core.state;
    let id = state.id_of::<Device>(&name);
    state
        .write(vec![state::delete(id, Precondition::Any)])
        .await?;
    let mut devices = call.core.audit.devices().to_vec();
    devices.retain(|device| device.name != name);
    call.core.audit.set_devices(devices);
    Ok(Answer::Empty)
}

pub(super) async fn hash(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let stored = devices::stored(&call.core.state).await?;
    if !stored.iter().any(|(other, _)| *other == name) {
        return Err(Fault::Invalid(format!("unknown audit backend \"{name}\"")));
    }
    let input = field::text(&call.fields, "input")?.unwrap_or_default();
    if input.is_empty() {
        return Err(Fault::invalid("the \"input\" parameter is empty"));
    }
    let hash = call.core.audit.hash(input.as_bytes());
    Ok(Answer::lifted(json!({ "hash": hash })))
}
