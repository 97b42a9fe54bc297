//! Keys of the application's users: `/api/users/ID/secrets/NAME`.
//!
//! To policies a user's own keys are at `sys/users/self/…`, whatever the user is called; those of
//! others at `sys/users/ID/…`.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::policy::Access;
use strongroom_core::policy::Capability;
use strongroom_core::policy::RequestPath;
use strongroom_core::secret::SecretValue;
use strongroom_userkeys::Form;
use strongroom_userkeys::KeyName;
use strongroom_userkeys::UserId;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;

use crate::users::user_of;
use crate::vault::body::Wiped;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// What stands in the place of a value, everywhere but in the answer to a read.
const MASK: &str = "[redacted]";
const PREFIX: &str = "sys/users/";
const SELF: &str = "self";
/// Where the system's keys are.
const SYSTEM: &str = "secret/";

/// The path of a user's own keys as policies see it.
pub(crate) fn as_self(call: &Call) -> Option<RequestPath> {
    let below = call.path.as_str().strip_prefix(PREFIX)?;
    let (user, rest) = below.split_once('/')?;
    let own = user_of(&call.caller.as_ref()?.token)?;
    if user != own {
        return None;
    }
    format!("{PREFIX}{SELF}/{rest}").parse().ok()
}

async fn open(call: &Call) -> Result<(UserKeys, UserId), Fault> {
    let asked = call.capture(0);
    let user = match asked {
        SELF => {
            let own = user_of(&call.caller()?.token);
            own.ok_or_else(|| Fault::invalid("this token is for no user"))?
        }
        asked => asked,
    };
    let user = UserId::parse(user)?;
    let keys = call.node.users.keys(&call.core, &call.context()).await?;
    let keys = keys.ok_or_else(|| {
        Fault::invalid("users' keys are not served here: see --userkeys-database of the server")
    })?;
    Ok((keys, user))
}

/// A failure, after which the table is looked at anew: it may have been attached otherwise.
async fn failed(call: &Call, error: UserKeysError) -> Fault {
    call.node.users.reopen().await;
    error.into()
}

fn name_of(call: &Call) -> Result<KeyName, Fault> {
    Ok(KeyName::parse(call.capture(1))?)
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let (keys, user) = open(call).await?;
    let listed = match keys.list(&user).await {
        Ok(listed) => listed,
        Err(error) => return Err(failed(call, error).await),
    };
    if listed.is_empty() {
        return Err(Fault::NotFound);
    }
    let names: Vec<&str> = listed.iter().map(|key| key.name.as_str()).collect();
    let info: Map<String, Value> = listed
        .iter()
        .map(|key| {
            let is_sealed = matches!(key.form, Form::Sealed(_));
            let info = json!({ "value": MASK, "form": key.form.word(), "sealed": is_sealed });
            (key.name.clone(), info)
        })
        .collect();
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let (keys, user) = open(call).await?;
    let found = match keys.get(&user, &name).await {
        Ok(found) => found,
        Err(error) => return Err(failed(call, error).await),
    };
    if let Some(found) = found {
        return answer(&user, &name, &found.value, "user");
    }
    let resolves = call.fields.get("resolve");
    let resolves = resolves.is_some_and(|value| value == "true" || value == "1");
    if !resolves {
        return Err(Fault::NotFound);
    }
    match system(call, &name).await? {
        Some(value) => answer(&user, &name, &value, "system"),
        None => Err(Fault::NotFoundWith(vec![format!(
            "neither the user nor the system, as far as this token may read it, has a key {name}"
        )])),
    }
}

fn answer(
    user: &UserId,
    name: &KeyName,
    value: &SecretValue,
    source: &str,
) -> Result<Answer, Fault> {
    // EXPOSE: the answer to an explicit read, whose policy was checked and which is noted.
    let text = value.expose_secret_text();
    let text = text.ok_or_else(|| Fault::invalid("the value is no text"))?;
    Ok(Answer::data(json!({
        "user": user.as_str(),
        "name": name.as_str(),
        "value": text,
        "source": source,
    })))
}

/// The system's key, if this token may read it where it is.
async fn system(call: &Call, name: &KeyName) -> Result<Option<SecretValue>, Fault> {
    let Ok(place) = format!("{SYSTEM}data/{name}").parse::<RequestPath>() else {
        return Ok(None);
    };
    let acl = call.core.acl_of(call.caller()?);
    let asked = Access {
        path: &place,
        capability: Capability::Read,
        params: &[],
        wrap_ttl: None,
    };
    if !acl.is_root() && !acl.decide(&asked).is_allowed {
        return Ok(None);
    }
    let table = call.core.mounts();
    let (Some(live), Ok(path)) = (table.find(SYSTEM), name.as_str().parse::<SecretPath>()) else {
        return Ok(None);
    };
    match live.secrets.read(&call.context(), &path, None).await {
        Ok(secret) => Ok(Some(secret.payload.value)),
        Err(strongroom_engine::Error::NotFound { .. } | strongroom_engine::Error::Gone { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let sent = call.fields.take("value");
    let Some(Wiped(Value::String(text))) = &sent else {
        return Err(Fault::invalid("the value is missing, or no text"));
    };
    let value = SecretValue::copy_from(text.as_bytes());
    drop(sent);
    let (keys, user) = open(call).await?;
    let is_new = match keys.set(&user, &name, &value).await {
        Ok(is_new) => is_new,
        Err(error) => return Err(failed(call, error).await),
    };
    Ok(Answer::data(json!({
        "user": user.as_str(),
        "name": name.as_str(),
        "value": MASK,
        "is_new": is_new,
    })))
}

pub(super) async fn remove(call: &mut Call) -> Result<Answer, Fault> {
    let name = name_of(call)?;
    let (keys, user) = open(call).await?;
    match keys.remove(&user, &name).await {
        Ok(_) => Ok(Answer::Empty),
        Err(error) => Err(failed(call, error).await),
    }
}

pub(super) async fn erase(call: &mut Call) -> Result<Answer, Fault> {
    let (keys, user) = open(call).await?;
    match keys.erase(&user).await {
        Ok(erased) => Ok(Answer::data(
            json!({ "user": user.as_str(), "removed": erased }),
        )),
        Err(error) => Err(failed(call, error).await),
    }
}

/// Everything that is kept of a user, with the values.
pub(super) async fn export(call: &mut Call) -> Result<Answer, Fault> {
    let (keys, user) = open(call).await?;
    let exported = match keys.export(&user).await {
        Ok(exported) => exported,
        Err(error) => return Err(failed(call, error).await),
    };
    let entry = |(name, value): &(String, Result<SecretValue, UserKeysError>)| match value {
        Ok(value) => {
            // EXPOSE: the answer to an explicit export, which is noted and has a policy.
            let text = value.expose_secret_text();
            json!({ "name": name, "value": text })
        }
        Err(error) => json!({ "name": name, "error": error.code() }),
    };
    let keys: Vec<Value> = exported.iter().map(entry).collect();
    Ok(Answer::data(json!({ "user": user.as_str(), "keys": keys })))
}

/// Whether a key is there: making one and changing one are two capabilities.
pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    let name = name_of(call)?;
    let (keys, user) = open(call).await?;
    let listed = match keys.list(&user).await {
        Ok(listed) => listed,
        Err(error) => return Err(failed(call, error).await),
    };
    let column = keys.attachment().name_in_column(&name);
    Ok(listed.iter().any(|key| key.name == column))
}
