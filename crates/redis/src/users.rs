//! Users that are made for a time, by the rules of whoever administers the server.

use std::sync::Arc;
use std::time::Duration;

use strongroom_core::port::BoxFuture;
use strongroom_core::port::DatabaseUsers;
use strongroom_core::port::NewUser;
use strongroom_core::port::UserError;
use strongroom_core::secret::SecretValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::address::RedisUrl;
use crate::session::Lasting;
use crate::session::NotIn;
use crate::session::Session;
use crate::session::hash_of;
use crate::session::try_login;

/// What users may do where a role says nothing.
const RULES: [&str; 2] = ["~*", "+@read"];
/// How long a call waits while all connections are in use.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The users of one Redis.
pub struct Users {
    address: RedisUrl,
    lasting: Lasting,
    connections: usize,
    permits: Arc<Semaphore>,
}

/// A session while one of the connections is in use.
struct Turn {
    session: Session,
    _permit: OwnedSemaphorePermit,
}

impl Users {
    /// Users of a Redis, over so many connections at once. None is opened yet.
    #[must_use]
    pub fn new(address: RedisUrl, connections: usize, lasting: Lasting) -> Self {
        Self {
            address,
            lasting,
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

    /// Has the server keep a change that was made. Where it does not, nobody knows whether it
    /// holds.
    async fn keep(&self, session: &mut Session) -> Result<(), UserError> {
        session
            .keep(self.lasting)
            .await
            .map_err(|error| match error {
                UserError::Refused { detail } => UserError::Lost { detail },
                other => other,
            })
    }
}

/// The rules of a role: each statement is one, or a JSON list of them.
fn rules_of(statements: &[String]) -> Result<Vec<String>, String> {
    if statements.is_empty() {
        return Ok(RULES.map(str::to_owned).to_vec());
    }
    let mut rules = Vec::new();
    for statement in statements {
        match serde_json::from_str::<Vec<String>>(statement) {
            Ok(list) => rules.extend(list),
            Err(_) if statement.trim_start().starts_with('[') => {
                return Err(
                    "a list of ACL rules is a JSON list of texts: [\"~app:*\", \"+@read\"]".into(),
                );
            }
            Err(_) => rules.push(statement.trim().to_owned()),
        }
    }
    match rules.iter().find(|rule| says_who(rule)) {
        Some(rule) => Err(format!(
            "the rule {} says how the user logs in, which is done here: only what it may do can be \
             said",
            shown(rule)
        )),
        None => Ok(rules),
    }
}

/// Whether a rule is about passwords, or about whether the user may log in.
fn says_who(rule: &str) -> bool {
    let word = rule.to_ascii_lowercase();
    let is_word = ["on", "off", "nopass", "resetpass", "reset", ""].contains(&word.as_str());
    is_word || word.starts_with(['>', '<', '#', '!'])
}

/// A rule without a password that may stand in it.
fn shown(rule: &str) -> String {
    match rule
        .get(..1)
        .filter(|first| [">", "<", "#", "!"].contains(first))
    {
        Some(first) => format!("`{first}…`"),
        None => format!("`{rule}`"),
    }
}

impl DatabaseUsers for Users {
    fn connect(&self) -> BoxFuture<'_, Result<(), UserError>> {
        Box::pin(async move { self.turn().await?.session.who().await })
    }

    fn review(&self, statements: &[String]) -> Result<Vec<String>, String> {
        rules_of(statements).map(|_| Vec::new())
    }

    fn create<'a>(&'a self, new: NewUser<'a>) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let rules = rules_of(new.statements).map_err(UserError::refused)?;
            let password = format!("#{}", hash_of(new.password)?);
            let mut all = vec!["reset", "on", &password];
            all.extend(rules.iter().map(String::as_str));
            let mut turn = self.turn().await?;
            turn.session.set_user(new.name, &all).await?;
            self.keep(&mut turn.session).await
        })
    }

    fn renew<'a>(
        &'a self,
        _name: &'a str,
        _until: &'a str,
        _statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        // Redis knows no end of a user: it is removed when its lease is over.
        Box::pin(std::future::ready(Ok(())))
    }

    fn set_password<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
        _statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let password = format!("#{}", hash_of(password)?);
            let mut turn = self.turn().await?;
            if turn.session.user(name).await?.is_none() {
                return Err(UserError::refused(format!("there is no user {name}")));
            }
            let rules = ["resetpass", password.as_str()];
            turn.session.set_user(name, &rules).await?;
            self.keep(&mut turn.session).await
        })
    }

    fn accepts<'a>(
        &'a self,
        name: &'a str,
        password: &'a SecretValue,
    ) -> BoxFuture<'a, Result<bool, UserError>> {
        Box::pin(async move {
            match try_login(&self.address, name, password).await {
                Ok(()) => Ok(true),
                Err(NotIn::Password(_)) => Ok(false),
                Err(NotIn::Unreachable(detail)) => Err(UserError::Lost { detail }),
                Err(error @ NotIn::Untrusted(_)) => Err(error.into()),
            }
        })
    }

    fn remove<'a>(
        &'a self,
        name: &'a str,
        _statements: &'a [String],
    ) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            turn.session.drop_user(name).await?;
            self.keep(&mut turn.session).await
        })
    }

    fn lock<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), UserError>> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            turn.session.set_user(name, &["off"]).await?;
            self.keep(&mut turn.session).await
        })
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<bool>, UserError>> {
        Box::pin(async move {
            let found = self.turn().await?.session.user(name).await?;
            Ok(found.map(|known| known.flags.iter().any(|flag| flag == "on")))
        })
    }

    fn named<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>, UserError>> {
        Box::pin(async move {
            let mut names = self.turn().await?.session.names().await?;
            names.retain(|name| name.starts_with(prefix));
            Ok(names)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_a_json_list_or_one_a_statement() {
        let read = |statements: &[&str]| {
            let statements: Vec<String> = statements.iter().map(|&one| one.to_owned()).collect();
            rules_of(&statements)
        };
        assert_eq!(read(&[]).unwrap(), RULES);
        assert_eq!(read(&["[\"~a:*\", \"+get\"]"]).unwrap(), ["~a:*", "+get"]);
        assert_eq!(read(&["~a:*", " +get "]).unwrap(), ["~a:*", "+get"]);
        assert!(read(&["[\"~a\", 1]"]).is_err());
        for rule in [
            "nopass",
            "ON",
            "off",
            "Reset",
            "resetpass",
            ">canary-1",
            "<canary-1",
            "#canary-1",
        ] {
            let why = read(&["+get", rule]).unwrap_err();
            assert!(why.contains("how the user logs in"), "{why}");
            assert!(!why.contains("canary"), "{why}");
        }
    }
}
