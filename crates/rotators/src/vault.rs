//! The password of a static role of another Vault or OpenBao.
//!
//! That server changes the password in the database and keeps it; this one asks it to, and takes
//! over what it says. So the old password ends when the new one comes to be, and nobody can put it
//! back.

use std::time::Duration;

use serde_json::json;
use strongroom_backend_vault::Api;
use strongroom_backend_vault::ApiAnswer;
use strongroom_backend_vault::As;
use strongroom_backend_vault::Call;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::UserError;
use strongroom_core::port::Variables;
use strongroom_core::port::Writer;
use strongroom_core::rotator::VaultStaticRole;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;
use strongroom_engine::object::Object;
use strongroom_postgres::ConnectError;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::role;
use strongroom_redis::RedisUrl;

use crate::Needs;
use crate::credential;
use crate::credential::Urls;
use crate::unusable;

/// Longest time of a step.
const STEP_MAX: Duration = Duration::from_secs(45);
/// Where database engines are mounted unless somebody says.
const MOUNT: &str = "database";
/// What a secret with credentials may say, and the variable that the backend reads it from.
const CREDENTIALS: [(&str, &str); 6] = [
    ("token", "VAULT_TOKEN"),
    ("role_id", "VAULT_ROLE_ID"),
    ("secret_id", "VAULT_SECRET_ID"),
    ("username", "VAULT_USERNAME"),
    ("password", "VAULT_PASSWORD"),
    ("jwt", "VAULT_JWT"),
];
/// Settings that are no credentials: they hold for those of a secret as well.
const SETTINGS: [&str; 8] = [
    "VAULT_ADDR",
    "BAO_ADDR",
    "VAULT_CACERT",
    "BAO_CACERT",
    "VAULT_CAPATH",
    "BAO_CAPATH",
    "VAULT_NAMESPACE",
    "BAO_NAMESPACE",
];

/// Where the new password is tried.
pub(crate) enum Login {
    Postgres(DatabaseUrl),
    Redis(RedisUrl),
}

/// The rotator.
pub(crate) struct Vault {
    api: Api,
    mount: String,
    role: String,
    login: Option<Login>,
    /// The secret that the credentials come from.
    admin: Option<String>,
}

/// What the other server says.
struct Found {
    user: String,
    password: SecretValue,
}

/// Reads a declaration; what is wrong with it.
pub(crate) fn check(spec: &VaultStaticRole) -> Result<(BackendUri, Option<Login>), String> {
    let uri = BackendUri::parse(&spec.backend);
    let uri = uri.map_err(|error| format!("`backend` cannot be used: {error}"))?;
    if !["vault", "server"].contains(&uri.scheme()) {
        return Err("`backend` is a `vault:` address, as in a chain".into());
    }
    if uri
        .path()
        .is_some_and(|path| !path.trim_matches('/').is_empty())
    {
        return Err("`backend` names a server: where its engine is mounted is `mount`".into());
    }
    if uri.authority().is_some() && spec.admin.is_none() {
        // Else whoever registers a rotator could have them sent anywhere.
        return Err(
            "the process's own credentials are for the server in VAULT_ADDR: `backend` is \
             `vault:`, or `admin` names a secret with credentials for this one"
                .into(),
        );
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name =
        |text: &str| !text.is_empty() && !text.starts_with('.') && text.chars().all(is_letter);
    if !is_name(&spec.role) {
        return Err("`role` is the name of a static role".into());
    }
    let mount = spec.mount.as_deref().unwrap_or(MOUNT).trim_matches('/');
    if !mount.split('/').all(is_name) {
        return Err("`mount` is the path of a database engine".into());
    }
    let login = spec.login.as_deref().map(login_of).transpose()?;
    Ok((uri, login))
}

fn login_of(address: &str) -> Result<Login, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("`login` cannot be used: {error}");
    let (login, has_password) = match address.split_once("://") {
        Some(("postgres" | "postgresql", place)) => {
            let end = place.find(['/', '?']).unwrap_or(place.len());
            // Who logs in is what the other server says.
            let address = match place.split_at(end).0.contains('@') {
                true => address.to_owned(),
                false => format!("postgres://role@{place}"),
            };
            let address: DatabaseUrl = address.parse().map_err(|error| wrong(&error))?;
            let has_password = address.has_password();
            (Login::Postgres(address), has_password)
        }
        Some(("redis" | "rediss", _)) => {
            let address: RedisUrl = address.parse().map_err(|error| wrong(&error))?;
            let has_password = address.has_password();
            (Login::Redis(address), has_password)
        }
        _ => return Err("`login` is a postgres:// or rediss:// address".into()),
    };
    match has_password {
        true => Err("`login` is shown in lists: no password may stand in it".into()),
        false => Ok(login),
    }
}

/// The variables that the backend logs in by: those of a secret, else those of the process.
fn variables(spec: &VaultStaticRole, needs: &Needs) -> Result<Variables, RotatorError> {
    let (name, admin) = match (&spec.admin, &needs.admin) {
        (None, _) => return Ok(needs.backends.clone()),
        (Some(name), Some(admin)) => (name, admin),
        (Some(name), None) => {
            let message = format!("the secret {name} with the credentials has no value");
            return Err(RotatorError::new("rotator.no_admin", message));
        }
    };
    let none = || {
        let message = format!(
            "the secret {name} has no credentials: a token, or a JSON object with `token`, with \
             `role_id` and `secret_id`, or with `username` and `password`"
        );
        RotatorError::new("rotator.no_admin", message)
    };
    let settings = SETTINGS.iter();
    let settings = settings.filter_map(|name| Some((*name, needs.backends.text(name)?.to_owned())));
    let mut pairs: Vec<(&str, String)> = settings.collect();
    let count = pairs.len();
    match Object::read(&admin.value) {
        Some(object) => {
            for (field, variable) in CREDENTIALS {
                if let Some(value) = object.text(field) {
                    // EXPOSE: handed to the backend, which keeps it as a secret.
                    let text = value.expose_secret_text().unwrap_or_default();
                    pairs.push((variable, text.to_owned()));
                }
            }
        }
        None => {
            // EXPOSE: handed to the backend, which keeps it as a secret.
            let token = admin.value.expose_secret_text().ok_or_else(none)?;
            pairs.push(("VAULT_TOKEN", token.trim().to_owned()));
        }
    }
    match pairs.len() > count {
        true => Ok(Variables::new(pairs)),
        false => Err(none()),
    }
}

impl Vault {
    pub(crate) fn new(spec: &VaultStaticRole, needs: &Needs) -> Result<Self, RotatorError> {
        let (uri, login) = check(spec).map_err(unusable)?;
        let variables = variables(spec, needs)?;
        Ok(Self {
            api: Api::open(&uri, &variables).map_err(|error| unusable(said(&error)))?,
            mount: spec
                .mount
                .as_deref()
                .unwrap_or(MOUNT)
                .trim_matches('/')
                .to_owned(),
            role: spec.role.clone(),
            login,
            admin: spec.admin.clone(),
        })
    }

    async fn call(&self, call: Call, what: &str) -> Result<ApiAnswer, RotatorError> {
        let path = format!("{}/{what}/{}", self.mount, self.role);
        let body = matches!(call, Call::Write).then(|| json!({}));
        let answer = self.api.call(call, &path, body, As::Configured).await;
        let answer = answer.map_err(|error| {
            let code = match error.kind {
                BackendErrorKind::Unreachable
                | BackendErrorKind::Throttled
                | BackendErrorKind::Sealed => "rotator.unreachable",
                _ => "rotator.refused",
            };
            let said = said(&error);
            let said = match &self.admin {
                Some(name) => said.replace("VAULT_TOKEN", &format!("the secret {name}")),
                None => said,
            };
            RotatorError::new(code, said)
        })?;
        answer.ok_or_else(|| {
            let message = format!("{} has no {path}", self.api.server());
            RotatorError::new("rotator.refused", message)
        })
    }

    async fn read(&self) -> Result<Found, RotatorError> {
        let answer = self.call(Call::Read, "static-creds").await?;
        let data = &answer.json()["data"];
        let text = |name: &str| data[name].as_str().filter(|text| !text.is_empty());
        let (Some(user), Some(password)) = (text("username"), text("password")) else {
            let message = format!("{} answers without a password", self.api.server());
            return Err(RotatorError::new("rotator.answer", message));
        };
        Ok(Found {
            user: user.to_owned(),
            password: SecretValue::copy_from(password.as_bytes()),
        })
    }

    /// Has the password changed, unless that was done before: by a step that was cut off, or by
    /// the other server itself.
    async fn create(&self, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
        let current = call.current.filter(|current| !is_empty(current));
        let known = current.and_then(|current| credential::read(current, urls(current)).ok());
        let is_known = |found: &Found| match &known {
            Some(known) => known.password.ct_eq(&found.password),
            None => true,
        };
        let mut found = self.read().await?;
        if is_known(&found) {
            let before = found.password;
            self.call(Call::Write, "rotate-role").await?;
            found = self.read().await?;
            if found.password.ct_eq(&before) {
                let message = format!(
                    "{} says that it has changed the password, and answers the old one",
                    self.api.server()
                );
                return Err(RotatorError::new("rotator.failed", message));
            }
        }
        match current {
            Some(current) => {
                credential::write(current, urls(current), &found.user, &found.password)
            }
            None => {
                let mut object = Object::default();
                let user = SecretValue::copy_from(found.user.as_bytes());
                let is_set =
                    object.set("username", &user) && object.set("password", &found.password);
                is_set.then(|| object.payload()).ok_or_else(no_pending)
            }
        }
    }

    async fn test(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = call.pending.ok_or_else(no_pending)?;
        let pending = credential::read(pending, urls(pending))?;
        let found = self.read().await?;
        if !found.password.ct_eq(&pending.password) {
            let message = format!(
                "{} has changed the password again meanwhile",
                self.api.server()
            );
            return Err(RotatorError::new("rotation.other_value", message));
        }
        match &self.login {
            None => Ok(()),
            Some(Login::Postgres(address)) => {
                let tried = role::check_login(address, &found.user, &found.password).await;
                tried.map_err(|error| match error {
                    ConnectError::Refused { .. } => {
                        RotatorError::new("rotator.refused", error.to_string())
                    }
                    other => RotatorError::new("rotator.unreachable", other.to_string()),
                })
            }
            Some(Login::Redis(address)) => {
                let tried =
                    strongroom_redis::check_login(address, &found.user, &found.password).await;
                tried.map_err(|error| match error {
                    UserError::Refused { detail } => RotatorError::new("rotator.refused", detail),
                    other => RotatorError::new("rotator.unreachable", other.to_string()),
                })
            }
        }
    }
}

impl Rotator for Vault {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        Box::pin(async move {
            let done = async {
                match call.step {
                    Step::Create => self.create(call).await.map(Some),
                    Step::Test => self.test(call).await.map(|()| None),
                    // The other server has told the database.
                    Step::Set | Step::Finish => Ok(None),
                }
            };
            match tokio::time::timeout(STEP_MAX, done).await {
                Ok(done) => done,
                Err(_) => {
                    let (server, seconds) = (self.api.server(), STEP_MAX.as_secs());
                    let message = format!("{server} did not answer in {seconds} s");
                    Err(RotatorError::new("rotator.unreachable", message))
                }
            }
        })
    }
}

fn is_empty(payload: &Payload) -> bool {
    payload.value.is_empty()
        || Object::read(&payload.value).is_some_and(|it| it.names().next().is_none())
}

/// Which addresses the secret may be.
fn urls(payload: &Payload) -> Urls {
    // EXPOSE: looked at for its beginning only.
    let text = payload.value.expose_secret_text().unwrap_or_default();
    match text.starts_with("redis") {
        true => Urls::Redis,
        false => Urls::Postgres,
    }
}

/// What a backend says, with what to do.
fn said(error: &BackendError) -> String {
    match &error.hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

fn no_pending() -> RotatorError {
    RotatorError::new("rotation.no_value", "there is no new value")
}
