//! The token: got at the first request, once for all who wait for it; renewed in time; got again
//! when it has expired.

use std::time::Duration;

use futures_util::future::join;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::secret::SecretValue;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::client::Answer;
use crate::client::Client;
use crate::client::Reply;
use crate::client::Request;
use crate::client::Verb;
use crate::explain;
use crate::settings::OWN_ADDRESS;
use crate::settings::credentials::Auth;
use crate::settings::credentials::Credential;
use crate::settings::credentials::Login;
use crate::settings::credentials::Proof;

/// The shortest time between two renewals.
const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// Requests under a token.
pub(crate) struct Session {
    pub(crate) client: Client,
    held: Mutex<Held>,
}

/// What is known of the token.
#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// How many tokens there were; tells whose request found it expired.
    generation: u64,
    /// Set when a token from a variable was refused: it does not get better.
    refused: Option<BackendError>,
}

struct Token {
    value: SecretValue,
    /// When to renew it; `None` when that is not of use, or not known.
    renew_at: Option<Instant>,
    /// True until its lease was asked for.
    is_unknown: bool,
}

/// A token as one request uses it.
struct Lent {
    value: SecretValue,
    generation: u64,
    is_unknown: bool,
}

impl Session {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            held: Mutex::new(Held::default()),
        }
    }

    /// Sends a request under a token. When the server does not know the token (any more), once
    /// more under a new one, where there is a way to get one.
    pub(crate) async fn send(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Reply, BackendError> {
        let lent = self.lend(deadline).await?;
        let sent = self.client.send(request, Some(&lent.value), deadline);
        let reply = if lent.is_unknown {
            join(sent, self.learn(&lent, deadline)).await.0?
        } else {
            sent.await?
        };
        if !reply.is(403) || reply.is_denied_by_policy() {
            return Ok(reply);
        }
        if self.is_known(&lent.value, deadline).await? {
            return Ok(reply);
        }
        self.drop_token(&lent, deadline).await?;
        let lent = self.lend(deadline).await?;
        self.client.send(request, Some(&lent.value), deadline).await
    }

    /// The error for a request that the token may not make: what it lacks, and what it has.
    pub(crate) async fn denied(
        &self,
        request: &Request,
        reply: &Reply,
        deadline: Instant,
    ) -> BackendError {
        let path = &request.path;
        let needed = explain::capability(request.verb);
        let mut message = format!("permission denied for `{path}`");
        if !reply.is_denied_by_policy() {
            message.push_str(&explain::quote(request, reply).replace(": permission denied", ""));
        }
        message.push_str(&format!("; it needs `{needed}` there"));
        if let Some(has) = self.capabilities(path, deadline).await {
            message.push_str(&format!(", and the token's policies give `{has}`"));
        }
        let hint = format!(
            "add `path \"{path}\" {{ capabilities = [{}] }}` to a policy of the token",
            needed
                .split(" and ")
                .map(|word| format!("\"{word}\""))
                .collect::<Vec<_>>()
                .join(", ")
        );
        self.client
            .error(BackendErrorKind::Denied, message)
            .with_hint(hint)
    }

    async fn capabilities(&self, path: &str, deadline: Instant) -> Option<String> {
        let lent = self.lend(deadline).await.ok()?;
        let request =
            Request::new(Verb::Post, "sys/capabilities-self").with_json(json!({ "paths": [path] }));
        let reply = self
            .client
            .send(&request, Some(&lent.value), deadline)
            .await;
        let answer = reply.ok().filter(Reply::is_success)?.json()?;
        let has = answer.texts("capabilities").join(", ");
        (!has.is_empty()).then_some(has)
    }

    /// The token, logged in and renewed as needed. Others wait meanwhile.
    async fn lend(&self, deadline: Instant) -> Result<Lent, BackendError> {
        let locked = match self.held.try_lock() {
            Ok(held) => Ok(held),
            Err(_) => timeout_at(deadline, self.held.lock()).await,
        };
        let Ok(mut held) = locked else {
            let server = &self.client.settings().server;
            let message = format!("the login at {server} did not end in time");
            return Err(self.client.error(BackendErrorKind::Unreachable, message));
        };
        if let Some(error) = &held.refused {
            return Err(error.clone());
        }
        if held.token.is_none() {
            let token = match &self.client.settings().auth {
                Auth::Token(credential) => self.given(credential.as_ref())?,
                Auth::Login(login) => self.log_in(login, deadline).await?,
            };
            held.generation += 1;
            held.token = Some(token);
        }
        let generation = held.generation;
        let Some(token) = &mut held.token else {
            let message = "no token";
            return Err(self.client.error(BackendErrorKind::Denied, message));
        };
        if token.renew_at.is_some_and(|at| at <= Instant::now()) {
            token.renew_at = self.renew(&token.value, deadline).await;
        }
        let is_unknown = std::mem::take(&mut token.is_unknown);
        Ok(Lent {
            value: token.value.clone(),
            generation,
            is_unknown,
        })
    }

    /// Names of variables, in the family of the server.
    fn named(&self, text: &str) -> String {
        self.client.settings().named(text)
    }

    /// A token that is there already.
    fn given(&self, credential: Option<&Credential>) -> Result<Token, BackendError> {
        let Some(credential) = credential else {
            let message = "there is no token";
            let hint = match self.client.settings().server_from {
                OWN_ADDRESS => {
                    "log in with `strongroom login`, or set STRONGROOM_TOKEN, or \
                     STRONGROOM_TOKEN_FILE to a file with it"
                }
                _ => {
                    "set VAULT_TOKEN, log in with `bao login` (or `vault login`), or add \
                     auth=approle, kubernetes, jwt or userpass to the address"
                }
            };
            return Err(self
                .client
                .error(BackendErrorKind::Denied, message)
                .with_hint(hint));
        };
        let value = self.load(credential)?;
        Ok(Token {
            value,
            renew_at: None,
            is_unknown: true,
        })
    }

    fn load(&self, credential: &Credential) -> Result<SecretValue, BackendError> {
        credential
            .load()
            .map_err(|message| self.client.error(BackendErrorKind::Misconfigured, message))
    }

    async fn log_in(&self, login: &Login, deadline: Instant) -> Result<Token, BackendError> {
        let mut path = format!("auth/{}/login", login.mount);
        let text = |credential: &Credential| -> Result<Value, BackendError> {
            let value = self.load(credential)?;
            // EXPOSE: goes into the body of the login.
            let text = value.expose_secret_text().map(Value::from);
            text.ok_or_else(|| {
                let message = format!("{} is not UTF-8 text", credential.place());
                self.client.error(BackendErrorKind::Misconfigured, message)
            })
        };
        let (body, shown) = match &login.proof {
            Proof::Role { role_id, secret_id } => {
                let mut body = json!({ "role_id": text(role_id)? });
                if let Some(secret_id) = secret_id {
                    body["secret_id"] = text(secret_id)?;
                }
                (body, self.named("VAULT_ROLE_ID and VAULT_SECRET_ID"))
            }
            Proof::Jwt { role, jwt } => {
                let mut body = json!({ "jwt": text(jwt)? });
                if let Some(role) = role {
                    body["role"] = Value::from(role.as_str());
                }
                (body, format!("{} and the role", jwt.place()))
            }
            Proof::Password { username, password } => {
                path = format!("{path}/{username}");
                let body = json!({ "password": text(password)? });
                (body, self.named("VAULT_USERNAME and VAULT_PASSWORD"))
            }
        };
        let request = Request::new(Verb::Post, path).with_json(body);
        let reply = self.client.send(&request, None, deadline).await?;
        if !reply.is_success() {
            return Err(self.no_login(login, &shown, &request, &reply));
        }
        let answer = reply.json();
        let token = answer
            .as_ref()
            .and_then(|answer| answer.text("/auth/client_token"));
        let (Some(answer), Some(token)) = (&answer, token) else {
            return Err(explain::malformed(&self.client, &request));
        };
        Ok(Token {
            value: SecretValue::copy_from(token.as_bytes()),
            renew_at: renew_at(answer, "/auth/lease_duration", "/auth/renewable"),
            is_unknown: false,
        })
    }

    fn no_login(
        &self,
        login: &Login,
        shown: &str,
        request: &Request,
        reply: &Reply,
    ) -> BackendError {
        let (method, mount) = (login.method, &login.mount);
        let said = explain::quote(request, reply);
        let is_unmounted = reply.is(404) || said.contains("no handler for route");
        if is_unmounted {
            let message = format!("no auth method is mounted at `auth/{mount}`{said}");
            return self
                .client
                .error(BackendErrorKind::Misconfigured, message)
                .with_hint(match self.client.settings().server_from {
                    OWN_ADDRESS => "say where it is with auth_mount=PATH",
                    _ => "say where it is with auth_mount=PATH; `bao auth list` shows them",
                });
        }
        let status = reply.status.as_u16();
        if !matches!(status, 400 | 401 | 403) {
            return explain::unexpected(&self.client, request, reply);
        }
        let message = format!("the {method} login at `auth/{mount}` was refused ({status}{said})");
        self.client
            .error(BackendErrorKind::Denied, message)
            .with_hint(format!("check {shown}: wrong, expired or used up"))
    }

    /// Renews the token; when to do so again. A token that cannot be renewed is used until it
    /// expires.
    async fn renew(&self, token: &SecretValue, deadline: Instant) -> Option<Instant> {
        let request = Request::new(Verb::Post, "auth/token/renew-self").with_json(json!({}));
        match self.client.send(&request, Some(token), deadline).await {
            Ok(reply) if reply.is_success() => {
                let answer = reply.json()?;
                renew_at(&answer, "/auth/lease_duration", "/auth/renewable")
            }
            Ok(_) => None,
            Err(_) => Some(Instant::now() + RENEWAL_MIN),
        }
    }

    /// Asks for the lease of a token that was given to us. Without an answer it is used as it is.
    async fn learn(&self, lent: &Lent, deadline: Instant) {
        let request = Request::get("auth/token/lookup-self");
        let Ok(reply) = self
            .client
            .send(&request, Some(&lent.value), deadline)
            .await
        else {
            return;
        };
        let Some(answer) = reply.json().filter(|_| reply.is_success()) else {
            return;
        };
        let at = renew_at(&answer, "/data/ttl", "/data/renewable");
        let mut held = self.held.lock().await;
        if held.generation == lent.generation
            && let Some(token) = &mut held.token
        {
            token.renew_at = at;
        }
    }

    /// Whether the server knows the token. Only a plain refusal says that it does not.
    async fn is_known(&self, token: &SecretValue, deadline: Instant) -> Result<bool, BackendError> {
        let request = Request::get("auth/token/lookup-self");
        let reply = self.client.send(&request, Some(token), deadline).await?;
        Ok(!reply.is(403) || reply.is_denied_by_policy())
    }

    /// Forgets a token that the server does not know, if nobody did so before.
    async fn drop_token(&self, lent: &Lent, deadline: Instant) -> Result<(), BackendError> {
        let Ok(mut held) = timeout_at(deadline, self.held.lock()).await else {
            return Err(self.refused_token("the token"));
        };
        if held.generation != lent.generation {
            return Ok(());
        }
        held.token = None;
        let Auth::Token(Some(credential)) = &self.client.settings().auth else {
            return Ok(());
        };
        let error = self.refused_token(&credential.place());
        match credential {
            Credential::Variable { .. } => {
                held.refused = Some(error.clone());
                Err(error)
            }
            // Somebody else may have put a new one there.
            Credential::File(_) if self.load(credential)?.ct_eq(&lent.value) => Err(error),
            Credential::File(_) => Ok(()),
        }
    }

    fn refused_token(&self, place: &str) -> BackendError {
        let settings = self.client.settings();
        let message = format!(
            "{} does not know the token in {place}: it is wrong, has expired or was revoked",
            settings.server
        );
        let again = match settings.server_from {
            OWN_ADDRESS => "log in again with `strongroom login`",
            _ => "look at it with `bao token lookup` (or `vault token lookup`) and log in again",
        };
        let hint = format!(
            "{again}; is {} the server that it was made by?",
            settings.server_from
        );
        self.client
            .error(BackendErrorKind::Denied, message)
            .with_hint(hint)
    }

    /// What is known of the token: `Ok` where the server knows it.
    pub(crate) async fn check(&self, deadline: Instant) -> Result<(), BackendError> {
        let request = Request::get("auth/token/lookup-self");
        let reply = self.send(&request, deadline).await?;
        // A token without the policy `default` may not look at itself, and is a token all the same.
        if reply.is_success() || reply.is_denied_by_policy() {
            return Ok(());
        }
        if reply.is(403) {
            let place = match &self.client.settings().auth {
                Auth::Token(Some(credential)) => credential.place(),
                _ => "use".to_owned(),
            };
            return Err(self.refused_token(&place));
        }
        Err(explain::unexpected(&self.client, &request, &reply))
    }
}

/// At two thirds of the lease, if it has an end and can be renewed.
fn renew_at(answer: &Answer, seconds: &str, renewable: &str) -> Option<Instant> {
    let is_renewable = answer.at(renewable).and_then(Value::as_bool) == Some(true);
    let seconds = answer.number(seconds).filter(|seconds| *seconds > 0)?;
    let wait = Duration::from_secs(seconds).saturating_mul(2) / 3;
    is_renewable.then(|| Instant::now().checked_add(wait.max(RENEWAL_MIN)))?
}
