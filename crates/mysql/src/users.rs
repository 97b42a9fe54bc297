//! Users that are made for a time: by the statements of whoever administers the server.
//!
//! A server of this kind does each statement by itself. What was made before one failed is removed
//! again; where that fails too, it is not known what is there.

use std::sync::Arc;
use std::time::Duration;

use strongroom_core::port::BoxFuture;
use strongroom_core::port::DatabaseUsers;
use strongroom_core::port::NewUser;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::address::MysqlUrl;
use crate::session::NotIn;
use crate::session::Session;
use crate::session::try_login;
use crate::statement::Passwords;
use crate::statement::Values;
use crate::statement::render;
use crate::statement::shows_password;

/// How long a call waits while all connections are in use.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The users of one server.
pub struct Users {
    address: MysqlUrl,
    passwords: Passwords,
    connections: usize,
    permits: Arc<Semaphore>,
}

/// A session while one of the connections is in use.
struct Turn {
    session: Session,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    async fn end<T>(self, done: Result<T, UserError>) -> Result<T, UserError> {
        self.session.close().await;
        done
    }
}

impl Users {
    /// Users of a server, over so many connections at once. None is opened yet.
    #[must_use]
    pub fn new(address: MysqlUrl, connections: usize, passwords: Passwords) -> Self {
        Self {
            address,
            passwords,
            connections,
            permits: Arc::new(Semaphore::new(connections)),
        }
    }

    async fn turn(&self) -> Result<Turn, UserError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(WAIT_MAX, permit).await else {
            let connections = self.connections;
            let detail = format!("all {connections} connections to it are in use");
            return Err(UserError::Busy { detail });
        };
        Ok(Turn {
            session: Session::open(&self.address).await?,
            _permit: permit,
        })
    }

    async fn run(
        &self,
        session: &mut Session,
        statements: &[String],
        values: Values<'_>,
        password: Option<&SecretValue>,
    ) -> Result<(), UserError> {
        let sql = render(
            statements,
            values,
            password,
            self.passwords,
            session.flavor(),
        );
        let hidden: Vec<&SecretValue> = password.into_iter().collect();
        session.say_secret(&sql, &hidden).await
    }

    /// Makes a user; what is left of one that was not made is removed.
    async fn make(&self, session: &mut Session, new: &NewUser<'_>) -> Result<(), UserError> {
        let (length, most) = (new.name.chars().count(), session.name_chars_max());
        if length > most {
            return Err(UserError::refused(format!(
                "the name {} has {length} letters, and the server takes {most} at most: shorten \
                 the parts of username_template with `truncate`",
                new.name
            )));
        }
        let values = Values {
            name: new.name,
            expiration: new.until,
        };
        let made = self.run(session, new.statements, values, Some(new.password));
        let Err(error) = made.await else {
            return Ok(());
        };
        if !matches!(error, UserError::Refused { .. }) {
            return Err(error);
        }
        if !new.rollback.is_empty() {
            // What it leaves behind is removed below.
            let _ = self.run(session, new.rollback, values, None).await;
        }
        match session.drop_user(new.name).await {
            Ok(()) => Err(error),
            Err(left) => Err(UserError::Lost {
                detail: format!("{error}; what was made before it cannot be removed: {left}"),
            }),
        }
    }

    async fn remove_by(
        &self,
        session: &mut Session,
        name: &str,
        statements: &[String],
    ) -> Result<(), UserError> {
        if statements.is_empty() {
            return session.drop_user(name).await;
        }
        let values = Values {
            name,
            expiration: "",
        };
        match self.run(session, statements, values, None).await {
            Err(error @ UserError::Refused { .. }) => match session.accounts(name).await {
                Ok(accounts) if accounts.is_empty() => Ok(()),
                _ => Err(error),
            },
            done => done,
        }
    }
}

impl DatabaseUsers for Users {
    fn connect(&self) -> BoxFuture<'_, Result<(), UserError>> {
        Box::pin(async move { self.turn().await?.end(Ok(())).await })
    }

    fn name_chars_max(&self) -> BoxFuture<'_, Result<usize, UserError>> {
        Box::pin(async move {
            let turn = self.turn().await?;
            let most = turn.session.name_chars_max();
            turn.end(Ok(most)).await
        })
    }

    fn review(&self, statements: &[String]) -> Result<Vec<String>, String> {
        if statements.is_empty() {
            return Err("empty creation statements".into());
        }
        let mut said = Vec::new();
        if self.passwords == Passwords::Clear || shows_password(statements) {
            said.push(
                "The creation statements send the password itself to the database: only where it \
                 stands as IDENTIFIED BY '{{password}}' a MariaDB is given a hash in its place"
                    .to_owned(),
            );
        }
        Ok(said)
    }

    fn create<'a>(&'a self, new: NewUser<'a>) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let done = self.make(&mut turn.session, &new).await;
            turn.end(done).await
        })
    }

    fn renew<'a>(
        &'a self,
        name: &'a str,
        until: &'a str,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            if statements.is_empty() {
                // The server knows no end of a user: it is removed when its lease is over.
                return Ok(());
            }
            let values = Values {
                name,
                expiration: until,
            };
            let mut turn = self.turn().await?;
            let done = self.run(&mut turn.session, statements, values, None).await;
            turn.end(done).await
        })
    }

    fn set_password<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let session = &mut turn.session;
            let done = match statements {
                [] => session.set_password(name, password, self.passwords).await,
                own => {
                    let values = Values {
                        name,
                        expiration: "",
                    };
                    self.run(session, own, values, Some(password)).await
                }
            };
            turn.end(done).await
        })
    }

    fn accepts<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
    ) -> BoxFuture<'a, Result<bool, UserError>> {
        Box::pin(async move {
            match try_login(&self.address, name, password).await {
                // Another reason than the password says nothing of it.
                Ok(()) | Err(NotIn::Other(_)) => Ok(true),
                Err(NotIn::Password(_)) => Ok(false),
                Err(NotIn::Unreachable(detail)) => Err(UserError::Lost { detail }),
                Err(error @ NotIn::Untrusted(_)) => Err(error.into()),
            }
        })
    }

    fn remove<'a>(
        &'a self,
        name: &'a str,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let done = self.remove_by(&mut turn.session, name, statements).await;
            turn.end(done).await
        })
    }

    fn lock<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let done = turn.session.lock_user(name).await;
            turn.end(done).await
        })
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<bool>, UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let found = turn.session.accounts(name).await;
            let found = turn.end(found).await?;
            let may = found.iter().any(|account| !account.is_locked);
            Ok((!found.is_empty()).then_some(may))
        })
    }

    fn named<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>, UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let names = turn.session.users_named(prefix).await;
            turn.end(names).await
        })
    }
}
