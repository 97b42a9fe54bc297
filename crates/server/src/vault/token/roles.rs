//! Roles that tokens are made by.

use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use strongroom_engine::tokens::TokenRole;

use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::login;
use crate::vault::reply::Answer;

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let names = call.core.state.names::<TokenRole>(Shelf::Kind).await?;
    Answer::keys(&names)
}

pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    let found = call.core.state.load::<TokenRole>(call.capture(0)).await?;
    Ok(found.is_some())
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = call.capture(0);
    let Some(found) = call.core.state.load::<TokenRole>(name).await? else {
        return Err(Fault::NotFound);
    };
    let role = found.value;
    let aliases = match role.allowed_entity_aliases.is_empty() {
        true => serde_json::Value::Null,
        false => json!(role.allowed_entity_aliases),
    };
    let mut json = json!({
        "allowed_entity_aliases": aliases,
        "allowed_policies": role.allowed_policies,
        "allowed_policies_glob": role.allowed_policies_glob,
        "disallowed_policies": role.disallowed_policies,
        "disallowed_policies_glob": role.disallowed_policies_glob,
        "explicit_max_ttl": 0,
        "name": name,
        "orphan": role.is_orphan,
        "path_suffix": role.path_suffix,
        "period": 0,
        "renewable": role.is_renewable,
        "token_explicit_max_ttl": role.explicit_max_ttl,
        "token_no_default_policy": role.no_default_policy,
        "token_period": role.period,
        "token_type": role.token_type,
    });
    if let Some(map) = json.as_object_mut() {
        if !role.bound_cidrs.is_empty() {
            map.insert("token_bound_cidrs".into(), role.bound_cidrs.into());
        }
        if role.num_uses > 0 {
            map.insert("token_num_uses".into(), role.num_uses.into());
        }
    }
    Ok(Answer::data(json))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = field::checked_name(call.capture(0))?;
    let fields = &call.fields;
    let found = call.core.state.load::<TokenRole>(name).await?;
    let (mut role, precondition) = match found {
        Some(found) => (found.value.clone(), found.unchanged()),
        None => (
            TokenRole {
                is_renewable: true,
                token_type: "default-service".into(),
                ..TokenRole::default()
            },
            Precondition::Absent,
        ),
    };
    for (field_name, list) in [
        ("allowed_policies", &mut role.allowed_policies),
        ("allowed_policies_glob", &mut role.allowed_policies_glob),
        ("disallowed_policies", &mut role.disallowed_policies),
        (
            "disallowed_policies_glob",
            &mut role.disallowed_policies_glob,
        ),
    ] {
        if let Some(texts) = field::texts(fields, field_name)? {
            *list = login::normal_policies(texts)?;
        }
    }
    role.is_orphan = field::flag(fields, "orphan")?.unwrap_or(role.is_orphan);
    role.is_renewable = field::flag(fields, "renewable")?.unwrap_or(role.is_renewable);
    for (names, seconds) in [
        (["token_period", "period"], &mut role.period),
        (
            ["token_explicit_max_ttl", "explicit_max_ttl"],
            &mut role.explicit_max_ttl,
        ),
    ] {
        for field_name in names {
            if let Some(asked) = field::seconds(fields, field_name)? {
                *seconds = asked;
                break;
            }
        }
    }
    if let Some(suffix) = field::text(fields, "path_suffix")? {
        if !suffix.is_empty() {
            field::checked_name(&suffix)?;
        }
        role.path_suffix = suffix;
    }
    let cidrs = match field::texts(fields, "token_bound_cidrs")? {
        Some(cidrs) => Some(cidrs),
        None => field::texts(fields, "bound_cidrs")?,
    };
    if let Some(cidrs) = cidrs {
        role.bound_cidrs = login::normal_cidrs(&cidrs)?;
    }
    if let Some(no_default) = field::flag(fields, "token_no_default_policy")? {
        role.no_default_policy = no_default;
    }
    if let Some(uses) = field::integer(fields, "token_num_uses")? {
        role.num_uses = uses.max(0);
    }
    if let Some(kind) = field::text(fields, "token_type")? {
        role.token_type = match login::checked_type(&kind)? {
            "default" => "default-service".into(),
            kind => kind.into(),
        };
    }
    let refused = [
        (!role.is_orphan, "non-orphan"),
        (role.period > 0, "periodic"),
        (role.is_renewable, "renewable"),
    ];
    let refused = refused.iter().find(|(is_so, _)| *is_so);
    if let (Some((_, kind)), "batch") = (refused, role.token_type.as_str()) {
        return Err(Fault::Invalid(format!(
            "'token_type' cannot be 'batch' when role is set to generate {kind} tokens"
        )));
    }
    if let Some(aliases) = field::texts(fields, "allowed_entity_aliases")? {
        role.allowed_entity_aliases = aliases;
    }
    let put = Put::named(name, Shelf::Kind).when(precondition);
    let state = &call.core.state;
    state.write(vec![state.put(&put, &role)]).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let state = &call.core.state;
    let id = state.id_of::<TokenRole>(call.capture(0));
    state
        .write(vec![state::delete(id, Precondition::Any)])
        .await?;
    Ok(Answer::Empty)
}
