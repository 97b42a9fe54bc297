//! Credentials that a server makes for this run: kept alive while the command runs, made anew
//! before they end, and removed after it.
//!
//! They are a link of the chain, before all others, that answers for the declarations with
//! `dynamic` and for no other one. Whoever looks (once before the start, then again and again)
//! also renews. When the process dies, the server removes them when their time is over.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use strongroom_chain::server::Api;
use strongroom_chain::server::As;
use strongroom_chain::server::Call;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Clock;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::registry::Dynamic;
use strongroom_core::registry::DynamicForm;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_engine::resolve::DYNAMIC;
use strongroom_engine::resolve::Link;
use zeroize::Zeroizing;

use crate::app::App;
use crate::app::SystemClock;
use crate::error::CommandError;
use crate::project::Project;
use crate::runtime;

/// Longest and shortest time between two looks, in seconds.
const LOOK_SECONDS: std::ops::RangeInclusive<u64> = 1..=30;
/// Clocks and answers are not exact to the second.
const SLACK_SECONDS: i64 = 2;

/// What the server has made for this run.
pub(super) struct Leases {
    api: Api,
    wanted: BTreeMap<String, Dynamic>,
    held: tokio::sync::Mutex<BTreeMap<String, Held>>,
    /// Leases that were replaced: the command may still use them until it has the new ones.
    replaced: Mutex<Vec<String>>,
}

/// Credentials of one path.
struct Held {
    lease: String,
    fields: BTreeMap<String, SecretValue>,
    ends: Timestamp,
    /// How long they were given for at first.
    whole: i64,
}

impl Leases {
    /// What a manifest asks for; `None` where it asks for nothing.
    pub(super) fn of(
        app: &App,
        project: &Project,
        only: Option<&BTreeSet<String>>,
    ) -> Result<Option<Arc<Self>>, CommandError> {
        let declarations = project.manifest.declarations().iter();
        let wanted = declarations.filter_map(|declaration| {
            let dynamic = declaration.dynamic.clone()?;
            let is_wanted = only.is_none_or(|only| only.contains(&declaration.name));
            is_wanted.then(|| (declaration.name.clone(), dynamic))
        });
        let wanted: BTreeMap<String, Dynamic> = wanted.collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        if app.global.server.is_none() {
            let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
            let message = format!(
                "{} are made by a server, and none is named",
                names.join(", ")
            );
            return Err(CommandError::usage(message)
                .hint("--server URL, or STRONGROOM_ADDR, names the server"));
        }
        runtime::start()?;
        let api = strongroom_chain::server::open(&app.environment.for_backends())?;
        Ok(Some(Arc::new(Self {
            api,
            wanted,
            held: tokio::sync::Mutex::default(),
            replaced: Mutex::default(),
        })))
    }

    /// The declarations that they are for.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.wanted.keys().cloned().collect()
    }

    /// The link that answers for them.
    pub(super) fn link(leases: &Arc<Self>) -> Link {
        Link {
            backend: Box::new(DynamicLink(Arc::clone(leases))),
            is_optional: false,
            is_remote: true,
        }
    }

    /// How often it has to be looked, so that nothing ends meanwhile.
    pub(super) fn interval(&self) -> Duration {
        let held = runtime::wait(self.held.lock());
        let shortest = held.values().map(|held| held.whole).min();
        let sixth = shortest.and_then(|seconds| u64::try_from(seconds / 6).ok());
        let seconds = sixth.unwrap_or(*LOOK_SECONDS.end());
        Duration::from_secs(seconds.clamp(*LOOK_SECONDS.start(), *LOOK_SECONDS.end()))
    }

    /// Has the server remove them; what it does not hear of ends by itself. What was not told to
    /// it, for messages.
    pub(super) fn revoke(&self) -> Vec<String> {
        runtime::wait(async {
            let held = std::mem::take(&mut *self.held.lock().await);
            let mut leases: Vec<String> = held.into_values().map(|held| held.lease).collect();
            leases.append(&mut super::watch::locked(&self.replaced));
            let mut left = Vec::new();
            for lease in leases {
                if let Err(error) = self.end(&lease).await {
                    left.push(format!(
                        "{lease} was not ended, and ends by itself: {error}"
                    ));
                }
            }
            left
        })
    }

    async fn end(&self, lease: &str) -> Result<(), BackendError> {
        let body = json!({ "lease_id": lease });
        let path = "sys/leases/revoke";
        let done = self.api.call(Call::Write, path, Some(body), As::Configured);
        done.await.map(drop)
    }

    /// The credentials of a path as they are to be used now.
    async fn current(
        &self,
        path: &str,
        held: &mut BTreeMap<String, Held>,
    ) -> Result<(), BackendError> {
        let now = SystemClock.now();
        if let Some(known) = held.get_mut(path) {
            let is_enough =
                |known: &Held, now: Timestamp| known.ends.seconds_since(now) * 2 > known.whole;
            if is_enough(known, now) {
                return Ok(());
            }
            match self.renewed(&known.lease).await {
                Ok(seconds) => known.ends = now.plus(Span::from_seconds(seconds)),
                // What is not over yet can be used for as long as it is not.
                Err(error) if error.kind == BackendErrorKind::Unreachable => {
                    return match known.ends > now {
                        true => Ok(()),
                        false => Err(error),
                    };
                }
                // It is gone, or its longest life is near: others are made.
                Err(_) => known.ends = now,
            }
            if is_enough(known, now) {
                return Ok(());
            }
        }
        let made = self.made(path, now).await?;
        if let Some(old) = held.insert(path.to_owned(), made) {
            super::watch::locked(&self.replaced).push(old.lease);
        }
        Ok(())
    }

    async fn renewed(&self, lease: &str) -> Result<i64, BackendError> {
        let body = json!({ "lease_id": lease });
        let path = "sys/leases/renew";
        let answer = self.api.call(Call::Write, path, Some(body), As::Configured);
        let answer = answer.await?;
        let seconds = answer.and_then(|answer| answer.json()["lease_duration"].as_i64());
        seconds.ok_or_else(|| self.error("the server does not say for how long it renewed a lease"))
    }

    async fn made(&self, path: &str, now: Timestamp) -> Result<Held, BackendError> {
        let answer = self.api.call(Call::Read, path, None, As::Configured);
        let answer = answer.await?.ok_or_else(|| {
            self.error(format!(
                "{} makes no credentials at {path}",
                self.api.server()
            ))
        })?;
        let json = answer.json();
        let lease = json["lease_id"].as_str().unwrap_or_default();
        let whole = json["lease_duration"].as_i64().unwrap_or(0);
        if lease.is_empty() || whole <= 0 {
            let message = format!("what is at {path} has no lease: it is not made for this run");
            return Err(self.error(message));
        }
        let held = Held {
            lease: lease.to_owned(),
            fields: fields(&json["data"]),
            ends: now.plus(Span::from_seconds(whole)),
            whole,
        };
        if let Some(left) = self.token_seconds().await?
            && left + SLACK_SECONDS < whole
        {
            // The credentials would be removed while the command still believes in them.
            let _ = self.end(&held.lease).await;
            let message = format!(
                "the credentials at {path} would live for {whole} s, and the token that they end \
                 with for {left} s: log in again, or ask for less"
            );
            return Err(self.error(message));
        }
        Ok(held)
    }

    /// Seconds that the token lives; `None` for ever.
    async fn token_seconds(&self) -> Result<Option<i64>, BackendError> {
        let path = "auth/token/lookup-self";
        let answer = self
            .api
            .call(Call::Read, path, None, As::Configured)
            .await?;
        let data = answer.as_ref().map(|answer| &answer.json()["data"]);
        let ends = data.is_some_and(|data| !data["expire_time"].is_null());
        let seconds = data.and_then(|data| data["ttl"].as_i64());
        Ok(seconds.filter(|_| ends))
    }

    fn error(&self, message: impl Into<String>) -> BackendError {
        BackendError::new(BackendErrorKind::Misconfigured, DYNAMIC, message)
    }

    async fn fetch(&self, lookup: &Lookup) -> Result<Option<Fetched>, BackendError> {
        let Some(dynamic) = self.wanted.get(&lookup.name) else {
            return Ok(None);
        };
        let mut held = self.held.lock().await;
        self.current(&dynamic.path, &mut held).await?;
        let fields = held.get(&dynamic.path).map(|held| &held.fields);
        let value = fields.and_then(|fields| value_of(fields, &dynamic.form));
        let value = value.ok_or_else(|| {
            let path = &dynamic.path;
            self.error(format!("the credentials at {path} have no such field"))
        })?;
        Ok(Some(Fetched {
            value,
            version: None,
            expires_at: None,
        }))
    }
}

fn fields(data: &Value) -> BTreeMap<String, SecretValue> {
    let fields = data.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| {
            let value = match value {
                Value::String(text) => SecretValue::copy_from(text.as_bytes()),
                other => SecretValue::from_text(other.to_string()),
            };
            (name.clone(), value)
        })
        .collect()
}

/// What a declaration wants of the credentials.
fn value_of(fields: &BTreeMap<String, SecretValue>, form: &DynamicForm) -> Option<SecretValue> {
    let text = |name: &str| {
        let field = fields.get(name)?;
        // EXPOSE: put into the value that a declaration asks for.
        field.expose_secret_text()
    };
    match form {
        DynamicForm::Field(name) => fields.get(name).cloned(),
        DynamicForm::Whole => {
            let mut all = serde_json::Map::new();
            for name in fields.keys() {
                all.insert(name.clone(), text(name)?.into());
            }
            Some(SecretValue::from_text(Value::Object(all).to_string()))
        }
        DynamicForm::Template(template) => {
            let mut value = Zeroizing::new(String::with_capacity(template.len() + 1024));
            let mut rest = template.as_str();
            while let Some((before, from)) = rest.split_once("{{") {
                let (name, after) = from.split_once("}}")?;
                value.push_str(before);
                value.push_str(text(name.trim())?);
                rest = after;
            }
            value.push_str(rest);
            Some(SecretValue::from_text(std::mem::take(&mut *value)))
        }
    }
}

struct DynamicLink(Arc<Leases>);

impl Backend for DynamicLink {
    fn scheme(&self) -> &'static str {
        DYNAMIC
    }

    fn describe(&self) -> String {
        DYNAMIC.into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(lookups.len());
            for lookup in lookups {
                answers.push(self.0.fetch(lookup).await);
            }
            answers
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
    fn a_declaration_gets_the_form_that_it_asks_for() {
        let fields = fields(&json!({"username": "v-a", "password": "canary-0c2d"}));
        let value = |form: &DynamicForm| {
            let value = value_of(&fields, form)?;
            // EXPOSE: a test looks at what it made.
            Some(value.expose_secret_text()?.to_owned())
        };
        let template = |text: &str| DynamicForm::Template(text.into());
        assert_eq!(
            value(&template("postgres://{{username}}:{{ password }}@db/app")).unwrap(),
            "postgres://v-a:canary-0c2d@db/app"
        );
        assert_eq!(value(&template("{{nothing}}")), None);
        assert_eq!(value(&template("{{username")), None);
        assert_eq!(
            value(&DynamicForm::Field("username".into())).unwrap(),
            "v-a"
        );
        assert_eq!(
            value(&DynamicForm::Whole).unwrap(),
            r#"{"password":"canary-0c2d","username":"v-a"}"#
        );
    }
}
