//! The password of a user of MariaDB or MySQL.
//!
//! One user, whom an administrator changes: it takes the new password as a second one, and the old
//! one works until its overlap is over, or the next rotation. MariaDB has the account log in by one
//! password or the other, MySQL retains the current one. A user that changes its own has one: who
//! connects after *set* with the old one has to read the secret anew.
//!
//! Two users that take turns: the one that is not in use gets a new password. The second one is
//! made with the rights that the first one has then.

use strongroom_core::port::BoxFuture;
use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::UserError;
use strongroom_core::port::Writer;
use strongroom_core::rotator::MysqlUser;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_mysql::MysqlUrl;
use strongroom_mysql::Passwords;
use strongroom_mysql::Session;
use strongroom_mysql::check_login;

use crate::Needs;
use crate::credential;
use crate::credential::Credential;
use crate::credential::Urls;
use crate::step::admin_password;
use crate::step::in_time;
use crate::step::new_password;
use crate::step::no_current;
use crate::step::no_pending;
use crate::step::of_user;
use crate::unusable;

/// What does not answer when a step takes too long.
const PLACE: &str = "the database";

/// The rotator.
pub(crate) struct Mysql {
    address: MysqlUrl,
    user: Option<String>,
    alternate: Option<String>,
    has_admin: bool,
    needs: Needs,
}

/// Reads a declaration's address; what is wrong with the declaration.
pub(crate) fn check(spec: &MysqlUser) -> Result<MysqlUrl, String> {
    let read = spec.address.parse::<MysqlUrl>();
    let address = read.map_err(|error| format!("`address` cannot be used: {error}"))?;
    if address.has_password() {
        return Err("`address` is shown in lists: no password may stand in it".into());
    }
    let mut named = [&spec.user, &spec.alternate].into_iter().flatten();
    if named.any(String::is_empty) {
        return Err("`user` and `alternate` are names of users".into());
    }
    if spec.admin.is_some() && address.user().is_empty() {
        return Err("`address` names no administrator: mysql://ADMIN@HOST/".into());
    }
    if spec.alternate.is_some() {
        if spec.admin.is_none() {
            return Err("users that take turns need an `admin`, who changes both".into());
        }
        if spec.user.is_none() || spec.user == spec.alternate {
            return Err("users that take turns are two: `user` and `alternate`".into());
        }
    }
    Ok(address)
}

impl Mysql {
    pub(crate) fn new(spec: &MysqlUser, needs: Needs) -> Result<Self, RotatorError> {
        let address = check(spec).map_err(unusable)?;
        let address = match admin_password(spec.admin.as_deref(), &needs, Urls::Mysql)? {
            Some(password) => address.with_password(&password),
            None => address,
        };
        Ok(Self {
            address,
            user: spec.user.clone(),
            alternate: spec.alternate.clone(),
            has_admin: spec.admin.is_some(),
            needs,
        })
    }

    /// Who a secret is of. It may be nobody else's than it is declared to be.
    fn user_of(&self, found: &Credential) -> Result<String, RotatorError> {
        let declared = [&self.user, &self.alternate];
        match &found.user {
            Some(user) if declared == [&None, &None] => Ok(user.clone()),
            Some(user) if declared.contains(&&found.user) => Ok(user.clone()),
            Some(user) => {
                let message = format!("the secret is of the user {user}, which is not declared");
                Err(RotatorError::new("rotation.other_role", message))
            }
            None => match declared {
                [Some(user), None] => Ok(user.clone()),
                [None, _] => Err(unusable(
                    "the secret is a password alone: the rotator has to say whose (`user`)",
                )),
                [Some(_), Some(_)] => Err(unusable(
                    "of users that take turns the secret has to say whose password it is: a \
                     mysql:// address, or a JSON object with `username` and `password`",
                )),
            },
        }
    }

    fn create(&self, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
        let current = call.current.ok_or_else(no_current)?;
        let found = read(current)?;
        let user = self.user_of(&found)?;
        let next = match (&self.user, &self.alternate) {
            (Some(first), Some(second)) if *first == user => second,
            (Some(first), Some(_)) => first,
            _ => &user,
        };
        let password = new_password(&self.needs, call.now)?;
        credential::write(current, Urls::Mysql, next, &password)
    }

    async fn set(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = read(call.pending.ok_or_else(no_pending)?)?;
        let user = self.user_of(&pending)?;
        let current = call.current.map(read).transpose()?;
        let password = &pending.password;
        if !self.has_admin {
            let current = current.ok_or_else(no_current)?;
            return self.set_own(&user, password, &current.password).await;
        }
        let mut session = self.as_admin().await?;
        let done = match (&self.user, &self.alternate) {
            (Some(first), Some(second)) => {
                let made = match user == *second {
                    true => session.make_like(first, second, password).await,
                    false => Ok(()),
                };
                match made {
                    Ok(()) => session.set_password(&user, password, Passwords::Hash).await,
                    refused => refused,
                }
            }
            // A MySQL would retain the new one, were it set twice.
            _ if !session.is_mariadb() && self.lets_in(&user, password).await? => Ok(()),
            _ => {
                let works = current.as_ref().map(|current| &current.password);
                session.add_password(&user, password, works).await
            }
        };
        session.close().await;
        done.map_err(of_user)
    }

    async fn as_admin(&self) -> Result<Session, RotatorError> {
        Session::open(&self.address).await.map_err(of_user)
    }

    /// Has a user change its own password, where that was not done before.
    async fn set_own(
        &self,
        user: &str,
        password: &SecretValue,
        works: &SecretValue,
    ) -> Result<(), RotatorError> {
        match Session::open(&self.address.of_user(user, works)).await {
            Ok(mut session) => {
                let done = session.set_own_password(password).await;
                session.close().await;
                done.map_err(of_user)
            }
            Err(refused @ UserError::Refused { .. }) => match self.lets_in(user, password).await? {
                true => Ok(()),
                false => Err(of_user(refused)),
            },
            Err(error) => Err(of_user(error)),
        }
    }

    async fn lets_in(&self, user: &str, password: &SecretValue) -> Result<bool, RotatorError> {
        match check_login(&self.address, user, password).await {
            Ok(()) => Ok(true),
            Err(UserError::Refused { .. }) => Ok(false),
            Err(error) => Err(of_user(error)),
        }
    }

    async fn test(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = read(call.pending.ok_or_else(no_pending)?)?;
        let user = self.user_of(&pending)?;
        let tried = check_login(&self.address, &user, &pending.password).await;
        tried.map_err(of_user)
    }

    /// The old password ends; the current one stays. A user that waits for its turn takes no
    /// password that anybody knows.
    async fn end(&self, ending: &Ending<'_>) -> Result<(), RotatorError> {
        let (current, old) = (read(ending.current)?, read(ending.old)?);
        let (user, other) = (self.user_of(&current)?, self.user_of(&old)?);
        if !self.has_admin {
            // Its password has ended when the new one was set.
            return Ok(());
        }
        let nobody_knows = new_password(&self.needs, ending.now)?;
        let mut session = self.as_admin().await?;
        let (current, old) = (&current.password, &old.password);
        let done = match user == other {
            true => session.end_password(&user, current, old).await,
            false => {
                let set = session.set_password(&other, &nobody_knows, Passwords::Hash);
                set.await
            }
        };
        session.close().await;
        done.map_err(of_user)
    }

    async fn put_back(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let current = read(call.current.ok_or_else(no_current)?)?;
        let user = self.user_of(&current)?;
        let pending = call.pending.map(read).transpose()?;
        let works = &current.password;
        if self.alternate.is_some() && self.lets_in(&user, works).await? {
            // It is the other user's that was changed, and it waits for its turn.
            return Ok(());
        }
        let pending = pending.as_ref().map(|pending| &pending.password);
        if self.has_admin {
            let mut session = self.as_admin().await?;
            let done = session.restore_password(&user, works, pending).await;
            session.close().await;
            done.map_err(of_user)?;
        } else if !self.lets_in(&user, works).await? {
            let pending = pending.ok_or_else(no_pending)?;
            self.set_own(&user, works, pending).await?;
        }
        let tried = check_login(&self.address, &user, works).await;
        tried.map_err(of_user)
    }
}

impl Rotator for Mysql {
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
                // The engine moves the stages. The old password works on until it is retired.
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
    credential::read(payload, Urls::Mysql)
}
