//! Roles and their settings.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use super::Role;
use super::RoleId;
use super::SecretId;
use super::SecretIdAccessor;
use super::of_mount;
use super::shelf_of;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::login;
use crate::vault::login::TokenSettings;
use crate::vault::reply::Answer;

/// Role names are the same whatever their case.
pub(super) fn name_of(call: &Call) -> Result<String, Fault> {
    Ok(field::checked_name(call.capture(0))?.to_lowercase())
}

pub(super) async fn load(call: &Call, name: &str) -> Result<Option<Found<Role>>, Fault> {
    Ok(call.core.state.load(&of_mount(call, name)).await?)
}

pub(super) async fn require(call: &Call) -> Result<(String, Found<Role>), Fault> {
    let name = name_of(call)?;
    match load(call, &name).await? {
        Some(found) => Ok((name, found)),
        None => Err(Fault::NotFound),
    }
}

fn put(call: &Call, name: &str, role: &Role, precondition: Precondition) -> BatchItem {
    let key = of_mount(call, name);
    let put = Put {
        shown: name,
        ..Put::named(&key, Shelf::Of(&call.live.owner)).when(precondition)
    };
    call.core.state.put(&put, role)
}

fn put_id(call: &Call, role: &Role, name: &str, precondition: Precondition) -> BatchItem {
    let key = of_mount(call, &role.role_id);
    let shelf = Shelf::Of(&call.live.owner);
    let put = Put {
        shown: name,
        ..Put::named(&key, shelf).when(precondition)
    };
    call.core.state.put(&put, &RoleId { role: name.into() })
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let shelf = Shelf::Of(&call.live.owner);
    let names = call.core.state.names::<Role>(shelf).await?;
    Answer::keys(&crate::vault::kv2::page(call, names)?)
}

pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    Ok(load(call, &name_of(call)?).await?.is_some())
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let (_, found) = require(call).await?;
    Ok(Answer::data(Value::Object(describe(&found.value))))
}

fn describe(role: &Role) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("bind_secret_id".into(), role.bind_secret_id.into());
    map.insert("local_secret_ids".into(), role.local_secret_ids.into());
    let cidrs = match role.secret_id_bound_cidrs.is_empty() {
        true => Value::Null,
        false => role.secret_id_bound_cidrs.clone().into(),
    };
    map.insert("secret_id_bound_cidrs".into(), cidrs);
    map.insert("secret_id_num_uses".into(), role.secret_id_num_uses.into());
    map.insert("secret_id_ttl".into(), role.secret_id_ttl.into());
    map.extend(role.settings.to_json());
    map
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let found = load(call, &name).await?;
    let (mut role, precondition, is_new) = match found {
        Some(found) => (found.value.clone(), found.unchanged(), false),
        None => (new_role(call), Precondition::Absent, true),
    };
    let before = role.role_id.clone();
    if let Some(id) = field::text(&call.fields, "role_id")?.filter(|id| !id.is_empty()) {
        field::checked_name(&id)?.clone_into(&mut role.role_id);
    }
    update(call, &mut role)?;
    commit_role(
        call,
        &name,
        &role,
        precondition,
        is_new.then_some(""),
        &before,
    )
    .await?;
    Ok(Answer::Empty)
}

/// Writes a role, and what leads from its id to it.
async fn commit_role(
    call: &Call,
    name: &str,
    role: &Role,
    precondition: Precondition,
    is_new: Option<&str>,
    id_before: &str,
) -> Result<(), Fault> {
    if !role.bind_secret_id
        && role.secret_id_bound_cidrs.is_empty()
        && role.settings.bound_cidrs.is_empty()
    {
        return Err(Fault::invalid(
            "at least one constraint should be enabled on the role",
        ));
    }
    let mut batch = vec![put(call, name, role, precondition)];
    let state = &call.core.state;
    if is_new.is_some() || role.role_id != id_before {
        batch.push(put_id(call, role, name, Precondition::Absent));
        if is_new.is_none() {
            let old = state.id_of::<RoleId>(&of_mount(call, id_before));
            batch.push(state::delete(old, Precondition::Any));
        }
    }
    if state.commit(batch).await? {
        return Ok(());
    }
    let taken = state.load::<RoleId>(&of_mount(call, &role.role_id)).await?;
    Err(match taken.filter(|found| found.value.role != name) {
        Some(_) => Fault::invalid("role ID already exists: choose another one"),
        None => Fault::Engine(strongroom_engine::Error::Contended { path: name.into() }),
    })
}

fn new_role(call: &Call) -> Role {
    let mut marker = [0; 16];
    call.node.rng.fill(&mut marker);
    Role {
        role_id: crate::node::new_nonce(&*call.node.rng),
        bind_secret_id: true,
        local_secret_ids: false,
        secret_id_bound_cidrs: Vec::new(),
        secret_id_num_uses: 0,
        secret_id_ttl: 0,
        settings: TokenSettings::default(),
        marker,
    }
}

fn update(call: &Call, role: &mut Role) -> Result<(), Fault> {
    let fields = &call.fields;
    if let Some(bind) = field::flag(fields, "bind_secret_id")? {
        role.bind_secret_id = bind;
    }
    if let Some(local) = field::flag(fields, "local_secret_ids")? {
        role.local_secret_ids = local;
    }
    let cidrs = match field::texts(fields, "secret_id_bound_cidrs")? {
        Some(cidrs) => Some(cidrs),
        None => field::texts(fields, "bound_cidr_list")?,
    };
    if let Some(cidrs) = cidrs {
        role.secret_id_bound_cidrs = login::normal_cidrs(&cidrs)?;
    }
    if let Some(uses) = field::integer(fields, "secret_id_num_uses")? {
        if uses < 0 {
            return Err(Fault::invalid("num_uses cannot be negative"));
        }
        role.secret_id_num_uses = uses;
    }
    if let Some(seconds) = field::seconds(fields, "secret_id_ttl")? {
        role.secret_id_ttl = seconds;
    }
    role.settings.update(call)
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let Some(found) = load(call, &name).await? else {
        return Ok(Answer::Empty);
    };
    let state = &call.core.state;
    let mut batch = vec![state::delete(found.id, found.unchanged())];
    let by_id = state.id_of::<RoleId>(&of_mount(call, &found.value.role_id));
    batch.push(state::delete(by_id, Precondition::Any));
    let shelf = shelf_of(call, &name);
    for id in state.ids::<SecretId>(Shelf::Of(&shelf)).await? {
        batch.push(state::delete(id, Precondition::Any));
    }
    for id in state.ids::<SecretIdAccessor>(Shelf::Of(&shelf)).await? {
        batch.push(state::delete(id, Precondition::Any));
    }
    state.write(batch).await?;
    Ok(Answer::Empty)
}

pub(super) async fn read_id(call: &mut Call) -> Result<Answer, Fault> {
    let (_, found) = require(call).await?;
    Ok(Answer::data(json!({ "role_id": found.value.role_id })))
}

pub(super) async fn write_id(call: &mut Call) -> Result<Answer, Fault> {
    let (name, found) = require(call).await?;
    let id = field::text(&call.fields, "role_id")?.unwrap_or_default();
    if id.is_empty() {
        return Err(Fault::invalid("missing role_id"));
    }
    let before = found.value.role_id.clone();
    let precondition = found.unchanged();
    let mut role = found.value;
    field::checked_name(&id)?.clone_into(&mut role.role_id);
    commit_role(call, &name, &role, precondition, None, &before).await?;
    Ok(Answer::Empty)
}

/// Settings that have a path of their own, with the name their value has in a request.
const FIELDS: [&str; 16] = [
    "policies",
    "bind-secret-id",
    "secret-id-num-uses",
    "secret-id-ttl",
    "secret-id-bound-cidrs",
    "bound-cidr-list",
    "local-secret-ids",
    "period",
    "token-bound-cidrs",
    "token-max-ttl",
    "token-num-uses",
    "token-period",
    "token-policies",
    "token-ttl",
    "token-type",
    "token-no-default-policy",
];

fn field_of(call: &Call) -> Result<String, Fault> {
    let name = call.capture(1);
    if !FIELDS.contains(&name) {
        return Err(Fault::UnsupportedPath);
    }
    Ok(name.replace('-', "_"))
}

pub(super) async fn read_field(call: &mut Call) -> Result<Answer, Fault> {
    let name = field_of(call)?;
    let (_, found) = require(call).await?;
    let map = describe(&found.value);
    let stored_as = match name.as_str() {
        "policies" => "token_policies",
        "period" => "token_period",
        "bound_cidr_list" => "secret_id_bound_cidrs",
        other => other,
    };
    let value = map.get(stored_as).cloned().ok_or(Fault::UnsupportedPath)?;
    let mut data = Map::new();
    data.insert(stored_as.to_owned(), value);
    Ok(Answer::data(Value::Object(data)))
}

pub(super) async fn write_field(call: &mut Call) -> Result<Answer, Fault> {
    let name = field_of(call)?;
    let (role_name, found) = require(call).await?;
    let newer = format!("token_{name}");
    if !call.fields.has(&name) && !call.fields.has(&newer) {
        return Err(Fault::Invalid(format!("missing {name}")));
    }
    // The path is what the policy allowed: nothing else is changed by it.
    call.fields.keep(&[&name, &newer]);
    let precondition = found.unchanged();
    let mut role = found.value;
    update(call, &mut role)?;
    let before = role.role_id.clone();
    commit_role(call, &role_name, &role, precondition, None, &before).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete_field(call: &mut Call) -> Result<Answer, Fault> {
    let name = field_of(call)?;
    let (role_name, found) = require(call).await?;
    let precondition = found.unchanged();
    let mut role = found.value;
    match name.as_str() {
        "policies" | "token_policies" => role.settings.policies = Vec::new(),
        "bind_secret_id" => role.bind_secret_id = true,
        "secret_id_num_uses" => role.secret_id_num_uses = 0,
        "secret_id_ttl" => role.secret_id_ttl = 0,
        "secret_id_bound_cidrs" | "bound_cidr_list" => role.secret_id_bound_cidrs = Vec::new(),
        "period" | "token_period" => role.settings.period = 0,
        "token_bound_cidrs" => role.settings.bound_cidrs = Vec::new(),
        "token_max_ttl" => role.settings.max_ttl = 0,
        "token_num_uses" => role.settings.num_uses = 0,
        "token_ttl" => role.settings.ttl = 0,
        _ => return Err(Fault::UnsupportedOperation),
    }
    let before = role.role_id.clone();
    commit_role(call, &role_name, &role, precondition, None, &before).await?;
    Ok(Answer::Empty)
}
