//! Users of databases, made when somebody asks for one and removed when their lease is over.

mod config;
mod creds;
mod fixed;
mod role;

use serde_json::Value;
use strongroom_core::port::Precondition;
use strongroom_engine::Error;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

use super::body::Fields;
use super::call::Call;
use super::error::Fault;
use super::field;
use super::reply::Answer;
use super::route::Route;
use super::route::route;
use crate::databases::Connection;
use crate::databases::DatabaseRole;
use crate::databases::StaticRole;
use crate::databases::of_mount;

pub(crate) use creds::renew;

pub(crate) const ROUTES: &[Route] = &[
    route!(Policy "config" { List => config::list, Read => config::list }),
    route!(Policy "config/+" [config::exists] {
        Read => config::read,
        Write => config::write,
        Delete => config::delete,
    }),
    route!(Policy "reset/+" { Write => config::reset }),
    route!(Policy "rotate-root/+" { Write => config::rotate }),
    route!(Policy "roles" { List => role::list, Read => role::list }),
    route!(Policy "roles/+" [role::exists] {
        Read => role::read,
        Write => role::write,
        Delete => role::delete,
    }),
    route!(Policy "creds/+" { Read => creds::read }),
    route!(Policy "static-roles" { List => fixed::list, Read => fixed::list }),
    route!(Policy "static-roles/+" [fixed::exists] {
        Read => fixed::read,
        Write => fixed::write,
        Delete => fixed::delete,
    }),
    route!(Policy "static-creds/+" { Read => fixed::creds }),
    route!(Policy "rotate-role/+" { Write => fixed::rotate }),
];

/// Whether a call that reads makes a user: what cannot be noted must not happen.
pub(crate) fn makes_something(call: &Call) -> bool {
    let below = call.path.as_str().get(call.live.path.len()..);
    crate::leases::sweep::is_database(&call.live)
        && call.verb == super::call::Verb::Read
        && below.is_some_and(|below| below.starts_with("creds/"))
}

/// The name in the path.
fn name_of(call: &Call) -> Result<&str, Fault> {
    field::checked_name(call.capture(0))
}

async fn load<T: Stored>(call: &Call, name: &str) -> Result<Option<Found<T>>, Fault> {
    let key = of_mount(&call.live.owner, name);
    Ok(call.core.state.load(&key).await?)
}

async fn names<T: Stored>(call: &Call) -> Result<Answer, Fault> {
    let shelf = Shelf::Of(&call.live.owner);
    Answer::keys(&call.core.state.names::<T>(shelf).await?)
}

/// A list of statements; one text is one statement, whatever is in it.
fn statements(fields: &Fields, name: &str) -> Result<Option<Vec<String>>, Fault> {
    let list = match fields.get(name) {
        None => return Ok(None),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(_)) => field::texts(fields, name)?.unwrap_or_default(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            let why = format!("\"{name}\" is no list of statements");
            return Err(Fault::Invalid(why));
        }
    };
    let list = list.into_iter().filter(|text| !text.trim().is_empty());
    Ok(Some(list.collect()))
}

/// What PostgreSQL would do with other kinds of credentials is not known here.
fn check_credential_type(fields: &Fields) -> Result<(), Fault> {
    match field::text(fields, "credential_type")?.as_deref() {
        None | Some("" | "password") => Ok(()),
        Some(other) => Err(Fault::Invalid(format!(
            "credential_type \"{other}\" is not supported: only password is"
        ))),
    }
}

/// Removes all that a mount knows; its leases have to be gone.
pub(crate) async fn forget(state: &State, owner: &str) -> Result<(), Error> {
    let shelf = Shelf::Of(owner);
    let mut ids = state.ids::<Connection>(shelf).await?;
    ids.extend(state.ids::<DatabaseRole>(shelf).await?);
    ids.extend(state.ids::<StaticRole>(shelf).await?);
    for chunk in ids.chunks(512) {
        let gone = chunk.iter().map(|id| state::delete(*id, Precondition::Any));
        state.write(gone.collect()).await?;
    }
    Ok(())
}
