//! Secrets engines and auth methods: which there are, and their settings.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::RecordId;
use strongroom_engine::Error;
use strongroom_engine::mounts::Doomed;
use strongroom_engine::mounts::Engines;
use strongroom_engine::mounts::MOUNT_PATH_BYTES_MAX;
use strongroom_engine::mounts::MOUNTS_MAX;
use strongroom_engine::mounts::Mount;
use strongroom_engine::state::State;
use strongroom_engine::tokens::TTL_SECONDS_MAX_DEFAULT;
use strongroom_engine::tokens::owner_of;

use crate::core::Live;
use crate::vault::body::Fields;
use crate::vault::call::Call;
use crate::vault::dispatch::mount_at;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

const METHODS: &str = "auth/";

fn describe(mount: &Mount) -> Value {
    let mut config = Map::new();
    config.insert("default_lease_ttl".into(), mount.default_lease_ttl.into());
    config.insert("force_no_cache".into(), mount.force_no_cache.into());
    config.insert("max_lease_ttl".into(), mount.max_lease_ttl.into());
    let is_method = is_method(mount.engine);
    if is_method {
        config.insert("token_type".into(), mount.token_type.as_str().into());
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &mount.audit_clear_request),
        ("audit_non_hmac_response_keys", &mount.audit_clear_response),
        ("passthrough_request_headers", &mount.passthrough_headers),
        ("allowed_response_headers", &mount.response_headers),
    ] {
        if !list.is_empty() {
            config.insert(name.into(), list.clone().into());
        }
    }
    if !mount.listing_visibility.is_empty() {
        let visibility = mount.listing_visibility.as_str();
        config.insert("listing_visibility".into(), visibility.into());
    }
    let mut json = json!({
        "accessor": mount.accessor,
        "config": config,
        "deprecation_status": "supported",
        "description": mount.description,
        "external_entropy_access": false,
        "local": mount.is_local,
        "options": mount.options,
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": mount.seal_wrap,
        "type": mount.engine.word(),
        "uuid": crate::core::uuid_text(&mount.uuid),
    });
    let is_builtin = matches!(
        mount.engine,
        Engines::System | Engines::Cubbyhole | Engines::Token | Engines::Database
    );
    if let (true, Some(map)) = (is_builtin, json.as_object_mut()) {
        map.shift_remove("deprecation_status");
    }
    json
}

fn is_method(engine: Engines) -> bool {
    match engine {
        Engines::Token | Engines::Userpass | Engines::AppRole => true,
        Engines::Kv1 | Engines::Kv2 | Engines::Cubbyhole | Engines::System | Engines::Database => {
            false
        }
    }
}

fn list(call: &Call, methods: bool) -> Answer {
    let table = call.core.mounts();
    let mut all = Map::new();
    for (path, mount) in &table.mounts.by_path {
        match (path.strip_prefix(METHODS), methods) {
            (Some(name), true) => all.insert(name.to_owned(), describe(mount)),
            (None, false) => all.insert(path.clone(), describe(mount)),
            (Some(_), false) | (None, true) => None,
        };
    }
    Answer::lifted(Value::Object(all))
}

pub(super) async fn list_engines(call: &mut Call) -> Result<Answer, Fault> {
    Ok(list(call, false))
}

pub(super) async fn list_methods(call: &mut Call) -> Result<Answer, Fault> {
    Ok(list(call, true))
}

/// The mounts that the caller may use anything of.
pub(super) async fn visible(call: &mut Call) -> Result<Answer, Fault> {
    let acl = call.core.acl_of(call.caller()?);
    let table = call.core.mounts();
    let (mut secret, mut auth) = (Map::new(), Map::new());
    for (path, mount) in &table.mounts.by_path {
        if !acl.may_use_below(path) {
            continue;
        }
        match path.strip_prefix(METHODS) {
            Some(name) => auth.insert(name.to_owned(), describe(mount)),
            None => secret.insert(path.clone(), describe(mount)),
        };
    }
    Ok(Answer::data(json!({ "auth": auth, "secret": secret })))
}

/// What the command line asks before everything: which engine answers at a path.
pub(super) async fn preflight(call: &mut Call) -> Result<Answer, Fault> {
    let path = call.capture(0).to_owned();
    let refused = || {
        let shown = path.trim_end_matches('/');
        Fault::Refused(format!(
            "preflight capability check returned 403, please ensure client's policies grant \
             access to path \"{shown}/\""
        ))
    };
    let acl = call.core.acl_of(call.caller()?);
    let table = call.core.mounts();
    let live = mount_at(&table, &path).ok_or_else(refused)?;
    if !acl.may_use_below(&live.path) {
        return Err(refused());
    }
    let mut json = describe(&live.mount);
    if let Some(map) = json.as_object_mut() {
        map.insert("path".into(), live.path.as_str().into());
    }
    Ok(Answer::data(json))
}

/// The path of a request: of a mount, or of its settings.
fn target(call: &Call, methods: bool) -> Result<(String, bool), Fault> {
    let path = call.capture(0).trim_end_matches('/');
    let (path, is_tune) = match path.strip_suffix("/tune") {
        Some(path) => (path, true),
        None => (path, false),
    };
    if path.is_empty() || path.len() > MOUNT_PATH_BYTES_MAX {
        return Err(Fault::invalid("the mount's path is empty or too long"));
    }
    let prefix = if methods { METHODS } else { "" };
    Ok((format!("{prefix}{path}/"), is_tune))
}

fn read(call: &Call, methods: bool) -> Result<Answer, Fault> {
    let (path, is_tune) = target(call, methods)?;
    let table = call.core.mounts();
    let live = table.get(&path);
    let live = live.ok_or_else(|| match is_tune {
        true => Fault::Invalid(format!("cannot fetch sysview for path {path:?}")),
        false if methods => {
            let name = path.trim_start_matches(METHODS);
            Fault::Invalid(format!("No auth engine at {name}"))
        }
        false => Fault::Invalid(format!("No secret engine mount at {path}")),
    })?;
    if !is_tune {
        return Ok(Answer::lifted(describe(&live.mount)));
    }
    Ok(Answer::lifted(tuned(live)))
}

fn tuned(live: &Live) -> Value {
    let mount = &live.mount;
    let effective = |own: i64| {
        if own > 0 {
            own
        } else {
            TTL_SECONDS_MAX_DEFAULT
        }
    };
    let mut map = Map::new();
    let max = effective(mount.max_lease_ttl);
    let default = effective(mount.default_lease_ttl).min(max);
    map.insert("default_lease_ttl".into(), default.into());
    map.insert("description".into(), mount.description.as_str().into());
    map.insert("force_no_cache".into(), mount.force_no_cache.into());
    map.insert("max_lease_ttl".into(), max.into());
    if is_method(mount.engine) {
        map.insert("token_type".into(), mount.token_type.as_str().into());
    }
    let options = mount.options.as_ref();
    if let Some(options) = options.filter(|options| !options.is_empty()) {
        map.insert("options".into(), json!(options));
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &mount.audit_clear_request),
        ("audit_non_hmac_response_keys", &mount.audit_clear_response),
        ("passthrough_request_headers", &mount.passthrough_headers),
        ("allowed_response_headers", &mount.response_headers),
    ] {
        if !list.is_empty() {
            map.insert(name.into(), list.clone().into());
        }
    }
    if !mount.listing_visibility.is_empty() {
        let visibility = mount.listing_visibility.as_str();
        map.insert("listing_visibility".into(), visibility.into());
    }
    Value::Object(map)
}

pub(super) async fn read_engine(call: &mut Call) -> Result<Answer, Fault> {
    read(call, false)
}

pub(super) async fn read_method(call: &mut Call) -> Result<Answer, Fault> {
    read(call, true)
}

pub(super) async fn write_engine(call: &mut Call) -> Result<Answer, Fault> {
    write(call, false).await
}

pub(super) async fn write_method(call: &mut Call) -> Result<Answer, Fault> {
    write(call, true).await
}

async fn write(call: &Call, methods: bool) -> Result<Answer, Fault> {
    let (path, is_tune) = target(call, methods)?;
    if is_tune {
        return tune(call, &path).await;
    }
    let mount = new_mount(call, methods)?;
    check_path(&path, methods)?;
    let state = &call.core.state;
    state
        .edit_mounts(|mounts, batch| {
            if mounts.by_path.len() >= MOUNTS_MAX {
                return Err(Error::LimitExceeded {
                    what: "the number of mounts".into(),
                    limit: MOUNTS_MAX.to_string(),
                });
            }
            if let Some(at) = mounts.conflict(&path) {
                return Err(Error::Invalid {
                    message: format!(
                        "path is already in use at {}",
                        if methods {
                            at.trim_start_matches(METHODS)
                        } else {
                            at
                        }
                    ),
                });
            }
            batch.extend(state.first_of_space(&mount));
            mounts.by_path.insert(path.clone(), mount.clone());
            Ok(())
        })
        .await?;
    Ok(Answer::Empty)
}

fn check_path(path: &str, methods: bool) -> Result<(), Fault> {
    let name = path
        .strip_prefix(METHODS)
        .filter(|_| methods)
        .unwrap_or(path);
    let first = name.split('/').next().unwrap_or_default();
    let is_reserved = match methods {
        true => first == "token",
        false => matches!(first, "sys" | "auth" | "cubbyhole" | "identity" | "audit"),
    };
    if is_reserved {
        return Err(Fault::Invalid(format!(
            "cannot mount under existing mount {name:?}"
        )));
    }
    Ok(())
}

fn new_mount(call: &Call, methods: bool) -> Result<Mount, Fault> {
    let fields = &call.fields;
    let kind = field::text(fields, "type")?.unwrap_or_default();
    let options = field::text_map(fields, "options")?;
    let version = options.as_ref().and_then(|options| options.get("version"));
    let engine = match (kind.as_str(), methods) {
        ("", _) => return Err(Fault::invalid("backend type must be specified as a string")),
        ("kv" | "generic", false) => match version.map(String::as_str) {
            None | Some("" | "1") => Engines::Kv1,
            Some("2") => Engines::Kv2,
            Some(_) => return Err(Fault::invalid("unsupported version of the kv engine")),
        },
        ("kv-v1", false) => Engines::Kv1,
        ("kv-v2", false) => Engines::Kv2,
        ("userpass", true) => Engines::Userpass,
        ("approle", true) => Engines::AppRole,
        ("database", false) => Engines::Database,
        (kind, _) => {
            return Err(Fault::Invalid(format!(
                "plugin not found in the catalog: {kind}"
            )));
        }
    };
    let mut mount = Mount::new(engine, &*call.node.rng);
    mount.options = match call.fields.has("options") {
        true => options,
        false => Some(BTreeMap::new()),
    };
    if kind == "kv-v2" {
        let options = mount.options.get_or_insert_with(BTreeMap::new);
        options.insert("version".into(), "2".into());
    }
    mount.is_local = field::flag(fields, "local")?.unwrap_or(false);
    mount.seal_wrap = field::flag(fields, "seal_wrap")?.unwrap_or(false);
    mount.description = field::text(fields, "description")?.unwrap_or_default();
    if let Some(Value::Object(config)) = fields.get("config") {
        let config = Value::Object(config.clone());
        let config = Fields::parse(config.to_string().as_bytes())?;
        apply_config(&mut mount, &config)?;
    }
    Ok(mount)
}

fn apply_config(mount: &mut Mount, fields: &Fields) -> Result<(), Fault> {
    for (name, seconds) in [
        ("default_lease_ttl", &mut mount.default_lease_ttl),
        ("max_lease_ttl", &mut mount.max_lease_ttl),
    ] {
        if let Some(Value::String(text)) = fields.get(name)
            && text == "system"
        {
            *seconds = 0;
            continue;
        }
        if let Some(asked) = field::seconds(fields, name)? {
            *seconds = asked;
        }
    }
    let max = match mount.max_lease_ttl {
        0 => TTL_SECONDS_MAX_DEFAULT,
        own => own,
    };
    if mount.default_lease_ttl > max {
        return Err(Fault::invalid(
            "backend max lease TTL less than backend default lease TTL",
        ));
    }
    if let Some(flag) = field::flag(fields, "force_no_cache")? {
        mount.force_no_cache = flag;
    }
    if let Some(kind) = field::text(fields, "token_type")? {
        mount.token_type = match kind.as_str() {
            "" | "default" => "default-service".into(),
            "service" | "batch" | "default-service" | "default-batch" => kind,
            _ => return Err(Fault::invalid("invalid value for \"token_type\"")),
        };
    }
    if let Some(visibility) = field::text(fields, "listing_visibility")? {
        mount.listing_visibility = match visibility.as_str() {
            "" | "hidden" | "unauth" => visibility,
            _ => return Err(Fault::invalid("invalid listing_visibility")),
        };
    }
    for (name, list) in [
        (
            "audit_non_hmac_request_keys",
            &mut mount.audit_clear_request,
        ),
        (
            "audit_non_hmac_response_keys",
            &mut mount.audit_clear_response,
        ),
        (
            "passthrough_request_headers",
            &mut mount.passthrough_headers,
        ),
        ("allowed_response_headers", &mut mount.response_headers),
    ] {
        if let Some(texts) = field::texts(fields, name)? {
            *list = texts;
        }
    }
    Ok(())
}

async fn tune(call: &Call, path: &str) -> Result<Answer, Fault> {
    let options = field::text_map(&call.fields, "options")?;
    let description = field::text(&call.fields, "description")?;
    let table = call.core.mounts();
    let Some(live) = table.get(path) else {
        return Err(Fault::Invalid(format!(
            "tune of path {path:?} failed: no mount entry found"
        )));
    };
    let mut tuned = live.mount.clone();
    apply_config(&mut tuned, &call.fields)?;
    if let Some(description) = description {
        tuned.description = description;
    }
    let is_upgrade = live.mount.engine == Engines::Kv1;
    if let Some(options) = options {
        upgrade(&mut tuned, &options)?;
        let all = tuned.options.get_or_insert_with(BTreeMap::new);
        all.extend(options);
    }
    let state = &call.core.state;
    state
        .edit_mounts(|mounts, _| match mounts.by_path.get_mut(path) {
            Some(mount) if mount.uuid == tuned.uuid => {
                *mount = tuned.clone();
                Ok(())
            }
            _ => Err(Error::Contended { path: path.into() }),
        })
        .await?;
    if is_upgrade && tuned.engine == Engines::Kv2 {
        let note = "Upgrading mount from version 1 to version 2: its values are the first versions";
        return Ok(Answer::data(Value::Null).with_warning(note));
    }
    Ok(Answer::Empty)
}

/// Values without versions become values with versions: they lie the same way.
fn upgrade(mount: &mut Mount, options: &BTreeMap<String, String>) -> Result<(), Fault> {
    match (mount.engine, options.get("version").map(String::as_str)) {
        (_, None) | (Engines::Kv1, Some("1")) | (Engines::Kv2, Some("2")) => Ok(()),
        (Engines::Kv1, Some("2")) => {
            mount.engine = Engines::Kv2;
            Ok(())
        }
        (Engines::Kv2, Some("1")) => Err(Fault::invalid(
            "cannot downgrade mount from \"v2\" to \"v1\"",
        )),
        (_, Some(_)) => Err(Fault::invalid("unsupported version")),
    }
}

pub(super) async fn remove_engine(call: &mut Call) -> Result<Answer, Fault> {
    let (path, _) = target(call, false)?;
    if matches!(path.as_str(), "sys/" | "cubbyhole/" | "identity/" | "auth/") {
        return Err(Fault::Invalid(format!("cannot unmount {path:?}")));
    }
    remove(call, &path).await
}

pub(super) async fn remove_method(call: &mut Call) -> Result<Answer, Fault> {
    let (path, _) = target(call, true)?;
    if path == "auth/token/" {
        return Err(Fault::invalid(
            "token credential backend cannot be disabled",
        ));
    }
    remove(call, &path).await
}

async fn remove(call: &Call, path: &str) -> Result<Answer, Fault> {
    let may_drop = call.node.settings.may_drop_own_space;
    let state = &call.core.state;
    let users = call.core.mounts().get(path).map(std::sync::Arc::clone);
    let users = users.filter(|live| live.mount.engine == Engines::Database);
    if let Some(live) = &users {
        super::leases::close_mount(call, live).await?;
    }
    let removed = state.edit_mounts(|mounts, batch| {
        let Some(mount) = mounts.by_path.get(path) else {
            return Ok(None);
        };
        if mount.is_default_space && !may_drop {
            return Err(Error::Invalid {
                message: "this mount is the store's own space, which the command line uses too: \
                          it cannot be unmounted"
                    .into(),
            });
        }
        let mount = mount.clone();
        mounts.by_path.remove(path);
        batch.push(state.doom(path, &mount));
        Ok(Some(mount))
    });
    let Some(mount) = removed.await? else {
        return Ok(Answer::Empty);
    };
    let gone = Doomed {
        space: mount.uuid,
        path: path.to_owned(),
    };
    forget(state, &gone).await?;
    call.node.wake_tasks();
    Ok(Answer::Empty)
}

/// The tokens that a method gave.
async fn tokens_of(state: &State, method: [u8; 16]) -> Result<Vec<RecordId>, Error> {
    let mut found = Vec::new();
    for accessor in state.accessors().await? {
        if let Some(token) = state.token_of_accessor(&accessor).await?
            && token.value.mount == method
        {
            found.push(token.id);
        }
    }
    Ok(found)
}

/// Logs out whoever logged in through a method that is gone, and removes a mount's settings. What
/// is cut off is done again in the background.
pub(crate) async fn forget(state: &State, gone: &Doomed) -> Result<(), Error> {
    if gone.path.starts_with(METHODS) {
        for id in tokens_of(state, gone.space).await? {
            state.revoke(id).await?;
        }
    }
    let owner = owner_of(RecordId(gone.space));
    crate::vault::userpass::forget(state, &owner).await?;
    crate::vault::approle::forget(state, &owner).await?;
    crate::vault::database::forget(state, &owner).await?;
    state.forget_lease_counts(gone.space).await
}

pub(super) async fn remount(call: &mut Call) -> Result<Answer, Fault> {
    let path = |name| -> Result<String, Fault> {
        let text = field::text(&call.fields, name)?.unwrap_or_default();
        let text = text.trim_matches('/');
        if text.is_empty() || text.len() > MOUNT_PATH_BYTES_MAX {
            return Err(Fault::invalid(
                "both 'from' and 'to' path must be specified as a string",
            ));
        }
        let parsed = text.parse::<strongroom_core::path::SecretPath>();
        parsed.map_err(|error| Fault::invalid(error.to_string()))?;
        Ok(format!("{text}/"))
    };
    let (from, to) = (path("from")?, path("to")?);
    if from.starts_with(METHODS) != to.starts_with(METHODS) {
        return Err(Fault::invalid(
            "cannot remount auth mount to non-auth mount or the reverse",
        ));
    }
    let is_method = from.starts_with(METHODS);
    check_path(&from, is_method)?;
    check_path(&to, is_method)?;
    if let Some(live) = call.core.mounts().get(&from) {
        // Leases are named after where they were read.
        super::leases::revoke_mount(call, live).await?;
    }
    call.core
        .state
        .edit_mounts(|mounts, _| {
            let Some(mount) = mounts.by_path.remove(&from) else {
                return Err(Error::Invalid {
                    message: format!("no matching mount at {from:?}"),
                });
            };
            if let Some(at) = mounts.conflict(&to) {
                return Err(Error::Invalid {
                    message: format!("path already in use at {at:?}"),
                });
            }
            mounts.by_path.insert(to.clone(), mount);
            Ok(())
        })
        .await?;
    // It is done by now: the id says what was moved, so that its status can be asked.
    let hash = call.core.state.barrier().keyed_hash(
        "remount",
        format!("{from}\0{to}\0{}", call.now.as_micros()).as_bytes(),
    );
    let id = crate::core::uuid_text(&hash);
    let moves = &call.node.moves;
    moves.note(&id, &from, &to);
    let answer = Answer::lifted(json!({ "migration_id": id }));
    Ok(answer.with_warning(
        "Mount move has been queued. Progress will be reported in the server log, tagged with \
         the returned migration_id",
    ))
}

pub(super) async fn remount_status(call: &mut Call) -> Result<Answer, Fault> {
    let id = call.capture(0);
    let (from, to) = call.node.moves.find(id).ok_or(Fault::NotFound)?;
    Ok(Answer::data(json!({
        "migration_id": id,
        "migration_info": {
            "source_mount": from,
            "target_mount": to,
            "status": "success",
        },
    })))
}
