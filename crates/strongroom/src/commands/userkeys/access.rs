//! Opening a table of users' keys, and noting what is done to it.

use std::sync::Arc;

use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Backend;
use strongroom_core::port::BoxFuture;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::Engine;
use strongroom_engine::Error as EngineError;
use strongroom_engine::context::OpContext;
use strongroom_engine::resolve::Link;
use strongroom_userkeys::Database;
use strongroom_userkeys::DatabaseUrl;
use strongroom_userkeys::KeyName;
use strongroom_userkeys::TableName;
use strongroom_userkeys::Trail;
use strongroom_userkeys::UserId;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;
use strongroom_userkeys::UserLink;

use super::PlaceArgs;
use crate::app::App;
use crate::app::SystemClock;
use crate::database;
use crate::database::Opened;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::runtime::wait;
use crate::session;

pub(super) const VARIABLE: &str = "STRONGROOM_USERKEYS_DATABASE";

/// The store whose keys seal, and the database.
pub(crate) struct Access {
    pub(crate) opened: Opened,
    pub(crate) engine: Engine,
    pub(crate) context: OpContext,
    pub(crate) database: Database,
}

impl Access {
    /// Opens the store and connects to the database. The store is made only if `makes_store`.
    pub(crate) fn open(
        app: &App,
        place: &PlaceArgs,
        makes_store: bool,
    ) -> Result<Self, CommandError> {
        crate::runtime::start()?;
        let opened = match database::open_if_named(app)? {
            Some(opened) => opened,
            None if makes_store => Opened::File(Box::new(session::open_or_create(app)?)),
            None => Opened::File(Box::new(session::open(app)?)),
        };
        let engine = Engine::new(opened.storage(), opened.barrier().clone());
        let context = session::context(app);
        let url = address(app, place, &engine, &context)?;
        let database = wait(Database::connect(&url, None))?;
        Ok(Self {
            opened,
            engine,
            context,
            database,
        })
    }

    /// With the keys as they are now.
    pub(crate) fn reopen(&mut self) {
        self.engine = Engine::new(self.opened.storage(), self.opened.barrier().clone());
    }

    pub(crate) fn barrier(&self) -> &Barrier {
        self.opened.barrier()
    }

    /// The keys in the table, with what opens pgcrypto's rows.
    pub(crate) fn keys(&self, app: &App, place: &PlaceArgs) -> Result<UserKeys, CommandError> {
        let table = table_of(place)?;
        let opening = UserKeys::open(&self.database, table.as_ref(), self.barrier());
        let keys = wait(opening)?;
        let mut old = Vec::new();
        for name in &keys.attachment().settings().pgcrypto_keys {
            match self.secret(name) {
                Ok(value) => old.push(value),
                Err(error) if error.kind == Kind::NotFound => app.ui.warn(&format!(
                    "warning: {name}, which holds a key of pgcrypto's, is not in the store"
                )),
                Err(error) => return Err(error),
            }
        }
        Ok(keys.with_pgcrypto_keys(old))
    }

    /// A secret of the store, by its whole path.
    pub(crate) fn secret(&self, path: &str) -> Result<SecretValue, CommandError> {
        read(&self.engine, &self.context, path)
    }

    /// Notes what was done to a user's key, or to the table.
    pub(crate) fn note(
        &self,
        action: Action,
        what: &str,
        outcome: Outcome,
    ) -> Result<(), CommandError> {
        let event = self
            .context
            .event(action, vec![format!("userkeys/{what}")], outcome);
        Ok(wait(self.engine.audit(&event))?)
    }

    /// What is due after a command.
    pub(crate) fn finish(&self, app: &App) {
        if let Opened::File(session) = &self.opened {
            session.finish(app);
        }
    }
}

fn read(engine: &Engine, context: &OpContext, path: &str) -> Result<SecretValue, CommandError> {
    let path: SecretPath = path.parse()?;
    let read = wait(engine.read(context, &path, None));
    let read = read.map_err(|error| {
        let is_missing = matches!(error, EngineError::NotFound { .. });
        match (CommandError::from(error), is_missing) {
            (error, true) => error.hint(format!("strongroom set /{path}")),
            (error, false) => error,
        }
    })?;
    Ok(read.payload.value)
}

pub(crate) fn table_of(place: &PlaceArgs) -> Result<Option<TableName>, CommandError> {
    let table = place.table.as_deref();
    Ok(table.map(str::parse::<TableName>).transpose()?)
}

/// The address of the database: as typed or from the environment, or a secret of the store.
fn address(
    app: &App,
    place: &PlaceArgs,
    engine: &Engine,
    context: &OpContext,
) -> Result<DatabaseUrl, CommandError> {
    // An empty variable is not set.
    let named = place.database.as_ref().filter(|url| !url.is_empty());
    let (value, is_typed) = match (&place.database_from, named) {
        (Some(name), _) => {
            let project = project::load_if_there(app)?;
            let path = project::place(project.as_ref(), name)?.path;
            (read(engine, context, path.as_str())?, false)
        }
        (None, Some(value)) => {
            // EXPOSE: compared with what stands in the environment, which is no secret there.
            let typed = value.expose_secret_text();
            (value.clone(), app.environment.text(VARIABLE) != typed)
        }
        (None, None) => {
            return Err(CommandError::usage("which database?")
                .hint(format!(
                    "--database postgres://USER@HOST/DATABASE, or {VARIABLE}"
                ))
                .hint("--database-from NAME where a secret holds the URL"));
        }
    };
    // EXPOSE: an address with a password, for the one that reads it.
    let text = value.expose_secret_text().unwrap_or_default();
    database::parse(app, text, is_typed)
}

/// The keys of a user as the first link of a chain: from the application's database, or from the
/// server that is named where no database is. `is_watched`: it is asked again and again.
pub(crate) fn link(
    app: &App,
    place: &PlaceArgs,
    user: &str,
    is_watched: bool,
) -> Result<Link, CommandError> {
    let user = UserId::parse(user)?;
    let names_database = place.database.as_ref().is_some_and(|url| !url.is_empty());
    let backend: Box<dyn Backend> = match app.global.server.is_some() && !names_database {
        true => served(app, &user)?,
        false => {
            let access = Access::open(app, place, false)?;
            let keys = access.keys(app, place)?;
            let table = keys.attachment().name();
            let trail = Arc::new(StoreTrail {
                engine: access.engine.clone(),
                context: access.context.clone(),
                table,
            });
            let link = UserLink::new(keys, user, trail);
            Box::new(if is_watched { link.watching() } else { link })
        }
    };
    Ok(Link {
        backend,
        is_optional: false,
        is_remote: true,
    })
}

#[cfg(feature = "vault")]
fn served(app: &App, user: &UserId) -> Result<Box<dyn Backend>, CommandError> {
    use strongroom_chain::users::ServedKeys;
    use strongroom_chain::users::ServedLink;
    crate::runtime::start()?;
    let keys = ServedKeys::open(&app.environment.for_backends())?;
    Ok(Box::new(ServedLink::new(keys, user.as_str())))
}

#[cfg(not(feature = "vault"))]
fn served(_app: &App, _user: &UserId) -> Result<Box<dyn Backend>, CommandError> {
    let message = "this program was built without what asks a server";
    Err(CommandError::usage(message).hint(format!("{VARIABLE} names the database")))
}

/// Reads of users' keys, noted in the store.
struct StoreTrail {
    engine: Engine,
    context: OpContext,
    table: String,
}

impl Trail for StoreTrail {
    fn note<'a>(
        &'a self,
        user: &'a UserId,
        name: &'a KeyName,
        is_found: bool,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let outcome = match is_found {
                true => Outcome::Allowed,
                false => Outcome::Failed,
            };
            let path = format!("userkeys/{}/{user}/{name}", self.table);
            let context = OpContext {
                now: SystemClock.time(),
                ..self.context.clone()
            };
            let event = context.event(Action::Read, vec![path], outcome);
            let noted = self.engine.audit(&event).await;
            noted.map_err(|error| error.to_string())
        })
    }
}

impl From<UserKeysError> for CommandError {
    fn from(error: UserKeysError) -> Self {
        use strongroom_userkeys::ConnectError;
        let kind = match &error {
            UserKeysError::Connect(ConnectError::Unreachable { .. })
            | UserKeysError::Unavailable { .. } => Kind::Unreachable,
            UserKeysError::Connect(
                ConnectError::Refused { .. } | ConnectError::Untrusted { .. },
            )
            | UserKeysError::Denied { .. } => Kind::Denied,
            UserKeysError::Connect(ConnectError::Roots { .. })
            | UserKeysError::BadName { .. }
            | UserKeysError::TooLarge { .. }
            | UserKeysError::Empty
            | UserKeysError::Ambiguous { .. } => Kind::Usage,
            UserKeysError::NoTable { .. } | UserKeysError::NotAttached { .. } => Kind::NotFound,
            UserKeysError::Unfit { .. } => Kind::Validation,
            UserKeysError::Differs { .. }
            | UserKeysError::Leaving { .. }
            | UserKeysError::OnlyCopy { .. } => Kind::Conflict,
            UserKeysError::OtherStore { .. } | UserKeysError::UnknownKey { .. } => Kind::Locked,
            _ => Kind::Failed,
        };
        let failed = Self::new(kind, error.code(), error.to_string());
        match error.hint() {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}
