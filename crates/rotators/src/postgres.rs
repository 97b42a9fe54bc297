//! The password of a role of PostgreSQL.
//!
//! One role: its password changes, and works until the step *set*; who connects after it with the
//! old one has to read the secret anew. Two roles that take turns: the one that is not in use gets
//! a new password, so that the one in use works on, also for who read it long ago. The second one
//! acts as the first (`SET ROLE`): what it makes belongs to the first.

use strongroom_core::port::BoxFuture;
use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::Writer;
use strongroom_core::rotator::PostgresRole;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_postgres::ConnectError;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::role;
use strongroom_postgres::role::RoleError;
use strongroom_postgres::words;
use tokio_postgres::Client;

use crate::Needs;
use crate::credential;
use crate::credential::Credential;
use crate::credential::Urls;
use crate::step::admin_password;
use crate::step::in_time;
use crate::step::new_password;
use crate::step::no_current;
use crate::step::no_pending;
use crate::unusable;

/// What does not answer when a step takes too long.
const PLACE: &str = "the database";

/// The rotator.
pub(crate) struct Postgres {
    address: DatabaseUrl,
    role: Option<String>,
    alternate: Option<String>,
    has_admin: bool,
    needs: Needs,
}

/// Reads a declaration's address; what is wrong with the declaration.
pub(crate) fn check(spec: &PostgresRole) -> Result<DatabaseUrl, String> {
    let read = spec.address.parse::<DatabaseUrl>();
    let address = read.map_err(|error| format!("`address` cannot be used: {error}"))?;
    if address.has_password() {
        return Err("`address` is shown in lists: no password may stand in it".into());
    }
    for name in [&spec.role, &spec.alternate].into_iter().flatten() {
        role::quoted(name).map_err(|error| error.to_string())?;
    }
    if spec.alternate.is_some() {
        if spec.admin.is_none() {
            return Err("roles that take turns need an `admin`, who changes both".into());
        }
        if spec.role.is_none() || spec.role == spec.alternate {
            return Err("roles that take turns are two: `role` and `alternate`".into());
        }
    }
    Ok(address)
}

impl Postgres {
    pub(crate) fn new(spec: &PostgresRole, needs: Needs) -> Result<Self, RotatorError> {
        let address = check(spec).map_err(unusable)?;
        let address = match admin_password(spec.admin.as_deref(), &needs, Urls::Postgres)? {
            Some(password) => address.with_password(&password),
            None => address,
        };
        Ok(Self {
            address,
            role: spec.role.clone(),
            alternate: spec.alternate.clone(),
            has_admin: spec.admin.is_some(),
            needs,
        })
    }

    /// Who a secret is of. It may be nobody else's than it is declared to be.
    fn user_of(&self, found: &Credential) -> Result<String, RotatorError> {
        let declared = [&self.role, &self.alternate].into_iter().flatten();
        let mut declared = declared.peekable();
        match (&found.user, declared.peek().is_some()) {
            (Some(user), false) => Ok(user.clone()),
            (Some(user), true) if declared.any(|one| one == user) => Ok(user.clone()),
            (Some(user), true) => {
                let message = format!("the secret is of the role {user}, which is not declared");
                Err(RotatorError::new("rotation.other_role", message))
            }
            (None, _) => match (&self.role, &self.alternate) {
                (Some(role), None) => Ok(role.clone()),
                (None, _) => Err(unusable(
                    "the secret is a password alone: the rotator has to say whose (`role`)",
                )),
                (Some(_), Some(_)) => Err(unusable(
                    "of roles that take turns the secret has to say whose password it is: a \
                     postgres:// address, or a JSON object with `username` and `password`",
                )),
            },
        }
    }

    fn create(&self, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
        let current = call.current.ok_or_else(no_current)?;
        let user = self.user_of(&read(current)?)?;
        let next = match (&self.role, &self.alternate) {
            (Some(first), Some(second)) if *first == user => second.clone(),
            (Some(first), Some(_)) => first.clone(),
            _ => user,
        };
        let password = new_password(&self.needs, call.now)?;
        credential::write(current, Urls::Postgres, &next, &password)
    }

    async fn set(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = read(call.pending.ok_or_else(no_pending)?)?;
        let user = self.user_of(&pending)?;
        let current = call.current.map(read).transpose()?;
        self.change(&user, &pending.password, current.as_ref())
            .await
    }

    /// Has a role take a password: as the administrator, or as itself with one that works.
    async fn change(
        &self,
        user: &str,
        password: &SecretValue,
        works: Option<&Credential>,
    ) -> Result<(), RotatorError> {
        if self.has_admin {
            let change =
                async |mut client: Client| self.as_admin(&mut client, user, password).await;
            return role::session(&self.address, change)
                .await
                .map_err(of_connect)?;
        }
        let works = works.ok_or_else(no_current)?;
        let address = self.address.clone().with_password(&works.password);
        let change = async |client: Client| role::set_password(&client, user, password).await;
        match role::session_as(&address, user, change).await {
            Ok(done) => done.map_err(of_role),
            // Done before, perhaps.
            Err(refused @ ConnectError::Refused { .. }) => {
                let tried = role::check_login(&self.address, user, password).await;
                tried.map_err(|_| of_connect(refused))
            }
            Err(error) => Err(of_connect(error)),
        }
    }

    async fn as_admin(
        &self,
        client: &mut Client,
        user: &str,
        password: &SecretValue,
    ) -> Result<(), RotatorError> {
        let is_second = self.alternate.as_deref() == Some(user);
        if let (true, Some(first)) = (is_second, &self.role) {
            let failed = |error| {
                let message = format!("the role {user} was not made: {}", words(&error));
                RotatorError::new("rotator.refused", message)
            };
            let known = "SELECT 1 FROM pg_roles WHERE rolname = $1";
            let known = client.query_opt(known, &[&user]).await.map_err(failed)?;
            if known.is_none() {
                let (user, first) = (quoted(user)?, quoted(first)?);
                let all = client.transaction().await.map_err(failed)?;
                let sql = format!(
                    "CREATE ROLE {user} LOGIN IN ROLE {first};
                     ALTER ROLE {user} SET role = {first}"
                );
                all.batch_execute(&sql).await.map_err(failed)?;
                all.commit().await.map_err(failed)?;
            }
        }
        let done = role::set_password(client, user, password).await;
        done.map_err(of_role)
    }

    async fn test(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = read(call.pending.ok_or_else(no_pending)?)?;
        let user = self.user_of(&pending)?;
        let tried = role::check_login(&self.address, &user, &pending.password).await;
        tried.map_err(of_connect)
    }

    /// Has a role that waits for its next turn take no password that anybody knows.
    async fn end(&self, ending: &Ending<'_>) -> Result<(), RotatorError> {
        let user = self.user_of(&read(ending.current)?)?;
        let old = self.user_of(&read(ending.old)?)?;
        if user == old {
            // Its password has ended when the new one was set.
            return Ok(());
        }
        let nobody_knows = new_password(&self.needs, ending.now)?;
        self.change(&old, &nobody_knows, None).await
    }

    async fn put_back(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let current = read(call.current.ok_or_else(no_current)?)?;
        let user = self.user_of(&current)?;
        match role::check_login(&self.address, &user, &current.password).await {
            Ok(()) => return Ok(()),
            Err(ConnectError::Refused { .. }) => {}
            Err(error) => return Err(of_connect(error)),
        }
        let pending = call.pending.map(read).transpose()?;
        self.change(&user, &current.password, pending.as_ref())
            .await?;
        let tried = role::check_login(&self.address, &user, &current.password).await;
        tried.map_err(of_connect)
    }
}

impl Rotator for Postgres {
    fn writer(&self) -> Writer {
        Writer::Engine
    }

    fn step<'a>(
        &'a self,
        call: &'a StepCall<'a>,
    ) -> BoxFuture<'a, Result<Option<Payload>, RotatorError>> {
        Box::pin(async move {
            match call.step {
                Step::Create => self.create(call).map(Some),
                Step::Set => in_time(PLACE, self.set(call)).await.map(|()| None),
                Step::Test => in_time(PLACE, self.test(call)).await.map(|()| None),
                // The engine moves the stages.
                Step::Finish => Ok(None),
            }
        })
    }

    fn take_back<'a>(&'a self, call: &'a StepCall<'a>) -> BoxFuture<'a, Result<(), RotatorError>> {
        Box::pin(in_time(PLACE, self.put_back(call)))
    }

    fn retire<'a>(&'a self, ending: &'a Ending<'a>) -> BoxFuture<'a, Result<(), RotatorError>> {
        Box::pin(in_time(PLACE, self.end(ending)))
    }
}

fn read(payload: &Payload) -> Result<Credential, RotatorError> {
    credential::read(payload, Urls::Postgres)
}

fn quoted(name: &str) -> Result<String, RotatorError> {
    role::quoted(name).map_err(of_role)
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn of_connect(error: ConnectError) -> RotatorError {
    let code = match error {
        ConnectError::Unreachable { .. } => "rotator.unreachable",
        _ => "rotator.refused",
    };
    RotatorError::new(code, error.to_string())
}

fn of_role(error: RoleError) -> RotatorError {
    match error {
        RoleError::Connect(error) => of_connect(error),
        other => RotatorError::new("rotator.refused", other.to_string()),
    }
}
