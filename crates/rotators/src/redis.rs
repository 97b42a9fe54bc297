//! The password of a user of Redis or Valkey.
//!
//! Redis lets a user have several passwords. The new one is added, so that the old one works on
//! until its overlap is over, or the next rotation: then the user keeps the one that works and the
//! new one, and all others end. Redis is given SHA-256 hashes, which it would have stored itself.

use strongroom_core::port::BoxFuture;
use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Step;
use strongroom_core::port::StepCall;
use strongroom_core::port::UserError;
use strongroom_core::port::Writer;
use strongroom_core::rotator::RedisUser;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_redis::Lasting;
use strongroom_redis::RedisUrl;
use strongroom_redis::Session;
use strongroom_redis::check_login;

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
const PLACE: &str = "Redis";
/// The user of who names none.
const USER: &str = "default";

/// The rotator.
pub(crate) struct Redis {
    address: RedisUrl,
    user: Option<String>,
    lasting: Lasting,
    has_admin: bool,
    needs: Needs,
}

/// Reads a declaration; what is wrong with it.
pub(crate) fn check(spec: &RedisUser) -> Result<(RedisUrl, Lasting), String> {
    let read = spec.address.parse::<RedisUrl>();
    let address = read.map_err(|error| format!("`address` cannot be used: {error}"))?;
    if address.has_password() {
        return Err("`address` is shown in lists: no password may stand in it".into());
    }
    if spec.user.as_deref() == Some("") {
        return Err("`user` is the name of a user".into());
    }
    let lasting = match spec.persist.as_deref() {
        None | Some("acl-file") => Lasting::AclFile,
        Some("config") => Lasting::Rewrite,
        Some("none") => Lasting::Never,
        Some(_) => return Err("`persist` is one of acl-file, config and none".into()),
    };
    Ok((address, lasting))
}

impl Redis {
    pub(crate) fn new(spec: &RedisUser, needs: Needs) -> Result<Self, RotatorError> {
        let (address, lasting) = check(spec).map_err(unusable)?;
        let address = match admin_password(spec.admin.as_deref(), &needs, Urls::Redis)? {
            Some(password) => address.with_password(&password),
            None => address,
        };
        Ok(Self {
            address,
            user: spec.user.clone(),
            lasting,
            has_admin: spec.admin.is_some(),
            needs,
        })
    }

    /// Who a secret is of. It may be nobody else's than it is declared to be.
    fn user_of<'a>(&'a self, found: &'a Credential) -> Result<&'a str, RotatorError> {
        match (found.user.as_deref(), self.user.as_deref()) {
            (Some(user), Some(declared)) if user != declared => {
                let message = format!("the secret is of the user {user}, which is not declared");
                Err(RotatorError::new("rotation.other_role", message))
            }
            (Some(user), _) | (None, Some(user)) => Ok(user),
            (None, None) => Ok(USER),
        }
    }

    fn create(&self, call: &StepCall<'_>) -> Result<Payload, RotatorError> {
        let current = call.current.ok_or_else(no_current)?;
        let found = read(current)?;
        self.user_of(&found)?;
        let password = new_password(&self.needs, call.now)?;
        let user = found.user.as_deref().unwrap_or_default();
        credential::write(current, Urls::Redis, user, &password)
    }

    /// A session of who may change the user: the administrator, or itself with what works.
    async fn session(
        &self,
        user: &str,
        works: &[Option<&SecretValue>],
    ) -> Result<Session, RotatorError> {
        if self.has_admin {
            return Session::open(&self.address).await.map_err(of_user);
        }
        let mut last = None;
        for password in works.iter().flatten() {
            match Session::open(&self.address.of_user(user, password)).await {
                Ok(session) => return Ok(session),
                Err(error @ UserError::Refused { .. }) => last = Some(error),
                Err(error) => return Err(of_user(error)),
            }
        }
        Err(last.map_or_else(no_current, of_user))
    }

    async fn set(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = read(call.pending.ok_or_else(no_pending)?)?;
        let user = self.user_of(&pending)?;
        let current = call.current.map(read).transpose()?;
        let current = current.as_ref().map(|current| &current.password);
        // It may have been done before: then the new one works.
        let mut session = self
            .session(user, &[current, Some(&pending.password)])
            .await?;
        let added = session.add_password(user, &pending.password, current, self.lasting);
        added.await.map_err(of_user)
    }

    async fn test(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let pending = read(call.pending.ok_or_else(no_pending)?)?;
        let user = self.user_of(&pending)?;
        let tried = check_login(&self.address, user, &pending.password).await;
        tried.map_err(of_user)
    }

    /// The old password ends; the current one stays.
    async fn end(&self, ending: &Ending<'_>) -> Result<(), RotatorError> {
        let (current, old) = (read(ending.current)?, read(ending.old)?);
        let user = self.user_of(&current)?;
        if self.user_of(&old)? != user {
            return Ok(());
        }
        let (current, old) = (&current.password, &old.password);
        let mut session = self.session(user, &[Some(current)]).await?;
        let ended = session.restore_password(user, current, Some(old), self.lasting);
        ended.await.map_err(of_user)
    }

    async fn put_back(&self, call: &StepCall<'_>) -> Result<(), RotatorError> {
        let current = read(call.current.ok_or_else(no_current)?)?;
        let user = self.user_of(&current)?;
        let pending = call.pending.map(read).transpose()?;
        let pending = pending.as_ref().map(|pending| &pending.password);
        let mut session = self
            .session(user, &[Some(&current.password), pending])
            .await?;
        let restored = session.restore_password(user, &current.password, pending, self.lasting);
        restored.await.map_err(of_user)?;
        let tried = check_login(&self.address, user, &current.password).await;
        tried.map_err(of_user)
    }
}

impl Rotator for Redis {
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
    credential::read(payload, Urls::Redis)
}
