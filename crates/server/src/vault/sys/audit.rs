//! Audit devices. Files lie in the folder that the server was started with, and nowhere else.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use crate::audit;
use crate::audit::file::FileDevice;
use crate::audit::sink::SinkDevice;
use crate::devices;
use crate::devices::Device;
use crate::devices::Sink;
use crate::devices::SinkKind;
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
    for (name, sink) in devices::stored_sinks(&call.core.state).await? {
        let entry = json!({
            "description": sink.description,
            "local": sink.is_local,
            "options": sink.options,
            "path": name,
            "type": sink.kind.word(),
        });
        all.insert(name, entry);
    }
    Ok(Answer::lifted(Value::Object(all)))
}

pub(super) async fn enable(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let kind = field::text(&call.fields, "type")?.unwrap_or_default();
    match (kind.as_str(), SinkKind::parse(&kind)) {
        ("file", _) => enable_file(call, &name).await,
        (_, Some(kind)) => enable_sink(call, &name, kind).await,
        (_, None) => Err(Fault::Invalid(format!(
            "unknown backend type: \"{}\"",
            kind.chars().take(32).collect::<String>()
        ))),
    }
}

/// Whether there is room for another device of that name.
async fn check_room(call: &Call, name: &str) -> Result<(), Fault> {
    let state = &call.core.state;
    let files = devices::stored(state).await?;
    let sinks = devices::stored_sinks(state).await?;
    if files.len() + sinks.len() >= DEVICES_MAX {
        return Err(Fault::Invalid(format!(
            "at most {DEVICES_MAX} audit devices"
        )));
    }
    let is_taken = files.iter().any(|(other, _)| other == name);
    if is_taken || sinks.iter().any(|(other, _)| other == name) {
        return Err(Fault::invalid("path already in use"));
    }
    Ok(())
}

fn add(call: &Call, device: audit::Device) {
    let mut devices = call.core.audit.devices().to_vec();
    devices.push(device);
    call.core.audit.set_devices(devices);
}

async fn enable_sink(call: &Call, name: &str, kind: SinkKind) -> Result<Answer, Fault> {
    let fields = &call.fields;
    let sink = Sink {
        kind,
        description: field::text(fields, "description")?.unwrap_or_default(),
        options: field::text_map(fields, "options")?.unwrap_or_default(),
        is_local: field::flag(fields, "local")?.unwrap_or(false),
    };
    let shape = sink.shape(&call.node.settings.syslog_socket);
    let shape = shape.map_err(Fault::Invalid)?;
    check_room(call, name).await?;
    if !matches!(
        sink.options.get("skip_test").map(String::as_str),
        Some("true" | "1")
    ) {
        let (target, timeout) = (shape.target.clone(), shape.timeout);
        let trying = tokio::task::spawn_blocking(move || target.connect(timeout).map(drop));
        // A socket of this machine may keep one waiting for as long as it likes.
        let tried = tokio::time::timeout(timeout * 2, trying).await;
        let refused = match tried {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) => Some(error.to_string()),
            Ok(Err(_)) | Err(_) => Some("nobody answers".into()),
        };
        if let Some(why) = refused {
            let text = format!("audit backend failed test message: {why}");
            return Err(Fault::Invalid(text));
        }
    }
    let opened = SinkDevice::start(name, shape)
        .map_err(|error| Fault::Internal(format!("an audit device cannot start: {error}")))?;
    let put = Put::named(name, Shelf::Kind).when(Precondition::Absent);
    let state = &call.core.state;
    state.write(vec![state.put(&put, &sink)]).await?;
    add(call, audit::Device::Sink(Arc::new(opened)));
    Ok(Answer::Empty)
}

async fn enable_file(call: &Call, name: &str) -> Result<Answer, Fault> {
    let fields = &call.fields;
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
    check_room(call, name).await?;
    let stored = devices::stored(&call.core.state).await?;
    if stored.iter().any(|(_, other)| other.file_name() == file) {
        return Err(Fault::invalid("another audit device writes that file"));
    }
    let opened = FileDevice::open(name, folder, &file);
    let opened = opened.map_err(|_| Fault::invalid("the audit file cannot be opened"))?;
    let put = Put::named(name, Shelf::Kind).when(Precondition::Absent);
    let state = &call.core.state;
    state.write(vec![state.put(&put, &device)]).await?;
    add(call, audit::Device::File(Arc::new(opened)));
    Ok(Answer::Empty)
}

pub(super) async fn disable(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let state = &call.core.state;
    let ids = [state.id_of::<Device>(&name), state.id_of::<Sink>(&name)];
    let batch = ids.map(|id| state::delete(id, Precondition::Any));
    state.write(batch.into()).await?;
    let mut devices = call.core.audit.devices().to_vec();
    devices.retain(|device| device.name() != name);
    call.core.audit.set_devices(devices);
    Ok(Answer::Empty)
}

pub(super) async fn hash(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let is_there = call.core.state.load::<Device>(&name).await?.is_some()
        || call.core.state.load::<Sink>(&name).await?.is_some();
    if !is_there {
        return Err(Fault::Invalid(format!("unknown audit backend \"{name}\"")));
    }
    let input = field::text(&call.fields, "input")?.unwrap_or_default();
    if input.is_empty() {
        return Err(Fault::invalid("the \"input\" parameter is empty"));
    }
    let hash = call.core.audit.hash(input.as_bytes());
    Ok(Answer::lifted(json!({ "hash": hash })))
}
