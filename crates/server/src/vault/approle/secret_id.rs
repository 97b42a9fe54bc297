//! Secret ids, and logging in with them.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use super::Role;
use super::RoleId;
use super::SecretId;
use super::SecretIdAccessor;
use super::of_mount;
use super::of_role;
use super::role;
use super::shelf_of;
use crate::cidr;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::login;
use crate::vault::login::Login;
use crate::vault::reply::Answer;
use crate::vault::reply::Data;
use crate::vault::reply::Full;

/// Longest secret id that may be chosen, in bytes.
const SECRET_ID_BYTES_MAX: usize = 4096;
/// A login that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 32;

/// The id of a secret id's record: a keyed hash, so that only who has it finds it.
fn record_of(call: &Call, role: &str, secret: &SecretValue) -> RecordId {
    let purpose = format!("secret id\0{}\0{role}", call.live.owner);
    let barrier = call.core.state.barrier();
    // EXPOSE: the secret id goes through a keyed one-way function.
    let hash = barrier.keyed_hash(&purpose, secret.expose_secret());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    RecordId(id)
}

fn is_alive(secret: &SecretId, role: &Role, now: Timestamp) -> bool {
    secret.marker == role.marker && secret.expires.is_none_or(|end| now < end)
}

pub(super) async fn generate(call: &mut Call) -> Result<Answer, Fault> {
    let secret = crate::node::new_nonce(&*call.node.rng);
    make(call, SecretValue::from_text(secret)).await
}

pub(super) async fn custom(call: &mut Call) -> Result<Answer, Fault> {
    let secret = field::secret(&call.fields, "secret_id")?.filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| Fault::invalid("missing secret_id"))?;
    if secret.len_bytes() > SECRET_ID_BYTES_MAX {
        return Err(Fault::invalid("the secret id is too long"));
    }
    make(call, secret).await
}

async fn make(call: &Call, secret: SecretValue) -> Result<Answer, Fault> {
    let name = role::name_of(call)?;
    let found = role::load(call, &name).await?;
    let found = found
        .ok_or_else(|| Fault::NotFoundWith(vec![format!("role \"{name}\" does not exist")]))?;
    let role = &found.value;
    if !role.bind_secret_id {
        return Err(Fault::invalid("bind_secret_id is not set on the role"));
    }
    let entry = new_entry(call, role)?;
    let id = record_of(call, &name, &secret);
    let shelf = shelf_of(call, &name);
    let state = &call.core.state;
    let put_secret = put_entry(call, &shelf, &entry, Precondition::Absent)(id);
    let accessor_key = of_role(call, &name, &entry.accessor);
    let accessor_put = Put {
        shown: &entry.accessor,
        ..Put::named(&accessor_key, Shelf::Of(&shelf))
    };
    let accessor = SecretIdAccessor { secret: id.0 };
    let batch = vec![
        put_secret,
        state.put(&accessor_put, &accessor),
        // The role is still the one that was looked at.
        state::check(found.id, found.unchanged()),
    ];
    if !state.commit(batch).await? {
        let is_taken = state.load_by_id::<SecretId>(id).await?.is_some();
        return Err(match is_taken {
            true => Fault::invalid("SecretID is already registered"),
            false => Fault::Engine(strongroom_engine::Error::Contended { path: name }),
        });
    }
    // EXPOSE: a new secret id goes into the answer to the one who asked for it.
    let text = secret.expose_secret_text().unwrap_or_default();
    let data = json!({
        "secret_id": text,
        "secret_id_accessor": entry.accessor,
        "secret_id_num_uses": entry.num_uses,
        "secret_id_ttl": entry.ttl,
    });
    let mut full = Full::of(Data::Value(data));
    full.accessor = Some(entry.accessor);
    Ok(Answer::Full(Box::new(full)))
}

/// The change that writes an entry, once its id is known.
fn put_entry<'a>(
    call: &'a Call,
    shelf: &'a str,
    entry: &'a SecretId,
    precondition: Precondition,
) -> impl Fn(RecordId) -> BatchItem + 'a {
    move |id| {
        let put = Put {
            due_at: entry.expires,
            ..Put::named(&entry.accessor, Shelf::Of(shelf)).when(precondition)
        };
        call.core.state.put_by_id(id, &put, entry)
    }
}

fn new_entry(call: &Call, role: &Role) -> Result<SecretId, Fault> {
    let fields = &call.fields;
    let ttl = field::seconds(fields, "ttl")?.unwrap_or(role.secret_id_ttl);
    let ttl = match role.secret_id_ttl {
        0 => ttl,
        most => ttl.min(most),
    };
    let uses = field::integer(fields, "num_uses")?.unwrap_or(role.secret_id_num_uses);
    if uses < 0 {
        return Err(Fault::invalid("num_uses cannot be negative"));
    }
    if role.secret_id_num_uses > 0 && (uses == 0 || uses > role.secret_id_num_uses) {
        return Err(Fault::invalid(
            "num_uses cannot be higher than the role's secret_id_num_uses",
        ));
    }
    let cidrs = field::texts(fields, "cidr_list")?.unwrap_or_default();
    let token_cidrs = field::texts(fields, "token_bound_cidrs")?.unwrap_or_default();
    let cidr_list = login::normal_cidrs(&cidrs)?;
    let token_bound_cidrs = login::normal_cidrs(&token_cidrs)?;
    for (own, of_role) in [
        (&cidr_list, &role.secret_id_bound_cidrs),
        (&token_bound_cidrs, &role.settings.bound_cidrs),
    ] {
        if !own.is_empty() && !cidr::are_within(own, of_role) {
            return Err(Fault::invalid(
                "the addresses of a secret ID have to be some of those of its role",
            ));
        }
    }
    Ok(SecretId {
        accessor: crate::node::new_nonce(&*call.node.rng),
        cidr_list,
        token_bound_cidrs,
        created: call.now,
        updated: call.now,
        expires: (ttl > 0).then(|| call.now.plus(Span::from_seconds(ttl))),
        ttl,
        num_uses: uses,
        metadata: metadata_of(call)?,
        marker: role.marker,
    })
}

/// Metadata comes as an object, or as JSON in a text.
fn metadata_of(call: &Call) -> Result<BTreeMap<String, String>, Fault> {
    match call.fields.get("metadata") {
        Some(Value::String(text)) if text.is_empty() => Ok(BTreeMap::new()),
        _ => Ok(field::text_map(&call.fields, "metadata")?.unwrap_or_default()),
    }
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let name = role::name_of(call)?;
    if role::load(call, &name).await?.is_none() {
        return Err(Fault::Invalid(format!("role \"{name}\" does not exist")));
    }
    let shelf = shelf_of(call, &name);
    let names = call.core.state.names::<SecretId>(Shelf::Of(&shelf)).await?;
    Answer::keys(&names)
}

fn describe(entry: &SecretId) -> Value {
    json!({
        "cidr_list": entry.cidr_list,
        "creation_time": entry.created.to_string(),
        "expiration_time": entry.expires.map_or_else(
            || "0001-01-01T00:00:00Z".to_owned(),
            |end| end.to_string(),
        ),
        "last_updated_time": entry.updated.to_string(),
        "metadata": entry.metadata,
        "secret_id_accessor": entry.accessor,
        "secret_id_num_uses": entry.num_uses,
        "secret_id_ttl": entry.ttl,
        "token_bound_cidrs": entry.token_bound_cidrs,
    })
}

/// The secret id that a request names, if it is one of the role's.
async fn find(call: &Call) -> Result<Option<(String, Found<SecretId>)>, Fault> {
    let (name, found) = role::require(call).await?;
    let secret = field::secret(&call.fields, "secret_id")?.filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| Fault::invalid("missing secret_id"))?;
    let id = record_of(call, &name, &secret);
    let entry = call.core.state.load_by_id::<SecretId>(id).await?;
    let entry = entry.filter(|entry| is_alive(&entry.value, &found.value, call.now));
    Ok(entry.map(|entry| (name, entry)))
}

/// The secret id of an accessor, if it is one of the role's.
async fn find_by_accessor(call: &Call) -> Result<Option<(String, Found<SecretId>)>, Fault> {
    let (name, found) = role::require(call).await?;
    let accessor = field::text(&call.fields, "secret_id_accessor")?.unwrap_or_default();
    if accessor.is_empty() {
        return Err(Fault::invalid("missing secret_id_accessor"));
    }
    let key = of_role(call, &name, &accessor);
    let state = &call.core.state;
    let Some(by_accessor) = state.load::<SecretIdAccessor>(&key).await? else {
        return Ok(None);
    };
    let id = RecordId(by_accessor.value.secret);
    let entry = state.load_by_id::<SecretId>(id).await?;
    let entry = entry.filter(|entry| is_alive(&entry.value, &found.value, call.now));
    Ok(entry.map(|entry| (name, entry)))
}

pub(super) async fn lookup(call: &mut Call) -> Result<Answer, Fault> {
    match find(call).await? {
        Some((_, entry)) => Ok(Answer::data(describe(&entry.value))),
        None => Ok(Answer::Empty),
    }
}

pub(super) async fn lookup_accessor(call: &mut Call) -> Result<Answer, Fault> {
    match find_by_accessor(call).await? {
        Some((_, entry)) => Ok(Answer::data(describe(&entry.value))),
        None => {
            // An answer with a status, as clients know it from Vault.
            let error = json!({ "error": "failed to find accessor entry" });
            let mut full = Full::of(Data::Value(error));
            full.status = http::StatusCode::NOT_FOUND;
            Ok(Answer::Full(Box::new(full)))
        }
    }
}

/// Whether an accessor is one of another role's.
async fn is_of_another_role(call: &Call, accessor: &str) -> Result<bool, Fault> {
    let state = &call.core.state;
    for name in state.names::<Role>(Shelf::Of(&call.live.owner)).await? {
        let key = of_role(call, &name, accessor);
        if state.load::<SecretIdAccessor>(&key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn removal(call: &Call, role: &str, entry: &Found<SecretId>) -> Vec<BatchItem> {
    let key = of_role(call, role, &entry.value.accessor);
    let accessor = call.core.state.id_of::<SecretIdAccessor>(&key);
    vec![
        state::delete(entry.id, Precondition::Any),
        state::delete(accessor, Precondition::Any),
    ]
}

pub(super) async fn destroy(call: &mut Call) -> Result<Answer, Fault> {
    if let Some((name, entry)) = find(call).await? {
        call.core.state.write(removal(call, &name, &entry)).await?;
    }
    Ok(Answer::Empty)
}

pub(super) async fn destroy_accessor(call: &mut Call) -> Result<Answer, Fault> {
    match find_by_accessor(call).await? {
        Some((name, entry)) => {
            call.core.state.write(removal(call, &name, &entry)).await?;
            Ok(Answer::Empty)
        }
        None => {
            let accessor = field::text(&call.fields, "secret_id_accessor")?.unwrap_or_default();
            match is_of_another_role(call, &accessor).await? {
                true => Err(Fault::Refused("invalid secret id accessor".into())),
                false => Err(Fault::NotFoundWith(vec![
                    "failed to find accessor entry".into(),
                ])),
            }
        }
    }
}

pub(super) async fn tidy(call: &mut Call) -> Result<Answer, Fault> {
    let state = &call.core.state;
    for name in state.names::<Role>(Shelf::Of(&call.live.owner)).await? {
        let shelf = shelf_of(call, &name);
        for (_, entry) in state.all::<SecretId>(Shelf::Of(&shelf)).await? {
            if entry.value.expires.is_some_and(|end| end <= call.now) {
                state.write(removal(call, &name, &entry)).await?;
            }
        }
    }
    let mut full = Full::of(Data::None);
    full.status = http::StatusCode::ACCEPTED;
    full.warnings.push(
        "Tidy operation successfully started. Any information from the operation will be \
         printed to the server logs."
            .into(),
    );
    Ok(Answer::Full(Box::new(full)))
}

/// The same answer whatever was wrong.
fn refused() -> Fault {
    Fault::invalid("invalid role or secret ID")
}

pub(super) async fn log_in(call: &mut Call) -> Result<Answer, Fault> {
    let role_id = field::text(&call.fields, "role_id")?.unwrap_or_default();
    if role_id.is_empty() {
        return Err(Fault::invalid("missing role_id"));
    }
    let state = &call.core.state;
    let by_id = state.load::<RoleId>(&of_mount(call, &role_id)).await?;
    let Some(by_id) = by_id else {
        return Err(refused());
    };
    let name = by_id.value.role;
    let found = role::load(call, &name).await?.ok_or_else(refused)?;
    let role = &found.value;
    if !cidr::allows(&role.settings.bound_cidrs, call.remote)
        || !cidr::allows(&role.secret_id_bound_cidrs, call.remote)
    {
        return Err(refused());
    }
    let mut settings = role.settings.clone();
    let mut metadata = BTreeMap::new();
    if role.bind_secret_id {
        let secret = field::secret(&call.fields, "secret_id")?.filter(|secret| !secret.is_empty());
        let secret = secret.ok_or_else(|| Fault::invalid("missing secret_id"))?;
        let entry = take_use(call, &name, role, &secret).await?;
        if !entry.token_bound_cidrs.is_empty() {
            // The role may have become narrower since.
            if !cidr::are_within(&entry.token_bound_cidrs, &settings.bound_cidrs) {
                return Err(refused());
            }
            settings.bound_cidrs.clone_from(&entry.token_bound_cidrs);
        }
        metadata = entry.metadata;
    }
    metadata.insert("role_name".into(), name);
    let who = Login {
        display_name: call
            .live
            .path
            .trim_start_matches("auth/")
            .trim_end_matches('/')
            .to_owned(),
        metadata,
        batch: Vec::new(),
    };
    login::grant(call, &settings, who).await
}

/// Takes one of a secret id's uses; of several logins at once, no more succeed than it has.
async fn take_use(
    call: &Call,
    name: &str,
    role: &Role,
    secret: &SecretValue,
) -> Result<SecretId, Fault> {
    let id = record_of(call, name, secret);
    let state = &call.core.state;
    for _ in 0..ATTEMPTS_MAX {
        let entry = state.load_by_id::<SecretId>(id).await?;
        let Some(entry) = entry.filter(|entry| is_alive(&entry.value, role, call.now)) else {
            return Err(refused());
        };
        if !cidr::allows(&entry.value.cidr_list, call.remote) {
            return Err(refused());
        }
        let batch = match entry.value.num_uses {
            0 => return Ok(entry.value),
            1 => {
                let mut batch = removal(call, name, &entry);
                if let Some(first) = batch.first_mut() {
                    first.precondition = entry.unchanged();
                }
                batch
            }
            left => {
                let next = SecretId {
                    num_uses: left - 1,
                    updated: call.now,
                    ..entry.value.clone()
                };
                let shelf = shelf_of(call, name);
                let put = put_entry(call, &shelf, &next, entry.unchanged());
                vec![put(id)]
            }
        };
        if state.commit(batch).await? {
            return Ok(entry.value);
        }
    }
    Err(Fault::Engine(strongroom_engine::Error::Contended {
        path: name.into(),
    }))
}
