//! Roles of machines: `auth/approle/`.

mod role;
mod secret_id;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::state;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

use super::call::Call;
use super::error::Fault;
use super::login::TokenSettings;
use super::route::Route;
use super::route::route;

pub(crate) const ROUTES: &[Route] = &[
    route!(Open "login" { Write => secret_id::log_in }),
    route!(Policy "role" { List => role::list, Read => role::list }),
    route!(Policy "role/+" [role::exists] {
        Read => role::read,
        Write => role::write,
        Delete => role::delete,
    }),
    route!(Policy "role/+/role-id" { Read => role::read_id, Write => role::write_id }),
    route!(Policy "role/+/secret-id" {
        List => secret_id::list,
        Write => secret_id::generate,
    }),
    route!(Policy "role/+/custom-secret-id" { Write => secret_id::custom }),
    route!(Policy "role/+/secret-id/lookup" { Write => secret_id::lookup }),
    route!(Policy "role/+/secret-id/destroy" {
        Write => secret_id::destroy,
        Delete => secret_id::destroy,
    }),
    route!(Policy "role/+/secret-id-accessor/lookup" { Write => secret_id::lookup_accessor }),
    route!(Policy "role/+/secret-id-accessor/destroy" {
        Write => secret_id::destroy_accessor,
        Delete => secret_id::destroy_accessor,
    }),
    route!(Policy "role/+/+" {
        Read => role::read_field,
        Write => role::write_field,
        Delete => role::delete_field,
    }),
    route!(Policy "tidy/secret-id" { Write => secret_id::tidy }),
];

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Role {
    role_id: String,
    bind_secret_id: bool,
    local_secret_ids: bool,
    secret_id_bound_cidrs: Vec<String>,
    secret_id_num_uses: i64,
    secret_id_ttl: i64,
    settings: TokenSettings,
    /// Tells this role from one of the same name that was there before.
    marker: [u8; 16],
}

impl Stored for Role {
    const KIND: Kind = Kind::AppRole;
}

/// From a role id to its role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RoleId {
    role: String,
}

impl Stored for RoleId {
    const KIND: Kind = Kind::RoleId;
}

/// A secret id, without itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SecretId {
    accessor: String,
    cidr_list: Vec<String>,
    token_bound_cidrs: Vec<String>,
    created: Timestamp,
    updated: Timestamp,
    expires: Option<Timestamp>,
    ttl: i64,
    /// Uses left; 0 for any number.
    num_uses: i64,
    metadata: std::collections::BTreeMap<String, String>,
    marker: [u8; 16],
}

impl Stored for SecretId {
    const KIND: Kind = Kind::SecretId;
}

/// From an accessor to its secret id's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SecretIdAccessor {
    secret: [u8; 16],
}

impl Stored for SecretIdAccessor {
    const KIND: Kind = Kind::SecretIdAccessor;
}

/// The name of a record that belongs to a mount.
fn of_mount(call: &Call, name: &str) -> String {
    format!("{}\0{name}", call.live.owner)
}

/// The name of a record that belongs to a role of a mount.
fn of_role(call: &Call, role: &str, name: &str) -> String {
    format!("{}\0{role}\0{name}", call.live.owner)
}

/// The shelf that the secret ids of a role lie on.
fn shelf_of(call: &Call, role: &str) -> String {
    format!("{}\0{role}", call.live.owner)
}

/// Whether a method has a role of that name.
pub(crate) async fn has_role(state: &State, owner: &str, name: &str) -> Result<bool, Fault> {
    let found = state.load::<Role>(&format!("{owner}\0{name}")).await?;
    Ok(found.is_some())
}

/// Removes all roles of a method.
pub(crate) async fn forget(state: &State, owner: &str) -> Result<(), Error> {
    for (name, role) in state.all::<Role>(Shelf::Of(owner)).await? {
        let mut batch = vec![state::delete(role.id, Precondition::Any)];
        let by_id = state.id_of::<RoleId>(&format!("{owner}\0{}", role.value.role_id));
        batch.push(state::delete(by_id, Precondition::Any));
        let shelf = format!("{owner}\0{name}");
        for id in state.ids::<SecretId>(Shelf::Of(&shelf)).await? {
            batch.push(state::delete(id, Precondition::Any));
        }
        for id in state.ids::<SecretIdAccessor>(Shelf::Of(&shelf)).await? {
            batch.push(state::delete(id, Precondition::Any));
        }
        state.write(batch).await?;
    }
    Ok(())
}
