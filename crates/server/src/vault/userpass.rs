//! Names and passwords: `auth/userpass/`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use strongroom_core::port::Precondition;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::password::LOGIN_COST;
use strongroom_crypto::password::PasswordHash;
use strongroom_engine::Error;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

use super::call::Call;
use super::error::Fault;
use super::field;
use super::login;
use super::login::Login;
use super::login::TokenSettings;
use super::reply::Answer;
use super::route::Route;
use super::route::route;

pub(crate) const ROUTES: &[Route] = &[
    route!(Open "login/+" { Write => log_in }),
    route!(Policy "users" { List => list, Read => list }),
    route!(Policy "users/+" [exists] { Read => read, Write => write, Delete => delete }),
    route!(Policy "users/+/password" { Write => set_password }),
    route!(Policy "users/+/policies" { Write => set_policies }),
];

/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    password: PasswordHash,
    settings: TokenSettings,
    older: Tail<OlderNames>,
}

/// Which settings were given by names without `token_`: they are shown by these as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OlderNames {
    policies: bool,
    ttl: bool,
    max_ttl: bool,
}

/// What records of earlier versions end before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Tail<T>(T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Tail<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The record is sealed whole: an end that is missing was never there.
        Ok(Self(T::deserialize(deserializer).unwrap_or_default()))
    }
}

impl OlderNames {
    fn update(&mut self, call: &Call) {
        let fields = &call.fields;
        for (flag, name, older) in [
            (&mut self.policies, "token_policies", "policies"),
            (&mut self.ttl, "token_ttl", "ttl"),
            (&mut self.max_ttl, "token_max_ttl", "max_ttl"),
        ] {
            if fields.get(name).is_some() {
                *flag = false;
            } else if fields.get(older).is_some() {
                *flag = true;
            }
        }
    }
}

impl Stored for User {
    const KIND: Kind = Kind::User;
}

/// Names are the same whatever their case and the spaces round them.
fn canonical(name: &str) -> Result<String, Fault> {
    Ok(field::checked_name(name.trim())?.to_lowercase())
}

fn key(call: &Call, name: &str) -> String {
    format!("{}\0{name}", call.live.owner)
}

async fn load(call: &Call, name: &str) -> Result<Option<Found<User>>, Fault> {
    Ok(call.core.state.load(&key(call, name)).await?)
}

/// The policies that a user of a method is given now; `None` when there is none of that name.
pub(crate) async fn policies_of(
    state: &State,
    owner: &str,
    name: &str,
) -> Result<Option<Vec<String>>, Fault> {
    let found = state.load::<User>(&format!("{owner}\0{name}")).await?;
    Ok(found.map(|found| found.value.settings.granted_policies()))
}

/// Removes all users of a method.
pub(crate) async fn forget(state: &State, owner: &str) -> Result<(), Error> {
    let ids = state.ids::<User>(Shelf::Of(owner)).await?;
    let batch = ids
        .into_iter()
        .map(|id| state::delete(id, Precondition::Any));
    state.write(batch.collect()).await
}

async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let shelf = Shelf::Of(&call.live.owner);
    let names = call.core.state.names::<User>(shelf).await?;
    Answer::keys(&super::kv2::page(call, names)?)
}

async fn exists(call: &Call) -> Result<bool, Fault> {
    Ok(load(call, &canonical(call.capture(0))?).await?.is_some())
}

async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = canonical(call.capture(0))?;
    let found = load(call, &name).await?.ok_or(Fault::NotFound)?;
    let settings = &found.value.settings;
    let mut map = settings.to_json();
    let older = found.value.older.0;
    for (is_shown, name, value) in [
        (older.policies, "policies", settings.policies.clone().into()),
        (older.ttl, "ttl", Value::from(settings.ttl)),
        (older.max_ttl, "max_ttl", settings.max_ttl.into()),
    ] {
        if is_shown {
            map.insert(name.into(), value);
        }
    }
    Ok(Answer::data(Value::Object(map)))
}

async fn hashed(call: &Call, password: SecretValue) -> Result<PasswordHash, Fault> {
    if password.is_empty() {
        return Err(Fault::invalid("password cannot be empty"));
    }
    if password.len_bytes() > PASSWORD_BYTES_MAX {
        return Err(Fault::invalid(
            "the password is over the limit of 1024 bytes",
        ));
    }
    let rng = std::sync::Arc::clone(&call.node.rng);
    let hashing = move || PasswordHash::new(&password, LOGIN_COST, &*rng);
    let hash = call.node.hashing.run(hashing).await?;
    hash.map_err(|_| Fault::Internal("a password could not be hashed".into()))
}

async fn store(
    call: &Call,
    name: &str,
    user: &User,
    precondition: Precondition,
) -> Result<Answer, Fault> {
    let key = key(call, name);
    let put = Put {
        shown: name,
        ..Put::named(&key, Shelf::Of(&call.live.owner)).when(precondition)
    };
    let state = &call.core.state;
    state.write(vec![state.put(&put, user)]).await?;
    Ok(Answer::Empty)
}

async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = canonical(call.capture(0))?;
    let password = field::secret(&call.fields, "password")?;
    let found = load(call, &name).await?;
    let (mut user, precondition) = match (found, password) {
        (Some(found), None) => {
            let precondition = found.unchanged();
            (found.value, precondition)
        }
        (Some(found), Some(password)) => {
            let precondition = found.unchanged();
            let password = hashed(call, password).await?;
            (
                User {
                    password,
                    ..found.value
                },
                precondition,
            )
        }
        (None, Some(password)) => {
            let user = User {
                password: hashed(call, password).await?,
                settings: TokenSettings::default(),
                older: Tail::default(),
            };
            (user, Precondition::Absent)
        }
        (None, None) => return Err(Fault::invalid("missing password")),
    };
    user.settings.update(call)?;
    user.older.0.update(call);
    store(call, &name, &user, precondition).await
}

async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let name = canonical(call.capture(0))?;
    let state = &call.core.state;
    let id = state.id_of::<User>(&key(call, &name));
    state
        .write(vec![state::delete(id, Precondition::Any)])
        .await?;
    Ok(Answer::Empty)
}

async fn set_password(call: &mut Call) -> Result<Answer, Fault> {
    let name = canonical(call.capture(0))?;
    let password = field::secret(&call.fields, "password")?;
    let password = password.ok_or_else(|| Fault::invalid("missing password"))?;
    let found = load(call, &name).await?;
    let found = found.ok_or_else(|| Fault::invalid("username does not exist"))?;
    let precondition = found.unchanged();
    let user = User {
        password: hashed(call, password).await?,
        ..found.value
    };
    store(call, &name, &user, precondition).await
}

async fn set_policies(call: &mut Call) -> Result<Answer, Fault> {
    let name = canonical(call.capture(0))?;
    let found = load(call, &name).await?;
    let found = found.ok_or_else(|| Fault::invalid("username does not exist"))?;
    let precondition = found.unchanged();
    let mut user = found.value;
    let texts = match field::texts(&call.fields, "token_policies")? {
        Some(texts) => Some(texts),
        None => field::texts(&call.fields, "policies")?,
    };
    user.settings.policies = login::normal_policies(texts.unwrap_or_default())?;
    user.older.0.update(call);
    store(call, &name, &user, precondition).await
}

/// The same answer for a wrong password and for a name that is not there, and as slow.
fn refused() -> Fault {
    Fault::invalid("invalid username or password")
}

async fn log_in(call: &mut Call) -> Result<Answer, Fault> {
    let name = canonical(call.capture(0)).map_err(|_| refused())?;
    let password = field::secret(&call.fields, "password")?;
    let password = password.ok_or_else(|| Fault::invalid("missing password"))?;
    let owner = call.live.owner.clone();
    let found = load(call, &name).await?.map(|found| found.value);
    let hash = match &found {
        Some(user) => user.password.clone(),
        None => call.node.nobody().await?,
    };
    // Counted when it is its turn: who is refused for the crowd has not failed.
    let (node, now) = (std::sync::Arc::clone(&call.node), call.now);
    let key = (owner.clone(), name.clone());
    let checking = move || {
        let may_try = node.lockouts.begin(&key.0, &key.1, now);
        may_try.then(|| hash.matches(&password))
    };
    let Some(is_right) = call.node.hashing.run(checking).await? else {
        return Err(Fault::NoToken);
    };
    let Some(user) = found.filter(|_| is_right) else {
        return Err(refused());
    };
    call.node.lockouts.succeed(&owner, &name);
    if !crate::cidr::allows(&user.settings.bound_cidrs, call.remote) {
        return Err(Fault::NoToken);
    }
    let mount = call
        .live
        .path
        .trim_start_matches("auth/")
        .trim_end_matches('/');
    let who = Login {
        display_name: format!("{mount}-{name}"),
        metadata: BTreeMap::from([("username".to_owned(), name)]),
        batch: Vec::new(),
    };
    login::grant(call, &user.settings, who).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let old = postcard::to_stdvec(&(7_u32,)).unwrap();
        let (read, _) = postcard::take_from_bytes::<(u32, Tail<OlderNames>)>(&old).unwrap();
        assert_eq!(read, (7, Tail::default()));
        let names = OlderNames {
            ttl: true,
            ..OlderNames::default()
        };
        let new = postcard::to_stdvec(&(7_u32, Tail(names))).unwrap();
        let (read, _) = postcard::take_from_bytes::<(u32, Tail<OlderNames>)>(&new).unwrap();
        assert_eq!(read, (7, Tail(names)));
    }
}
