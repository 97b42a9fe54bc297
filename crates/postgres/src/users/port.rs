//! What others see of a database's users.

use strongroom_core::port::BoxFuture;
use strongroom_core::port::DatabaseUsers;
use strongroom_core::port::NewUser;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;

use super::Passwords;
use super::Users;
use super::statement::Values;
use super::statement::render;
use super::statement::shows_password;
use crate::error::ConnectError;
use crate::role;

/// What keeps a user for longer, where a role says nothing else.
const RENEW: &str = "ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'";
/// What changes a password, where nothing else is said.
const SET_PASSWORD: &str = "ALTER ROLE \"{{name}}\" WITH PASSWORD '{{password}}'";

/// The statements, or the usual one where there are none.
fn or_usual(own: &[String], usual: &str) -> Vec<String> {
    match own {
        [] => vec![usual.to_owned()],
        own => own.to_vec(),
    }
}

impl DatabaseUsers for Users {
    fn connect(&self) -> BoxFuture<'_, Result<(), UserError>> {
        Box::pin(async move { self.session().await.map(drop) })
    }

    fn review(&self, statements: &[String]) -> Result<Vec<String>, String> {
        if statements.is_empty() {
            return Err("empty creation statements".into());
        }
        let mut said = Vec::new();
        if shows_password(statements, self.passwords) {
            said.push(
                "The creation statements send the password itself to the database: only where it \
                 stands as PASSWORD '{{password}}' a verifier takes its place"
                    .to_owned(),
            );
        }
        Ok(said)
    }

    fn create<'a>(&'a self, new: NewUser<'a>) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let values = Values {
                name: new.name,
                password: Some(new.password),
                expiration: new.until,
            };
            let sql = render(new.statements, values, self.passwords);
            self.run(&sql, &[new.password]).await
        })
    }

    fn renew<'a>(
        &'a self,
        name: &'a str,
        until: &'a str,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let values = Values {
                name,
                password: None,
                expiration: until,
            };
            let statements = or_usual(statements, RENEW);
            let sql = render(&statements, values, Passwords::Verifier);
            self.run(&sql, &[]).await
        })
    }

    fn set_password<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let values = Values {
                name,
                password: Some(password),
                expiration: "",
            };
            let statements = or_usual(statements, SET_PASSWORD);
            let sql = render(&statements, values, self.passwords);
            self.run(&sql, &[password]).await
        })
    }

    fn accepts<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
    ) -> BoxFuture<'a, Result<bool, UserError>> {
        Box::pin(async move {
            match role::check_login(&self.address, name, password).await {
                Ok(()) => Ok(true),
                // 28P01: the password is wrong. All else says nothing of it.
                Err(ConnectError::Refused { detail, .. }) => Ok(!detail.contains("28P01")),
                Err(ConnectError::Unreachable { detail, .. }) => Err(UserError::Lost { detail }),
                Err(error) => Err(UserError::refused(error.to_string())),
            }
        })
    }

    fn remove<'a>(
        &'a self,
        name: &'a str,
        statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            if statements.is_empty() {
                return self.drop_user(name).await;
            }
            let values = Values {
                name,
                password: None,
                expiration: "",
            };
            let sql = render(statements, values, Passwords::Verifier);
            match self.run(&sql, &[]).await {
                Err(error @ UserError::Refused { .. }) => match self.find_user(name).await {
                    Ok(None) => Ok(()),
                    _ => Err(error),
                },
                done => done,
            }
        })
    }

    fn lock<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let role = role::quoted(name).map_err(|error| UserError::refused(error.to_string()))?;
            let sql = SecretValue::from_text(format!("ALTER ROLE {role} NOLOGIN"));
            self.run(&sql, &[]).await
        })
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<bool>, UserError>> {
        Box::pin(self.find_user(name))
    }

    fn named<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>, UserError>> {
        Box::pin(self.users_named(prefix))
    }
}
