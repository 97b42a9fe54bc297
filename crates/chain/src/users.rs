//! Keys of an application's users that a Strongroom server serves: `/api/users/ID/secrets/NAME`.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::port::Variables;
use strongroom_core::secret::SecretValue;

use crate::detect::SERVER;
use crate::server;
use crate::server::Api;
use crate::server::As;
use crate::server::Call;

/// Users' keys on a server. Reads are noted there.
pub struct ServedKeys {
    api: Api,
}

impl ServedKeys {
    /// The server that the variables name.
    ///
    /// # Errors
    /// When they name none, or a setting makes no sense.
    pub fn open(variables: &Variables) -> Result<Self, BackendError> {
        Ok(Self {
            api: server::open(variables)?,
        })
    }

    /// The server as messages name it.
    #[must_use]
    pub fn server(&self) -> &str {
        self.api.server()
    }

    /// A user's own key; `None` where the user has none.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub async fn get(&self, user: &str, name: &str) -> Result<Option<SecretValue>, BackendError> {
        let path = path_of(user, name)?;
        let answer = self.api.call(Call::Read, &path, None, As::Configured);
        let Some(answer) = answer.await? else {
            return Ok(None);
        };
        let value = answer.json().pointer("/data/value");
        match value.and_then(|value| value.as_str()) {
            Some(value) => Ok(Some(SecretValue::copy_from(value.as_bytes()))),
            None => Err(BackendError::new(
                BackendErrorKind::Malformed,
                SERVER,
                format!(
                    "the answer of {} to a read of a user's key has no value",
                    self.server()
                ),
            )),
        }
    }
}

/// The path below `/v1/`: nothing in it may lead elsewhere, or mean another user.
fn path_of(user: &str, name: &str) -> Result<String, BackendError> {
    let is_one = |segment: &str| !matches!(segment, "" | "." | "..");
    if user.contains('/') || !is_one(user) || user == "self" {
        return Err(invalid(format!(
            "the keys of a user with the id {user:?} cannot be asked of a server"
        )));
    }
    if !name.split('/').all(is_one) {
        return Err(invalid(format!(
            "a key with the name {name:?} cannot be asked of a server"
        )));
    }
    Ok(format!("sys/users/{user}/secrets/{name}"))
}

fn invalid(message: String) -> BackendError {
    BackendError::new(BackendErrorKind::Invalid, SERVER, message)
}

/// One user's keys on a server, as the first link of a chain.
pub struct ServedLink {
    keys: ServedKeys,
    user: String,
}

impl ServedLink {
    /// The keys of a user.
    #[must_use]
    pub fn new(keys: ServedKeys, user: &str) -> Self {
        Self {
            keys,
            user: user.to_owned(),
        }
    }
}

impl Backend for ServedLink {
    fn scheme(&self) -> &'static str {
        "userkeys"
    }

    fn describe(&self) -> String {
        format!("the keys of user {} on {}", self.user, self.keys.server())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(lookups.len());
            for lookup in lookups {
                let value = self.keys.get(&self.user, &lookup.path).await;
                found.push(value.map(|value| {
                    value.map(|value| Fetched {
                        value,
                        version: None,
                        expires_at: None,
                    })
                }));
            }
            found
        })
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("write here"))))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("list"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_and_no_name_leads_elsewhere() {
        let path = path_of("u1", "anthropic/api_key").unwrap();
        assert_eq!(path, "sys/users/u1/secrets/anthropic/api_key");
        for user in ["", ".", "..", "a/b", "self", "/"] {
            assert!(path_of(user, "k").is_err(), "{user}");
        }
        for name in ["", "..", "a/../b", "a//b", "/a", "a/", "./a"] {
            assert!(path_of("u", name).is_err(), "{name}");
        }
    }
}
